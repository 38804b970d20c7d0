//! The operator's side: what the tool `handoff` does and the agent never needs. None of it is linked in the agent.
//!
//! The rooms of the guest make every judgement here too, so that what is good here is good there.

pub mod boot;
pub mod disk;
pub mod output;
pub mod sign;
