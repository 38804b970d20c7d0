//! Looking up units in the guest, in the order in which systemd does.

use super::install::{Install, Parts};
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node, View};
use crate::render::Context;
use crate::render::base::{Base, beside};

/// Where the machine's own units and all links of `systemctl enable` are.
pub const ETC: &str = "/etc/systemd/system";
const LOCAL: &str = "/usr/local/lib/systemd/system";
const LIB: &str = "/lib/systemd/system";
const USR: &str = "/usr/lib/systemd/system";

/// How many aliases may lead to a unit.
const MAX_ALIASES: usize = 8;

/// A unit of the guest.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its own name, with the instance; not an alias.
    pub name: String,
    /// Where its file is, spelled as `systemctl enable` of this guest writes it in a link.
    pub file: String,
    /// What its `[Install]` sections say.
    pub install: Install,
}

/// What there is under the name of a unit.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The unit, whether masked or not.
    pub unit: Option<Unit>,
    /// The machine's own mask, which can be taken away.
    pub masked: Option<GuestPath>,
    /// The image's mask in `/usr`, which cannot.
    pub masked_by_image: bool,
}

/// The units of the guest, without what is ours.
#[derive(Debug)]
pub struct Units<'a> {
    /// The guest without what is ours.
    pub base: Base<'a>,
    directories: Vec<&'static str>,
}

impl<'a> Units<'a> {
    /// Looks at the guest.
    ///
    /// # Errors
    /// The guest cannot be read.
    pub fn new(context: &Context<'a>) -> Result<Self> {
        let base = Base::new(context);
        let split = matches!(base.node(&GuestPath::of("/lib"))?, Some(Node::Directory { .. }));
        let vendor = if split { vec![LIB, USR] } else { vec![spelling(&base)?] };
        let directories = [ETC, LOCAL].into_iter().chain(vendor).collect();
        Ok(Units { base, directories })
    }

    /// What there is under this name. An alias is followed.
    ///
    /// # Errors
    /// The guest cannot be read, or aliases go round in a circle.
    pub fn find(&self, name: &str) -> Result<Found> {
        let mut name = name.to_owned();
        for _ in 0..MAX_ALIASES {
            let mut found = Found::default();
            match self.look_up(&name, &name, &mut found)? {
                Some(alias) => name = alias,
                None => {
                    if let Some(unit) = &mut found.unit {
                        self.read_install(unit)?;
                    }
                    return Ok(found);
                }
            }
        }
        Err(Error::not_applied(format_args!("unit `{name}`"), "is an alias of itself", "mend the links in the image"))
    }

    /// Fills `found`, or says which other name this one stands for.
    fn look_up(&self, name: &str, file_name: &str, found: &mut Found) -> Result<Option<String>> {
        for directory in &self.directories {
            let path = GuestPath::parse(&format!("{directory}/{file_name}"))?;
            match self.base.node(&path)? {
                None => continue,
                Some(Node::Link(target)) if target == "/dev/null" => {
                    if *directory == ETC && name == file_name {
                        found.masked = Some(path);
                        continue;
                    }
                    found.masked_by_image = true;
                    return Ok(None);
                }
                Some(Node::File(file)) if file.content.is_empty() => {
                    found.masked_by_image = true;
                    return Ok(None);
                }
                Some(Node::Link(target)) => {
                    let to = beside(&path, &target)?;
                    if to.name() != file_name {
                        return Ok(Some(alias_of(name, to.name())));
                    }
                }
                Some(Node::File(_)) => {}
                Some(Node::Directory { .. }) => continue,
            }
            found.unit = Some(Unit { name: name.into(), file: path.as_str().to_owned(), install: Install::default() });
            return Ok(None);
        }
        match Parts::of(name) {
            Some(parts) if name == file_name && parts.instance.is_some_and(|instance| !instance.is_empty()) => {
                self.look_up(name, &parts.with_instance(""), found)
            }
            _ => Ok(None),
        }
    }

    fn read_install(&self, unit: &mut Unit) -> Result<()> {
        if let Some(bytes) = self.base.read(&GuestPath::parse(&unit.file)?)? {
            unit.install.read(&String::from_utf8_lossy(&bytes));
        }
        let mut owners = vec![unit.name.clone()];
        if let Some(parts) = Parts::of(&unit.name).filter(|parts| parts.instance.is_some()) {
            owners.push(parts.with_instance(""));
        }
        owners.dedup();
        // A drop-in in an earlier directory hides one of the same name in a later one; all are read by name.
        let mut drop_ins: Vec<(String, GuestPath)> = Vec::new();
        for owner in owners {
            for directory in &self.directories {
                let directory = GuestPath::parse(&format!("{directory}/{owner}.d"))?;
                if self.base.kind(&directory)? != Some(Kind::Directory) {
                    continue;
                }
                for name in self.base.list(&directory)?.unwrap_or_default() {
                    if name.ends_with(".conf") && !drop_ins.iter().any(|(there, _)| *there == name) {
                        let path = directory.join(&name)?;
                        drop_ins.push((name, path));
                    }
                }
            }
        }
        drop_ins.sort();
        for (_, path) in drop_ins {
            let masked = matches!(self.base.node(&path)?, Some(Node::Link(target)) if target == "/dev/null");
            if let Some(bytes) = self
                .base
                .read(&path)
                .map(|bytes| bytes.filter(|_| !masked))
                .or_else(|error| if masked { Ok(None) } else { Err(error) })?
            {
                unit.install.read(&String::from_utf8_lossy(&bytes));
            }
        }
        Ok(())
    }

    /// The links of `systemctl enable` and its like: path and target of each link in [`ETC`] and in its `.wants`,
    /// `.requires` and `.upholds` directories.
    ///
    /// # Errors
    /// The guest cannot be read.
    pub fn links(&self) -> Result<Vec<(GuestPath, String)>> {
        let etc = GuestPath::of(ETC);
        let mut links = Vec::new();
        for name in self.base.list(&etc)?.unwrap_or_default() {
            let path = etc.join(&name)?;
            match self.base.node(&path)? {
                Some(Node::Link(target)) => links.push((path, target)),
                Some(Node::Directory { .. }) if is_dependency_directory(&name) => {
                    for name in self.base.list(&path)?.unwrap_or_default() {
                        let path = path.join(&name)?;
                        if let Some(Node::Link(target)) = self.base.node(&path)? {
                            links.push((path, target));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(links)
    }

    /// A path in the image's own directories that wants this unit, whatever the machine's links say.
    ///
    /// # Errors
    /// The guest cannot be read.
    pub fn wanted_by_image(&self, unit: &str) -> Result<Option<GuestPath>> {
        for directory in self.directories.iter().filter(|directory| **directory != ETC) {
            let directory = GuestPath::of(directory);
            for name in self.base.list(&directory)?.unwrap_or_default() {
                let link = directory.join(&name)?.join(unit)?;
                if is_dependency_directory(&name) && self.base.node(&link)?.is_some() {
                    return Ok(Some(link));
                }
            }
        }
        Ok(None)
    }

    /// Up to three units with names like this one, for an error message.
    ///
    /// # Errors
    /// The guest cannot be read.
    pub fn like(&self, name: &str) -> Result<Vec<String>> {
        let stem = |name: &str| name.rsplit_once('.').map_or("", |(stem, _)| stem).to_owned();
        let wanted = stem(name);
        let mut near = Vec::new();
        for directory in &self.directories {
            for there in self.base.list(&GuestPath::of(directory))?.unwrap_or_default() {
                if Parts::of(&there).is_none() || is_dependency_directory(&there) || there.ends_with(".d") {
                    continue;
                }
                let other = stem(&there);
                let part = wanted.len() >= 3 && other.contains(&wanted) || other.len() >= 3 && wanted.contains(&other);
                let distance = if part { 1 } else { distance(&wanted, &other) };
                if distance <= 2 && distance < wanted.len() {
                    near.push((distance, there));
                }
            }
        }
        near.sort();
        near.dedup();
        Ok(near.into_iter().map(|(_, name)| name).take(3).collect())
    }
}

/// Whether a link at this path with this target already names that file, in whatever spelling.
pub fn names_file(link: &GuestPath, target: &str, file: &str) -> bool {
    let plain =
        |path: &str| path.strip_prefix("/usr").filter(|rest| rest.starts_with("/lib/")).unwrap_or(path).to_owned();
    beside(link, target).is_ok_and(|to| plain(to.as_str()) == plain(file))
}

fn is_dependency_directory(name: &str) -> bool {
    [".wants", ".requires", ".upholds"].iter().any(|suffix| name.ends_with(suffix))
}

/// The unit that an alias stands for, keeping the instance.
fn alias_of(name: &str, target: &str) -> String {
    match (Parts::of(name), Parts::of(target)) {
        (Some(name), Some(target)) if target.is_template() => match name.instance {
            Some(instance) => target.with_instance(instance),
            None => target.name.to_owned(),
        },
        _ => target.to_owned(),
    }
}

/// How this guest's systemd spells the directory of its units in a link: it is `/lib` up to systemd 254 as Debian
/// builds it, and `/usr/lib` elsewhere. Links that are there already show it.
fn spelling(base: &Base<'_>) -> Result<&'static str> {
    let etc = GuestPath::of(ETC);
    for name in base.list(&etc)?.unwrap_or_default() {
        let path = etc.join(&name)?;
        let paths = match base.node(&path)? {
            Some(Node::Directory { .. }) if is_dependency_directory(&name) => {
                let names = base.list(&path)?.unwrap_or_default();
                names.iter().map(|name| path.join(name)).collect::<Result<Vec<_>>>()?
            }
            _ => vec![path],
        };
        for path in paths {
            if let Some(Node::Link(target)) = base.node(&path)? {
                for directory in [LIB, USR] {
                    if target.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')) {
                        return Ok(directory);
                    }
                }
            }
        }
    }
    Ok(USR)
}

/// How many letters must be changed, put in or taken out to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (left + 1).min(*cell + 1).min(corner + usize::from(x != y));
            corner = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("haproxy", "haproxy"), 0);
        assert_eq!(distance("haproxi", "haproxy"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_link_names_a_file_in_either_spelling() {
        let link = GuestPath::of("/etc/systemd/system/a.target.wants/b.service");
        assert!(names_file(&link, "/lib/systemd/system/b.service", "/usr/lib/systemd/system/b.service"));
        assert!(names_file(&link, "../b.service", "/etc/systemd/system/b.service"));
        assert!(!names_file(&link, "/opt/b.service", "/lib/systemd/system/b.service"));
    }
}
