//! Where settings come from: a raw container, an ISO 9660 or FAT volume labelled `HANDOFF`, or a file.
//!
//! Disks are read in user space through the block device and never mounted: no kernel file system parses what a host
//! supplies. Nothing here is trusted, and nothing is interpreted beyond what it takes to find the two texts.

mod discovery;
mod fat;
mod iso9660;
mod news;
mod reader;
mod spec;
mod volume;

pub use discovery::{Candidate, Medium, Places, Verdict, list, scan, wait};
pub use news::{News, news};
pub use reader::{Device, ReadAt};
pub use spec::{Spec, load};
pub use volume::LABEL;

use crate::error::{Error, Result};
use crate::trust::{Blob, container};
use reader::{Bounded, Flaw};

/// A blob and the place where it was found.
#[derive(Debug)]
pub struct Found {
    /// The bytes.
    pub blob: Blob,
    /// The place, for people: `/dev/vdb (raw container)`.
    pub place: String,
}

/// What something that can be read turned out to hold.
#[derive(Debug)]
pub struct Content {
    /// The format, for people; `None` where it is none of ours.
    pub kind: Option<&'static str>,
    /// The label of a volume, whatever it says.
    pub label: Option<String>,
    /// The blob; `None` where the thing is not ours; an error where it is ours and broken.
    pub blob: Result<Option<Blob>>,
    /// What else there is to say about a thing that is not ours.
    pub note: Option<String>,
}

impl Content {
    /// The object with its format, for people: `/dev/vdb (raw container)`.
    fn place(&self, object: &str) -> String {
        match (self.kind, &self.label) {
            (None, _) => object.to_owned(),
            (Some(kind), None) => format!("{object} ({kind})"),
            (Some(kind), Some(label)) => format!("{object} ({kind} {label})"),
        }
    }
}

/// The name of the container's format, for people.
const RAW: &str = "raw container";
/// The name of the ISO format, for people.
const ISO: &str = "ISO 9660 volume";
/// The name of the FAT format, for people.
const FAT: &str = "FAT volume";

/// Looks for a blob in what a reader gives: a container at its first byte, or a volume with our label.
///
/// # Errors
/// It is one of ours, and broken: [`crate::Class::NotVerified`]. What is not ours, or cannot be told, is `None`.
pub fn probe(object: &str, reader: &dyn ReadAt) -> Result<Option<Blob>> {
    inspect(object, reader).blob
}

/// Like [`probe`], with what else was seen.
pub fn inspect(object: &str, reader: &dyn ReadAt) -> Content {
    let reader = Bounded::new(reader);
    let mut content = Content { kind: None, label: None, blob: Ok(None), note: None };
    if let Err(Flaw(note)) = look(object, &reader, &mut content) {
        content.note = Some(note.into_owned());
    }
    content
}

/// Fills in the content. An error is what keeps us from knowing whether the thing is ours.
fn look(object: &str, reader: &Bounded<'_>, content: &mut Content) -> Result<(), Flaw> {
    let mut header = [0; container::HEADER_LEN];
    let start = usize::try_from(reader.size()).unwrap_or(usize::MAX).min(header.len());
    reader.exact(0, header.get_mut(..start).unwrap_or_default())?;
    if container::looks_like(header.get(..start).unwrap_or_default()) {
        content.kind = Some(RAW);
        content.blob = raw(object, reader, &header).map(Some);
        return Ok(());
    }

    // An unreadable place where another format would be is no reason not to look for the next.
    let (volume, flaw) = iso9660::identify(reader).map_or_else(|flaw| (None, Some(flaw)), |volume| (volume, None));
    if let Some(volume) = volume {
        content.kind = Some(ISO);
        content.label = Some(volume.label.clone());
        if volume::is_ours(&volume.label) {
            content.blob = blob(object, volume.files(reader)).map(Some);
            return Ok(());
        }
    }

    if let Some(volume) = fat::identify(reader)? {
        let label = volume.label().map(str::to_owned);
        let ours = label.as_deref().is_some_and(volume::is_ours);
        // A boot sector of FAT before an ISO volume is how a CD boots. Only ours is worth a word then.
        if ours || content.kind.is_none() {
            content.kind = Some(FAT);
            content.note = volume.flaw().map(|flaw| flaw.0.clone().into_owned());
            content.label = label;
        }
        if ours {
            content.note = None;
            content.blob = blob(object, volume.files(reader)).map(Some);
            return Ok(());
        }
    }
    flaw.map_or(Ok(()), Err)
}

/// Reads the body of a container.
fn raw(object: &str, reader: &Bounded<'_>, header: &[u8; container::HEADER_LEN]) -> Result<Blob> {
    if !reader.holds(0, container::HEADER_LEN as u64) {
        return Err(broken(object, &format!("is cut off after {} bytes", reader.size()).into()));
    }
    let header = container::Header::parse(object, header)?;
    let body = reader.bytes(container::HEADER_LEN as u64, header.body_len());
    header.open(object, &body.map_err(|flaw| broken(object, &flaw))?)
}

/// The blob of a volume's two files.
fn blob(object: &str, files: Result<volume::Files, Flaw>) -> Result<Blob> {
    let files = files.map_err(|flaw| broken(object, &flaw))?;
    Blob::new(object, files.settings, files.signature)
}

/// The error about something that is ours and broken.
fn broken(object: &str, Flaw(problem): &Flaw) -> Error {
    Error::not_verified(object, problem, "make the settings disk again and attach the new one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io;

    /// A device of zeros, some of whose places cannot be read, that counts what is read.
    struct Zeros {
        size: u64,
        bad: std::ops::Range<u64>,
        read: Cell<usize>,
    }

    impl Zeros {
        fn new(size: u64, bad: std::ops::Range<u64>) -> Zeros {
            Zeros { size, bad, read: Cell::new(0) }
        }
    }

    impl ReadAt for Zeros {
        fn size(&self) -> u64 {
            self.size
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bad.contains(&offset) {
                return Err(io::Error::other("bad sector"));
            }
            self.read.set(self.read.get() + buffer.len());
            buffer.fill(0);
            Ok(buffer.len())
        }
    }

    #[test]
    fn of_a_large_empty_disk_a_few_sectors_are_read() {
        let zeros = Zeros::new(4 << 30, 0..0);
        assert!(probe("disk", &zeros).unwrap().is_none());
        assert!(zeros.read.get() < 8192, "{}", zeros.read.get());
    }

    #[test]
    fn a_disk_that_cannot_be_read_is_not_ours_and_that_is_noted() {
        for bad in [0..1, 32768..32769, 0..1 << 30] {
            let content = inspect("disk", &Zeros::new(1 << 20, bad));
            assert!(content.blob.unwrap().is_none());
            assert!(content.note.unwrap().contains("bad sector"));
        }
    }

    #[test]
    fn a_disk_of_ours_that_cannot_be_read_is_broken() {
        struct Failing(Vec<u8>, u64);
        impl ReadAt for Failing {
            fn size(&self) -> u64 {
                self.0.size()
            }
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
                if offset >= self.1 { Err(io::Error::other("bad sector")) } else { self.0.read_at(offset, buffer) }
            }
        }
        let blob = Blob::new("x", b"{}".to_vec(), None).unwrap();
        let error = probe("/dev/vdb", &Failing(container::encode(&blob), 48)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/dev/vdb: cannot be read at byte 48 (bad sector); make the settings disk again and attach the new one"
        );
    }

    #[test]
    fn a_device_of_any_size_that_is_too_small_is_not_ours() {
        for size in [0, 1, 7, 47, 48, 511, 512, 32768, 32769, 34815] {
            assert!(probe("disk", &vec![0; size]).unwrap().is_none(), "{size}");
            assert!(probe("disk", &vec![0xff; size]).unwrap().is_none(), "{size}");
        }
    }
}
