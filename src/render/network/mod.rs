//! Section `network`: files of the network stack that the image holds, and the resolver. One file for each stack.

mod networkd;
mod resolver;

use super::Context;
use crate::error::{Error, Result};
use crate::guest::GuestPath;
use crate::plan::Desired;

/// What every file of ours begins with.
const MANAGED: &str = "# Managed by handoff. Changes here are overwritten.\n";

/// Whether one of two places in the image holds a program; `/lib` where `/usr` is not merged.
fn holds(context: &Context<'_>, program: &str) -> Result<bool> {
    for directory in ["/usr/lib/systemd", "/lib/systemd"] {
        if context.guest.kind(&GuestPath::parse(&format!("{directory}/{program}"))?)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Puts what the section asks for into the desired tree.
///
/// # Errors
/// The image holds no network stack that we know.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let Some(network) = &context.settings.network else { return Ok(()) };
    let resolved = holds(context, "systemd-resolved")?;
    if !network.interfaces.is_empty() {
        if !holds(context, "systemd-networkd")? {
            return Err(Error::not_applied(
                "network",
                "the image has no network stack that handoff knows",
                "install systemd-networkd in the image (Debian has it in the package systemd), or take the section out",
            ));
        }
        networkd::render(context, network, desired)?;
    }
    resolver::render(context, network, resolved, desired)
}

#[cfg(test)]
mod tests;
