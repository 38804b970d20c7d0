//! The Debian image, built once and kept.

use super::tool;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The image that `tests/image/build` makes.
#[derive(Clone, Debug)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// The image, built now where the cache does not hold it. Takes about 40 seconds the first time.
    pub fn debian() -> &'static Image {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(|| {
            tool::require_root();
            let output = tool::run(&mut Command::new(tool::repository().join("tests/image/build")));
            let dir = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
            assert!(dir.is_dir(), "tests/image/build named {}, which is no directory", dir.display());
            Image { dir }
        })
    }

    /// The root file system as a tree. Never to be written.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The root file system as a disk image. Never to be written.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.ext4")
    }

    /// Debian's kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// Debian's initramfs, made by initramfs-tools.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// The file of a kernel module by its name, without `.ko`, where the image has it.
    pub fn find_module(&self, name: &str) -> Option<PathBuf> {
        find_file(&self.root().join("usr/lib/modules"), &format!("{name}.ko"))
    }
}

fn find_file(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if let Some(found) = find_file(&entry.path(), name) {
                return Some(found);
            }
        } else if entry.file_name() == name {
            return Some(entry.path());
        }
    }
    None
}
