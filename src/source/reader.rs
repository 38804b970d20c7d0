//! Reading a device that a host supplies: at checked offsets, all or nothing, and never more than a fixed amount of it.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The most that is read from one candidate, in bytes. Far more than any good disk needs: a blob has at most 1 MiB.
const BUDGET: u64 = 64 << 20;

/// What one request is charged at least, in bytes, so that many tiny requests have an end too.
const LEAST_CHARGE: u64 = 512;

/// Something with a size that can be read at any place: a block device, a file, a slice of memory.
pub trait ReadAt {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Reads some bytes from `offset` on, and says how many. 0 means the end.
    ///
    /// # Errors
    /// What the device reports.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let (to, from): (&mut [u8], &[u8]) = match (buffer.len(), rest.len()) {
            (wanted, there) if wanted <= there => (buffer, rest.get(..wanted).unwrap_or_default()),
            (_, there) => (buffer.get_mut(..there).unwrap_or_default(), rest),
        };
        to.copy_from_slice(from);
        Ok(to.len())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }
}

/// An open block device or regular file, with its size.
#[derive(Debug)]
pub struct Device {
    file: File,
    size: u64,
}

impl Device {
    /// Takes an open block device or regular file. Its size is where a seek to the end arrives, which is right for both.
    ///
    /// # Errors
    /// What the seek reports.
    pub fn new(mut file: File) -> io::Result<Self> {
        let size = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Device { file, size })
    }
}

impl ReadAt for Device {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

/// What is wrong with a candidate, in words that follow its name. Becomes an [`crate::Error`] only when the candidate is
/// known to be ours; of any other disk it is a note.
#[derive(Debug)]
pub(crate) struct Flaw(pub(crate) Cow<'static, str>);

impl From<&'static str> for Flaw {
    fn from(text: &'static str) -> Self {
        Flaw(text.into())
    }
}

impl From<String> for Flaw {
    fn from(text: String) -> Self {
        Flaw(text.into())
    }
}

/// A reader with a budget. Reads are exact: all the bytes, or a flaw.
pub(crate) struct Bounded<'a> {
    inner: &'a dyn ReadAt,
    left: Cell<u64>,
}

impl<'a> Bounded<'a> {
    /// A reader of `inner` with the whole budget.
    pub(crate) fn new(inner: &'a dyn ReadAt) -> Self {
        Bounded { inner, left: Cell::new(BUDGET) }
    }

    /// The size of the device in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.inner.size()
    }

    /// Whether `length` bytes from `offset` on lie on the device.
    pub(crate) fn holds(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.size())
    }

    /// Fills the buffer from `offset` on.
    pub(crate) fn exact(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Flaw> {
        let length = buffer.len() as u64;
        if !self.holds(offset, length) {
            return Err(
                format!("ends at byte {}, and should go on to {}", self.size(), offset.saturating_add(length)).into()
            );
        }
        let charge = length.max(LEAST_CHARGE);
        let left = self.left.get().checked_sub(charge).ok_or("needs more reading than any settings disk does")?;
        self.left.set(left);
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.inner.read_at(offset.saturating_add(done as u64), rest) {
                Ok(0) => return Err(format!("ends at byte {}", offset.saturating_add(done as u64)).into()),
                Ok(count) => done = done.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot be read at byte {offset} ({error})").into()),
            }
        }
        Ok(())
    }

    /// The `length` bytes from `offset` on. They are looked for before memory is taken for them; the caller bounds `length`.
    pub(crate) fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, Flaw> {
        if !self.holds(offset, length as u64) {
            return Err(format!(
                "ends at byte {}, and should go on to {}",
                self.size(),
                offset.saturating_add(length as u64)
            )
            .into());
        }
        let mut bytes = vec![0; length];
        self.exact(offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// The byte at `at`, or `None` beyond the end.
pub(crate) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The little-endian 16-bit number at `at`, or `None` beyond the end.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// The little-endian 32-bit number at `at`, or `None` beyond the end.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// The big-endian 16-bit number at `at`, or `None` beyond the end.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

/// The big-endian 32-bit number at `at`, or `None` beyond the end.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_beyond_the_end_is_refused_and_fills_nothing() {
        let bytes: &[u8] = &[7; 10];
        let memory = bytes.to_vec();
        let reader = Bounded::new(&memory);
        let mut buffer = [0; 4];
        assert!(reader.exact(6, &mut buffer).is_ok());
        assert_eq!(buffer, [7; 4]);
        for offset in [7, 10, 11, u64::MAX] {
            assert!(reader.exact(offset, &mut buffer).is_err(), "{offset}");
        }
        assert!(reader.bytes(0, usize::MAX).is_err());
    }

    #[test]
    fn reading_has_an_end_whatever_the_size_of_the_requests() {
        struct Endless;
        impl ReadAt for Endless {
            fn size(&self) -> u64 {
                u64::MAX
            }
            fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        for length in [1, 512, 1 << 20] {
            let reader = Bounded::new(&Endless);
            let mut buffer = vec![0; length];
            let most = BUDGET / LEAST_CHARGE + 1;
            assert!((0..most).any(|_| reader.exact(0, &mut buffer).is_err()), "{length}");
        }
    }

    #[test]
    fn a_device_that_gives_less_than_it_promised_is_not_believed() {
        struct Short;
        impl ReadAt for Short {
            fn size(&self) -> u64 {
                1 << 20
            }
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(if offset < 100 { buffer.len().min(3) } else { 0 })
            }
        }
        let reader = Bounded::new(&Short);
        assert!(reader.exact(0, &mut [0; 90]).is_ok());
        assert!(reader.exact(90, &mut [0; 90]).is_err());
    }
}
