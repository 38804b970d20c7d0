//! A directory of the trial's own, and pictures of what is in it.

use crate::error::{Error, Result};
use crate::platform;
use crate::trust::Digest;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A directory that only its owner can enter, and that goes when this value goes.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A new directory under the system's place for temporary files.
    pub fn new(keep: bool) -> Result<Self> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            Error::not_applied(
                path.display(),
                format_args!("cannot be made ({error})"),
                "set TMPDIR to a place that can be written to",
            )
        };
        let parent = std::env::temp_dir();
        let random: String = platform::entropy()?.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = parent.join(format!("handoff-try-{random}"));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed(&path, &error))?;
        Ok(Scratch { path, keep })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // Nobody is left who could be told; the system's own cleaning takes what remains.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// One thing in a tree. Two that are equal were not touched in between, unless somebody put the clock back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Thing {
    /// What a user of the guest sees: kind and permissions, and the content.
    seen: (u32, String),
    /// The file itself: inode, seconds and nanoseconds of its last change.
    itself: (u64, i64, i64),
}

/// A picture of a tree: what is at each path below its root.
pub(super) type Picture = BTreeMap<PathBuf, Thing>;

/// Takes a picture. No link is followed.
pub(super) fn picture(root: &Path) -> Result<Picture> {
    let mut picture = Picture::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let failed = |error: io::Error| {
            Error::not_applied(directory.display(), format_args!("cannot be read ({error})"), "look at it with --keep")
        };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let metadata = path.symlink_metadata().map_err(failed)?;
            let content = if metadata.is_dir() {
                waiting.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).map_err(failed)?.display().to_string()
            } else {
                Digest::of(&fs::read(&path).map_err(failed)?).hex()
            };
            // A directory's own time changes with the files in it, which are looked at themselves.
            let changed = if metadata.is_dir() { (0, 0) } else { (metadata.mtime(), metadata.mtime_nsec()) };
            let thing = Thing { seen: (metadata.mode(), content), itself: (metadata.ino(), changed.0, changed.1) };
            let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
            picture.insert(below, thing);
        }
    }
    Ok(picture)
}

/// What is other in the second picture, one line each: `+` new, `~` changed, `-` gone. Our own memory is one line.
pub(super) fn differences(before: &Picture, after: &Picture) -> Vec<String> {
    const MEMORY: &str = "var/lib/handoff";
    let is_ours = |path: &Path| path.starts_with(MEMORY);
    let mut lines = BTreeMap::new();
    for (path, thing) in after.iter().filter(|(path, _)| !is_ours(path)) {
        let suffix = if thing.seen.0 & 0o170_000 == 0o040_000 { "/" } else { "" };
        match before.get(path) {
            None => drop(lines.insert(path, format!("+ /{}{suffix}", path.display()))),
            Some(old) if old.seen != thing.seen => drop(lines.insert(path, format!("~ /{}{suffix}", path.display()))),
            Some(_) => {}
        }
    }
    for path in before.keys().filter(|path| !after.contains_key(*path) && !is_ours(path)) {
        lines.insert(path, format!("- /{}", path.display()));
    }
    let mut lines: Vec<String> = lines.into_values().collect();
    let remembered = after.keys().filter(|path| is_ours(path)).count();
    if remembered > 0 && before.keys().filter(|path| is_ours(path)).count() != remembered {
        lines.push(format!("and its own memory in /{MEMORY}/"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_again_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "x").unwrap();
        let before = picture(dir.path()).unwrap();
        assert_eq!(picture(dir.path()).unwrap(), before);
        fs::write(&b, "x").unwrap();
        fs::rename(&b, &a).unwrap();
        let after = picture(dir.path()).unwrap();
        assert_ne!(after, before);
        assert!(differences(&before, &after).is_empty());
    }

    #[test]
    fn differences_are_told_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["kept", "changed", "gone"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let before = picture(dir.path()).unwrap();
        fs::write(dir.path().join("changed"), "y").unwrap();
        fs::remove_file(dir.path().join("gone")).unwrap();
        fs::create_dir_all(dir.path().join("var/lib/handoff")).unwrap();
        std::os::unix::fs::symlink("kept", dir.path().join("new")).unwrap();
        let lines = differences(&before, &picture(dir.path()).unwrap());
        let expected =
            ["~ /changed", "- /gone", "+ /new", "+ /var/", "+ /var/lib/", "and its own memory in /var/lib/handoff/"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_scratch_directory_is_private_and_goes() {
        let scratch = Scratch::new(false).unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(path.join("x")).unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
