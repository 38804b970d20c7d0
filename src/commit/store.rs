//! Where a guest keeps what it remembers, below `/var/lib/handoff`, and how `state.json` is read and written.
//!
//! ```text
//! /var/lib/handoff/                mode 0700
//!   state.json                     the memory, see [`State`]
//!   journal.json                   only while a commit is under way, or was interrupted
//!   generations/7/…                the settings of generation 7
//!   objects/<sha256>               contents of replaced and of hand-edited files
//! ```

use super::state::{State, Trace};
use crate::document::{self, At, Format, Writer};
use crate::error::{Error, Result};
use crate::guest::{File, GuestPath, MAX_GUEST_FILE, Node, View};
use crate::trust::Digest;

/// The directory of all that is remembered.
pub const DIRECTORY: &str = "/var/lib/handoff";
/// The memory.
pub const STATE: &str = "/var/lib/handoff/state.json";
/// The journal of a commit.
pub const JOURNAL: &str = "/var/lib/handoff/journal.json";

/// The contents of replaced and of hand-edited files, see [`object_path`].
pub const OBJECTS: &str = "/var/lib/handoff/objects";
/// The settings of the kept generations, see [`generation_directory`].
pub const GENERATIONS: &str = "/var/lib/handoff/generations";

/// The version of the format of `state.json` that this program reads and writes.
pub const VERSION: u32 = 1;

/// The memory as a document. Errors tell the place alone.
const FORMAT: Format = Format {
    name: STATE,
    depth: Format::DEPTH,
    items: Format::OWN,
    values: Format::OWN,
    error: |fault| broken(&format!("is damaged{}", fault.shown_place())),
};

/// The directory of one generation.
pub fn generation_directory(generation: u64) -> GuestPath {
    GuestPath::of(&format!("{GENERATIONS}/{generation}"))
}

/// The file that holds a content, by the SHA-256 of that content in 64 lower-case hexadecimal digits.
///
/// # Errors
/// The text is no such digest.
pub fn object_path(sha256: &str) -> Result<GuestPath> {
    if sha256.len() != 64 || !sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(broken("holds something else where the SHA-256 of a file is expected"));
    }
    GuestPath::parse(&format!("{OBJECTS}/{sha256}"))
}

/// What stood at a path before it was ours, from its trace and the contents that are kept.
///
/// # Errors
/// The content is missing or damaged.
pub fn replaced(guest: &dyn View, path: &GuestPath, trace: &Trace) -> Result<Option<Node>> {
    Ok(match trace {
        Trace::Absent => None,
        Trace::Link { target } => Some(Node::link(target.clone())),
        Trace::Directory { mode, owner } => Some(Node::Directory { mode: *mode, owner: *owner }),
        Trace::File { sha256, mode, owner } => {
            let object = object_path(sha256)?;
            let content = guest.read(&object)?.filter(|content| Digest::of(content).hex() == *sha256);
            let Some(content) = content else {
                return Err(Error::not_applied(
                    path,
                    format_args!("what it replaced cannot be given back: {object} is missing or damaged"),
                    "restore that file from a backup, or keep the path in the settings",
                ));
            };
            Some(Node::File(File { content, mode: *mode, owner: *owner }))
        }
    })
}

impl State {
    /// Reads the memory of a guest. A guest without one never had settings.
    ///
    /// # Errors
    /// It cannot be read; is not what this version writes; was written by a newer version.
    pub fn load(guest: &dyn View) -> Result<State> {
        match guest.read(&GuestPath::of(STATE))? {
            None => Ok(State { version: VERSION, ..State::default() }),
            Some(bytes) => State::from_bytes(&bytes),
        }
    }

    /// Reads the text of `state.json`.
    ///
    /// # Errors
    /// As for [`State::load`]. The text itself is never shown, because it holds password hashes.
    pub fn from_bytes(bytes: &[u8]) -> Result<State> {
        let document = document::read(bytes, &FORMAT)?;
        let at = At::document(&document, &FORMAT);
        // The version comes first: what else stands in the file of another program, nobody here can judge.
        let version: u32 = at.required("version", |at| at.number())?;
        if version != VERSION {
            return Err(Error::not_applied(
                STATE,
                format_args!("has version {version} of its format, and this program knows version {VERSION}"),
                "run the version of handoff-agent that wrote it, or a newer one",
            ));
        }
        State::read(&at)
    }

    /// The text of `state.json`: the same bytes for the same memory.
    ///
    /// # Errors
    /// It would be larger than what is read.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let current = State { version: VERSION, ..self.clone() };
        let bytes = Writer::indented(|writer| current.write(writer));
        if bytes.len() > MAX_GUEST_FILE {
            return Err(Error::not_applied(STATE, "would be larger than 8 MiB", "manage fewer paths and accounts"));
        }
        Ok(bytes)
    }
}

fn broken(problem: &str) -> Error {
    Error::not_applied(
        STATE,
        problem,
        "restore it from a copy; without it, remove it and the guest takes settings as if for the first time",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::state::{
        Change, Changes, Committed, Kept, Owned, OwnedGroup, OwnedUser, SerialMark, Standing, Trial,
    };
    use crate::guest::{Owner, Tree};

    fn example() -> State {
        let mut state = State { version: VERSION, generation: 3, ..State::default() };
        let ours = Trace::File { sha256: "0".repeat(64), mode: 0o644, owner: Owner::ROOT };
        state.owned.insert(GuestPath::of("/etc/motd"), Owned { ours, replaced: Trace::Absent });
        let user = OwnedUser { uid: 7, shadow_before: Some("ops:$y$SECRET:1::::::".into()), ..OwnedUser::default() };
        state.accounts.users.insert("ops".into(), user);
        state
    }

    #[test]
    fn a_memory_is_read_as_it_was_written() {
        let bytes = example().to_bytes().unwrap();
        let tree = Tree::new().with(STATE, std::str::from_utf8(&bytes).unwrap());
        assert_eq!(State::load(&tree).unwrap(), example());
        assert_eq!(State::load(&Tree::new()).unwrap().generation, 0);
    }

    #[test]
    fn a_memory_that_knows_of_no_trial_is_that_of_a_good_generation() {
        let text = String::from_utf8(example().to_bytes().unwrap()).unwrap();
        let old = text.replace("  \"trial\": null,\n", "");
        assert_ne!(old, text);
        assert_eq!(State::from_bytes(old.as_bytes()).unwrap().good(), Some(3));
        let state = State { trial: Some(Trial { attempt: 1, good: None }), ..example() };
        assert_eq!((state.good(), State::default().good()), (None, None));
    }

    #[test]
    fn a_damaged_memory_is_an_error_that_shows_no_secret() {
        let text = String::from_utf8(example().to_bytes().unwrap()).unwrap();
        for damaged in [
            text[..text.len() / 2].to_owned(),
            text.replace("\"uid\": 7", "\"uid\": \"$y$SECRET\""),
            text.replace("generation", "generations"),
            text.replace("/etc/motd", "/etc/../$y$SECRET"),
            String::new(),
        ] {
            let error = State::from_bytes(damaged.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("/var/lib/handoff/state.json: is damaged (line "), "{error}");
            assert!(!error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_memory_of_20_000_paths_is_read_as_it_was_written() {
        let mut state = example();
        let owned = state.owned.values().next().unwrap().clone();
        for number in 0..20_000 {
            state.owned.insert(GuestPath::of(&format!("/srv/{number}")), owned.clone());
        }
        let bytes = state.to_bytes().unwrap();
        assert!(State::from_bytes(&bytes).unwrap() == state);
    }

    #[test]
    fn a_memory_too_large_to_be_read_again_is_not_written() {
        let mut state = example();
        state.rejected.insert("sha256:0".into(), "x".repeat(MAX_GUEST_FILE));
        assert!(state.to_bytes().unwrap_err().problem().contains("8 MiB"));
    }

    #[test]
    fn every_kind_of_thing_and_every_text_is_read_as_it_was_written() {
        let awkward = "\0\t\n\"\\\u{7f}é\u{2028}";
        let mut state = State { version: VERSION, identity: Some(awkward.into()), ..State::default() };
        let committed = |instance: Option<&str>, serial| Committed {
            digest: "sha256:0".into(),
            instance: instance.map(str::to_owned),
            serial,
            authority: awkward.into(),
            time: 7,
            source: Some(awkward.into()),
            standing: Some(Standing::Trial),
            left: Some(awkward.into()),
            changes: Some(Changes {
                created: u64::MAX,
                changed: 1,
                removed: 0,
                paths: [(GuestPath::of("/é"), Change::Created), (GuestPath::of("/x"), Change::Removed)].into(),
            }),
        };
        state.history.insert(0, committed(None, None));
        state.history.insert(u64::MAX, committed(Some(awkward), Some(u64::MAX)));
        state.serials.insert(awkward.into(), SerialMark { serial: 1, digest: "sha256:0".into() });
        state.rejected.insert(awkward.into(), awkward.into());
        let traces = [
            Trace::Absent,
            Trace::Link { target: awkward.into() },
            Trace::Directory { mode: 0o7777, owner: Owner { uid: u32::MAX, gid: 1 } },
            Trace::File { sha256: "0".into(), mode: 0, owner: Owner::ROOT },
        ];
        for (number, ours) in traces.iter().enumerate() {
            for replaced in traces.clone() {
                let path = GuestPath::of(&format!("/{number}/{replaced:?}"));
                state.owned.insert(path, Owned { ours: ours.clone(), replaced });
            }
        }
        let user = OwnedUser {
            uid: 1,
            passwd_before: Some(awkward.into()),
            shadow_before: None,
            passwd_ours: awkward.into(),
            shadow_ours: awkward.into(),
            joined: vec![awkward.into(), String::new()],
        };
        state.accounts.users.insert(awkward.into(), user);
        state.accounts.groups.insert("g".into(), OwnedGroup { gid: 1, created: true });
        state.trial = Some(Trial { attempt: u32::MAX, good: Some(u64::MAX) });
        state.kept.push(Kept { path: GuestPath::of("/k"), sha256: "0".into(), generation: 1 });
        assert_eq!(State::from_bytes(&state.to_bytes().unwrap()).unwrap(), state);
    }

    #[test]
    fn what_the_memory_cannot_mean_is_refused() {
        let text = String::from_utf8(example().to_bytes().unwrap()).unwrap();
        assert!(State::from_bytes(text.as_bytes()).is_ok());
        for (from, to) in [
            ("\"absent\"", "\"present\""),
            ("\"absent\"", "{}"),
            ("\"absent\"", "{\"pipe\": {}}"),
            ("\"file\"", "\"link\""),
            ("\"generation\": 3", "\"generation\": -3"),
            ("\"generation\": 3", "\"generation\": 3, \"generation\": 3"),
            ("\"uid\": 7", "\"uid\": 4294967296"),
            ("\"history\": {}", "\"history\": {\"03\": {}}"),
            ("\"identity\": null,", ""),
            ("\"kept\": []", "\"kept\": null"),
            ("\"trial\": null", "\"trial\": {\"attempt\": -1, \"good\": null}"),
        ] {
            let damaged = text.replace(from, to);
            assert_ne!(damaged, text, "{from}");
            assert!(State::from_bytes(damaged.as_bytes()).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn a_memory_of_a_newer_program_is_named_as_that() {
        let error = State::from_bytes(br#"{"version": 2, "surprise": true}"#).unwrap_err();
        assert!(error.problem().contains("version 2"), "{error}");
    }

    #[test]
    fn a_kept_content_is_given_back_whole_or_not_at_all() {
        let sha256 = Digest::of(b"as it was").hex();
        let object = object_path(&sha256).unwrap();
        let trace = Trace::File { sha256, mode: 0o640, owner: Owner::ROOT };
        let back = |tree: Tree| replaced(&tree, &GuestPath::of("/etc/motd"), &trace);
        let good = back(Tree::new().with(object.as_str(), "as it was"));
        assert_eq!(good.unwrap(), Some(Node::file("as it was", 0o640)));
        for tree in [Tree::new(), Tree::new().with(object.as_str(), "as it is")] {
            let error = back(tree).unwrap_err();
            assert!(error.object() == "/etc/motd" && error.problem().contains(object.as_str()), "{error}");
        }
    }

    #[test]
    fn a_digest_cannot_lead_out_of_the_objects() {
        assert!(object_path(&"ab".repeat(32)).is_ok());
        for wrong in ["", "..", "../../../etc/shadow", &"AB".repeat(32), &"a/".repeat(32)] {
            assert!(object_path(wrong).is_err(), "{wrong}");
        }
        assert_eq!(generation_directory(7).as_str(), "/var/lib/handoff/generations/7");
    }
}
