//! Who else might write at the same time: another run of this program, and the tools that change accounts.

use super::hand::failed;
use super::store;
use crate::error::{Error, Result};
use crate::guest::GuestPath;
use crate::platform;
use crate::platform::files::{self, Lock};
use crate::root::Root;
use std::time::{Duration, Instant};

/// How long another run of this program is waited for. Its own commit takes milliseconds.
const OTHER_RUN: Duration = Duration::from_secs(10);
/// How long the account tools are waited for, as `lckpwdf(3)` does.
const ACCOUNT_TOOLS: Duration = Duration::from_secs(15);
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(20);

/// The files that the account tools change only while they hold their lock.
const ACCOUNT_FILES: [&str; 4] = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
/// The lock of the account tools, see `lckpwdf(3)`. It is the same file on illumos.
const ACCOUNT_LOCK: &str = "/etc/.pwd.lock";

/// The locks of one commit or one recovery.
#[derive(Debug)]
pub(super) struct Locks {
    _run: Lock,
    _accounts: Option<Lock>,
}

impl Locks {
    /// Takes the lock of this program, which is its own directory: opened for reading only, and no user of the guest can
    /// hold it. Where one of `paths` is an account file, also takes the lock of the account tools.
    ///
    /// # Errors
    /// A lock is not free within its deadline; the directory is missing.
    pub(super) fn take<'a>(root: &Root, paths: impl IntoIterator<Item = &'a GuestPath>) -> Result<Locks> {
        let own = GuestPath::of(store::DIRECTORY);
        let run = wait_for(&own, OTHER_RUN, "another handoff-agent is at work", || {
            let directory = root
                .open_directory(&own)?
                .ok_or_else(|| Error::not_applied(&own, "was removed while it was needed", "run again"))?;
            files::try_lock(directory).map_err(|error| failed(&own, "locked", error))
        })?;
        let mut accounts = None;
        if paths.into_iter().any(|path| ACCOUNT_FILES.contains(&path.as_str())) {
            accounts = account_lock(root, ACCOUNT_TOOLS)?;
        }
        Ok(Locks { _run: run, _accounts: accounts })
    }
}

/// The lock of the account tools. `None`: the guest has no `/etc` yet, so there is nothing that they could change.
fn account_lock(root: &Root, patience: Duration) -> Result<Option<Lock>> {
    let path = GuestPath::of(ACCOUNT_LOCK);
    let Some((directory, name)) = root.open_parent(&path)? else { return Ok(None) };
    let take = || files::try_record_lock_at(&directory, &name).map_err(|error| failed(&path, "locked", error));
    wait_for(&path, patience, "another program is changing accounts", take).map(Some).map_err(|error| {
        // A user can stop `passwd` while it holds the lock, for as long as the user likes.
        match files::record_lock_holder_at(&directory, &name) {
            Ok(Some(holder)) => named(&error, holder),
            _ => error,
        }
    })
}

/// The error, which also says who holds the lock.
fn named(error: &Error, holder: i32) -> Error {
    let name = platform::process_name(holder).map_or_else(String::new, |name| format!(" (`{name}`)"));
    Error::not_applied(
        error.object(),
        format_args!("{}, held by process {holder}{name}", error.problem()),
        format_args!("end it with `kill -9 {holder}`, and run again"),
    )
}

fn wait_for(
    path: &GuestPath,
    patience: Duration,
    holder: &str,
    mut attempt: impl FnMut() -> Result<Option<Lock>>,
) -> Result<Lock> {
    let end = Instant::now() + patience;
    loop {
        if let Some(lock) = attempt()? {
            return Ok(lock);
        }
        if Instant::now() >= end {
            return Err(Error::not_applied(
                path,
                format_args!("is locked: {holder} for more than {} seconds", patience.as_secs()),
                "wait for it to end, and run again",
            ));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn scratch() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("var/lib/handoff")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn a_held_lock_is_an_error_after_the_deadline_and_free_again_after_the_drop() {
        let (_directory, root) = scratch();
        let path = GuestPath::of(store::DIRECTORY);
        let attempt = || Ok(files::try_lock(root.open_directory(&path)?.unwrap()).unwrap());
        let held = wait_for(&path, Duration::ZERO, "x", attempt).unwrap();
        let error = wait_for(&path, Duration::from_millis(60), "another run", attempt).unwrap_err();
        assert!(error.problem().contains("is locked: another run"), "{error}");
        drop(held);
        assert!(wait_for(&path, Duration::ZERO, "x", attempt).is_ok());
    }

    #[test]
    fn the_account_lock_is_a_private_file_made_only_when_accounts_change() {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, root) = scratch();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let lock = directory.path().join("etc/.pwd.lock");
        drop(Locks::take(&root, [&GuestPath::of("/etc/hosts")]).unwrap());
        assert!(!lock.exists());
        drop(Locks::take(&root, [&GuestPath::of("/etc/shadow")]).unwrap());
        assert_eq!(fs::metadata(lock).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_planted_account_lock_is_not_followed_and_not_waited_for() {
        let (directory, root) = scratch();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let lock = directory.path().join("etc/.pwd.lock");
        std::os::unix::fs::symlink("../outside", &lock).unwrap();
        assert!(account_lock(&root, Duration::ZERO).is_err());
        assert!(!directory.path().join("outside").exists());
        fs::remove_file(&lock).unwrap();
        nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(account_lock(&root, Duration::ZERO).is_err());
    }
    #[cfg(target_os = "linux")]
    #[test]
    fn who_holds_the_account_lock_is_named_with_what_ends_it() {
        let (directory, root) = scratch();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let lock = directory.path().join("etc/.pwd.lock");
        // Locks of one process do not exclude each other, so another one must hold it.
        let take = "import fcntl,sys,time;f=open(sys.argv[1],'w');fcntl.lockf(f,fcntl.LOCK_EX);print();time.sleep(60)";
        let mut holder = std::process::Command::new("python3");
        let holder = holder.args(["-u", "-c", take]).arg(&lock).stdout(std::process::Stdio::piped()).spawn();
        let Ok(mut holder) = holder else { return }; // There is no python3.
        let mut ready = [0];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let error = account_lock(&root, Duration::from_millis(60)).unwrap_err().to_string();
        holder.kill().unwrap();
        holder.wait().unwrap();
        let pid = holder.id();
        assert!(error.contains(&format!("held by process {pid} (`python3")), "{error}");
        assert!(error.contains(&format!("end it with `kill -9 {pid}`")), "{error}");
        assert!(account_lock(&root, Duration::ZERO).unwrap().is_some());
    }
}
