//! The running system: its host name, its interfaces, its status directory, its console.

#[cfg(not(target_os = "linux"))]
mod illumos;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use illumos::{PreparedRoot, is_networkd_running, live, log_to_kernel, rename_interface, set_hostname};
#[cfg(target_os = "linux")]
pub use linux::{PreparedRoot, is_networkd_running, live, log_to_kernel, rename_interface, set_hostname};

use crate::error::{Error, Result};
use crate::guest::Entropy;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// Where this boot's own files lie: readable by everybody, gone with the boot.
const RUN: &str = "/run/handoff";

/// Fresh random bytes.
///
/// # Errors
/// The system gives none.
pub fn entropy() -> Result<Entropy> {
    let mut bytes = [0; 64];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    match read {
        Ok(()) => Ok(Entropy(bytes)),
        Err(error) => Err(Error::not_applied("/dev/urandom", error, "mount /dev before the agent runs")),
    }
}

/// Writes `/run/handoff/status.json`, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write_status(bytes: &[u8]) -> Result<()> {
    write("status.json", bytes)
}

/// Tells PID 1 which init it shall start.
///
/// # Errors
/// It cannot be written.
pub fn write_init(path: &str) -> Result<()> {
    write("init", path.as_bytes())
}

/// What [`write_init`] wrote in this boot. `None` where it wrote nothing.
pub fn read_init() -> Option<String> {
    let mut text = String::new();
    File::open(format!("{RUN}/init")).ok()?.take(4096).read_to_string(&mut text).ok()?;
    text.starts_with('/').then_some(text)
}

fn write(name: &str, bytes: &[u8]) -> Result<()> {
    let path = format!("{RUN}/{name}");
    let attempt = || -> io::Result<()> {
        match DirBuilder::new().mode(0o755).create(RUN) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::set_permissions(RUN, fs::Permissions::from_mode(0o755))?;
        let staged = format!("{path}.new");
        let _ = fs::remove_file(&staged);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&staged)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(bytes)?;
        fs::rename(&staged, &path)
    };
    attempt().map_err(|error| Error::not_applied(&path, error, "mount /run, and run as root"))
}
