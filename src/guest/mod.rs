//! What the guest holds now, read-only.
//!
//! Renderers and the planner see the guest only through [`View`]. The real one is [`crate::root::Root`]; tests use
//! [`Tree`], which is a guest in memory.

pub mod accounts;
mod facts;
mod node;
mod path;
mod tree;

pub use facts::{Entropy, Facts, Interface, Live, RunningInit};
pub use node::{File, Kind, Node, Owner};
pub use path::GuestPath;
pub use tree::Tree;

use crate::error::Result;

/// The most bytes that are read of one file of the guest. A larger file is an error, never a shorter text.
pub const MAX_GUEST_FILE: usize = 8 << 20;

/// The most names that are read of one directory of the guest.
pub const MAX_GUEST_LIST: usize = 16_384;

/// How many links are followed on one way, as in the kernel.
pub(crate) const MAX_LINKS: usize = 40;

/// The guest's file tree, to look at. Absent is `Ok(None)`; what exists and cannot be read is an error.
///
/// Links in the *middle* of a path are followed inside the root, but only links that none but root could have planted.
pub trait View {
    /// What stands at this path, without following a link there.
    ///
    /// # Errors
    /// Something other than a file, a link or a directory; a file larger than [`MAX_GUEST_FILE`]; an unsafe link on the
    /// way; an I/O error.
    fn node(&self, path: &GuestPath) -> Result<Option<Node>>;

    /// The bytes of the regular file at this path, following links there too (under the same rule).
    ///
    /// # Errors
    /// As for [`View::node`]; also what is not a regular file.
    fn read(&self, path: &GuestPath) -> Result<Option<Vec<u8>>>;

    /// What kind of thing is at this path, following links there too. Reads no content.
    ///
    /// # Errors
    /// As for [`View::node`].
    fn kind(&self, path: &GuestPath) -> Result<Option<Kind>>;

    /// The names in the directory at this path, sorted.
    ///
    /// # Errors
    /// As for [`View::node`]; also more than [`MAX_GUEST_LIST`] names, and names that are not UTF-8.
    fn list(&self, path: &GuestPath) -> Result<Option<Vec<String>>>;

    /// Whether a user of the guest could put something at this path, or in its way: a directory above it is a user's, or
    /// one in which users may write. What cannot be looked at counts as nobody's.
    fn is_in_reach_of_users(&self, path: &GuestPath) -> bool {
        let above = std::iter::successors(path.parent(), GuestPath::parent);
        above.into_iter().any(|directory| match self.node(&directory) {
            Ok(Some(Node::Directory { mode, owner })) => is_open_to_users(mode, owner),
            _ => false,
        })
    }
}

/// Whether others than root may make names in a directory. In a sticky one they may, too.
pub(crate) fn is_open_to_users(mode: u32, owner: Owner) -> bool {
    owner.uid != 0 || mode & 0o002 != 0 || (mode & 0o020 != 0 && owner.gid != 0)
}
