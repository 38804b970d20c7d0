//! What a test bakes into its copy of the image: a few files, the same way on a disk image and in a tree.

use super::tool;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// One thing to put into a root, by its absolute path. Directories on the way are made. All belongs to root.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    File { path: String, mode: u32, content: Vec<u8> },
    Directory { path: String, mode: u32 },
    Link { path: String, target: String },
}

impl Entry {
    pub(super) fn path(&self) -> &str {
        match self {
            Entry::File { path, .. } | Entry::Directory { path, .. } | Entry::Link { path, .. } => path,
        }
    }
}

/// Files, directories and links to put over the image, in order.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    pub(super) entries: Vec<Entry>,
}

impl Layer {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file, in place of one that may be there.
    #[must_use]
    pub fn file(mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.entries.push(Entry::File { path: checked(path), mode, content: content.as_ref().to_vec() });
        self
    }

    /// A directory, with this mode also where it exists.
    #[must_use]
    pub fn directory(mut self, path: &str, mode: u32) -> Self {
        self.entries.push(Entry::Directory { path: checked(path), mode });
        self
    }

    /// A symbolic link, in place of a file that may be there.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.entries.push(Entry::Link { path: checked(path), target: target.to_owned() });
        self
    }

    /// A unit of the image's, started at the end of the boot.
    #[must_use]
    pub fn wanted(self, unit: &str) -> Self {
        let at = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
        self.link(&at, &format!("/usr/lib/systemd/system/{unit}"))
    }

    /// The agent, its units and a class, with somebody who looks whether the appliance gets ready.
    #[must_use]
    pub fn of_class(class: &str, trusted_keys: &str) -> Self {
        Layer::new()
            .agent()
            .systemd_units()
            .trusted_keys(trusted_keys)
            .file("/usr/lib/handoff/class.json", 0o644, class)
            .wanted("handoff-ready.service")
    }

    /// Both, the other one last.
    #[must_use]
    pub fn and(mut self, other: Layer) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// The agent at its place.
    #[must_use]
    pub fn agent(self) -> Self {
        let bytes = std::fs::read(built_agent()).unwrap();
        self.file("/usr/sbin/handoff-agent", 0o755, bytes)
    }

    /// A shell script at the agent's place, for tests of the harness itself.
    #[must_use]
    pub fn stub_agent(self, script: &str) -> Self {
        self.file("/usr/sbin/handoff-agent", 0o755, format!("#!/bin/sh\n{script}"))
    }

    /// The keys that the agent trusts: lines in the form of `allowed_signers`.
    #[must_use]
    pub fn trusted_keys(self, lines: &str) -> Self {
        self.file("/usr/lib/handoff/trusted-keys", 0o644, lines)
    }

    /// The unit files of `units/systemd`, the service of the agent enabled.
    #[must_use]
    pub fn systemd_units(mut self) -> Self {
        let dir = tool::repository().join("units/systemd");
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let content = std::fs::read(entry.path()).unwrap();
            self = self.file(&format!("/usr/lib/systemd/system/{name}"), 0o644, content);
        }
        self.link("/etc/systemd/system/sysinit.target.wants/handoff.service", "/usr/lib/systemd/system/handoff.service")
    }

    /// A way in for tests that have no agent to make one: the interface with this hardware address asks DHCP, and root
    /// has the key.
    #[must_use]
    pub fn way_in(self, mac: &str, public_key: &str) -> Self {
        self.file(
            "/etc/systemd/network/90-test.network",
            0o644,
            format!("[Match]\nMACAddress={mac}\n[Network]\nDHCP=ipv4\n"),
        )
        .directory("/root/.ssh", 0o700)
        .file("/root/.ssh/authorized_keys", 0o600, format!("{public_key}\n"))
    }
}

/// A static agent: the one `HANDOFF_TEST_AGENT` names, or one built now for the musl target.
pub fn built_agent() -> &'static PathBuf {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| {
        if let Some(path) = std::env::var_os("HANDOFF_TEST_AGENT") {
            let path = tool::repository().join(path);
            assert!(path.is_file(), "HANDOFF_TEST_AGENT names {}, which is no file", path.display());
            return path;
        }
        let target = "x86_64-unknown-linux-musl";
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        tool::run(Command::new(cargo).current_dir(tool::repository()).args([
            "build",
            "--quiet",
            "--no-default-features",
            "--bin=handoff-agent",
            "--target",
            target,
        ]));
        tool::target_dir().join(target).join("debug/handoff-agent")
    })
}

/// Paths reach debugfs as words of a command, so what it would read as something else is refused.
fn checked(path: &str) -> String {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    assert!(path.starts_with('/') && plain && !path.contains("/../"), "{path:?} is no plain absolute path");
    path.to_owned()
}
