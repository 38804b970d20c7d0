//! Section `services`: what the guest's init starts. One file for each init.

mod systemd;

use super::Context;
use crate::error::{Error, Result};
use crate::guest::GuestPath;
use crate::plan::Desired;

/// An init that we know how to tell what it shall start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Init {
    /// systemd.
    Systemd,
}

/// The guest's init, as its files show it; `None` where we know none of them.
///
/// # Errors
/// The guest cannot be read.
pub fn init_of(context: &Context<'_>) -> Result<Option<Init>> {
    for path in ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"] {
        if context.guest.kind(&GuestPath::of(path))?.is_some() {
            return Ok(Some(Init::Systemd));
        }
    }
    Ok(None)
}

/// Puts what the section asks for into the desired tree.
///
/// # Errors
/// The guest has no init that we know, not such a service, or the service cannot be had as asked for.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    if context.settings.services.is_empty() {
        return Ok(());
    }
    match init_of(context)? {
        Some(Init::Systemd) => systemd::render(context, desired),
        None => Err(Error::not_applied(
            "services",
            "the image has no init that handoff knows",
            "install systemd in the image, or take the section out of the settings",
        )),
    }
}

/// Enables one unit for another section, with all that its `[Install]` section names.
///
/// # Errors
/// As for [`render`].
pub fn enable(context: &Context<'_>, desired: &mut Desired, unit: &str) -> Result<()> {
    match init_of(context)? {
        Some(Init::Systemd) => systemd::enable(context, desired, unit),
        None => Err(Error::not_applied(
            format_args!("service `{unit}`"),
            "the image has no init that handoff knows",
            "install systemd in the image",
        )),
    }
}
