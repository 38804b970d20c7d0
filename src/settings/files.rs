//! Section `files`: whole files.

use super::accounts::decode_base64;
use super::names::guest_path;
use super::{AccountName, Refusal};
use crate::document::At;
use crate::error::Result as Read;
use crate::guest::GuestPath;
use std::fmt;

/// A file to put into the guest.
#[derive(Clone, Eq, PartialEq)]
pub struct PlainFile {
    /// Where.
    pub path: GuestPath,
    /// Permission bits.
    pub mode: FileMode,
    /// The owner's name.
    pub owner: AccountName,
    /// The group's name.
    pub group: AccountName,
    /// All bytes.
    pub content: Vec<u8>,
}

impl PlainFile {
    pub(super) fn read(at: &At<'_>) -> Read<Self> {
        let table = at.table(&["path", "mode", "owner", "group", "content", "content_base64"])?;
        table.exactly_one(&["content", "content_base64"])?;
        let text = table.optional("content", |at| Ok(at.text_of_any_form()?.as_bytes().to_vec()))?;
        let binary = table.optional("content_base64", |at| at.parsed_secret(bytes))?;
        Ok(PlainFile {
            path: table.required("path", |at| at.parsed(file_path))?,
            mode: table.optional("mode", |at| at.parsed(FileMode::parse))?.unwrap_or_default(),
            owner: table.optional("owner", |at| at.parsed(AccountName::parse))?.unwrap_or_else(AccountName::root),
            group: table.optional("group", |at| at.parsed(AccountName::parse))?.unwrap_or_else(AccountName::root),
            content: text.or(binary).unwrap_or_default(),
        })
    }

    /// Whether the content must never be shown: a file that not everybody in the guest may read.
    pub fn is_secret(&self) -> bool {
        self.mode.bits() & 0o004 == 0
    }
}

fn file_path(text: &str) -> Result<GuestPath, Refusal> {
    if text == "/" {
        return Err(Refusal::new("is the root itself", "write the path of a file, like /etc/motd"));
    }
    guest_path(text)
}

fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    decode_base64(text)
        .ok_or_else(|| Refusal::new("is not base64 (RFC 4648, with padding)", "write what `base64 -w0 FILE` prints"))
}

impl fmt::Debug for PlainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainFile({}, {:04o}, {} bytes)", self.path, self.mode.bits(), self.content.len())
    }
}

/// The permission bits of a file: 0000 to 0777, without set-user-id, set-group-id and sticky, because settings are data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileMode(u32);

impl Default for FileMode {
    /// 0644.
    fn default() -> Self {
        FileMode(0o644)
    }
}

impl FileMode {
    /// Reads three or four octal digits.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|c| matches!(c, b'0'..=b'7'));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal && bits <= 0o777 => Ok(FileMode(bits)),
            _ => Err(Refusal::new("is not a file mode", "write octal digits from \"0000\" to \"0777\", like \"0644\"")),
        }
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_no_special_bits() {
        assert_eq!(FileMode::parse("0640").unwrap().bits(), 0o640);
        assert_eq!(FileMode::parse("755").unwrap().bits(), 0o755);
        for wrong in ["", "4755", "0888", "64", "00644", "+644", "rw-r--r--"] {
            assert!(FileMode::parse(wrong).is_err(), "{wrong}");
        }
    }
}
