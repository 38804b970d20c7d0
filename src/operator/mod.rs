//! The operator's side: what the tool `handoff` does and the agent never needs. None of it is linked in the agent.

pub mod disk;
