//! A throw-away copy of the image's disk. It is written and read without mounting it, by `debugfs`.
//!
//! A sparse copy instead of a qcow2 overlay: both take a tenth of a second or two, and a plain file can be changed before
//! the first boot and read after the last one.

use super::image::Image;
use super::layer::{Entry, Layer};
use super::scratch::Scratch;
use super::tool;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A root disk of one test. Several boots may use it, one after the other.
#[derive(Debug)]
pub struct RootDisk {
    scratch: Scratch,
    path: PathBuf,
}

impl RootDisk {
    /// A copy of the image with the layer put over it.
    pub fn new(image: &Image, layer: &Layer) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("root.ext4");
        tool::run(
            Command::new(tool::find("cp")).args(["--sparse=always", "--reflink=auto"]).arg(image.disk()).arg(&path),
        );
        let disk = RootDisk { scratch, path };
        disk.install(layer);
        disk
    }

    /// A copy of the disk as it is now. Not while a guest runs on it.
    pub fn copied(&self) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("root.ext4");
        tool::run(
            Command::new(tool::find("cp")).args(["--sparse=always", "--reflink=auto"]).arg(&self.path).arg(&path),
        );
        RootDisk { scratch, path }
    }

    /// The file of the disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a layer over what the disk holds. Not while a guest runs on it.
    pub fn install(&self, layer: &Layer) {
        if layer.entries.is_empty() {
            return;
        }
        self.recover();
        let staging = Scratch::new();
        let mut script = String::new();
        let mut made = BTreeSet::new();
        for (number, entry) in layer.entries.iter().enumerate() {
            let path = entry.path();
            for (at, _) in path.match_indices('/').skip(1) {
                if made.insert(path[..at].to_owned()) {
                    writeln!(script, "mkdir {}", &path[..at]).unwrap();
                }
            }
            match entry {
                Entry::File { mode, content, .. } => {
                    let from = staging.file(&number.to_string(), content);
                    // The inode's owner and times come from the file that is read, which belongs to whoever runs this.
                    writeln!(script, "rm {path}\nwrite {} {path}", from.display()).unwrap();
                    writeln!(script, "sif {path} mode 0{:o}\nsif {path} uid 0\nsif {path} gid 0", 0o100_000 | mode)
                        .unwrap();
                }
                Entry::Directory { mode, .. } => {
                    if made.insert(path.to_owned()) {
                        writeln!(script, "mkdir {path}").unwrap();
                    }
                    writeln!(script, "sif {path} mode 0{:o}", 0o040_000 | mode).unwrap();
                }
                Entry::Link { target, .. } => writeln!(script, "rm {path}\nsymlink {path} {target}").unwrap(),
            }
        }
        let script = staging.file("script", script);
        let said = self.debugfs(true, "-f", &script.to_string_lossy()).1;
        // It ends with success even where a command failed, so what it says decides. These two are expected.
        let complaint = said.lines().find(|line| {
            !(line.starts_with("debugfs ")
                || line.starts_with("rm: File not found")
                || line.contains("directory already exists")
                || line.trim().is_empty())
        });
        assert!(complaint.is_none(), "debugfs could not put the layer on {}: {said}", self.path.display());
    }

    /// The content of a regular file, `None` where there is none. Links on the way are not followed: give the real path
    /// (`/usr/lib/…`). Not while a guest runs on the disk.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.recover();
        self.cat(path)
    }

    /// Like [`RootDisk::read`], as text; panics where there is no such file.
    pub fn read_text(&self, path: &str) -> String {
        let bytes = self.read(path).unwrap_or_else(|| panic!("{path} is not on the disk"));
        String::from_utf8(bytes).unwrap_or_else(|_| panic!("{path} on the disk is not text"))
    }

    /// Puts all that the disk holds into an empty directory, with owners and modes.
    pub fn unpack(&self, directory: &Path) {
        self.recover();
        let said = self.debugfs(false, "-R", &format!("rdump / {}", directory.display())).1;
        let complaint = said.lines().find(|line| !line.starts_with("debugfs ") && !line.trim().is_empty());
        assert!(complaint.is_none(), "debugfs could not unpack {}: {said}", self.path.display());
    }

    /// The names in a directory, sorted; empty where there is none.
    pub fn list(&self, path: &str) -> Vec<String> {
        self.recover();
        let (listing, _) = self.debugfs(false, "-R", &format!("ls -p {path}"));
        let names = String::from_utf8_lossy(&listing);
        // One line is /inode/mode/uid/gid/name/size/.
        let mut names: Vec<String> = names
            .lines()
            .filter_map(|line| line.split('/').nth(5))
            .filter(|name| !matches!(*name, "" | "." | ".."))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// What `debugfs` says of a path (`stat`): mode, owner, size, link target. `None` where there is nothing.
    pub fn stat(&self, path: &str) -> Option<String> {
        self.recover();
        let (text, said) = self.debugfs(false, "-R", &format!("stat {path}"));
        (!said.contains("File not found")).then(|| String::from_utf8_lossy(&text).into_owned())
    }

    fn cat(&self, path: &str) -> Option<Vec<u8>> {
        let (content, said) = self.debugfs(false, "-R", &format!("cat {path}"));
        let missing = said.lines().any(|line| line.contains("File not found"));
        (!missing).then_some(content)
    }

    /// Replays the file system's journal, which a guest that lost its power leaves behind.
    fn recover(&self) {
        let mut command = Command::new(tool::find("e2fsck"));
        let output = command.arg("-p").arg(&self.path).stdin(Stdio::null()).output().unwrap();
        // 1 says that something was repaired: the journal, after a power cut.
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "the file system of {} is damaged: {}",
            self.path.display(),
            String::from_utf8_lossy(&output.stdout)
        );
    }

    /// Standard output and the complaints of one run.
    fn debugfs(&self, write: bool, option: &str, argument: &str) -> (Vec<u8>, String) {
        let mut command = Command::new(tool::find("debugfs"));
        if write {
            command.arg("-w");
        }
        let output = command.args([option, argument]).arg(&self.path).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "debugfs failed: {}", String::from_utf8_lossy(&output.stderr));
        (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
