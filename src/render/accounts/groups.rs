//! Groups and their members.

use super::Database;
use super::ids::Reserved;
use crate::commit::state::{Accounts, OwnedGroup};
use crate::error::{Error, Result};
use crate::guest::accounts::field;
use crate::settings::Settings;
use std::collections::BTreeSet;

/// Makes the groups of the settings that the guest does not have.
pub(super) fn make(
    settings: &Settings,
    previous: &Accounts,
    database: &mut Database,
    reserved: &mut Reserved,
    owned: &mut Accounts,
) -> Result<()> {
    for (index, group) in settings.groups.iter().enumerate() {
        let name = group.name.as_str();
        let record = match (database.group.id(name)?, group.gid) {
            (Some(there), Some(wanted)) if there != wanted => {
                return Err(Error::invalid(
                    format_args!("groups[{index}].gid"),
                    format_args!(
                        "`{name}` has the number {there} in the guest, and its files would not follow to {wanted}"
                    ),
                    format_args!("write {there}, or use another name"),
                ));
            }
            (Some(gid), _) => {
                OwnedGroup { gid, created: previous.groups.get(name).is_some_and(|record| record.created) }
            }
            (None, wanted) => {
                let gid = match wanted {
                    Some(gid) => gid,
                    None => reserved.free_gid(&format!("groups[{index}]"), database)?,
                };
                append(database, name, gid)?;
                OwnedGroup { gid, created: true }
            }
        };
        owned.groups.insert(name.into(), record);
    }
    Ok(())
}

/// Adds a group without members.
pub(super) fn append(database: &mut Database, name: &str, gid: u32) -> Result<()> {
    let number = gid.to_string();
    database.group.append(&[name.as_bytes(), b"x", number.as_bytes(), b""])?;
    if let Some(gshadow) = &mut database.gshadow
        && gshadow.line(name)?.is_none()
    {
        gshadow.append(&[name.as_bytes(), b"!", b"", b""])?;
    }
    Ok(())
}

/// Makes each user of the settings a member of the wanted groups, and takes out of the others whom the settings had put in.
/// Memberships that others made stay.
pub(super) fn settle_members(
    settings: &Settings,
    previous: &Accounts,
    database: &mut Database,
    owned: &mut Accounts,
) -> Result<()> {
    for (index, user) in settings.users.iter().enumerate() {
        let name = user.name.as_str();
        let before = previous.users.get(name).map(|record| record.joined.as_slice()).unwrap_or_default();
        let mut joined = Vec::new();
        for (at, group) in user.groups.iter().enumerate() {
            let group = group.as_str();
            let Some(gid) = database.group.id(group)? else {
                return Err(no_group(&format!("users[{index}].groups[{at}]"), group));
            };
            if database.primary_group(name)? == Some(gid) || joined.iter().any(|there| there == group) {
                continue;
            }
            let new = database.group.join(group, name)?;
            if let Some(gshadow) = &mut database.gshadow {
                gshadow.join(group, name)?;
            }
            if new || before.iter().any(|there| there == group) {
                joined.push(group.to_owned());
            }
        }
        for group in before.iter().filter(|group| !joined.contains(group)) {
            leave_one(database, group, name)?;
        }
        if let Some(record) = owned.users.get_mut(name) {
            record.joined = joined;
        }
    }
    let wanted: BTreeSet<&str> = settings.users.iter().map(|user| user.name.as_str()).collect();
    for (name, record) in previous.users.iter().filter(|(name, _)| !wanted.contains(name.as_str())) {
        for group in &record.joined {
            leave_one(database, group, name)?;
        }
    }
    Ok(())
}

fn leave_one(database: &mut Database, group: &str, user: &str) -> Result<()> {
    database.group.leave(group, user)?;
    match &mut database.gshadow {
        Some(gshadow) => gshadow.leave(group, user),
        None => Ok(()),
    }
}

/// The error for a group that is nowhere.
pub(super) fn no_group(place: &str, group: &str) -> Error {
    Error::invalid(
        place,
        format_args!("the group `{group}` does not exist in the guest or in the settings"),
        "add it to `groups`, or write another name",
    )
}

/// Removes the groups that the settings had made and no longer name, unless somebody is still in them; those stay ours, to be
/// removed when they are empty.
pub(super) fn leave(
    settings: &Settings,
    previous: &Accounts,
    database: &mut Database,
    owned: &mut Accounts,
) -> Result<()> {
    let primary = database.passwd.numbers(field::PRIMARY);
    for (name, record) in previous.groups.iter().filter(|(_, record)| record.created) {
        let wanted = settings.groups.iter().any(|group| group.name.as_str() == name);
        let Some(gid) = database.group.id(name)? else { continue };
        // A group that somebody made anew under this name is not ours.
        if wanted || gid != record.gid {
            continue;
        }
        if primary.contains(&gid) || !database.group.members(name)?.is_empty() {
            owned.groups.insert(name.clone(), record.clone());
            continue;
        }
        owned.groups.remove(name);
        database.group.remove(name)?;
        if let Some(gshadow) = &mut database.gshadow {
            gshadow.remove(name)?;
        }
    }
    Ok(())
}
