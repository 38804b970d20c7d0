//! `handoff trust`: the line of a trusted-keys file that lets a key sign settings, and nothing else.

use super::output::{self, unprintable};
use crate::error::{Error, Result};
use crate::trust::{NAMESPACE, SUPPORTED_KEY_TYPES, TrustedKeys};
use std::io::Write;
use std::path::Path;

/// The most that a public key file may measure, in bytes.
const MAX_PUBLIC_KEY: usize = 64 * 1024;

/// Prints the line for the public key at `path`, which is checked by what a guest reads it with.
///
/// # Errors
/// No public key, one that cannot sign settings, or a principal that would not be read as one.
pub fn run(path: &Path, principal: Option<&str>, out: &mut dyn Write) -> Result<()> {
    let bytes = output::read(path, MAX_PUBLIC_KEY)?;
    let line = line(&path.display().to_string(), &String::from_utf8_lossy(&bytes), principal)?;
    writeln!(out, "{line}").map_err(unprintable)
}

/// The line for the public key in `text`.
pub(super) fn line(object: &str, text: &str, principal: Option<&str>) -> Result<String> {
    let mut words = text.trim().splitn(3, [' ', '\t']);
    let comment = words.clone().nth(2).map(str::trim).unwrap_or_default();
    let (Some(key_type), Some(key), 1) = (words.next(), words.next(), text.trim().lines().count()) else {
        return Err(Error::usage(object, "is not a public key", "name the .pub file of a key"));
    };
    let Some(principal) = principal.or(Some(comment)).filter(|name| !name.is_empty()) else {
        return Err(Error::usage(object, "does not say whose key it is", "say it with --principal NAME"));
    };
    let plain = |c: char| c.is_alphanumeric() || "@._+-".contains(c);
    if !principal.chars().all(plain) {
        return Err(Error::usage(
            format_args!("principal `{principal}`"),
            "is not a plain name",
            "give another with --principal NAME, like ops@example.net",
        ));
    }
    let line = format!("{principal} namespaces=\"{NAMESPACE}\" {key_type} {key}");
    let keys = TrustedKeys::parse(object, line.as_bytes())
        .map_err(|_| Error::usage(object, "is not a public key", "name the .pub file of a key"))?;
    if !keys.iter().any(|key| key.key().is_some()) {
        return Err(Error::usage(
            object,
            format_args!("is of type {key_type}, which cannot sign settings"),
            format_args!("use a key of type {SUPPORTED_KEY_TYPES}"),
        ));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi";

    #[test]
    fn a_key_is_trusted_for_settings_alone() {
        let expected = format!("ops@example.net namespaces=\"handoff-settings\" {KEY}");
        assert_eq!(line("x", &format!("{KEY} ops@example.net\n"), None).unwrap(), expected);
        assert_eq!(line("x", &format!("{KEY} other\n"), Some("ops@example.net")).unwrap(), expected);
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        for (text, principal) in [
            (KEY, None),
            (KEY, Some("*")),
            (KEY, Some("a,b")),
            (KEY, Some("#x")),
            (KEY, Some("a b")),
            ("", Some("ops")),
            ("ssh-ed25519 AAAA", Some("ops")),
            ("ecdsa-sha2-nistp256 AAAA", Some("ops")),
            (&format!("{KEY}\n{KEY}"), Some("ops")),
        ] {
            assert!(line("x", text, principal).is_err(), "{text} {principal:?}");
        }
    }
}
