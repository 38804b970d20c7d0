//! The only room that knows which operating system it runs on: system calls, `cfg(target_os)`, `unsafe`.

pub mod files;
mod process;
mod running;
mod sandbox;
mod start;

#[cfg(not(target_os = "linux"))]
mod illumos;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use illumos::{BlockEvents, Flush, is_without_key, open_drive, process_name};
#[cfg(not(target_os = "linux"))]
use illumos::{remove_access_lists, whole_file_lock};
#[cfg(target_os = "linux")]
pub use linux::{BlockEvents, Flush, is_without_key, open_drive, process_name};
#[cfg(target_os = "linux")]
use linux::{remove_access_lists, whole_file_lock};

#[cfg(feature = "operator")]
pub use process::ask_to_end;
pub use process::{console, is_same_file, is_systemd, own_group, run_with_deadline, wait_forever};
pub use running::{
    PreparedRoot, entropy, is_networkd_running, live, log_to_kernel, make_root_writable, read_init, rename_interface,
    set_hostname, update_status, write_init, write_status,
};
pub use sandbox::{Act, Ending, MAX_OUTPUT, Ran, run_in_sandbox};
pub use start::{keep_files_private, secure_start};

use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Whether opening failed because the thing is not there (yet): no such name, or a node without its device.
pub fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENXIO as i32)
}

/// Whether opening failed because the caller is not root. Not EPERM, which is how a container is kept from the devices of its
/// host: root is no help there.
pub fn is_denied(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EACCES as i32)
}

/// Opens a block device or a regular file for reading, and nothing else: a FIFO would make us wait, a terminal could do
/// anything. The descriptor is not inherited.
///
/// # Errors
/// What the system reports; [`io::ErrorKind::InvalidInput`] for any other kind of file.
pub fn open_disk(path: &Path) -> io::Result<File> {
    use nix::fcntl::OFlag;
    let flags = (OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_block_device() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a block device nor a file"))
}
