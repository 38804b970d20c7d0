//! New settings on trial: how often they are tried, and the way back to the last good ones.
//!
//! A trial begins with the commit of new settings and ends when `handoff-ready.service` has seen the appliance get ready. An
//! image in which nobody looks has no trials. What counts an attempt is a boot that finds the trial still open, and an
//! appliance that did not get ready within its deadline. Without a trial nothing is ever written.

use super::commands::{Run, apply_offer, warn};
use super::offer;
use super::status::{Mode, Status, subject};
use crate::commit;
use crate::commit::state::{Standing, State, Trial};
use crate::error::{Error, Result, one_line};
use crate::guest::{GuestPath, Node, View};
use crate::plan;
use crate::platform;
use crate::root::Root;
use std::io::Write;

/// The unit that ends a trial.
pub(super) const JUDGE: &str = "handoff-ready.service";

/// What asks for the next attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// A boot found the trial still open.
    Boot,
    /// The appliance did not get ready in time.
    NotReady,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// The next attempt with the same settings.
    Again(Trial),
    /// Back to this generation.
    GoBack(u64),
    /// It stays as it is: there is nothing to go back to.
    Stay,
}

/// Decides it, for a trial of at most so many attempts.
pub(super) fn next(trial: Trial, attempts: u32, event: Event) -> Next {
    let again = Trial { attempt: trial.attempt.saturating_add(1), ..trial };
    match (trial.good, event) {
        _ if is_used_up(Some(&trial), attempts) && trial.good.is_none() => Next::Stay,
        (Some(_), _) if trial.attempt < attempts => Next::Again(again),
        (Some(good), _) => Next::GoBack(good),
        // One more than there are: so it is known at the next boot that all were in vain.
        (None, Event::Boot) => Next::Again(again),
        // Nothing would be won by it, and what the appliance waits for may come yet.
        (None, Event::NotReady) => Next::Stay,
    }
}

/// The trial as it counts in this boot: where the kernel's command line pins other settings than the last good ones, there
/// are none to go back to. What is remembered stays, for a boot without that pin.
pub(super) fn as_pinned(guest: &dyn View, state: &State) -> Option<Trial> {
    let trial = state.trial?;
    Some(Trial { good: trial.good.filter(|good| offer::check_pinned(guest, state, *good).is_ok()), ..trial })
}

/// What follows from a look at the appliance, written down as far as it is a matter of the trial alone. `None`: the trial is
/// over, and the current generation is the last good one.
///
/// # Errors
/// It cannot be written.
pub(super) fn judged(root: &Root, state: &mut State, attempts: u32, is_ready: bool) -> Result<Option<Next>> {
    let Some(trial) = as_pinned(root, state).filter(|_| !is_ready) else {
        record(root, state, None)?;
        return Ok(None);
    };
    let next = next(trial, attempts, Event::NotReady);
    if let Next::Again(again) = next {
        record(root, state, Some(again))?;
    }
    Ok(Some(next))
}

/// Whether all attempts were in vain, and there was nothing to go back to.
pub(super) fn is_used_up(trial: Option<&Trial>, attempts: u32) -> bool {
    trial.is_some_and(|trial| trial.good.is_none() && trial.attempt > attempts)
}

/// Whether somebody will look whether the appliance gets ready: without that nothing is on trial.
pub(super) fn is_judged(guest: &dyn View) -> bool {
    let unit = |directory: &str, name: &str| guest.node(&GuestPath::of(&format!("{directory}/{name}"))).ok().flatten();
    let masked = matches!(unit("/etc/systemd/system", JUDGE), Some(Node::Link(target)) if target == "/dev/null");
    let wanted = ["/etc/systemd/system", "/usr/lib/systemd/system"]
        .iter()
        .any(|directory| unit(&format!("{directory}/multi-user.target.wants"), JUDGE).is_some());
    wanted && !masked
}

/// Counts the attempt that this boot is, or goes back, where it is the first run in this boot. Returns why the settings in
/// place are of no use, where there is nothing to go back to.
pub(super) fn at_boot(run: &mut Run<'_>, mode: Mode, is_first: bool, err: &mut dyn Write) -> Option<Error> {
    let trial = as_pinned(run.root, &run.state).filter(|_| is_judged(run.root))?;
    let attempts = run.class.policy.attempts;
    let reason = format!("generation {} did not get ready in {}", run.state.generation, shown(attempts));
    match next(trial, attempts, Event::Boot) {
        _ if !is_first => {}
        Next::Again(again) => {
            let good = run.state.trial.and_then(|trial| trial.good);
            // A disk that takes no count takes no other settings either; the boot goes on as it would have.
            if let Err(error) = record(run.root, &mut run.state, Some(Trial { good, ..again })) {
                warn(err, &[error.to_string()]);
            }
        }
        Next::GoBack(good) => match go_back(run, good, &reason, mode, err) {
            Ok(status) => {
                tell(err, &status.line());
                if mode == Mode::Pid1 {
                    platform::log_to_kernel(&status.line(), true);
                }
            }
            Err(error) => return Some(error),
        },
        Next::Stay => {}
    }
    if !is_used_up(as_pinned(run.root, &run.state).as_ref(), attempts) {
        return None;
    }
    Some(used_up(&run.state, attempts))
}

/// Why settings that never got the appliance ready are of no use.
pub(super) fn used_up(state: &State, attempts: u32) -> Error {
    // Where there are, it is the pin that keeps the guest from them.
    let which = if state.good().is_some() {
        "the pinned ones are all that it may run on"
    } else {
        "there are none to go back to"
    };
    let reason = format_args!("generation {} did not get ready in {}, and {which}", state.generation, shown(attempts));
    Error::not_applied("settings", reason, "give corrected settings with a higher instance.serial")
}

/// Goes back to a generation that was good, and remembers that the current one is not.
///
/// # Errors
/// It is not kept any longer, is not what the kernel's command line pins, or cannot be applied. Then nothing has changed.
pub(super) fn go_back(run: &mut Run<'_>, good: u64, reason: &str, mode: Mode, err: &mut dyn Write) -> Result<Status> {
    offer::check_pinned(run.root, &run.state, good)?;
    let offer = offer::committed(run.root, &run.class, &run.state, good)?;
    let before = run.state.clone();
    leave(&mut run.state, reason);
    run.state.rejected.remove(&offer.verified.digest().to_string());
    match apply_offer(run, &offer, mode, err) {
        Ok(status) => {
            let message = format!("WENT BACK: {reason}; running on the last good settings, {}", subject(&run.state));
            Ok(Status { message, ..status })
        }
        Err(error) => {
            run.state = before;
            Err(error)
        }
    }
}

/// Remembers that the current settings are left, so that they are not taken again.
pub(super) fn leave(state: &mut State, reason: &str) {
    if let Some(left) = state.history.get_mut(&state.generation) {
        left.left = Some(reason.to_owned());
        state.rejected.insert(left.digest.clone(), reason.to_owned());
    }
}

/// Writes down how the trial stands; `None`: the current generation is good.
///
/// # Errors
/// It cannot be written, or others were applied meanwhile.
pub(super) fn record(root: &Root, state: &mut State, trial: Option<Trial>) -> Result<()> {
    let mut next = State { trial, ..state.clone() };
    if let (None, Some(good)) = (trial, next.history.get_mut(&next.generation)) {
        good.standing = Some(Standing::Good);
    }
    let steps = plan::record(root, &next)?;
    // In this order: what changes after it was looked at here is seen by the commit.
    if State::load(root)? != *state {
        return Err(Error::not_applied("state", "was changed meanwhile, nothing was changed", "run again"));
    }
    commit::commit(root, &steps)?;
    *state = next;
    Ok(())
}

/// A number of attempts, in words.
pub(super) fn shown(attempts: u32) -> String {
    format!("{attempts} {}", if attempts == 1 { "attempt" } else { "attempts" })
}

/// A line for the console.
pub(super) fn tell(err: &mut dyn Write, line: &str) {
    let _ = writeln!(err, "{}", one_line(line));
    let _ = err.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Tree;

    /// What comes of a guest for which the same is seen each time, until it does not change any more.
    fn course(good: Option<u64>, attempts: u32, event: Event) -> (u32, Next) {
        let mut trial = Trial { attempt: 1, good };
        for _ in 0..50 {
            match next(trial, attempts, event) {
                Next::Again(next) => trial = next,
                end => return (trial.attempt, end),
            }
        }
        panic!("the trial has no end");
    }

    #[test]
    fn after_its_attempts_a_guest_goes_back_whatever_ended_them() {
        for event in [Event::Boot, Event::NotReady] {
            assert_eq!(course(Some(7), 3, event), (3, Next::GoBack(7)));
            assert_eq!(course(Some(7), 1, event), (1, Next::GoBack(7)));
        }
        // One attempt ended with a reset, and the next in an appliance that was not ready.
        let second = Trial { attempt: 2, good: Some(7) };
        assert_eq!(next(Trial { attempt: 1, ..second }, 2, Event::Boot), Next::Again(second));
        assert_eq!(next(second, 2, Event::NotReady), Next::GoBack(7));
    }

    #[test]
    fn a_guest_that_has_nothing_to_go_back_to_is_used_up_after_its_boots_and_not_before() {
        let used_up = |attempt| is_used_up(Some(&Trial { attempt, good: None }), 3);
        assert!(!used_up(3));
        assert_eq!(course(None, 3, Event::Boot), (4, Next::Stay));
        assert!(used_up(4));
        // Within one boot nothing is counted: there is nothing else that it could run on.
        assert_eq!(course(None, 3, Event::NotReady), (1, Next::Stay));
        assert!(!is_used_up(None, 3) && !is_used_up(Some(&Trial { attempt: 4, good: Some(1) }), 3));
    }

    #[test]
    fn a_class_that_gives_fewer_or_more_attempts_than_before_is_heeded() {
        assert_eq!(next(Trial { attempt: 5, good: Some(1) }, 3, Event::Boot), Next::GoBack(1));
        let trial = Trial { attempt: 4, good: None };
        assert_eq!(next(trial, 3, Event::Boot), Next::Stay);
        assert!(matches!(next(trial, 9, Event::Boot), Next::Again(Trial { attempt: 5, .. })));
    }

    #[test]
    fn nothing_is_on_trial_where_nobody_looks() {
        let enabled = "/etc/systemd/system/multi-user.target.wants/handoff-ready.service";
        let wanted = || Tree::new().with_node(enabled, Node::link("/usr/lib/systemd/system/handoff-ready.service"));
        assert!(is_judged(&wanted()));
        assert!(!is_judged(&Tree::new()));
        let masked = "/etc/systemd/system/handoff-ready.service";
        assert!(!is_judged(&wanted().with_node(masked, Node::link("/dev/null"))));
    }
}
