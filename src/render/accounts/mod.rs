//! Users and groups: the four account files, homes, keys, and what sudo allows.
//!
//! The files belong to the guest. Of an account that was there before, only the fields that the settings give are changed,
//! and they go back to what they were when they leave the settings. An account that the settings made is locked when it
//! leaves them, and its files stay: nobody else may get its number.

mod groups;
mod home;
mod ids;
mod sudo;
mod users;

use super::{Context, current_file};
use crate::commit::state::Accounts;
use crate::error::{Error, Result};
use crate::guest::accounts::{AccountFile, LoginDefs, Table, field};
use crate::guest::{File, GuestPath, Node, Owner, View};
use crate::plan::Desired;
use crate::settings::{AccountName, Settings};
use std::collections::BTreeSet;

/// The four files, being changed in memory.
struct Database {
    passwd: Table,
    shadow: Table,
    group: Table,
    /// Not every guest has one, and then none is made.
    gshadow: Option<Table>,
    defs: LoginDefs,
}

/// Puts the account files, homes, keys and sudo rules into the desired tree.
///
/// # Errors
/// The settings ask for what this guest cannot have: a number or a name that clashes, a group or a shell that does not exist,
/// another number or home for an account that is there; the guest has no account files, or broken ones.
pub fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let settings = context.settings;
    let previous = &context.previous.accounts;
    if settings.users.is_empty() && settings.groups.is_empty() && *previous == Accounts::default() {
        return Ok(());
    }
    check_names(settings)?;
    let mut database = Database::read(context.guest)?;
    let mut owned = Accounts::default();
    let mut reserved = ids::Reserved::new(settings, previous, &database)?;
    groups::make(settings, previous, &mut database, &mut reserved, &mut owned)?;
    let made = ids::assign(settings, &mut database, &mut reserved, &mut owned)?;
    for (index, user) in settings.users.iter().enumerate() {
        let place = format!("users[{index}]");
        let new = made.get(&index).copied();
        let record = users::plan(context, &place, user, new, &mut database)?;
        owned.users.insert(user.name.as_str().into(), record);
    }
    users::leave(settings, previous, &mut database, &mut desired.warnings)?;
    groups::settle_members(settings, previous, &mut database, &mut owned)?;
    groups::leave(settings, previous, &mut database, &mut owned)?;
    home::render(context, &database, &owned, desired)?;
    sudo::render(context, desired)?;
    desired.accounts = owned;
    database.put(context.guest, desired)
}

/// The numbers of users and groups as they will be: read from the desired account files, or from the guest's where the
/// settings do not touch them.
#[derive(Debug)]
pub struct Names {
    passwd: Table,
    group: Table,
}

impl Names {
    /// The names of this guest, after [`render`].
    ///
    /// # Errors
    /// An account file that cannot be read.
    pub fn of(guest: &dyn View, desired: &Desired) -> Result<Self> {
        let table = |file: AccountFile| {
            let path = file.path();
            match desired.entry(&path).and_then(|entry| entry.node.as_ref()) {
                Some(Node::File(File { content, .. })) => Table::parse(file, content),
                _ => Table::parse(file, &guest.read(&path)?.unwrap_or_default()),
            }
        };
        Ok(Names { passwd: table(AccountFile::Passwd)?, group: table(AccountFile::Group)? })
    }

    /// The owner that these two names stand for. `root` is 0 everywhere, also in a guest without account files. `place`
    /// names the part of the settings, such as `files[2]`.
    ///
    /// # Errors
    /// A name that the guest does not have.
    pub fn owner(&self, place: &str, user: &AccountName, group: &AccountName) -> Result<Owner> {
        let id = |table: &Table, key: &str, name: &AccountName| match table.id(name.as_str())? {
            Some(id) => Ok(id),
            None if name.as_str() == "root" => Ok(0),
            None => Err(Error::invalid(
                format_args!("{place}.{key}"),
                format_args!("`{name}` does not exist in the guest or in the settings"),
                "add it to `users` or `groups`, or write another name",
            )),
        };
        Ok(Owner { uid: id(&self.passwd, "owner", user)?, gid: id(&self.group, "group", group)? })
    }
}

fn check_names(settings: &Settings) -> Result<()> {
    let twice = |place: String, name: &AccountName| {
        Err(Error::invalid(place, format_args!("`{name}` is there twice"), "put both into one item"))
    };
    let mut seen = BTreeSet::new();
    for (index, user) in settings.users.iter().enumerate() {
        if !seen.insert(&user.name) {
            return twice(format!("users[{index}].name"), &user.name);
        }
    }
    seen.clear();
    for (index, group) in settings.groups.iter().enumerate() {
        if !seen.insert(&group.name) {
            return twice(format!("groups[{index}].name"), &group.name);
        }
    }
    Ok(())
}

impl Database {
    fn read(guest: &dyn View) -> Result<Self> {
        let optional = |file: AccountFile| match current_file(guest, &file.path())? {
            Some(current) => Table::parse(file, &current.content).map(Some),
            None => Ok(None),
        };
        let needed = |file: AccountFile| match optional(file)? {
            Some(table) => Ok(table),
            None => Err(Error::not_applied(
                file.path(),
                "does not exist, so the guest can have no users and groups of the settings",
                "use an image with account files, or leave out `users` and `groups`",
            )),
        };
        let defs = guest.read(&GuestPath::of("/etc/login.defs"))?;
        Ok(Database {
            passwd: needed(AccountFile::Passwd)?,
            shadow: needed(AccountFile::Shadow)?,
            group: needed(AccountFile::Group)?,
            gshadow: optional(AccountFile::Gshadow)?,
            defs: defs.map(|text| LoginDefs::parse(&text)).unwrap_or_default(),
        })
    }

    fn put(self, guest: &dyn View, desired: &mut Desired) -> Result<()> {
        let tables = [
            (AccountFile::Passwd, Some(self.passwd)),
            (AccountFile::Shadow, Some(self.shadow)),
            (AccountFile::Group, Some(self.group)),
            (AccountFile::Gshadow, self.gshadow),
        ];
        for (file, table) in tables {
            let path = file.path();
            if let (Some(table), Some(current)) = (table, current_file(guest, &path)?) {
                let node = Node::file_of(table.to_bytes(), current.mode, current.owner);
                desired.edited(path, node, file.is_secret())?;
            }
        }
        Ok(())
    }

    /// Whether this user is one of the system's, whose number, home and primary group are never changed.
    fn is_system(&self, uid: u32) -> bool {
        uid < self.defs.uids.0
    }

    fn primary_group(&self, user: &str) -> Result<Option<u32>> {
        self.passwd.number(user, field::PRIMARY)
    }
}

#[cfg(test)]
mod tests;
