//! The raw container `HANDOFF1`: how a blob lies on a raw block device, a channel, or any place that holds just bytes.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | `HANDOFF1` |
//! | 8 | 4 | length of `settings.json`, little-endian, not 0 |
//! | 12 | 4 | length of `settings.json.sig`, little-endian, 0 where there is none |
//! | 16 | 32 | SHA-256 of the two texts, one after the other |
//! | 48 | … | `settings.json`, then `settings.json.sig` |
//!
//! What follows is padding and is not read. The digest tells damage from forgery: it proves nothing about who wrote it.

use super::blob::{Blob, Digest, MAX_BLOB};
use crate::error::{Error, Result};
use sha2::{Digest as _, Sha256};

/// The size of the header, in bytes.
pub const HEADER_LEN: usize = 48;

const MAGIC: [u8; 8] = *b"HANDOFF1";
const REMEDY: &str = "write the container again with `handoff pack --format raw`";

/// The container of this blob: header and both texts, without padding.
pub fn encode(blob: &Blob) -> Vec<u8> {
    let signature = blob.signature().unwrap_or_default();
    let mut out = Vec::with_capacity(HEADER_LEN + blob.settings().len() + signature.len());
    out.extend_from_slice(&MAGIC);
    // A blob never measures more than MAX_BLOB, which fits in 32 bits.
    out.extend_from_slice(&(blob.settings().len() as u32).to_le_bytes());
    out.extend_from_slice(&(signature.len() as u32).to_le_bytes());
    out.extend_from_slice(body_digest(blob.settings(), signature).as_bytes());
    out.extend_from_slice(blob.settings());
    out.extend_from_slice(signature);
    out
}

/// Whether these first bytes are those of a container. Fewer than 8 bytes never are.
pub fn looks_like(first: &[u8]) -> bool {
    first.starts_with(&MAGIC)
}

/// The blob in a container that is in memory as a whole; padding may follow.
///
/// # Errors
/// No container, lengths that lie, truncated, or damaged: [`crate::Class::NotVerified`].
pub fn decode(object: &str, bytes: &[u8]) -> Result<Blob> {
    let truncated = || Error::not_verified(object, format_args!("is cut off after {} bytes", bytes.len()), REMEDY);
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or_else(truncated)?;
    let header = Header::parse(object, header)?;
    let body = rest.get(..header.body_len()).ok_or_else(truncated)?;
    header.open(object, body)
}

/// A header whose lengths are believable: the settings are not empty, and both texts together are at most [`MAX_BLOB`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    settings_len: usize,
    signature_len: usize,
    digest: Digest,
}

impl Header {
    /// Reads a header. Nothing is allocated for the lengths it states. `object` names the place, for the error.
    ///
    /// # Errors
    /// Another magic, or lengths beyond the limits: [`crate::Class::NotVerified`].
    pub fn parse(object: &str, bytes: &[u8; HEADER_LEN]) -> Result<Self> {
        let (magic, rest) = bytes.split_at(8);
        if magic != MAGIC {
            return Err(Error::not_verified(object, "does not begin with HANDOFF1", REMEDY));
        }
        let (lengths, digest) = rest.split_at(8);
        let (settings_len, signature_len) = lengths.split_at(4);
        let settings_len = little_endian(settings_len);
        let signature_len = little_endian(signature_len);
        let sum = settings_len.checked_add(signature_len);
        if settings_len == 0 || sum.is_none_or(|sum| sum > MAX_BLOB as u64) {
            return Err(Error::not_verified(
                object,
                format_args!(
                    "its header states {settings_len} bytes of settings and {signature_len} of signature, \
                     but together they may measure 1 to {MAX_BLOB}"
                ),
                REMEDY,
            ));
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest);
        Ok(Header {
            settings_len: settings_len as usize,
            signature_len: signature_len as usize,
            digest: Digest::from_bytes(bytes),
        })
    }

    /// The length of `settings.json`, in bytes; not 0.
    pub fn settings_len(&self) -> usize {
        self.settings_len
    }

    /// The length of `settings.json.sig`, in bytes; 0 where there is none.
    pub fn signature_len(&self) -> usize {
        self.signature_len
    }

    /// How many bytes follow the header: both texts, at most [`MAX_BLOB`].
    pub fn body_len(&self) -> usize {
        self.settings_len + self.signature_len
    }

    /// The blob in `body`, which are the [`body_len`](Self::body_len) bytes that follow the header.
    ///
    /// # Errors
    /// Another length, or bytes that do not have the digest in the header: [`crate::Class::NotVerified`].
    pub fn open(self, object: &str, body: &[u8]) -> Result<Blob> {
        let (settings, signature) = match body.split_at_checked(self.settings_len) {
            Some((settings, signature)) if signature.len() == self.signature_len => (settings, signature),
            _ => {
                return Err(Error::not_verified(
                    object,
                    format_args!("holds {} bytes of {}", body.len(), self.body_len()),
                    REMEDY,
                ));
            }
        };
        if body_digest(settings, signature) != self.digest {
            return Err(Error::not_verified(
                object,
                "is damaged: its bytes do not have the digest in its header",
                REMEDY,
            ));
        }
        Blob::new(object, settings.to_vec(), (!signature.is_empty()).then(|| signature.to_vec()))
    }
}

fn body_digest(settings: &[u8], signature: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::new().chain_update(settings).chain_update(signature).finalize().into())
}

/// The number in these bytes. 64 bits, so that a sum of two lengths cannot overflow where `usize` has 32.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blob() -> Blob {
        Blob::new("x", b"{\"version\":1}".to_vec(), Some(b"signature".to_vec())).unwrap()
    }

    /// A header with these lengths and the digest of nothing in particular.
    fn header(settings: u32, signature: u32) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(b"HANDOFF1");
        bytes[8..12].copy_from_slice(&settings.to_le_bytes());
        bytes[12..16].copy_from_slice(&signature.to_le_bytes());
        bytes
    }

    #[test]
    fn a_container_has_the_published_layout() {
        let blob = Blob::new("x", b"ab".to_vec(), Some(b"c".to_vec())).unwrap();
        let bytes = encode(&blob);
        assert_eq!(&bytes[..16], b"HANDOFF1\x02\0\0\0\x01\0\0\0");
        // printf abc | sha256sum
        let digest = Digest::parse("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        assert_eq!(&bytes[16..48], digest.as_bytes());
        assert_eq!(&bytes[48..], b"abc");
    }

    #[test]
    fn a_container_gives_back_its_blob_whatever_follows() {
        for blob in [blob(), Blob::new("x", b"{}".to_vec(), None).unwrap()] {
            let mut bytes = encode(&blob);
            assert!(looks_like(&bytes));
            assert_eq!(decode("x", &bytes).unwrap(), blob);
            bytes.extend_from_slice(&[0xa5; 700]);
            assert_eq!(decode("x", &bytes).unwrap(), blob);
        }
    }

    #[test]
    fn a_truncated_container_is_refused_at_every_length() {
        let bytes = encode(&blob());
        for length in 0..bytes.len() {
            assert!(decode("x", &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_read() {
        let most = MAX_BLOB as u32;
        for (settings, signature) in
            [(0, 0), (0, 9), (most + 1, 0), (most, 1), (1, most), (u32::MAX, 0), (1, u32::MAX), (u32::MAX, u32::MAX)]
        {
            let error = Header::parse("/dev/vdb", &header(settings, signature)).unwrap_err();
            assert!(error.to_string().contains("its header states"), "{error}");
        }
        let header = Header::parse("x", &header(most - 5, 5)).unwrap();
        assert_eq!((header.settings_len(), header.signature_len(), header.body_len()), (MAX_BLOB - 5, 5, MAX_BLOB));
    }

    #[test]
    fn a_body_of_another_length_is_refused() {
        let bytes = encode(&blob());
        let header = Header::parse("x", bytes.first_chunk().unwrap()).unwrap();
        let mut body = bytes[HEADER_LEN..].to_vec();
        assert!(header.open("x", &body[..body.len() - 1]).is_err());
        assert!(header.open("x", &[]).is_err());
        body.push(0);
        assert!(header.open("x", &body).is_err());
    }

    #[test]
    fn another_magic_is_no_container() {
        let mut bytes = encode(&blob());
        bytes[7] = b'2';
        assert!(!looks_like(&bytes));
        assert!(!looks_like(b"HANDOFF"));
        assert!(decode("x", &bytes).unwrap_err().to_string().contains("HANDOFF1"));
    }

    #[test]
    fn damage_is_called_damage() {
        let mut bytes = encode(&blob());
        bytes[50] ^= 1;
        assert!(decode("x", &bytes).unwrap_err().problem().contains("damaged"));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused(settings in prop::collection::vec(any::<u8>(), 1..300),
                                    signature in prop::collection::vec(any::<u8>(), 0..300),
                                    at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = encode(&Blob::new("x", settings, Some(signature)).unwrap());
            let at = at.index(bytes.len());
            bytes.resize(4096, 0);
            bytes[at] ^= 1u8 << bit;
            prop_assert!(decode("x", &bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"HANDOFF1");
            }
            prop_assert!(decode("x", &bytes).is_err());
        }
    }
}
