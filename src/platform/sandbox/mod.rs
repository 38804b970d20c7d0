//! A command in a sandbox: it sees the guest's tree with changes that were never made, and can change nothing.

#[cfg(not(target_os = "linux"))]
mod illumos;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use illumos::run_in_sandbox;
#[cfg(target_os = "linux")]
pub use linux::run_in_sandbox;

use super::files::SystemError;
use crate::guest::Owner;
use std::fmt;

/// One act of building what the command sees, in a mount namespace of its own. All paths are absolute and without links.
#[derive(Clone, Eq, PartialEq)]
pub enum Act<'a> {
    /// Mounts the file system of new things, in memory, over a directory.
    Stage {
        /// Where.
        path: String,
    },
    /// Makes a directory in a file system of new things.
    Directory {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// Makes a file there.
    File {
        /// Where.
        path: String,
        /// All bytes.
        content: &'a [u8],
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// Makes a link there.
    Link {
        /// Where.
        path: String,
        /// Its target.
        target: String,
        /// Owner.
        owner: Owner,
    },
    /// Shows at `to` what stands at `from`, with all that is mounted below it.
    Bind {
        /// What.
        from: String,
        /// Where; something of the same kind stands there.
        to: String,
    },
    /// Makes the file system of new things read-only.
    Seal {
        /// Where it is mounted.
        path: String,
    },
    /// Takes this directory for the root from now on.
    Enter {
        /// Which.
        path: String,
    },
    /// Mounts an empty file system in memory, in which the command may write.
    Private {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
}

impl Act<'_> {
    fn path(&self) -> &str {
        match self {
            Act::Bind { to, .. } => to,
            Act::Stage { path }
            | Act::Directory { path, .. }
            | Act::File { path, .. }
            | Act::Link { path, .. }
            | Act::Seal { path }
            | Act::Enter { path }
            | Act::Private { path, .. } => path,
        }
    }
}

impl fmt::Debug for Act<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Stage { path } => write!(f, "stage {path}"),
            Act::Directory { path, mode, owner } => write!(f, "directory {path} {mode:04o} {owner}"),
            Act::File { path, content, mode, owner } => {
                write!(f, "file {path} {mode:04o} {owner}, {} bytes", content.len())
            }
            Act::Link { path, target, owner } => write!(f, "link {path} -> {target} {owner}"),
            Act::Bind { from, to } => write!(f, "bind {from} to {to}"),
            Act::Seal { path } => write!(f, "seal {path}"),
            Act::Enter { path } => write!(f, "enter {path}"),
            Act::Private { path, mode, owner } => write!(f, "private {path} {mode:04o} {owner}"),
        }
    }
}

/// How a command in a sandbox ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// It was stopped at the deadline, with all that it had started.
    Deadline,
    /// It could not be started.
    NotStarted(SystemError),
    /// What it should see could not be built: at which path, and why.
    NotBuilt(String, SystemError),
    /// This system has no sandboxes, or does not let us have one.
    NoSandbox(SystemError),
}

/// What came of a command in a sandbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ran {
    /// How it ended.
    pub ending: Ending,
    /// The end of what it said on both of its outputs: whole lines, at most [`MAX_OUTPUT`] bytes.
    pub output: Vec<u8>,
}

/// The most bytes that are kept of what a command says.
pub const MAX_OUTPUT: usize = 64 << 10;
