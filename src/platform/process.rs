//! Processes: children with a deadline, the end that never comes.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Runs a child and waits for its end, at most until the deadline; then it is killed. `None`: it was killed.
///
/// # Errors
/// It cannot be started.
pub fn run_with_deadline(command: &mut Command, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    // The child holds the other end of this pipe as long as it lives, so its end wakes us.
    let (ours, theirs) = io::pipe()?;
    let mut child = {
        let inherited = theirs.try_clone()?;
        // Standard input is the one descriptor that no child of ours needs.
        command.stdin(inherited).spawn()?
    };
    drop(theirs);
    // The command keeps its copy of the end that the child has.
    command.stdin(std::process::Stdio::null());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(kill(&mut child));
        }
        // The pipe also closes when the child closes it; then only looking again from time to time is left.
        let pause = left.min(Duration::from_millis(200));
        let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
        let mut ends = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        let closed = poll(&mut ends, timeout).is_ok_and(|ready| ready > 0);
        if closed {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Asks a child to end, which it may do in order: a QEMU gives the terminal back as it was.
#[cfg(feature = "operator")]
pub fn ask_to_end(child: &Child) -> io::Result<()> {
    use nix::sys::signal::{Signal, kill};
    let number = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(kill(nix::unistd::Pid::from_raw(number), Signal::SIGTERM)?)
}

/// Starts a child in a process group of its own. Where it has to be killed, the whole group is.
pub fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

fn kill(child: &mut Child) -> Option<ExitStatus> {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::{Pid, getpgid};
    // It is still ours, and so its number is not another's by now.
    if let Ok(number) = i32::try_from(child.id()).map(Pid::from_raw)
        && getpgid(Some(number)) == Ok(number)
    {
        let _ = killpg(number, Signal::SIGKILL);
    }
    let _ = child.kill();
    // A killed child can hang in the kernel on a disk that does not answer. It is not waited for.
    for _ in 0..100 {
        if let Ok(Some(_)) = child.try_wait() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Writes a line to the console, wherever standard error leads. A console that cannot be written is no reason to stop.
pub fn console(line: &str) {
    let _ = writeln!(io::stderr(), "{}", crate::error::one_line(line));
}

/// Never returns. PID 1 must not end, and has nothing left to do.
pub fn wait_forever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Whether both paths lead to the same file. False where one of them leads nowhere.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Whether an init is systemd, by the name of the file that its path leads to.
pub fn is_systemd(init: &Path) -> bool {
    fs::canonicalize(init).is_ok_and(|path| path.ends_with("systemd/systemd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_waited_for_and_a_slow_one_is_killed() {
        let status =
            run_with_deadline(Command::new("/bin/sh").args(["-c", "exit 7"]), Duration::from_secs(10)).unwrap();
        assert_eq!(status.unwrap().code(), Some(7));
        let start = Instant::now();
        let slow = run_with_deadline(Command::new("/bin/sleep").arg("30"), Duration::from_millis(50)).unwrap();
        assert!(slow.is_none() && start.elapsed() < Duration::from_secs(5));
        assert!(run_with_deadline(&mut Command::new("/nothing"), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_child_that_closes_its_input_is_still_waited_for() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec </dev/null; sleep 0.3; exit 3"]);
        assert_eq!(run_with_deadline(&mut command, Duration::from_secs(10)).unwrap().unwrap().code(), Some(3));
    }
}
