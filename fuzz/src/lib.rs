//! Hostile input: one function for each format that somebody else may have written, and what must hold for every input.
//!
//! `make fuzz` calls them with libFuzzer, `tests/fuzz_seeds.rs` with the committed seeds and with fixed changes of them.
//! Each says more than "it does not panic": memory is bounded by the length of the input, errors are one plain line, what
//! we write we read again, and what is not ours stays as it was.

#![allow(unsafe_code, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, missing_docs)]

mod disks;
mod memory;
mod records;
mod settings;
mod templates;
mod trust;

use handoff::Error;

/// The targets by name. A directory of seeds and a program are named after each.
pub const TARGETS: [Target; 12] = [
    // Tables of the guest are copied a few times: read, changed, written.
    Target { name: "accounts", judge: records::accounts, base: 64 << 10, factor: 64 },
    Target { name: "class", judge: settings::class, base: 8 << 20, factor: 1024 },
    Target { name: "container", judge: trust::container, base: 64 << 10, factor: 8 },
    // A disk is as large as it says; what is read of it is bounded by the blob, not by the disk.
    Target { name: "fat", judge: disks::disk, base: 8 << 20, factor: 16 },
    Target { name: "iso9660", judge: disks::disk, base: 8 << 20, factor: 16 },
    Target { name: "journal", judge: records::journal, base: 1 << 20, factor: 512 },
    Target { name: "keys", judge: trust::keys, base: 2 << 20, factor: 512 },
    Target { name: "settings", judge: settings::settings, base: 16 << 20, factor: 1024 },
    // The longest field that the crate for SSH takes memory for before it is read.
    Target { name: "sshsig", judge: trust::sshsig, base: 2 << 20, factor: 64 },
    Target { name: "state", judge: records::state, base: 64 << 10, factor: 512 },
    Target { name: "status", judge: records::status, base: 64 << 10, factor: 512 },
    // A rendered file has at most a mebibyte, whatever is put in; what it is made of may be held beside it.
    Target { name: "templates", judge: templates::templates, base: 96 << 20, factor: 1024 },
];

/// One format.
pub struct Target {
    pub name: &'static str,
    /// Whether the input was understood to its end.
    judge: fn(&[u8]) -> bool,
    /// Bytes of memory that it may hold at once: so many, and so many for each byte of input.
    base: usize,
    factor: usize,
}

impl Target {
    /// Gives it one input, and says whether it was understood to its end. Panics where something does not hold.
    pub fn judge(&self, data: &[u8]) -> bool {
        let most = self.base + self.factor * data.len();
        let (held, understood) = memory::most_held(|| (self.judge)(data));
        assert!(held <= most, "{} bytes of input made it hold {held} bytes, and {most} are the limit", data.len());
        understood
    }
}

/// Gives the target of this name one input. For the programs of libFuzzer.
#[allow(dead_code, reason = "the tests take the targets from the list")]
pub fn judge(name: &str, data: &[u8]) -> bool {
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name").judge(data)
}

/// What holds for each error: it is one line that a console can show.
fn is_plain(error: &Error) {
    let line = error.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(line.len() <= 4096, "{} bytes: {line}", line.len());
}

/// The value, after a look at the error.
fn good<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(is_plain).ok()
}
