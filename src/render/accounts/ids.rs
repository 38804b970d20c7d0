//! Numbers for new users and groups.

use super::Database;
use crate::commit::state::{Accounts, OwnedGroup};
use crate::error::{Error, Result};
use crate::guest::accounts::field;
use crate::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers that the kernel and the C library keep for themselves: -1 in 16 and in 32 bits.
const FORBIDDEN: [u32; 2] = [65_535, u32::MAX];

/// The numbers that a new account cannot have: those of the guest, and those that the settings give to somebody.
#[derive(Debug)]
pub(super) struct Reserved {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    /// By name, the numbers of users of ours whom somebody took out of the guest: their files still lie under them.
    kept: BTreeMap<String, u32>,
}

impl Reserved {
    /// Also checks that no number is given to two.
    pub(super) fn new(settings: &Settings, previous: &Accounts, database: &Database) -> Result<Self> {
        let mut uids = database.passwd.numbers(field::ID);
        let mut gids = database.group.numbers(field::ID);
        // A primary group without a line is still somebody's.
        gids.extend(database.passwd.numbers(field::PRIMARY));
        let mut given = BTreeMap::new();
        for (index, user) in settings.users.iter().enumerate() {
            let Some(uid) = user.uid else { continue };
            let place = format!("users[{index}].uid");
            check(&place, user.name.as_str(), uid)?;
            let other = database.passwd.name_of(uid).filter(|other| other != user.name.as_str());
            let other = other.or_else(|| given.insert(uid, user.name.as_str().to_owned()));
            if let Some(other) = other {
                return Err(taken(&place, uid, &other));
            }
            uids.insert(uid);
        }
        given.clear();
        for (index, group) in settings.groups.iter().enumerate() {
            let Some(gid) = group.gid else { continue };
            let place = format!("groups[{index}].gid");
            check(&place, group.name.as_str(), gid)?;
            let other = database.group.name_of(gid).filter(|other| other != group.name.as_str());
            let other = other.or_else(|| given.insert(gid, group.name.as_str().to_owned()));
            if let Some(other) = other {
                return Err(taken(&place, gid, &other));
            }
            gids.insert(gid);
        }
        let mut kept = BTreeMap::new();
        for user in settings.users.iter().filter(|user| user.uid.is_none()) {
            let name = user.name.as_str();
            if let Some(record) = previous.users.get(name)
                && database.passwd.line(name)?.is_none()
                && uids.insert(record.uid)
            {
                kept.insert(name.to_owned(), record.uid);
            }
        }
        Ok(Reserved { uids, gids, kept })
    }

    /// The lowest free number for a group, which is taken by this.
    pub(super) fn free_gid(&mut self, place: &str, database: &Database) -> Result<u32> {
        let (low, high) = database.defs.gids;
        let free = (low..=high).find(|id| !self.gids.contains(id) && !FORBIDDEN.contains(id));
        let gid = free.ok_or_else(|| none_left(place, "GID"))?;
        self.gids.insert(gid);
        Ok(gid)
    }

    /// The lowest free number for a user, which is taken by this; where `twin`, one that is free among groups too, as long
    /// as there is one.
    fn free_uid(&mut self, place: &str, database: &Database, twin: bool) -> Result<u32> {
        let (low, high) = database.defs.uids;
        let free = |id: &u32| !self.uids.contains(id) && !FORBIDDEN.contains(id);
        let both = (low..=high).find(|id| free(id) && !(twin && self.gids.contains(id)));
        let uid = both.or_else(|| (low..=high).find(free)).ok_or_else(|| none_left(place, "UID"))?;
        self.uids.insert(uid);
        Ok(uid)
    }
}

fn check(place: &str, name: &str, id: u32) -> Result<()> {
    if id == 0 && name != "root" {
        return Err(Error::invalid(place, "0 is the number of root alone", "choose another number"));
    }
    if FORBIDDEN.contains(&id) {
        return Err(Error::invalid(place, format_args!("{id} means nobody to the system"), "choose another number"));
    }
    Ok(())
}

fn taken(place: &str, id: u32, other: &str) -> Error {
    Error::invalid(place, format_args!("{id} is already the number of `{other}`"), "choose another number")
}

fn none_left(place: &str, kind: &str) -> Error {
    Error::not_applied(
        place,
        format_args!("no number is free between {kind}_MIN and {kind}_MAX"),
        "give a number, or widen the range in /etc/login.defs",
    )
}

/// A new user's number, and its own group's where one was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct New {
    pub(super) uid: u32,
    pub(super) own_group: Option<u32>,
}

/// Gives each user whom the guest does not have a number, and a group of its own where none is named. By the user's place in
/// the settings.
pub(super) fn assign(
    settings: &Settings,
    database: &mut Database,
    reserved: &mut Reserved,
    owned: &mut Accounts,
) -> Result<BTreeMap<usize, New>> {
    let mut made = BTreeMap::new();
    for (index, user) in settings.users.iter().enumerate() {
        let name = user.name.as_str();
        let place = format!("users[{index}]");
        if database.passwd.line(name)?.is_some() {
            continue;
        }
        if name == "root" {
            return Err(Error::not_applied(
                format_args!("{place}.name"),
                "root has no line in the guest's /etc/passwd, and is never made",
                "use an image that has root",
            ));
        }
        let existing = database.group.id(name)?;
        let uid = match user.uid.or(reserved.kept.get(name).copied()) {
            Some(uid) => uid,
            None => match existing {
                // The own group is there: the same number, if no user has it.
                Some(gid)
                    if !reserved.uids.contains(&gid) && !database.is_system(gid) && gid <= database.defs.uids.1 =>
                {
                    reserved.uids.insert(gid);
                    gid
                }
                _ => reserved.free_uid(&place, database, user.group.is_none() && existing.is_none())?,
            },
        };
        let own_group = match (&user.group, existing) {
            (Some(_), _) => None,
            (None, Some(gid)) => Some(gid),
            (None, None) => {
                let gid = if reserved.gids.insert(uid) { uid } else { reserved.free_gid(&place, database)? };
                super::groups::append(database, name, gid)?;
                owned.groups.insert(name.into(), OwnedGroup { gid, created: true });
                Some(gid)
            }
        };
        made.insert(index, New { uid, own_group });
    }
    Ok(made)
}
