//! What a guest remembers of its settings between two boots: `/var/lib/handoff/state.json`, readable by root only.

use crate::guest::{GuestPath, Owner};
use std::collections::BTreeMap;

/// The whole memory. The default is a guest that never had settings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// The version of this format, 1.
    pub version: u32,
    /// The number of the committed generation; 0 for none.
    pub generation: u64,
    /// The settings of the generations that are kept, by number; the current one is [`State::current`].
    pub history: BTreeMap<u64, Committed>,
    /// For each instance id that was ever committed here, its highest serial and the settings that had it.
    pub serials: BTreeMap<String, SerialMark>,
    /// The instance id for which this guest's identity (machine-id, SSH host keys) was made.
    pub identity: Option<String>,
    /// The paths that are ours, with what they replaced.
    pub owned: BTreeMap<GuestPath, Owned>,
    /// The accounts and groups that are ours.
    pub accounts: Accounts,
    /// While the current generation has not been seen to work. `None`: it is the last good one.
    pub trial: Option<Trial>,
    /// Settings that must not be taken again, by digest (`sha256:…`), with the reason.
    pub rejected: BTreeMap<String, String>,
    /// Hand-edited files that settings overwrote, the newest last.
    pub kept: Vec<Kept>,
}

impl State {
    /// The settings of the current generation; `None` for a guest that never had any.
    pub fn current(&self) -> Option<&Committed> {
        self.history.get(&self.generation)
    }

    /// The last generation that was seen to work, or never had to show it; `None` where there was none yet.
    pub fn good(&self) -> Option<u64> {
        match &self.trial {
            Some(trial) => trial.good,
            None => (self.generation > 0).then_some(self.generation),
        }
    }
}

/// The current generation has yet to show that the appliance gets ready with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trial {
    /// Which attempt this is; the commit began the first.
    pub attempt: u32,
    /// The last good generation before it; `None`: there was none yet.
    pub good: Option<u64>,
}

/// The settings of a generation, and what is known of it. Who committed before this program knew of one of the options
/// recorded none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Committed {
    /// SHA-256 of `settings.json`, as `sha256:…`.
    pub digest: String,
    /// `instance.id`, where given.
    pub instance: Option<String>,
    /// `instance.serial`, where given.
    pub serial: Option<u64>,
    /// Who answers for them, for people.
    pub authority: String,
    /// Unix time of the commit, in seconds.
    pub time: u64,
    /// Where they came from, for people.
    pub source: Option<String>,
    /// Whether they were seen to work.
    pub standing: Option<Standing>,
    /// Why they were left for others; `None`: they were not, or for newer ones.
    pub left: Option<String>,
    /// What their commit changed.
    pub changes: Option<Changes>,
}

/// Whether a generation was seen to work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Nobody looks in this guest, or there was none yet when it was committed.
    Untried,
    /// It was on trial, and the trial has not come to a good end.
    Trial,
    /// The appliance got ready with it.
    Good,
}

/// The paths that a commit changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// How many were made.
    pub created: u64,
    /// How many were there, and are other now.
    pub changed: u64,
    /// How many were removed.
    pub removed: u64,
    /// The first of them, within [`Changes::MAX_PATHS`] and [`Changes::MAX_BYTES`].
    pub paths: BTreeMap<GuestPath, Change>,
}

impl Changes {
    /// How many paths are remembered of one generation.
    pub const MAX_PATHS: usize = 256;
    /// How many bytes these have together.
    pub const MAX_BYTES: usize = 16 << 10;
}

/// What became of one path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It was made.
    Created,
    /// It was there, and is other now.
    Changed,
    /// It was removed.
    Removed,
}

/// The highest serial of one instance id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SerialMark {
    /// The serial.
    pub serial: u64,
    /// SHA-256 of the settings that had it, as `sha256:…`.
    pub digest: String,
}

/// One path that is ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owned {
    /// What we left there.
    pub ours: Trace,
    /// What stood there before it was ours.
    pub replaced: Trace,
}

/// What stood at a path. File contents lie in `/var/lib/handoff/objects/`, named by their digest, where they are needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trace {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// SHA-256 of its content, hexadecimal.
        sha256: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// A link.
    Link {
        /// Its target.
        target: String,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
}

/// Accounts and groups that the settings made or changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Accounts {
    /// By user name.
    pub users: BTreeMap<String, OwnedUser>,
    /// By group name.
    pub groups: BTreeMap<String, OwnedGroup>,
}

/// One user whom the settings speak of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnedUser {
    /// The numeric id.
    pub uid: u32,
    /// For a user who was there before: the line of `passwd` then. `None`: we made this user.
    pub passwd_before: Option<String>,
    /// The line of `shadow` then.
    pub shadow_before: Option<String>,
    /// The fields of the line of `passwd` as we left them: one that differs now was changed by somebody else since.
    pub passwd_ours: String,
    /// The same for the line of `shadow`.
    pub shadow_ours: String,
    /// Groups that this user joined through us (not those it was in before).
    pub joined: Vec<String>,
}

/// One group that the settings speak of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnedGroup {
    /// The numeric id.
    pub gid: u32,
    /// Whether we made it.
    pub created: bool,
}

/// A hand-edited file that settings overwrote. Its text lies in `/var/lib/handoff/objects/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Where it stood.
    pub path: GuestPath,
    /// SHA-256 of the edited text, hexadecimal.
    pub sha256: String,
    /// The generation that overwrote it.
    pub generation: u64,
}
