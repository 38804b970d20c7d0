//! Judging a plan before it is committed: the image's own checkers look at the guest as it will be.
//!
//! A checker (`haproxy -c -f …`) is a command that was baked into the image. It runs where every change of the plan is
//! already in place, although nothing was changed: in a mount namespace of its own, in which everything is read-only, but for
//! `/run`, `/tmp`, `/var/tmp`, `/var/log` and `/dev/shm`, which are empty ones of its own (in `/run` and `/var/log` it finds
//! the directories that are there). It has no network but an empty one.

mod paths;
mod picture;
mod words;

use crate::error::{Error, Result};
use crate::plan::Step;
use crate::platform::{self, Ending};
use crate::root::Root;
use std::ffi::CString;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one checker may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long all of them may take together.
const DEADLINE_OF_ALL: Duration = Duration::from_secs(30);

/// What a checker says of a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is content.
    Passed,
    /// It is not: its own last words, one line of at most some 500 bytes, without secrets.
    Failed(String),
    /// It was not asked, because this system cannot show a plan to a checker: why.
    NotJudged(String),
}

/// Runs each command, absolute program first, where the guest whose root is `path` looks as after these steps. One verdict for
/// each command, in order.
///
/// `secrets` are the texts that must not be repeated; where they are quoted in a file, the quoted ones too.
///
/// # Errors
/// A checker is missing or cannot be started, the guest cannot be read, or the tree cannot be built.
pub fn judge(
    root: &Root,
    path: &Path,
    steps: &[Step],
    commands: &[Vec<String>],
    secrets: &[&str],
) -> Result<Vec<Verdict>> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let acts = picture::picture(steps, root)?;
    let end = Instant::now() + DEADLINE_OF_ALL;
    commands.iter().map(|command| judge_one(path, &acts, command, end, secrets)).collect()
}

fn judge_one(
    root: &Path,
    acts: &[platform::Act<'_>],
    command: &[String],
    end: Instant,
    secrets: &[&str],
) -> Result<Verdict> {
    let program = command.first().map_or("", String::as_str);
    let words: std::result::Result<Vec<CString>, _> = command.iter().map(|word| CString::new(word.as_str())).collect();
    let Ok(words) = words else {
        return Err(Error::invalid(
            program,
            "is a command with a zero byte",
            "build the image again with a good class",
        ));
    };
    let deadline = DEADLINE.min(end.saturating_duration_since(Instant::now()));
    let ran = platform::run_in_sandbox(root, acts, &words, deadline).map_err(|error| {
        Error::not_applied(
            program,
            format_args!("cannot be run: {error}"),
            "look whether memory or processes are short",
        )
    })?;
    let said = words::words(&ran.output, secrets);
    let failed = |how: String| {
        let words = if said.is_empty() { how } else { format!("{said} ({how})") };
        Ok(Verdict::Failed(words))
    };
    match ran.ending {
        Ending::Code(0) => Ok(Verdict::Passed),
        Ending::Code(code) => failed(format!("exit code {code}")),
        Ending::Signal(signal) => failed(format!("killed by signal {signal}")),
        Ending::Deadline => failed(format!("did not end within {} s and was stopped", deadline.as_secs_f32().ceil())),
        Ending::NoSandbox(error) => Ok(Verdict::NotJudged(io::Error::from(error).to_string())),
        Ending::NotStarted(error) => {
            let reason = io::Error::from(error);
            let problem = format_args!("is what checks a file of this class, and cannot be started: {reason}");
            Err(Error::not_applied(program, problem, "build the image again with that program in it"))
        }
        Ending::NotBuilt(path, error) => {
            let reason = io::Error::from(error);
            let problem = format_args!("cannot be shown to {program} as it would be: {reason}");
            Err(Error::not_applied(path, problem, "look at the file system it lies on, and whether memory is short"))
        }
    }
}
