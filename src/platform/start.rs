//! What the agent does first: whatever it holds of the one who started it, and does not need, it gives up. Whoever that was,
//! the work is the same.
//!
//! Missing standard descriptors are not opened here: Rust's own start puts `/dev/null` in their places, before `main`.

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};

/// The first descriptor that nobody but the opener knows of.
const FIRST: libc::c_uint = 3;
/// How many descriptors are closed one by one where the system has no call for all. Twice what a process usually may have.
const MOST: u64 = 2048;

/// Makes the process independent of its starter. To be called once, as the first thing in `main`: no descriptor is ours yet.
///
/// - What it inherited beside its input and outputs is closed, so that no child has it either.
/// - Signals do what they do by default, as far as nobody asked it to outlast them (`nohup`, a job in the background): an
///   ignored `SIGCHLD` would take its children's ends away, and a blocked `SIGTERM` the way to stop it.
/// - Its memory, which holds secrets, is neither dumped nor shown to other processes of the same user.
///
/// PID 1 does it too, for the init that it becomes has all of this from the kernel in the same way.
pub fn secure_start() {
    close_inherited();
    let outlasted = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];
    // SIGPIPE is ignored by Rust's own start, which also gives it back to each child.
    for signal in (1..=31).filter(|signal| *signal != libc::SIGPIPE && !outlasted.contains(signal)) {
        // SAFETY: no handler is set, only the default. SIGKILL and SIGSTOP answer EINVAL.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
    // What does not work leaves the process as exposed as its starter made it, and is no reason not to work.
    let _ = SigSet::empty().thread_set_mask();
    hide_memory();
}

/// What this process makes is readable by others only where it says so. Its children inherit that, so PID 1, which makes nothing,
/// does without: the init would.
pub fn keep_files_private() {
    umask(Mode::from_bits_truncate(0o077));
}

fn close_inherited() {
    if close_range().is_ok() {
        return;
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(MOST, |(soft, _)| soft.min(MOST));
    for descriptor in FIRST..libc::c_uint::try_from(limit).unwrap_or(FIRST) {
        // SAFETY: nothing in this process knows these descriptors, for it has opened none yet.
        #[allow(unsafe_code)]
        unsafe {
            libc::close(descriptor as libc::c_int);
        }
    }
}

/// Closes all in one call of Linux 5.9.
#[cfg(target_os = "linux")]
fn close_range() -> Result<(), Errno> {
    // SAFETY: as for `close` above.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    Errno::result(answer).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn close_range() -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

/// A mark of the memory itself, which goes with it at the next `exec`: a limit would stay with the init.
#[cfg(target_os = "linux")]
fn hide_memory() {
    let _ = nix::sys::prctl::set_dumpable(false);
}

#[cfg(not(target_os = "linux"))]
fn hide_memory() {
    let _ = nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
