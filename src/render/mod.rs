//! From settings to the desired tree. Every renderer is pure: it looks at the guest through a read-only view and returns
//! entries, and it is compiled and tested on every platform.

pub mod accounts;
mod base;
#[cfg(test)]
mod bench;
pub mod files;
pub mod identity;
pub mod network;
pub mod services;

use crate::commit::state::State;
use crate::error::{Error, Result};
use crate::guest::{Facts, File, GuestPath, Node, View};
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
    let mut desired = Desired::new();
    accounts::render(context, &mut desired)?;
    identity::render(context, &mut desired)?;
    network::render(context, &mut desired)?;
    services::render(context, &mut desired)?;
    files::render(context, &mut desired)?;
    Ok(desired)
}

/// The file at `path`, of which a part shall be changed. Nothing else may stand there.
fn current_file(guest: &dyn View, path: &GuestPath) -> Result<Option<File>> {
    match guest.node(path)? {
        None => Ok(None),
        Some(Node::File(file)) => Ok(Some(file)),
        Some(_) => Err(Error::not_applied(path, "is a link or a directory", "put a plain file there in the image")),
    }
}
