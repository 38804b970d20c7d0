//! Files that the tool reads and makes.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Who may read a file that is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readers {
    /// Only its owner: settings hold password hashes.
    Owner,
    /// Everybody, as far as the umask lets them.
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Readers::Owner => 0o600,
            Readers::Everybody => 0o644,
        }
    }
}

/// The name of a file with more at its end: `settings.json` and `.sig`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// All bytes of a file, of which there may be at most `limit`; `-` is the standard input.
///
/// # Errors
/// It cannot be read, or is larger: [`crate::Class::Usage`].
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>> {
    match read_if_there(path, limit)? {
        Some(bytes) => Ok(bytes),
        None => Err(Error::usage(path.display(), "is not there", "name a file that is there")),
    }
}

/// Like [`read`], where the file need not be there.
///
/// # Errors
/// It cannot be read, or is larger: [`crate::Class::Usage`].
pub fn read_if_there(path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    let unreadable = |error: io::Error| {
        Error::usage(path.display(), format_args!("cannot be read ({error})"), "name a file that you may read")
    };
    let mut bytes = Vec::new();
    let most = limit as u64 + 1;
    let outcome = if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        match File::open(path) {
            Ok(file) => file.take(most).read_to_end(&mut bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        }
    };
    outcome.map_err(unreadable)?;
    if bytes.len() > limit {
        return Err(Error::usage(
            path.display(),
            format_args!("is larger than {limit} bytes"),
            "name the right file, or make it smaller",
        ));
    }
    Ok(Some(bytes))
}

/// Refuses to write onto a file that the command reads, through whatever links the two names lead.
///
/// # Errors
/// It is one of `inputs`: [`crate::Class::Usage`].
pub fn check_apart(path: &Path, inputs: &[&Path]) -> Result<()> {
    let Ok(target) = path.canonicalize() else { return Ok(()) };
    match inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == target)) {
        true => Err(Error::usage(path.display(), "is read by this command, and would be lost", "write another file")),
        false => Ok(()),
    }
}

/// Makes a file, or puts a new one in the place of the old one: whole or not at all, whatever happens meanwhile.
///
/// # Errors
/// It cannot be written: [`crate::Class::NotApplied`].
pub fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    let unwritable = |error: io::Error| {
        Error::not_applied(
            path.display(),
            format_args!("cannot be written ({error})"),
            "name a place that can be written to",
        )
    };
    if path.is_dir() {
        return Err(Error::usage(path.display(), "is a directory", "name a file"));
    }
    // What a link leads to is replaced, not the link.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if !target.exists() || target.is_file() {
        return replace(&target, bytes, readers).map_err(unwritable);
    }
    // A block device or a pipe: nobody wants it replaced by a file.
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).map_err(unwritable)?;
    file.write_all(bytes).map_err(unwritable)?;
    match file.sync_all() {
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(unwritable(error)),
        _ => Ok(()),
    }
}

fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let temporary = with_suffix(path, &format!(".{}.new", std::process::id()));
    let made = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if made.is_err() && !matches!(&made, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
        // It may not be there at all; the error that counts is the one before.
        drop(fs::remove_file(&temporary));
    }
    made
}

/// What went wrong when the tool's own text was printed.
pub fn unprintable(error: io::Error) -> Error {
    Error::not_applied(
        "standard output",
        format_args!("cannot be written ({error})"),
        "send it somewhere that can be written to",
    )
}

/// Somebody who may stop listening: `handoff convert lb.toml | head` is no failure, and the work is still done.
pub struct Listener<'a>(pub &'a mut dyn Write);

impl std::fmt::Debug for Listener<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener(..)")
    }
}

impl Write for Listener<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            outcome => outcome,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.img");
        fs::write(&path, "old").unwrap();
        write(&path, b"new", Readers::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_link_leads_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "longer than the new text").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write(&link, b"new", Readers::Owner).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("none/x"), b"new", Readers::Owner).unwrap_err();
        assert!(error.object().ends_with("none/x"), "{error}");
        assert!(write(dir.path(), b"new", Readers::Owner).unwrap_err().to_string().contains("is a directory"));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_and_an_absent_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(read_if_there(&path, 3).unwrap(), None);
        assert!(read(&path, 3).is_err());
        fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert!(read(&path, 2).unwrap_err().to_string().contains("larger than 2 bytes"));
    }
}
