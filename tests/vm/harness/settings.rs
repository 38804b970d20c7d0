//! Settings disks, made by the operator's tool as an operator would make them.

use super::scratch::{Scratch, SshKey};
use std::path::{Path, PathBuf};

/// Runs the operator's tool, in this process, and returns what it printed. Panics where it does not end with 0.
pub fn handoff(arguments: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = std::iter::once("handoff").chain(arguments.iter().copied()).map(Into::into);
    let code = handoff::operator::command::run(words, &mut out, &mut err);
    assert_eq!(code, 0, "handoff {arguments:?}: {}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

/// Signs the settings, a JSON text, and packs them on a raw disk in the directory.
pub fn pack(scratch: &Scratch, name: &str, settings: &str, key: &SshKey) -> PathBuf {
    let document = scratch.file(&format!("{name}.json"), settings);
    let disk = scratch.path().join(format!("{name}.img"));
    handoff(&["pack", text(&document), "--key", text(&key.private), "--output", text(&disk)]);
    disk
}

/// The line that makes an image trust a key.
pub fn trusted_line(key: &SshKey) -> String {
    handoff(&["trust", text(&key.private.with_extension("pub")), "--principal", "ops@example.net"])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
