//! The journal of a commit: `/var/lib/handoff/journal.json`, there only while a commit is under way.
//!
//! It holds names, digests, modes and owners, and never a content. Small and strict: what is not exactly what this
//! program writes is an error, because recovery acts on it.

use super::form::text;
use super::store;
use crate::document::{self, At, Format, Writer};
use crate::error::{Class, Error, Result};
use crate::guest::{GuestPath, Node, Owner, View};
use crate::plan::Step;
use crate::root::Root;
use crate::trust::Digest;
use std::collections::BTreeSet;

/// The version of this format.
const VERSION: u32 = 1;

/// The most bytes of a journal.
const MAX_JOURNAL: usize = 4 << 20;

/// The journal as a document.
const FORMAT: Format = Format {
    name: store::JOURNAL,
    depth: Format::DEPTH,
    items: Format::OWN,
    values: Format::OWN,
    error: |fault| broken(&format!("is no journal{}", fault.shown_place())),
};

fn broken(problem: &str) -> Error {
    Error::not_applied(store::JOURNAL, problem, "remove it and every file named .handoff-NNNN.new, then run again")
}

/// How far a commit has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// New names are being made. Going back is taking them away.
    Staging,
    /// All is staged and on its disk. It only goes forward.
    Commit,
}

/// The words for it.
const PHASES: [(&str, Phase); 2] = [("staging", Phase::Staging), ("commit", Phase::Commit)];

/// The whole journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Journal {
    version: u32,
    pub(super) phase: Phase,
    /// Directories that are made while staging, the outer ones first.
    pub(super) made: Vec<GuestPath>,
    /// What is done at the end, in this order.
    pub(super) entries: Vec<Entry>,
}

/// One thing to do at the end. Each can be repeated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// A staged file takes its place.
    File { path: GuestPath, staged: String, sha256: String, mode: u32, owner: Owner },
    /// A staged link takes its place.
    Link { path: GuestPath, staged: String, target: String },
    /// A directory gets mode and owner.
    Directory { path: GuestPath, mode: u32, owner: Owner },
    /// A file or a link goes.
    Remove { path: GuestPath },
    /// A directory goes if it is empty.
    Empty { path: GuestPath },
}

impl Entry {
    /// The path it changes.
    pub(super) fn path(&self) -> &GuestPath {
        match self {
            Entry::File { path, .. }
            | Entry::Link { path, .. }
            | Entry::Directory { path, .. }
            | Entry::Remove { path }
            | Entry::Empty { path } => path,
        }
    }

    /// The name beside its path under which the new content waits.
    pub(super) fn staged(&self) -> Option<&str> {
        match self {
            Entry::File { staged, .. } | Entry::Link { staged, .. } => Some(staged),
            _ => None,
        }
    }

    fn write(&self, writer: &mut Writer) {
        let (kind, path, rest): (_, _, &dyn Fn(&mut Writer)) = match self {
            Entry::File { path, staged, sha256, mode, owner } => ("file", path, &|w| {
                w.key("staged").text(staged);
                w.key("sha256").text(sha256);
                w.key("mode").number(*mode);
                owner.write(w.key("owner"));
            }),
            Entry::Link { path, staged, target } => ("link", path, &|w| {
                w.key("staged").text(staged);
                w.key("target").text(target);
            }),
            Entry::Directory { path, mode, owner } => ("directory", path, &|w| {
                w.key("mode").number(*mode);
                owner.write(w.key("owner"));
            }),
            Entry::Remove { path } => ("remove", path, &|_| {}),
            Entry::Empty { path } => ("empty", path, &|_| {}),
        };
        writer.table(|w| {
            w.key(kind).table(|w| {
                w.key("path").text(path.as_str());
                rest(w);
            });
        });
    }

    fn read(at: &At<'_>) -> Result<Entry> {
        let (kind, at) = at.variant()?;
        let keys: &[&str] = match kind {
            "file" => &["path", "staged", "sha256", "mode", "owner"],
            "link" => &["path", "staged", "target"],
            "directory" => &["path", "mode", "owner"],
            _ => &["path"],
        };
        let table = at.table(keys)?;
        let path = table.required("path", |at| at.guest_path())?;
        let text_of = |key| table.required(key, |at| text(&at));
        let mode = || table.required("mode", |at| at.number());
        let owner = || table.required("owner", |at| Owner::read(&at));
        Ok(match kind {
            "file" => Entry::File {
                path,
                staged: text_of("staged")?,
                sha256: text_of("sha256")?,
                mode: mode()?,
                owner: owner()?,
            },
            "link" => Entry::Link { path, staged: text_of("staged")?, target: text_of("target")? },
            "directory" => Entry::Directory { path, mode: mode()?, owner: owner()? },
            "remove" => Entry::Remove { path },
            "empty" => Entry::Empty { path },
            _ => return at.refuse("is no kind of entry", "write file, link, directory, remove or empty"),
        })
    }

    pub(super) fn staged_mut(&mut self) -> Option<&mut String> {
        match self {
            Entry::File { staged, .. } | Entry::Link { staged, .. } => Some(staged),
            _ => None,
        }
    }
}

/// The name under which the new content of the `number`th entry waits. Hidden, and with an ending that no program reads.
pub(super) fn staged_name(number: usize) -> String {
    format!(".handoff-{number:04}.new")
}

fn is_staged_name(name: &str) -> bool {
    let number = name.strip_prefix(".handoff-").and_then(|rest| rest.strip_suffix(".new"));
    number.is_some_and(|number| (4..=9).contains(&number.len()) && number.bytes().all(|c| c.is_ascii_digit()))
}

/// Whether the path is our own directory or holds it. The engine makes these itself, before there is a journal.
pub(super) fn is_own(path: &GuestPath) -> bool {
    GuestPath::of(store::DIRECTORY).is_within(path)
}

impl Journal {
    /// The journal of a plan, in phase *staging*. `staged` names are numbered from `first`.
    ///
    /// # Errors
    /// The plan is one that cannot be carried out in one commit: two steps for one path, a step below a path that another
    /// one replaces, a file in place of a directory, or too many steps.
    pub(super) fn of<'a>(plan: impl IntoIterator<Item = &'a Step>, first: usize) -> Result<Journal> {
        let mut journal = Journal { version: VERSION, phase: Phase::Staging, made: Vec::new(), entries: Vec::new() };
        let mut paths = BTreeSet::new();
        let mut replaced = BTreeSet::new();
        for (number, step) in plan.into_iter().enumerate() {
            let path = step.path().clone();
            if path.name().is_empty() || path.as_str() == store::JOURNAL || is_staged_name(path.name()) {
                return Err(Error::invalid(path, "is reserved", "remove it from the settings"));
            }
            if !paths.insert(path.clone()) {
                return Err(Error::new(Class::Bug, path, "two steps of the plan change it", "report it"));
            }
            let staged = staged_name(first.saturating_add(number));
            let over_directory = |before: Option<&Node>| match before {
                Some(Node::Directory { .. }) => {
                    Err(Error::not_applied(step.path(), "is a directory, which is never replaced", "move it away"))
                }
                _ => Ok(()),
            };
            let entry = match step {
                Step::MakeDirectory { .. } if is_own(&path) => continue,
                Step::MakeDirectory { .. } => {
                    journal.made.push(path);
                    continue;
                }
                Step::WriteFile { file, before, .. } => {
                    over_directory(before.as_ref())?;
                    let sha256 = Digest::of(&file.content).hex();
                    Entry::File { path, staged, sha256, mode: file.mode, owner: file.owner }
                }
                // A file gets its attributes as a new file: at one stroke, and never through another name that a user
                // may have given to somebody else's file.
                Step::SetAttributes { mode, owner, before: Node::File(file), .. } => {
                    let sha256 = Digest::of(&file.content).hex();
                    Entry::File { path, staged, sha256, mode: *mode, owner: *owner }
                }
                Step::SetAttributes { mode, owner, before: Node::Directory { .. }, .. } => {
                    Entry::Directory { path, mode: *mode, owner: *owner }
                }
                Step::SetAttributes { before: Node::Link(_), .. } => {
                    return Err(Error::new(Class::Bug, path, "a link has no attributes to set", "report it"));
                }
                Step::WriteLink { target, before, .. } => {
                    over_directory(before.as_ref())?;
                    Entry::Link { path, staged, target: target.clone() }
                }
                Step::Remove { before, .. } => {
                    over_directory(Some(before))?;
                    Entry::Remove { path }
                }
                Step::RemoveDirectory { .. } => Entry::Empty { path },
            };
            if !matches!(entry, Entry::Directory { .. } | Entry::Empty { .. }) {
                replaced.insert(entry.path().clone());
            }
            journal.entries.push(entry);
        }
        // Below a name that changes, a path would lead elsewhere after the change than it did while staging.
        for path in &paths {
            let above = std::iter::successors(path.parent(), GuestPath::parent);
            if let Some(moving) = above.into_iter().find(|above| replaced.contains(above)) {
                return Err(Error::not_applied(
                    path,
                    format_args!("lies below {moving}, which is replaced at the same time"),
                    "make the two changes one after the other",
                ));
            }
        }
        Ok(journal)
    }

    /// Reads the journal of a guest. `None`: no commit is under way and none was interrupted.
    ///
    /// # Errors
    /// It cannot be read, or is not one.
    pub(super) fn load(root: &Root) -> Result<Option<Journal>> {
        let Some(bytes) = root.read(&GuestPath::of(store::JOURNAL))? else { return Ok(None) };
        Journal::parse(&bytes).map(Some)
    }

    fn parse(bytes: &[u8]) -> Result<Journal> {
        if bytes.len() > MAX_JOURNAL {
            return Err(broken("is larger than 4 MiB"));
        }
        let document = document::read(bytes, &FORMAT)?;
        let journal = Journal::read(&At::document(&document, &FORMAT))?;
        let mut staged_names = journal.entries.iter().filter_map(Entry::staged);
        if journal.version != VERSION {
            return Err(broken("is of another version of handoff-agent"));
        }
        if !staged_names.all(is_staged_name) {
            return Err(broken("speaks of a staged name that is none"));
        }
        Ok(journal)
    }

    fn read(at: &At<'_>) -> Result<Journal> {
        let table = at.table(&["version", "phase", "made", "entries"])?;
        Ok(Journal {
            version: table.required("version", |at| at.number())?,
            phase: table.required("phase", |at| at.word(&PHASES))?,
            made: table.required("made", |at| at.list(0..=usize::MAX, |at| at.guest_path()))?,
            entries: table.required("entries", |at| at.list(0..=usize::MAX, |at| Entry::read(&at)))?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.table(|w| {
            w.key("version").number(self.version);
            w.key("phase").word(&PHASES, self.phase);
            w.key("made").list(&self.made, |w, path| w.text(path.as_str()));
            w.key("entries").list(&self.entries, |w, entry| entry.write(w));
        });
    }

    /// The text of the journal.
    ///
    /// # Errors
    /// It would be larger than what is read.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let bytes = Writer::compact(|writer| self.write(writer));
        if bytes.len() > MAX_JOURNAL {
            return Err(Error::not_applied(store::JOURNAL, "would be larger than 4 MiB", "split the settings"));
        }
        Ok(bytes)
    }

    /// The paths that it changes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &GuestPath> {
        self.entries.iter().map(Entry::path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &str, before: Option<Node>) -> Step {
        let Node::File(file) = Node::file("SECRET", 0o600) else { panic!("a file") };
        Step::WriteFile { path: GuestPath::of(path), file, before, secret: true }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_and_holds_no_content() {
        let plan = [
            Step::MakeDirectory { path: GuestPath::of("/a"), mode: 0o755, owner: Owner::ROOT },
            write("/a/b", None),
            Step::WriteLink { path: GuestPath::of("/c"), target: "a".into(), before: None },
            Step::RemoveDirectory { path: GuestPath::of("/d") },
        ];
        let journal = Journal::of(&plan, 1).unwrap();
        let bytes = journal.to_bytes().unwrap();
        assert_eq!(Journal::parse(&bytes).unwrap(), journal);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(".handoff-0002.new") && !text.contains("SECRET"), "{text}");
    }

    #[test]
    fn a_journal_that_is_not_exactly_ours_is_refused() {
        let good = String::from_utf8(Journal::of(&[write("/a", None)], 1).unwrap().to_bytes().unwrap()).unwrap();
        assert!(Journal::parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"made\"", "\"mad\""),
            ("staging", "stagin"),
            (".handoff-0001.new", "../../etc/shadow"),
            (".handoff-0001.new", "shadow"),
            (".handoff-0001.new", ".handoff-1/../x.new"),
            ("\"/a\"", "\"/../a\""),
            ("\"/a\"", "\"a\""),
        ] {
            let damaged = good.replace(from, to);
            assert_ne!(damaged, good, "{from}");
            let error = Journal::parse(damaged.as_bytes()).unwrap_err();
            assert_eq!(error.object(), store::JOURNAL, "{damaged}");
        }
        assert!(Journal::parse(&good.as_bytes()[..good.len() - 1]).is_err());
        assert!(Journal::parse(&vec![b' '; MAX_JOURNAL + 1]).unwrap_err().problem().contains("4 MiB"));
    }

    #[test]
    fn plans_that_cannot_be_one_commit_are_refused() {
        let directory = |path: &str| Step::MakeDirectory { path: GuestPath::of(path), mode: 0o755, owner: Owner::ROOT };
        let link = Step::WriteLink { path: GuestPath::of("/l"), target: "x".into(), before: None };
        let gone = Step::Remove { path: GuestPath::of("/l"), before: Node::link("x") };
        for plan in [
            vec![write("/a", None), write("/a", None)],
            vec![write("/a", Some(Node::directory(0o755)))],
            vec![Step::Remove { path: GuestPath::of("/a"), before: Node::directory(0o755) }],
            vec![link, write("/l/x", None)],
            vec![write("/l/deep/x", None), gone.clone()],
            vec![gone, directory("/l")],
            vec![write("/", None)],
            vec![write("/etc/.handoff-0001.new", None)],
            vec![write(store::JOURNAL, None)],
        ] {
            assert!(Journal::of(&plan, 1).is_err(), "{plan:?}");
        }
        assert!(Journal::of(&[directory("/a"), write("/a/b", None)], 1).is_ok());
    }
}
