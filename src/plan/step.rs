//! One step of a plan: one change of one path.

use crate::guest::{File, GuestPath, Node, Owner};
use std::fmt;

/// One change. Steps are in the order in which they are carried out: directories before what is put in them, removals last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Makes a directory where nothing stands.
    MakeDirectory {
        /// Where.
        path: GuestPath,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// Puts a file, in place of what stood there.
    WriteFile {
        /// Where.
        path: GuestPath,
        /// The file.
        file: File,
        /// What the planner saw there; the step is refused if it is something else by now.
        before: Option<Node>,
        /// Whether the content must not be shown.
        secret: bool,
    },
    /// Puts a symbolic link, in place of what stood there.
    WriteLink {
        /// Where.
        path: GuestPath,
        /// Its target.
        target: String,
        /// What the planner saw there.
        before: Option<Node>,
    },
    /// Changes mode and owner of a file or directory whose content is right.
    SetAttributes {
        /// Where.
        path: GuestPath,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
        /// What the planner saw there.
        before: Node,
    },
    /// Removes a file or a link.
    Remove {
        /// Where.
        path: GuestPath,
        /// What the planner saw there.
        before: Node,
    },
    /// Removes a directory of ours if it is empty by then; otherwise it stays.
    RemoveDirectory {
        /// Where.
        path: GuestPath,
    },
}

impl Step {
    /// The path it changes.
    pub fn path(&self) -> &GuestPath {
        match self {
            Step::MakeDirectory { path, .. }
            | Step::WriteFile { path, .. }
            | Step::WriteLink { path, .. }
            | Step::SetAttributes { path, .. }
            | Step::Remove { path, .. }
            | Step::RemoveDirectory { path } => path,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::MakeDirectory { path, mode, owner } => write!(f, "make directory {path} ({mode:04o} {owner})"),
            Step::WriteFile { path, file, before: None, .. } => {
                write!(f, "create {path} ({:04o} {})", file.mode, file.owner)
            }
            Step::WriteFile { path, .. } => write!(f, "change {path}"),
            Step::WriteLink { path, target, .. } => write!(f, "link {path} -> {target}"),
            Step::SetAttributes { path, mode, owner, .. } => write!(f, "set {path} to {mode:04o} {owner}"),
            Step::Remove { path, .. } => write!(f, "remove {path}"),
            Step::RemoveDirectory { path } => write!(f, "remove directory {path}"),
        }
    }
}
