//! Sections `instance` and `appliance`: whom the settings are for, and how new they are.

use super::SingleLine;

/// Whom the settings are for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// The name of this installation. A guest that is given another id gets a new identity.
    pub id: SingleLine,
    /// Grows with each change of the settings; a lower one than was committed is a replay.
    pub serial: u64,
    /// The SMBIOS UUID of the one machine they are for, as text.
    pub machine: Option<String>,
}

/// Which appliance the settings are for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Appliance {
    /// The class.
    pub class: SingleLine,
    /// Its version, where given.
    pub version: Option<SingleLine>,
}
