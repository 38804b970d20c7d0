//! The hand that changes the guest: every system call of a commit that changes something is made here.

use super::engine::Report;
use super::journal::{self, Entry, Journal, Phase};
use super::store;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node, Owner, View as _};
use crate::plan::Step;
use crate::platform::Flush;
use crate::platform::files::{self, SystemError};
use crate::root::{Root, is_in_the_way};
use crate::trust::Digest;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

/// Sees every change before it is made. What it returns instead is taken for the answer of the system.
pub(super) type Observer<'a> = &'a mut dyn FnMut() -> Result<(), SystemError>;

/// What makes changes. Every system call that changes the guest goes through here.
pub(super) struct Hand<'a> {
    pub(super) root: &'a Root,
    observer: Observer<'a>,
    flush: Flush,
}

impl<'a> Hand<'a> {
    /// A hand on this guest.
    pub(super) fn new(root: &'a Root, observer: Observer<'a>) -> Self {
        Hand { root, observer, flush: Flush::default() }
    }

    /// A change is about to be made.
    pub(super) fn effect(&mut self) -> Result<(), SystemError> {
        (self.observer)()
    }

    /// The directory that holds a path which is about to be changed.
    pub(super) fn parent(&self, path: &GuestPath) -> Result<(OwnedFd, String)> {
        self.root.open_parent(path)?.ok_or_else(|| {
            Error::not_applied(path, "cannot be written: its directory does not exist", "make the directory first")
        })
    }

    /// Makes `/var/lib/handoff`, and refuses one that somebody else could change.
    pub(super) fn make_own_directory(&mut self) -> Result<()> {
        let own = GuestPath::of(store::DIRECTORY);
        let mut way: Vec<GuestPath> = std::iter::successors(Some(own.clone()), GuestPath::parent).collect();
        way.pop(); // the root itself
        for path in way.into_iter().rev() {
            // Above our own directory a link is welcome: `/var` may be one. Looking through it is looking for a name in it.
            if self.root.kind(&path)? == Some(Kind::Directory) {
                continue;
            }
            let (directory, name) = self.parent(&path)?;
            let mode = if path == own { 0o700 } else { 0o755 };
            self.make_directory(&directory, &name, mode, Owner::ROOT)
                .and_then(|()| self.flush_now(&directory))
                .map_err(|error| failed(&path, "made", error))?;
        }
        let trusted = match self.root.stat(&own)? {
            Some(stat) if stat.kind == Kind::Directory => {
                !self.root.compares_owners() || (stat.owner.uid == 0 && stat.mode & 0o022 == 0)
            }
            _ => false,
        };
        if trusted {
            return Ok(());
        }
        Err(Error::not_applied(own, "is not a directory that only root can write", "give it to root, mode 0700"))
    }

    fn make_directory(&mut self, directory: &OwnedFd, name: &str, mode: u32, owner: Owner) -> Result<(), SystemError> {
        self.effect()?;
        files::make_directory_at(directory, name)?;
        self.flush.directory(directory)?;
        let made = files::open_directory_at(directory, name)?;
        self.set_attributes(&made, mode, owner)?;
        self.flush.directory(&made)
    }

    /// Owner first, because a change of owner takes bits of the mode away.
    fn set_attributes(&mut self, file: &OwnedFd, mode: u32, owner: Owner) -> Result<(), SystemError> {
        if self.root.compares_owners() {
            self.effect()?;
            files::set_owner(file, owner)?;
        }
        self.effect()?;
        // A list that a user's directory hands down would let in whom the mode lets in, and more. Until here the mode of what
        // is new lets nobody in.
        files::remove_access_lists(file)?;
        files::set_mode(file, mode)
    }

    fn flush_now(&mut self, file: &OwnedFd) -> Result<(), SystemError> {
        self.effect()?;
        files::flush(file)
    }

    fn flush_all(&mut self) -> Result<()> {
        self.effect().and_then(|()| self.flush.flush()).map_err(|error| {
            Error::not_applied(
                "the guest's file systems",
                format_args!("cannot be flushed: {}", io::Error::from(error)),
                "look at the disks they lie on",
            )
        })
    }

    /// Puts the journal, whole, in place of an earlier one.
    pub(super) fn write_journal(&mut self, journal: &Journal) -> Result<()> {
        let bytes = journal.to_bytes()?;
        let path = GuestPath::of(store::JOURNAL);
        let (directory, name) = self.parent(&path)?;
        let new = format!("{name}.new");
        let mut write = || {
            let file = self.create(&directory, &new)?;
            let file = self.write(file, &bytes)?;
            self.flush_now(&file)?;
            self.effect()?;
            files::rename_at(&directory, &new, &name)?;
            self.flush_now(&directory)
        };
        write().map_err(|error| {
            // Nobody reads a journal under this name.
            let _ = files::remove_at(&directory, &new);
            failed(&path, "written", error)
        })
    }

    /// After a failure to write the journal of phase *commit*, which may be in its place all the same. It must be out of
    /// there before a staged name is: recovery would take the missing name for one that was renamed.
    pub(super) fn back_to_staging(&mut self, journal: &mut Journal) -> Result<()> {
        journal.phase = Phase::Staging;
        match Journal::load(self.root)? {
            Some(Journal { phase: Phase::Staging, .. }) => Ok(()),
            _ => self.write_journal(journal).or_else(|_| self.remove_journal()),
        }
    }

    /// Removes the journal, and one that was not finished.
    pub(super) fn remove_journal(&mut self) -> Result<()> {
        let path = GuestPath::of(store::JOURNAL);
        let (directory, name) = self.parent(&path)?;
        for name in [format!("{name}.new"), name] {
            if files::stat_at(&directory, &name).map_err(|error| failed(&path, "removed", error))?.is_some() {
                self.effect()
                    .and_then(|()| files::remove_at(&directory, &name))
                    .map_err(|error| failed(&path, "removed", error))?;
            }
        }
        self.flush_now(&directory).map_err(|error| failed(&path, "removed", error))
    }

    /// A new file. What stands under its name is a left-over, or was planted: such names are reserved for us.
    fn create(&mut self, directory: &OwnedFd, name: &str) -> Result<OwnedFd, SystemError> {
        self.effect()?;
        match files::create_file_at(directory, name) {
            Err(SystemError::EEXIST) => {
                files::remove_at(directory, name)?;
                files::create_file_at(directory, name)
            }
            created => created,
        }
    }

    fn write(&mut self, file: OwnedFd, content: &[u8]) -> Result<OwnedFd, SystemError> {
        self.effect()?;
        let mut file = File::from(file);
        match file.write_all(content) {
            Ok(()) => Ok(OwnedFd::from(file)),
            Err(error) => Err(SystemError::from_raw(error.raw_os_error().unwrap_or(SystemError::EIO as i32))),
        }
    }

    /// Makes the directories, writes everything new beside its place, and flushes it. What a user keeps from being staged
    /// is taken out of plan and journal, each with a warning.
    pub(super) fn stage(
        &mut self,
        plan: &mut Vec<&Step>,
        journal: &mut Journal,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let mut left_out = BTreeSet::new();
        let mut entries = journal.entries.iter();
        for step in plan.iter() {
            let path = step.path();
            let warning = if let Step::MakeDirectory { mode, owner, .. } = step {
                if journal::is_own(path) { None } else { self.stage_directory(path, *mode, *owner)? }
            } else {
                // Every other step has one entry, in the same order.
                let Some(entry) = entries.next() else { break };
                let content: &[u8] = match step {
                    Step::WriteFile { file, .. } | Step::SetAttributes { before: Node::File(file), .. } => {
                        &file.content
                    }
                    _ => &[],
                };
                self.stage_entry(entry, content)?
            };
            if let Some(warning) = warning {
                warnings.push(warning);
                left_out.insert(path.clone());
            }
        }
        self.flush_all()?;
        plan.retain(|step| !left_out.contains(step.path()));
        journal.entries.retain(|entry| !left_out.contains(entry.path()));
        Ok(())
    }

    /// A warning: a user has kept it from being made.
    fn stage_directory(&mut self, path: &GuestPath, mode: u32, owner: Owner) -> Result<Option<String>> {
        let Some((directory, name)) = self.parent_in_place(path)? else { return Ok(Some(gone(path))) };
        match self.make_directory(&directory, &name, mode, owner) {
            Ok(()) => Ok(None),
            Err(error) if self.is_spoilt(path, &directory, error) => Ok(Some(left_out(path, "made", error))),
            Err(error) => Err(failed(path, "made", error)),
        }
    }

    /// A warning: a user has kept it from being staged.
    fn stage_entry(&mut self, entry: &Entry, content: &[u8]) -> Result<Option<String>> {
        let path = entry.path();
        let Some(staged) = entry.staged() else { return Ok(None) };
        let Some((directory, _)) = self.parent_in_place(path)? else { return Ok(Some(gone(path))) };
        match self.stage_at(&directory, staged, entry, content) {
            Ok(()) => Ok(None),
            Err(error) if self.is_spoilt(path, &directory, error) => {
                Ok(Some(left_out(path, "written", error) + &taken_away(&directory, staged)))
            }
            Err(error) => Err(failed(path, "written", error)),
        }
    }

    fn stage_at(
        &mut self,
        directory: &OwnedFd,
        staged: &str,
        entry: &Entry,
        content: &[u8],
    ) -> Result<(), SystemError> {
        match entry {
            Entry::File { mode, owner, .. } => {
                let file = self.create(directory, staged)?;
                let file = self.write(file, content)?;
                self.set_attributes(&file, *mode, *owner)?;
                self.flush.file(&file)?;
            }
            Entry::Link { target, .. } => {
                self.effect()?;
                match files::make_link_at(directory, staged, target) {
                    Err(SystemError::EEXIST) => {
                        files::remove_at(directory, staged)?;
                        files::make_link_at(directory, staged, target)?;
                    }
                    made => made?,
                }
            }
            Entry::Directory { .. } | Entry::Remove { .. } | Entry::Empty { .. } => {}
        }
        self.flush.directory(directory)
    }

    /// Takes away everything staged and made, then the journal. Can be repeated.
    pub(super) fn discard(&mut self, journal: &Journal) -> Result<()> {
        for entry in &journal.entries {
            let Some(staged) = entry.staged() else { continue };
            // Its directory may be one that was never made.
            let Some((directory, _)) = self.parent_or_spoilt(entry.path())? else { continue };
            // A directory is not ours: only files and links are staged.
            match files::stat_at(&directory, staged) {
                Ok(Some(stat)) if stat.kind != Kind::Directory => {}
                Ok(_) => continue,
                Err(error) if self.is_spoilt(entry.path(), &directory, error) => continue,
                Err(error) => return Err(failed(entry.path(), "cleaned up after", error)),
            }
            self.noted(entry.path(), &directory)?;
            match self.effect().and_then(|()| files::remove_at(&directory, staged)) {
                Ok(()) | Err(SystemError::ENOENT) => {}
                Err(error) if self.is_spoilt(entry.path(), &directory, error) => {}
                Err(error) => return Err(failed(entry.path(), "cleaned up after", error)),
            }
        }
        for path in journal.made.iter().rev() {
            self.remove_directory(path)?;
        }
        self.flush_all()?;
        self.remove_journal()
    }

    /// Removes a directory if it is empty. Whether it is gone.
    fn remove_directory(&mut self, path: &GuestPath) -> Result<bool> {
        let Some((directory, name)) = self.parent_or_spoilt(path)? else { return Ok(true) };
        self.noted(path, &directory)?;
        match self.effect().and_then(|()| files::remove_directory_at(&directory, &name)) {
            Ok(()) | Err(SystemError::ENOENT) => Ok(true),
            // Not empty, by either name; no directory any more; mounted upon.
            Err(SystemError::ENOTEMPTY | SystemError::EEXIST | SystemError::ENOTDIR | SystemError::EBUSY) => Ok(false),
            Err(error) if self.is_spoilt(path, &directory, error) => Ok(false),
            Err(error) => Err(failed(path, "removed", error)),
        }
    }

    /// The directory that holds a path, and its name there. `None`: it is absent, or a user has put something in its way.
    ///
    /// What a user can do between two starts must not keep an interrupted commit from its end: no boot goes on without it.
    fn parent_or_spoilt(&self, path: &GuestPath) -> Result<Option<(OwnedFd, String)>> {
        match self.root.open_parent(path) {
            // A disk that fails is nobody's doing, and no reason to leave something out.
            Err(error) if !error.is_failure() && self.root.is_in_reach_of_users(path) => Ok(None),
            found => found,
        }
    }

    /// The directory in which something is to be staged. `None`: a user has put something in its way, or taken it away.
    fn parent_in_place(&self, path: &GuestPath) -> Result<Option<(OwnedFd, String)>> {
        match self.parent_or_spoilt(path)? {
            None if !self.root.is_in_reach_of_users(path) => self.parent(path).map(Some),
            found => Ok(found),
        }
    }

    /// Whether this answer of the system is one that a user of the guest has brought about, who may spoil what is in reach
    /// and nothing else.
    ///
    /// `EROFS` is one where the file system as a whole can be written: then it is a part of it, which on btrfs every user
    /// can make of a directory of the own and set read-only. A disk that became read-only refuses everything, the journal
    /// too, and is nobody's doing.
    fn is_spoilt(&self, path: &GuestPath, directory: &OwnedFd, error: SystemError) -> bool {
        let may_be_a_users = match error {
            SystemError::EROFS => files::is_on_read_only_file_system(directory) == Ok(false),
            error => is_in_the_way(error),
        };
        may_be_a_users && self.root.is_in_reach_of_users(path)
    }

    fn noted(&mut self, path: &GuestPath, directory: &OwnedFd) -> Result<()> {
        self.flush.directory(directory).map_err(|error| failed(path, "flushed", error))
    }

    /// Does what the journal says. Can be repeated: what is done already is found done.
    ///
    /// On an error also says how many entries were done before.
    pub(super) fn carry_out(&mut self, journal: &Journal) -> Result<Report, (usize, Error)> {
        let mut report = Report::default();
        for (done, entry) in journal.entries.iter().enumerate() {
            self.carry_out_one(entry, &mut report).map_err(|error| (done, error))?;
        }
        Ok(report)
    }

    fn carry_out_one(&mut self, entry: &Entry, report: &mut Report) -> Result<()> {
        let path = entry.path();
        let Some((directory, name)) = self.parent_or_spoilt(path)? else {
            if !matches!(entry, Entry::Remove { .. } | Entry::Empty { .. }) {
                report.warnings.push(gone(path));
            }
            return Ok(());
        };
        // Noted before it changes, so that nothing can fail between a change and its record.
        self.noted(path, &directory)?;
        match entry {
            Entry::File { staged, .. } | Entry::Link { staged, .. } => {
                match self.effect().and_then(|()| files::rename_at(&directory, staged, &name)) {
                    Ok(()) => {}
                    Err(SystemError::ENOENT) if self.holds(entry)? => {}
                    Err(SystemError::ENOENT) => report.warnings.push(left_as_it_is(path)),
                    Err(error) if self.is_spoilt(path, &directory, error) => {
                        report.warnings.push(left_out(path, "replaced", error) + &taken_away(&directory, staged));
                    }
                    Err(error) => return Err(failed(path, "replaced", error)),
                }
            }
            Entry::Directory { mode, owner, .. } => match files::open_directory_at(&directory, &name) {
                Ok(open) => {
                    self.noted(path, &open)?;
                    match self.set_attributes(&open, *mode, *owner) {
                        Ok(()) => {}
                        Err(error) if self.is_spoilt(path, &open, error) => {
                            report.warnings.push(left_out(path, "given its mode and owner", error));
                        }
                        Err(error) => return Err(failed(path, "given its mode and owner", error)),
                    }
                }
                Err(SystemError::ENOENT | SystemError::ENOTDIR | SystemError::ELOOP) => {
                    report.warnings.push(format!("{path}: is no directory any more, left as it is"));
                }
                Err(error) if self.is_spoilt(path, &directory, error) => {
                    report.warnings.push(left_out(path, "opened", error));
                }
                Err(error) => return Err(failed(path, "opened", error)),
            },
            Entry::Remove { .. } => match self.effect().and_then(|()| files::remove_at(&directory, &name)) {
                Ok(()) | Err(SystemError::ENOENT) => {}
                Err(error) if self.is_spoilt(path, &directory, error) => {
                    report.warnings.push(left_out(path, "removed", error));
                }
                Err(error) => return Err(failed(path, "removed", error)),
            },
            Entry::Empty { .. } => {
                if !self.remove_directory(path)? {
                    report.kept.push(path.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether the new content is in its place already.
    fn holds(&self, entry: &Entry) -> Result<bool> {
        let found = match self.root.node(entry.path()) {
            Err(error) if !error.is_failure() && self.root.is_in_reach_of_users(entry.path()) => None,
            found => found?,
        };
        Ok(match (entry, found) {
            (Entry::File { sha256, .. }, Some(Node::File(file))) => Digest::of(&file.content).hex() == *sha256,
            (Entry::Link { target, .. }, Some(Node::Link(there))) => *target == there,
            _ => false,
        })
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush_all().map_err(waiting)?;
        self.remove_journal().map_err(waiting)
    }
}

/// The warning of what a user keeps from being done.
fn left_out(path: &GuestPath, done: &str, error: SystemError) -> String {
    format!("{}; left as it is", failed(path, done, error))
}

fn gone(path: &GuestPath) -> String {
    format!("{path}: its directory is gone or was replaced, left out")
}

/// Takes a staged name away as far as a user lets it be done. What is to be said where it stays: it holds nothing that the
/// user could not read in its place.
fn taken_away(directory: &OwnedFd, staged: &str) -> String {
    match files::remove_at(directory, staged) {
        Ok(()) | Err(SystemError::ENOENT) => String::new(),
        Err(_) => format!(", and `{staged}` stays beside it"),
    }
}

fn left_as_it_is(path: &GuestPath) -> String {
    format!("{path}: was changed by somebody else meanwhile, left as it is")
}

/// What the system refused to have done to a path, with what can be done about it.
pub(super) fn failed(path: &GuestPath, done: &str, error: SystemError) -> Error {
    let remedy = match error {
        SystemError::ENOSPC | SystemError::EDQUOT | SystemError::EFBIG => "make room on the file system it lies on",
        SystemError::EROFS => "mount the file system it lies on writable",
        SystemError::EACCES | SystemError::EPERM => "run as root, and see whether an attribute protects it (lsattr)",
        SystemError::EBUSY => "something is mounted there: unmount it, or leave the path out of the settings",
        SystemError::EEXIST | SystemError::EISDIR => "move away what stands there",
        _ => "look at the file system it lies on",
    };
    Error::not_applied(path, format_args!("cannot be {done}: {}", io::Error::from(error)), remedy)
}

/// The error, which also says that not all is done yet.
pub(super) fn waiting(error: Error) -> Error {
    let problem = format!("{}, so the change is not complete", error.problem());
    Error::not_applied(error.object(), problem, format_args!("{}; the next start completes it", error.remedy()))
}
