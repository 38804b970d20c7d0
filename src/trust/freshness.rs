//! Whether settings that are genuine are also meant for this machine, now: replay, and settings of another machine.

use super::blob::Digest;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// What a guest has committed last for an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Its serial number.
    pub serial: u64,
    /// The digest of its settings.
    pub digest: Digest,
}

/// Refuses settings older than those this guest has committed for the same instance.
///
/// A lower serial is a replay. An equal one with another content is refused too: of two texts with one number nobody
/// can say which is newer. The same settings again are fine.
///
/// # Errors
/// [`crate::Class::NotVerified`].
pub fn check_serial(id: &str, serial: u64, digest: &Digest, known: &BTreeMap<String, Mark>) -> Result<()> {
    let Some(mark) = known.get(id) else {
        return Ok(());
    };
    let next = mark.serial.saturating_add(1);
    if serial < mark.serial {
        return Err(Error::not_verified(
            "instance.serial",
            format_args!("is {serial}, but this guest has already committed serial {} of {id}", mark.serial),
            format_args!("give it the newest settings, or sign these anew with serial {next} or higher"),
        ));
    }
    if serial == mark.serial && *digest != mark.digest {
        return Err(Error::not_verified(
            "instance.serial",
            format_args!("is {serial}, but this guest has committed other settings of {id} under the same serial"),
            format_args!("raise it to {next} or higher and sign again"),
        ));
    }
    Ok(())
}

/// Refuses settings without `instance` where this guest has committed some with it: they could be a replay, and nothing
/// could tell.
///
/// # Errors
/// [`crate::Class::NotVerified`].
pub fn check_no_instance(known: &BTreeMap<String, Mark>) -> Result<()> {
    match known.iter().next_back() {
        None => Ok(()),
        Some((id, mark)) => Err(Error::not_verified(
            "instance",
            format_args!("is missing, but this guest has committed serial {} of {id}", mark.serial),
            format_args!("add instance.id {id:?} and a serial higher than {}, and sign again", mark.serial),
        )),
    }
}

/// Refuses settings that are made for another machine. `actual` is what Linux shows in
/// `/sys/class/dmi/id/product_uuid`, `None` where the machine has none.
///
/// # Errors
/// [`crate::Class::NotVerified`].
pub fn check_machine(wanted: &Uuid, actual: Option<&Uuid>) -> Result<()> {
    let Some(actual) = actual.filter(|uuid| uuid.identifies()) else {
        return Err(Error::not_verified(
            "instance.machine",
            format_args!("is {wanted}, but this machine has no UUID"),
            "give the machine a UUID, or remove instance.machine and sign again",
        ));
    };
    if wanted == actual {
        return Ok(());
    }
    let problem = format!("is {wanted}, but this machine is {actual}");
    if wanted.swapped() == *actual {
        return Err(Error::not_verified(
            "instance.machine",
            problem,
            format_args!(
                "write {actual}: it is the same number with the bytes of its first three groups in the other order, \
                 and /sys/class/dmi/id/product_uuid in the guest is what counts"
            ),
        ));
    }
    Err(Error::not_verified(
        "instance.machine",
        problem,
        "give each machine its own settings; /sys/class/dmi/id/product_uuid in the guest is what counts",
    ))
}

/// A machine's UUID. Shown in lower case.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Reads groups of 8, 4, 4, 4 and 12 hexadecimal digits of either case, joined by `-`. `None` for anything else,
    /// a line end too: a file's must be cut off before.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) {
            return None;
        }
        let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (high, low) = (digits.next()??, digits.next()??);
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Uuid(bytes))
    }

    /// The same UUID read with the other byte order in its first three groups. SMBIOS stores those little-endian since
    /// version 2.6 (DSP0134, "System UUID"), and tools disagree on what came before.
    fn swapped(self) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.0;
        let mut bytes = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
        for (byte, from) in bytes.iter_mut().skip(8).zip(rest) {
            *byte = from;
        }
        Uuid(bytes)
    }

    /// Whether it tells one machine from another: all zeros and all ones mean that none is set (DSP0134).
    fn identifies(&self) -> bool {
        self.0 != [0; 16] && self.0 != [0xff; 16]
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4e3132";

    fn known(id: &str, serial: u64, content: &[u8]) -> BTreeMap<String, Mark> {
        BTreeMap::from([(id.to_owned(), Mark { serial, digest: Digest::of(content) })])
    }

    #[test]
    fn a_serial_only_grows() {
        let known = known("lb", 7, b"seven");
        assert!(check_serial("lb", 6, &Digest::of(b"six"), &known).is_err());
        assert!(check_serial("lb", 6, &Digest::of(b"seven"), &known).is_err());
        assert!(check_serial("lb", 7, &Digest::of(b"other"), &known).is_err());
        assert_eq!(check_serial("lb", 7, &Digest::of(b"seven"), &known), Ok(()));
        assert_eq!(check_serial("lb", 8, &Digest::of(b"eight"), &known), Ok(()));
        assert_eq!(check_serial("other", 1, &Digest::of(b"one"), &known), Ok(()));
        assert_eq!(check_serial("lb", 0, &Digest::of(b""), &BTreeMap::new()), Ok(()));
    }

    #[test]
    fn the_highest_serial_is_no_overflow() {
        let known = known("lb", u64::MAX, b"a");
        assert!(check_serial("lb", u64::MAX, &Digest::of(b"b"), &known).is_err());
    }

    #[test]
    fn settings_without_instance_are_refused_once_there_was_one() {
        assert_eq!(check_no_instance(&BTreeMap::new()), Ok(()));
        let error = check_no_instance(&known("lb", 7, b"")).unwrap_err();
        assert_eq!(error.class(), crate::Class::NotVerified);
        assert!(error.to_string().contains("lb"), "{error}");
    }

    #[test]
    fn a_uuid_is_read_in_either_case_and_shown_in_lower() {
        assert_eq!(Uuid::parse(&UUID.to_uppercase()).unwrap().to_string(), UUID);
        for wrong in [
            "",
            &UUID[1..],
            &format!("{UUID}0"),
            &format!("{{{UUID}}}"),
            &UUID.replace('-', ""),
            &UUID.replace('b', "g"),
            &UUID.replace("b4", "é"),
            "4c4c454-40042-3510-8052-b4c04f4e3132",
            " 4c4c4544-0042-3510-8052-b4c04f4e313",
        ] {
            assert_eq!(Uuid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_this_machine_is_accepted() {
        let wanted = Uuid::parse(UUID).unwrap();
        let other = Uuid::parse("00000000-0000-0000-0000-000000000001").unwrap();
        assert_eq!(check_machine(&wanted, Some(&wanted)), Ok(()));
        assert!(check_machine(&wanted, Some(&other)).unwrap_err().problem().contains(UUID));
        assert!(check_machine(&wanted, None).unwrap_err().problem().contains("has no UUID"));
    }

    #[test]
    fn a_uuid_that_says_none_is_set_identifies_no_machine() {
        for text in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
            let uuid = Uuid::parse(text).unwrap();
            assert!(check_machine(&uuid, Some(&uuid)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_uuid_in_the_other_byte_order_is_refused_with_its_own_hint() {
        let wanted = Uuid::parse("44454c4c-4200-1035-8052-b4c04f4e3132").unwrap();
        let actual = Uuid::parse(UUID).unwrap();
        let error = check_machine(&wanted, Some(&actual)).unwrap_err();
        assert!(error.remedy().contains(&format!("write {UUID}")), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}|[0-9a-f-]{36}") {
            let _ = Uuid::parse(&text);
        }
    }
}
