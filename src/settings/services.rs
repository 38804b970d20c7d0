//! Section `services`: units of the guest's init.

use super::{EnvironmentName, SingleLine, UnitName};
use crate::document::At;
use crate::error::Result;

/// What shall become of one service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The unit.
    pub name: UnitName,
    /// Whether it starts at boot. `None`: as the image has it.
    pub enabled: Option<bool>,
    /// Whether nothing at all may start it. Not together with `enabled: true` or an environment.
    pub masked: bool,
    /// Environment variables for its processes.
    pub environment: Vec<EnvironmentVariable>,
}

impl Service {
    pub(super) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["name", "enabled", "masked", "environment"])?;
        let service = Service {
            name: table.required("name", |at| at.parsed(UnitName::parse))?,
            enabled: table.optional("enabled", |at| at.boolean())?,
            masked: table.optional("masked", |at| at.boolean())?.unwrap_or(false),
            environment: table.list("environment", 256, |at| EnvironmentVariable::read(&at))?,
        };
        const OWN: [&str; 4] =
            ["handoff.service", "handoff-ready.service", "handoff-stopped.service", "handoff-stopped.target"];
        if OWN.contains(&service.name.as_str()) {
            return at.refuse(
                "is a unit of this program",
                "leave it out, because settings never change the program that reads them",
            );
        }
        if service.masked && service.enabled == Some(true) {
            return at
                .refuse("is masked and enabled", "remove one of the two, because nothing starts a masked service");
        }
        if service.masked && !service.environment.is_empty() {
            return at.refuse(
                "is masked and has an environment",
                "remove one of the two, because nothing starts a masked service",
            );
        }
        Ok(service)
    }
}

/// One environment variable. The value may be secret.
#[derive(Clone, Eq, PartialEq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: EnvironmentName,
    /// Its value.
    pub value: SingleLine,
}

impl EnvironmentVariable {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["name", "value"])?;
        Ok(EnvironmentVariable {
            name: table.required("name", |at| at.parsed(EnvironmentName::parse))?,
            value: table.required("value", |at| at.parsed_secret(SingleLine::parse))?,
        })
    }
}

impl std::fmt::Debug for EnvironmentVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=<secret>", self.name)
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;
    use crate::trust::{Blob, Clock, Requirement, TrustedKeys, verify};

    #[test]
    fn nobody_masks_what_judges_a_trial() {
        let read = |name: &str| {
            let text = format!(r#"{{"version": 1, "services": [{{"name": "{name}", "masked": true}}]}}"#);
            let blob = Blob::new("test", text.into(), None).unwrap();
            let clock = Clock { now: 0, floor: 0 };
            let verified = verify("test", blob, Requirement::Nothing, &TrustedKeys::default(), None, clock).unwrap();
            Settings::read(&verified).map(drop).map_err(|error| error.to_string())
        };
        for name in ["handoff", "handoff.service", "handoff-ready", "handoff-stopped.target"] {
            let error = read(name).unwrap_err();
            assert!(error.contains("services[0]") && error.contains("a unit of this program"), "{error}");
        }
        assert_eq!(read("handoff-other"), Ok(()));
    }
}
