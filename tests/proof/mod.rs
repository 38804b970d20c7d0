//! What the proofs have in common: a guest on a scratch root, exact pictures of it, signed settings for it, and the agent
//! run on it as the program that it is.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

pub mod accounts;
pub mod dice;
pub mod report;
pub mod strace;

use handoff::operator::disk::{self, Format};
use handoff::operator::sign::SigningKey;
use handoff::trust::Blob;
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

/// How long one run of the agent may take. Far more than it needs: a hang shall be told from a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Who signs in these tests, as the guests' trusted keys call them.
pub const PRINCIPAL: &str = "ops@example.net";

/// The machine that these guests run on.
pub const MACHINE: &str = "4c4c4544-0042-3510-8052-b4c04f4e3132";

/// Whether owners can be set and are worth comparing.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The operator's key, the same in each run, so that its fingerprint is.
pub fn operators_key() -> SigningKey {
    key(7)
}

/// A key made from one number.
pub fn key(seed: u8) -> SigningKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    SigningKey::Plain(Box::new(PrivateKey::new(pair.into(), "ops").unwrap()))
}

/// Settings with the operator's signature.
pub fn signed(settings: &[u8]) -> Blob {
    let signature = operators_key().sign(settings).unwrap();
    Blob::new("test", settings.to_vec(), Some(signature)).unwrap()
}

/// One thing in a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Thing {
    /// `f`, `d`, `l`, or `?` for anything else.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The bytes of a file, or the target of a link.
    pub content: Vec<u8>,
    /// Inode, links, and the times of the last change of the content and of the inode.
    pub inode: [i64; 6],
}

impl Thing {
    /// Whether both look the same to whoever uses the guest; times and inodes aside.
    pub fn looks_like(&self, other: &Thing) -> bool {
        let seen = |thing: &Thing| (thing.kind, thing.mode, thing.content.clone());
        seen(self) == seen(other) && (!is_root() || (self.uid, self.gid) == (other.uid, other.gid))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// A picture of a tree: each path from the root of the guest, and what is there.
pub type Picture = BTreeMap<String, Thing>;

/// Of larger files a picture has the size alone.
const LARGE: u64 = 64 << 20;

/// Takes a picture, following no link. The root itself is `/`.
pub fn picture(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let (kind, content) = if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            ('d', Vec::new())
        } else if metadata.is_symlink() {
            ('l', fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else if metadata.is_file() && metadata.len() > LARGE {
            ('f', metadata.len().to_be_bytes().to_vec())
        } else if metadata.is_file() {
            ('f', fs::read(&path).unwrap())
        } else {
            ('?', Vec::new())
        };
        let inode = [
            metadata.ino() as i64,
            metadata.nlink() as i64,
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ];
        let mode = if kind == 'l' { 0o777 } else { metadata.mode() & 0o7777 };
        let below = path.strip_prefix(root).unwrap().to_str().unwrap();
        let thing = Thing { kind, mode, uid: metadata.uid(), gid: metadata.gid(), content, inode };
        picture.insert(format!("/{below}"), thing);
    }
    picture
}

/// That two pictures are of a tree that nobody has touched in between.
#[track_caller]
pub fn assert_untouched(before: &Picture, after: &Picture, what: &str) {
    let differing: Vec<&String> = before
        .keys()
        .chain(after.keys().filter(|path| !before.contains_key(*path)))
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(differing.is_empty(), "{what}: touched {differing:?}");
}

/// The paths that look different in the two pictures. A directory does not look different because of what is in it.
pub fn differing(before: &Picture, after: &Picture) -> Vec<String> {
    let changed = |path: &&String| match (before.get(*path), after.get(*path)) {
        (Some(before), Some(after)) => !before.looks_like(after),
        _ => true,
    };
    let mut paths: Vec<String> = before.keys().chain(after.keys()).filter(changed).cloned().collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Whether two guests are the same, memory and all, but for what the memory tells of when and from where settings came.
pub fn same(one: &Picture, other: &Picture) -> Result<(), Vec<String>> {
    const STATE: &str = "/var/lib/handoff/state.json";
    let aside = |path: &String| path == "/etc/.pwd.lock" || path == STATE;
    let mut paths: Vec<String> = differing(one, other).into_iter().filter(|path| !aside(path)).collect();
    let memory = |picture: &Picture| {
        let state = picture.get(STATE).map_or(Vec::new(), |state| state.content.clone());
        // A damaged one is the same as no other.
        let mut state = serde_json::from_slice::<serde_json::Value>(&state).ok();
        let history = state.as_mut().and_then(|state| state["history"].as_object_mut());
        for committed in history.into_iter().flat_map(|history| history.values_mut()) {
            committed["time"] = 0.into();
            committed["source"] = serde_json::Value::Null;
        }
        state
    };
    let (one_has, other_has) = (one.contains_key(STATE), other.contains_key(STATE));
    let (one, other) = (memory(one), memory(other));
    if one != other || one.is_some() != one_has || other.is_some() != other_has {
        paths.push(STATE.to_owned());
    }
    if paths.is_empty() { Ok(()) } else { Err(paths) }
}

/// What a run of the agent gave.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!((self.code, self.signal), (Some(0), None), "{}{}", self.out, self.err);
        self
    }

    /// That it was refused with this exit code, in exactly one line that holds these words, names an object and a remedy,
    /// and says nothing else.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Self {
        assert_eq!((self.code, self.signal), (Some(code), None), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        assert_one_line(&self.err);
        for word in words {
            assert!(self.err.contains(word), "no `{word}` in: {}", self.err);
        }
        self
    }
}

/// That a text is one line `handoff-agent: OBJECT: PROBLEM; REMEDY`.
#[track_caller]
pub fn assert_one_line(text: &str) {
    assert!(text.ends_with('\n') && text.lines().count() == 1, "not one line: {text:?}");
    let line = text.trim_end().strip_prefix("handoff-agent: ").expect(text);
    let (object, rest) = line.split_once(": ").expect(text);
    let (problem, remedy) = rest.rsplit_once("; ").expect(text);
    assert!(!object.is_empty() && !problem.is_empty() && !remedy.is_empty(), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

/// Waits for a program, which is ended at its deadline.
pub fn wait_for(child: Child) -> Output {
    let process = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    match receive.recv_timeout(DEADLINE) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
            panic!("did not end within {DEADLINE:?}");
        }
    }
}

/// The agent as it is shipped, where HANDOFF_TEST_AGENT names it.
fn shipped() -> Option<PathBuf> {
    std::env::var_os("HANDOFF_TEST_AGENT").map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// The agent that is tested: the shipped one where it is named, else cargo's.
pub fn agent() -> PathBuf {
    shipped().unwrap_or_else(|| env!("CARGO_BIN_EXE_handoff-agent").into())
}

/// Whether the agent is the shipped one. Where it is not, says what is not measured.
pub fn is_shipped(test: &str) -> bool {
    if shipped().is_none() {
        println!("{test}: numbers NOT CHECKED, HANDOFF_TEST_AGENT does not name dist/handoff-agent");
    }
    shipped().is_some()
}

/// A guest on a scratch root, with a place beside it for settings.
pub struct Guest {
    dir: TempDir,
}

impl Guest {
    /// The Debian-like guest of `tests/golden/debian`, which trusts the operator's key.
    pub fn debian() -> Self {
        Guest::debian_on(tempfile::tempdir().unwrap())
    }

    /// The same, where this system has one, on a file system in memory, for tests that flush often.
    pub fn debian_in_memory() -> Self {
        Guest::debian_on(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn debian_on(dir: TempDir) -> Self {
        fs::create_dir(dir.path().join("root")).unwrap();
        let guest = Guest { dir };
        guest.lay(&golden().join("debian"));
        let line = format!("{PRINCIPAL} namespaces=\"handoff-settings\" {}\n", operators_key().public_line().unwrap());
        guest.write("/usr/lib/handoff/trusted-keys", line.as_bytes(), 0o644);
        guest
    }

    /// Lays a tree upon the root: the files below `root/`, and what `manifest` says of kinds, modes and owners.
    pub fn lay(&self, from: &Path) {
        let mut waiting = vec![from.join("root")];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let below = path.strip_prefix(from.join("root")).unwrap().to_str().unwrap();
                self.write(&format!("/{below}"), &fs::read(&path).unwrap(), 0o644);
            }
        }
        let manifest = fs::read_to_string(from.join("manifest")).unwrap();
        for line in manifest.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["l", path, "->", target] => self.link(path, target),
                [kind, path, mode, owner] => {
                    let at = self.at(path);
                    match kind {
                        "d" => fs::create_dir_all(&at).unwrap(),
                        "f" if !at.exists() => self.write(path, b"", 0o644),
                        _ => assert_eq!(kind, "f", "{line}"),
                    }
                    let (uid, gid) = owner.split_once(':').unwrap();
                    self.own(path, uid.parse().unwrap(), gid.parse().unwrap());
                    let mode = u32::from_str_radix(mode, 8).unwrap();
                    fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
                }
                _ => panic!("manifest: {line}"),
            }
        }
    }

    /// The directory that holds the guest and what lies beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Where a path of the guest really is.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.strip_prefix('/').unwrap())
    }

    pub fn write(&self, path: &str, content: &[u8], mode: u32) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, content).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn link(&self, path: &str, target: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    }

    /// Gives a path to somebody, where this process can.
    pub fn own(&self, path: &str, uid: u32, gid: u32) {
        if is_root() {
            lchown(self.at(path), Some(uid), Some(gid)).unwrap();
        }
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    pub fn picture(&self) -> Picture {
        picture(&self.root())
    }

    /// Puts bytes beside the guest, and names them as a source.
    pub fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.beside(name), bytes).unwrap();
        format!("file:{}", self.beside(name).display())
    }

    /// Puts signed settings on a raw disk beside the guest, and names it as a source.
    pub fn offer(&self, settings: &str) -> String {
        self.put("settings.img", &disk::image(Format::Raw, &signed(settings.as_bytes())).unwrap())
    }

    /// The command that runs the agent on this guest.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(agent());
        command.arg("--root").arg(self.root()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments))
    }

    /// Runs `apply` of these settings.
    pub fn apply(&self, settings: &str) -> Run {
        let source = self.offer(settings);
        self.run(&["--source", &source, "apply"])
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Run {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = wait_for(child);
    Run {
        code: output.status.code(),
        signal: output.status.signal(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether a tool is installed. Where it is not, says that the test does without.
pub fn has(tool: &str, test: &str) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    if !found {
        assert!(std::env::var_os("HANDOFF_TEST_ALL").is_none(), "{tool} is not installed; make deps installs it");
        println!("{test}: SKIPPED, {tool} is not installed");
    }
    found
}

/// The directory of the golden roots.
pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A picture as text, without times and inodes: what is new or other than in `image`, and what is gone.
pub fn shown(image: &Picture, now: &Picture, leave_out: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for path in differing(image, now).iter().filter(|path| !leave_out(path)) {
        let Some(thing) = now.get(path) else {
            let _ = writeln!(text, "== gone {path}");
            continue;
        };
        match thing.kind {
            'l' => drop(writeln!(text, "== link {path} -> {}", thing.text())),
            kind => {
                let name = if kind == 'd' { "directory" } else { "file" };
                let owner = if is_root() { format!("{}:{}", thing.uid, thing.gid) } else { "-".into() };
                let _ = writeln!(text, "== {name} {path} {:04o} {owner}", thing.mode);
                text.push_str(&thing.text());
                if !text.ends_with('\n') {
                    text.push_str("(no newline at the end)\n");
                }
            }
        }
    }
    text
}

pub fn os(text: &str) -> &OsStr {
    OsStr::new(text)
}
