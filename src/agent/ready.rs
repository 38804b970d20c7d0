//! The command `ready`: waits until the appliance does what it is for, and says so in the status and on the console.

use super::commands::warn;
use super::offer;
use super::status::{Ready, ReadyState, STATUS_PATH, Status, seconds};
use crate::class::{Class, PortOf, Probe as Declared, Resolved};
use crate::commit::state::State;
use crate::error::{Class as Failure, Error, Result, one_line};
use crate::guest::{GuestPath, View as _};
use crate::handoff::ready::{self, Probe};
use crate::platform;
use crate::root::Root;
use std::io::Write;
use std::time::{Duration, Instant};

/// What the class asks of an appliance that is ready, and how long that may take. `None`: it does not say.
///
/// # Errors
/// A port is that of a field, and the settings that were applied cannot be read or give it none.
fn probes_of(root: &Root, class: &Class) -> Result<Option<(Vec<Probe>, Duration)>> {
    let Some(asked) = &class.ready else { return Ok(None) };
    let state = State::load(root)?;
    let resolved = match state.generation {
        0 => Resolved::default(),
        generation => offer::committed(root, class, &state, generation)?.resolved,
    };
    let number = |port: &PortOf| {
        resolved.port(port).ok_or_else(|| {
            let problem = "the class asks at the port of a field that has no value";
            Error::no_settings(
                "ready",
                problem,
                "apply settings that give the field, or give it a default in the class",
            )
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

/// Waits. 0 when it is ready, 13 when it is not.
///
/// # Errors
/// The class cannot be read, or the status cannot be written.
pub(super) fn ready(root: &Root, err: &mut dyn Write) -> Result<u8> {
    let class = Class::load(root)?;
    let declared = match probes_of(root, &class) {
        Ok(declared) => declared,
        Err(error) => {
            // Whoever watches the status must not take silence for an appliance that is still on its way.
            note(root, Ready { state: ReadyState::Failed, reason: Some(error.to_string()), milliseconds: 0 }, err)?;
            return Err(error);
        }
    };
    let Some((probes, deadline)) = declared else {
        let reason = "no probe is declared".to_owned();
        return finish(root, Ready { state: ReadyState::Ready, reason: Some(reason), milliseconds: 0 }, "", err);
    };
    note(root, Ready { state: ReadyState::Waiting, reason: None, milliseconds: 0 }, err)?;
    let start = Instant::now();
    let outcome = ready::wait(&probes, deadline.min(ready::MAX_DEADLINE));
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (state, reason) = match outcome {
        Ok(_) => (ReadyState::Ready, shown(&probes)),
        Err(reason) => (ReadyState::Failed, reason),
    };
    finish(root, Ready { state, reason: Some(reason), milliseconds }, &look_at(&probes), err)
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

fn finish(root: &Root, ready: Ready, look_at: &str, err: &mut dyn Write) -> Result<u8> {
    let line = line(&ready, look_at);
    let is_ready = ready.state == ReadyState::Ready;
    let noted = note(root, ready, err);
    let _ = writeln!(err, "{line}");
    let _ = err.flush();
    noted?;
    Ok(if is_ready { 0 } else { Failure::NotApplied.exit_code() })
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
    let Some(bytes) = root.read(&GuestPath::of(STATUS_PATH))? else { return Ok(()) };
    match Status::from_json(&bytes) {
        Ok(status) => platform::write_status(&Status { ready: Some(ready), ..status }.to_json()),
        Err(error) => {
            warn(err, &[error.to_string()]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
