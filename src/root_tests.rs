//! A real root in a scratch directory, with what a hostile user could put there.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

const STRANGER: u32 = 65534;

struct Scratch {
    directory: tempfile::TempDir,
    root: Root,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = Root::open(directory.path()).unwrap();
        Scratch { directory, root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn directory(&self, path: &str, mode: u32) {
        fs::create_dir_all(self.at(path)).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn file(&self, path: &str, text: &str) {
        if let Some(parent) = self.at(path).parent() {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(self.at(path), text).unwrap();
    }

    fn read(&self, path: &str) -> Result<Option<String>> {
        Ok(self.root.read(&GuestPath::of(path))?.map(|bytes| String::from_utf8(bytes).unwrap()))
    }
}

fn is_root() -> bool {
    files::caller().uid == 0
}

#[test]
fn links_are_followed_inside_the_root_and_never_out_of_it() {
    let scratch = Scratch::new();
    scratch.file("usr/lib/x", "text");
    symlink("usr/lib", scratch.at("lib")).unwrap();
    symlink("/usr/lib", scratch.at("absolute")).unwrap();
    symlink("../../../../usr/lib/./x", scratch.at("usr/up")).unwrap();
    symlink("/../..//etc/passwd", scratch.at("out")).unwrap();
    symlink("/etc", scratch.at("outer")).unwrap();
    for path in ["/lib/x", "/absolute/x", "/usr/up", "/usr/lib/x"] {
        assert_eq!(scratch.read(path).unwrap().as_deref(), Some("text"), "{path}");
    }
    assert_eq!(scratch.read("/out").unwrap(), None);
    assert_eq!(scratch.read("/outer/passwd").unwrap(), None);
    assert_eq!(scratch.root.kind(&GuestPath::of("/lib")).unwrap(), Some(Kind::Directory));
    assert_eq!(scratch.root.node(&GuestPath::of("/lib")).unwrap(), Some(Node::link("usr/lib")));
}

#[test]
fn a_loop_of_links_is_an_error_and_not_absence() {
    let scratch = Scratch::new();
    symlink("b/x", scratch.at("a")).unwrap();
    symlink("a", scratch.at("b")).unwrap();
    let error = scratch.read("/a/y").unwrap_err();
    assert!(error.problem().contains("40 links"), "{error}");
    symlink("self", scratch.at("self")).unwrap();
    assert!(scratch.root.kind(&GuestPath::of("/self")).is_err());
}

#[test]
fn absent_is_none_and_a_file_in_the_way_is_an_error() {
    let scratch = Scratch::new();
    scratch.file("etc/hostname", "x");
    assert_eq!(scratch.read("/nothing").unwrap(), None);
    assert_eq!(scratch.read("/nothing/at/all").unwrap(), None);
    assert_eq!(scratch.root.node(&GuestPath::of("/etc/none")).unwrap(), None);
    assert_eq!(scratch.root.list(&GuestPath::of("/none")).unwrap(), None);
    let error = scratch.read("/etc/hostname/below").unwrap_err();
    assert!(error.to_string().starts_with("/etc/hostname/below: `hostname` on the way"), "{error}");
    assert!(scratch.root.read(&GuestPath::of("/etc")).is_err());
    assert!(scratch.root.list(&GuestPath::of("/etc/hostname")).is_err());
}

#[test]
fn a_directory_lists_its_names_sorted_and_has_a_limit() {
    let scratch = Scratch::new();
    for name in ["c", "a", "b", ".hidden"] {
        scratch.file(&format!("d/{name}"), "");
    }
    assert_eq!(scratch.root.list(&GuestPath::of("/d")).unwrap().unwrap(), [".hidden", "a", "b", "c"]);
    assert_eq!(scratch.root.list(&GuestPath::root()).unwrap().unwrap(), ["d"]);
    // A second look begins at the beginning.
    assert_eq!(scratch.root.list(&GuestPath::root()).unwrap().unwrap(), ["d"]);
}

#[test]
fn a_file_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
    let scratch = Scratch::new();
    fs::File::create(scratch.at("fits")).unwrap().set_len(MAX_GUEST_FILE as u64).unwrap();
    fs::File::create(scratch.at("large")).unwrap().set_len(MAX_GUEST_FILE as u64 + 1).unwrap();
    assert_eq!(scratch.root.read(&GuestPath::of("/fits")).unwrap().unwrap().len(), MAX_GUEST_FILE);
    let error = scratch.root.node(&GuestPath::of("/large")).unwrap_err();
    assert!(error.problem().contains("8 MiB"), "{error}");
}

#[test]
fn a_pipe_or_a_socket_is_named_and_never_waited_for() {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let scratch = Scratch::new();
        nix::unistd::mkfifo(&scratch.at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _listener = UnixListener::bind(scratch.at("socket")).unwrap();
        for name in ["/pipe", "/socket"] {
            let path = GuestPath::of(name);
            let error = scratch.root.node(&path).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name}: is a device, a pipe or a socket")), "{error}");
            assert!(scratch.root.read(&path).is_err());
            assert_eq!(scratch.root.kind(&path).unwrap(), Some(Kind::Other));
        }
        // Also where the first look was deceived, opening a pipe does not wait.
        let directory = files::open_directory(scratch.directory.path()).unwrap();
        assert!(read_file(&GuestPath::of("/pipe"), &directory, "pipe").is_err());
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(10)).expect("neither waits nor fails");
}

#[test]
fn a_link_that_a_user_could_have_planted_is_not_followed() {
    if !is_root() {
        return; // Owners cannot be set; the next test shows what can be shown.
    }
    let scratch = Scratch::new();
    scratch.file("secret/key", "x");
    scratch.directory("home/user", 0o755);
    chown(scratch.at("home/user"), Some(STRANGER), Some(STRANGER)).unwrap();
    symlink("/secret", scratch.at("home/user/.ssh")).unwrap();

    // Root's own link in the user's directory: the user could replace it between the look and the step.
    let error = scratch.read("/home/user/.ssh/key").unwrap_err();
    assert!(error.problem().contains("`.ssh`") && error.problem().contains("planted"), "{error}");

    // The user's link.
    lchown(scratch.at("home/user/.ssh"), Some(STRANGER), Some(STRANGER)).unwrap();
    assert!(scratch.read("/home/user/.ssh/key").is_err());
    assert!(scratch.root.open_parent(&GuestPath::of("/home/user/.ssh/authorized_keys")).is_err());

    // The user's link in root's directory.
    symlink("/secret", scratch.at("home/other")).unwrap();
    lchown(scratch.at("home/other"), Some(STRANGER), Some(STRANGER)).unwrap();
    assert!(scratch.read("/home/other/key").is_err());

    // The same as the last name: shown as a link, and not followed.
    assert_eq!(scratch.root.node(&GuestPath::of("/home/user/.ssh")).unwrap(), Some(Node::link("/secret")));
    assert!(scratch.root.kind(&GuestPath::of("/home/user/.ssh")).is_err());

    // A plain directory of the user's is entered.
    scratch.file("home/user/plain/x", "y");
    assert_eq!(scratch.read("/home/user/plain/x").unwrap().as_deref(), Some("y"));
}

#[test]
fn who_else_can_write_in_its_directory_decides_about_a_link() {
    let scratch = Scratch::new();
    scratch.file("target/x", "text");
    for (mode, trusted) in [(0o755, true), (0o1777, true), (0o777, false), (0o757, false), (0o700, true)] {
        scratch.directory("d", mode);
        let _ = fs::remove_file(scratch.at("d/link"));
        symlink("/target", scratch.at("d/link")).unwrap();
        assert_eq!(scratch.read("/d/link/x").is_ok(), trusted, "{mode:o}");
    }
    if is_root() {
        scratch.directory("d", 0o775);
        assert!(scratch.read("/d/link/x").is_ok());
        chown(scratch.at("d"), None, Some(STRANGER)).unwrap();
        scratch.directory("d", 0o775);
        assert!(scratch.read("/d/link/x").is_err());
    }
}

#[test]
fn a_second_name_of_a_link_is_no_link_of_roots_where_strangers_give_names() {
    let scratch = Scratch::new();
    scratch.file("data/name", "text");
    symlink("data", scratch.at("link")).unwrap();
    for (mode, trusted) in [(0o1777, false), (0o755, true)] {
        let directory = format!("mode{mode:o}");
        scratch.directory(&directory, mode);
        // The other name is given without following, which a kernel may allow to anybody.
        fs::hard_link(scratch.at("link"), scratch.at(&format!("{directory}/link"))).unwrap();
        scratch.directory(&format!("{directory}/data"), 0o755);
        scratch.file(&format!("{directory}/data/name"), "text");
        assert_eq!(scratch.read(&format!("/{directory}/link/name")).is_ok(), trusted, "{mode:o}");
    }
}

#[test]
fn a_file_is_seen_with_its_mode_and_owner() {
    let scratch = Scratch::new();
    scratch.file("x", "text");
    fs::set_permissions(scratch.at("x"), fs::Permissions::from_mode(0o2640)).unwrap();
    let mut owner = files::caller();
    if is_root() {
        owner = Owner { uid: 12, gid: 34 };
        chown(scratch.at("x"), Some(12), Some(34)).unwrap();
        fs::set_permissions(scratch.at("x"), fs::Permissions::from_mode(0o2640)).unwrap();
    }
    let node = scratch.root.node(&GuestPath::of("/x")).unwrap();
    assert_eq!(node, Some(Node::file_of("text", 0o2640, owner)));
}

#[test]
fn what_may_not_be_read_is_an_error_and_not_absence() {
    if is_root() {
        return; // Nothing is forbidden to root.
    }
    let scratch = Scratch::new();
    scratch.file("shut/x", "text");
    scratch.directory("shut", 0o000);
    assert!(scratch.read("/shut/x").is_err());
    scratch.directory("shut", 0o700);
    fs::set_permissions(scratch.at("shut/x"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(scratch.read("/shut/x").unwrap_err().remedy().contains("root"));
}

#[test]
fn the_root_itself_has_no_parent() {
    let scratch = Scratch::new();
    assert!(scratch.root.open_parent(&GuestPath::root()).is_err());
    assert!(scratch.root.open_parent(&GuestPath::of("/none/x")).unwrap().is_none());
    let (_, name) = scratch.root.open_parent(&GuestPath::of("/x")).unwrap().unwrap();
    assert_eq!(name, "x");
    assert!(matches!(scratch.root.node(&GuestPath::root()).unwrap(), Some(Node::Directory { mode: 0o755, .. })));
    assert!(Root::open(&scratch.at("none")).is_err());
}

#[test]
fn names_and_targets_that_are_no_text_are_errors() {
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = Scratch::new();
    scratch.directory("d", 0o755);
    symlink(std::ffi::OsStr::from_bytes(b"\xff"), scratch.at("link")).unwrap();
    assert!(scratch.root.node(&GuestPath::of("/link")).is_err());
    fs::write(scratch.at("d").join(std::ffi::OsStr::from_bytes(b"\xfe")), "").unwrap();
    assert!(scratch.root.list(&GuestPath::of("/d")).is_err());
}

#[test]
fn a_path_is_in_reach_of_users_by_the_directories_that_it_leads_through() {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = Root::open(directory.path()).unwrap();
    if !root.compares_owners() {
        return; // Owners cannot be set.
    }
    for path in ["etc", "srv", "home/app/data", "tmp"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    for path in ["home/app", "home/app/data"] {
        chown(at(path), Some(1000), Some(1000)).unwrap();
    }
    fs::set_permissions(at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("/home/app/data", at("srv/data")).unwrap();
    let in_reach = |path: &str| root.is_in_reach_of_users(&GuestPath::of(path));
    for path in ["/home/app/x", "/home/app/data/deep/x", "/srv/data/x", "/tmp/x", "/tmp/deep/x"] {
        assert!(in_reach(path), "{path}");
    }
    for path in ["/etc/x", "/srv/data", "/home/app", "/tmp", "/absent/x", "/"] {
        assert!(!in_reach(path), "{path}");
    }
}

#[test]
fn a_disk_that_fails_is_told_from_what_stands_in_the_way() {
    let of = |error| unreadable("/home/user/x", "user", error).is_failure();
    for error in [SystemError::EIO, SystemError::ENOMEM, SystemError::EMFILE, SystemError::ESTALE] {
        assert!(of(error), "{error}");
    }
    use SystemError as E;
    let planted = [E::ELOOP, E::ENOTDIR, E::EACCES, E::ENAMETOOLONG, E::EAGAIN, E::EBUSY, E::EXDEV, E::ENOTCONN];
    for error in planted {
        assert!(!of(error), "{error}");
    }
    assert!(unreadable("/home/user/x", "user", SystemError::EIO).within("/dev/vdb").is_failure());
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_whose_key_or_lease_somebody_holds_stands_in_the_way() {
    use nix::libc::{F_SETLEASE, F_WRLCK, fcntl};
    use std::os::fd::AsRawFd as _;
    let scratch = Scratch::new();
    scratch.file("x", "text");
    let held = fs::File::options().write(true).open(scratch.at("x")).unwrap();
    // The breaking of the lease is told by a signal that ends a process which does not wait for it.
    ignore_sigio();
    #[allow(unsafe_code)]
    let answer = unsafe { fcntl(held.as_raw_fd(), F_SETLEASE, F_WRLCK) };
    if answer != 0 {
        return; // This file system knows no leases.
    }
    let error = scratch.read("/x").unwrap_err();
    assert!(!error.is_failure() && error.remedy().contains("lease"), "{error}");
    drop(held);
    assert_eq!(scratch.read("/x").unwrap().as_deref(), Some("text"));
    assert!(!unreadable("/home/user/x", "x", SystemError::ENOKEY).is_failure());
}

#[cfg(target_os = "linux")]
fn ignore_sigio() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    #[allow(unsafe_code)]
    unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }.unwrap();
}
