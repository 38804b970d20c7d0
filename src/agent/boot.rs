//! The command `boot`: wait, verify, apply, and decide by the policy of the image how the boot goes on.

use super::arguments::Arguments;
use super::commands::{Run, apply_offer, recover, warn};
use super::deferral;
use super::offer::{self, Offer};
use super::status::{Mode, Outcome, STATUS_PATH, Status, subject};
use super::trial;
use crate::class::{Class, Failure, Policy};
use crate::commit;
use crate::commit::state::State;
use crate::error::{Error, Result};
use crate::guest::{Facts, GuestPath, View};
use crate::platform::{self, PreparedRoot};
use crate::root::Root;
use std::io::Write;
use std::time::Instant;

/// Runs at boot, as a service or as the child of PID 1. The exit code says whether the boot goes on: 0 and 14 do.
pub(super) fn boot(root: &Root, arguments: &Arguments, pid1: bool, err: &mut dyn Write) -> Result<u8> {
    let mode = if pid1 { Mode::Pid1 } else { Mode::Service };
    let started = Instant::now();
    if !pid1
        && let Some(status) = earlier(root)?
        && is_final(&status)
    {
        return Ok(exit_code(&status));
    }
    let result = prepare(root, mode).and_then(|prepared| {
        let result = attempt(root, arguments, mode, err);
        drop(prepared);
        result
    });
    let status = match result {
        Ok(status) => status,
        Err(error) => refused(root, mode, &error),
    };
    finish(status, started, err)
}

/// Decides, for PID 1 or for the service, when `boot` did not end within its deadline and was stopped.
///
/// # Errors
/// The status cannot be written.
pub(super) fn give_up(root: &Root, pid1: bool, err: &mut dyn Write) -> Result<u8> {
    let mode = if pid1 { Mode::Pid1 } else { Mode::Service };
    let error = Error::not_applied(
        "handoff-agent",
        "did not end within its deadline and was stopped",
        "start the guest again; if it stays so, look for a disk that does not answer",
    );
    let started = Instant::now();
    // It may have been stopped in the middle of a commit. No boot goes on with half of one.
    let recovered = prepare(root, mode).and_then(|prepared| {
        let recovered = recover(root, err);
        drop(prepared);
        recovered
    });
    if let Err(error) = recovered {
        warn(err, &[error.to_string()]);
    }
    finish(refused(root, mode, &error), started, err)
}

/// As PID 1: readies the root, and tells the parent which init the class wants.
fn prepare(root: &Root, mode: Mode) -> Result<Option<PreparedRoot>> {
    if mode != Mode::Pid1 {
        return Ok(None);
    }
    let prepared = PreparedRoot::new()?;
    platform::write_init(Class::load(root)?.policy.init.as_str())?;
    Ok(Some(prepared))
}

/// Whether the service has nothing to do after this run in the same boot.
fn is_final(status: &Status) -> bool {
    match (status.mode, status.outcome) {
        (_, Outcome::Deferred) => false,
        (Mode::Pid1, _) => true,
        // The boot goes on because of it.
        (Mode::Stopped, outcome) => outcome != Outcome::Stopped,
        (Mode::Service | Mode::Hand, _) => false,
    }
}

/// What an earlier run in this boot left. A damaged status counts as none: then the work is done again, which is safe.
pub(super) fn earlier(root: &Root) -> Result<Option<Status>> {
    let bytes = root.read(&GuestPath::of(STATUS_PATH))?;
    Ok(bytes.and_then(|bytes| Status::from_json(&bytes).ok()))
}

pub(super) fn attempt(root: &Root, arguments: &Arguments, mode: Mode, err: &mut dyn Write) -> Result<Status> {
    if mode == Mode::Pid1 {
        let mounts = deferral::missing_mounts(root, &Class::load(root)?.volumes)?;
        if !mounts.is_empty() {
            deferral::check_service(root, &mounts)?;
            let message = format!("left to handoff.service, because {} is not mounted yet", mounts.join(", "));
            return Ok(Status::new(mode, Outcome::Deferred, message, &State::default()));
        }
    }
    recover(root, err)?;
    let live = platform::live(root, mode == Mode::Pid1)?;
    let machine = offer::machine(root)?.map(|uuid| uuid.to_string());
    let mut run = Run::new(root, Facts { machine, entropy: platform::entropy()?, live: Some(live) })?;
    let longest = arguments.wait.unwrap_or(run.class.policy.wait);
    // Before anything is read that could hold us, or the attempts would never end.
    // A second run in one boot is no second attempt.
    let is_first = earlier(root)?.is_none_or(|status| status.outcome == Outcome::Deferred);
    let used_up = trial::at_boot(&mut run, mode, is_first, err);
    let offer = run.offer(arguments, longest)?;
    // Settings that are of no use are no reason to refuse others.
    let is_other =
        |offer: &Offer| run.state.current().is_none_or(|current| current.digest != offer.verified.digest().to_string());
    if let Some(error) = used_up.filter(|_| !offer.as_ref().is_some_and(is_other)) {
        return Err(error);
    }
    match offer {
        Some(offer) => apply_offer(&mut run, &offer, mode, err),
        None if run.class.policy.required => Err(Error::no_settings(
            "sources",
            format_args!("none held settings within {} s{}", longest.as_secs(), run.shown_note()),
            "attach a settings disk made with `handoff pack`",
        )),
        None => {
            if run.state.generation > 0 {
                offer::check_pinned(root, &run.state, run.state.generation)?;
            }
            let message = match run.state.generation {
                0 => "no settings found, and none are required".to_owned(),
                _ => format!("no settings found, and none are required; {} stays in place", subject(&run.state)),
            };
            Ok(Status::new(mode, Outcome::NoSettings, message, &run.state))
        }
    }
}

/// What becomes of the boot after a refusal.
pub(super) fn refused(root: &Root, mode: Mode, error: &Error) -> Status {
    // A class or a memory that cannot be read is no leave to go on: the stricter default holds.
    let policy =
        Class::load(root).map_or_else(|_| Policy { failure: Failure::Stop, ..Policy::default() }, |class| class.policy);
    let mut failure = policy.failure;
    // Half of a commit is neither the old settings nor the new ones.
    if commit::interrupted(root).unwrap_or(true) {
        failure = Failure::Stop;
    }
    let state = State::load(root).unwrap_or_default();
    let code = error.class().exit_code();
    // The files of the last settings are in place, whatever the kernel's command line pins by now.
    let is_other = state.generation > 0 && offer::check_pinned(root, &state, state.generation).is_err();
    let other = if is_other {
        format!("; {} is not what the kernel's command line pins", subject(&state))
    } else {
        String::new()
    };
    let is_used_up = trial::is_used_up(trial::as_pinned(root, &state).as_ref(), policy.attempts);
    let (outcome, message) = match failure {
        Failure::Continue => {
            let how = match state.generation {
                0 => "as the image is".to_owned(),
                _ => format!("with {}{other}", subject(&state)),
            };
            (Outcome::Continued, format!("NOT APPLIED (code {code}): {error}; the boot goes on {how}"))
        }
        Failure::LastGood if state.generation > 0 && !is_used_up && !is_other => {
            let subject = subject(&state);
            let which = if state.trial.is_some() { "settings of before" } else { "last good settings" };
            (Outcome::LastGood, format!("NOT APPLIED (code {code}): {error}; running on the {which}, {subject}"))
        }
        Failure::LastGood | Failure::Stop => {
            (Outcome::Stopped, format!("NOT APPLIED (code {code}): {error}{other}; the boot stops here"))
        }
    };
    Status { code, ..Status::new(mode, outcome, message, &state) }
}

/// Leaves the status, prints the line, and turns the outcome into the exit code.
pub(super) fn finish(mut status: Status, started: Instant, err: &mut dyn Write) -> Result<u8> {
    status.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Err(error) = platform::write_status(&status.to_json()) {
        warn(err, &[error.to_string()]);
    }
    let _ = writeln!(err, "{}", status.line());
    let _ = err.flush();
    if matches!(status.mode, Mode::Pid1 | Mode::Stopped) {
        platform::log_to_kernel(&status.line(), status.code != 0);
    }
    Ok(exit_code(&status))
}

/// 0 and 14 let the boot go on.
pub(super) fn exit_code(status: &Status) -> u8 {
    match status.outcome {
        Outcome::Applied | Outcome::Unchanged | Outcome::NoSettings | Outcome::Continued | Outcome::Deferred => 0,
        Outcome::LastGood => crate::error::Class::LastGood.exit_code(),
        // Settings that were rolled back are refused with 14, which would let the boot go on.
        Outcome::Stopped if matches!(status.code, 0 | 14) => crate::error::Class::NotApplied.exit_code(),
        Outcome::Stopped => status.code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_does_nothing_after_a_run_that_let_the_boot_go_on() {
        let status = |mode, outcome| Status::new(mode, outcome, String::new(), &State::default());
        for (mode, outcome, expected) in [
            (Mode::Pid1, Outcome::Applied, true),
            (Mode::Pid1, Outcome::Deferred, false),
            (Mode::Stopped, Outcome::Applied, true),
            (Mode::Stopped, Outcome::Unchanged, true),
            (Mode::Stopped, Outcome::Stopped, false),
            (Mode::Service, Outcome::Applied, false),
        ] {
            assert_eq!(is_final(&status(mode, outcome)), expected, "{mode:?} {outcome:?}");
        }
    }

    #[test]
    fn a_boot_that_stops_never_ends_with_a_code_that_lets_it_go_on() {
        for code in 0..=20 {
            let stopped = Status::new(Mode::Pid1, Outcome::Stopped, String::new(), &State::default());
            let exit = exit_code(&Status { code, ..stopped });
            assert!(!matches!(exit, 0 | 14), "{code} gives {exit}");
        }
    }
}
