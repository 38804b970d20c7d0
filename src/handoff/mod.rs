//! The ways out: telling the running system what changed, and handing off to the real init.

pub mod pid1;
mod pokes;
mod service;

pub use pokes::poke;
pub use service::supervise;
