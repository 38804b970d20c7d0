//! The running system: its host name, its interfaces, its status directory, its console.

#[cfg(not(target_os = "linux"))]
mod illumos;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use illumos::{
    PreparedRoot, is_networkd_running, live, log_to_kernel, make_root_writable, rename_interface, set_hostname,
};
#[cfg(target_os = "linux")]
pub use linux::{
    PreparedRoot, is_networkd_running, live, log_to_kernel, make_root_writable, rename_interface, set_hostname,
};

use super::files::{self, Lock};
use crate::error::{Error, Result};
use crate::guest::Entropy;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

/// Where this boot's own files lie: readable by everybody, gone with the boot.
const RUN: &str = "/run/handoff";

/// How long another run that writes there is waited for. It takes less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(5);

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

/// The same with what `next` makes of the status that is there, while no other run of this program writes it. `None`: it
/// stays as it is.
///
/// # Errors
/// Those of `next`; it cannot be written.
pub fn update_status(next: &mut dyn FnMut() -> Result<Option<Vec<u8>>>) -> Result<()> {
    write_in(RUN, "status.json", next)
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
    write_in(RUN, name, &mut || Ok(Some(bytes.to_vec())))
}

fn write_in(directory: &str, name: &str, next: &mut dyn FnMut() -> Result<Option<Vec<u8>>>) -> Result<()> {
    let path = format!("{directory}/{name}");
    let failed = |error: io::Error| Error::not_applied(&path, error, "mount /run, and run as root");
    let prepare = || -> io::Result<Option<Lock>> {
        match DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        lock(directory)
    };
    let _lock = prepare().map_err(failed)?;
    let Some(bytes) = next()? else { return Ok(()) };
    let attempt = || -> io::Result<()> {
        // Under a name of its own, should somebody write who could not have the lock.
        let staged = format!("{path}.{}", std::process::id());
        let _ = fs::remove_file(&staged);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&staged)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(&bytes)?;
        fs::rename(&staged, &path)
    };
    attempt().map_err(failed)
}

/// The lock of those who write there, in a file that no user of the guest can open and hold. `None`: somebody has held it
/// for too long, and a status that may miss something is better than none.
fn lock(directory: &str) -> io::Result<Option<Lock>> {
    let end = Instant::now() + PATIENCE;
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(format!("{directory}/lock"))?;
        match files::try_lock(file.into())? {
            None if Instant::now() < end => std::thread::sleep(PAUSE),
            lock => return Ok(lock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_write_at_once_nobody_is_lost_and_nobody_reads_a_half() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().to_str().unwrap();
        let text = |count: u32| format!("{count} {}", "x".repeat(20_000 + count as usize)).into_bytes();
        let count_of = |bytes: &[u8]| -> u32 {
            let count = String::from_utf8_lossy(bytes).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(bytes, text(count), "half of a text");
            count
        };
        let read = || fs::read(directory.path().join("x"));
        write_in(at, "x", &mut || Ok(Some(text(0)))).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        write_in(at, "x", &mut || Ok(Some(text(count_of(&read().unwrap()) + 1)))).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..200 {
                    count_of(&read().unwrap());
                }
            });
        });
        assert_eq!(count_of(&read().unwrap()), 100);
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lock", "x"]);
        assert_eq!(fs::metadata(directory.path().join("lock")).unwrap().permissions().mode() & 0o777, 0o600);
        // Nothing to write is nothing written.
        let before = fs::metadata(directory.path().join("x")).unwrap().modified().unwrap();
        write_in(at, "x", &mut || Ok(None)).unwrap();
        assert_eq!(fs::metadata(directory.path().join("x")).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn a_lock_that_is_held_for_ever_keeps_nobody_from_writing() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().to_str().unwrap();
        let held = lock(at).unwrap();
        assert!(held.is_some());
        let started = Instant::now();
        write_in(at, "x", &mut || Ok(Some(b"x".to_vec()))).unwrap();
        assert!(started.elapsed() >= PATIENCE);
        assert_eq!(fs::read(directory.path().join("x")).unwrap(), b"x");
    }
}
