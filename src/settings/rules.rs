//! Rules between values, for every section but the network: what is good by itself may still not fit together.

use super::document::{Node, invalid, item_path, key_path};
use super::{Group, PlainFile, Refusal, Service, Settings, User};
use crate::error::{Error, Result};
use crate::guest::GuestPath;
use std::collections::BTreeMap;
use std::fmt;

/// One step of the way to a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A key of a table.
    Key(&'static str),
    /// An item of a list.
    Item(usize),
}

/// An error about the value that these steps lead to. Where the last ones lead nowhere (the key is absent), the place is
/// that of the last value there is.
pub(super) fn broken(document: &Node, way: &[Step], problem: impl fmt::Display, remedy: impl fmt::Display) -> Error {
    let mut path = String::new();
    let mut place = document.place();
    let mut node = Some(document);
    for step in way {
        (path, node) = match step {
            Step::Key(key) => (key_path(&path, key), node.and_then(|node| node.entry(key))),
            Step::Item(index) => (item_path(&path, *index), node.and_then(|node| node.item(*index))),
        };
        place = node.and_then(Node::place).or(place);
    }
    invalid(&path, place, problem, remedy)
}

/// Remembers values, as they are shown, and where they were first seen.
#[derive(Debug)]
pub(super) struct Unique(BTreeMap<String, String>);

impl Unique {
    /// Nothing seen.
    pub fn new() -> Self {
        Unique(BTreeMap::new())
    }

    /// Refuses a value that was seen before.
    pub fn add(&mut self, value: &dyn fmt::Display, document: &Node, way: &[Step]) -> Result<()> {
        let value = value.to_string();
        if let Some(first) = self.0.get(&value) {
            let problem = format!("`{value}` is also {first}");
            return Err(broken(document, way, problem, "keep it in one place"));
        }
        let path = broken(document, way, "", "").object().to_owned();
        self.0.insert(value, path);
        Ok(())
    }
}

/// Checks accounts, services and files.
pub(super) fn check(settings: &Settings, document: &Node) -> Result<()> {
    check_groups(&settings.groups, document)?;
    check_users(&settings.users, document)?;
    check_services(&settings.services, document)?;
    check_files(&settings.files, document)
}

fn check_groups(groups: &[Group], document: &Node) -> Result<()> {
    let (mut names, mut numbers) = (Unique::new(), Unique::new());
    for (index, group) in groups.iter().enumerate() {
        let way = |key| [Step::Key("groups"), Step::Item(index), Step::Key(key)];
        if group.name.as_str() == "root" {
            let problem = "is the system's own group";
            return Err(broken(document, &way("name"), problem, "leave it out, because it is in every guest"));
        }
        names.add(&group.name.as_str(), document, &way("name"))?;
        if let Some(gid) = group.gid {
            numbers.add(&gid, document, &way("gid"))?;
        }
    }
    Ok(())
}

fn check_users(users: &[User], document: &Node) -> Result<()> {
    let (mut names, mut numbers) = (Unique::new(), Unique::new());
    for (index, user) in users.iter().enumerate() {
        let way = |key| [Step::Key("users"), Step::Item(index), Step::Key(key)];
        names.add(&user.name.as_str(), document, &way("name"))?;
        if let Some(uid) = user.uid {
            numbers.add(&uid, document, &way("uid"))?;
        }
        let mut groups = Unique::new();
        for (item, group) in user.groups.iter().enumerate() {
            let way = [Step::Key("users"), Step::Item(index), Step::Key("groups"), Step::Item(item)];
            groups.add(&group.as_str(), document, &way)?;
        }
        if user.name.as_str() == "root" {
            check_root(user, document, way)?;
        }
    }
    Ok(())
}

/// The superuser is in every guest already: settings may only say how it logs in.
fn check_root(user: &User, document: &Node, way: impl Fn(&'static str) -> [Step; 3]) -> Result<()> {
    let given = [
        ("uid", user.uid.is_some()),
        ("group", user.group.is_some()),
        ("groups", !user.groups.is_empty()),
        ("home", user.home.is_some()),
        ("comment", user.comment.is_some()),
        ("sudo", user.sudo != super::Sudo::None),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(broken(
            document,
            &way(key),
            "cannot be set for root",
            "set only password_hash, ssh_authorized_keys, shell and locked for root",
        )),
        None => Ok(()),
    }
}

fn check_services(services: &[Service], document: &Node) -> Result<()> {
    let mut names = Unique::new();
    for (index, service) in services.iter().enumerate() {
        let way = [Step::Key("services"), Step::Item(index), Step::Key("name")];
        names.add(&service.name.as_str(), document, &way)?;
        let mut variables = Unique::new();
        for (item, variable) in service.environment.iter().enumerate() {
            let way = [
                Step::Key("services"),
                Step::Item(index),
                Step::Key("environment"),
                Step::Item(item),
                Step::Key("name"),
            ];
            variables.add(&variable.name.as_str(), document, &way)?;
        }
    }
    Ok(())
}

/// Where files cannot be kept, because what lies there is gone at the next start or is no file at all.
const PASSING: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/var/run"];

/// How the names begin under which new files wait for their commit.
const RESERVED: &str = ".handoff-";

/// What another part of this program writes or relies on, and the section to use instead.
const OTHERS: [(&str, &str); 17] = [
    ("/etc/passwd", "`users`"),
    ("/etc/shadow", "`users`"),
    ("/etc/group", "`groups`"),
    ("/etc/gshadow", "`groups`"),
    ("/etc/sudoers", "`users[].sudo`"),
    ("/etc/sudoers.d", "`users[].sudo`"),
    ("/etc/hostname", "`hostname`"),
    ("/etc/hosts", "`hosts`"),
    ("/etc/machine-id", "`instance.id`"),
    ("/var/lib/dbus/machine-id", "`instance.id`"),
    ("/etc/handoff", ""),
    ("/usr/lib/handoff", ""),
    ("/lib/handoff", ""),
    ("/var/lib/handoff", ""),
    ("/usr/sbin/handoff-agent", ""),
    ("/usr/bin/handoff-agent", ""),
    ("/sbin/handoff-agent", ""),
];

/// Why no file of the settings, and no home, can be at this path. A link of the guest may lead there under another name, so
/// renderers ask again with the name behind the links.
pub fn refuse_path(path: &GuestPath) -> Option<Refusal> {
    let within = |area: &str| GuestPath::parse(area).is_ok_and(|area| path.is_within(&area));
    if let Some(area) = PASSING.iter().find(|area| within(area)) {
        let problem = format!("`{path}` lies in {area}, where no file stays");
        return Some(Refusal::new(problem, "choose another path"));
    }
    let (area, section) = OTHERS.iter().find(|(area, _)| within(area))?;
    let remedy = match *section {
        "" => "leave it out, because settings never change the program that reads them".to_owned(),
        section => format!("use {section}, which writes it"),
    };
    Some(Refusal::new(format!("{area} is not for `files`"), remedy))
}

/// Whether a volume may be mounted there: nothing that this program writes or relies on comes from a volume, which the host may
/// exchange, and nothing of it is hidden by one.
pub fn takes_volume(path: &GuestPath) -> bool {
    let above = |area: &str| GuestPath::parse(area).is_ok_and(|area| area.is_within(path));
    refuse_path(path).is_none() && !OTHERS.iter().any(|(area, _)| above(area))
}

fn check_files(files: &[PlainFile], document: &Node) -> Result<()> {
    let way = |index| [Step::Key("files"), Step::Item(index), Step::Key("path")];
    let mut paths = Unique::new();
    for (index, file) in files.iter().enumerate() {
        paths.add(&file.path.clone(), document, &way(index))?;
        if file.path.components().any(|name| name.starts_with(RESERVED)) {
            let problem = format!("`{}` has a name that begins with {RESERVED}", file.path);
            let remedy = "choose another name, because files under these are removed at the next start";
            return Err(broken(document, &way(index), problem, remedy));
        }
        if let Some(Refusal { problem, remedy }) = refuse_path(&file.path) {
            return Err(broken(document, &way(index), problem, remedy));
        }
    }
    for (index, file) in files.iter().enumerate() {
        let mut above = file.path.parent();
        while let Some(directory) = above {
            if let Some(first) = paths.0.get(directory.as_str()) {
                let problem = format!("`{}` lies below `{directory}`, which is a file by {first}", file.path);
                return Err(broken(document, &way(index), problem, "remove one of the two"));
            }
            above = directory.parent();
        }
    }
    Ok(())
}
