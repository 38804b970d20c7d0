//! What is known of the guest that is no file: its hardware, and the running system where there is one.

/// Facts about the machine and this run. Gathered by [`crate::platform`], or made by a test.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The machine's SMBIOS UUID, where it has one that can be read, as text.
    pub machine: Option<String>,
    /// 64 fresh random bytes, from which a new identity is made.
    pub entropy: Entropy,
    /// The running system, where the root that is configured is its root. `None` with `--root`.
    pub live: Option<Live>,
}

/// The running system.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The kernel's host name.
    pub hostname: String,
    /// Its network interfaces, sorted by name, without the loopback.
    pub interfaces: Vec<Interface>,
    /// The init that runs already. `None` while the agent itself is PID 1.
    pub init: Option<RunningInit>,
    /// Whether the init made a new machine-id in this very boot (`/run/systemd/first-boot`).
    pub first_boot: bool,
}

/// An init that can be told things.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunningInit {
    /// systemd, told through `systemctl`.
    Systemd,
    /// Anything else. It is told nothing.
    Other,
}

/// A network interface of the running system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its name now.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Whether it is up.
    pub up: bool,
}

/// Random bytes. `Debug` does not show them, because keys are made of them.
#[derive(Clone)]
pub struct Entropy(pub [u8; 64]);

impl Default for Entropy {
    fn default() -> Self {
        Entropy([0; 64])
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}
