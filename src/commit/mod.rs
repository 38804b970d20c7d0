//! The only writer of the guest's files: staging, journal, generations, recovery.
//!
//! A commit goes through these doors, in this order, and each of them is flushed to the disk before the next one opens:
//!
//! 1. Every path still holds what the planner saw there; otherwise nothing is done.
//! 2. The journal says *staging*: the names that are about to be made.
//! 3. Directories are made; every new file is written beside its target, with its owner and mode.
//! 4. The journal says *commit*. From here on it only goes forward.
//! 5. Renames and removals, each of which can be repeated.
//! 6. The journal is removed.
//!
//! Interrupted before 4, the next start takes the staged names away; interrupted after it, the next start repeats 5.

mod engine;
mod form;
mod hand;
mod journal;
mod lock;
pub mod state;
pub mod store;
mod undo;

pub use engine::{Recovery, Report, commit, interrupted, recover};

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
#[cfg(feature = "operator")] // It is for settings that are signed on the spot.
pub(crate) mod fuse;
#[cfg(test)]
mod hostile_tests;
