//! The signature of settings: an SSHSIG as `ssh-keygen -Y sign` makes it, over the exact bytes of `settings.json`.
//!
//! The format is OpenSSH's `PROTOCOL.sshsig`. The crate `ssh-key` reads it; the check itself is [`PublicKey::verify`],
//! because the crate's own check is not the strict one and does not ask whether a token was touched.

use super::public_key::{Mismatch, PublicKey, SUPPORTED_KEY_TYPES, Unfit};
use crate::document::shortened;
use crate::error::{Error, Result};
use ssh_key::SshSig;

/// The namespace that a signature of settings must have: `ssh-keygen -Y sign -n handoff-settings`. A signature made for
/// another purpose (a commit, a mail) can thus never pass for one over settings.
pub const NAMESPACE: &str = "handoff-settings";

/// What every armored signature begins with.
const ARMOR: &str = "-----BEGIN SSH SIGNATURE-----";

/// A signature that was read: right namespace, supported key. Whether it fits any settings is not known before
/// [`check`](Self::check), and whether its key is trusted only [`verify`](super::verify()) knows.
#[derive(Clone, Debug)]
pub struct SettingsSignature {
    key: PublicKey,
    sshsig: SshSig,
}

impl SettingsSignature {
    /// Reads an armored signature. `object` names the place, for the error.
    ///
    /// # Errors
    /// No signature, another namespace, or a key type that cannot sign settings: [`crate::Class::NotVerified`].
    pub fn parse(object: &str, armored: &[u8]) -> Result<Self> {
        let sshsig = SshSig::from_pem(armored).map_err(|error| unreadable(object, armored, &error))?;
        if sshsig.namespace() != NAMESPACE {
            return Err(other_namespace(object, sshsig.namespace()));
        }
        match PublicKey::new(sshsig.public_key().clone()) {
            Ok(key) => Ok(SettingsSignature { key, sshsig }),
            Err(Unfit::Unsupported) => Err(unsupported(object, sshsig.public_key().algorithm().as_str())),
            Err(Unfit::Weak) => Err(Error::not_verified(
                object,
                "is signed with a weak or damaged key",
                "make a new key with `ssh-keygen`",
            )),
        }
    }

    /// The key that the signature says it was made with.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether this signature, by [its key](Self::key), fits these exact bytes.
    ///
    /// # Errors
    /// It does not, or a token made it that nobody touched: [`crate::Class::NotVerified`].
    pub fn check(&self, object: &str, settings: &[u8]) -> Result<()> {
        let different = || {
            Error::not_verified(
                object,
                "its signature does not match its settings",
                "sign the settings again with `handoff sign`, after their last change",
            )
        };
        let message = SshSig::signed_data(NAMESPACE, self.sshsig.hash_alg(), settings).map_err(|_| different())?;
        self.key.verify(&message, self.sshsig.signature()).map_err(|mismatch| match mismatch {
            Mismatch::Different => different(),
            Mismatch::NobodyPresent => Error::not_verified(
                object,
                "its signature was made by a hardware token that nobody touched",
                "sign with a key that needs a touch (made without `-O no-touch-required`)",
            ),
        })
    }
}

fn unreadable(object: &str, armored: &[u8], error: &ssh_key::Error) -> Error {
    match error {
        ssh_key::Error::Namespace => other_namespace(object, ""),
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            unsupported(object, "another type")
        }
        ssh_key::Error::Version { number } => Error::not_verified(
            object,
            format_args!("its signature has version {number} of the format, and 1 is known"),
            "sign it with `handoff sign` or `ssh-keygen -Y sign`",
        ),
        _ if armored.trim_ascii_start().starts_with(ARMOR.as_bytes()) => Error::not_verified(
            object,
            "its signature is damaged, or was made with a certificate or a key that is not supported",
            format_args!("sign it again with `handoff sign` and a key of type {SUPPORTED_KEY_TYPES}"),
        ),
        _ => Error::not_verified(
            object,
            format_args!("its signature is not an SSH signature ({ARMOR})"),
            format_args!("sign it with `handoff sign` or `ssh-keygen -Y sign -n {NAMESPACE}`"),
        ),
    }
}

fn other_namespace(object: &str, namespace: &str) -> Error {
    Error::not_verified(
        object,
        format_args!("its signature has the namespace {:?}, not {NAMESPACE:?}", shortened(namespace)),
        format_args!("sign it with `handoff sign` or `ssh-keygen -Y sign -n {NAMESPACE}`"),
    )
}

fn unsupported(object: &str, key_type: &str) -> Error {
    Error::not_verified(
        object,
        format_args!("its signature was made with a key of {key_type}, which is not supported"),
        format_args!("sign it with a key of type {SUPPORTED_KEY_TYPES}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};
    use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
    use ssh_key::{Algorithm, HashAlg, LineEnding, Signature};

    const SETTINGS: &[u8] = b"{\"version\":1}\n";

    fn signing_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn point() -> Ed25519PublicKey {
        Ed25519PublicKey(signing_key().verifying_key().to_bytes())
    }

    fn armored(key: KeyData, namespace: &str, hash: HashAlg, signature: Signature) -> String {
        SshSig::new(key, namespace, hash, signature).unwrap().to_pem(LineEnding::LF).unwrap()
    }

    fn plain(namespace: &str, hash: HashAlg) -> String {
        let message = SshSig::signed_data(namespace, hash, SETTINGS).unwrap();
        let signature = Signature::new(Algorithm::Ed25519, signing_key().sign(&message).to_bytes()).unwrap();
        armored(KeyData::Ed25519(point()), namespace, hash, signature)
    }

    /// What a FIDO token with these flags would sign, following `PROTOCOL.u2f`.
    fn token(application: &str, flags: u8) -> String {
        let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, SETTINGS).unwrap();
        let trailer = [flags, 0, 0, 0, 9];
        let signed = [&Sha256::digest("ssh:")[..], &trailer, &Sha256::digest(message)].concat();
        let data = [&signing_key().sign(&signed).to_bytes()[..], &trailer].concat();
        let signature = Signature::new(Algorithm::SkEd25519, data).unwrap();
        armored(KeyData::SkEd25519(SkEd25519::new(point(), application)), NAMESPACE, HashAlg::Sha512, signature)
    }

    fn check(armored: &str, settings: &[u8]) -> Result<()> {
        SettingsSignature::parse("/dev/vdb", armored.as_bytes())?.check("/dev/vdb", settings)
    }

    #[test]
    fn both_hashes_are_accepted_and_another_byte_is_not() {
        for hash in [HashAlg::Sha256, HashAlg::Sha512] {
            assert_eq!(check(&plain(NAMESPACE, hash), SETTINGS), Ok(()));
            let error = check(&plain(NAMESPACE, hash), b"{\"version\":2}\n").unwrap_err();
            assert!(error.problem().contains("does not match"), "{error}");
        }
    }

    #[test]
    fn line_ends_of_another_system_are_accepted() {
        assert_eq!(check(&plain(NAMESPACE, HashAlg::Sha512).replace('\n', "\r\n"), SETTINGS), Ok(()));
        assert_eq!(check(plain(NAMESPACE, HashAlg::Sha512).trim_end(), SETTINGS), Ok(()));
    }

    #[test]
    fn a_long_namespace_is_not_repeated_in_full() {
        let error = check(&plain(&"x".repeat(4096), HashAlg::Sha512), SETTINGS).unwrap_err().to_string();
        assert!(error.contains("has the namespace") && error.len() < 400, "{error}");
    }

    #[test]
    fn another_namespace_is_refused_and_named() {
        let error = check(&plain("file", HashAlg::Sha512), SETTINGS).unwrap_err();
        assert!(error.problem().contains("\"file\""), "{error}");
    }

    #[test]
    fn a_token_is_accepted_only_when_it_was_touched() {
        assert_eq!(check(&token("ssh:", 1), SETTINGS), Ok(()));
        assert_eq!(check(&token("ssh:", 5), SETTINGS), Ok(()));
        assert!(check(&token("ssh:", 0), SETTINGS).unwrap_err().problem().contains("nobody touched"));
        assert!(check(&token("ssh:other", 1), SETTINGS).unwrap_err().problem().contains("does not match"));
        assert!(check(&token("ssh:", 1), b"{}").unwrap_err().problem().contains("does not match"));
    }

    #[test]
    fn a_key_type_and_a_signature_type_that_differ_are_refused() {
        let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, SETTINGS).unwrap();
        let signature = Signature::new(Algorithm::Ed25519, signing_key().sign(&message).to_bytes()).unwrap();
        let key = KeyData::SkEd25519(SkEd25519::new(point(), "ssh:"));
        assert!(check(&armored(key, NAMESPACE, HashAlg::Sha512, signature), SETTINGS).is_err());
    }

    #[test]
    fn a_weak_key_cannot_sign_anything() {
        // With the neutral point as key and as R, and 0 as S, the plain check of Ed25519 accepts every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let signature = Signature::new(Algorithm::Ed25519, [neutral, [0; 32]].concat()).unwrap();
        let key = KeyData::Ed25519(Ed25519PublicKey(neutral));
        let error = check(&armored(key, NAMESPACE, HashAlg::Sha512, signature), SETTINGS).unwrap_err();
        assert!(error.problem().contains("weak or damaged key"), "{error}");
    }

    #[test]
    fn a_text_that_is_no_signature_is_called_that() {
        for text in ["", "hello", "-----BEGIN PGP SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----\n"] {
            let error = check(text, SETTINGS).unwrap_err();
            assert!(error.problem().contains("not an SSH signature"), "{error}");
        }
        let text = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";
        assert!(check(text, SETTINGS).unwrap_err().problem().contains("damaged"));
    }

    proptest! {
        // Few cases: each checks a signature, which is slow without optimization.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_changed_signature_never_panics(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
            let mut bytes = plain(NAMESPACE, HashAlg::Sha512).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = SettingsSignature::parse("x", &bytes).and_then(|s| s.check("x", SETTINGS));
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(SettingsSignature::parse("x", &bytes).and_then(|s| s.check("x", b"other")).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(SettingsSignature::parse("x", &bytes).is_err());
        }
    }
}
