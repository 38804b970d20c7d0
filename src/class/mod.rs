//! What the image declares about itself: `/usr/lib/handoff/class.json`, baked in by whoever builds it.
//!
//! A guest without that file has the class `generic` with the default policy. Nothing that comes from outside can change
//! the class; a settings disk can never weaken its policy.

use crate::document::{self, At, Format};
use crate::error::{Error, Result};
use crate::guest::{GuestPath, View};
use crate::source::Spec;
use crate::trust::Requirement;
use std::time::Duration;

/// Where the class is baked in.
pub const CLASS_PATH: &str = "/usr/lib/handoff/class.json";

/// The longest that a policy may let the boot wait for settings.
const MAX_WAIT_SECONDS: u64 = 90;

/// What an appliance declares about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// Its name; `generic` where the image has none.
    pub name: String,
    /// What it demands of settings.
    pub policy: Policy,
}

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
    /// The init that is handed off to after a run as PID 1. `init`: `/sbin/init` by default.
    pub init: GuestPath,
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

impl Default for Class {
    fn default() -> Self {
        Class {
            name: "generic".into(),
            policy: Policy {
                trust: Requirement::Signature,
                required: true,
                sources: vec![Spec::Auto],
                wait: Duration::from_secs(10),
                failure: Failure::LastGood,
                init: GuestPath::of("/sbin/init"),
            },
        }
    }
}

const FAILURES: [(&str, Failure); 3] =
    [("last-good", Failure::LastGood), ("stop", Failure::Stop), ("continue", Failure::Continue)];

/// The file as a document. Every key but `version` may be left out.
const FORMAT: Format = Format {
    name: CLASS_PATH,
    depth: Format::DEPTH,
    items: 4096,
    values: 4096,
    error: |fault| {
        let path = if fault.path.is_empty() { "the file" } else { fault.path };
        let object = format_args!("{CLASS_PATH}: {path}{}", fault.shown_place());
        let remedy = format_args!("build the image again with a good class file: {}", fault.remedy);
        Error::invalid(object, fault.problem, remedy)
    },
};

impl Class {
    /// The class of this guest.
    ///
    /// # Errors
    /// The file is there and cannot be read or understood. It is never taken for absent.
    pub fn load(guest: &dyn View) -> Result<Self> {
        match guest.read(&GuestPath::of(CLASS_PATH))? {
            None => Ok(Self::default()),
            Some(bytes) => Self::parse(&bytes),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not a class file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let document = document::read(bytes, &FORMAT)?;
        let table = At::document(&document, &FORMAT).table(&["version", "class", "policy"])?;
        table.required("version", |at| at.integer(1..=1))?;
        let mut class = Class::default();
        if let Some(name) = table.optional("class", |at| at.text())? {
            class.name = name.to_owned();
        }
        if let Some(at) = table.get("policy") {
            class.policy.read(&at)?;
        }
        Ok(class)
    }
}

impl Policy {
    /// Takes what is written.
    fn read(&mut self, at: &At<'_>) -> Result<()> {
        let table = at.table(&["trust", "settings", "sources", "wait_seconds", "failure", "init"])?;
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
        if let Some(init) = table.optional("init", |at| at.guest_path())? {
            self.init = init;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Tree;

    #[test]
    fn an_image_without_a_class_demands_a_signature() {
        let class = Class::load(&Tree::new()).unwrap();
        assert_eq!(class, Class::default());
        assert_eq!(class.policy.trust, Requirement::Signature);
        assert!(class.policy.required);
    }

    #[test]
    fn what_is_written_is_taken() {
        let text = r#"{ "version": 1, "class": "haproxy", "policy": { "trust": "digest", "settings": "optional",
            "sources": ["file:/seed"], "wait_seconds": 0, "failure": "continue", "init": "/init" } }"#;
        let class = Class::parse(text.as_bytes()).unwrap();
        assert_eq!((class.name.as_str(), class.policy.trust), ("haproxy", Requirement::Digest));
        assert!(!class.policy.required);
        assert_eq!(class.policy.failure, Failure::Continue);
        assert_eq!(class.policy.sources, [Spec::File("/seed".into())]);
    }

    #[test]
    fn a_broken_class_is_never_taken_for_none() {
        let texts = [
            "",
            "{}",
            r#"{"version":2}"#,
            r#"{"version":1,"polcy":{}}"#,
            r#"{"version":1,"policy":{"trust":"maybe"}}"#,
            r#"{"version":1,"policy":{"wait_seconds":91}}"#,
            r#"{"version":1,"policy":{"sources":[]}}"#,
            r#"{"version":1,"policy":{"failure":"ignore"}}"#,
        ];
        for text in texts {
            assert_eq!(Class::parse(text.as_bytes()).unwrap_err().class().exit_code(), 12, "{text}");
        }
    }
}
