//! The gate: the only way from a blob to bytes that may be interpreted.

use super::blob::{Blob, Digest};
use super::sshsig::SettingsSignature;
use super::trusted_keys::{TrustedKey, TrustedKeys};
use super::validity::{Clock, Outside, ShownTime};
use crate::error::{Error, Result};
use std::fmt;

/// The file of trusted keys in an image.
pub const TRUSTED_KEYS_PATH: &str = "/usr/lib/handoff/trusted-keys";

/// What settings must show before they are believed. Chosen by the image, never by what comes from outside.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Requirement {
    /// A signature by a trusted key. The default.
    #[default]
    Signature,
    /// The digest on the kernel command line.
    Digest,
    /// Nothing: for debugging, and for foreign formats that cannot be signed.
    Nothing,
}

impl Requirement {
    /// The name in files: `signature`, `digest`, `none`.
    pub fn name(self) -> &'static str {
        match self {
            Requirement::Signature => "signature",
            Requirement::Digest => "digest",
            Requirement::Nothing => "none",
        }
    }
}

/// Why settings were believed. Shown in a few words for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Authority {
    /// A trusted key signed them.
    Signature {
        /// Whose key it is, as the file of trusted keys says.
        principal: String,
        /// The key's fingerprint, as `ssh-keygen -l` shows it.
        fingerprint: String,
    },
    /// The kernel command line pins their digest.
    Digest,
    /// Nothing was asked of them.
    Nothing,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authority::Signature { principal, fingerprint } => write!(f, "signed by {principal} ({fingerprint})"),
            Authority::Digest => f.write_str("digest pinned by the kernel command line"),
            Authority::Nothing => f.write_str("not verified"),
        }
    }
}

/// Settings that may be interpreted. Only [`verify()`] makes one.
#[derive(Clone, Eq, PartialEq)]
pub struct Verified {
    settings: Vec<u8>,
    signature: Option<Vec<u8>>,
    digest: Digest,
    authority: Authority,
}

impl Verified {
    /// The exact bytes of `settings.json`.
    pub fn settings(&self) -> &[u8] {
        &self.settings
    }

    /// The exact bytes of `settings.json.sig`, where there is one. Checked only where a signature is the authority.
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// The SHA-256 of `settings.json`.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Why the settings are believed.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl fmt::Debug for Verified {
    /// Without the settings, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({}, {})", self.digest, self.authority)
    }
}

/// Believes a blob, or says why not. `object` names the place it comes from, for the error.
///
/// A pin, where there is one, must match whatever is required. It never stands in for a signature that is required.
///
/// # Errors
/// [`crate::Class::NotVerified`], with what to do about it.
pub fn verify(
    object: &str,
    blob: Blob,
    requirement: Requirement,
    keys: &TrustedKeys,
    pin: Option<&Digest>,
    clock: Clock,
) -> Result<Verified> {
    let digest = blob.digest();
    if let Some(pin) = pin {
        check_pin(object, &digest, pin)?;
    }
    let authority = match requirement {
        Requirement::Signature => signed(object, &blob, keys, clock)?,
        Requirement::Digest if pin.is_none() => {
            return Err(Error::not_verified(
                object,
                "this guest believes only settings whose digest is pinned, and none is",
                format_args!("start the guest with handoff.digest={digest} on the kernel command line"),
            ));
        }
        _ if pin.is_some() => Authority::Digest,
        _ => Authority::Nothing,
    };
    let (settings, signature) = blob.into_parts();
    Ok(Verified { settings, signature, digest, authority })
}

/// Holds settings against the pin of the kernel command line.
///
/// # Errors
/// [`crate::Class::NotVerified`]: it pins others.
pub fn check_pin(object: &str, digest: &Digest, pin: &Digest) -> Result<()> {
    if pin == digest {
        return Ok(());
    }
    Err(Error::not_verified(
        object,
        format_args!("its settings have the digest {digest}, but the kernel command line pins {pin}"),
        format_args!("start the guest with handoff.digest={digest}, or give it the settings that are pinned"),
    ))
}

fn signed(object: &str, blob: &Blob, keys: &TrustedKeys, clock: Clock) -> Result<Authority> {
    let Some(armored) = blob.signature() else {
        return Err(Error::not_verified(object, "its settings are not signed", "sign them with `handoff sign`"));
    };
    let signature = SettingsSignature::parse(object, armored)?;
    let fingerprint = signature.key().fingerprint();
    let mut lines = keys.iter().filter(|line| line.key() == Some(signature.key())).peekable();
    if lines.peek().is_none() {
        let problem = if keys.is_empty() { "and this guest trusts no key" } else { "which is not a trusted key" };
        return Err(Error::not_verified(
            object,
            format_args!("is signed by {fingerprint}, {problem}"),
            format_args!("sign with a trusted key, or add this one to {TRUSTED_KEYS_PATH} in the image"),
        ));
    }
    signature.check(object, blob.settings())?;
    // The same key may stand in several lines, such as one for each year: one that fits is enough.
    let mut refusal = None;
    for line in lines {
        match fits(object, line, &fingerprint, clock) {
            Ok(()) => return Ok(Authority::Signature { principal: line.principal().to_owned(), fingerprint }),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| {
        Error::not_verified(object, "is signed by a key that is not trusted", "sign with a trusted key")
    }))
}

/// Whether this line trusts its key for settings, now.
fn fits(object: &str, line: &TrustedKey, fingerprint: &str, clock: Clock) -> Result<()> {
    let (principal, place) = (line.principal(), line.place());
    if !line.is_for_settings() {
        return Err(Error::not_verified(
            object,
            format_args!("is signed by {principal} ({fingerprint}), whose key is not for settings"),
            format_args!("add handoff-settings to the namespaces in {place}, or sign with another key"),
        ));
    }
    line.validity().check(clock).map_err(|outside| match outside {
        Outside::Expired(limit) => Error::not_verified(
            object,
            format_args!("is signed by {principal} ({fingerprint}), whose key expired at {}", ShownTime(limit)),
            format_args!("sign with a key that is valid, or move valid-before in {place}"),
        ),
        Outside::NotYet(limit) => Error::not_verified(
            object,
            format_args!("is signed by {principal} ({fingerprint}), whose key is valid only from {}", ShownTime(limit)),
            format_args!("sign with a key that is valid, set the clock, or move valid-after in {place}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    const CLOCK: Clock = Clock { now: 2_000_000_000, floor: 1_700_000_000 };

    fn unsigned() -> Blob {
        Blob::new("x", b"{}".to_vec(), None).unwrap()
    }

    fn try_unsigned(requirement: Requirement, pin: Option<&Digest>) -> Result<Authority> {
        verify("/dev/vdb", unsigned(), requirement, &TrustedKeys::default(), pin, CLOCK).map(|v| v.authority().clone())
    }

    #[test]
    fn a_pin_must_match_whatever_is_required() {
        let other = Digest::of(b"other");
        for requirement in [Requirement::Signature, Requirement::Digest, Requirement::Nothing] {
            let error = try_unsigned(requirement, Some(&other)).unwrap_err();
            assert_eq!(error.class(), Class::NotVerified);
            assert!(error.problem().contains("pins"), "{error}");
        }
    }

    #[test]
    fn a_pin_is_an_authority_but_never_stands_in_for_a_signature() {
        let digest = unsigned().digest();
        assert_eq!(try_unsigned(Requirement::Digest, Some(&digest)), Ok(Authority::Digest));
        assert_eq!(try_unsigned(Requirement::Nothing, Some(&digest)), Ok(Authority::Digest));
        assert!(try_unsigned(Requirement::Signature, Some(&digest)).unwrap_err().problem().contains("not signed"));
    }

    #[test]
    fn without_a_pin_the_digest_requirement_fails_and_says_how_to_pin() {
        let error = try_unsigned(Requirement::Digest, None).unwrap_err();
        assert!(error.remedy().contains(&format!("handoff.digest={}", unsigned().digest())), "{error}");
        assert_eq!(try_unsigned(Requirement::Nothing, None), Ok(Authority::Nothing));
    }

    #[test]
    fn debug_output_holds_no_settings() {
        let blob = Blob::new("x", b"{\"secret\":\"hunter2\"}".to_vec(), None).unwrap();
        let verified = verify("x", blob, Requirement::Nothing, &TrustedKeys::default(), None, CLOCK).unwrap();
        assert!(!format!("{verified:?}").contains("hunter2"));
        assert_eq!(verified.settings(), b"{\"secret\":\"hunter2\"}");
    }
}
