//! What can stand at a path: a file, a link or a directory.

use std::fmt;

/// Who owns a file: numeric user and group.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Owner = Owner { uid: 0, gid: 0 };
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A regular file, whole. Its `Debug` does not show the content, which may be secret.
#[derive(Clone, Eq, PartialEq)]
pub struct File {
    /// All bytes.
    pub content: Vec<u8>,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({} bytes, {:04o}, {})", self.content.len(), self.mode, self.owner)
    }
}

/// What stands at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Node {
    /// A regular file.
    File(File),
    /// A symbolic link with its target as written.
    Link(String),
    /// A directory, without what is in it.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
}

impl Node {
    /// A file of root's.
    pub fn file(content: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self::file_of(content, mode, Owner::ROOT)
    }

    /// A file.
    pub fn file_of(content: impl Into<Vec<u8>>, mode: u32, owner: Owner) -> Self {
        Node::File(File { content: content.into(), mode, owner })
    }

    /// A link.
    pub fn link(target: impl Into<String>) -> Self {
        Node::Link(target.into())
    }

    /// A directory of root's.
    pub fn directory(mode: u32) -> Self {
        Node::Directory { mode, owner: Owner::ROOT }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Node::File(_) => Kind::File,
            Node::Link(_) => Kind::Link,
            Node::Directory { .. } => Kind::Directory,
        }
    }
}

/// What kind of thing stands at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
    /// A device, a pipe or a socket.
    Other,
}
