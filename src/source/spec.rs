//! What an operator names as the source: `auto`, a disk, a file.

use super::discovery::{Places, Seen, examine, scan};
use super::{Content, Found, inspect};
use crate::error::{Error, Result};
use crate::platform;
use crate::trust::{Blob, MAX_BLOB};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where to look for settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spec {
    /// Every disk of the machine: `auto`.
    Auto,
    /// This disk: `disk:/dev/vdb`.
    Disk(PathBuf),
    /// This file: `file:PATH`. A container, an ISO 9660 or FAT image, or `settings.json` with its `.sig` beside it.
    File(PathBuf),
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Spec::Auto),
            Some(("disk", path)) if path.starts_with('/') => Ok(Spec::Disk(path.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Spec::File(path.into())),
            _ => Err(Error::usage(
                format_args!("source `{text}`"),
                "is not known",
                "write auto, disk:/dev/NAME or file:PATH",
            )),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Auto => f.write_str("auto"),
            Spec::Disk(path) => write!(f, "disk:{}", path.display()),
            Spec::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Looks there once, without waiting. `None`: nothing is there, or nothing of ours.
///
/// # Errors
/// What is there is ours and broken, or cannot be opened; a file that is there and holds no settings; with [`Spec::Auto`] also two
/// disks that qualify.
pub fn load(spec: &Spec, places: &Places) -> Result<Option<Found>> {
    look(spec, places, &mut None)
}

/// Like [`load`]. Where a named disk or file is not ours, `note` says what it is.
pub(crate) fn look(spec: &Spec, places: &Places, note: &mut Option<String>) -> Result<Option<Found>> {
    match spec {
        Spec::Auto => scan(places),
        Spec::Disk(path) => disk(path, note),
        Spec::File(path) => file(path, note),
    }
}

fn disk(path: &Path, note: &mut Option<String>) -> Result<Option<Found>> {
    let object = path.display().to_string();
    let content = match examine(path) {
        Ok(Seen::Content(content, _)) => content,
        Ok(Seen::NoMedium) => {
            *note = Some(format!("{object} has no medium"));
            return Ok(None);
        }
        Err(error) if platform::is_absent(&error) => {
            *note = Some(format!("{object} is not there"));
            return Ok(None);
        }
        Err(error) => return Err(unreadable(&object, &error)),
    };
    let place = content.place(&object);
    match content.blob? {
        Some(blob) => Ok(Some(Found { blob, place })),
        None => {
            *note = Some(format!("{place} holds no settings"));
            Ok(None)
        }
    }
}

/// The error about a thing that is there and cannot be opened or read.
pub(crate) fn unreadable(object: &str, error: &io::Error) -> Error {
    let remedy = match platform::is_denied(error) {
        true => "run this as root",
        false => "name a disk or a file that can be read",
    };
    Error::no_settings(object, format_args!("cannot be read ({error})"), remedy)
}

fn file(path: &Path, note: &mut Option<String>) -> Result<Option<Found>> {
    let object = path.display().to_string();
    let file = match platform::open_disk(path) {
        Ok(file) => file,
        Err(error) if platform::is_absent(&error) => {
            *note = Some(format!("{object} is not there"));
            return Ok(None);
        }
        Err(error) => return Err(unreadable(&object, &error)),
    };
    let mut first = [0];
    let count = (&file).read(&mut first).map_err(|error| unreadable(&object, &error))?;
    // Neither a container nor a boot sector begins like a JSON object. An empty file is meant to be one.
    if count == 0 || first.iter().all(|&b| b == b'{' || b.is_ascii_whitespace()) {
        let mut signature = OsString::from(path);
        signature.push(".sig");
        let signature = optional(Path::new(&signature))?;
        let mut settings = first.get(..count).unwrap_or_default().to_vec();
        bounded(&object, file, &mut settings)?;
        let blob = Blob::new(&object, settings, signature)?;
        return Ok(Some(Found { blob, place: format!("{object} (plain file)") }));
    }
    let device = super::Device::new(file).map_err(|error| unreadable(&object, &error))?;
    let content: Content = inspect(&object, &device);
    let place = content.place(&object);
    match content.blob? {
        Some(blob) => Ok(Some(Found { blob, place })),
        None => Err(Error::no_settings(
            &object,
            match &content.label {
                Some(label) => format!("is a volume labelled `{label}`, not HANDOFF"),
                None => "is no container, no ISO 9660 or FAT image and no settings.json".into(),
            },
            "name a file made by `handoff pack`, or a settings.json",
        )),
    }
}

/// The bytes of a file that need not be there.
fn optional(path: &Path) -> Result<Option<Vec<u8>>> {
    let object = path.display().to_string();
    match platform::open_disk(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            bounded(&object, file, &mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&object, &error)),
    }
}

/// Reads what a file has left, at most one byte more than a blob may have, which [`Blob::new`] then refuses.
fn bounded(object: &str, file: File, bytes: &mut Vec<u8>) -> Result<()> {
    file.take(MAX_BLOB as u64 + 1).read_to_end(bytes).map_err(|error| unreadable(object, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use crate::trust::container;
    use std::fs;

    fn places() -> Places {
        Places { sys_class_block: "/nonexistent".into(), dev: "/nonexistent".into() }
    }

    #[test]
    fn a_source_is_read_as_it_is_shown_and_nothing_else() {
        for text in ["auto", "disk:/dev/vdb", "file:a:b", "file:/x y"] {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
        for text in ["", "Auto", "disk", "disk:", "disk:vdb", "file:", "/dev/vdb", "http://x"] {
            let error = text.parse::<Spec>().unwrap_err();
            assert_eq!(error.class(), Class::Usage, "{text}");
            assert!(error.to_string().contains("disk:/dev/NAME"));
        }
    }

    #[test]
    fn a_file_can_be_settings_with_the_signature_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        let spec = Spec::File(path.clone());
        assert!(load(&spec, &places()).unwrap().is_none());
        fs::write(&path, " {}").unwrap();
        let found = load(&spec, &places()).unwrap().unwrap();
        assert_eq!((found.blob.settings(), found.blob.signature()), (b" {}".as_slice(), None));
        fs::write(dir.path().join("settings.json.sig"), "sig").unwrap();
        let found = load(&spec, &places()).unwrap().unwrap();
        assert_eq!(found.blob.signature(), Some(b"sig".as_slice()));
        assert!(found.place.ends_with("settings.json (plain file)"));
    }

    #[test]
    fn a_file_can_be_a_container() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let blob = Blob::new("x", b"{}".to_vec(), Some(b"sig".to_vec())).unwrap();
        fs::write(&path, container::encode(&blob)).unwrap();
        for spec in [Spec::File(path.clone()), Spec::Disk(path.clone())] {
            let found = load(&spec, &places()).unwrap().unwrap();
            assert_eq!(found.blob, blob);
            assert_eq!(found.place, format!("{} (raw container)", path.display()));
        }
    }

    #[test]
    fn settings_that_are_too_large_are_refused_without_being_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        fs::write(&path, "{").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(8 << 30).unwrap();
        assert_eq!(load(&Spec::File(path), &places()).unwrap_err().class(), Class::NotVerified);
    }

    #[test]
    fn a_file_without_settings_is_an_error_and_such_a_disk_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, vec![0; 4096]).unwrap();
        assert_eq!(load(&Spec::File(path.clone()), &places()).unwrap_err().class(), Class::NoSettings);
        assert!(load(&Spec::Disk(path), &places()).unwrap().is_none());
        assert!(load(&Spec::Disk(dir.path().join("none")), &places()).unwrap().is_none());
        assert!(load(&Spec::File(dir.path().into()), &places()).is_err());
    }
}
