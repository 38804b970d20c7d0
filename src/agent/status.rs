//! What came of a run: one line for people, `/run/handoff/status.json` for programs.

use crate::commit::state::State;
use crate::document::{self, At, Format, Writer};
use crate::error::{Error, Result, one_line};

/// Where the status of this boot lies.
pub const STATUS_PATH: &str = "/run/handoff/status.json";

/// How the agent was run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// As PID 1, before the init.
    Pid1,
    /// By the init, as a service.
    Service,
    /// By the init, as the service that waits while the boot is stopped.
    Stopped,
    /// By a person.
    Hand,
}

const MODES: [(&str, Mode); 4] =
    [("pid1", Mode::Pid1), ("service", Mode::Service), ("stopped", Mode::Stopped), ("hand", Mode::Hand)];

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Settings were applied.
    Applied,
    /// There was nothing to do.
    Unchanged,
    /// There are no settings, and none are required.
    NoSettings,
    /// Settings were refused; the guest runs on the last good ones.
    LastGood,
    /// Settings were refused, and the policy lets the boot go on.
    Continued,
    /// Settings were refused, and the boot stops.
    Stopped,
    /// The work is left to `handoff.service`, because file systems are missing before the init runs.
    Deferred,
}

const OUTCOMES: [(&str, Outcome); 7] = [
    ("applied", Outcome::Applied),
    ("unchanged", Outcome::Unchanged),
    ("no-settings", Outcome::NoSettings),
    ("last-good", Outcome::LastGood),
    ("continued", Outcome::Continued),
    ("stopped", Outcome::Stopped),
    ("deferred", Outcome::Deferred),
];

/// Whether the appliance does what it is for, as far as its class says how to find out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// What is known.
    pub state: ReadyState,
    /// Why it is not ready; with [`ReadyState::Ready`] what was asked.
    pub reason: Option<String>,
    /// How long was waited, in milliseconds.
    pub milliseconds: u64,
}

/// What is known of the appliance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadyState {
    /// It is still waited for.
    Waiting,
    /// Every probe passed.
    Ready,
    /// One did not, until the deadline.
    Failed,
}

const READY_STATES: [(&str, ReadyState); 3] =
    [("waiting", ReadyState::Waiting), ("ready", ReadyState::Ready), ("failed", ReadyState::Failed)];

const FORMAT: Format = Format {
    name: STATUS_PATH,
    depth: Format::DEPTH,
    items: Format::OWN,
    values: Format::OWN,
    error: |fault| {
        let place = fault.shown_place();
        let path = if fault.path.is_empty() { "the whole" } else { fault.path };
        let problem = format_args!("is damaged: {path} {}{place}", fault.problem);
        Error::not_applied(STATUS_PATH, problem, "run the command again after a boot")
    },
};

/// The status of the last run in this boot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The version of this format, 1.
    pub version: u32,
    /// The version of the agent.
    pub agent: String,
    /// How it was run.
    pub mode: Mode,
    /// What came of it.
    pub outcome: Outcome,
    /// The exit code of the failure, or 0.
    pub code: u8,
    /// The line for people, without its prefix.
    pub message: String,
    /// The generation that the guest is in; 0 for none.
    pub generation: u64,
    /// The committed `instance.id`.
    pub instance: Option<String>,
    /// The committed `instance.serial`.
    pub serial: Option<u64>,
    /// SHA-256 of the committed settings.
    pub digest: Option<String>,
    /// Where the settings of this run come from.
    pub source: Option<String>,
    /// How many paths were changed.
    pub changes: usize,
    /// Soft failures.
    pub warnings: Vec<String>,
    /// How long the run took, in milliseconds.
    pub milliseconds: u64,
    /// When it ended, in Unix seconds.
    pub time: u64,
    /// Whether the appliance got ready after that. `None`: nobody has looked.
    pub ready: Option<Ready>,
}

impl Status {
    /// The status of a run that left the guest in `state`.
    pub fn new(mode: Mode, outcome: Outcome, message: String, state: &State) -> Self {
        let committed = state.current();
        Status {
            version: 1,
            agent: env!("CARGO_PKG_VERSION").into(),
            mode,
            outcome,
            code: 0,
            message,
            generation: state.generation,
            instance: committed.and_then(|committed| committed.instance.clone()),
            serial: committed.and_then(|committed| committed.serial),
            digest: committed.map(|committed| committed.digest.clone()),
            source: None,
            changes: 0,
            warnings: Vec::new(),
            milliseconds: 0,
            time: super::offer::unix_time(),
            ready: None,
        }
    }

    /// The line on the console.
    pub fn line(&self) -> String {
        one_line(&format!("handoff: {}", self.message))
    }

    /// As JSON, with a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        Writer::indented(|writer| self.write(writer))
    }

    /// Writes it as a table.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("version").number(self.version);
            w.key("agent").text(&self.agent);
            w.key("mode").word(&MODES, self.mode);
            w.key("outcome").word(&OUTCOMES, self.outcome);
            w.key("code").number(self.code);
            w.key("message").text(&self.message);
            w.key("generation").number(self.generation);
            w.key("instance").nullable(self.instance.as_deref(), Writer::text);
            w.key("serial").nullable(self.serial, Writer::number);
            w.key("digest").nullable(self.digest.as_deref(), Writer::text);
            w.key("source").nullable(self.source.as_deref(), Writer::text);
            w.key("changes").number(self.changes as u64);
            w.key("warnings").list(&self.warnings, |w, warning| w.text(warning));
            w.key("milliseconds").number(self.milliseconds);
            w.key("time").number(self.time);
            w.key("ready").nullable(self.ready.as_ref(), |w, ready| ready.write(w));
        });
    }

    /// Reads what [`Status::to_json`] writes.
    ///
    /// # Errors
    /// The text is no status.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let document = document::read(bytes, &FORMAT)?;
        let table = At::document(&document, &FORMAT).table(&[
            "version",
            "agent",
            "mode",
            "outcome",
            "code",
            "message",
            "generation",
            "instance",
            "serial",
            "digest",
            "source",
            "changes",
            "warnings",
            "milliseconds",
            "time",
            "ready",
        ])?;
        let text = |at: &At<'_>| at.raw_text().map(str::to_owned);
        Ok(Status {
            version: table.required("version", |at| at.number())?,
            agent: table.required("agent", |at| text(&at))?,
            mode: table.required("mode", |at| at.word(&MODES))?,
            outcome: table.required("outcome", |at| at.word(&OUTCOMES))?,
            code: table.required("code", |at| at.number())?,
            message: table.required("message", |at| text(&at))?,
            generation: table.required("generation", |at| at.number())?,
            instance: table.required("instance", |at| at.nullable(text))?,
            serial: table.required("serial", |at| at.nullable(At::number))?,
            digest: table.required("digest", |at| at.nullable(text))?,
            source: table.required("source", |at| at.nullable(text))?,
            changes: table.required("changes", |at| at.number())?,
            warnings: table.required("warnings", |at| at.list(0..=usize::MAX, |at| text(&at)))?,
            milliseconds: table.required("milliseconds", |at| at.number())?,
            time: table.required("time", |at| at.number())?,
            // An agent of before, which was replaced in this boot, did not write it.
            ready: table.optional("ready", |at| at.nullable(Ready::read))?.flatten(),
        })
    }
}

impl Ready {
    fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("state").word(&READY_STATES, self.state);
            w.key("reason").nullable(self.reason.as_deref(), Writer::text);
            w.key("milliseconds").number(self.milliseconds);
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["state", "reason", "milliseconds"])?;
        Ok(Ready {
            state: table.required("state", |at| at.word(&READY_STATES))?,
            reason: table.required("reason", |at| at.nullable(|at| at.raw_text().map(str::to_owned)))?,
            milliseconds: table.required("milliseconds", |at| at.number())?,
        })
    }

    /// For people, without the front.
    pub fn line(&self) -> String {
        let reason = self.reason.as_deref().map(one_line).unwrap_or_default();
        match self.state {
            ReadyState::Waiting => "not yet: it is waited for".to_owned(),
            ReadyState::Ready => format!("after {}: {reason}", seconds(self.milliseconds)),
            ReadyState::Failed => format!("NO: {reason} ({} waited)", seconds(self.milliseconds)),
        }
    }
}

/// Milliseconds in seconds, with one digit after the point where that is worth it.
pub(super) fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..100_000 => format!("{}.{} s", milliseconds / 1000, milliseconds / 100 % 10),
        _ => format!("{} s", milliseconds / 1000),
    }
}

/// What the guest is called in a line for people: instance and serial, or the generation alone; and whether it is on trial.
pub(super) fn subject(state: &State) -> String {
    let trial = if state.trial.is_some() { ", on trial" } else { "" };
    match state.current().and_then(|committed| committed.instance.as_deref().zip(committed.serial)) {
        Some((id, serial)) => format!("{id} serial {serial} (generation {}{trial})", state.generation),
        None => format!("generation {}{trial}", state.generation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ready: Option<Ready>) -> Status {
        Status { ready, ..Status::new(Mode::Pid1, Outcome::Applied, "applied".into(), &State::default()) }
    }

    #[test]
    fn a_status_is_read_as_it_was_written() {
        let failed = Ready { state: ReadyState::Failed, reason: Some("port 80 \n".into()), milliseconds: 60_012 };
        for status in [status(None), status(Some(failed))] {
            assert_eq!(Status::from_json(&status.to_json()).unwrap(), status);
        }
    }

    #[test]
    fn a_status_of_an_agent_that_knew_nothing_of_ready_is_read() {
        let text = String::from_utf8(status(None).to_json()).unwrap();
        let old = text.replace(",\n  \"ready\": null", "");
        assert_ne!(old, text);
        assert_eq!(Status::from_json(old.as_bytes()).unwrap(), status(None));
        let wrong = text.replace("\"ready\": null", "\"ready\": \"yes\"");
        assert!(Status::from_json(wrong.as_bytes()).is_err());
    }

    #[test]
    fn a_reason_is_one_line() {
        let ready = Ready { state: ReadyState::Failed, reason: Some("a\nb".into()), milliseconds: 60_249 };
        assert_eq!(ready.line(), "NO: a\\nb (60.2 s waited)");
        assert_eq!(seconds(123_456), "123 s");
    }
}
