//! Programs the harness calls, and the sentence that says which package has one that is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where Debian keeps each program, for the message about a missing one.
const PACKAGES: [(&str, &str); 22] = [
    ("btrfs", "btrfs-progs"),
    ("cp", "coreutils"),
    ("cpio", "cpio"),
    ("debugfs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("genisoimage", "genisoimage"),
    ("mcopy", "mtools"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("mkfs.xfs", "xfsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("setpriv", "util-linux"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("systemd-nspawn", "systemd-container"),
    ("timeout", "coreutils"),
    ("busybox", "busybox-static"),
    ("umount", "mount"),
    ("xfs_repair", "xfsprogs"),
    ("xorriso", "xorriso"),
];

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where build results and logs go.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The path of an installed program. Panics with the package to install where there is none.
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not every account that may run the tests has the directories of the system's own programs in its path.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        let package = PACKAGES.iter().find(|(program, _)| *program == name).map_or(name, |(_, package)| package);
        panic!("{name} is not installed, and the tests on machines need it; run `make deps` as root, or install the package {package}")
    })
}

/// A command for an installed program.
pub fn program(name: &str) -> Command {
    Command::new(find(name))
}

/// Panics where the tests do not run as root, saying why they must.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "the tests on machines must run as root, because the image's files belong to root; run `make check` as root, or leave out the feature vm-tests"
    );
}

/// Runs a program to its end and returns what it printed. Panics where it fails, with its last words.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
