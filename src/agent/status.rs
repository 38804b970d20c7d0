//! What came of a run: one line for people, `/run/handoff/status.json` for programs.

use crate::commit::state::State;
use crate::error::{Error, Result, one_line};
use serde::{Deserialize, Serialize};

/// Where the status of this boot lies.
pub const STATUS_PATH: &str = "/run/handoff/status.json";

/// How the agent was run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As PID 1, before the init.
    Pid1,
    /// By the init, as a service.
    Service,
    /// By a person.
    Hand,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// The status of the last run in this boot.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
        }
    }

    /// The line on the console.
    pub fn line(&self) -> String {
        one_line(&format!("handoff: {}", self.message))
    }

    /// As JSON, with a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Status::to_json`] writes.
    ///
    /// # Errors
    /// The text is no status.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::not_applied(STATUS_PATH, format_args!("is damaged: {error}"), "run the command again after a boot")
        })
    }
}

/// What the guest is called in a line for people: instance and serial, or the generation alone.
pub(super) fn subject(state: &State) -> String {
    match state.current().and_then(|committed| committed.instance.as_deref().zip(committed.serial)) {
        Some((id, serial)) => format!("{id} serial {serial} (generation {})", state.generation),
        None => format!("generation {}", state.generation),
    }
}
