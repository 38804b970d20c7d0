//! What the image declares about itself: `/usr/lib/handoff/class.json`, baked in by whoever builds it.
//!
//! A guest without that file has the class `generic` with the default policy. Nothing that comes from outside can change
//! the class; a settings disk can never weaken its policy.

use crate::error::{Error, Result};
use crate::guest::{GuestPath, View};
use crate::source::Spec;
use crate::trust::Requirement;
use serde::Deserialize;
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// The file as it is written. Every key but `version` may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    class: Option<String>,
    policy: Option<PolicyDocument>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyDocument {
    trust: Option<String>,
    settings: Option<Need>,
    sources: Option<Vec<String>>,
    wait_seconds: Option<u64>,
    failure: Option<Failure>,
    init: Option<String>,
}

#[derive(Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Need {
    Required,
    Optional,
}

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
        let broken =
            |problem: String| Error::invalid(CLASS_PATH, problem, "build the image again with a good class file");
        let document: Document = serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))?;
        if document.version != 1 {
            return Err(broken(format!("is of version {}, and this agent knows version 1", document.version)));
        }
        let default = Class::default();
        let given = document.policy.unwrap_or_default();
        let trust = match given.trust.as_deref() {
            None => default.policy.trust,
            Some(name) => Requirement::parse(name)
                .ok_or_else(|| broken(format!("has trust `{name}`, which is none of signature, digest, none")))?,
        };
        let sources = match given.sources {
            None => default.policy.sources,
            Some(specs) if specs.is_empty() => return Err(broken("names no source".into())),
            Some(specs) => specs.iter().map(|spec| spec.parse::<Spec>()).collect::<Result<_>>()?,
        };
        let wait = match given.wait_seconds {
            None => default.policy.wait,
            Some(seconds) if seconds <= MAX_WAIT_SECONDS => Duration::from_secs(seconds),
            Some(seconds) => {
                return Err(broken(format!("lets the boot wait {seconds} seconds; {MAX_WAIT_SECONDS} is the most")));
            }
        };
        let init = given.init.map_or(Ok(default.policy.init), |path| GuestPath::parse(&path))?;
        let policy = Policy {
            trust,
            required: given.settings != Some(Need::Optional),
            sources,
            wait,
            failure: given.failure.unwrap_or_default(),
            init,
        };
        Ok(Class { name: document.class.unwrap_or(default.name), policy })
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
