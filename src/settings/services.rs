//! Section `services`: units of the guest's init.

use super::{EnvironmentName, SingleLine, UnitName};

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

/// One environment variable. The value may be secret.
#[derive(Clone, Eq, PartialEq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: EnvironmentName,
    /// Its value.
    pub value: SingleLine,
}

impl std::fmt::Debug for EnvironmentVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=<secret>", self.name)
    }
}
