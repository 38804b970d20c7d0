//! Signing: an OpenSSH signature over the exact bytes of `settings.json`.
//!
//! A plain Ed25519 key file is used directly. A key with a passphrase, one that lives in an agent, and one on a hardware
//! token are left to `ssh-keygen`, which knows how to ask for what they need.

use super::output;
use crate::error::{Error, Result};
use crate::platform;
use crate::trust::{NAMESPACE, SUPPORTED_KEY_TYPES, SettingsSignature};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The most that a key file may measure, in bytes.
const MAX_KEY: usize = 64 * 1024;

/// A key with which settings can be signed.
pub enum SigningKey {
    /// A private key in memory.
    Plain(Box<PrivateKey>),
    /// The file of a key that only `ssh-keygen` can use: encrypted, in an agent, or on a hardware token.
    Tool(PathBuf),
}

impl fmt::Debug for SigningKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SigningKey::Plain(key) => write!(f, "Plain({})", key.fingerprint(HashAlg::Sha256)),
            SigningKey::Tool(path) => write!(f, "Tool({})", path.display()),
        }
    }
}

impl SigningKey {
    /// Opens a key file: a private key, or the public key of one that an agent holds.
    ///
    /// # Errors
    /// No key, or one that cannot sign settings: [`crate::Class::Usage`].
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = output::read(path, MAX_KEY)?;
        let object = format!("key {}", path.display());
        match kind(&bytes) {
            Kind::Plain(key) => Ok(SigningKey::Plain(key)),
            Kind::ForTheTool => Ok(SigningKey::Tool(path.to_owned())),
            Kind::Unsupported(name) => Err(Error::usage(
                object,
                format_args!("is of type {name}, which cannot sign settings"),
                format_args!("use one of type {SUPPORTED_KEY_TYPES}; `ssh-keygen -t ed25519` makes one"),
            )),
            Kind::OtherFormat => Err(Error::usage(
                object,
                "is not in the format of OpenSSH",
                "write it again with `ssh-keygen -p -f KEY`, or make one with `ssh-keygen -t ed25519`",
            )),
            Kind::None => Err(Error::usage(object, "is not a key of OpenSSH", "make one with `ssh-keygen -t ed25519`")),
        }
    }

    /// A new random key, for a trial.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn random(comment: &str) -> Result<Self> {
        let failed = |error: &dyn fmt::Display| {
            Error::not_applied("a throw-away key", format_args!("cannot be made ({error})"), "report this")
        };
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(platform::entropy()?.0) {
            *to = from;
        }
        let pair = Ed25519Keypair::from_seed(&seed);
        PrivateKey::new(pair.into(), comment)
            .map(|key| SigningKey::Plain(Box::new(key)))
            .map_err(|error| failed(&error))
    }

    /// The public key as a line of a `.pub` file, where the private key is in memory.
    pub fn public_line(&self) -> Option<String> {
        match self {
            SigningKey::Plain(key) => key.public_key().to_openssh().ok(),
            SigningKey::Tool(_) => None,
        }
    }

    /// The armored signature over these bytes, checked before it is given out. May ask for a passphrase, a PIN or a touch
    /// on the terminal, and waits for it as long as the person needs.
    ///
    /// # Errors
    /// The key was not given, or what came back is no signature that fits.
    pub fn sign(&self, settings: &[u8]) -> Result<Vec<u8>> {
        let (object, armored) = match self {
            SigningKey::Plain(key) => {
                let object = "the new signature".to_owned();
                let armored = key
                    .sign(NAMESPACE, HashAlg::Sha512, settings)
                    .and_then(|signature| signature.to_pem(LineEnding::LF))
                    .map_err(|error| {
                        Error::not_applied(&object, format_args!("cannot be made ({error})"), "use another key")
                    })?;
                (object, armored.into_bytes())
            }
            SigningKey::Tool(path) => (format!("key {}", path.display()), sign_with_tool(path, settings)?),
        };
        SettingsSignature::parse(&object, &armored)?.check(&object, settings)?;
        Ok(armored)
    }
}

enum Kind {
    Plain(Box<PrivateKey>),
    ForTheTool,
    Unsupported(String),
    OtherFormat,
    None,
}

/// What these bytes of a key file are.
fn kind(bytes: &[u8]) -> Kind {
    const SUPPORTED: [&str; 2] = ["ssh-ed25519", "sk-ssh-ed25519@openssh.com"];
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start();
    if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let key = match PrivateKey::from_openssh(text.trim_end().as_bytes()) {
            Ok(key) => key,
            // Private keys of types that are not built in are not read at all.
            Err(ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. }) => {
                return Kind::Unsupported("another kind".into());
            }
            Err(_) => return Kind::None,
        };
        let name = key.algorithm().as_str().to_owned();
        return match (SUPPORTED.contains(&name.as_str()), key.is_encrypted(), key.key_data().ed25519()) {
            (false, ..) => Kind::Unsupported(name),
            (true, false, Some(_)) => Kind::Plain(Box::new(key)),
            _ => Kind::ForTheTool,
        };
    }
    if text.starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Kind::OtherFormat;
    }
    match text.split_whitespace().next() {
        Some(name) if SUPPORTED.contains(&name) => Kind::ForTheTool,
        Some(name) if ["ssh-", "ecdsa-sha2-", "sk-"].iter().any(|start| name.starts_with(start)) => {
            Kind::Unsupported(name.chars().take(64).collect())
        }
        _ => Kind::None,
    }
}

/// Lets `ssh-keygen` sign. It asks on the terminal, and its messages go where ours go.
fn sign_with_tool(key: &Path, settings: &[u8]) -> Result<Vec<u8>> {
    let object = format!("key {}", key.display());
    let failed = |error: std::io::Error| {
        Error::not_applied(
            "ssh-keygen",
            format_args!("cannot be run ({error})"),
            "install OpenSSH, or name a key file without a passphrase",
        )
    };
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-q", "-n", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Where it ends before it has read everything, its exit status says so.
        drop(stdin.write_all(settings));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(Error::usage(
            object,
            format_args!("was not used: ssh-keygen ended with {}", output.status),
            "see its message above; a public key needs its private key in the agent (`ssh-add -l`)",
        ));
    }
    Ok(output.stdout)
}

/// The signature and the line about it for people: who signed, and how anybody can check it.
pub fn describe(object: &str, armored: &[u8]) -> Result<String> {
    let signature = SettingsSignature::parse(object, armored)?;
    Ok(format!("signed by {} {}", signature.key().key_type(), signature.key().fingerprint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_key_signs_and_is_another_each_time() {
        let key = SigningKey::random("trial").unwrap();
        let armored = key.sign(b"{}").unwrap();
        let signature = SettingsSignature::parse("x", &armored).unwrap();
        assert_eq!(signature.check("x", b"{}"), Ok(()));
        assert!(signature.check("x", b"{ }").is_err());
        assert!(key.public_line().unwrap().ends_with(" trial"));
        assert_ne!(key.public_line(), SigningKey::random("trial").unwrap().public_line());
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = SigningKey::random("trial").unwrap();
        assert!(format!("{key:?}").starts_with("Plain(SHA256:"));
    }

    #[test]
    fn a_file_that_cannot_sign_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (text, why) in [
            ("", "is not a key of OpenSSH"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "is not a key of OpenSSH"),
            ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "format of OpenSSH"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "format of OpenSSH"),
            ("ssh-rsa AAAA name", "is of type ssh-rsa"),
            ("ecdsa-sha2-nistp256 AAAA name", "is of type ecdsa-sha2-nistp256"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = SigningKey::open(&path).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert_eq!(error.class().exit_code(), 2);
        }
    }

    #[test]
    fn a_public_key_is_left_to_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pub");
        std::fs::write(&path, SigningKey::random("me").unwrap().public_line().unwrap()).unwrap();
        assert!(matches!(SigningKey::open(&path).unwrap(), SigningKey::Tool(named) if named == path));
    }
}
