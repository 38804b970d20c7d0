//! illumos, and for what compiles there any other Unix.

use super::files;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Waiting for block devices: without news of them, a sleep.
#[derive(Debug)]
pub struct BlockEvents {}

impl BlockEvents {
    /// Nothing to open.
    pub fn open() -> Self {
        BlockEvents {}
    }

    /// Returns after `timeout`.
    pub fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(timeout);
    }
}

/// Opens an optical drive for reading. An empty one is an error here.
///
/// # Errors
/// What the system reports.
pub fn open_drive(path: &Path) -> io::Result<Option<File>> {
    super::open_disk(path).map(Some)
}

/// Whether a system call failed because the file is encrypted and its key is not there. Here no user can bring that about.
pub fn is_without_key(_error: Errno) -> bool {
    false
}

/// Takes the access lists away from an open file or directory. Here they are no attributes, and ZFS makes them of the mode
/// again when that is set (`aclmode=discard`, as it comes), which every caller does next.
///
/// # Errors
/// None here.
pub(super) fn remove_access_lists(_file: &OwnedFd) -> Result<(), Errno> {
    Ok(())
}

/// The name of a running process. Not looked for here.
pub fn process_name(_pid: i32) -> Option<String> {
    None
}

/// A write lock on the whole of a file, for `fcntl(2)`.
pub(super) fn whole_file_lock() -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0,
        l_len: 0,
        l_sysid: 0,
        l_pid: 0,
        l_pad: [0; 4],
    }
}

/// What has been written and is not known to be on its disk yet. Here each file and directory is flushed.
#[derive(Debug, Default)]
pub struct Flush {
    directories: BTreeMap<(u64, u64), OwnedFd>,
}

impl Flush {
    /// Notes a file that was written: it is flushed at once.
    ///
    /// # Errors
    /// What the system reports.
    pub fn file(&mut self, file: &OwnedFd) -> Result<(), Errno> {
        files::flush(file)
    }

    /// Notes a directory in which names were made, changed or removed, or in which a noted file lies.
    ///
    /// # Errors
    /// What the system reports.
    pub fn directory(&mut self, directory: &OwnedFd) -> Result<(), Errno> {
        let stat = files::stat(directory)?;
        if let Entry::Vacant(vacant) = self.directories.entry((stat.device, stat.inode)) {
            vacant.insert(files::open_directory_at(directory, ".")?);
        }
        Ok(())
    }

    /// Waits until all that was noted is on its disk.
    ///
    /// # Errors
    /// What the system reports, among it what went wrong with earlier writes.
    pub fn flush(&mut self) -> Result<(), Errno> {
        std::mem::take(&mut self.directories).values().try_for_each(files::flush)
    }
}
