//! The running system on Linux: sysfs, procfs, mount(2), and one ioctl.

use crate::error::{Error, Result};
use crate::guest::{GuestPath, Interface, Live, RunningInit, View};
use crate::root::Root;
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// What the running system holds now. With `pid1` there is no init yet that could be told anything.
///
/// # Errors
/// sysfs cannot be read.
pub fn live(root: &Root, pid1: bool) -> Result<Live> {
    let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let init = if pid1 {
        None
    } else if is_there("/run/systemd/system") {
        Some(RunningInit::Systemd)
    } else {
        Some(RunningInit::Other)
    };
    Ok(Live { hostname, interfaces: interfaces(root)?, init, first_boot: !pid1 && is_machine_id_fresh() })
}

/// Whether a path is there, whatever it is.
fn is_there(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}

fn interfaces(root: &Root) -> Result<Vec<Interface>> {
    /// `IFF_UP` of `linux/if.h`.
    const UP: u32 = 1;
    let directory = GuestPath::of("/sys/class/net");
    let mut interfaces = Vec::new();
    for name in root.list(&directory)?.unwrap_or_default() {
        if name == "lo" {
            continue;
        }
        let text = |file: &str| -> Result<String> {
            let bytes = root.read(&directory.join(&name)?.join(file)?)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        // An interface may go away while it is looked at.
        let (Ok(mac), Ok(flags)) = (text("address"), text("flags")) else { continue };
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        interfaces.push(Interface { name, mac, up: flags & UP != 0 });
    }
    Ok(interfaces)
}

/// Whether the init made the machine-id in this very boot: it says so, or it holds the file under a mount of its own until
/// the root can be written, or it wrote the file after the kernel started.
fn is_machine_id_fresh() -> bool {
    const MACHINE_ID: &str = "/etc/machine-id";
    if is_there("/run/systemd/first-boot") {
        return true;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(MACHINE_ID)) {
        return true;
    }
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
    let (Some(uptime), Ok(metadata)) = (uptime, fs::metadata(MACHINE_ID)) else { return false };
    let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let boot = now.saturating_sub(Duration::from_secs(uptime + 1)).as_secs();
    u64::try_from(metadata.mtime()).is_ok_and(|written| written >= boot)
}

/// Sets the kernel's host name.
///
/// # Errors
/// What the system reports.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(nix::unistd::sethostname(name)?)
}

/// Renames a network interface that is down.
///
/// # Errors
/// What the system reports; `EBUSY` for one that is up.
pub fn rename_interface(from: &str, to: &str) -> io::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let name = |text: &str| -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
        let mut name = [0; libc::IFNAMSIZ];
        if text.len() >= name.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        for (to, from) in name.iter_mut().zip(text.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        Ok(name)
    };
    let mut request =
        libc::ifreq { ifr_name: name(from)?, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_newname: name(to)? } };
    // SAFETY: the request is an `ifreq` that lives through the call, which is what SIOCSIFNAME takes.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFNAME as _, &raw mut request) };
    match Errno::result(answer) {
        // Somebody was faster: udev reads the same name in a file of ours from the boot before.
        Err(Errno::ENODEV) if is_there(&format!("/sys/class/net/{to}")) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// Whether systemd-networkd runs and can be told things.
pub fn is_networkd_running() -> bool {
    is_there("/run/systemd/netif/state") && is_there("/run/dbus/system_bus_socket")
}

/// Puts a line into the kernel's log, where the journal finds it later.
pub fn log_to_kernel(line: &str, warning: bool) {
    let level = if warning { 4 } else { 6 };
    // The log is for convenience. The console and the status have the line already.
    let _ = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut log| log.write_all(format!("<{level}>{line}\n").as_bytes()));
}

/// Whether the root is read-only because the init has not run yet, and may be made writable for as long as we work.
static MAY_BE_MADE_WRITABLE: AtomicBool = AtomicBool::new(false);

/// The root made ready for work before the init runs. Dropped, it is as it was: read-only again if it was so.
#[derive(Debug)]
pub struct PreparedRoot {
    was_read_only: bool,
}

impl PreparedRoot {
    /// Mounts what the kernel and the initramfs left out (`/proc`, `/sys`, `/dev`, `/run`). A read-only root stays so until
    /// [`make_root_writable`] is called.
    ///
    /// # Errors
    /// The root cannot be looked at.
    pub fn new() -> Result<Self> {
        const NOSUID_NODEV: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
        const HARD: MsFlags = NOSUID_NODEV.union(MsFlags::MS_NOEXEC);
        mount_if_missing("proc", "/proc", "/proc/self", HARD, None);
        mount_if_missing("sysfs", "/sys", "/sys/class", HARD, None);
        mount_if_missing("devtmpfs", "/dev", "/dev/null", MsFlags::MS_NOSUID, Some("mode=0755"));
        if !is_mount_point("/run") {
            mount_if_missing("tmpfs", "/run", "/run/systemd", NOSUID_NODEV, Some("mode=0755"));
        }
        let was_read_only = is_read_only()?;
        MAY_BE_MADE_WRITABLE.store(was_read_only, Ordering::Relaxed);
        Ok(PreparedRoot { was_read_only })
    }
}

impl Drop for PreparedRoot {
    fn drop(&mut self) {
        // The init checks the root before it makes it writable itself, and that wants it read-only. Where it does not work,
        // the init finds it writable, which it can deal with too.
        if self.was_read_only {
            MAY_BE_MADE_WRITABLE.store(false, Ordering::Relaxed);
            if is_read_only().is_ok_and(|read_only| !read_only) {
                let _ = remount(true);
            }
        }
    }
}

/// Makes the root writable where a [`PreparedRoot`] has found it read-only; anywhere else does nothing. To be called when
/// there is something to write: to remount a file system writes to its disk, twice, and most boots change nothing.
///
/// # Errors
/// It cannot be made writable.
pub fn make_root_writable() -> Result<()> {
    if MAY_BE_MADE_WRITABLE.load(Ordering::Relaxed) && is_read_only()? {
        remount(false).map_err(|error| broken("is read-only and cannot be made writable", error))?;
    }
    Ok(())
}

fn is_read_only() -> Result<bool> {
    let flags = statvfs("/").map_err(|error| broken("cannot be looked at", error))?.flags();
    Ok(flags.contains(FsFlags::ST_RDONLY))
}

fn remount(read_only: bool) -> Result<(), Errno> {
    let flags = if read_only { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
}

fn broken(problem: &str, error: Errno) -> Error {
    Error::not_applied("/", format_args!("{problem}: {error}"), "let the initramfs mount a root that can be written")
}

fn is_mount_point(path: &str) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(Path::new(path)) != device(Path::new("/"))
}

fn mount_if_missing(kind: &str, target: &str, sign: &str, flags: MsFlags, options: Option<&str>) {
    if !is_there(sign) {
        // What is missing shows in the first thing that needs it, with its own words.
        let _ = mount(Some(kind), target, Some(kind), flags, options);
    }
}
