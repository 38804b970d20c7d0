//! The agent as a service of the init: the parent.
//!
//! A disk that does not answer can hold whoever reads it for as long as it likes, also against SIGKILL. The init would wait
//! for that, and at last count the service as failed and stop the boot, whatever the policy of the image says. So the work is
//! done in a child here too, and the parent always ends in time.

use super::child;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the child may take in all: the longest wait for settings, 90 s, the checkers, 30 s, and the pokes, 60 s.
/// Together with [`GIVE_UP_DEADLINE`] it is shorter than `TimeoutStartSec` of `handoff.service`.
const DEADLINE: Duration = Duration::from_secs(185);
/// How long it may take to decide what to do after that.
const GIVE_UP_DEADLINE: Duration = Duration::from_secs(15);
/// What tells the child from the parent.
const SUPERVISED: &str = "--supervised";

/// Runs `boot` in a child and returns the exit code. `None`: these are the arguments of another command, or of the child.
pub fn supervise(arguments: &[OsString]) -> Option<u8> {
    let says = |word: &str| arguments.iter().any(|argument| argument == OsStr::new(word));
    if arguments.first().is_none_or(|command| command != "boot") || says("--pid1") || says(SUPERVISED) {
        return None;
    }
    // Without a name of its own it does the work itself, as well as it can.
    let own: PathBuf = std::env::current_exe().ok()?;
    Some(boot(&own, arguments, DEADLINE))
}

fn boot(own: &Path, arguments: &[OsString], deadline: Duration) -> u8 {
    let child = |first: &[&str], deadline| {
        let options = arguments.iter().skip(1).map(OsString::as_os_str);
        let words: Vec<&OsStr> = first.iter().map(OsStr::new).chain(options).collect();
        child::run(own, &words, deadline)
    };
    child(&["boot", SUPERVISED], deadline)
        .or_else(|| child(&["give-up"], GIVE_UP_DEADLINE))
        .unwrap_or(crate::error::Class::NotApplied.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    /// A program in the place of the agent.
    fn program(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_child_that_hangs_is_left_behind_and_the_policy_decides() {
        let (_directory, hanging) = program(r#"case "$1" in boot) sleep 60;; give-up) exit 14;; esac"#);
        let start = Instant::now();
        assert_eq!(boot(&hanging, &words("boot"), Duration::from_millis(200)), 14);
        assert!(start.elapsed() < Duration::from_secs(20));
        let (_directory, crashing) = program(r#"case "$1" in boot) kill -ABRT $$;; give-up) exit 0;; esac"#);
        assert_eq!(boot(&crashing, &words("boot"), Duration::from_secs(20)), 0);
        assert_eq!(boot(Path::new("/nothing"), &words("boot"), Duration::from_secs(1)), 13);
    }

    #[test]
    fn the_code_of_the_child_and_the_options_are_handed_through() {
        let (_directory, path) = program(r#"[ "$*" = "boot --supervised --wait 3" ] && exit 12"#);
        assert_eq!(boot(&path, &words("boot --wait 3"), Duration::from_secs(20)), 12);
    }

    #[test]
    fn the_child_finds_nothing_of_the_starters_environment() {
        // Cargo sets this for its tests.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let (_directory, path) = program(r#"[ -z "$CARGO_PKG_NAME$HOME" ] && exit 12"#);
        assert_eq!(boot(&path, &words("boot"), Duration::from_secs(20)), 12);
    }

    #[test]
    fn only_the_service_is_supervised() {
        for line in ["apply", "boot --pid1", "boot --supervised", "--root / boot", "give-up"] {
            assert_eq!(supervise(&words(line)), None, "{line}");
        }
        assert_eq!(supervise(&[]), None);
    }
}
