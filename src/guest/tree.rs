//! A guest in memory, for tests and for showing what a plan leads to.

use super::{GuestPath, Kind, MAX_GUEST_FILE, MAX_LINKS, Node, View};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// A file tree in memory. A directory that is only implied by a path below it counts as root's with mode 0755.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tree {
    nodes: BTreeMap<GuestPath, Node>,
}

impl Tree {
    /// An empty guest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a node at a path, replacing what stood there.
    pub fn put(&mut self, path: GuestPath, node: Node) -> &mut Self {
        self.nodes.insert(path, node);
        self
    }

    /// Puts a file of root's with mode 0644; a short form for tests.
    #[must_use]
    pub fn with(mut self, path: &str, content: &str) -> Self {
        self.put(GuestPath::of(path), Node::file(content, 0o644));
        self
    }

    /// Puts any node; a short form for tests.
    #[must_use]
    pub fn with_node(mut self, path: &str, node: Node) -> Self {
        self.put(GuestPath::of(path), node);
        self
    }

    /// Takes away what stands at a path.
    pub fn remove(&mut self, path: &GuestPath) -> Option<Node> {
        self.nodes.remove(path)
    }

    /// All explicit nodes, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, &Node)> {
        self.nodes.iter()
    }

    fn plain(&self, path: &GuestPath) -> Option<Node> {
        if let Some(node) = self.nodes.get(path) {
            return Some(node.clone());
        }
        let implied = self.nodes.keys().any(|below| below != path && below.is_within(path));
        (implied || *path == GuestPath::root()).then(|| Node::directory(0o755))
    }

    /// The path with all links on the way resolved; with `last`, also a link at its end.
    fn resolve(&self, path: &GuestPath, last: bool) -> Result<GuestPath> {
        let mut left = MAX_LINKS;
        let mut done = GuestPath::root();
        let mut todo: Vec<String> = path.components().rev().map(str::to_owned).collect();
        while let Some(name) = todo.pop() {
            if name == ".." {
                done = done.parent().unwrap_or_else(GuestPath::root);
                continue;
            }
            let here = done.join(&name)?;
            match self.nodes.get(&here) {
                Some(Node::Link(target)) if last || !todo.is_empty() => {
                    left = left.checked_sub(1).ok_or_else(|| {
                        Error::not_applied(path, "passes through more than 40 links", "remove the loop of links")
                    })?;
                    if target.starts_with('/') {
                        done = GuestPath::root();
                    }
                    todo.extend(GuestPath::names_of_target(target));
                }
                _ => done = here,
            }
        }
        Ok(done)
    }
}

impl View for Tree {
    fn node(&self, path: &GuestPath) -> Result<Option<Node>> {
        Ok(self.plain(&self.resolve(path, false)?))
    }

    fn read(&self, path: &GuestPath) -> Result<Option<Vec<u8>>> {
        match self.plain(&self.resolve(path, true)?) {
            None => Ok(None),
            Some(Node::File(file)) if file.content.len() <= MAX_GUEST_FILE => Ok(Some(file.content)),
            Some(_) => Err(Error::not_applied(path, "is not a regular file of at most 8 MiB", "put a file there")),
        }
    }

    fn kind(&self, path: &GuestPath) -> Result<Option<Kind>> {
        Ok(self.plain(&self.resolve(path, true)?).map(|node| node.kind()))
    }

    fn list(&self, path: &GuestPath) -> Result<Option<Vec<String>>> {
        let directory = self.resolve(path, true)?;
        match self.plain(&directory) {
            None => return Ok(None),
            Some(Node::Directory { .. }) => {}
            Some(_) => return Err(Error::not_applied(path, "is not a directory", "remove what stands there")),
        }
        let depth = directory.components().count();
        let below = self.nodes.keys().filter(|below| **below != directory && below.is_within(&directory));
        let mut names: Vec<String> =
            below.filter_map(|below| below.components().nth(depth)).map(str::to_owned).collect();
        names.dedup();
        names.sort();
        names.dedup();
        Ok(Some(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_root() {
        let tree = Tree::new()
            .with("/usr/lib/x", "text")
            .with_node("/lib", Node::link("usr/lib"))
            .with_node("/up", Node::link("../../usr/lib/x"))
            .with_node("/loop", Node::link("loop"));
        assert_eq!(tree.read(&GuestPath::of("/lib/x")).unwrap(), Some(b"text".to_vec()));
        assert_eq!(tree.read(&GuestPath::of("/up")).unwrap(), Some(b"text".to_vec()));
        assert_eq!(tree.node(&GuestPath::of("/lib")).unwrap(), Some(Node::link("usr/lib")));
        assert_eq!(tree.list(&GuestPath::root()).unwrap().unwrap(), ["lib", "loop", "up", "usr"]);
        assert!(tree.read(&GuestPath::of("/loop")).is_err());
        assert_eq!(tree.read(&GuestPath::of("/nothing")).unwrap(), None);
    }
}
