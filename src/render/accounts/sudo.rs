//! What users may do as root: one file of sudo's, made from types only. Format: sudoers(5).

use super::Context;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind};
use crate::plan::Desired;
use crate::settings::Sudo;

/// Where the rules stand. sudo skips names with a dot.
const FILE: &str = "/etc/sudoers.d/90-handoff";

/// Words of the language that are account names too. In quotes they are names.
const RESERVED: [&str; 2] = ["sudoedit", "list"];

/// Puts the rules, where any user has one.
pub(super) fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let mut text = String::new();
    for (index, user) in context.settings.users.iter().enumerate() {
        let rule = match user.sudo {
            Sudo::None => continue,
            Sudo::Password => "ALL",
            Sudo::NoPassword => "NOPASSWD: ALL",
        };
        if context.guest.kind(&GuestPath::of("/etc/sudoers.d"))? != Some(Kind::Directory) {
            return Err(Error::invalid(
                format_args!("users[{index}].sudo"),
                "the image has no sudo: /etc/sudoers.d does not exist",
                "use an image with sudo, or leave `sudo` out",
            ));
        }
        let quote = if RESERVED.contains(&user.name.as_str()) { "\"" } else { "" };
        text.push_str(&format!("{quote}{}{quote} ALL=(ALL:ALL) {rule}\n", user.name));
    }
    if text.is_empty() {
        return Ok(());
    }
    desired.file(
        GuestPath::of(FILE),
        format!("# Managed by handoff: changes are overwritten, and kept aside.\n{text}"),
        0o440,
    )
}
