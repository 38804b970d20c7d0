//! Images: Debian for the tests, built once and kept, and those of the catalog.

use super::{built_agent, handoff, tool};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An image that machines are started from.
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

    /// The image of an appliance, made of its class in `catalog/` by its own recipe, in this directory, with keys that it
    /// trusts. Takes a few seconds, and half a minute or so the first time, for the packages.
    pub fn appliance(class: &str, dir: &Path, trusted_keys: &Path) -> Image {
        tool::require_root();
        let recipe = tool::repository().join("catalog").join(class);
        let compiled = dir.with_extension("class.json");
        handoff(&["class", "build", recipe.to_str().unwrap(), "--output", compiled.to_str().unwrap()]);
        let mut bake = Command::new(recipe.join("bake"));
        bake.arg("--agent").arg(built_agent()).arg("--class").arg(&compiled).arg("--trusted-keys").arg(trusted_keys);
        tool::run(bake.arg("--output").arg(dir));
        Image { dir: dir.to_owned() }
    }

    /// The root file system as a tree; the image of an appliance has none. Never to be written.
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

    /// The files of a kernel module and of all that it needs, in an order in which they can be loaded.
    pub fn find_modules(&self, name: &str) -> Vec<PathBuf> {
        let list = find_file(&self.root().join("usr/lib/modules"), "modules.dep").unwrap();
        let (directory, list) = (list.parent().unwrap(), std::fs::read_to_string(&list).unwrap());
        let line = list.lines().find(|line| line.contains(&format!("/{name}.ko:")));
        let line = line.unwrap_or_else(|| panic!("the image has no module {name}; see tests/image/modules"));
        let (module, needed) = line.split_once(':').unwrap();
        // Each stands before those that it needs itself.
        needed.split_whitespace().rev().chain([module]).map(|file| directory.join(file)).collect()
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
