//! What lies on the guest's own disk, where a power cut, a bad sector or another program may have changed it: the account files,
//! the journal, the memory of generations, the status.

use super::good;
use handoff::agent::Status;
use handoff::commit;
use handoff::commit::state::State;
use handoff::guest::accounts::{AccountFile, LoginDefs, Table, field};
use handoff::root::Root;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Which file, a line with a name, a line with a value, and then the file.
pub fn accounts(data: &[u8]) -> bool {
    let Some((which, rest)) = data.split_first() else { return false };
    let file =
        [AccountFile::Passwd, AccountFile::Shadow, AccountFile::Group, AccountFile::Gshadow][usize::from(*which) % 4];
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let (name, value, bytes) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    let login_defs = LoginDefs::parse(bytes);
    assert!(login_defs.uids.0 <= login_defs.uids.1 && login_defs.gids.0 <= login_defs.gids.1);
    let Some(table) = good(Table::parse(file, bytes)) else { return false };
    assert_eq!(table.to_bytes(), bytes, "reading and writing changes nothing");
    // As every name is that settings can hold.
    if name.is_empty() || name.contains([':', ',', '\0', '\r']) || name.starts_with(['+', '-', '#']) {
        return false;
    }
    table.numbers(field::ID);
    table.name_of(0);
    let there = good(table.line(&name)).flatten().is_some();
    good(table.id(&name));
    let before: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();

    for index in 1..file.width() {
        let mut changed = table.clone();
        if good(changed.set(&name, index, value)).is_none() {
            assert_eq!(changed.to_bytes(), bytes, "a refusal changes nothing");
            continue;
        }
        assert!(there);
        assert_eq!(changed.field(&name, index).unwrap(), Some(value));
        let after = changed.to_bytes();
        let after: Vec<&[u8]> = after.split(|byte| *byte == b'\n').collect();
        assert_eq!(before.len(), after.len(), "no line comes or goes");
        assert!(before.iter().zip(&after).filter(|(one, other)| one != other).count() <= 1, "another line is changed");
    }
    let mut grown = table.clone();
    let fields = vec![name.as_bytes(); file.width()];
    if good(grown.append(&fields)).is_some() {
        assert!(good(grown.line(&name)).flatten().is_some() || table.line(&name).is_err());
        let after = grown.to_bytes();
        assert_eq!(
            after.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
            before.iter().filter(|line| !line.is_empty()).count() + 1
        );
        if !there && table.line(&name).is_ok() {
            grown.remove(&name).unwrap();
            assert_eq!(grown.to_bytes().trim_ascii_end(), bytes.trim_ascii_end(), "added and removed is nothing");
        }
    }
    if matches!(file, AccountFile::Group | AccountFile::Gshadow) && there {
        let mut group = table.clone();
        let was = table.members(&name).unwrap();
        if group.join(&name, "somebody-new").unwrap() {
            assert_eq!(group.members(&name).unwrap().last().map(String::as_str), Some("somebody-new"));
            assert_eq!(group.members(&name).unwrap().len(), was.len() + 1);
        }
        group.leave(&name, "somebody-new").unwrap();
        assert!(!group.members(&name).unwrap().iter().any(|member| member == "somebody-new"));
    }
    there
}

pub fn state(data: &[u8]) -> bool {
    let Some(state) = good(State::from_bytes(data)) else { return false };
    let written = state.to_bytes().expect("not larger than what was read");
    let again = State::from_bytes(&written).expect("what we write");
    assert_eq!(again, state);
    assert_eq!(again.to_bytes().unwrap(), written, "the same memory is the same bytes");
    state.current().is_some()
}

pub fn status(data: &[u8]) -> bool {
    let Some(status) = good(Status::from_json(data)) else { return false };
    assert_eq!(Status::from_json(&status.to_json()).expect("what we write"), status);
    let ready = status.ready.iter().map(|ready| ready.line());
    for line in ready.chain([status.line()]) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    true
}

/// A guest whose journal is the input, beside a directory that a link in it leads to.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        // In memory where there is such a place: each flush would wait for a disk.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let scratch = base.join(format!("handoff-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        let guest = scratch.join("guest");
        for directory in ["var/lib/handoff/objects", "etc/deep", "run"] {
            fs::create_dir_all(guest.join(directory)).unwrap();
        }
        fs::create_dir(scratch.join("outside")).unwrap();
        fs::write(scratch.join("outside/precious"), "precious").unwrap();
        fs::write(scratch.join("outside/.handoff-0001.new"), "precious too").unwrap();
        fs::write(guest.join("etc/hostname"), "old\n").unwrap();
        fs::write(guest.join("etc/.handoff-0001.new"), "new\n").unwrap();
        symlink("old", guest.join("etc/.handoff-0002.new")).unwrap();
        symlink("../outside", guest.join("out")).unwrap();
        symlink(scratch.join("outside"), guest.join("etc/out")).unwrap();
        Scratch(scratch)
    }

    fn outside(&self) -> [Option<Vec<u8>>; 2] {
        ["precious", ".handoff-0001.new"].map(|name| fs::read(self.0.join("outside").join(name)).ok())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The start after an interrupted commit, with this journal.
pub fn journal(data: &[u8]) -> bool {
    let scratch = Scratch::new();
    let guest = scratch.0.join("guest");
    fs::write(guest.join("var/lib/handoff/journal.json"), data).unwrap();
    let root = Root::open(&guest).unwrap();
    assert!(commit::interrupted(&root).unwrap());
    let outside = scratch.outside();
    let recovered = good(commit::recover(&root)).is_some();
    if recovered {
        assert!(!commit::interrupted(&root).unwrap(), "recovered, and still interrupted");
        assert_eq!(commit::recover(&root).unwrap(), commit::Recovery::Nothing);
    } else {
        // A second start tells the same, and does not get any further.
        good(commit::recover(&root));
    }
    assert_eq!(scratch.outside(), outside, "something outside of the guest is changed");
    assert_eq!(fs::read_dir(scratch.0.join("outside")).unwrap().count(), 2);
    recovered
}
