//! From settings to the desired tree. Every renderer is pure: it looks at the guest through a read-only view and returns
//! entries, and it is compiled and tested on every platform.

use crate::commit::state::State;
use crate::error::Result;
use crate::guest::{Facts, View};
use crate::plan::Desired;
use crate::settings::Settings;

/// All that a renderer may look at.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the operator wants.
    pub settings: &'a Settings,
    /// What the guest's tree holds now.
    pub guest: &'a dyn View,
    /// What was committed before.
    pub previous: &'a State,
    /// What is known of the machine.
    pub facts: &'a Facts,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context(..)")
    }
}

/// The desired tree for these settings on this guest.
///
/// # Errors
/// What the settings ask for cannot be had on this guest.
pub fn render(context: &Context<'_>) -> Result<Desired> {
    let _ = context;
    let desired = Desired::new();
    Ok(desired)
}
