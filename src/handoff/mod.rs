//! The ways out: telling the running system what changed, handing off to the real init, and looking whether the appliance
//! got ready.

mod child;
pub mod pid1;
mod pokes;
pub mod ready;
mod service;

pub use pokes::{go_on, poke};
pub use service::supervise;
