//! Files reached by the descriptor of the directory that holds them. Nothing here follows a link at its last name, waits,
//! or leaves a descriptor open for a program that is started later.
//!
//! Only calls that POSIX knows: `O_PATH` and `openat2` do not exist on illumos.

use crate::guest::{Kind, Owner};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FlockArg, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::sys::statvfs::FsFlags;
use nix::unistd::{Gid, Uid, UnlinkatFlags};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The error number of a system call.
pub use nix::errno::Errno as SystemError;

/// What the system says of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stat {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
    /// The file system it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub names: u64,
    /// Bytes.
    pub size: u64,
}

// The types of these fields differ from system to system, so some of the conversions do nothing on one of them.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn stat_of(stat: FileStat) -> Stat {
    let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFLNK => Kind::Link,
        SFlag::S_IFDIR => Kind::Directory,
        _ => Kind::Other,
    };
    Stat {
        kind,
        mode: stat.st_mode as u32 & 0o7777,
        owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        names: stat.st_nlink as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode as nix::libc::mode_t)
}

const OPEN_DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The user this process acts as, and its group.
pub fn caller() -> Owner {
    Owner { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
}

/// Opens a directory by its path in this process's own tree, following links.
///
/// # Errors
/// What the system reports.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    nix::fcntl::open(path, OPEN_DIRECTORY, Mode::empty())
}

/// Opens a directory for reading; `.` is a second descriptor of the same one.
///
/// # Errors
/// What the system reports; `ELOOP` or `ENOTDIR` where a link stands there.
pub fn open_directory_at(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    nix::fcntl::openat(directory, name, OPEN_DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())
}

/// Opens a file for reading. A FIFO does not make it wait and a terminal does not become ours.
///
/// # Errors
/// What the system reports; `ELOOP` where a link stands there.
pub fn open_file_at(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(directory, name, flags, Mode::empty())
}

/// Makes a file, which none but the caller can read, and opens it for writing.
///
/// # Errors
/// What the system reports; `EEXIST` where anything stands there, a dangling link too.
pub fn create_file_at(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(directory, name, flags, mode_of(0o600))
}

/// What stands under a name. `None`: nothing.
///
/// # Errors
/// What the system reports.
pub fn stat_at(directory: &OwnedFd, name: &str) -> Result<Option<Stat>, Errno> {
    match nix::sys::stat::fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat_of(stat))),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an open file is.
///
/// # Errors
/// What the system reports.
pub fn stat(file: &OwnedFd) -> Result<Stat, Errno> {
    nix::sys::stat::fstat(file).map(stat_of)
}

/// The target of a link, as bytes.
///
/// # Errors
/// What the system reports; `EINVAL` where no link stands.
pub fn read_link_at(directory: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    nix::fcntl::readlinkat(directory, name).map(OsStringExt::into_vec)
}

/// The names in a directory, in no order, without `.` and `..`; at most `limit` and one more, which tells that there are
/// too many.
///
/// # Errors
/// What the system reports.
pub fn names(directory: &OwnedFd, limit: usize) -> Result<Vec<Vec<u8>>, Errno> {
    // A descriptor of its own, because reading moves the position in it.
    let mut open = Dir::openat(directory, ".", OPEN_DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in open.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
        if names.len() > limit {
            break;
        }
    }
    Ok(names)
}

/// Makes a directory, which none but the caller can use.
///
/// # Errors
/// What the system reports.
pub fn make_directory_at(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    nix::sys::stat::mkdirat(directory, name, mode_of(0o700))
}

/// Makes a symbolic link.
///
/// # Errors
/// What the system reports.
pub fn make_link_at(directory: &OwnedFd, name: &str, target: &str) -> Result<(), Errno> {
    nix::unistd::symlinkat(target, directory, name)
}

/// Renames within one directory, in place of what stood under the new name.
///
/// # Errors
/// What the system reports.
pub fn rename_at(directory: &OwnedFd, from: &str, to: &str) -> Result<(), Errno> {
    nix::fcntl::renameat(directory, from, directory, to)
}

/// Removes a file or a link.
///
/// # Errors
/// What the system reports.
pub fn remove_at(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    nix::unistd::unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)
}

/// Removes an empty directory.
///
/// # Errors
/// What the system reports; `ENOTEMPTY` or `EEXIST` where it is not empty.
pub fn remove_directory_at(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    nix::unistd::unlinkat(directory, name, UnlinkatFlags::RemoveDir)
}

/// Sets the owner of an open file.
///
/// # Errors
/// What the system reports.
pub fn set_owner(file: &OwnedFd, owner: Owner) -> Result<(), Errno> {
    nix::unistd::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

/// Sets the permission bits of an open file.
///
/// # Errors
/// What the system reports.
pub fn set_mode(file: &OwnedFd, mode: u32) -> Result<(), Errno> {
    nix::sys::stat::fchmod(file, mode_of(mode))
}

/// Takes the access lists (ACL) away from an open file or directory, so that its mode says all. To be called before the
/// mode is set, for that would widen what a list allows.
///
/// # Errors
/// What the system reports; not that there are none.
pub fn remove_access_lists(file: &OwnedFd) -> Result<(), Errno> {
    super::remove_access_lists(file)
}

/// Whether the whole file system that a directory lies on, or its mount, is read-only. A part of it that refuses writes, as a
/// subvolume of btrfs can, does not count.
///
/// # Errors
/// What the system reports.
pub fn is_on_read_only_file_system(directory: &OwnedFd) -> Result<bool, Errno> {
    nix::sys::statvfs::fstatvfs(directory).map(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

/// Waits until an open file or directory is on its disk.
///
/// # Errors
/// What the system reports, among it what went wrong with earlier writes.
pub fn flush(file: &OwnedFd) -> Result<(), Errno> {
    nix::unistd::fsync(file)
}

/// A lock that ends when it is dropped, and with the process.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
    is_whole: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that is being started may still hold the file, so closing it is not enough. And a file system that fails
        // to give the lock back loses it with the descriptor; `nix::fcntl::Flock` would panic there.
        if self.is_whole {
            let _ = lock_whole(&self.file, FlockArg::Unlock);
        }
    }
}

#[allow(deprecated)] // In favour of `Flock`, see above.
fn lock_whole(file: &OwnedFd, what: FlockArg) -> Result<(), Errno> {
    nix::fcntl::flock(file.as_raw_fd(), what)
}

/// Takes the exclusive lock of an open file or directory, if it is free. `None`: another process, or another part of
/// this one, has it.
///
/// # Errors
/// What the system reports.
pub fn try_lock(file: OwnedFd) -> Result<Option<Lock>, Errno> {
    match lock_whole(&file, FlockArg::LockExclusiveNonblock) {
        Ok(()) => Ok(Some(Lock { file, is_whole: true })),
        Err(Errno::EWOULDBLOCK) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the lock that `lckpwdf(3)` takes: a record lock over the whole of a file, which is made where it is missing. `None`:
/// another process has it.
///
/// # Errors
/// What the system reports.
pub fn try_record_lock_at(directory: &OwnedFd, name: &str) -> Result<Option<Lock>, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = nix::fcntl::openat(directory, name, flags, mode_of(0o600))?;
    if stat(&file)?.kind != Kind::File {
        return Err(Errno::EINVAL);
    }
    match nix::fcntl::fcntl(&file, FcntlArg::F_SETLK(&super::whole_file_lock())) {
        Ok(_) => Ok(Some(Lock { file, is_whole: false })),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process that keeps the lock that [`try_record_lock_at`] takes. `None`: nobody does any more, or one that cannot be
/// named here.
///
/// # Errors
/// What the system reports.
pub fn record_lock_holder_at(directory: &OwnedFd, name: &str) -> Result<Option<i32>, Errno> {
    let file = open_file_at(directory, name)?;
    let mut lock = super::whole_file_lock();
    nix::fcntl::fcntl(&file, FcntlArg::F_GETLK(&mut lock))?;
    let is_held = lock.l_type != nix::libc::F_UNLCK as nix::libc::c_short;
    Ok((is_held && lock.l_pid > 0).then_some(lock.l_pid))
}
