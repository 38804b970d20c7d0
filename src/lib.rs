//! handoff configures an appliance from settings that come from outside, before its normal init starts.
//!
//! The rooms, in the order in which a byte passes through them:
//!
//! ```text
//! source ──► trust ──► settings ──► class ──► render ──► plan ──► commit ──► handoff
//! bytes,     Verified  typed        policy    desired    steps    journal,   exec init /
//! bounded    bytes     document               tree       (value)  rename     unit is done
//!                                     ▲         ▲         ▲
//!                                     └─ guest: what the root holds now (a read-only view)
//! ```
//!
//! Left of [`commit`] nothing writes; left of [`render`] nothing knows which operating system the guest is.
//! Operating-system calls, `cfg(target_os)` and any `unsafe` live in [`platform`].

pub mod agent;
pub mod class;
pub mod commit;
pub mod document;
pub mod error;
pub mod guest;
pub mod handoff;
pub mod judge;
#[cfg(feature = "operator")]
pub mod operator;
pub mod plan;
pub mod platform;
pub mod render;
pub mod root;
pub mod settings;
pub mod source;
pub mod trust;

pub use error::{Class, Error, Result};
