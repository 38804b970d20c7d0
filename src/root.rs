//! The guest's real root: a directory descriptor, below which everything is reached name by name.
//!
//! The guest may be hostile ground: a directory in it may belong to a user who puts a link where we are about to write. So
//! the kernel never resolves a path of more than one name for us, and a link in the middle of a path is followed only if
//! none but a *trusted owner* could have put it there:
//!
//! - the link itself belongs to a trusted owner, and
//! - so does the directory it stands in, and nobody else can write there. The sticky bit counts as that, because in a sticky
//!   directory a stranger cannot replace a name of ours, as long as it is the link's only one; being writable by a trusted group
//!   does too.
//!
//! Trusted are user 0 and group 0; and, where this process is not root's, the user and group it runs as. The second rule is
//! what makes the look and the step after it one: nobody who could change the link in between is left.
//!
//! A plain directory is entered whoever owns it. A user can only put a directory there that is the user's own, so what is
//! written into it is nothing the user could not have had anyway.

use crate::error::{Error, Result};
use crate::guest::{
    File, GuestPath, Kind, MAX_GUEST_FILE, MAX_GUEST_LIST, MAX_LINKS, Node, Owner, View, is_open_to_users,
};
use crate::platform;
use crate::platform::files::{self, Stat, SystemError};
use std::fmt::Display;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Sticky.
const STICKY: u32 = 0o1000;

/// The root of the guest.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    caller: Owner,
}

/// Where a way ends: the directory that was reached, and the last name in it. No name: the directory itself.
struct Place {
    directory: OwnedFd,
    name: Option<String>,
}

impl Root {
    /// Opens the root of a guest: `/`, or a directory that holds one. The path itself is the operator's and is followed as
    /// it is.
    ///
    /// # Errors
    /// It is no directory, or cannot be opened.
    pub fn open(path: &Path) -> Result<Root> {
        match files::open_directory(path) {
            Ok(directory) => Ok(Root { directory, caller: files::caller() }),
            Err(error) => {
                let reason = io::Error::from(error);
                Err(Error::not_applied(
                    path.display(),
                    format_args!("cannot be opened as the root of a guest: {reason}"),
                    "name a directory that holds a guest's root",
                ))
            }
        }
    }

    /// Whether owners can be set, and so are to be compared. False where this process is not root's: then everything it
    /// makes is its own, and a difference of owners is no difference.
    pub fn compares_owners(&self) -> bool {
        self.caller.uid == 0
    }

    /// The directory that holds the last name of `path`, open, and that name. `None`: that directory is absent.
    ///
    /// This is what every writer goes through. The last name is not looked at.
    ///
    /// # Errors
    /// The path is `/`, which no directory holds; or as for [`View::node`].
    pub fn open_parent(&self, path: &GuestPath) -> Result<Option<(OwnedFd, String)>> {
        match self.walk(path, false)? {
            None => Ok(None),
            Some(Place { directory, name: Some(name) }) => Ok(Some((directory, name))),
            Some(Place { name: None, .. }) => {
                Err(Error::not_applied(path, "is the root itself", "name something in it"))
            }
        }
    }

    /// A new descriptor of the directory at this path, not following a link there. `None`: nothing stands there.
    ///
    /// # Errors
    /// As for [`View::node`]; also what is not a directory.
    pub fn open_directory(&self, path: &GuestPath) -> Result<Option<OwnedFd>> {
        let Some(place) = self.walk(path, false)? else { return Ok(None) };
        match look(path, &place)? {
            None => Ok(None),
            Some(stat) if stat.kind == Kind::Directory => open_directory(path, &place).map(Some),
            Some(_) => Err(no_directory(path)),
        }
    }

    /// What the system says of what stands at this path, without following a link there.
    ///
    /// # Errors
    /// As for [`View::node`], except that anything may stand there.
    pub fn stat(&self, path: &GuestPath) -> Result<Option<Stat>> {
        match self.walk(path, false)? {
            None => Ok(None),
            Some(place) => look(path, &place),
        }
    }

    /// Goes as far as the directory in which the way ends. `None`: a directory on the way is absent. With `follow`, a link
    /// at the end is followed too.
    fn walk(&self, path: &GuestPath, follow: bool) -> Result<Option<Place>> {
        let mut links = MAX_LINKS;
        // The directories entered, from the root downwards. `..` goes back to the one that was come from, so it cannot
        // leave the root.
        let mut entered: Vec<OwnedFd> = Vec::new();
        let mut left: Vec<String> = path.components().rev().map(str::to_owned).collect();
        while let Some(name) = left.pop() {
            if name == ".." {
                entered.pop();
                continue;
            }
            let here = entered.last().unwrap_or(&self.directory);
            let last = left.is_empty();
            if last && !follow {
                return self.place(path, here, Some(name)).map(Some);
            }
            let stat = files::stat_at(here, &name).map_err(|error| unreadable(path, &name, error))?;
            match stat {
                Some(link @ Stat { kind: Kind::Link, .. }) => {
                    links = links.checked_sub(1).ok_or_else(|| {
                        Error::not_applied(path, "passes through more than 40 links", "remove the loop of links")
                    })?;
                    self.trust_link(path, &name, link, here)?;
                    let target = link_target(path, here, &name)?;
                    if target.starts_with('/') {
                        entered.clear();
                    }
                    left.extend(GuestPath::names_of_target(&target));
                }
                _ if last => return self.place(path, here, Some(name)).map(Some),
                None => return Ok(None),
                Some(Stat { kind: Kind::Directory, .. }) => {
                    let below =
                        files::open_directory_at(here, &name).map_err(|error| unreadable(path, &name, error))?;
                    entered.push(below);
                }
                Some(_) => {
                    return Err(Error::not_applied(
                        path,
                        format_args!("`{name}` on the way to it is not a directory"),
                        "remove what stands there",
                    ));
                }
            }
        }
        self.place(path, entered.last().unwrap_or(&self.directory), None).map(Some)
    }

    fn place(&self, path: &GuestPath, directory: &OwnedFd, name: Option<String>) -> Result<Place> {
        match directory.try_clone() {
            Ok(directory) => Ok(Place { directory, name }),
            Err(error) => {
                Err(Error::not_applied(path, format_args!("cannot be opened: {error}"), "try again").as_failure())
            }
        }
    }

    /// Whether none but a trusted owner could have put this link here.
    fn trust_link(&self, path: &GuestPath, name: &str, link: Stat, directory: &OwnedFd) -> Result<()> {
        let owner = link.owner;
        let stat = files::stat(directory).map_err(|error| unreadable(path, ".", error))?;
        let trusted_user = |uid: u32| uid == 0 || uid == self.caller.uid;
        let trusted_group = |gid: u32| gid == 0 || (self.caller.uid != 0 && gid == self.caller.gid);
        // A second name of a link of root's may be a stranger's work, where the kernel lets strangers give names.
        let strangers_write = (stat.mode & STICKY == 0 || link.names > 1)
            && (stat.mode & 0o002 != 0 || (stat.mode & 0o020 != 0 && !trusted_group(stat.owner.gid)));
        if trusted_user(owner.uid) && trusted_user(stat.owner.uid) && !strangers_write {
            return Ok(());
        }
        Err(Error::not_applied(
            path,
            format_args!("the link `{name}` on the way to it could have been planted by a user ({owner} owns it)"),
            "remove the link, or let root own it and its directory and none but root write there",
        ))
    }

    fn node_at(&self, path: &GuestPath, place: &Place) -> Result<Option<Node>> {
        let Some(stat) = look(path, place)? else { return Ok(None) };
        match (stat.kind, &place.name) {
            (Kind::Directory, _) => Ok(Some(Node::Directory { mode: stat.mode, owner: stat.owner })),
            (Kind::Link, Some(name)) => Ok(Some(Node::Link(link_target(path, &place.directory, name)?))),
            (Kind::File, Some(name)) => read_file(path, &place.directory, name).map(Node::File).map(Some),
            _ => Err(Error::not_applied(
                path,
                "is a device, a pipe or a socket",
                "remove it, or leave the path out of the settings",
            )),
        }
    }
}

impl View for Root {
    fn node(&self, path: &GuestPath) -> Result<Option<Node>> {
        match self.walk(path, false)? {
            None => Ok(None),
            Some(place) => self.node_at(path, &place),
        }
    }

    fn read(&self, path: &GuestPath) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.walk(path, true)? else { return Ok(None) };
        match self.node_at(path, &place)? {
            None => Ok(None),
            Some(Node::File(file)) => Ok(Some(file.content)),
            Some(_) => Err(Error::not_applied(path, "is not a regular file", "put a file there")),
        }
    }

    fn kind(&self, path: &GuestPath) -> Result<Option<Kind>> {
        match self.walk(path, true)? {
            None => Ok(None),
            Some(place) => Ok(look(path, &place)?.map(|stat| stat.kind)),
        }
    }

    fn list(&self, path: &GuestPath) -> Result<Option<Vec<String>>> {
        let Some(place) = self.walk(path, true)? else { return Ok(None) };
        match look(path, &place)? {
            None => return Ok(None),
            Some(Stat { kind: Kind::Directory, .. }) => {}
            Some(_) => return Err(no_directory(path)),
        }
        let directory = open_directory(path, &place)?;
        let names = files::names(&directory, MAX_GUEST_LIST).map_err(|error| unreadable(path, ".", error))?;
        if names.len() > MAX_GUEST_LIST {
            return Err(Error::not_applied(path, "holds more than 16384 names", "remove what is not needed there"));
        }
        let mut texts = Vec::with_capacity(names.len());
        for name in names {
            texts.push(String::from_utf8(name).map_err(|broken| {
                let shown = String::from_utf8_lossy(broken.as_bytes()).into_owned();
                Error::not_applied(path, format_args!("holds the name `{shown}`, which is not UTF-8"), "rename it")
            })?);
        }
        texts.sort();
        Ok(Some(texts))
    }

    /// As declared; a directory behind a link counts as the directory. False where this process is not root's: then all
    /// users are one.
    fn is_in_reach_of_users(&self, path: &GuestPath) -> bool {
        let above = std::iter::successors(path.parent(), GuestPath::parent);
        let is_open =
            |directory: GuestPath| match self.walk(&directory, true).map(|place| place.map(|p| look(path, &p))) {
                Ok(Some(Ok(Some(stat)))) => stat.kind == Kind::Directory && is_open_to_users(stat.mode, stat.owner),
                _ => false,
            };
        self.compares_owners() && above.into_iter().any(is_open)
    }
}

fn look(path: &GuestPath, place: &Place) -> Result<Option<Stat>> {
    match &place.name {
        None => files::stat(&place.directory).map(Some).map_err(|error| unreadable(path, ".", error)),
        Some(name) => files::stat_at(&place.directory, name).map_err(|error| unreadable(path, name, error)),
    }
}

fn open_directory(path: &GuestPath, place: &Place) -> Result<OwnedFd> {
    let name = place.name.as_deref().unwrap_or(".");
    files::open_directory_at(&place.directory, name).map_err(|error| unreadable(path, name, error))
}

fn link_target(path: &GuestPath, directory: &OwnedFd, name: &str) -> Result<String> {
    let target = files::read_link_at(directory, name).map_err(|error| unreadable(path, name, error))?;
    String::from_utf8(target).map_err(|_| {
        Error::not_applied(path, format_args!("the target of the link `{name}` is not UTF-8"), "make the link again")
    })
}

/// Reads a file that was seen to be a regular one. What is opened is looked at again, because it may be another by now.
fn read_file(path: &GuestPath, directory: &OwnedFd, name: &str) -> Result<File> {
    let file = files::open_file_at(directory, name).map_err(|error| unreadable(path, name, error))?;
    let stat = files::stat(&file).map_err(|error| unreadable(path, name, error))?;
    let too_large = || Error::not_applied(path, "is larger than 8 MiB", "make it smaller, or leave it to the guest");
    if stat.kind != Kind::File {
        return Err(Error::not_applied(path, "was replaced while it was read", "try again"));
    }
    if stat.size > MAX_GUEST_FILE as u64 {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
    let mut bounded = std::fs::File::from(file).take(MAX_GUEST_FILE as u64 + 1);
    bounded.read_to_end(&mut content).map_err(|error| {
        Error::not_applied(path, format_args!("cannot be read: {error}"), "look at the file system it lies on")
            .as_failure()
    })?;
    if content.len() > MAX_GUEST_FILE {
        return Err(too_large());
    }
    Ok(File { content, mode: stat.mode, owner: stat.owner })
}

fn no_directory(path: &GuestPath) -> Error {
    Error::not_applied(path, "is not a directory", "remove what stands there")
}

/// The error of a look at `name`, which is on the way to `path` or is its end (`.`: the directory itself).
fn unreadable(path: impl Display, name: &str, system: SystemError) -> Error {
    let remedy = match system {
        SystemError::EACCES | SystemError::EPERM => "run as root",
        SystemError::ELOOP | SystemError::ENOTDIR | SystemError::ENOENT => "it changed while it was read: try again",
        SystemError::EMFILE | SystemError::ENFILE => "allow more open files",
        SystemError::EAGAIN => "a process holds a lease on it (F_SETLEASE): end it",
        _ => "look at the file system it lies on",
    };
    let reason = io::Error::from(system);
    let error = Error::not_applied(path, format_args!("`{name}` cannot be read: {reason}"), remedy);
    if is_in_the_way(system) { error } else { error.as_failure() }
}

/// Whether this answer of the system is one that whoever may write there can bring about, and no disk that fails: by what
/// is put there, a lease on a file of one's own (`EAGAIN`), a key that is taken away (`ENOKEY`), a project of one's own
/// (`EXDEV`), something mounted there (`EBUSY`, `EACCES`), and the program behind that which has ended (`ENOTCONN`).
///
/// `EROFS` is not among them, because of a disk that became read-only as a whole; see where the commit asks.
pub(crate) fn is_in_the_way(error: SystemError) -> bool {
    platform::is_without_key(error)
        || matches!(
            error,
            SystemError::ELOOP
                | SystemError::ENOTDIR
                | SystemError::ENOENT
                | SystemError::EACCES
                | SystemError::EPERM
                | SystemError::EISDIR
                | SystemError::EINVAL
                | SystemError::ENXIO
                | SystemError::ENAMETOOLONG
                | SystemError::EEXIST
                | SystemError::ENOTEMPTY
                | SystemError::EAGAIN
                | SystemError::EBUSY
                | SystemError::EXDEV
                | SystemError::ENOTCONN
        )
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
