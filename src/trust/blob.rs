//! A blob: the exact bytes of `settings.json` and of `settings.json.sig`, nothing interpreted.

use crate::error::{Error, Result};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The most that settings and signature may measure together, in bytes.
pub const MAX_BLOB: usize = 1 << 20;

/// The bytes that a source found. Not trusted: only [`crate::trust::verify()`] makes something that may be interpreted.
#[derive(Clone, Eq, PartialEq)]
pub struct Blob {
    settings: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl Blob {
    /// A blob of these texts. `object` names the place they came from, for the error.
    ///
    /// # Errors
    /// No settings at all, or more than [`MAX_BLOB`] bytes together: [`crate::Class::NotVerified`].
    pub fn new(object: &str, settings: Vec<u8>, signature: Option<Vec<u8>>) -> Result<Self> {
        let size = settings.len().saturating_add(signature.as_ref().map_or(0, Vec::len));
        if settings.is_empty() {
            return Err(Error::not_verified(object, "settings.json is empty", "write the settings again"));
        }
        if size > MAX_BLOB {
            return Err(Error::not_verified(
                object,
                format_args!("settings and signature measure {size} bytes, more than {MAX_BLOB}"),
                "make the settings smaller",
            ));
        }
        Ok(Blob { settings, signature: signature.filter(|s| !s.is_empty()) })
    }

    /// The exact bytes of `settings.json`.
    pub fn settings(&self) -> &[u8] {
        &self.settings
    }

    /// The exact bytes of `settings.json.sig`, where there is one.
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// The SHA-256 of `settings.json`, what `sha256sum settings.json` prints.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.settings)
    }

    /// Both texts.
    pub fn into_parts(self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.settings, self.signature)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes, {})", self.settings.len(), self.digest())
    }
}

/// A SHA-256 digest. Shown as `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }

    /// A digest read from elsewhere.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the prefix.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads `sha256:` and 64 hexadecimal digits, or the digits alone. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_what_it_shows_and_nothing_else() {
        let digest = Digest::of(b"handoff");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse(&digest.hex()), Some(digest));
        for wrong in ["", "sha256:", "sha512:00", &digest.hex()[1..], &format!("{}0", digest.hex())] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_blob_has_limits() {
        assert!(Blob::new("x", vec![], None).is_err());
        assert!(Blob::new("x", vec![b' '; MAX_BLOB], None).is_ok());
        assert!(Blob::new("x", vec![b' '; MAX_BLOB], Some(vec![1])).is_err());
    }
}
