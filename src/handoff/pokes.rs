//! Pokes carried out. Each one is safe to repeat, has a deadline, and its failure is a warning: the files are right, and
//! the next boot reads them.

use crate::error::{Error, Result};
use crate::plan::Poke;
use crate::platform;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long all of them may take. Reading all units again takes systemd a fraction of a second, and was seen to take 12 s
/// on a loaded host. `TimeoutStartSec` of `handoff.service` is longer than this and the longest wait for settings.
const DEADLINE: Duration = Duration::from_secs(60);

/// Carries out the pokes in order. Returns a line for each that failed.
pub fn poke(pokes: &[Poke]) -> Vec<String> {
    let end = Instant::now() + DEADLINE;
    let attempt = |poke: &Poke| match carry_out(poke, end) {
        Ok(()) => None,
        Err(reason) => Some(format!("could not {poke}: {reason}; the next boot will")),
    };
    pokes.iter().filter_map(attempt).collect()
}

/// Lets the boot go on that has stopped in `handoff-stopped.target`: the units are read again, and everything that belongs to
/// a normal boot is started, as if systemd had begun with it. What belongs to the stop ends by that.
///
/// # Errors
/// systemd could not be told. It may be tried again.
pub fn go_on() -> Result<()> {
    let end = Instant::now() + DEADLINE;
    let told = tool(SYSTEMCTL, &["daemon-reload"], end)
        // Without --no-block this would wait for a boot that waits for the end of this process.
        .and_then(|()| tool(SYSTEMCTL, &["--no-block", "isolate", "default.target"], end));
    told.map_err(|problem| {
        let remedy = "start the guest again: the settings are in place";
        Error::not_applied("systemd", format_args!("could not be told to go on with the boot: {problem}"), remedy)
    })
}

const SYSTEMCTL: &str = "/usr/bin/systemctl";

fn carry_out(poke: &Poke, end: Instant) -> Result<(), String> {
    const NETWORKCTL: &str = "/usr/bin/networkctl";
    match poke {
        Poke::SetHostname(name) => platform::set_hostname(name).map_err(|error| error.to_string()),
        Poke::RenameInterface { from, to } => platform::rename_interface(from, to).map_err(|error| error.to_string()),
        Poke::ReloadInit => tool(SYSTEMCTL, &["daemon-reload"], end),
        // Without --no-block a job started from a unit that the job waits for would never end.
        Poke::Stop(unit) => tool(SYSTEMCTL, &["--no-block", "stop", unit], end),
        Poke::Start(unit) => tool(SYSTEMCTL, &["--no-block", "start", unit], end),
        Poke::Reload(unit) => tool(SYSTEMCTL, &["--no-block", "try-reload-or-restart", unit], end),
        Poke::Restart(unit) => tool(SYSTEMCTL, &["--no-block", "try-restart", unit], end),
        Poke::ReloadNetwork if !platform::is_networkd_running() => Ok(()),
        Poke::ReloadNetwork => tool(NETWORKCTL, &["reload"], end),
    }
}

/// Runs a tool that the image holds, with an empty environment, until `end` at the latest.
fn tool(path: &str, arguments: &[&str], end: Instant) -> Result<(), String> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(format!("the pokes before took all of the {} s there are", DEADLINE.as_secs()));
    }
    let mut command = Command::new(path);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match platform::run_with_deadline(&mut command, left) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{path} {} ended with {status}", arguments.join(" "))),
        Ok(None) => Err(format!("{path} did not end within {} s and was stopped", left.as_secs())),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_finds_nothing_of_our_environment() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let end = Instant::now() + DEADLINE;
        assert_eq!(tool("/bin/sh", &["-c", r#"[ -z "$CARGO_PKG_NAME$HOME" ]"#], end), Ok(()));
        assert!(tool("/bin/sh", &["-c", "exit 1"], end).is_err());
    }
}
