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
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

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

    /// Runs a program as PID 1 until its console shows `text` in a line, then ends it as a power cut would. Returns the
    /// console so far.
    pub fn run_until(&self, program: &[&str], options: &[&str], text: &str, deadline: Duration) -> String {
        let mut nspawn = self.start(program, options, deadline + Duration::from_secs(5));
        let end = Instant::now() + deadline;
        loop {
            let ended = nspawn.ended();
            let console = self.console();
            if console.lines().any(|line| line.contains(text)) {
                return console;
            }
            assert!(ended.is_none(), "{program:?} ended before it showed {text:?}; console:\n{console}");
            assert!(Instant::now() < end, "{program:?} did not show {text:?} in {} s:\n{console}", deadline.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn start(&self, program: &[&str], options: &[&str], deadline: Duration) -> Fenced {
        let console = fs::File::create(self.dir("console")).unwrap();
        let mut nspawn = fence::command(deadline, tool::find("unshare"));
        nspawn.args(["--mount", "sh", "-c", START, "sh"]);
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
