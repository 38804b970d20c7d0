//! The lines of users in `passwd` and `shadow`.
//!
//! Each field that can be ours goes by one rule ([`Slot::settle`]): what the settings give stands; what they no longer give
//! goes back to its base (the value from before us, or the default of a new account); and what somebody else has changed
//! since we wrote it is left alone.

use super::{Context, Database, groups, ids::New};
use crate::commit::state::{Accounts, OwnedUser};
use crate::error::{Error, Result};
use crate::guest::accounts::field;
use crate::guest::{GuestPath, Kind, View};
use crate::settings::{Settings, User};
use std::collections::BTreeSet;

/// The day of expiry of a locked account, 2 January 1970: unlike a `!` before the password it also keeps out who logs in with
/// a key. Not 0, which shadow(5) leaves undefined.
const EXPIRED: &[u8] = b"1";

/// One field of one line.
struct Slot {
    /// What the settings give.
    given: Option<Vec<u8>>,
    /// What stands there now.
    current: Vec<u8>,
    /// What we left there last.
    ours: Vec<u8>,
    /// What stands there without the settings.
    base: Vec<u8>,
}

impl Slot {
    /// What shall stand there, and what counts as left by us from now on.
    fn settle(self) -> (Vec<u8>, Vec<u8>) {
        match self.given {
            Some(given) => (given.clone(), given),
            None if self.current == self.ours && !is_lossy(&self.base) => (self.base.clone(), self.base),
            None => (self.current, self.ours),
        }
    }
}

/// Whether no password opens an account with this field.
fn is_closed(password: &[u8]) -> bool {
    password.starts_with(b"!") || password.starts_with(b"*")
}

/// The password that stands there now, for what becomes of it when the settings give none. An account that only the
/// settings had opened is closed again, also where its user has changed the password since: who was let in by the settings
/// does not stay in by passwd(1).
fn password_now(current: Vec<u8>, ours: &[u8], base: &[u8]) -> Vec<u8> {
    if is_closed(base) && !is_closed(ours) { ours.to_vec() } else { current }
}

/// Whether a recorded text is not what really stood there, because that was not UTF-8.
fn is_lossy(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).contains(char::REPLACEMENT_CHARACTER)
}

/// A line in its fields. For records of ours, of which any may be missing or cut short.
#[derive(Clone, Debug, Default)]
struct Fields(Vec<Vec<u8>>);

impl Fields {
    fn of(line: &[u8]) -> Self {
        Fields(line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect())
    }

    fn at(&self, index: usize) -> Vec<u8> {
        self.0.get(index).cloned().unwrap_or_default()
    }

    fn put(&mut self, index: usize, value: Vec<u8>) {
        if let Some(there) = self.0.get_mut(index) {
            *there = value;
        }
    }

    fn line(&self) -> Vec<u8> {
        self.0.join(&b':')
    }

    /// For the record. What of it was not UTF-8 is seen by [`is_lossy`], and is never written anywhere.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.line()).into_owned()
    }
}

/// The state of a user's lines: now, as we left them, and without us.
struct Lines {
    passwd: Fields,
    passwd_ours: Fields,
    passwd_base: Fields,
    shadow: Fields,
    shadow_ours: Fields,
    shadow_base: Fields,
}

/// Brings the lines of one user to what the settings want; appends them for a new one. The record has no groups yet.
pub(super) fn plan(
    context: &Context<'_>,
    place: &str,
    user: &User,
    new: Option<New>,
    database: &mut Database,
) -> Result<OwnedUser> {
    let name = user.name.as_str();
    let shell = shell(context.guest, place, user)?;
    let home = match &user.home {
        Some(home) => home.clone(),
        None => GuestPath::parse(&format!("/home/{name}"))?,
    };
    for (key, path) in [("home", Some(&home)), ("shell", user.shell.as_ref())] {
        if path.is_some_and(|path| path.as_str().contains(':')) {
            return Err(Error::invalid(
                format_args!("{place}.{key}"),
                "has a colon, which passwd(5) cannot hold",
                "choose another path",
            ));
        }
    }
    let given_gid = match &user.group {
        Some(group) => match database.group.id(group.as_str())? {
            Some(gid) => Some(gid),
            None => return Err(groups::no_group(&format!("{place}.group"), group.as_str())),
        },
        None => None,
    };
    let previous = context.previous.accounts.users.get(name);
    let mut record = OwnedUser::default();
    let mut lines = match new {
        Some(new) => {
            // Without a group of its own a user has a given one; 65534 is nobody's and cannot be reached.
            let gid = new.own_group.or(given_gid).unwrap_or(65_534);
            record.uid = new.uid;
            let passwd = default_passwd(name, new.uid, gid, &home, &shell);
            append(database, &passwd)?;
            Lines {
                passwd_ours: passwd.clone(),
                passwd_base: passwd.clone(),
                passwd,
                shadow: default_shadow(name),
                shadow_ours: default_shadow(name),
                shadow_base: default_shadow(name),
            }
        }
        None => existing(place, user, given_gid, previous, &shell, database, &mut record)?,
    };
    settle_passwd(user, given_gid, &mut lines);
    let had_shadow = database.shadow.line(name)?.is_some();
    let shadow_before = lines.shadow.clone();
    settle_shadow(user, &mut lines);
    if had_shadow || new.is_some() || shadow_before.line() != lines.shadow.line() {
        // A hash that stood in `passwd` itself has moved.
        lines.passwd.put(field::PASSWORD, b"x".to_vec());
        lines.passwd_ours.put(field::PASSWORD, b"x".to_vec());
        if !had_shadow {
            let fields: Vec<&[u8]> = lines.shadow.0.iter().map(Vec::as_slice).collect();
            database.shadow.append(&fields)?;
        }
        for index in [field::PASSWORD, field::EXPIRE] {
            database.shadow.set(name, index, &lines.shadow.at(index))?;
        }
    }
    for index in [field::PASSWORD, field::PRIMARY, field::COMMENT, field::SHELL] {
        database.passwd.set(name, index, &lines.passwd.at(index))?;
    }
    record.passwd_ours = lines.passwd_ours.text();
    record.shadow_ours = lines.shadow_ours.text();
    Ok(record)
}

fn default_passwd(name: &str, uid: u32, gid: u32, home: &GuestPath, shell: &GuestPath) -> Fields {
    Fields::of(format!("{name}:x:{uid}:{gid}::{home}:{shell}").as_bytes())
}

/// The shadow line of a new account: locked. The day of the last change is left empty: a date would make the file different
/// on each machine and each run, and an empty one only means that passwords do not age here.
fn default_shadow(name: &str) -> Fields {
    Fields::of(format!("{name}:!:::::::").as_bytes())
}

fn append(database: &mut Database, passwd: &Fields) -> Result<()> {
    let fields: Vec<&[u8]> = passwd.0.iter().map(Vec::as_slice).collect();
    database.passwd.append(&fields)
}

/// The login shell: the given one, which the guest must have, or the default for a new account.
fn shell(guest: &dyn View, place: &str, user: &User) -> Result<GuestPath> {
    if let Some(shell) = &user.shell {
        return match guest.kind(shell)? {
            Some(Kind::File) => Ok(shell.clone()),
            _ => Err(Error::invalid(
                format_args!("{place}.shell"),
                format_args!("{shell} does not exist in the guest"),
                "write a shell that the image has, or leave `shell` out",
            )),
        };
    }
    let bash = GuestPath::of("/bin/bash");
    Ok(if guest.kind(&bash)? == Some(Kind::File) { bash } else { GuestPath::of("/bin/sh") })
}

/// The lines of an account that is there, after checking that the settings ask of it nothing that cannot be changed.
fn existing(
    place: &str,
    user: &User,
    given_gid: Option<u32>,
    previous: Option<&OwnedUser>,
    default_shell: &GuestPath,
    database: &Database,
    record: &mut OwnedUser,
) -> Result<Lines> {
    let name = user.name.as_str();
    let passwd = Fields::of(database.passwd.line(name)?.unwrap_or_default());
    let uid = database.passwd.id(name)?.unwrap_or_default();
    let gid = database.primary_group(name)?.unwrap_or_default();
    let refuse = |key: &str, there: &str| {
        Err(Error::invalid(
            format_args!("{place}.{key}"),
            format_args!("`{name}` is in the guest with {there}, which is never changed"),
            format_args!("write {there}, or use another name"),
        ))
    };
    if user.uid.is_some_and(|wanted| wanted != uid) {
        return refuse("uid", &uid.to_string());
    }
    let home = passwd.at(field::HOME);
    if user.home.as_ref().is_some_and(|wanted| wanted.as_str().as_bytes() != home) {
        return refuse("home", &String::from_utf8_lossy(&home));
    }
    // An account with another number is another account: somebody has made it anew.
    let previous = previous.filter(|record| record.uid == uid);
    let shadow = match database.shadow.line(name)? {
        Some(line) => Fields::of(line),
        None => {
            let mut fields = default_shadow(name);
            let password = passwd.at(field::PASSWORD);
            fields.put(field::PASSWORD, if password == b"x" { b"*".to_vec() } else { password });
            fields
        }
    };
    let retired = shadow.at(field::PASSWORD) == b"!" && shadow.at(field::EXPIRE) == EXPIRED;
    let created = match previous {
        Some(record) => record.passwd_before.is_none(),
        // This is how `leave` locks an account that the settings had made: it is ours again.
        None => retired && !database.is_system(uid),
    };
    if given_gid.is_some_and(|wanted| wanted != gid) && database.is_system(uid) && !created {
        return refuse("group", &format!("the primary group {gid}"));
    }
    record.uid = uid;
    let lines = |text: &Option<String>, now: &Fields| match text {
        Some(text) => Fields::of(text.as_bytes()),
        None => now.clone(),
    };
    let (passwd_base, shadow_base);
    if created {
        let own = database.group.id(name)?.unwrap_or(gid);
        passwd_base = default_passwd(name, uid, own, &GuestPath::root(), default_shell);
        shadow_base = default_shadow(name);
    } else {
        let there = database.shadow.line(name)?.map(|_| shadow.text());
        record.passwd_before = Some(previous.and_then(|p| p.passwd_before.clone()).unwrap_or_else(|| passwd.text()));
        record.shadow_before = previous.map_or(there, |record| record.shadow_before.clone());
        passwd_base = lines(&record.passwd_before, &passwd);
        shadow_base = match (&record.shadow_before, previous) {
            (None, Some(_)) => {
                let mut fields = default_shadow(name);
                let password = passwd_base.at(field::PASSWORD);
                fields.put(field::PASSWORD, if password == b"x" { b"*".to_vec() } else { password });
                fields
            }
            (text, _) => lines(text, &shadow),
        };
    }
    Ok(Lines {
        passwd_ours: previous.map_or_else(|| passwd.clone(), |record| Fields::of(record.passwd_ours.as_bytes())),
        passwd_base,
        passwd,
        shadow_ours: previous.map_or_else(|| shadow.clone(), |record| Fields::of(record.shadow_ours.as_bytes())),
        shadow_base,
        shadow,
    })
}

fn settle_passwd(user: &User, given_gid: Option<u32>, lines: &mut Lines) {
    let given = [
        (field::PRIMARY, given_gid.map(|gid| gid.to_string().into_bytes())),
        (field::COMMENT, user.comment.as_ref().map(|comment| comment.as_str().as_bytes().to_vec())),
        (field::SHELL, user.shell.as_ref().map(|shell| shell.as_str().as_bytes().to_vec())),
    ];
    for (index, given) in given {
        let slot = Slot {
            given,
            current: lines.passwd.at(index),
            ours: lines.passwd_ours.at(index),
            base: lines.passwd_base.at(index),
        };
        let (value, ours) = slot.settle();
        lines.passwd.put(index, value);
        lines.passwd_ours.put(index, ours);
    }
}

fn settle_shadow(user: &User, lines: &mut Lines) {
    let keys = user.ssh_authorized_keys.as_ref().is_some_and(|keys| !keys.is_empty());
    let mut base = lines.shadow_base.at(field::PASSWORD);
    let base_expire = lines.shadow_base.at(field::EXPIRE);
    if keys && matches!(base.as_slice(), b"!" | b"!!" | b"!*") {
        // Nobody logs in with this password either, but sshd without PAM refuses keys where there is a `!`.
        base = b"*".to_vec();
    }
    let current = password_now(lines.shadow.at(field::PASSWORD), &lines.shadow_ours.at(field::PASSWORD), &base);
    let given = user.password_hash.as_ref().map(|hash| hash.expose().as_bytes().to_vec());
    let was_locked = lines.shadow_ours.at(field::EXPIRE) == EXPIRED && base_expire != EXPIRED;
    let foreign = given.is_none() && current != lines.shadow_ours.at(field::PASSWORD);
    let slot = Slot { given, current, ours: lines.shadow_ours.at(field::PASSWORD), base: base.clone() };
    let (mut value, mut ours) = slot.settle();
    if user.locked {
        if !value.starts_with(b"!") {
            value.insert(0, b'!');
        }
        if !foreign {
            ours = value.clone();
        }
    } else if foreign && was_locked && value.starts_with(b"!") {
        // A password that the user had set by hand comes back from under our lock; never an empty one.
        value.remove(0);
        if value.is_empty() {
            value = base;
        }
    }
    lines.shadow.put(field::PASSWORD, value);
    lines.shadow_ours.put(field::PASSWORD, ours);
    let opened = keys || user.password_hash.is_some();
    let expire = Slot {
        given: user.locked.then(|| EXPIRED.to_vec()),
        current: lines.shadow.at(field::EXPIRE),
        ours: lines.shadow_ours.at(field::EXPIRE),
        base: if opened && base_expire == EXPIRED { Vec::new() } else { base_expire },
    };
    let (value, ours) = expire.settle();
    lines.shadow.put(field::EXPIRE, value);
    lines.shadow_ours.put(field::EXPIRE, ours);
}

/// Locks the users that the settings had made and no longer name, and gives the others their former fields back.
pub(super) fn leave(
    settings: &Settings,
    previous: &Accounts,
    database: &mut Database,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let wanted: BTreeSet<&str> = settings.users.iter().map(|user| user.name.as_str()).collect();
    for (name, record) in previous.users.iter().filter(|(name, _)| !wanted.contains(name.as_str())) {
        let Some(uid) = database.passwd.id(name)? else { continue };
        if uid != record.uid {
            warnings.push(format!(
                "user {name}: has left the settings, but its number is {uid} now and was {}; left as it is",
                record.uid
            ));
            continue;
        }
        match &record.passwd_before {
            None => lock(name, database)?,
            Some(before) => give_back(name, before, record, database)?,
        }
    }
    Ok(())
}

fn lock(name: &str, database: &mut Database) -> Result<()> {
    if database.shadow.line(name)?.is_none() {
        let shadow = default_shadow(name);
        let fields: Vec<&[u8]> = shadow.0.iter().map(Vec::as_slice).collect();
        database.shadow.append(&fields)?;
    }
    database.passwd.set(name, field::PASSWORD, b"x")?;
    database.shadow.set(name, field::PASSWORD, b"!")?;
    database.shadow.set(name, field::EXPIRE, EXPIRED)
}

fn give_back(name: &str, before: &str, record: &OwnedUser, database: &mut Database) -> Result<()> {
    let former = |now: Vec<u8>, ours: &str, before: &str, index: usize| {
        let [ours, base] = [ours, before].map(|line| Fields::of(line.as_bytes()).at(index));
        Slot { given: None, current: now, ours, base }.settle().0
    };
    let now = Fields::of(database.passwd.line(name)?.unwrap_or_default());
    for index in [field::PRIMARY, field::COMMENT, field::SHELL] {
        database.passwd.set(name, index, &former(now.at(index), &record.passwd_ours, before, index))?;
    }
    let Some(line) = database.shadow.line(name)? else { return Ok(()) };
    let shadow = Fields::of(line);
    match &record.shadow_before {
        Some(before) => {
            let at = |line: &str| Fields::of(line.as_bytes()).at(field::PASSWORD);
            let password = password_now(shadow.at(field::PASSWORD), &at(&record.shadow_ours), &at(before));
            for (index, now) in [(field::PASSWORD, password), (field::EXPIRE, shadow.at(field::EXPIRE))] {
                database.shadow.set(name, index, &former(now, &record.shadow_ours, before, index))?;
            }
        }
        // The line is of our making, and the password may have stood in `passwd` itself.
        None if shadow.text() == record.shadow_ours => {
            database.shadow.remove(name)?;
            database.passwd.set(name, field::PASSWORD, &Fields::of(before.as_bytes()).at(field::PASSWORD))?;
        }
        None => {}
    }
    Ok(())
}
