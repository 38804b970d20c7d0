//! `handoff sign` and `handoff pack`: from a settings file to signed bytes, and to a disk.

use super::disk::{self, Format};
use super::output::{self, Readers, unprintable, with_suffix};
use super::sign::{self, SigningKey};
use super::written::{Written, summary};
use crate::error::{Error, Result};
use crate::trust::{Blob, NAMESPACE, SettingsSignature};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The most that a signature file may measure, in bytes.
const MAX_SIGNATURE: usize = 64 * 1024;

/// Signs a settings file: writes the signature beside it, and for TOML and YAML also the JSON that is signed.
///
/// # Errors
/// The settings are not good, the key cannot be used, or a file cannot be written.
pub fn sign(written: &Written, key: &SigningKey, signature: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    written.settings()?;
    let Some(json) = written.json_path() else {
        return Err(Error::usage(written.name(), "has no name to sign beside", "name a file"));
    };
    let bytes = written.json();
    let armored = key.sign(&bytes)?;
    if written.is_converted() {
        output::write(&json, &bytes, Readers::Owner)?;
        say(out, format_args!("{}: converted from {}", json.display(), written.name()))?;
    }
    let signature = signature.map_or_else(|| with_suffix(&json, ".sig"), Path::to_owned);
    output::write(&signature, &armored, Readers::Everybody)?;
    say(out, format_args!("{}: {}", signature.display(), sign::describe(&signature.display().to_string(), &armored)?))?;
    say(
        out,
        format_args!(
            "check it with: ssh-keygen -Y verify -f TRUSTED_KEYS -I NAME -n {NAMESPACE} -s {} < {}",
            signature.display(),
            json.display()
        ),
    )
}

/// Where the signature of a disk comes from.
#[derive(Debug)]
pub enum SignatureFrom {
    /// From this file.
    File(PathBuf),
    /// From the file beside the settings.
    Beside,
    /// From this key, now.
    Key(SigningKey),
    /// From nowhere: the disk is not signed.
    Nowhere,
}

/// Puts settings on a disk image, with a signature that was checked to be over exactly these bytes.
///
/// # Errors
/// The settings are not good, the signature is absent or does not fit, or the image cannot be written.
pub fn pack(written: &Written, from: &SignatureFrom, format: Format, image: &Path, out: &mut dyn Write) -> Result<()> {
    let settings = written.settings()?;
    let bytes = written.json();
    let signature = match from {
        SignatureFrom::Nowhere => None,
        SignatureFrom::Key(key) => Some(key.sign(&bytes)?),
        SignatureFrom::File(path) => Some(checked(path, output::read(path, MAX_SIGNATURE)?, &bytes)?),
        SignatureFrom::Beside => Some(beside(written, &bytes)?),
    };
    let signer = match &signature {
        Some(armored) => sign::describe(written.name(), armored)?,
        None => "NOT signed: only a guest that is told to will believe it".into(),
    };
    let blob = Blob::new(written.name(), bytes.into_owned(), signature)?;
    output::write(image, &disk::image(format, &blob)?, Readers::Owner)?;
    say(out, format_args!("{}: {format} disk, {signer}", image.display()))?;
    say(out, format_args!("  holds {}", summary(&settings)))?;
    say(out, format_args!("  handoff.digest={}", blob.digest()))
}

/// The signature in the file beside the settings.
fn beside(written: &Written, bytes: &[u8]) -> Result<Vec<u8>> {
    let unsigned = |object: &dyn std::fmt::Display| {
        Error::usage(
            object,
            "is not signed",
            "sign it with `handoff sign`, or on the way with --key KEY; --unsigned packs it as it is",
        )
    };
    let Some(json) = written.json_path() else { return Err(unsigned(&written.name())) };
    let path = with_suffix(&json, ".sig");
    match output::read_if_there(&path, MAX_SIGNATURE)? {
        Some(armored) => checked(&path, armored, bytes),
        None => Err(unsigned(&written.name())),
    }
}

fn checked(path: &Path, armored: Vec<u8>, bytes: &[u8]) -> Result<Vec<u8>> {
    let object = path.display().to_string();
    SettingsSignature::parse(&object, &armored)?.check(&object, bytes)?;
    Ok(armored)
}

fn say(out: &mut dyn Write, line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(out, "{line}").map_err(unprintable)
}
