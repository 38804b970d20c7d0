//! From what the guest holds to what it shall hold: the desired tree, the difference, the steps.

mod desired;

pub use desired::{Desired, Entry, Keeping};
