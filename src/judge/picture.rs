//! The guest's tree as it will be after a commit, as acts that show it to a command without changing the guest.
//!
//! A file that changes is covered by a new one. Where a name comes or goes, the whole directory is covered by a new one, which
//! shows again all that stays; that is done from the deepest directory upwards, so that each shows what was covered below it.
//! No overlay file system is needed for this, and every kernel can do it.

use super::paths::Paths;
use crate::commit::store;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, MAX_GUEST_LIST, MAX_LINKS, Node, Owner, View as _};
use crate::plan::Step;
use crate::platform::Act;
use crate::platform::files::{self, Stat};
use crate::root::Root;
use std::cmp::Reverse;
use std::fmt::Display;

/// Where a command may write, and finds nothing of this machine. The second word: whether it finds the directories that are
/// there, empty.
const PLACES: [(&str, bool); 5] =
    [("/run", true), ("/tmp", false), ("/var/tmp", false), ("/var/log", true), ("/dev/shm", false)];
/// How deep, and how many.
const MAX_DEPTH: usize = 3;
const MAX_DIRECTORIES: usize = 512;

/// What stands at a path after the commit.
#[derive(Clone, Copy)]
pub(super) enum After<'a> {
    File { content: &'a [u8], mode: u32, owner: Owner },
    Link(&'a str),
    Directory { mode: u32, owner: Owner },
    Nothing,
}

/// The acts that show the tree of this guest as it will be after the steps.
///
/// Our own memory is left out. Names that are not UTF-8 are not seen in a directory in which another name comes or goes.
///
/// # Errors
/// The guest cannot be read, or has no directory that can be covered (`/run`, `/tmp`).
pub(super) fn picture<'a>(steps: &'a [Step], root: &Root) -> Result<Vec<Act<'a>>> {
    let mut painter = Painter { root, after: after(steps, root)?, places: places(root)?, acts: Vec::new(), number: 0 };
    let Some(stage) = painter.places.iter().map(|(place, _)| place).min().map(GuestPath::to_string) else {
        return Err(Error::not_applied(
            "checks",
            "the guest has neither /run nor /tmp, where they could be prepared",
            "make these directories in the image",
        ));
    };
    painter.acts.push(Act::Stage { path: stage.clone() });
    let (files, mut directories) = painter.covered()?;
    for path in files {
        painter.cover_file(&stage, &path);
    }
    directories.sort_by_key(|path| Reverse(path.components().count()));
    let mut root_at = None;
    for path in directories {
        let at = painter.cover_directory(&stage, &path)?;
        if path == GuestPath::root() {
            root_at = Some(at);
        } else {
            painter.acts.push(Act::Bind { from: at, to: path.to_string() });
        }
    }
    painter.acts.push(Act::Seal { path: stage });
    painter.acts.extend(root_at.map(|path| Act::Enter { path }));
    painter.private_places()?;
    Ok(painter.acts)
}

struct Painter<'a, 'r> {
    root: &'r Root,
    /// By real paths, without links on the way.
    after: Paths<'a>,
    /// The places there are, and whether their directories are shown.
    places: Vec<(GuestPath, bool)>,
    acts: Vec<Act<'a>>,
    number: usize,
}

impl<'a> Painter<'a, '_> {
    fn is_private(&self, path: &GuestPath) -> bool {
        self.places.iter().any(|(place, _)| path.is_within(place))
    }

    /// The files that are covered, and the directories.
    fn covered(&self) -> Result<(Vec<GuestPath>, Vec<GuestPath>)> {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for (path, after) in self.after.iter() {
            if self.is_private(path) {
                continue;
            }
            match (after, self.root.stat(path)?) {
                (After::Nothing, None) => {}
                (After::File { .. }, Some(Stat { kind: Kind::File, .. })) => files.push(path.clone()),
                (After::Directory { mode, owner }, Some(stat)) if stat.kind == Kind::Directory => {
                    if (*mode, *owner) != (stat.mode, stat.owner) {
                        directories.push(path.clone());
                    }
                }
                _ => {
                    let Some(parent) = path.parent() else { continue };
                    // Below a directory that is new itself it comes with that.
                    if self.root.stat(&parent)?.is_some_and(|stat| stat.kind == Kind::Directory) {
                        directories.push(parent);
                    }
                }
            }
        }
        directories.sort();
        directories.dedup();
        Ok((files, directories))
    }

    /// A path for something new.
    fn fresh(&mut self, stage: &str) -> String {
        self.number += 1;
        format!("{stage}/{}", self.number)
    }

    fn cover_file(&mut self, stage: &str, path: &GuestPath) {
        if let Some(After::File { content, mode, owner }) = self.after.get(path).copied() {
            let at = self.fresh(stage);
            self.acts.push(Act::File { path: at.clone(), content, mode, owner });
            self.acts.push(Act::Bind { from: at, to: path.to_string() });
        }
    }

    /// Builds a directory as it will be. Returns where.
    fn cover_directory(&mut self, stage: &str, path: &GuestPath) -> Result<String> {
        let at = self.fresh(stage);
        let open = self.root.open_directory(path)?.ok_or_else(|| changed(path))?;
        let now = files::stat(&open).map_err(|error| unreadable(path, error))?;
        let (mode, owner) = match self.after.get(path) {
            Some(After::Directory { mode, owner }) => (*mode, *owner),
            _ => (now.mode, now.owner),
        };
        self.acts.push(Act::Directory { path: at.clone(), mode, owner });
        let mut made = self.in_directory(path);
        for name in names(&open, path)? {
            let Ok(child) = path.join(&name) else { continue };
            let Some(stat) = files::stat_at(&open, &name).map_err(|error| unreadable(&child, error))? else { continue };
            match (made.get(&child), stat.kind) {
                // It stays what it is, and is covered itself where it changes.
                (None, _)
                | (Some(After::File { .. }), Kind::File)
                | (Some(After::Directory { .. }), Kind::Directory) => {
                    made.remove(&child);
                }
                (Some(_), _) => continue,
            }
            let to = format!("{at}/{name}");
            match stat.kind {
                Kind::Link => {
                    let target = files::read_link_at(&open, &name).map_err(|error| unreadable(&child, error))?;
                    let Ok(target) = String::from_utf8(target) else { continue };
                    self.acts.push(Act::Link { path: to, target, owner: stat.owner });
                    continue;
                }
                Kind::Directory => {
                    self.acts.push(Act::Directory { path: to.clone(), mode: stat.mode, owner: stat.owner });
                    // These are covered at last, by something empty.
                    if self.places.iter().any(|(place, _)| *place == child) {
                        continue;
                    }
                }
                Kind::File | Kind::Other => {
                    self.acts.push(Act::File { path: to.clone(), content: &[], mode: 0o600, owner: Owner::ROOT });
                }
            }
            self.acts.push(Act::Bind { from: child.to_string(), to });
        }
        for (child, after) in made.iter() {
            self.make(&format!("{at}/{}", child.name()), child, *after);
        }
        Ok(at)
    }

    /// What the steps speak of directly in a directory.
    fn in_directory(&self, path: &GuestPath) -> Paths<'a> {
        let mut children = Paths::new();
        let below = self.after.from(path).take_while(|(other, _)| other.as_str().starts_with(path.as_str()));
        for (other, after) in below.filter(|(other, _)| other.parent().as_ref() == Some(path)) {
            children.insert(other.clone(), *after);
        }
        children
    }

    /// Makes something new, with all that is new in it.
    fn make(&mut self, at: &str, path: &GuestPath, after: After<'a>) {
        self.acts.extend(act(at, after));
        if let After::Directory { .. } = after {
            for (child, after) in self.in_directory(path).iter() {
                self.make(&format!("{at}/{}", child.name()), child, *after);
            }
        }
    }

    /// Covers the places in which a command may write.
    fn private_places(&mut self) -> Result<()> {
        for (place, shows_directories) in self.places.clone() {
            let Some(stat) = self.root.stat(&place)? else { continue };
            self.acts.push(Act::Private { path: place.to_string(), mode: stat.mode, owner: stat.owner });
            let mut inside = Paths::new();
            if shows_directories {
                self.directories(&place, MAX_DEPTH, &mut inside)?;
            }
            // Parents come before what is in them, because their paths are shorter.
            for (path, after) in self.after.from(&place) {
                if path.is_within(&place) && *path != place {
                    let above = std::iter::successors(path.parent(), GuestPath::parent);
                    for directory in above.take_while(|directory| *directory != place) {
                        if inside.get(&directory).is_none() {
                            inside.insert(directory, After::Directory { mode: 0o755, owner: Owner::ROOT });
                        }
                    }
                    inside.insert(path.clone(), *after);
                }
            }
            self.acts.extend(inside.iter().filter_map(|(path, after)| act(path.as_str(), *after)));
        }
        Ok(())
    }

    /// The directories below one.
    fn directories(&self, path: &GuestPath, depth: usize, all: &mut Paths<'a>) -> Result<()> {
        let Some(open) = self.root.open_directory(path)? else { return Ok(()) };
        for name in names(&open, path)? {
            let (Ok(child), Ok(Some(stat))) = (path.join(&name), files::stat_at(&open, &name)) else { continue };
            if stat.kind != Kind::Directory {
                continue;
            }
            if all.len() >= MAX_DIRECTORIES {
                return Ok(());
            }
            all.insert(child.clone(), After::Directory { mode: stat.mode, owner: stat.owner });
            if depth > 1 {
                self.directories(&child, depth - 1, all)?;
            }
        }
        Ok(())
    }
}

/// Makes it; nothing for nothing.
fn act<'a>(at: &str, after: After<'a>) -> Option<Act<'a>> {
    let path = at.to_owned();
    match after {
        After::File { content, mode, owner } => Some(Act::File { path, content, mode, owner }),
        After::Link(target) => Some(Act::Link { path, target: target.to_owned(), owner: Owner::ROOT }),
        After::Directory { mode, owner } => Some(Act::Directory { path, mode, owner }),
        After::Nothing => None,
    }
}

/// What stands at each path that the steps change, when they are done.
fn after<'a>(steps: &'a [Step], root: &Root) -> Result<Paths<'a>> {
    let own = GuestPath::of(store::DIRECTORY);
    let mut all = Paths::new();
    for step in steps.iter().filter(|step| !step.path().is_within(&own)) {
        let path = real_place(step.path(), root)?;
        let after = match step {
            Step::MakeDirectory { mode, owner, .. } => After::Directory { mode: *mode, owner: *owner },
            Step::WriteFile { file, .. } => After::File { content: &file.content, mode: file.mode, owner: file.owner },
            Step::WriteLink { target, .. } => After::Link(target),
            Step::SetAttributes { mode, owner, before, .. } => match before {
                Node::File(file) => After::File { content: &file.content, mode: *mode, owner: *owner },
                Node::Directory { .. } => After::Directory { mode: *mode, owner: *owner },
                Node::Link(_) => continue,
            },
            Step::Remove { .. } => After::Nothing,
            Step::RemoveDirectory { .. } if is_emptied(&path, &all, root)? => After::Nothing,
            Step::RemoveDirectory { .. } => continue,
        };
        if !matches!(after, After::Nothing) {
            for above in std::iter::successors(path.parent(), GuestPath::parent) {
                if all.get(&above).is_some() || root.stat(&above)?.is_some() {
                    break;
                }
                all.insert(above, After::Directory { mode: 0o755, owner: Owner::ROOT });
            }
        }
        all.insert(path, after);
    }
    Ok(all)
}

/// Whether nothing is left in a directory after the steps so far.
fn is_emptied(path: &GuestPath, all: &Paths<'_>, root: &Root) -> Result<bool> {
    let Some(open) = root.open_directory(path)? else { return Ok(true) };
    let is_gone = |child: &GuestPath| matches!(all.get(child), Some(After::Nothing));
    let stays = names(&open, path)?.iter().any(|name| path.join(name).is_ok_and(|child| !is_gone(&child)));
    let comes = all.iter().any(|(child, _)| child != path && child.is_within(path) && !is_gone(child));
    Ok(!stays && !comes)
}

/// The places there are, by their real paths, none within another.
fn places(root: &Root) -> Result<Vec<(GuestPath, bool)>> {
    let mut places: Vec<(GuestPath, bool)> = Vec::new();
    for (path, shows_directories) in PLACES {
        if let Some(path) = real(&GuestPath::of(path), root)?
            && root.stat(&path)?.is_some_and(|stat| stat.kind == Kind::Directory)
            && path != GuestPath::root()
            && !places.iter().any(|(place, _)| path.is_within(place) || place.is_within(&path))
        {
            places.push((path, shows_directories));
        }
    }
    Ok(places)
}

/// A path whose directories are real ones and not links, as far as they exist.
fn real_place(path: &GuestPath, root: &Root) -> Result<GuestPath> {
    let Some(parent) = path.parent() else { return Ok(path.clone()) };
    match real(&parent, root)? {
        Some(parent) => parent.join(path.name()),
        None => real_place(&parent, root)?.join(path.name()),
    }
}

/// The path with all links followed. `None`: it leads nowhere.
fn real(path: &GuestPath, root: &Root) -> Result<Option<GuestPath>> {
    let mut links = MAX_LINKS;
    let mut here = GuestPath::root();
    let mut left: Vec<String> = path.components().rev().map(str::to_owned).collect();
    while let Some(name) = left.pop() {
        if name == ".." {
            here = here.parent().unwrap_or(here);
            continue;
        }
        let next = here.join(&name)?;
        match root.stat(&next)? {
            None => return Ok(None),
            Some(Stat { kind: Kind::Link, .. }) => {
                let Some(Node::Link(target)) = root.node(&next)? else { return Err(changed(&next)) };
                links = links.checked_sub(1).ok_or_else(|| changed(path))?;
                if target.starts_with('/') {
                    here = GuestPath::root();
                }
                left.extend(GuestPath::names_of_target(&target));
            }
            Some(_) => here = next,
        }
    }
    Ok(Some(here))
}

fn names(directory: &std::os::fd::OwnedFd, path: &GuestPath) -> Result<Vec<String>> {
    let names = files::names(directory, MAX_GUEST_LIST).map_err(|error| unreadable(path, error))?;
    if names.len() > MAX_GUEST_LIST {
        return Err(Error::not_applied(path, "holds more than 16384 names", "remove what is not needed there"));
    }
    let mut names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
    names.sort();
    Ok(names)
}

fn changed(path: &GuestPath) -> Error {
    Error::not_applied(path, "changed while it was read", "try again")
}

fn unreadable(path: impl Display, error: files::SystemError) -> Error {
    let reason = std::io::Error::from(error);
    Error::not_applied(path, format_args!("cannot be read: {reason}"), "run as root")
}
