//! Linux: news of block devices, the state of an optical drive, and how what was written gets to its disk.

use super::files;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// The kernel's news of block devices that come, change and go (`NETLINK_KOBJECT_UEVENT`).
///
/// A container hears none, and where the socket cannot be had, waiting is sleeping. So callers look for themselves from time
/// to time; the news only make it quick.
#[derive(Debug)]
pub struct BlockEvents {
    socket: Option<OwnedFd>,
}

/// The group of netlink listeners that the kernel itself sends to. The other one is udev's.
const KERNEL: u32 = 1;

/// The longest message of the kernel is 2048 bytes of properties and a path before them.
const LONGEST_MESSAGE: usize = 8192;

impl BlockEvents {
    /// Listens from now on.
    pub fn open() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)
            .and_then(|fd| bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL)).map(|()| fd));
        BlockEvents { socket: socket.ok() }
    }

    /// Returns when a block device came, changed or went since the last call, or after `timeout`.
    pub fn wait(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(fd) = &self.socket else { return std::thread::sleep(left) };
            // One millisecond more, since poll counts whole ones and would else return too early again and again.
            let wait = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], wait) {
                Ok(0) => return,
                Ok(_) if drain(fd) => return,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => self.socket = None,
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }
}

/// Takes what has come. True where some of it is about block devices, or where something was lost.
fn drain(fd: &OwnedFd) -> bool {
    let mut message = [0; LONGEST_MESSAGE];
    let mut news = false;
    loop {
        match recv(fd.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                let mut properties = message.get(..length).unwrap_or_default().split(|&b| b == 0);
                news |= properties.any(|property| property == b"SUBSYSTEM=block");
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return news,
            // ENOBUFS: there were more than the socket holds.
            Err(_) => return true,
        }
    }
}

/// Opens an optical drive for reading. `None` where it is empty, open or not ready yet: found out without reading, for a read
/// would fill the console with errors.
///
/// # Errors
/// What the system reports.
pub fn open_drive(path: &Path) -> io::Result<Option<File>> {
    /// `CDROM_DRIVE_STATUS` of `linux/cdrom.h`, asked about the current slot.
    const DRIVE_STATUS: nix::libc::c_ulong = 0x5326;
    const CURRENT_SLOT: nix::libc::c_int = nix::libc::c_int::MAX;
    /// `CDS_NO_DISC`, `CDS_TRAY_OPEN` and `CDS_DRIVE_NOT_READY`. 0 is no information, 4 a disc.
    const NO_MEDIUM: std::ops::RangeInclusive<nix::libc::c_int> = 1..=3;

    let file = match super::open_disk(path) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOMEDIUM as i32) => return Ok(None),
        other => other?,
    };
    // SAFETY: the request takes a number, not a pointer, and the descriptor is open. Another kind of file answers ENOTTY.
    #[allow(unsafe_code)]
    let status = unsafe { nix::libc::ioctl(file.as_raw_fd(), DRIVE_STATUS as _, CURRENT_SLOT) };
    Ok((!NO_MEDIUM.contains(&status)).then_some(file))
}

/// Whether a system call failed because the file is encrypted and its key is not there.
pub fn is_without_key(error: Errno) -> bool {
    error == Errno::ENOKEY
}

/// Takes the access lists away from an open file or directory: the one it was given by the directory it was made in, and
/// the one it would give. What its mode says is then all.
///
/// # Errors
/// What the system reports; not that there are none.
pub(super) fn remove_access_lists(file: &OwnedFd) -> Result<(), Errno> {
    for name in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        // SAFETY: the descriptor is open and the name ends in a zero.
        #[allow(unsafe_code)]
        let answer = unsafe { nix::libc::fremovexattr(file.as_raw_fd(), name.as_ptr()) };
        match Errno::result(answer) {
            Ok(_) | Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The name of a running process, as it calls itself. `None`: it is gone, or the name holds more than letters, digits and
/// `.`, `_`, `-`.
pub fn process_name(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name = name.trim_end();
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (!name.is_empty() && name.bytes().all(plain)).then(|| name.to_owned())
}

/// A write lock on the whole of a file, for `fcntl(2)`.
pub(super) fn whole_file_lock() -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// What has been written and is not known to be on its disk yet. Here whole file systems are flushed, each once.
#[derive(Debug, Default)]
pub struct Flush {
    file_systems: BTreeMap<u64, OwnedFd>,
}

impl Flush {
    /// Notes a file that was written.
    ///
    /// # Errors
    /// None here.
    pub fn file(&mut self, _file: &OwnedFd) -> Result<(), Errno> {
        Ok(())
    }

    /// Notes a directory in which names were made, changed or removed, or in which a noted file lies.
    ///
    /// # Errors
    /// What the system reports.
    pub fn directory(&mut self, directory: &OwnedFd) -> Result<(), Errno> {
        let device = files::stat(directory)?.device;
        if let Entry::Vacant(vacant) = self.file_systems.entry(device) {
            vacant.insert(files::open_directory_at(directory, ".")?);
        }
        Ok(())
    }

    /// Waits until all that was noted is on its disk.
    ///
    /// # Errors
    /// What the system reports, among it what went wrong with earlier writes.
    pub fn flush(&mut self) -> Result<(), Errno> {
        for directory in std::mem::take(&mut self.file_systems).values() {
            // On a file system that cannot do it, such as some overlays, at least the directory is flushed.
            match nix::unistd::syncfs(directory) {
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => files::flush(directory)?,
                done => done?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_devices_ends_at_the_deadline_and_not_before() {
        let mut events = BlockEvents::open();
        let start = Instant::now();
        events.wait(Duration::from_millis(60));
        // A device of the machine that runs the test may come meanwhile, so only the end is sure.
        assert!(start.elapsed() < Duration::from_secs(5));
        let mut deaf = BlockEvents { socket: None };
        let start = Instant::now();
        deaf.wait(Duration::from_millis(30));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
