//! Carries out a plan, all of it or nothing, and mends what an interrupted run left.

use super::journal::{self, Entry, Journal, Phase};
use super::lock::Locks;
use super::store;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node, Owner, View};
use crate::plan::Step;
use crate::platform::Flush;
use crate::platform::files::{self, SystemError};
use crate::root::Root;
use crate::trust::Digest;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

/// What a commit did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How many steps were carried out.
    pub steps: usize,
    /// Directories that were to be removed, and stay because something is in them.
    pub kept: Vec<GuestPath>,
    /// What was found otherwise than expected, one line each; the next plan sees it as a difference.
    pub warnings: Vec<String>,
}

/// What the start of a run found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recovery {
    /// No commit was interrupted.
    Nothing,
    /// A commit was interrupted before anything had changed. What it had staged is gone.
    CleanedUp,
    /// A commit was interrupted while it changed things. The rest has been done now.
    RolledForward(Report),
}

/// Carries out a plan: guest's steps first, the record of the generation last, in one list.
///
/// An empty plan writes nothing and opens nothing for writing.
///
/// # Errors
/// What the planner saw has changed; the plan cannot be done in one commit; another run holds the lock; the disk is full or
/// fails. Whenever the error is of class *not applied*, the guest is as before, unless the error itself says that the rest
/// follows at the next start.
pub fn commit(root: &Root, plan: &[Step]) -> Result<Report> {
    commit_observed(root, plan, &mut logged)
}

/// Ends what an interrupted commit began. To be run at each start, before anything is read. Writes nothing where no commit was
/// interrupted.
///
/// # Errors
/// The journal cannot be read; another run holds the lock; a change is refused by the system. The journal stays then.
pub fn recover(root: &Root) -> Result<Recovery> {
    recover_observed(root, &mut logged)
}

/// One change that is about to be made. What the observer returns instead is taken for the answer of the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect<'a> {
    /// Which system call.
    pub(super) call: &'static str,
    /// The name it is about.
    pub(super) name: &'a str,
}

/// Sees every effect before it happens.
pub(super) type Observer<'a> = &'a mut dyn FnMut(Effect<'_>) -> Result<(), SystemError>;

/// The observer of every real run.
fn logged(effect: Effect<'_>) -> Result<(), SystemError> {
    log::trace!("{} {}", effect.call, effect.name);
    Ok(())
}

pub(super) fn commit_observed(root: &Root, plan: &[Step], observer: Observer<'_>) -> Result<Report> {
    if plan.is_empty() {
        return Ok(Report::default());
    }
    let mut journal = Journal::of(plan, 1)?;
    let encoded = journal.to_bytes()?.len();
    verify(root, plan)?;
    let mut hand = Hand { root, observer, flush: Flush::default() };
    hand.make_own_directory()?;
    let _locks = Locks::take(root, journal.paths())?;
    if Journal::load(root)?.is_some() {
        return Err(Error::not_applied(store::JOURNAL, "an interrupted commit waits there", "run again"));
    }
    // Once more, because another program may have changed something until we had the locks.
    verify(root, plan)?;
    avoid_directories(root, &mut journal)?;
    let emptied = directories_to_remove(root, plan)?;
    log::debug!("commit: {} steps, {encoded} bytes of journal", plan.len());

    if let Err(error) = hand.write_journal(&journal).and_then(|()| hand.stage(plan, &journal)) {
        hand.discard(&journal).map_err(|second| left_over(&error, &second))?;
        return Err(unchanged(error));
    }
    journal.phase = Phase::Commit;
    if let Err(error) = hand.write_journal(&journal) {
        hand.back_to_staging(&mut journal).map_err(|second| half_way(&error, &second))?;
        hand.discard(&journal).map_err(|second| left_over(&error, &second))?;
        return Err(unchanged(error));
    }
    match hand.carry_out(&journal) {
        Ok(mut report) => {
            hand.finish()?;
            report.steps = plan.len();
            Ok(report)
        }
        Err((done, error)) => {
            // Something that cannot be seen before: a file that is protected or mounted upon. It would be refused at each
            // start again, so what was done is taken back, by a commit of its own.
            // A directory may have its new owner and not yet its new mode; every other change is one system call.
            let done = done + usize::from(matches!(journal.entries.get(done), Some(Entry::Directory { .. })));
            hand.take_back(plan, &journal, &emptied, done).map_err(|second| half_way(&error, &second))?;
            Err(unchanged(error))
        }
    }
}

/// Whether a commit was interrupted, or is under way. Only looks.
///
/// # Errors
/// What cannot be looked at.
pub fn interrupted(root: &Root) -> Result<bool> {
    let unfinished = GuestPath::of(&format!("{}.new", store::JOURNAL));
    Ok(root.stat(&GuestPath::of(store::JOURNAL))?.is_some() || root.stat(&unfinished)?.is_some())
}

pub(super) fn recover_observed(root: &Root, observer: Observer<'_>) -> Result<Recovery> {
    if !interrupted(root)? {
        return Ok(Recovery::Nothing);
    }
    let seen = Journal::load(root)?;
    let _locks = Locks::take(root, seen.iter().flat_map(Journal::paths))?;
    // What was seen may have been another run's commit, which has ended by now.
    if !interrupted(root)? {
        return Ok(Recovery::Nothing);
    }
    let mut hand = Hand { root, observer, flush: Flush::default() };
    let Some(journal) = Journal::load(root)? else {
        hand.remove_journal()?;
        return Ok(Recovery::CleanedUp);
    };
    match journal.phase {
        Phase::Staging => {
            hand.discard(&journal)?;
            Ok(Recovery::CleanedUp)
        }
        Phase::Commit => {
            let mut report = hand.carry_out(&journal).map_err(|(_, error)| waiting(error))?;
            hand.finish()?;
            report.steps = journal.entries.len();
            Ok(Recovery::RolledForward(report))
        }
    }
}

/// Whether every path still holds what the planner saw there.
fn verify(root: &Root, plan: &[Step]) -> Result<()> {
    for step in plan {
        let expected = match step {
            Step::MakeDirectory { path, .. } if journal::is_own(path) => continue,
            Step::MakeDirectory { .. } => None,
            Step::WriteFile { before, .. } | Step::WriteLink { before, .. } => before.as_ref(),
            Step::SetAttributes { before, .. } | Step::Remove { before, .. } => Some(before),
            Step::RemoveDirectory { path } => match root.stat(path)? {
                Some(stat) if stat.kind != Kind::Directory => return Err(changed(path)),
                _ => continue,
            },
        };
        let found = root.node(step.path())?;
        let same = match (expected, found) {
            (None, None) => true,
            (Some(expected), Some(found)) => alike(root, expected, &found),
            _ => false,
        };
        if !same {
            return Err(changed(step.path()));
        }
    }
    Ok(())
}

/// Whether two nodes are the same, by what this process can set.
fn alike(root: &Root, one: &Node, other: &Node) -> bool {
    let owners = |one: Owner, other: Owner| one == other || !root.compares_owners();
    match (one, other) {
        (Node::File(one), Node::File(other)) => {
            one.content == other.content && one.mode == other.mode && owners(one.owner, other.owner)
        }
        (Node::Directory { mode, owner }, Node::Directory { mode: other_mode, owner: other_owner }) => {
            mode == other_mode && owners(*owner, *other_owner)
        }
        (Node::Link(one), Node::Link(other)) => one == other,
        _ => false,
    }
}

/// What makes changes. Every system call that changes the guest goes through here.
struct Hand<'a> {
    root: &'a Root,
    observer: Observer<'a>,
    flush: Flush,
}

impl Hand<'_> {
    fn effect(&mut self, call: &'static str, name: &str) -> Result<(), SystemError> {
        (self.observer)(Effect { call, name })
    }

    /// The directory that holds a path which is about to be changed.
    fn parent(&self, path: &GuestPath) -> Result<(OwnedFd, String)> {
        self.root.open_parent(path)?.ok_or_else(|| {
            Error::not_applied(path, "cannot be written: its directory does not exist", "make the directory first")
        })
    }

    /// Makes `/var/lib/handoff`, and refuses one that somebody else could change.
    fn make_own_directory(&mut self) -> Result<()> {
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
                .and_then(|()| self.flush_now(&directory, &name))
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
        self.effect("mkdir", name)?;
        files::make_directory_at(directory, name)?;
        self.flush.directory(directory)?;
        let made = files::open_directory_at(directory, name)?;
        self.set_attributes(&made, name, mode, owner)?;
        self.flush.directory(&made)
    }

    /// Owner first, because a change of owner takes bits of the mode away.
    fn set_attributes(&mut self, file: &OwnedFd, name: &str, mode: u32, owner: Owner) -> Result<(), SystemError> {
        if self.root.compares_owners() {
            self.effect("fchown", name)?;
            files::set_owner(file, owner)?;
        }
        self.effect("fchmod", name)?;
        files::set_mode(file, mode)
    }

    fn flush_now(&mut self, file: &OwnedFd, name: &str) -> Result<(), SystemError> {
        self.effect("fsync", name)?;
        files::flush(file)
    }

    fn flush_all(&mut self) -> Result<()> {
        self.effect("flush", "").and_then(|()| self.flush.flush()).map_err(|error| {
            Error::not_applied(
                "the guest's file systems",
                format_args!("cannot be flushed: {}", io::Error::from(error)),
                "look at the disks they lie on",
            )
        })
    }

    /// Puts the journal, whole, in place of an earlier one.
    fn write_journal(&mut self, journal: &Journal) -> Result<()> {
        let bytes = journal.to_bytes()?;
        let path = GuestPath::of(store::JOURNAL);
        let (directory, name) = self.parent(&path)?;
        let new = format!("{name}.new");
        let mut write = || {
            let file = self.create(&directory, &new)?;
            let file = self.write(file, &new, &bytes)?;
            self.flush_now(&file, &new)?;
            self.effect("rename", &name)?;
            files::rename_at(&directory, &new, &name)?;
            self.flush_now(&directory, store::DIRECTORY)
        };
        write().map_err(|error| {
            // Nobody reads a journal under this name.
            let _ = files::remove_at(&directory, &new);
            failed(&path, "written", error)
        })
    }

    /// After a failure to write the journal of phase *commit*, which may be in its place all the same. It must be out of
    /// there before a staged name is: recovery would take the missing name for one that was renamed.
    fn back_to_staging(&mut self, journal: &mut Journal) -> Result<()> {
        journal.phase = Phase::Staging;
        match Journal::load(self.root)? {
            Some(Journal { phase: Phase::Staging, .. }) => Ok(()),
            _ => self.write_journal(journal).or_else(|_| self.remove_journal()),
        }
    }

    /// Removes the journal, and one that was not finished.
    fn remove_journal(&mut self) -> Result<()> {
        let path = GuestPath::of(store::JOURNAL);
        let (directory, name) = self.parent(&path)?;
        for name in [format!("{name}.new"), name] {
            if files::stat_at(&directory, &name).map_err(|error| failed(&path, "removed", error))?.is_some() {
                self.effect("unlink", &name)
                    .and_then(|()| files::remove_at(&directory, &name))
                    .map_err(|error| failed(&path, "removed", error))?;
            }
        }
        self.flush_now(&directory, store::DIRECTORY).map_err(|error| failed(&path, "removed", error))
    }

    /// A new file. What stands under its name is a left-over, or was planted: such names are reserved for us.
    fn create(&mut self, directory: &OwnedFd, name: &str) -> Result<OwnedFd, SystemError> {
        self.effect("create", name)?;
        match files::create_file_at(directory, name) {
            Err(SystemError::EEXIST) => {
                files::remove_at(directory, name)?;
                files::create_file_at(directory, name)
            }
            created => created,
        }
    }

    fn write(&mut self, file: OwnedFd, name: &str, content: &[u8]) -> Result<OwnedFd, SystemError> {
        self.effect("write", name)?;
        let mut file = File::from(file);
        match file.write_all(content) {
            Ok(()) => Ok(OwnedFd::from(file)),
            Err(error) => Err(SystemError::from_raw(error.raw_os_error().unwrap_or(SystemError::EIO as i32))),
        }
    }

    /// Makes the directories, writes everything new beside its place, and flushes it.
    fn stage(&mut self, plan: &[Step], journal: &Journal) -> Result<()> {
        let mut entries = journal.entries.iter();
        for step in plan {
            let path = step.path();
            if let Step::MakeDirectory { mode, owner, .. } = step {
                if !journal::is_own(path) {
                    let (directory, name) = self.parent(path)?;
                    self.make_directory(&directory, &name, *mode, *owner)
                        .map_err(|error| failed(path, "made", error))?;
                }
                continue;
            }
            // Every other step has one entry, in the same order.
            let Some(entry) = entries.next() else { break };
            let content: &[u8] = match step {
                Step::WriteFile { file, .. } | Step::SetAttributes { before: Node::File(file), .. } => &file.content,
                _ => &[],
            };
            self.stage_entry(entry, content)?;
        }
        self.flush_all()
    }

    fn stage_entry(&mut self, entry: &Entry, content: &[u8]) -> Result<()> {
        let path = entry.path();
        match entry {
            Entry::File { staged, mode, owner, .. } => {
                let (directory, _) = self.parent(path)?;
                let mut write = || {
                    let file = self.create(&directory, staged)?;
                    let file = self.write(file, staged, content)?;
                    self.set_attributes(&file, staged, *mode, *owner)?;
                    self.flush.file(&file)?;
                    self.flush.directory(&directory)
                };
                write().map_err(|error| failed(path, "written", error))
            }
            Entry::Link { staged, target, .. } => {
                let (directory, _) = self.parent(path)?;
                let mut link = || {
                    self.effect("symlink", staged)?;
                    match files::make_link_at(&directory, staged, target) {
                        Err(SystemError::EEXIST) => {
                            files::remove_at(&directory, staged)?;
                            files::make_link_at(&directory, staged, target)?;
                        }
                        made => made?,
                    }
                    self.flush.directory(&directory)
                };
                link().map_err(|error| failed(path, "written", error))
            }
            Entry::Directory { .. } | Entry::Remove { .. } | Entry::Empty { .. } => Ok(()),
        }
    }

    /// Takes away everything staged and made, then the journal. Can be repeated.
    fn discard(&mut self, journal: &Journal) -> Result<()> {
        for entry in &journal.entries {
            let Some(staged) = entry.staged() else { continue };
            // Its directory may be one that was never made.
            let Some((directory, _)) = self.root.open_parent(entry.path())? else { continue };
            // A directory is not ours: only files and links are staged.
            match files::stat_at(&directory, staged) {
                Ok(Some(stat)) if stat.kind != Kind::Directory => {}
                Ok(_) => continue,
                Err(error) => return Err(failed(entry.path(), "cleaned up after", error)),
            }
            self.noted(entry.path(), &directory)?;
            match self.effect("unlink", staged).and_then(|()| files::remove_at(&directory, staged)) {
                Ok(()) | Err(SystemError::ENOENT) => {}
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
        let Some((directory, name)) = self.root.open_parent(path)? else { return Ok(true) };
        self.noted(path, &directory)?;
        match self.effect("rmdir", &name).and_then(|()| files::remove_directory_at(&directory, &name)) {
            Ok(()) | Err(SystemError::ENOENT) => Ok(true),
            // Not empty, by either name; no directory any more; mounted upon.
            Err(SystemError::ENOTEMPTY | SystemError::EEXIST | SystemError::ENOTDIR | SystemError::EBUSY) => Ok(false),
            Err(error) => Err(failed(path, "removed", error)),
        }
    }

    fn noted(&mut self, path: &GuestPath, directory: &OwnedFd) -> Result<()> {
        self.flush.directory(directory).map_err(|error| failed(path, "flushed", error))
    }

    /// Does what the journal says. Can be repeated: what is done already is found done.
    ///
    /// On an error also says how many entries were done before.
    fn carry_out(&mut self, journal: &Journal) -> Result<Report, (usize, Error)> {
        let mut report = Report::default();
        for (done, entry) in journal.entries.iter().enumerate() {
            self.carry_out_one(entry, &mut report).map_err(|error| (done, error))?;
        }
        Ok(report)
    }

    fn carry_out_one(&mut self, entry: &Entry, report: &mut Report) -> Result<()> {
        let path = entry.path();
        let Some((directory, name)) = self.root.open_parent(path)? else {
            if !matches!(entry, Entry::Remove { .. } | Entry::Empty { .. }) {
                report.warnings.push(format!("{path}: its directory is gone, left out"));
            }
            return Ok(());
        };
        // Noted before it changes, so that nothing can fail between a change and its record.
        self.noted(path, &directory)?;
        match entry {
            Entry::File { staged, .. } | Entry::Link { staged, .. } => {
                match self.effect("rename", &name).and_then(|()| files::rename_at(&directory, staged, &name)) {
                    Ok(()) => {}
                    Err(SystemError::ENOENT) if self.holds(entry)? => {}
                    Err(SystemError::ENOENT) => {
                        report.warnings.push(format!("{path}: was changed by somebody else meanwhile, left as it is"));
                    }
                    Err(error) => return Err(failed(path, "replaced", error)),
                }
            }
            Entry::Directory { mode, owner, .. } => match files::open_directory_at(&directory, &name) {
                Ok(open) => {
                    self.noted(path, &open)?;
                    self.set_attributes(&open, &name, *mode, *owner)
                        .map_err(|error| failed(path, "given its mode and owner", error))?;
                }
                Err(SystemError::ENOENT | SystemError::ENOTDIR | SystemError::ELOOP) => {
                    report.warnings.push(format!("{path}: is no directory any more, left as it is"));
                }
                Err(error) => return Err(failed(path, "opened", error)),
            },
            Entry::Remove { .. } => {
                match self.effect("unlink", &name).and_then(|()| files::remove_at(&directory, &name)) {
                    Ok(()) | Err(SystemError::ENOENT) => {}
                    Err(error) => return Err(failed(path, "removed", error)),
                }
            }
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
        let found = self.root.node(entry.path())?;
        Ok(match (entry, found) {
            (Entry::File { sha256, .. }, Some(Node::File(file))) => Digest::of(&file.content).hex() == *sha256,
            (Entry::Link { target, .. }, Some(Node::Link(there))) => *target == there,
            _ => false,
        })
    }

    fn finish(&mut self) -> Result<()> {
        self.flush_all().map_err(waiting)?;
        self.remove_journal().map_err(waiting)
    }

    /// Takes back the first `done` entries of a commit, by committing their opposite, and removes what is staged.
    fn take_back(&mut self, plan: &[Step], journal: &Journal, emptied: &[Step], done: usize) -> Result<()> {
        let mut back = Vec::new();
        for step in plan.iter().filter(|step| !matches!(step, Step::MakeDirectory { .. })).take(done) {
            match step {
                Step::RemoveDirectory { path } if self.root.stat(path)?.is_none() => {
                    back.extend(emptied.iter().find(|made| made.path() == path).cloned());
                }
                step => back.extend(opposite(step)),
            }
        }
        back.reverse();
        let mut way = Journal::of(&back, plan.len().saturating_add(1))?;
        avoid_directories(self.root, &mut way)?;
        // Until the way back is written down, an interruption still leads forward, past what has been staged for it.
        let mut forward = journal.clone();
        forward.entries.splice(0..0, removals_of_staged(&way)?);
        self.write_journal(&forward)?;
        self.stage(&back, &way)?;
        way.entries.extend(removals_of_staged(journal)?);
        way.entries.extend(journal.made.iter().rev().map(|path| Entry::Empty { path: path.clone() }));
        way.phase = Phase::Commit;
        self.write_journal(&way)?;
        self.carry_out(&way).map_err(|(_, error)| error)?;
        self.finish()
    }
}

/// Chooses another name for what would be staged where a directory stands. A user could put one into a directory of the
/// user's own, and it could not be taken away; so the other name is one that cannot be guessed.
fn avoid_directories(root: &Root, journal: &mut Journal) -> Result<()> {
    for entry in &mut journal.entries {
        let path = entry.path().clone();
        let (Some(staged), Some(directory)) = (entry.staged_mut(), path.parent()) else { continue };
        for _ in 0..ATTEMPTS {
            match root.stat(&directory.join(staged)?)? {
                Some(stat) if stat.kind == Kind::Directory => *staged = journal::staged_name(fraction_of_second()),
                _ => break,
            }
        }
    }
    Ok(())
}

/// How many names are tried.
const ATTEMPTS: usize = 16;

/// The nanoseconds of the clock, below a thousand million.
fn fraction_of_second() -> usize {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.subsec_nanos() as usize)
}

/// What removes everything that a journal has staged and not renamed.
fn removals_of_staged(journal: &Journal) -> Result<Vec<Entry>> {
    let mut removals = Vec::new();
    for entry in &journal.entries {
        if let (Some(staged), Some(directory)) = (entry.staged(), entry.path().parent()) {
            removals.push(Entry::Remove { path: directory.join(staged)? });
        }
    }
    Ok(removals)
}

/// The directories that the plan may remove, as the steps that make them again.
fn directories_to_remove(root: &Root, plan: &[Step]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for step in plan {
        let Step::RemoveDirectory { path } = step else { continue };
        if let Some(stat) = root.stat(path)? {
            steps.push(Step::MakeDirectory { path: path.clone(), mode: stat.mode, owner: stat.owner });
        }
    }
    Ok(steps)
}

/// The step that undoes this one. `None`: there is nothing to undo.
fn opposite(step: &Step) -> Option<Step> {
    let path = step.path().clone();
    let put_back = |path: GuestPath, node: &Node| match node {
        Node::File(file) => Some(Step::WriteFile { path, file: file.clone(), before: None, secret: true }),
        Node::Link(target) => Some(Step::WriteLink { path, target: target.clone(), before: None }),
        Node::Directory { mode, owner } => {
            Some(Step::SetAttributes { path, mode: *mode, owner: *owner, before: node.clone() })
        }
    };
    match step {
        Step::MakeDirectory { .. } | Step::RemoveDirectory { .. } => None,
        Step::WriteFile { before: None, file, .. } => Some(Step::Remove { path, before: Node::File(file.clone()) }),
        Step::WriteLink { before: None, target, .. } => Some(Step::Remove { path, before: Node::Link(target.clone()) }),
        Step::WriteFile { before: Some(before), .. }
        | Step::WriteLink { before: Some(before), .. }
        | Step::SetAttributes { before, .. }
        | Step::Remove { before, .. } => put_back(path, before),
    }
}

fn changed(path: &GuestPath) -> Error {
    Error::not_applied(path, "was changed while it was being planned, nothing was changed", "run again")
}

fn failed(path: &GuestPath, done: &str, error: SystemError) -> Error {
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

/// The error, which also says that the guest is as before.
fn unchanged(error: Error) -> Error {
    let problem = format!("{}, nothing was changed", error.problem());
    Error::not_applied(error.object(), problem, error.remedy())
}

/// The error, which also says that not all is done yet.
fn waiting(error: Error) -> Error {
    let problem = format!("{}, so the change is not complete", error.problem());
    Error::not_applied(error.object(), problem, format_args!("{}; the next start completes it", error.remedy()))
}

/// Both errors: what stopped the commit, and what stopped the way back before anything had changed.
fn left_over(error: &Error, second: &Error) -> Error {
    let problem = format!("{}, nothing was changed but left-overs stay: {}", error.problem(), second);
    Error::not_applied(error.object(), problem, format_args!("{}; the next start removes them", error.remedy()))
}

/// Both errors: what stopped the commit, and what stopped the way back.
fn half_way(error: &Error, second: &Error) -> Error {
    let problem = format!("{}, and the way back failed too ({second}), so the change is half done", error.problem());
    Error::not_applied(error.object(), problem, format_args!("{}; the next start completes it", error.remedy()))
}
