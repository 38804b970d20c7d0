//! Home directories with their skeleton, and the keys with which users log in.

use super::super::check_path;
use super::{Context, Database};
use crate::commit::state::Accounts;
use crate::error::{Error, Result};
use crate::guest::accounts::field;
use crate::guest::{File, GuestPath, Kind, Node, Owner};
use crate::plan::Desired;
use crate::settings::{AuthorizedKey, User};

/// The most names, nested directories and bytes of a skeleton.
const MAX_SKELETON_NAMES: usize = 256;
const MAX_SKELETON_DEPTH: usize = 8;
const MAX_SKELETON_BYTES: usize = 1 << 20;

/// Puts homes where there are none, and the keys of each user who has any.
pub(super) fn render(
    context: &Context<'_>,
    database: &Database,
    owned: &Accounts,
    desired: &mut Desired,
) -> Result<()> {
    for (index, user) in context.settings.users.iter().enumerate() {
        let name = user.name.as_str();
        let (Some(uid), Some(gid)) = (database.passwd.id(name)?, database.primary_group(name)?) else { continue };
        let owner = Owner { uid, gid };
        let text = String::from_utf8_lossy(database.passwd.field(name, field::HOME)?.unwrap_or_default()).into_owned();
        let trimmed = if text.len() > 1 { text.trim_end_matches('/') } else { &text };
        let home = GuestPath::parse(trimmed).ok().filter(|home| !matches!(home.as_str(), "/" | "/nonexistent"));
        let keys = user.ssh_authorized_keys.as_deref().filter(|keys| !keys.is_empty());
        let unfit = |problem: &str| {
            Error::invalid(
                format_args!("users[{index}].ssh_authorized_keys"),
                format_args!("`{name}` has the home {text}, {problem}"),
                "leave the keys out, or use another account",
            )
        };
        let Some(home) = home else {
            match keys {
                Some(_) => return Err(unfit("where no keys can be kept")),
                None => continue,
            }
        };
        let made = owned.users.get(name).is_some_and(|record| record.passwd_before.is_none());
        if made {
            check_path(context.guest, &format!("users[{index}].home"), &home)?;
        }
        let there = match context.guest.kind(&home) {
            // What a user has put in the way is the planner's to leave out, and to tell.
            Err(_) | Ok(Some(Kind::File | Kind::Link | Kind::Other)) if context.guest.is_in_reach_of_users(&home) => {
                Some(Kind::Directory)
            }
            there => there?,
        };
        let is_new = match there {
            None => true,
            // Made by us as the parent of a file of the settings, before there was such a user.
            Some(Kind::Directory) => context.previous.owned.contains_key(&home),
            Some(_) => false,
        } && (made || !database.is_system(uid));
        match there {
            _ if is_new => desired.seeded(home.clone(), Node::Directory { mode: database.defs.home_mode, owner })?,
            Some(Kind::Directory) => {}
            _ if keys.is_none() => continue,
            None if context.guest.is_in_reach_of_users(&home) => {
                desired.warnings.push(format!("{home}: is gone, and with it the place of the keys of {name}"));
                continue;
            }
            None => return Err(unfit("which does not exist")),
            Some(_) => return Err(unfit("which is not a directory")),
        }
        if let Some(keys) = keys {
            render_keys(&home, user, keys, owner, desired)?;
        }
        if is_new {
            copy_skeleton(context, &home, owner, desired)?;
        }
    }
    Ok(())
}

fn render_keys(
    home: &GuestPath,
    user: &User,
    keys: &[AuthorizedKey],
    owner: Owner,
    desired: &mut Desired,
) -> Result<()> {
    let directory = home.join(".ssh")?;
    let mut text = String::from("# Managed by handoff: changes are overwritten, and kept aside.\n");
    for key in keys {
        text.push_str(key.as_str());
        text.push('\n');
    }
    let file = directory.join("authorized_keys")?;
    desired.seeded(directory, Node::Directory { mode: 0o700, owner })?;
    desired.owned(file, Some(Node::file_of(text, 0o600, owner))).map_err(|error| error.within(&user.name))
}

/// Copies `/etc/skel` into a new home. One that is larger than any real one is left out, with a warning.
fn copy_skeleton(context: &Context<'_>, home: &GuestPath, owner: Owner, desired: &mut Desired) -> Result<()> {
    let source = GuestPath::of("/etc/skel");
    if context.guest.kind(&source)? != Some(Kind::Directory) {
        return Ok(());
    }
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    let mut todo = vec![(source, home.clone(), 0_usize)];
    while let Some((from, to, depth)) = todo.pop() {
        for name in context.guest.list(&from)?.unwrap_or_default() {
            let (from, to) = (from.join(&name)?, to.join(&name)?);
            let node = match context.guest.node(&from)? {
                None => continue,
                Some(Node::File(File { content, mode, .. })) => {
                    bytes = bytes.saturating_add(content.len());
                    Node::file_of(content, mode & 0o777, owner)
                }
                Some(Node::Directory { mode, .. }) => {
                    todo.push((from, to.clone(), depth.saturating_add(1)));
                    Node::Directory { mode: mode & 0o777, owner }
                }
                Some(link) => link,
            };
            found.push((to, node));
            if found.len() > MAX_SKELETON_NAMES || bytes > MAX_SKELETON_BYTES || depth > MAX_SKELETON_DEPTH {
                desired.warnings.push(format!("/etc/skel: is larger than a skeleton may be, not copied to {home}"));
                return Ok(());
            }
        }
    }
    for (path, node) in found {
        // What the settings put there themselves goes before the skeleton.
        let other = desired.entry(&path).is_some() || context.settings.files.iter().any(|file| file.path == path);
        if !other {
            desired.seeded(path, node)?;
        }
    }
    Ok(())
}
