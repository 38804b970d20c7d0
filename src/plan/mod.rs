//! From what the guest holds to what it shall hold: the desired tree, the difference, the steps.

mod desired;
mod step;

pub use desired::{Desired, Entry, Keeping};
pub use step::Step;
