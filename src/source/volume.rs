//! What ISO 9660 and FAT volumes have in common: the label, the two files, and the names they may have.

use super::reader::Flaw;
use crate::trust::MAX_BLOB;
use std::fmt;

/// The label of a volume that holds settings. Compared without case.
pub const LABEL: &str = "HANDOFF";

/// Whether a volume with this label is one of ours.
pub(crate) fn is_ours(label: &str) -> bool {
    label.eq_ignore_ascii_case(LABEL)
}

/// A padded text without its padding. What is no printable ASCII is replaced, since it can only be shown.
pub(crate) fn padded(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |last| last + 1);
    let shown = |&b: &u8| if matches!(b, b' '..=b'~') { char::from(b) } else { '\u{fffd}' };
    bytes.iter().take(end).map(shown).collect()
}

/// The bytes of the two files.
#[derive(Debug)]
pub(crate) struct Files {
    /// `settings.json`.
    pub(crate) settings: Vec<u8>,
    /// `settings.json.sig`, where there is one.
    pub(crate) signature: Option<Vec<u8>>,
}

/// One of the two files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Which {
    Settings,
    Signature,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Which::Settings => "settings.json",
            Which::Signature => "settings.json.sig",
        })
    }
}

/// The name of a file on a volume.
#[derive(Debug)]
pub(crate) enum Name {
    /// The name that the file was given: Rock Ridge, Joliet, VFAT.
    Long(String),
    /// A name cut to the characters and the length of old systems.
    Plain(String),
}

impl Name {
    /// Which of the two files has this name. Case does not count.
    pub(crate) fn which(&self) -> Option<Which> {
        // What genisoimage and xorriso make of the two names at ISO levels 1, 2 and 3, and with the options that relax them.
        // The first and the third are also what a system without long names makes on FAT.
        let (name, settings, signature): (&str, &[&str], &[&str]) = match self {
            Name::Long(name) => (name, &["settings.json"], &["settings.json.sig"]),
            Name::Plain(name) => {
                (name, &["settings.jso", "settings.json"], &["settings.sig", "settings_json.sig", "settings.json.sig"])
            }
        };
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        match () {
            () if is(settings) => Some(Which::Settings),
            () if is(signature) => Some(Which::Signature),
            () => None,
        }
    }
}

/// The places of the two files, while a directory is looked through.
#[derive(Debug)]
pub(crate) struct Picked<T> {
    settings: Option<T>,
    signature: Option<T>,
}

impl<T> Picked<T> {
    /// Nothing found yet.
    pub(crate) fn new() -> Self {
        Picked { settings: None, signature: None }
    }

    /// Notes one of the files. A second one of the same name is a flaw: which of them counts would be chance.
    pub(crate) fn add(&mut self, which: Which, place: T) -> Result<(), Flaw> {
        let slot = match which {
            Which::Settings => &mut self.settings,
            Which::Signature => &mut self.signature,
        };
        match slot.replace(place) {
            None => Ok(()),
            Some(_) => Err(format!("holds two files that can be {which}").into()),
        }
    }

    /// Reads both files: `length` tells the size of one in bytes, `read` reads it. The sizes are checked before.
    pub(crate) fn read(
        self,
        length: impl Fn(&T) -> u32,
        read: impl Fn(&T, usize) -> Result<Vec<u8>, Flaw>,
    ) -> Result<Files, Flaw> {
        let Some(settings) = self.settings else {
            return Err("has our label and no settings.json in its root directory".into());
        };
        let measure = |which: Which, place: &T| match length(place) as usize {
            size if size <= MAX_BLOB => Ok(size),
            size => Err(Flaw::from(format!("holds a {which} of {size} bytes, more than {MAX_BLOB}"))),
        };
        let settings_length = measure(Which::Settings, &settings)?;
        let signature = match self.signature {
            None => None,
            Some(place) => Some(read(&place, measure(Which::Signature, &place)?)?),
        };
        Ok(Files { settings: read(&settings, settings_length)?, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_name_counts_only_where_names_are_cut() {
        assert_eq!(Name::Long("settings.jso".into()).which(), None);
        assert_eq!(Name::Plain("SETTINGS.JSO".into()).which(), Some(Which::Settings));
        assert_eq!(Name::Long("SETTINGS.JSON".into()).which(), Some(Which::Settings));
        assert_eq!(Name::Long("settings.sig".into()).which(), None);
        assert_eq!(Name::Plain("settings_json.sig".into()).which(), Some(Which::Signature));
        assert_eq!(Name::Plain("SETTIN~1.JSO".into()).which(), None);
    }

    #[test]
    fn two_files_for_one_role_are_a_flaw() {
        let mut picked = Picked::new();
        assert!(picked.add(Which::Settings, 1).is_ok());
        assert!(picked.add(Which::Signature, 2).is_ok());
        assert!(picked.add(Which::Settings, 3).is_err());
    }
}
