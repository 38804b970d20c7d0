//! A public key that may sign settings: Ed25519, or Ed25519 on a FIDO token.

use sha2::{Digest as _, Sha256};
use ssh_key::HashAlg;
use ssh_key::public::KeyData;
use std::fmt;

/// The key types that may sign settings, for people.
pub const SUPPORTED_KEY_TYPES: &str = "ssh-ed25519 or sk-ssh-ed25519@openssh.com";

/// In the flags of a token's signature: somebody touched it (U2F raw messages, "user presence").
const USER_PRESENT: u8 = 1;
const ED25519_LEN: usize = 64;

/// A public key of a [supported type](SUPPORTED_KEY_TYPES), whose point is not a weak one. Shown as its type and its
/// fingerprint.
#[derive(Clone, Eq, PartialEq)]
pub struct PublicKey(KeyData);

/// Why a key is not a [`PublicKey`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// Its type cannot sign settings.
    Unsupported,
    /// It is no point of the curve, or one of the few points under which a signature fits any message.
    Weak,
}

/// Why a signature does not fit a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mismatch {
    /// It was made by another key, over another message, or is malformed.
    Different,
    /// It fits, but nobody touched the token when it was made.
    NobodyPresent,
}

impl PublicKey {
    /// A key that can be used.
    ///
    /// # Errors
    /// Another key type, or a weak key.
    pub fn new(key: KeyData) -> Result<Self, Unfit> {
        let (point, _) = parts(&key).ok_or(Unfit::Unsupported)?;
        match ed25519_dalek::VerifyingKey::from_bytes(point) {
            Ok(point) if !point.is_weak() => Ok(PublicKey(key)),
            _ => Err(Unfit::Weak),
        }
    }

    /// The key type, as it stands in a key file.
    pub fn key_type(&self) -> &'static str {
        match &self.0 {
            KeyData::SkEd25519(_) => "sk-ssh-ed25519@openssh.com",
            _ => "ssh-ed25519",
        }
    }

    /// The fingerprint as `ssh-keygen -l` shows it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Whether `signature`, of the kind that belongs to this key type, fits `message`.
    ///
    /// The strict check of Ed25519: malleable signatures and weak points are refused. For a token, the message it signed
    /// is put together as OpenSSH's `PROTOCOL.u2f` says, and somebody must have touched it.
    ///
    /// # Errors
    /// It does not fit.
    pub fn verify(&self, message: &[u8], signature: &ssh_key::Signature) -> Result<(), Mismatch> {
        // The types are compared first, so that a token's signature is never read as a plain one or the other way round.
        if signature.algorithm() != self.0.algorithm() {
            return Err(Mismatch::Different);
        }
        let (point, application) = parts(&self.0).ok_or(Mismatch::Different)?;
        let (scalar, trailer) = signature.as_bytes().split_at_checked(ED25519_LEN).ok_or(Mismatch::Different)?;
        let point = ed25519_dalek::VerifyingKey::from_bytes(point).map_err(|_| Mismatch::Different)?;
        let scalar = ed25519_dalek::Signature::from_slice(scalar).map_err(|_| Mismatch::Different)?;
        match (application, trailer) {
            (None, []) => point.verify_strict(message, &scalar).map_err(|_| Mismatch::Different),
            (Some(application), [flags, _counter @ ..]) if trailer.len() == 5 => {
                let mut signed = Vec::with_capacity(69);
                signed.extend_from_slice(&Sha256::digest(application));
                signed.extend_from_slice(trailer);
                signed.extend_from_slice(&Sha256::digest(message));
                point.verify_strict(&signed, &scalar).map_err(|_| Mismatch::Different)?;
                if flags & USER_PRESENT == 0 { Err(Mismatch::NobodyPresent) } else { Ok(()) }
            }
            _ => Err(Mismatch::Different),
        }
    }
}

/// The point, and the application of a token's key. `None` for another key type.
fn parts(key: &KeyData) -> Option<(&[u8; 32], Option<&str>)> {
    match key {
        KeyData::Ed25519(key) => Some((&key.0, None)),
        KeyData::SkEd25519(key) => Some((&key.public_key().0, Some(key.application()))),
        _ => None,
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type(), self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::public::Ed25519PublicKey;

    #[test]
    fn weak_points_are_refused() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        for point in [neutral, [0; 32]] {
            assert_eq!(PublicKey::new(KeyData::Ed25519(Ed25519PublicKey(point))), Err(Unfit::Weak));
        }
        // No point of the curve.
        assert_eq!(PublicKey::new(KeyData::Ed25519(Ed25519PublicKey([2; 32]))), Err(Unfit::Weak));
    }
}
