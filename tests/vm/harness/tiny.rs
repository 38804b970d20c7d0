//! A guest of two seconds: Debian's kernel and an initramfs that is the whole root, with busybox, the agent as PID 1, and
//! an init that shows what it finds and turns the machine off.

use super::image::Image;
use super::layer::Layer;
use super::machine::{Builder, Machine};
use super::scratch::Scratch;
use super::{tool, tree};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The kernel modules that make disks visible, in an order in which they can be loaded.
const MODULES: [&str; 9] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];
/// Those that make optical drives visible. Looking for drives takes the kernel a second, so not every guest has them.
const OPTICAL_MODULES: [&str; 7] = ["scsi_common", "scsi_mod", "cdrom", "libata", "libahci", "ahci", "sr_mod"];

/// A root in memory. Nothing of it is left after a boot but the console.
#[derive(Debug)]
pub struct TinyRoot {
    scratch: Scratch,
    root: PathBuf,
}

impl TinyRoot {
    /// A root with busybox in `/bin`, the usual account files, and the layer over it. `init` is a shell script at
    /// `/sbin/init`, which the agent hands over to; it should end with `poweroff -f`.
    pub fn new(image: &Image, layer: &Layer, init: &str) -> Self {
        let scratch = Scratch::new();
        let root = scratch.path().join("root");
        let mut base = Layer::new()
            .file("/bin/busybox", 0o755, fs::read(tool::find("busybox")).unwrap())
            .file("/sbin/init", 0o755, format!("#!/bin/sh\n{init}"))
            .file("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
            .file("/etc/group", 0o644, "root:x:0:\n")
            .file("/etc/shadow", 0o640, "root:!*:20000:0:99999:7:::\n")
            .file("/etc/gshadow", 0o640, "root:*::\n")
            .file("/etc/hostname", 0o644, "tiny\n")
            .file("/etc/hosts", 0o644, "127.0.0.1 localhost\n")
            .file("/etc/machine-id", 0o444, "");
        for name in
            ["sh", "mount", "insmod", "cat", "ls", "poweroff", "sleep", "hostname", "grep", "find", "od", "sed", "stat"]
        {
            base = base.link(&format!("/bin/{name}"), "busybox");
        }
        for dir in ["/proc", "/sys", "/dev", "/run", "/root", "/home", "/var/lib", "/usr/sbin", "/usr/lib/handoff"] {
            base = base.directory(dir, 0o755);
        }
        let mut start = String::from(
            "#!/bin/sh\nmount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\nmount -t tmpfs run /run\n",
        );
        let optical = OPTICAL_MODULES.iter().map(|name| (name, "[ -e /optical ] && "));
        for (name, when) in MODULES.iter().map(|name| (name, "")).chain(optical) {
            // Some of them are built in, or do not exist, in other kernels.
            let Some(module) = image.find_module(name) else { continue };
            base = base.file(&format!("/lib/modules/{name}.ko"), 0o644, fs::read(module).unwrap());
            start += &format!("{when}insmod /lib/modules/{name}.ko\n");
        }
        start += "exec \"$(sed -n 's/.*rdinit2=\\([^ ]*\\).*/\\1/p' /proc/cmdline)\" \"$@\"\n";
        let base = base.file("/init", 0o755, start);
        tree::write(&root, &base.and(layer.clone()), None);
        TinyRoot { scratch, root }
    }

    /// The same root in a machine that has optical drives.
    pub fn with_optical_drives(self) -> Self {
        fs::write(self.root.join("optical"), "").unwrap();
        self
    }

    /// Adds a shell script.
    pub fn program(&self, path: &str, script: &str) {
        tree::write(&self.root, &Layer::new().file(path, 0o755, format!("#!/bin/sh\n{script}")), None);
    }

    /// Adds a file.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        tree::write(&self.root, &Layer::new().file(path, 0o644, content), None);
    }

    /// A machine that runs the agent as PID 1 on this root. Its deadline, disks and the rest are the caller's to set.
    pub fn builder(&self, image: &Image, name: &str) -> Builder {
        self.builder_with_init(image, name, "/usr/sbin/handoff-agent")
    }

    /// The same with another program as PID 1.
    pub fn builder_with_init(&self, image: &Image, name: &str, program: &str) -> Builder {
        let initrd = self.scratch.path().join("initrd");
        let mut cpio = Command::new("sh");
        cpio.args(["-c", "cd \"$1\" && find . | \"$2\" --quiet -o -H newc -R 0:0 >\"$3\"", "sh"]);
        cpio.arg(&self.root).arg(tool::find("cpio")).arg(&initrd).stdin(Stdio::null());
        tool::run(&mut cpio);
        let append = format!("console=ttyS0 quiet mitigations=off audit=0 panic=-1 rdinit2={program}");
        Machine::bare(image, name, &initrd, &append, 256)
    }
}
