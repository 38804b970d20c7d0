//! What is read before anything is believed: the container, the signature, the file of trusted keys, the kernel's command line.

use super::{good, is_plain};
use handoff::trust::{Blob, Clock, MAX_TRUSTED_KEYS, SettingsSignature, TrustedKeys, container, pin_from_command_line};
use handoff::trust::{Requirement, verify};

const SIGNED: &[u8] = include_bytes!("../seeds/settings/minimal.json");
/// The one line that trusts the key of the seeds.
const TRUSTED: &[u8] = include_bytes!("../seeds/keys/operator");

pub fn container(data: &[u8]) -> bool {
    let Some(blob) = good(container::decode("/dev/fuzz", data)) else { return false };
    assert!(container::looks_like(data));
    let again = container::encode(&blob);
    assert!(data.starts_with(&again), "what was read is not what is written");
    true
}

/// A signature by whomever, of the settings of the seeds.
pub fn sshsig(data: &[u8]) -> bool {
    let Some(signature) = good(SettingsSignature::parse("settings.sig", data)) else { return false };
    signature.key().fingerprint();
    let genuine = signature.check("settings.sig", SIGNED).inspect_err(is_plain).is_ok();
    let other = [SIGNED, b" "].concat();
    assert!(!genuine || signature.check("settings.sig", &other).is_err(), "one signature of two texts");
    // Believed only where it is of the one trusted key.
    let keys = TrustedKeys::parse("trusted-keys", TRUSTED).expect("the seed");
    let trusted = keys.iter().filter_map(|key| key.fingerprint()).any(|key| key == signature.key().fingerprint());
    let Some(blob) = good(Blob::new("/dev/fuzz", SIGNED.to_vec(), Some(data.to_vec()))) else { return false };
    let clock = Clock { now: 1_800_000_000, floor: 1_700_000_000 };
    let believed = good(verify("/dev/fuzz", blob, Requirement::Signature, &keys, None, clock)).is_some();
    assert_eq!(believed, genuine && trusted);
    believed
}

/// A file of trusted keys; also a kernel's command line.
pub fn keys(data: &[u8]) -> bool {
    let keys = good(TrustedKeys::parse("trusted-keys", data));
    if let Some(keys) = &keys {
        assert!(data.len() <= MAX_TRUSTED_KEYS);
        let clock = Clock { now: 1_800_000_000, floor: 1_700_000_000 };
        for key in keys.iter() {
            assert!(key.place().starts_with("trusted-keys"));
            assert!(!key.principal().is_empty() && !key.key_type().is_empty());
            assert_eq!(key.key().is_some(), key.fingerprint().is_some());
            let validity = key.validity();
            let inside = validity.after.is_none_or(|after| after <= clock.now)
                && validity.before.is_none_or(|before| clock.now <= before);
            assert_eq!(validity.check(clock).is_ok(), inside);
            key.is_for_settings();
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        good(pin_from_command_line(text));
    }
    keys.is_some_and(|keys| !keys.is_empty())
}
