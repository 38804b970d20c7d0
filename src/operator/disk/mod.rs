//! Making settings disks. The same blob gives the same image to the byte, on any machine and at any time.

mod fat;
mod iso;
mod raw;

use crate::error::{Error, Result};
use crate::trust::Blob;
use clap::ValueEnum;
use std::fmt;

/// The form of a settings disk. What is said of each is also its help on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// Our own container: the least to read
    Raw,
    /// An ISO 9660 volume labelled HANDOFF
    Iso,
    /// A FAT volume labelled HANDOFF
    Fat,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Raw => "raw",
            Format::Iso => "iso",
            Format::Fat => "fat",
        })
    }
}

/// The image of a disk that holds this blob. Its size is a multiple of 512 bytes, as machines want of disks.
///
/// # Errors
/// The file system could not be made: [`crate::Class::NotApplied`].
pub fn image(format: Format, blob: &Blob) -> Result<Vec<u8>> {
    match format {
        Format::Raw => Ok(raw::image(blob)),
        Format::Iso => Ok(iso::image(blob)),
        Format::Fat => fat::image(blob).map_err(|error| {
            Error::not_applied("FAT image", format_args!("cannot be made ({error})"), "use --format iso")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::probe;
    use crate::trust::MAX_BLOB;

    const FORMATS: [Format; 3] = [Format::Raw, Format::Iso, Format::Fat];

    fn blob(settings: usize, signature: Option<usize>) -> Blob {
        let text = |size| (0..size).map(|i: usize| (i % 251) as u8).collect::<Vec<u8>>();
        Blob::new("test", text(settings), signature.map(text)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_at_every_size() {
        let sizes = [1, 511, 512, 513, 2047, 2048, 2049, 4096 - 48, 100_000];
        let mut blobs: Vec<Blob> = sizes.iter().map(|&size| blob(size, Some(300))).collect();
        blobs.push(blob(20, None));
        blobs.push(blob(MAX_BLOB, None));
        blobs.push(blob(MAX_BLOB - 1, Some(1)));
        blobs.push(blob(1, Some(MAX_BLOB - 1)));
        for blob in blobs {
            for format in FORMATS {
                let image = image(format, &blob).unwrap();
                assert_eq!(image.len() % 512, 0);
                assert_eq!(probe("test", &image).unwrap().as_ref(), Some(&blob), "{format} {blob:?}");
            }
        }
    }

    #[test]
    fn the_same_blob_gives_the_same_image() {
        let make = || FORMATS.map(|format| image(format, &blob(3000, Some(300))).unwrap());
        let first = make();
        // FAT counts time in steps of two seconds.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        assert!(first == make());
    }

    #[test]
    fn a_format_is_read_as_it_is_shown() {
        for format in FORMATS {
            assert_eq!(Format::from_str(&format.to_string(), false).unwrap(), format);
        }
        assert!(Format::from_str("ISO", false).is_err());
    }
}
