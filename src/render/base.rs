//! The guest as it is without us: what we own is seen as what it replaced, with the settings' own whole files on top.
//!
//! A renderer that looks at the guest to decide what to write must not see what it wrote the last time. If it did, the
//! links that a disabled service lost would be unknown the second time, and would be given back.

use super::Context;
use crate::commit::state::Trace;
use crate::commit::store;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, MAX_LINKS, Node, View};

/// The view. Links in the middle of a path are followed as the guest stands, because none of them is ever ours.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    context: Context<'a>,
}

impl std::fmt::Debug for Base<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Base(..)")
    }
}

impl<'a> Base<'a> {
    /// The view for one run.
    pub fn new(context: &Context<'a>) -> Self {
        Base { context: *context }
    }

    fn replaced(&self, path: &GuestPath) -> Option<&'a Trace> {
        self.context.previous.owned.get(path).map(|owned| &owned.replaced)
    }

    fn of_settings(&self, path: &GuestPath) -> Option<Node> {
        let file = self.context.settings.files.iter().find(|file| file.path == *path)?;
        Some(Node::file(file.content.clone(), file.mode.bits()))
    }

    /// The paths below this one where something stood that we replaced, or where the settings put a file.
    fn below<'b>(&'b self, path: &'b GuestPath) -> impl Iterator<Item = &'a GuestPath> + 'b {
        let replaced = self.context.previous.owned.iter().filter(|(_, owned)| owned.replaced != Trace::Absent);
        let settings = self.context.settings.files.iter().map(|file| &file.path);
        replaced.map(|(path, _)| path).chain(settings).filter(move |below| *below != path && below.is_within(path))
    }

    /// The node at the end of the links at this path, and where it is; `None` where there is none.
    fn follow(&self, path: &GuestPath) -> Result<Option<Node>> {
        let mut path = path.clone();
        for _ in 0..MAX_LINKS {
            match self.node(&path)? {
                Some(Node::Link(target)) => path = beside(&path, &target)?,
                node => return Ok(node),
            }
        }
        Err(Error::not_applied(path, "passes through more than 40 links", "remove the loop of links"))
    }
}

/// The path that a link at `path` with this target names.
pub fn beside(path: &GuestPath, target: &str) -> Result<GuestPath> {
    let mut names: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => path.components().collect(),
    };
    names.pop();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    GuestPath::parse(&format!("/{}", names.join("/")))
}

impl View for Base<'_> {
    fn node(&self, path: &GuestPath) -> Result<Option<Node>> {
        if let Some(node) = self.of_settings(path) {
            return Ok(Some(node));
        }
        if let Some(trace) = self.replaced(path) {
            return store::replaced(self.context.guest, path, trace);
        }
        let node = self.context.guest.node(path)?;
        // A directory may be gone because we took away the last thing in it.
        let implied = node.is_none() && self.below(path).next().is_some();
        Ok(if implied { Some(Node::directory(0o755)) } else { node })
    }

    fn read(&self, path: &GuestPath) -> Result<Option<Vec<u8>>> {
        match self.follow(path)? {
            None => Ok(None),
            Some(Node::File(file)) => Ok(Some(file.content)),
            Some(_) => Err(Error::not_applied(path, "is not a regular file", "put a file there")),
        }
    }

    fn kind(&self, path: &GuestPath) -> Result<Option<Kind>> {
        if self.of_settings(path).is_some() {
            return Ok(Some(Kind::File));
        }
        match self.replaced(path) {
            None => match self.context.guest.kind(path)? {
                None if self.below(path).next().is_some() => Ok(Some(Kind::Directory)),
                kind => Ok(kind),
            },
            Some(Trace::Absent) => Ok(None),
            Some(Trace::File { .. }) => Ok(Some(Kind::File)),
            Some(Trace::Directory { .. }) => Ok(Some(Kind::Directory)),
            Some(Trace::Link { target }) => self.context.guest.kind(&beside(path, target)?),
        }
    }

    fn list(&self, path: &GuestPath) -> Result<Option<Vec<String>>> {
        let mut names = self.context.guest.list(path)?;
        let own = |name: &String| path.join(name).is_ok_and(|path| self.replaced(&path) == Some(&Trace::Absent));
        if let Some(names) = &mut names {
            names.retain(|name| !own(name));
        }
        let depth = path.components().count();
        for name in self.below(path).filter_map(|below| below.components().nth(depth)) {
            names.get_or_insert_default().push(name.to_owned());
        }
        if let Some(names) = &mut names {
            names.sort();
            names.dedup();
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{Class, Resolved};
    use crate::commit::state::{Owned, State};
    use crate::guest::{Facts, Owner, Tree};
    use crate::settings::Settings;
    use crate::trust::Digest;

    #[test]
    fn what_is_ours_is_seen_as_what_it_replaced() {
        let sha256 = Digest::of(b"as it was").hex();
        let guest = Tree::new()
            .with_node("/etc/s/made", Node::link("x"))
            .with_node("/etc/s/masked.service", Node::link("/dev/null"))
            .with("/etc/s/other", "other")
            .with(store::object_path(&sha256).unwrap().as_str(), "as it was");
        let mut state = State::default();
        let mut own = |path: &str, replaced: Trace| {
            state.owned.insert(GuestPath::of(path), Owned { ours: Trace::Absent, replaced });
        };
        own("/etc/s/made", Trace::Absent);
        own("/etc/s/gone", Trace::Link { target: "other".into() });
        own("/etc/s/masked.service", Trace::File { sha256, mode: 0o640, owner: Owner::ROOT });
        let (settings, facts) = (Settings::default(), Facts::default());
        let (class, resolved) = (Class::default(), Resolved::default());
        let base = Base::new(&Context {
            settings: &settings,
            class: &class,
            resolved: &resolved,
            guest: &guest,
            previous: &state,
            facts: &facts,
        });
        let directory = GuestPath::of("/etc/s");
        assert_eq!(base.list(&directory).unwrap().unwrap(), ["gone", "masked.service", "other"]);
        assert_eq!(base.node(&GuestPath::of("/etc/s/made")).unwrap(), None);
        assert_eq!(base.read(&GuestPath::of("/etc/s/gone")).unwrap(), Some(b"other".to_vec()));
        let masked = base.node(&GuestPath::of("/etc/s/masked.service")).unwrap();
        assert_eq!(masked, Some(Node::file("as it was", 0o640)));
    }

    #[test]
    fn a_link_names_a_path_beside_it_or_from_the_root() {
        let at = GuestPath::of("/etc/systemd/system/a.service");
        assert_eq!(beside(&at, "b.service").unwrap(), GuestPath::of("/etc/systemd/system/b.service"));
        assert_eq!(beside(&at, "../../x//./y").unwrap(), GuestPath::of("/etc/x/y"));
        assert_eq!(beside(&at, "/lib/b").unwrap(), GuestPath::of("/lib/b"));
        assert_eq!(beside(&at, "../../../../../..").unwrap(), GuestPath::root());
    }
}
