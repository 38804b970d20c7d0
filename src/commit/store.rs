//! Where a guest keeps what it remembers, below `/var/lib/handoff`, and how `state.json` is read and written.
//!
//! ```text
//! /var/lib/handoff/                mode 0700
//!   state.json                     the memory, see [`State`]
//!   journal.json                   only while a commit is under way, or was interrupted
//!   generations/7/…                the settings of generation 7
//!   objects/<sha256>               contents of replaced and of hand-edited files
//! ```

use super::state::State;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, View};
use serde::Deserialize;

/// The directory of all that is remembered.
pub const DIRECTORY: &str = "/var/lib/handoff";
/// The memory.
pub const STATE: &str = "/var/lib/handoff/state.json";
/// The journal of a commit.
pub const JOURNAL: &str = "/var/lib/handoff/journal.json";

/// The version of the format of `state.json` that this program reads and writes.
pub const VERSION: u32 = 1;

/// The directory of one generation.
pub fn generation_directory(generation: u64) -> GuestPath {
    GuestPath::of(&format!("{DIRECTORY}/generations/{generation}"))
}

/// The file that holds a content, by the SHA-256 of that content in 64 lower-case hexadecimal digits.
///
/// # Errors
/// The text is no such digest.
pub fn object_path(sha256: &str) -> Result<GuestPath> {
    if sha256.len() != 64 || !sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(broken("holds something else where the SHA-256 of a file is expected"));
    }
    GuestPath::parse(&format!("{DIRECTORY}/objects/{sha256}"))
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
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let place = |error: serde_json::Error| {
            broken(&format!("is damaged (line {}, column {})", error.line(), error.column()))
        };
        let Format { version } = serde_json::from_slice(bytes).map_err(place)?;
        if version != VERSION {
            return Err(Error::not_applied(
                STATE,
                format_args!("has version {version} of its format, and this program knows version {VERSION}"),
                "run the version of handoff-agent that wrote it, or a newer one",
            ));
        }
        serde_json::from_slice(bytes).map_err(place)
    }

    /// The text of `state.json`: the same bytes for the same memory.
    ///
    /// # Errors
    /// None that is known: a bug.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let current = State { version: VERSION, ..self.clone() };
        let mut bytes = serde_json::to_vec_pretty(&current)
            .map_err(|error| Error::new(crate::error::Class::Bug, STATE, error, "report it"))?;
        bytes.push(b'\n');
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
    use crate::commit::state::{Owned, OwnedUser, Trace};
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
    fn a_memory_of_a_newer_program_is_named_as_that() {
        let error = State::from_bytes(br#"{"version": 2, "surprise": true}"#).unwrap_err();
        assert!(error.problem().contains("version 2"), "{error}");
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
