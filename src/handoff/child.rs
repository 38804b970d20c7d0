//! The agent as a child of itself. What can go wrong or hang happens there, and its parent always ends in time.

use crate::platform;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs the agent with these arguments and nothing in its environment. `None`: it could not be started, which is told on the
/// console, or it did not end in time, or not by itself.
pub(super) fn run(own: &Path, arguments: &[&OsStr], deadline: Duration) -> Option<u8> {
    let mut command = Command::new(own);
    command.args(arguments).env_clear();
    match platform::run_with_deadline(&mut command, deadline) {
        Ok(status) => status.and_then(|status| u8::try_from(status.code()?).ok()),
        Err(error) => {
            platform::console(&format!("handoff: {}: cannot be started: {error}", own.display()));
            None
        }
    }
}
