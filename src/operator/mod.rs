//! The operator's side: what the tool `handoff` does and the agent never needs. None of it is linked in the agent.
//!
//! [`command`] reads the command line; each command is a function that takes what was asked and a place to write to. The
//! rooms of the guest make every judgement here too, so that what is good here is good there.

pub mod boot;
pub mod catalog;
pub mod command;
pub mod convert;
pub mod disk;
pub mod inspect;
pub mod mask;
pub mod output;
pub mod pack;
pub mod sign;
pub mod toml;
pub mod trial;
pub mod trust_line;
pub mod written;
pub mod yaml;
