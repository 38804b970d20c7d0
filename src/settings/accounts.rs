//! Sections `users` and `groups`.

use super::names::{guest_path, text_type};
use super::{AccountName, Refusal, SingleLine};
use crate::document::At;
use crate::error::Result as Read;
use crate::guest::GuestPath;
use base64ct::{Base64, Encoding};
use std::fmt;

/// A group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: AccountName,
    /// Its number. `None`: the lowest free one.
    pub gid: Option<u32>,
}

impl Group {
    pub(super) fn read(at: &At<'_>) -> Read<Self> {
        let table = at.table(&["name", "gid"])?;
        Ok(Group {
            name: table.required("name", |at| at.parsed(AccountName::parse))?,
            gid: table.optional("gid", account_number)?,
        })
    }
}

/// Reads a user's or a group's number: 1 to 4,294,967,293, and neither 65534 (nobody) nor 65535 (no number in 16 bits).
///
/// # Errors
/// Not such a number.
fn account_number(at: At<'_>) -> Read<u32> {
    match at.integer_u32(1..=4_294_967_293)? {
        number @ (65_534 | 65_535) => {
            at.refuse(format_args!("{number} is kept for nobody"), "choose another number, like 1000")
        }
        number => Ok(number),
    }
}

/// A user. Without a password hash and without keys the account is locked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The name.
    pub name: AccountName,
    /// The number. `None`: that of the existing account, else the lowest free one.
    pub uid: Option<u32>,
    /// The primary group. `None`: that of the existing account, else a group of the user's own name.
    pub group: Option<AccountName>,
    /// Further groups.
    pub groups: Vec<AccountName>,
    /// The login shell. `None`: that of the existing account, else `/bin/bash` where the guest has it, else `/bin/sh`.
    pub shell: Option<GuestPath>,
    /// The home directory. `None`: that of the existing account, else `/home/NAME`.
    pub home: Option<GuestPath>,
    /// The full name, for people. No colon and no comma.
    pub comment: Option<SingleLine>,
    /// The hash of the password.
    pub password_hash: Option<PasswordHash>,
    /// Keys with which the user may log in. `None`: not managed; empty: none at all.
    pub ssh_authorized_keys: Option<Vec<AuthorizedKey>>,
    /// What the user may do as root.
    pub sudo: Sudo,
    /// Whether the account is locked whatever else is given.
    pub locked: bool,
}

impl User {
    pub(super) fn read(at: &At<'_>) -> Read<Self> {
        let table = at.table(&[
            "name",
            "uid",
            "group",
            "groups",
            "shell",
            "home",
            "comment",
            "password_hash",
            "ssh_authorized_keys",
            "sudo",
            "locked",
        ])?;
        Ok(User {
            name: table.required("name", |at| at.parsed(AccountName::parse))?,
            uid: table.optional("uid", account_number)?,
            group: table.optional("group", |at| at.parsed(AccountName::parse))?,
            groups: table.list("groups", 256, |at| at.parsed(AccountName::parse))?,
            shell: table.optional("shell", |at| at.parsed(login_path))?,
            home: table.optional("home", |at| at.parsed(login_path))?,
            comment: table.optional("comment", |at| at.parsed(comment))?,
            password_hash: table.optional("password_hash", |at| at.parsed_secret(PasswordHash::parse))?,
            ssh_authorized_keys: table
                .optional("ssh_authorized_keys", |at| at.list(0..=256, |at| at.parsed(AuthorizedKey::parse)))?,
            sudo: table
                .optional("sudo", |at| {
                    at.word(&[("none", Sudo::None), ("password", Sudo::Password), ("nopasswd", Sudo::NoPassword)])
                })?
                .unwrap_or_default(),
            locked: table.optional("locked", |at| at.boolean())?.unwrap_or(false),
        })
    }
}

/// A path that a line of `/etc/passwd` can hold.
fn login_path(text: &str) -> Result<GuestPath, Refusal> {
    if text == "/" {
        return Err(Refusal::new("is the root itself", "write a path below it, like /home/ops"));
    }
    if text.contains(':') {
        return Err(Refusal::new("has a colon", "write a path without one, because /etc/passwd cannot hold it"));
    }
    guest_path(text)
}

/// A full name that the fields of `/etc/passwd` can hold.
fn comment(text: &str) -> Result<SingleLine, Refusal> {
    if text.chars().count() > 256 || text.contains([':', ',']) {
        return Err(Refusal::new(
            "has a colon, a comma or more than 256 characters",
            "write a name without them, because /etc/passwd cannot hold it",
        ));
    }
    SingleLine::parse(text)
}

/// What a user may do as root.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sudo {
    /// Nothing by our doing.
    #[default]
    None,
    /// Everything, after giving the own password.
    Password,
    /// Everything, without a password.
    NoPassword,
}

/// The hash of a password in the form of crypt(5). Its `Debug` does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Reads a hash: yescrypt `$y$`, scrypt `$7$`, bcrypt `$2b$`, SHA-512 `$6$` or SHA-256 `$5$`.
    ///
    /// # Errors
    /// What is wrong with it; the text itself is never repeated, since it may be a password.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let known =
            ["$y$", "$gy$", "$7$", "$2b$", "$2a$", "$2y$", "$6$", "$5$"].iter().any(|prefix| text.starts_with(prefix));
        let good = |c: u8| c.is_ascii_graphic() && !matches!(c, b':' | b'*' | b'!' | b'\\' | b';');
        if !known || text.len() < 20 || text.len() > 384 || !text.bytes().all(good) {
            return Err(Refusal::new(
                "is not the hash of a password",
                "write what `mkpasswd` or `openssl passwd -6` prints; plain passwords do not exist in settings",
            ));
        }
        Ok(PasswordHash(text.into()))
    }

    /// The hash, for the one file it belongs in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

text_type! {
    /// One line of `authorized_keys`: a public key with an optional comment, and no options.
    AuthorizedKey
}

impl AuthorizedKey {
    /// Reads a public key. Options (`command=`, `from=` …) are refused: settings are data.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        const TYPES: [&str; 7] = [
            "ssh-ed25519",
            "sk-ssh-ed25519@openssh.com",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "ssh-rsa",
        ];
        let wrong =
            || Refusal::new("is not an SSH public key", "write one line of a .pub file, like `ssh-ed25519 AAAA… name`");
        if text.len() > 16_384 || text.chars().any(char::is_control) {
            return Err(wrong());
        }
        let mut words = text.splitn(3, ' ');
        let (Some(kind), Some(data)) = (words.next(), words.next()) else { return Err(wrong()) };
        if !TYPES.contains(&kind) {
            return Err(wrong());
        }
        // The base64 text begins with the length and the name of the key type, so a key under another type's name is seen.
        let decoded = ssh_key_type(data).ok_or_else(wrong)?;
        if decoded != kind.as_bytes() {
            return Err(Refusal::new(
                "has a key type that is not the one in its data",
                "copy the whole line of the .pub file",
            ));
        }
        Ok(AuthorizedKey(text.trim_end().into()))
    }
}

/// The key type that the base64 data of a public key begins with. `None` where it is not such data.
fn ssh_key_type(data: &str) -> Option<Vec<u8>> {
    use ssh_key::PublicKey;
    let bytes = decode_base64(data)?;
    let length: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let kind = bytes.get(4..length.checked_add(4)?)?.to_vec();
    // Only key types that are read here can be checked further; the others are held against their framing.
    if kind == b"ssh-ed25519" {
        PublicKey::from_bytes(&bytes).ok()?;
    }
    let mut at = 0_usize;
    while at < bytes.len() {
        let length: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        at = at.checked_add(4)?.checked_add(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
    }
    (at == bytes.len()).then_some(kind)
}

/// Standard base64 with padding, strictly.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| Base64::decode_vec(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_one_line_without_options() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi ops@example";
        assert_eq!(AuthorizedKey::parse(key).unwrap().as_str(), key);
        for wrong in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 x",
            &format!("command=\"id\" {key}"),
            &format!("{key}\n{key}"),
            &key.replace("ssh-ed25519 ", "ssh-rsa "),
            &key.replace("XmCi", "XmC"),
        ] {
            assert!(AuthorizedKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_taken_nor_repeated() {
        let refusal = PasswordHash::parse("hunter2").unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"));
        let hash = "$6$saltsalt$0123456789abcdef0123456789abcdef";
        assert_eq!(PasswordHash::parse(hash).unwrap().expose(), hash);
        assert_eq!(format!("{:?}", PasswordHash::parse(hash).unwrap()), "<secret>");
        for wrong in
            ["*", "!", "", "$1$abc$0123456789abcdefghijk", "$6$a:b$0123456789abcdefghijk", "$6$a\nb$0123456789abcdef"]
        {
            assert!(PasswordHash::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode_base64("aGFuZG9mZg=="), Some(b"handoff".to_vec()));
        for wrong in ["", "aGFuZG9mZg", "aGFuZG9mZh==", "a===", "aGF=ZG9m", "aG Fu", "====", "=AAA"] {
            assert_eq!(decode_base64(wrong), None, "{wrong}");
        }
    }
}
