//! No guest outlives its test, whatever happens to the test.
//!
//! Three fences, each for when the one before fell: the value's `Drop` asks the guest to end; the kernel ends it when
//! the thread that started it dies, even by SIGKILL (`setpriv --pdeathsig`, which saves the harness the unsafe `prctl`
//! between fork and exec); and `timeout` ends it at its deadline. Because the second is bound to a thread, a guest has
//! to be started in the thread that uses it.

use super::tool;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// A command for `program` that ends with its parent, and at the deadline at the latest.
pub fn command(deadline: Duration, program: impl AsRef<OsStr>) -> Command {
    let setpriv = tool::find("setpriv");
    let mut command = Command::new(&setpriv);
    command.args(["--pdeathsig", "TERM"]);
    command.arg(tool::find("timeout")).args(["--kill-after=5", &deadline.as_secs().max(1).to_string()]);
    command.arg(&setpriv).args(["--pdeathsig", "KILL"]);
    command.arg(program);
    command
}

/// A running program started from [`command`].
#[derive(Debug)]
pub struct Fenced(Child);

impl Fenced {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Self {
        Fenced(command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}")))
    }

    /// How it ended, where it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits for its end. `None` where it still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it now, as a power cut would.
    pub fn kill(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        // `timeout` leads a process group of its own, so this reaches the guest and not the test.
        if self.ended().is_none() && killpg(pid, Signal::SIGKILL).is_err() {
            let _ = kill(pid, Signal::SIGTERM);
        }
        if self.wait(Duration::from_secs(8)).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        self.kill();
    }
}
