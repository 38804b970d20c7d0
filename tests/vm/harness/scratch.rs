//! A directory that goes away with the test, and the keys made in it.

use super::tool;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory below the build directory, so that disk images do not fill a `/tmp` that is held in memory.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty directory.
    pub fn new() -> Self {
        let parent = tool::target_dir().join("vm-scratch");
        std::fs::create_dir_all(&parent).unwrap();
        Scratch(tempfile::tempdir_in(parent).unwrap())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file in it with these bytes.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A fresh Ed25519 key pair made by OpenSSH, without a passphrase.
    pub fn ssh_key(&self, name: &str) -> SshKey {
        let private = self.path().join(name);
        tool::run(
            Command::new(tool::find("ssh-keygen"))
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(&private),
        );
        SshKey { private }
    }
}

/// A key pair of OpenSSH.
#[derive(Clone, Debug)]
pub struct SshKey {
    /// The file of the private half.
    pub private: PathBuf,
}

impl SshKey {
    /// The public half as one line, as `authorized_keys` wants it, without the line feed.
    pub fn public(&self) -> String {
        std::fs::read_to_string(self.private.with_extension("pub")).unwrap().trim_end().to_owned()
    }
}
