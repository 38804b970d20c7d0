//! What the image demands of settings, and what becomes of the boot without them.

use crate::document::{At, Refusal};
use crate::error::Result;
use crate::guest::GuestPath;
use crate::settings::SECTIONS;
use crate::source::Spec;
use crate::trust::Requirement;
use std::time::Duration;

/// The longest that a policy may let the boot wait for settings.
const MAX_WAIT_SECONDS: u64 = 90;

/// The most attempts that a policy may give to new settings.
pub(crate) const MAX_ATTEMPTS: u32 = 10;

/// What the image demands of settings, and what becomes of the boot without them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// What makes settings believable. `trust`: `signature` (default), `digest`, `none`.
    pub trust: Requirement,
    /// Whether a guest that never had settings must be given some. `settings`: `required` (default), `optional`.
    pub required: bool,
    /// Where settings are looked for. `sources`: `["auto"]` by default.
    pub sources: Vec<Spec>,
    /// How long is waited for them. `wait_seconds`: 10 by default, 90 at most; 0 looks once.
    pub wait: Duration,
    /// What becomes of the boot when settings are refused. `failure`: `last-good` (default), `stop`, `continue`.
    pub failure: Failure,
    /// How often new settings are tried before the guest goes back to the last good ones. `attempts`: 3 by default, 1 to 10.
    pub attempts: u32,
    /// The init that is handed off to after a run as PID 1. `init`: `/sbin/init` by default.
    pub init: GuestPath,
    /// Which sections settings may carry, beside `version`, `instance` and `appliance`. `sections`: all by default.
    pub sections: Vec<&'static str>,
}

/// What becomes of the boot when settings are refused or cannot be applied.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Failure {
    /// The boot goes on with the last good settings; a guest that never had any stops.
    #[default]
    LastGood,
    /// The boot ends in a target that shows the reason.
    Stop,
    /// The boot goes on as the image is.
    Continue,
}

const FAILURES: [(&str, Failure); 3] =
    [("last-good", Failure::LastGood), ("stop", Failure::Stop), ("continue", Failure::Continue)];

impl Default for Policy {
    fn default() -> Self {
        Policy {
            trust: Requirement::Signature,
            required: true,
            sources: vec![Spec::Auto],
            wait: Duration::from_secs(10),
            failure: Failure::LastGood,
            attempts: 3,
            init: GuestPath::of("/sbin/init"),
            sections: SECTIONS.to_vec(),
        }
    }
}

impl Policy {
    /// Takes what is written.
    pub(super) fn read(&mut self, at: &At<'_>) -> Result<()> {
        let table =
            at.table(&["trust", "settings", "sources", "wait_seconds", "failure", "attempts", "init", "sections"])?;
        let trusts = [Requirement::Signature, Requirement::Digest, Requirement::Nothing].map(|one| (one.name(), one));
        if let Some(trust) = table.optional("trust", |at| at.word(&trusts))? {
            self.trust = trust;
        }
        if let Some(required) = table.optional("settings", |at| at.word(&[("required", true), ("optional", false)]))? {
            self.required = required;
        }
        if let Some(sources) = table.optional("sources", |at| at.list(1..=4096, |at| at.text()?.parse::<Spec>()))? {
            self.sources = sources;
        }
        if let Some(seconds) = table.optional("wait_seconds", |at| at.integer(0..=MAX_WAIT_SECONDS))? {
            self.wait = Duration::from_secs(seconds);
        }
        if let Some(failure) = table.optional("failure", |at| at.word(&FAILURES))? {
            self.failure = failure;
        }
        if let Some(attempts) = table.optional("attempts", |at| at.integer(1..=u64::from(MAX_ATTEMPTS)))? {
            self.attempts = u32::try_from(attempts).unwrap_or(MAX_ATTEMPTS);
        }
        if let Some(init) = table.optional("init", |at| at.guest_path())? {
            self.init = init;
        }
        if let Some(sections) = table.optional("sections", |at| at.list(0..=64, |at| at.parsed(section)))? {
            self.sections = sections;
        }
        Ok(())
    }
}

fn section(text: &str) -> Result<&'static str, Refusal> {
    let known = SECTIONS.iter().find(|section| **section == text);
    known.copied().ok_or_else(|| Refusal::new("is no section", format!("write some of {}", SECTIONS.join(", "))))
}
