//! Linux: a process with a mount namespace of its own builds what the command sees, and starts it as the first process of a
//! process namespace of its own. When that one ends, or is killed, the kernel ends all that it had started.
//!
//! The first thing in the new namespace is to make every mount read-only. So not even the building can change the guest, and
//! whatever is mounted goes with the last process.

use super::{Act, Ending, MAX_OUTPUT, Ran};
use crate::guest::{Kind, Owner};
use crate::platform::files;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    AccessFlags, ForkResult, Gid, Pid, Uid, access, chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, execve,
    fchdir, fchownat, fork, getpid, getppid, setsid,
};
use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

/// All that a command finds in its environment.
const ENVIRONMENT: [&CStr; 2] = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"LC_ALL=C"];

/// How much a command may write into each of its private places.
const PRIVATE_SIZE: &str = "size=64m,nr_inodes=16k";

/// Lets a command bind to addresses that no interface has yet. A file of the network namespace.
const NONLOCAL: [&str; 2] = ["/proc/sys/net/ipv4/ip_nonlocal_bind", "/proc/sys/net/ipv6/ip_nonlocal_bind"];

/// Runs a command, absolute program first, where the root below `root` looks as the acts say. At the deadline it is killed
/// with all that it started.
///
/// It has no network but its own empty one, no input, no descriptors but its outputs, and almost no environment. What it says
/// on both of its outputs is kept, the end of it.
///
/// # Errors
/// There are no pipes or processes to be had.
pub fn run_in_sandbox(root: &Path, acts: &[Act<'_>], command: &[CString], deadline: Duration) -> io::Result<Ran> {
    let end = Instant::now() + deadline;
    let (said, says) = io::pipe()?;
    let (reported, reports) = io::pipe()?;
    let nothing = File::open("/dev/null")?;
    let parent = getpid();
    // SAFETY: the agent has one thread. Where there are more, as in tests, the C library keeps its allocator usable in the
    // child; and the child never returns.
    #[allow(unsafe_code)]
    let fork = unsafe { fork() }?;
    let child = match fork {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let report = outer(parent, root, acts, command, &nothing, says, &reports);
            let _ = (&reports).write_all(&report.bytes());
            exit()
        }
    };
    drop((says, reports));
    Ok(listen(child, acts, said, reported, end))
}

/// What the processes of the sandbox tell the parent.
#[derive(Clone, Copy)]
enum Report {
    NoSandbox(Errno),
    /// The act with this number, or with none the preparation, failed.
    NotBuilt(Option<usize>, Errno),
    NotStarted(Errno),
    Ended(WaitStatus),
}

impl Report {
    /// Three numbers: what it is, and its two values.
    fn bytes(self) -> [u8; 12] {
        let (kind, one, two) = match self {
            Report::NoSandbox(error) => (0, 0, error as i32),
            Report::NotBuilt(act, error) => {
                (1, act.and_then(|act| i32::try_from(act).ok()).unwrap_or(-1), error as i32)
            }
            Report::NotStarted(error) => (2, 0, error as i32),
            Report::Ended(WaitStatus::Signaled(_, signal, _)) => (4, 0, signal as i32),
            Report::Ended(WaitStatus::Exited(_, code)) => (3, 0, code),
            Report::Ended(_) => (3, 0, 255),
        };
        let mut bytes = [0; 12];
        let numbers = [kind, one, two].into_iter().flat_map(i32::to_ne_bytes);
        bytes.iter_mut().zip(numbers).for_each(|(byte, number)| *byte = number);
        bytes
    }
}

/// What a report means. The first one counts: the process that could not start a command says so before its end is seen.
fn ending(report: &[u8], acts: &[Act<'_>]) -> Ending {
    let number = |at: usize| {
        let bytes = report.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i32::from_ne_bytes)
    };
    match (number(0), number(4), number(8)) {
        (Some(0), _, Some(error)) => Ending::NoSandbox(Errno::from_raw(error)),
        (Some(1), Some(act), Some(error)) => {
            let act = usize::try_from(act).ok().and_then(|act| acts.get(act));
            Ending::NotBuilt(act.map_or("/", Act::path).to_owned(), Errno::from_raw(error))
        }
        (Some(2), _, Some(error)) => Ending::NotStarted(Errno::from_raw(error)),
        (Some(3), _, Some(code)) => Ending::Code(code),
        (Some(4), _, Some(signal)) => Ending::Signal(signal),
        // Whoever should have reported was killed.
        _ => Ending::Signal(libc::SIGKILL),
    }
}

/// Takes what the sandbox says until it is over, or until the deadline, and leaves no process behind.
fn listen(child: Pid, acts: &[Act<'_>], said: PipeReader, reported: PipeReader, end: Instant) -> Ran {
    let (mut output, mut report) = (Tail::default(), Tail::default());
    let (mut said, mut reported) = (Some(said), Some(reported));
    let mut in_time = true;
    while said.is_some() || reported.is_some() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            in_time = false;
            break;
        }
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut both: Vec<PollFd<'_>> =
            [&said, &reported].into_iter().flatten().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        if !matches!(poll(&mut both, timeout), Ok(1..)) {
            continue;
        }
        let ready: Vec<bool> = both.iter().map(|one| one.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        for (pipe, tail) in [(&mut said, &mut output), (&mut reported, &mut report)] {
            let Some(open) = pipe.as_mut() else { continue };
            if ready.next() == Some(true) && !tail.take(open) {
                *pipe = None;
            }
        }
    }
    // The whole session, and the process that holds the process namespace, whose end is that of everybody in it.
    let _ = killpg(child, Signal::SIGKILL);
    let _ = kill(child, Signal::SIGKILL);
    reap(child);
    let ending = if in_time { ending(&report.bytes, acts) } else { Ending::Deadline };
    Ran { ending, output: output.lines() }
}

/// A killed child can hang in the kernel on a disk that does not answer. It is not waited for long.
fn reap(child: Pid) {
    for _ in 0..200 {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
}

/// The end of what was read.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Takes what is there. False at the end.
    fn take(&mut self, pipe: &mut PipeReader) -> bool {
        let mut some = [0; 8192];
        match pipe.read(&mut some) {
            Ok(0) => false,
            Ok(length) => {
                self.bytes.extend_from_slice(some.get(..length).unwrap_or_default());
                if self.bytes.len() > 2 * MAX_OUTPUT {
                    self.shorten();
                }
                true
            }
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }

    fn shorten(&mut self) {
        let surplus = self.bytes.len().saturating_sub(MAX_OUTPUT);
        self.cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }

    /// At most [`MAX_OUTPUT`] bytes, and no half of a line before them: it could be half of a secret.
    fn lines(mut self) -> Vec<u8> {
        self.shorten();
        if self.cut {
            let half = self.bytes.iter().position(|&byte| byte == b'\n').map_or(self.bytes.len(), |at| at + 1);
            self.bytes.drain(..half);
        }
        self.bytes
    }
}

/// Ends this process, and runs nothing of the program on the way out.
fn exit() -> ! {
    // SAFETY: it does not return, and touches nothing.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(0)
    }
}

/// Whoever is left alone ends.
fn end_with_parent() {
    let _ = set_pdeathsig(Signal::SIGKILL);
}

/// The process that builds the tree and waits for the command.
fn outer(
    parent: Pid,
    root: &Path,
    acts: &[Act<'_>],
    command: &[CString],
    nothing: &File,
    says: PipeWriter,
    reports: &PipeWriter,
) -> Report {
    let _ = setsid();
    end_with_parent();
    if getppid() != parent {
        exit()
    }
    umask(Mode::from_bits_truncate(0o077));
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID) {
        return Report::NoSandbox(error);
    }
    // Not every kernel has it.
    let _ = unshare(CloneFlags::CLONE_NEWIPC);
    leave_network();
    // Before the root of the guest is entered, which may have no /proc.
    let descriptors = match OwnDescriptors::open() {
        Ok(descriptors) => descriptors,
        Err(error) => return Report::NotBuilt(None, error),
    };
    if let Err(error) = prepare(root) {
        return Report::NotBuilt(None, error);
    }
    for (number, act) in acts.iter().enumerate() {
        if let Err(error) = carry_out(act, &descriptors) {
            return Report::NotBuilt(Some(number), error);
        }
    }
    // SAFETY: this process has one thread.
    #[allow(unsafe_code)]
    match unsafe { fork() } {
        Err(error) => Report::NotStarted(error),
        Ok(ForkResult::Child) => {
            end_with_parent();
            let error = inner(command, nothing, &says);
            let _ = (&*reports).write_all(&Report::NotStarted(error).bytes());
            exit()
        }
        Ok(ForkResult::Parent { child }) => {
            drop(says);
            loop {
                match waitpid(child, None) {
                    Err(Errno::EINTR) => {}
                    Err(error) => return Report::NotStarted(error),
                    Ok(status) => return Report::Ended(status),
                }
            }
        }
    }
}

/// The process that becomes the command. Returns why it could not.
fn inner(command: &[CString], nothing: &File, says: &PipeWriter) -> Errno {
    let become_it = || -> Result<(), Errno> {
        dup2_stdin(nothing)?;
        dup2_stdout(says)?;
        dup2_stderr(says)?;
        // Rust's own start ignores SIGPIPE, and whoever started us may have ignored others; that would be inherited.
        for signal in 1..=31 {
            // SAFETY: no handler is set, only the default.
            #[allow(unsafe_code)]
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        SigSet::empty().thread_set_mask()?;
        // A limit of one byte is the one that keeps the kernel from handing a core, with secrets in it, to a program.
        let _ = setrlimit(Resource::RLIMIT_CORE, 1, 1);
        close_at_exec();
        let program = command.first().ok_or(Errno::ENOENT)?;
        execve(program, command, &ENVIRONMENT).map(|_| ())
    };
    become_it().err().unwrap_or(Errno::ENOEXEC)
}

/// Our own descriptors close by themselves. This is for those of whoever started us.
fn close_at_exec() {
    for descriptor in 3..1024 {
        // SAFETY: it sets a flag of a descriptor, or answers EBADF.
        #[allow(unsafe_code)]
        unsafe {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// An empty network of its own, in which every address may be bound to: so that a judgement is the same before the network is
/// up and after. Where that cannot be had, it is this machine's.
fn leave_network() {
    let [ipv4, _] = NONLOCAL;
    if access(ipv4, AccessFlags::W_OK).is_ok() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        for file in NONLOCAL {
            let _ = fs::write(file, "1");
        }
    }
}

/// Cuts this namespace off from that of the machine, makes all of it read-only, and enters the root of the guest.
fn prepare(root: &Path) -> Result<(), Errno> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    if all_read_only().is_err() {
        each_read_only()?;
    }
    if root != Path::new("/") {
        mount(Some(root), root, None::<&str>, BIND, None::<&str>)?;
        chroot(root)?;
    }
    chdir("/")
}

/// Makes every mount read-only, in one call of Linux 5.12.
fn all_read_only() -> Result<(), Errno> {
    /// `MOUNT_ATTR_RDONLY` of `linux/mount.h`.
    const READ_ONLY: u64 = 1;
    /// `AT_RECURSIVE` of `linux/fcntl.h`.
    const RECURSIVE: libc::c_int = 0x8000;
    // `struct mount_attr`: set, clear, propagation, user namespace.
    let attributes: [u64; 4] = [READ_ONLY, 0, 0, 0];
    // SAFETY: the path is a C string, and the attributes live through the call, which is told their size.
    #[allow(unsafe_code)]
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            RECURSIVE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    Errno::result(answer).map(drop)
}

/// The same, mount by mount. The root must become read-only; of what cannot even be reached nothing is to be feared.
fn each_read_only() -> Result<(), Errno> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| number_of(&error))?;
    for line in table.lines() {
        // Looking at a mount point of autofs would mount something.
        if line.contains(" - autofs ") {
            continue;
        }
        let mut words = line.split(' ').skip(4);
        let (Some(path), Some(options)) = (words.next(), words.next()) else { continue };
        let path = path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
        let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        // What is not named again would be taken away, and some of it must stay.
        for option in options.split(',') {
            flags |= match option {
                "nosuid" => MsFlags::MS_NOSUID,
                "nodev" => MsFlags::MS_NODEV,
                "noexec" => MsFlags::MS_NOEXEC,
                "noatime" => MsFlags::MS_NOATIME,
                "nodiratime" => MsFlags::MS_NODIRATIME,
                "relatime" => MsFlags::MS_RELATIME,
                _ => MsFlags::empty(),
            };
        }
        match mount(None::<&str>, path.as_str(), None::<&str>, flags, None::<&str>) {
            Err(error) if path == "/" || !matches!(error, Errno::EINVAL | Errno::ENOENT | Errno::EACCES) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn number_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Shows something at a second place, with all that is mounted below it.
const BIND: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REC);

/// The descriptors of this process as names. Since mount(2) takes names only, it is in this way told of what was opened.
struct OwnDescriptors(OwnedFd);

impl OwnDescriptors {
    fn open() -> Result<Self, Errno> {
        files::open_directory(Path::new("/proc/self/fd")).map(OwnDescriptors)
    }

    /// Binds. Both places may lie in a directory of a user, who meanwhile could put a link there: to the directory in which the
    /// command lies, and the command would be the user's. So nothing is followed.
    fn bind(&self, from: &str, to: &str) -> Result<(), Errno> {
        let (from, to) = (open_without_links(from)?, open_without_links(to)?);
        let name = |open: &OwnedFd| open.as_raw_fd().to_string();
        fchdir(&self.0)?;
        let bound = mount(Some(name(&from).as_str()), name(&to).as_str(), None::<&str>, BIND, None::<&str>);
        chdir("/")?;
        bound
    }
}

/// What stands at an absolute path, without reading it. `ELOOP` or `ENOTDIR`: a link stands there, or on the way.
fn open_without_links(path: &str) -> Result<OwnedFd, Errno> {
    const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    let mut open = nix::fcntl::open("/", PLACE | OFlag::O_DIRECTORY, Mode::empty())?;
    while let Some(name) = names.next() {
        let directory = if names.peek().is_some() { OFlag::O_DIRECTORY } else { OFlag::empty() };
        open = openat(&open, name, PLACE | directory, Mode::empty())?;
    }
    match files::stat(&open)?.kind {
        Kind::Link => Err(Errno::ELOOP),
        _ => Ok(open),
    }
}

fn mount_memory(path: &str, options: &str) -> Result<(), Errno> {
    mount(Some("handoff"), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
}

fn carry_out(act: &Act<'_>, descriptors: &OwnDescriptors) -> Result<(), Errno> {
    match act {
        Act::Stage { path } => mount_memory(path, "mode=0700"),
        Act::Bind { from, to } => descriptors.bind(from, to),
        Act::Seal { path } => {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(None::<&str>, path.as_str(), None::<&str>, flags, None::<&str>)
        }
        Act::Enter { path } => chroot(path.as_str()).and_then(|()| chdir("/")),
        Act::Private { path, mode, owner } => {
            let Owner { uid, gid } = owner;
            mount_memory(path, &format!("mode={mode:04o},uid={uid},gid={gid},{PRIVATE_SIZE}"))
        }
        Act::Directory { path, mode, owner } => {
            make(fs::DirBuilder::new().mode(0o700).create(path))?;
            own(path, *owner)?;
            make(fs::set_permissions(path, Permissions::from_mode(*mode)))
        }
        Act::Link { path, target, owner } => {
            make(symlink(target, path))?;
            own(path, *owner)
        }
        Act::File { path, content, mode, owner } => {
            let mut file = make(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))?;
            make(file.write_all(content))?;
            own(path, *owner)?;
            make(file.set_permissions(Permissions::from_mode(*mode)))
        }
    }
}

fn make<T>(done: io::Result<T>) -> Result<T, Errno> {
    done.map_err(|error| number_of(&error))
}

fn own(path: &str, owner: Owner) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
    fchownat(nix::fcntl::AT_FDCWD, path, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests;
