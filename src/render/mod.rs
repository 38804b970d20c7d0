//! From settings to the desired tree. Every renderer is pure: it looks at the guest through a read-only view and returns
//! entries, and it is compiled and tested on every platform.

pub mod accounts;
pub mod appliance;
mod base;
#[cfg(test)]
mod bench;
mod block;
pub mod files;
pub mod identity;
pub mod network;
pub mod services;
pub mod templates;

use crate::class::{Class, Resolved};
use crate::commit::state::State;
use crate::error::{Error, Result};
use crate::guest::{Facts, File, GuestPath, MAX_LINKS, Node, View};
use crate::plan::Desired;
use crate::settings::{Settings, refuse_path};

/// All that a renderer may look at.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the operator wants.
    pub settings: &'a Settings,
    /// What the appliance is.
    pub class: &'a Class,
    /// What its fields and terminals are by the settings.
    pub resolved: &'a Resolved,
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
    appliance::render(context, &mut desired)?;
    Ok(desired)
}

/// Refuses a path that leads, through links of the guest, to where the settings may put nothing. `place` names the part of
/// the settings, such as `files[2].path`.
fn check_path(guest: &dyn View, place: &str, path: &GuestPath) -> Result<()> {
    let Some(refusal) = refuse_path(&behind_links(guest, path)) else { return Ok(()) };
    // Through a link that a user has planted nobody writes either: the planner leaves such a path out, and says so. It is no fault
    // of the settings, or a user could keep the guest from all of them.
    if guest.is_in_reach_of_users(path) && path.parent().is_some_and(|above| guest.kind(&above).is_err()) {
        return Ok(());
    }
    let problem = format!("`{path}` is not for settings: {}", refusal.problem);
    Err(Error::invalid(place, problem, refusal.remedy))
}

/// The same path without links above its last name, as far as the guest can be looked at.
fn behind_links(guest: &dyn View, path: &GuestPath) -> GuestPath {
    let mut left: Vec<String> = path.components().rev().map(str::to_owned).collect();
    let (mut here, mut links) = (GuestPath::root(), 0);
    while let Some(name) = left.pop() {
        if name == ".." {
            here = here.parent().unwrap_or(here);
            continue;
        }
        let Ok(next) = here.join(&name) else { return path.clone() };
        match guest.node(&next) {
            Ok(Some(Node::Link(target))) if !left.is_empty() && links < MAX_LINKS => {
                links += 1;
                if target.starts_with('/') {
                    here = GuestPath::root();
                }
                left.extend(GuestPath::names_of_target(&target));
            }
            _ => here = next,
        }
    }
    here
}

/// The file at `path`, of which a part shall be changed. Nothing else may stand there.
fn current_file(guest: &dyn View, path: &GuestPath) -> Result<Option<File>> {
    match guest.node(path)? {
        None => Ok(None),
        Some(Node::File(file)) => Ok(Some(file)),
        Some(_) => Err(Error::not_applied(path, "is a link or a directory", "put a plain file there in the image")),
    }
}
