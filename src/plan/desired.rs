//! The desired tree: what shall stand at each path that the settings speak of. Renderers fill it, the planner reads it.

use crate::commit::state::Accounts;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Node, Owner};
use std::collections::BTreeMap;

/// What becomes of a path when the settings no longer speak of it, and what is done if something stands there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keeping {
    /// Ours. What it replaced is kept, and given back when it leaves the settings.
    Owned,
    /// A file that holds other people's lines too, or something made once (an identity). Written when it differs; when it
    /// leaves the settings it stays as it is, because the renderer itself takes our part out.
    Edited,
    /// Made if nothing stands there, and the guest's own from then on.
    Seeded,
}

/// What shall stand at one path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The node; `None`: nothing shall stand there.
    pub node: Option<Node>,
    /// Who owns it from then on.
    pub keeping: Keeping,
    /// Whether its content must never be shown.
    pub secret: bool,
}

/// The desired tree.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    entries: BTreeMap<GuestPath, Entry>,
    /// Accounts and groups that are ours from now on; recorded with the generation.
    pub accounts: Accounts,
    /// The instance id for which the guest's identity is made from now on. `None`: as before.
    pub identity: Option<String>,
    /// Soft failures, each one line that says what was done instead.
    pub warnings: Vec<String>,
}

impl Desired {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an entry.
    ///
    /// # Errors
    /// Another section of the settings wants the same path to hold something else.
    pub fn put(&mut self, path: GuestPath, entry: Entry) -> Result<()> {
        match self.entries.get(&path) {
            Some(there) if *there != entry => Err(Error::invalid(
                path,
                "two sections of the settings want different things there",
                "remove one of the two, often an item of `files`",
            )),
            _ => {
                self.entries.insert(path, entry);
                Ok(())
            }
        }
    }

    /// An [`Keeping::Owned`] file of root's.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn file(&mut self, path: GuestPath, content: impl Into<Vec<u8>>, mode: u32) -> Result<()> {
        self.owned(path, Some(Node::file(content, mode)))
    }

    /// An [`Keeping::Owned`] file of root's that must never be shown.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn secret_file(&mut self, path: GuestPath, content: impl Into<Vec<u8>>, mode: u32) -> Result<()> {
        let node = Some(Node::file(content, mode));
        self.put(path, Entry { node, keeping: Keeping::Owned, secret: true })
    }

    /// An [`Keeping::Owned`] link.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn link(&mut self, path: GuestPath, target: impl Into<String>) -> Result<()> {
        self.owned(path, Some(Node::link(target)))
    }

    /// Nothing shall stand at this path; what stands there is given back later.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn absent(&mut self, path: GuestPath) -> Result<()> {
        self.owned(path, None)
    }

    /// An [`Keeping::Owned`] node, or none.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn owned(&mut self, path: GuestPath, node: Option<Node>) -> Result<()> {
        self.put(path, Entry { node, keeping: Keeping::Owned, secret: false })
    }

    /// An [`Keeping::Edited`] file.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn edited(&mut self, path: GuestPath, node: Node, secret: bool) -> Result<()> {
        self.put(path, Entry { node: Some(node), keeping: Keeping::Edited, secret })
    }

    /// A [`Keeping::Seeded`] node.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn seeded(&mut self, path: GuestPath, node: Node) -> Result<()> {
        self.put(path, Entry { node: Some(node), keeping: Keeping::Seeded, secret: false })
    }

    /// A directory that must be there with this mode and owner; the planner makes missing parents, root's with 0755, by
    /// itself.
    ///
    /// # Errors
    /// As for [`Desired::put`].
    pub fn directory(&mut self, path: GuestPath, mode: u32, owner: Owner) -> Result<()> {
        self.owned(path, Some(Node::Directory { mode, owner }))
    }

    /// What shall stand at a path, if the settings speak of it.
    pub fn entry(&self, path: &GuestPath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// All entries, by path.
    pub fn entries(&self) -> &BTreeMap<GuestPath, Entry> {
        &self.entries
    }
}
