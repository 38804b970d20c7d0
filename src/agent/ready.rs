//! The command `ready`: waits until the appliance does what it is for, and says so in the status and on the console.

use super::commands::{Run, recover, warn};
use super::offer;
use super::status::{Mode, Outcome, Ready, ReadyState, STATUS_PATH, Status, seconds, subject};
use super::trial::{self, Next};
use crate::class::{Class, MAX_ATTEMPTS, PortOf, Probe as Declared, Resolved};
use crate::commit::state::State;
use crate::error::{Class as Failure, Error, Result, one_line};
use crate::guest::{Facts, GuestPath, View as _};
use crate::handoff::ready::{self, Probe};
use crate::platform;
use crate::root::Root;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often is looked at most: for each attempt, after the way back, and when somebody changes the settings meanwhile.
const MAX_ROUNDS: u32 = 2 * MAX_ATTEMPTS;

/// What new settings have to last after the first good answer.
const SETTLE: Duration = Duration::from_secs(1);

/// How long one probe may take to answer once more after that: as long as the slowest of them is waited for in one round. It is
/// no second start, so the deadline of the class does not begin again.
const ONCE_MORE: Duration = ready::COMMAND_DEADLINE;

/// What the class asks of an appliance that is ready, and how long that may take. `None`: it does not say.
///
/// # Errors
/// A port is that of a field, and the settings that were applied cannot be read or give it none.
fn probes_of(root: &Root, class: &Class, state: &State) -> Result<Option<(Vec<Probe>, Duration)>> {
    let Some(asked) = &class.ready else { return Ok(None) };
    let resolved = match state.generation {
        0 => Resolved::default(),
        generation => offer::committed(root, class, state, generation)?.resolved,
    };
    let number = |port: &PortOf| {
        resolved.port(port).ok_or_else(|| {
            let problem = "the class asks at the port of a field that has no value";
            Error::invalid("ready", problem, "apply settings that give the field, or give it a default in the class")
        })
    };
    let probe = |declared: &Declared| {
        Ok(match declared {
            Declared::Tcp(port) => Probe::Tcp { port: number(port)? },
            Declared::Http { port, path, status } => {
                Probe::Http { port: number(port)?, path: path.clone(), status: *status }
            }
            Declared::Unit(name) => Probe::Unit(name.to_string()),
            Declared::Command(words) => Probe::Command(words.clone()),
        })
    };
    let probes: Result<Vec<Probe>> = asked.probes.iter().map(probe).collect();
    Ok(Some((probes?, asked.deadline)))
}

/// Waits. 0 when it is ready, 13 when it is not, 14 when it is with the last good settings, after others that did not get it
/// ready.
///
/// # Errors
/// The class or the memory cannot be read, or the status cannot be written.
pub(super) fn ready(root: &Root, err: &mut dyn Write) -> Result<u8> {
    let class = Class::load(root)?;
    let attempts = class.policy.attempts;
    let mut went_back = false;
    // We may have been ended in the middle of a commit of our own. Where it cannot be ended, what is written below says why.
    if let Err(error) = recover(root, err) {
        warn(err, &[error.to_string()]);
    }
    for _ in 0..MAX_ROUNDS {
        let mut state = State::load(root)?;
        let look = look(root, &class, &state, err)?;
        // Somebody may have given the guest other settings while it was waited for.
        let generation = state.generation;
        state = State::load(root)?;
        if state.generation != generation {
            continue;
        }
        let is_ready = look.ready.state == ReadyState::Ready;
        let Some(trial) = state.trial else { return finish(root, look, went_back, err) };
        let next = trial::judged(root, &mut state, attempts, is_ready)?;
        let reason = look.ready.reason.clone().unwrap_or_default();
        match next {
            None => {
                trial::tell(
                    err,
                    &format!("handoff: the trial of {} is over: it is the last good one now", subject(&state)),
                );
                return finish(root, look, went_back, err);
            }
            Some(Next::Again(_)) => {
                let (waited, attempt) = (seconds(look.ready.milliseconds), trial.attempt);
                trial::tell(
                    err,
                    &format!(
                        "handoff: NOT READY: {reason} ({waited} waited); this was attempt {attempt} of {attempts}, and the \
                         services are started again"
                    ),
                );
                note(root, look.ready, err)?;
            }
            Some(Next::GoBack(good)) => {
                let reason = format!("generation {generation} was not ready in {}: {reason}", trial::shown(attempts));
                match go_back(root, generation, good, &reason, err) {
                    Ok(true) => went_back = true,
                    Ok(false) => continue,
                    Err(error) => {
                        warn(err, &[error.to_string()]);
                        return finish(root, look, went_back, err);
                    }
                }
            }
            Some(Next::Stay) => return finish(root, look, went_back, err),
        }
        ready::start_again(class.services.iter().map(|unit| unit.as_str()));
    }
    Err(Error::not_applied("ready", "the settings were changed again and again", "run `handoff-agent ready` again"))
}

/// What one look at the appliance has shown.
struct Look {
    ready: Ready,
    /// Where an operator finds out more.
    look_at: String,
}

/// Waits until it is ready or the deadline is over.
fn look(root: &Root, class: &Class, state: &State, err: &mut dyn Write) -> Result<Look> {
    let (probes, deadline) = match probes_of(root, class, state) {
        Ok(Some(declared)) => declared,
        Ok(None) => {
            let reason = Some("no probe is declared".to_owned());
            let ready = Ready { state: ReadyState::Ready, reason, milliseconds: 0 };
            return Ok(Look { ready, look_at: String::new() });
        }
        Err(error) => {
            // Whoever watches the status must not take silence for an appliance that is still on its way.
            let ready = Ready { state: ReadyState::Failed, reason: Some(error.to_string()), milliseconds: 0 };
            if state.trial.is_none() {
                note(root, ready, err)?;
                return Err(error);
            }
            return Ok(Look { ready, look_at: String::new() });
        }
    };
    note(root, Ready { state: ReadyState::Waiting, reason: None, milliseconds: 0 }, err)?;
    let start = Instant::now();
    let mut outcome = ready::wait(&probes, deadline.min(ready::MAX_DEADLINE));
    let mut waited = start.elapsed();
    if outcome.is_ok() && state.trial.is_some() {
        // A service that is about to fail, or to be started again, may have answered.
        std::thread::sleep(SETTLE);
        let rounds = u32::try_from(probes.len()).unwrap_or(u32::MAX);
        outcome = ready::wait(&probes, deadline.min(ONCE_MORE.saturating_mul(rounds)));
        if outcome.is_err() {
            waited = start.elapsed();
        }
    }
    let milliseconds = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    let (state, reason) = match outcome {
        Ok(_) => (ReadyState::Ready, shown(&probes)),
        Err(reason) => (ReadyState::Failed, reason),
    };
    Ok(Look { ready: Ready { state, reason: Some(reason), milliseconds }, look_at: look_at(&probes) })
}

/// Goes back to a good generation while the guest runs, and says so. False where the guest has other settings by now than those
/// that were judged: these are left alone.
pub(super) fn go_back(root: &Root, judged: u64, good: u64, reason: &str, err: &mut dyn Write) -> Result<bool> {
    recover(root, err)?;
    let machine = offer::machine(root)?.map(|uuid| uuid.to_string());
    let facts = Facts { machine, entropy: platform::entropy()?, live: Some(platform::live(root, false)?) };
    let mut run = Run::new(root, facts)?;
    if run.state.generation != judged {
        trial::tell(err, &format!("handoff: {reason}; {} came meanwhile and stays", subject(&run.state)));
        return Ok(false);
    }
    let earlier = root.read(&GuestPath::of(STATUS_PATH))?.and_then(|bytes| Status::from_json(&bytes).ok());
    // How the agent ran in this boot is as it was: the service goes by it.
    let mode = earlier.map_or(Mode::Service, |earlier| earlier.mode);
    let status = trial::go_back(&mut run, good, reason, Mode::Service, err)?;
    let status = Status { mode, outcome: Outcome::LastGood, code: Failure::LastGood.exit_code(), ..status };
    trial::tell(err, &status.line());
    platform::write_status(&status.to_json())?;
    Ok(true)
}

fn shown(probes: &[Probe]) -> String {
    probes.iter().map(Probe::to_string).collect::<Vec<_>>().join(", ")
}

/// Where the reason behind the reason is found.
fn look_at(probes: &[Probe]) -> String {
    let unit = probes.iter().find_map(|probe| match probe {
        Probe::Unit(name) => Some(name),
        _ => None,
    });
    match unit {
        Some(name) => format!("look at `systemctl status {name}`"),
        None => "look at `systemctl --failed` and `journalctl -b`".into(),
    }
}

fn finish(root: &Root, look: Look, went_back: bool, err: &mut dyn Write) -> Result<u8> {
    let line = line(&look.ready, &look.look_at);
    let is_ready = look.ready.state == ReadyState::Ready;
    let noted = note(root, look.ready, err);
    trial::tell(err, &line);
    noted?;
    Ok(match (is_ready, went_back) {
        (true, false) => 0,
        (true, true) => Failure::LastGood.exit_code(),
        (false, _) => Failure::NotApplied.exit_code(),
    })
}

/// The line on the console.
fn line(ready: &Ready, look_at: &str) -> String {
    let (waited, reason) = (seconds(ready.milliseconds), ready.reason.as_deref().unwrap_or_default());
    one_line(&match ready.state {
        ReadyState::Failed => format!("handoff: NOT READY: {reason} ({waited} waited); {look_at}"),
        _ => format!("handoff: ready after {waited}: {reason}"),
    })
}

/// Puts it into the status of this boot, as that is now. Without one there is nothing to put it into.
fn note(root: &Root, ready: Ready, err: &mut dyn Write) -> Result<()> {
    let path = GuestPath::of(STATUS_PATH);
    if root.node(&path)?.is_none() {
        return Ok(());
    }
    platform::update_status(&mut || {
        let Some(bytes) = root.read(&path)? else { return Ok(None) };
        match Status::from_json(&bytes) {
            Ok(status) => Ok(Some(Status { ready: Some(ready.clone()), ..status }.to_json())),
            Err(error) => {
                warn(err, &[error.to_string()]);
                Ok(None)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::MAX_PROBES;
    use crate::commit::state::Trial;

    #[test]
    fn the_unit_that_ends_a_trial_waits_for_all_of_its_attempts() {
        let unit = include_str!("../../units/systemd/handoff-ready.service");
        let limit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStartSec=")).unwrap();
        let limit = Duration::from_secs(limit.parse().unwrap());
        let attempt = ready::MAX_DEADLINE + SETTLE + ONCE_MORE * u32::try_from(MAX_PROBES).unwrap();
        let all = attempt * MAX_ATTEMPTS + ready::MAX_DEADLINE;
        // What is left is for starting services again, and for the way back with its checkers.
        assert!(limit >= all + Duration::from_secs(600), "{all:?} in {limit:?}");
    }

    #[test]
    fn who_answers_once_and_then_no_more_is_not_waited_for_as_if_it_had_yet_to_start() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let script = format!("test ! -e {0} && : >{0}", directory.path().join("asked").display());
        let class = r#"{ "version": 1, "class": "model", "ready": { "deadline": "2m", "probes": [
            { "command": ["/bin/sh", "-c", "SCRIPT"] }] } }"#;
        std::fs::create_dir_all(directory.path().join("usr/lib/handoff")).unwrap();
        let path = directory.path().join("usr/lib/handoff/class.json");
        std::fs::write(path, class.replace("SCRIPT", &script)).unwrap();
        let state = State { trial: Some(Trial { attempt: 1, good: None }), ..State::default() };
        let start = Instant::now();
        let look = look(&root, &Class::load(&root).unwrap(), &state, &mut Vec::new()).unwrap();
        assert_eq!(look.ready.state, ReadyState::Failed);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[test]
    fn the_line_says_what_was_asked_or_what_is_wrong_and_where_to_look() {
        let probes = [Probe::Tcp { port: 80 }, Probe::Unit("haproxy.service".into())];
        let ready = Ready { state: ReadyState::Ready, reason: Some(shown(&probes)), milliseconds: 2149 };
        assert_eq!(line(&ready, &look_at(&probes)), "handoff: ready after 2.1 s: tcp 80, haproxy.service");
        let reason = Some("port 80 refuses connections".into());
        let failed = Ready { state: ReadyState::Failed, reason, milliseconds: 60_000 };
        assert_eq!(
            line(&failed, &look_at(&probes)),
            "handoff: NOT READY: port 80 refuses connections (60.0 s waited); look at `systemctl status haproxy.service`"
        );
        assert!(look_at(&[]).contains("journalctl"));
    }
}
