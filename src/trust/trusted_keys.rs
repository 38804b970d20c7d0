//! The keys a guest trusts: OpenSSH `allowed_signers` lines, as ssh-keygen(1) describes them under ALLOWED SIGNERS.
//!
//! ```text
//! ops@example.net namespaces="handoff-settings",valid-before="20301231Z" ssh-ed25519 AAAA… comment
//! ```
//!
//! Stricter than OpenSSH where it matters: every line is read, and a broken one is an error even below the line that
//! would have matched; a time without a zone is UTC; a day that does not exist is refused; certificate authorities are
//! refused. Key types that cannot sign settings are kept, so that one list can serve for other purposes too.

use super::public_key::{PublicKey, SUPPORTED_KEY_TYPES, Unfit};
use super::sshsig::NAMESPACE;
use super::validity::{Validity, parse_time};
use crate::document::shortened;
use crate::error::{Error, Result};

/// The most that a file of trusted keys may measure, in bytes.
pub const MAX_TRUSTED_KEYS: usize = 64 * 1024;
const MAX_LINES: usize = 1000;

/// Key types that OpenSSH knows and that cannot sign settings.
const OTHER_KEY_TYPES: [&str; 6] = [
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// How the type of a certificate ends.
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// The keys that may sign settings for this guest, in the order of their lines.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<TrustedKey>,
}

/// One line of a file of trusted keys.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    place: String,
    principal: String,
    namespaces: Option<String>,
    validity: Validity,
    key_type: String,
    key: Option<PublicKey>,
}

impl TrustedKeys {
    /// Reads a file of trusted keys. `object` names the file, for errors, which name the line too.
    ///
    /// # Errors
    /// A line that is broken or asks for what is not supported, or a file beyond 64 KiB or 1000 lines:
    /// [`crate::Class::NotVerified`]. No line is ever skipped in silence.
    pub fn parse(object: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_TRUSTED_KEYS {
            return Err(Error::not_verified(
                object,
                format_args!("measures {} bytes, more than {MAX_TRUSTED_KEYS}", bytes.len()),
                "remove keys that are not needed",
            ));
        }
        let mut keys = Vec::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if index >= MAX_LINES && !line.is_empty() {
                return Err(Error::not_verified(
                    object,
                    format_args!("has more than {MAX_LINES} lines"),
                    "remove keys that are not needed",
                ));
            }
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let place = format!("{object} line {}", index + 1);
            match parse_line(&place, line) {
                Ok(key) => keys.push(key),
                Err((problem, remedy)) => return Err(Error::not_verified(place, problem, remedy)),
            }
        }
        Ok(TrustedKeys { keys })
    }

    /// Adds the keys of another file behind these.
    pub fn extend(&mut self, other: TrustedKeys) {
        self.keys.extend(other.keys);
    }

    /// Whether there is no line at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter()
    }
}

impl TrustedKey {
    /// File and line, such as `/usr/lib/handoff/trusted-keys line 3`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Who the key belongs to, as the line says: usually `name@domain`, in general a list of patterns.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The key type, as the line says.
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// The key. `None` where its type cannot sign settings.
    pub fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// The fingerprint as `ssh-keygen -l` shows it. `None` where the key's type cannot sign settings.
    pub fn fingerprint(&self) -> Option<String> {
        self.key.as_ref().map(PublicKey::fingerprint)
    }

    /// From when until when the key is trusted.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether the line's `namespaces` leave room for settings.
    pub fn is_for_settings(&self) -> bool {
        self.namespaces.as_ref().is_none_or(|list| in_pattern_list(NAMESPACE, list))
    }
}

/// What is wrong with a line, and what to do.
type Complaint = (String, String);

fn complaint<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Complaint> {
    Err((problem.into(), remedy.into()))
}

const SHAPE: &str = "write `NAME [OPTIONS] TYPE BASE64`, as ssh-keygen(1) says under ALLOWED SIGNERS";

fn parse_line(place: &str, line: &[u8]) -> Result<TrustedKey, Complaint> {
    let line = match std::str::from_utf8(line) {
        Ok(line) if !line.chars().any(|c| c.is_control() && c != '\t') => line,
        _ => return complaint("is not plain text", "write the line again, in UTF-8"),
    };
    let (principal, rest) = split_principal(line)?;
    if is_key_type(principal) {
        return complaint(
            "has no name before the key",
            "begin the line with whom the key belongs to, like ops@example.net",
        );
    }
    let mut options = Options::default();
    let mut key = rest;
    if !is_key_type(first_word(rest)) {
        (options, key) = Options::parse(rest)?;
    }
    let key_type = first_word(key);
    let base64 = first_word(key.get(key_type.len()..).unwrap_or_default());
    if key_type.is_empty() || base64.is_empty() {
        return complaint("has no key", SHAPE);
    }
    if key_type.ends_with(CERTIFICATE) {
        return complaint("holds a certificate, which is not supported", "list the key itself");
    }
    if !is_key_type(key_type) {
        return complaint(
            format!("has the unknown key type {:?}", shortened(key_type)),
            format!("use {SUPPORTED_KEY_TYPES}"),
        );
    }
    Ok(TrustedKey {
        place: place.to_owned(),
        principal: principal.to_owned(),
        namespaces: options.namespaces,
        validity: options.validity,
        key_type: key_type.to_owned(),
        key: parse_key(key_type, base64)?,
    })
}

/// The key of the line, `None` where its type cannot sign settings.
fn parse_key(key_type: &str, base64: &str) -> Result<Option<PublicKey>, Complaint> {
    match ssh_key::PublicKey::from_openssh(&format!("{key_type} {base64}")) {
        Ok(key) => match PublicKey::new(key.key_data().clone()) {
            Ok(key) => Ok(Some(key)),
            Err(Unfit::Unsupported) => Ok(None),
            Err(Unfit::Weak) => complaint("holds a weak or damaged key", "make a new key with `ssh-keygen`"),
        },
        // The types whose parser is not built in.
        Err(ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. })
            if OTHER_KEY_TYPES.contains(&key_type) =>
        {
            Ok(None)
        }
        Err(_) => complaint("holds a key that cannot be read", "copy the line of the .pub file again, whole"),
    }
}

fn is_key_type(word: &str) -> bool {
    matches!(word, "ssh-ed25519" | "sk-ssh-ed25519@openssh.com")
        || OTHER_KEY_TYPES.contains(&word)
        || word.ends_with(CERTIFICATE)
}

fn first_word(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}

/// The first field, which may stand in double quotes, and the rest without leading blanks.
fn split_principal(line: &str) -> Result<(&str, &str), Complaint> {
    let split = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"'),
        None => line.split_once([' ', '\t']),
    };
    match split {
        Some((principal, rest)) if !principal.is_empty() => Ok((principal, rest.trim_ascii_start())),
        _ => complaint("is not a line of trusted keys", SHAPE),
    }
}

#[derive(Default)]
struct Options {
    namespaces: Option<String>,
    validity: Validity,
}

impl Options {
    /// Reads the options, and gives back what follows them, from the key type on. Names of options are in any case,
    /// values in double quotes, with `\"` for a quote.
    fn parse(mut text: &str) -> Result<(Self, &str), Complaint> {
        let mut options = Options::default();
        loop {
            let end = text.find(['=', ',', ' ', '\t', '"']).unwrap_or(text.len());
            let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
            let name = name.to_ascii_lowercase();
            if name == "cert-authority" {
                return complaint(
                    "trusts a certificate authority, which is not supported",
                    "list the keys themselves, one on each line",
                );
            }
            if !matches!(name.as_str(), "namespaces" | "valid-after" | "valid-before") {
                return complaint(
                    format!("has the unknown option or key type {:?}", shortened(first_word(text))),
                    "use namespaces=\"…\", valid-after=\"…\" or valid-before=\"…\" before the key type",
                );
            }
            let Some((value, rest)) = rest.strip_prefix("=\"").and_then(unquote) else {
                return complaint(format!("has no value in double quotes for {name}"), format!("write {name}=\"…\""));
            };
            options.set(&name, value)?;
            match rest.strip_prefix(',') {
                Some(more) => text = more,
                None if rest.starts_with([' ', '\t']) => {
                    text = rest.trim_ascii_start();
                    break;
                }
                None if rest.is_empty() => return complaint("has no key", SHAPE),
                None => return complaint("has options that are not separated by commas", SHAPE),
            }
        }
        match options.validity {
            Validity { after: Some(after), before: Some(before) } if before <= after => {
                complaint("has a valid-before that is not later than its valid-after", "correct the two times")
            }
            _ => Ok((options, text)),
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Complaint> {
        let twice = match name {
            "namespaces" => self.namespaces.replace(value).is_some(),
            _ => {
                let Some(time) = parse_time(&value) else {
                    return complaint(
                        format!("has the time {:?} in {name}, which is none", shortened(&value)),
                        "write YYYYMMDDZ or YYYYMMDDHHMMSSZ",
                    );
                };
                let limit = if name == "valid-after" { &mut self.validity.after } else { &mut self.validity.before };
                limit.replace(time).is_some()
            }
        };
        if twice { complaint(format!("has the option {name} twice"), "keep one of them") } else { Ok(()) }
    }
}

/// The value up to the closing quote, and what follows the quote. `None` where it is not closed.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let quote = rest.find('"')?;
        let (before, after) = rest.split_at_checked(quote)?;
        rest = after.get(1..)?;
        match before.strip_suffix('\\') {
            Some(before) => {
                value.push_str(before);
                value.push('"');
            }
            None => {
                value.push_str(before);
                return Some((value, rest));
            }
        }
    }
}

/// Whether a list of patterns matches, as ssh_config(5) says under PATTERNS: separated by commas, `*` and `?` are
/// wildcards, and a match of a pattern that begins with `!` outweighs all others.
fn in_pattern_list(text: &str, list: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches_pattern(text, pattern) => return false,
            Some(_) => {}
            None => found |= matches_pattern(text, pattern),
        }
    }
    found
}

/// Whether the whole text matches a pattern. Takes at most text × pattern steps, whatever the pattern.
fn matches_pattern(text: &str, pattern: &str) -> bool {
    // ends[n]: the pattern read so far matches the first n characters of the text.
    let text: Vec<char> = text.chars().collect();
    let mut ends: Vec<bool> = std::iter::once(true).chain(text.iter().map(|_| false)).collect();
    for symbol in pattern.chars() {
        let mut previous = false;
        let mut reached = false;
        for (end, character) in ends.iter_mut().zip(std::iter::once(None).chain(text.iter().map(Some))) {
            let before = *end;
            reached |= before;
            *end = match (symbol, character) {
                ('*', _) => reached,
                (_, None) => false,
                ('?', Some(_)) => previous,
                (symbol, Some(character)) => previous && symbol == *character,
            };
            previous = before;
        }
    }
    ends.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests;
