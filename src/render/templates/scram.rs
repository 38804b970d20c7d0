//! SCRAM-SHA-256 verifiers for PostgreSQL: what a server keeps instead of a password (RFC 5802, 7677), in the notation of
//! `pg_authid.rolpassword`.

use crate::document::Refusal;
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

/// The rounds that PostgreSQL itself takes.
const ITERATIONS: u32 = 4096;
/// Bytes of the salt that PostgreSQL itself takes.
const SALT: usize = 16;
/// Bytes of a password. PostgreSQL takes more; nobody types them.
const MAX_PASSWORD: usize = 1024;
const PREFIX: &str = "SCRAM-SHA-256$";

type Hash = [u8; 32];

/// The verifier for a user's password, the same for the same guest, user and password, so that a second run changes nothing. The
/// salt comes from the instance and the user: it differs between guests and users, and says nothing of the password. A text that
/// is a verifier already is returned as it is.
///
/// # Errors
/// The password is empty, or not printable ASCII: other characters would have to be prepared (SASLprep) as the client prepares
/// them.
pub(super) fn verifier(password: &str, user: &str, instance: &str) -> Result<String, Refusal> {
    if is_verifier(password) {
        return Ok(password.to_owned());
    }
    if password.starts_with(PREFIX) {
        let problem = "begins like a SCRAM-SHA-256 verifier and is none";
        return Err(Refusal::new(problem, "copy all of rolpassword from pg_authid, or give the password itself"));
    }
    if password.is_empty() || password.len() > MAX_PASSWORD || !password.bytes().all(|b| matches!(b, b' '..=b'~')) {
        let problem =
            format!("is not 1 to {MAX_PASSWORD} printable ASCII characters, which a password for SCRAM is here");
        return Err(Refusal::new(problem, "choose such a password, or give its SCRAM-SHA-256 verifier"));
    }
    let mut salt = Sha256::new();
    for part in ["handoff-scram-salt", instance, user] {
        salt.update((part.len() as u64).to_be_bytes());
        salt.update(part.as_bytes());
    }
    let salt: Hash = salt.finalize().into();
    let (salt, _) = salt.split_at(SALT);
    Ok(notation(password, salt, ITERATIONS))
}

fn notation(password: &str, salt: &[u8], iterations: u32) -> String {
    let salted = Keyed::new(&pbkdf2(password.as_bytes(), salt, iterations));
    let stored: Hash = Sha256::digest(salted.mac(&[b"Client Key"])).into();
    let server = salted.mac(&[b"Server Key"]);
    let [salt, stored, server] = [salt, &stored, &server].map(Base64::encode_string);
    format!("{PREFIX}{iterations}:{salt}${stored}:{server}")
}

/// `SCRAM-SHA-256$4096:salt$stored:server`, the parts in Base64, the keys of 32 bytes.
fn is_verifier(text: &str) -> bool {
    let parts = || {
        let (rounds, rest) = text.strip_prefix(PREFIX)?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        Some((rounds, salt, stored, server))
    };
    let Some((rounds, salt, stored, server)) = parts() else { return false };
    let bytes = |text: &str| Base64::decode_vec(text).map_or(0, |bytes| bytes.len());
    let rounds_are = rounds.len() <= 9 && rounds.bytes().all(|b| b.is_ascii_digit()) && !rounds.starts_with('0');
    text.len() <= MAX_PASSWORD
        && !rounds.is_empty()
        && rounds_are
        && bytes(salt) > 0
        && bytes(stored) == 32
        && bytes(server) == 32
}

/// PBKDF2 with HMAC-SHA-256 (RFC 8018), one block.
fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Hash {
    let key = Keyed::new(password);
    let mut last = key.mac(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..iterations {
        last = key.mac(&[&last]);
        for (sum, byte) in sum.iter_mut().zip(last) {
            *sum ^= byte;
        }
    }
    sum
}

/// HMAC-SHA-256 (RFC 2104) with the key taken in once: the thousands of rounds begin from these two states.
struct Keyed {
    inner: Sha256,
    outer: Sha256,
}

impl Keyed {
    fn new(key: &[u8]) -> Self {
        let mut block = [0; 64];
        let digest: Hash;
        let key = if key.len() > block.len() {
            digest = Sha256::digest(key).into();
            &digest
        } else {
            key
        };
        for (place, byte) in block.iter_mut().zip(key) {
            *place = *byte;
        }
        let padded = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Keyed { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn mac(&self, message: &[&[u8]]) -> Hash {
        let mut inner = self.inner.clone();
        for part in message {
            inner.update(part);
        }
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(password: &str, user: &str, instance: &str) -> String {
        verifier(password, user, instance).unwrap()
    }

    #[test]
    fn the_exchange_in_rfc_7677_verifies_with_our_keys() {
        // Section 3: user "user", password "pencil".
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let message =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}");
        let salted = Keyed::new(&pbkdf2(b"pencil", &salt, 4096));
        let client_key = salted.mac(&[b"Client Key"]);
        let stored: Hash = Sha256::digest(client_key).into();
        let signature = Keyed::new(&stored).mac(&[message.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(Base64::encode_string(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let server = Keyed::new(&salted.mac(&[b"Server Key"])).mac(&[message.as_bytes()]);
        assert_eq!(Base64::encode_string(&server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let text = notation("pencil", &salt, 4096);
        assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
        assert!(is_verifier(&text));
    }

    #[test]
    fn hmac_of_a_long_key_is_that_of_rfc_4231() {
        let mac = Keyed::new(&[0xaa; 131]).mac(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(mac[..4], [0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn a_verifier_is_the_same_every_time_and_its_salt_belongs_to_instance_and_user() {
        assert_eq!(of("x", "app", "db-1"), of("x", "app", "db-1"));
        let salt = |text: String| text.split('$').nth(1).unwrap().to_owned();
        assert_eq!(salt(of("x", "app", "db-1")), salt(of("y", "app", "db-1")));
        assert_ne!(salt(of("x", "app", "db-1")), salt(of("x", "app", "db-2")));
        assert_ne!(salt(of("x", "app", "db-1")), salt(of("x", "web", "db-1")));
        assert_ne!(salt(of("x", "1app", "db-")), salt(of("x", "app", "db-1")));
    }

    #[test]
    fn a_verifier_passes_and_a_damaged_one_is_refused() {
        let text = of("x", "app", "db-1");
        assert_eq!(of(&text, "web", "db-2"), text);
        for damaged in [&text[..text.len() - 4], "SCRAM-SHA-256$", &text.replace("4096", "0"), &format!("{text} ")] {
            assert!(verifier(damaged, "app", "db-1").is_err(), "{damaged}");
        }
    }

    #[test]
    fn passwords_that_clients_would_prepare_are_refused_without_being_repeated() {
        for password in ["", "hush\n", "hush\u{a0}", "hushé", &"hush".repeat(300)] {
            let refusal = verifier(password, "app", "db-1").unwrap_err();
            assert!(!refusal.problem.contains("hush") && refusal.remedy.contains("verifier"), "{password:?}");
        }
    }
}
