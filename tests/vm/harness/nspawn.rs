//! A container of systemd-nspawn on the image's tree: a Debian that starts in half a second, with no kernel of its own
//! and no block devices.
//!
//! The tree is not copied, which would take seconds: it lies below an overlay that is mounted in a mount name space of
//! the container's own, so that nothing stays mounted whatever happens. What the guest wrote is then all by itself in
//! one directory, and a test can ask what that was.

use super::fence::{self, Fenced};
use super::image::Image;
use super::layer::Layer;
use super::scratch::Scratch;
use super::{machine, tool, tree};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A root that containers run on, one after the other.
#[derive(Debug)]
pub struct Container {
    scratch: Scratch,
    image: PathBuf,
}

/// A container that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How its PID 1 ended.
    pub status: ExitStatus,
    /// What was written to its console.
    pub console: String,
}

/// Mounts the overlay and becomes the program that follows: lower, upper, work, merged, program, arguments.
const START: &str = r#"mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4" || {
  echo "cannot mount an overlay with $2 on top; set CARGO_TARGET_DIR to a directory on a plain disk file system"
  exit 1
}
shift 4
exec "$@""#;

impl Container {
    /// The image with the layer put over it.
    pub fn new(image: &Image, layer: &Layer) -> Self {
        let container = Container { scratch: Scratch::new(), image: image.root() };
        for dir in ["layer", "upper", "work", "merged"] {
            fs::create_dir(container.dir(dir)).unwrap();
        }
        container.install(layer);
        container
    }

    /// Puts another layer over what was baked in. What the guest has written stays above it.
    pub fn install(&self, layer: &Layer) {
        tree::write(&self.dir("layer"), layer, Some(&self.image));
    }

    /// The content of a regular file as the guest left it, `None` where there is none. Links are not followed.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let inside = path.trim_start_matches('/');
        for root in [self.dir("upper"), self.dir("layer"), self.image.clone()] {
            let path = root.join(inside);
            if let Ok(found) = fs::symlink_metadata(&path) {
                return found.is_file().then(|| fs::read(&path).unwrap());
            }
        }
        None
    }

    /// Like [`Container::read`], as text; panics where there is no such file.
    pub fn read_text(&self, path: &str) -> String {
        let bytes = self.read(path).unwrap_or_else(|| panic!("{path} is not in the container"));
        String::from_utf8(bytes).unwrap_or_else(|_| panic!("{path} in the container is not text"))
    }

    /// Every path that a guest has written or removed, sorted: files, links and new directories, a removed one with
    /// ` (removed)` after it.
    pub fn changed(&self) -> Vec<String> {
        let mut changed = Vec::new();
        self.collect_changed(&self.dir("upper"), Path::new("/"), &mut changed);
        changed.sort();
        changed
    }

    fn collect_changed(&self, dir: &Path, shown: &Path, changed: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = shown.join(entry.file_name());
            let found = fs::symlink_metadata(entry.path()).unwrap();
            let inside = path.strip_prefix("/").unwrap();
            let is_new = !self.dir("layer").join(inside).exists() && !self.image.join(inside).exists();
            if found.file_type().is_char_device() && found.rdev() == 0 {
                changed.push(format!("{} (removed)", path.display())); // How an overlay hides what is below.
            } else if !found.is_dir() || is_new {
                changed.push(path.display().to_string());
            }
            if found.is_dir() {
                self.collect_changed(&entry.path(), &path, changed);
            }
        }
    }

    /// Runs a program as PID 1 to its end, or panics at the deadline. `&["/usr/sbin/handoff-agent"]`, `&["/sbin/init"]`.
    /// `options` are more of systemd-nspawn's, as `--bind-ro=DISK:/run/settings`.
    pub fn run(&self, program: &[&str], options: &[&str], deadline: Duration) -> Finished {
        let mut nspawn = self.start(program, options, deadline + Duration::from_secs(5));
        let status = nspawn.wait(deadline);
        let console = self.console();
        match status {
            Some(status) => Finished { status, console },
            None => {
                panic!("{program:?} still ran in its container after {} s; console:\n{console}", deadline.as_secs())
            }
        }
    }

    /// Starts a program as PID 1, and leaves it to the caller what comes next.
    pub fn boot(&self, program: &[&str], options: &[&str], deadline: Duration) -> Running<'_> {
        Running { nspawn: self.start(program, options, deadline), container: self }
    }

    /// All that guests have written so far: contents of files, and when they were written last.
    pub fn written(&self) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
        let upper = self.dir("upper");
        let mut written = BTreeMap::new();
        let mut open = vec![upper.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let found = fs::symlink_metadata(&path).unwrap();
                if found.is_dir() {
                    open.push(path);
                } else if found.is_file() {
                    let inside = path.strip_prefix(&upper).unwrap().to_owned();
                    written.insert(inside, (found.modified().unwrap(), fs::read(&path).unwrap()));
                }
            }
        }
        written
    }

    fn start(&self, program: &[&str], options: &[&str], deadline: Duration) -> Fenced {
        let console = fs::File::create(self.dir("console")).unwrap();
        let mut nspawn = fence::command(deadline, tool::find("unshare"));
        // In a name space for processes, too: whoever kills systemd-nspawn leaves what runs in the container alive.
        nspawn.args(["--mount", "--mount-proc", "--pid", "--fork", "--kill-child", "sh", "-c", START, "sh"]);
        nspawn.arg(format!("{}:{}", self.dir("layer").display(), self.image.display()));
        nspawn.args(["upper", "work", "merged"].map(|name| self.dir(name)));
        // Not registered anywhere, no interfaces but loopback, nothing of the host's settings carried in.
        nspawn.arg(tool::find("systemd-nspawn")).arg("-q").arg("-D").arg(self.dir("merged"));
        nspawn.args(["--private-network", "--console=read-only", "--register=no", "--keep-unit"]);
        nspawn.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        nspawn.args(options).arg("--").args(program);
        nspawn.stdin(Stdio::null()).stdout(console.try_clone().unwrap()).stderr(console);
        Fenced::spawn(&mut nspawn)
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn console(&self) -> String {
        let text = machine::plain(&String::from_utf8_lossy(&fs::read(self.dir("console")).unwrap_or_default()));
        // A remark of systemd-nspawn's own, on hosts whose /run is on a disk.
        text.lines().filter(|line| !line.starts_with("Attempted to remove disk file system")).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            },
        )
    }
}

/// A container that runs. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Running<'a> {
    nspawn: Fenced,
    container: &'a Container,
}

impl Running<'_> {
    /// Waits until a whole line of the console contains `text`, and returns that line. Panics at the deadline, and where the
    /// container ends before.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> String {
        let end = Instant::now() + deadline;
        loop {
            let ended = self.nspawn.ended();
            let console = self.container.console();
            if let Some(line) = console.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(ended.is_none(), "the container ended before it showed {text:?}; console:\n{console}");
            assert!(Instant::now() < end, "no {text:?} in {} s; console:\n{console}", deadline.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the console has shown so far.
    pub fn console(&self) -> String {
        self.container.console()
    }

    /// Waits until the container ends by itself, and returns its console.
    pub fn wait_for_end(mut self, deadline: Duration) -> String {
        let ended = self.nspawn.wait(deadline);
        let console = self.container.console();
        assert!(ended.is_some(), "the container still ran after {} s; console:\n{console}", deadline.as_secs());
        console
    }

    /// Cuts the power, and waits until the tree may be used again.
    pub fn cut_power(mut self) -> String {
        self.nspawn.kill();
        let merged = self.container.dir("merged").into_os_string().into_encoded_bytes();
        let end = Instant::now() + Duration::from_secs(20);
        while is_named_by_a_process(&merged) {
            assert!(Instant::now() < end, "the container does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.container.console()
    }
}

/// Whether a command line holds these bytes.
fn is_named_by_a_process(bytes: &[u8]) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|process| fs::read(process.path().join("cmdline")).unwrap_or_default())
        .any(|line| line.windows(bytes.len()).any(|window| window == bytes))
}
