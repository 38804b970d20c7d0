//! How [`State`] stands in `state.json`: each type with the function that writes it and the one that reads it.

use super::state::{
    Accounts, Change, Changes, Committed, Kept, Owned, OwnedGroup, OwnedUser, SerialMark, Standing, State, Trace, Trial,
};
use crate::document::{At, Writer};
use crate::error::Result;
use crate::guest::{GuestPath, Owner};

const STANDINGS: [(&str, Standing); 3] =
    [("untried", Standing::Untried), ("trial", Standing::Trial), ("good", Standing::Good)];

const CHANGES: [(&str, Change); 3] =
    [("created", Change::Created), ("changed", Change::Changed), ("removed", Change::Removed)];

impl State {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("version").number(self.version);
            w.key("generation").number(self.generation);
            let history = self.history.iter().map(|(number, committed)| (number.to_string(), committed));
            w.key("history").map(history, |w, committed| committed.write(w));
            w.key("serials").map(&self.serials, |w, mark| {
                w.table(|w| {
                    w.key("serial").number(mark.serial);
                    w.key("digest").text(&mark.digest);
                });
            });
            w.key("identity").nullable(self.identity.as_deref(), Writer::text);
            w.key("owned").map(self.owned.iter().map(|(path, owned)| (path.as_str(), owned)), |w, owned| {
                w.table(|w| {
                    owned.ours.write(w.key("ours"));
                    owned.replaced.write(w.key("replaced"));
                });
            });
            w.key("accounts").table(|w| {
                w.key("users").map(&self.accounts.users, |w, user| user.write(w));
                w.key("groups").map(&self.accounts.groups, |w, group| {
                    w.table(|w| {
                        w.key("gid").number(group.gid);
                        w.key("created").boolean(group.created);
                    });
                });
            });
            w.key("trial").nullable(self.trial, |w, trial| trial.write(w));
            w.key("rejected").map(&self.rejected, |w, reason| w.text(reason));
            w.key("kept").list(&self.kept, |w, kept| kept.write(w));
        });
    }

    pub(super) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&[
            "version",
            "generation",
            "history",
            "serials",
            "identity",
            "owned",
            "accounts",
            "trial",
            "rejected",
            "kept",
        ])?;
        let same = |key: &str| Some(key.to_owned());
        Ok(State {
            version: table.required("version", |at| at.number())?,
            generation: table.required("generation", |at| at.number())?,
            history: table.required("history", |at| at.map(generation, Committed::read))?,
            serials: table.required("serials", |at| at.map(same, read_serial_mark))?,
            identity: table.required("identity", |at| at.nullable(text))?,
            owned: table.required("owned", |at| at.map(|key| GuestPath::parse(key).ok(), read_owned))?,
            accounts: table.required("accounts", |at| {
                let table = at.table(&["users", "groups"])?;
                Ok(Accounts {
                    users: table.required("users", |at| at.map(same, OwnedUser::read))?,
                    groups: table.required("groups", |at| at.map(same, read_owned_group))?,
                })
            })?,
            // Who wrote none knew of none: what was committed then is taken for good.
            trial: table.optional("trial", |at| at.nullable(Trial::read))?.flatten(),
            rejected: table.required("rejected", |at| at.map(same, text))?,
            kept: table.required("kept", |at| at.list(0..=usize::MAX, |at| Kept::read(&at)))?,
        })
    }
}

/// Any text.
pub(super) fn text(at: &At<'_>) -> Result<String> {
    at.raw_text().map(str::to_owned)
}

/// The number of a generation, in the one form in which it is written.
fn generation(key: &str) -> Option<u64> {
    key.parse().ok().filter(|number: &u64| number.to_string() == key)
}

impl Committed {
    /// Writes it as a table.
    pub fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("digest").text(&self.digest);
            w.key("instance").nullable(self.instance.as_deref(), Writer::text);
            w.key("serial").nullable(self.serial, Writer::number);
            w.key("authority").text(&self.authority);
            w.key("time").number(self.time);
            w.key("source").nullable(self.source.as_deref(), Writer::text);
            w.key("standing").nullable(self.standing, |w, standing| w.word(&STANDINGS, standing));
            w.key("left").nullable(self.left.as_deref(), Writer::text);
            w.key("changes").nullable(self.changes.as_ref(), |w, changes| changes.write(w));
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        let table =
            at.table(&["digest", "instance", "serial", "authority", "time", "source", "standing", "left", "changes"])?;
        Ok(Committed {
            digest: table.required("digest", |at| text(&at))?,
            instance: table.required("instance", |at| at.nullable(text))?,
            serial: table.required("serial", |at| at.nullable(At::number))?,
            authority: table.required("authority", |at| text(&at))?,
            time: table.required("time", |at| at.number())?,
            source: table.optional("source", |at| at.nullable(text))?.flatten(),
            standing: table.optional("standing", |at| at.nullable(|at| at.word(&STANDINGS)))?.flatten(),
            left: table.optional("left", |at| at.nullable(text))?.flatten(),
            changes: table.optional("changes", |at| at.nullable(Changes::read))?.flatten(),
        })
    }
}

impl Changes {
    fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("created").number(self.created);
            w.key("changed").number(self.changed);
            w.key("removed").number(self.removed);
            let paths = self.paths.iter().map(|(path, change)| (path.as_str(), *change));
            w.key("paths").map(paths, |w, change| w.word(&CHANGES, change));
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["created", "changed", "removed", "paths"])?;
        Ok(Changes {
            created: table.required("created", |at| at.number())?,
            changed: table.required("changed", |at| at.number())?,
            removed: table.required("removed", |at| at.number())?,
            paths: table.required("paths", |at| at.map(|key| GuestPath::parse(key).ok(), |at| at.word(&CHANGES)))?,
        })
    }
}

impl Change {
    /// What became of the path, in one word.
    pub fn word(self) -> &'static str {
        CHANGES.iter().find(|(_, change)| *change == self).map_or("", |(word, _)| word)
    }
}

impl Trial {
    /// Writes it as a table.
    pub fn write(self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("attempt").number(self.attempt);
            w.key("good").nullable(self.good, Writer::number);
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["attempt", "good"])?;
        Ok(Trial {
            attempt: table.required("attempt", |at| at.number())?,
            good: table.required("good", |at| at.nullable(At::number))?,
        })
    }
}

fn read_serial_mark(at: &At<'_>) -> Result<SerialMark> {
    let table = at.table(&["serial", "digest"])?;
    Ok(SerialMark {
        serial: table.required("serial", |at| at.number())?,
        digest: table.required("digest", |at| text(&at))?,
    })
}

fn read_owned(at: &At<'_>) -> Result<Owned> {
    let table = at.table(&["ours", "replaced"])?;
    Ok(Owned {
        ours: table.required("ours", |at| Trace::read(&at))?,
        replaced: table.required("replaced", |at| Trace::read(&at))?,
    })
}

fn read_owned_group(at: &At<'_>) -> Result<OwnedGroup> {
    let table = at.table(&["gid", "created"])?;
    Ok(OwnedGroup {
        gid: table.required("gid", |at| at.number())?,
        created: table.required("created", |at| at.boolean())?,
    })
}

impl Trace {
    fn write(&self, writer: &mut Writer) {
        let (kind, mode, owner) = match self {
            Trace::Absent => return writer.text("absent"),
            Trace::File { mode, owner, .. } => ("file", Some(*mode), Some(owner)),
            Trace::Link { .. } => ("link", None, None),
            Trace::Directory { mode, owner } => ("directory", Some(*mode), Some(owner)),
        };
        writer.table(|w| {
            w.key(kind).table(|w| {
                match self {
                    Trace::File { sha256, .. } => w.key("sha256").text(sha256),
                    Trace::Link { target } => w.key("target").text(target),
                    _ => {}
                }
                if let (Some(mode), Some(owner)) = (mode, owner) {
                    w.key("mode").number(mode);
                    owner.write(w.key("owner"));
                }
            });
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        if at.raw_text().is_ok() {
            return at.word(&[("absent", ())]).map(|()| Trace::Absent);
        }
        match at.variant()? {
            ("file", at) => {
                let table = at.table(&["sha256", "mode", "owner"])?;
                Ok(Trace::File {
                    sha256: table.required("sha256", |at| text(&at))?,
                    mode: table.required("mode", |at| at.number())?,
                    owner: table.required("owner", |at| Owner::read(&at))?,
                })
            }
            ("link", at) => {
                let table = at.table(&["target"])?;
                Ok(Trace::Link { target: table.required("target", |at| text(&at))? })
            }
            ("directory", at) => {
                let table = at.table(&["mode", "owner"])?;
                Ok(Trace::Directory {
                    mode: table.required("mode", |at| at.number())?,
                    owner: table.required("owner", |at| Owner::read(&at))?,
                })
            }
            _ => at.refuse("is no kind of thing that stands at a path", "write file, link or directory"),
        }
    }
}

impl Owner {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("uid").number(self.uid);
            w.key("gid").number(self.gid);
        });
    }

    pub(super) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["uid", "gid"])?;
        Ok(Owner { uid: table.required("uid", |at| at.number())?, gid: table.required("gid", |at| at.number())? })
    }
}

impl OwnedUser {
    fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("uid").number(self.uid);
            w.key("passwd_before").nullable(self.passwd_before.as_deref(), Writer::text);
            w.key("shadow_before").nullable(self.shadow_before.as_deref(), Writer::text);
            w.key("passwd_ours").text(&self.passwd_ours);
            w.key("shadow_ours").text(&self.shadow_ours);
            w.key("joined").list(&self.joined, |w, group| w.text(group));
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["uid", "passwd_before", "shadow_before", "passwd_ours", "shadow_ours", "joined"])?;
        Ok(OwnedUser {
            uid: table.required("uid", |at| at.number())?,
            passwd_before: table.required("passwd_before", |at| at.nullable(text))?,
            shadow_before: table.required("shadow_before", |at| at.nullable(text))?,
            passwd_ours: table.required("passwd_ours", |at| text(&at))?,
            shadow_ours: table.required("shadow_ours", |at| text(&at))?,
            joined: table.required("joined", |at| at.list(0..=usize::MAX, |at| text(&at)))?,
        })
    }
}

impl Kept {
    /// Writes it as a table.
    pub fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("path").text(self.path.as_str());
            w.key("sha256").text(&self.sha256);
            w.key("generation").number(self.generation);
        });
    }

    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["path", "sha256", "generation"])?;
        Ok(Kept {
            path: table.required("path", |at| at.guest_path())?,
            sha256: table.required("sha256", |at| text(&at))?,
            generation: table.required("generation", |at| at.number())?,
        })
    }
}
