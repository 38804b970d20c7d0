//! The account files `passwd`, `shadow`, `group` and `gshadow`, edited line by line: a line that nobody speaks of stays byte
//! for byte, whatever it holds (comments, NIS lines, lines that no tool would read).
//!
//! Formats: passwd(5), shadow(5), group(5), gshadow(5), login.defs(5).

use super::{GuestPath, MAX_GUEST_FILE};
use crate::document::shortened;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// One of the four files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccountFile {
    /// name, password, uid, gid, full name, home, shell.
    Passwd,
    /// name, password, day of the last change, min, max, warn, inactive, day of expiry, reserved.
    Shadow,
    /// name, password, gid, members.
    Group,
    /// name, password, administrators, members.
    Gshadow,
}

impl AccountFile {
    /// Where it lies.
    pub fn path(self) -> GuestPath {
        GuestPath::of(match self {
            AccountFile::Passwd => "/etc/passwd",
            AccountFile::Shadow => "/etc/shadow",
            AccountFile::Group => "/etc/group",
            AccountFile::Gshadow => "/etc/gshadow",
        })
    }

    /// Whether it holds what only root may read.
    pub fn is_secret(self) -> bool {
        matches!(self, AccountFile::Shadow | AccountFile::Gshadow)
    }

    /// How many fields a line has.
    pub fn width(self) -> usize {
        match self {
            AccountFile::Passwd => 7,
            AccountFile::Shadow => 9,
            AccountFile::Group | AccountFile::Gshadow => 4,
        }
    }
}

/// The place of a field in its line. The name is field 0 in all four files, the password field 1.
pub mod field {
    /// The password, in all four files.
    pub const PASSWORD: usize = 1;
    /// In `passwd` the user's number, in `group` the group's.
    pub const ID: usize = 2;
    /// In `passwd`, the number of the primary group.
    pub const PRIMARY: usize = 3;
    /// In `passwd`, the full name.
    pub const COMMENT: usize = 4;
    /// In `passwd`, the home directory.
    pub const HOME: usize = 5;
    /// In `passwd`, the login shell.
    pub const SHELL: usize = 6;
    /// In `shadow`, the day since 1970 from which nobody can log in as this user, in any way.
    pub const EXPIRE: usize = 7;
    /// In `group` and `gshadow`, the members, with commas between them.
    pub const MEMBERS: usize = 3;
}

/// The lines of one file. Does not show them: they may hold hashes of passwords.
#[derive(Clone, Eq, PartialEq)]
pub struct Table {
    file: AccountFile,
    /// Without their newlines.
    lines: Vec<Vec<u8>>,
    /// Whether the last line has its newline.
    ended: bool,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({:?}, {} lines)", self.file, self.lines.len())
    }
}

impl Table {
    /// Reads a file. Every text is one: what cannot be understood is kept and never found.
    ///
    /// # Errors
    /// More than [`MAX_GUEST_FILE`] bytes.
    pub fn parse(file: AccountFile, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_GUEST_FILE {
            return Err(Error::not_applied(file.path(), "is larger than 8 MiB", "put the guest's own file back"));
        }
        let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let ended = lines.last().is_none_or(Vec::is_empty);
        if ended {
            lines.pop();
        }
        Ok(Table { file, lines, ended })
    }

    /// The whole file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.lines.join(&b'\n');
        if self.ended && !self.lines.is_empty() {
            bytes.push(b'\n');
        }
        bytes
    }

    fn position(&self, name: &str) -> Result<Option<usize>> {
        let is_it = |line: &Vec<u8>| {
            line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"))
        };
        let found = self.lines.iter().position(is_it);
        let Some(at) = found else { return Ok(None) };
        let width = self.lines.get(at).map_or(0, |line| line.split(|byte| *byte == b':').count());
        if width == self.file.width() {
            return Ok(Some(at));
        }
        Err(Error::not_applied(
            format_args!("{}, line {}", self.file.path(), at.saturating_add(1)),
            format_args!("the line of `{}` has {width} fields and not {}", shortened(name), self.file.width()),
            "mend or remove that line in the guest",
        ))
    }

    /// The line of this name. Of several, the first, as every reader of these files does it.
    ///
    /// # Errors
    /// The line has too few or too many fields.
    pub fn line(&self, name: &str) -> Result<Option<&[u8]>> {
        Ok(self.position(name)?.and_then(|at| self.lines.get(at)).map(Vec::as_slice))
    }

    /// One field of the line of this name.
    ///
    /// # Errors
    /// As for [`Table::line`].
    pub fn field(&self, name: &str, index: usize) -> Result<Option<&[u8]>> {
        Ok(self.line(name)?.and_then(|line| line.split(|byte| *byte == b':').nth(index)))
    }

    /// The number in field [`field::ID`] of the line of this name.
    ///
    /// # Errors
    /// As for [`Table::line`]; also where that field is no number.
    pub fn id(&self, name: &str) -> Result<Option<u32>> {
        self.number(name, field::ID)
    }

    /// The number in one field of the line of this name.
    ///
    /// # Errors
    /// As for [`Table::line`]; also where that field is no number.
    pub fn number(&self, name: &str, index: usize) -> Result<Option<u32>> {
        let Some(text) = self.field(name, index)? else { return Ok(None) };
        match parse_number(text) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::not_applied(
                self.file.path(),
                format_args!("field {} of `{}` is not a number", index.saturating_add(1), shortened(name)),
                "mend or remove that line in the guest",
            )),
        }
    }

    /// All numbers in field `index`.
    pub fn numbers(&self, index: usize) -> BTreeSet<u32> {
        let numbers = self.lines.iter().filter_map(|line| line.split(|byte| *byte == b':').nth(index));
        numbers.filter_map(parse_number).collect()
    }

    /// The first name whose field [`field::ID`] is this number.
    pub fn name_of(&self, id: u32) -> Option<String> {
        let line = self.lines.iter().find(|line| {
            line.split(|byte| *byte == b':').nth(field::ID).and_then(parse_number) == Some(id)
                && !line.starts_with(b"#")
        })?;
        let name = line.split(|byte| *byte == b':').next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// Puts a value in a field of the line of this name. A line or value that is not there changes nothing else.
    ///
    /// # Errors
    /// As for [`Table::line`]; no such line; a value with a colon or a line break.
    pub fn set(&mut self, name: &str, index: usize, value: &[u8]) -> Result<()> {
        self.check(name, value)?;
        self.put(name, index, value)
    }

    /// [`Table::set`] of a value whose bytes may be the file's own: what the guest wrote there stays, whatever it is.
    fn put(&mut self, name: &str, index: usize, value: &[u8]) -> Result<()> {
        let file = self.file;
        let line = self.position(name)?.and_then(|at| self.lines.get_mut(at));
        let Some(line) = line else {
            return Err(Error::not_applied(
                file.path(),
                format_args!("has no line of `{}`", shortened(name)),
                "run pwck and grpck in the guest",
            ));
        };
        let fields: Vec<&[u8]> = line
            .split(|byte| *byte == b':')
            .enumerate()
            .map(|(at, old)| if at == index { value } else { old })
            .collect();
        let changed = fields.join(&b':');
        *line = changed;
        Ok(())
    }

    /// Adds a line, before the first NIS line (`+…`, `-…`), because what stands behind those may be hidden by them.
    ///
    /// # Errors
    /// A value with a colon or a line break.
    pub fn append(&mut self, fields: &[&[u8]]) -> Result<()> {
        for value in fields {
            self.check("a new line", value)?;
        }
        let at = self.lines.iter().position(|line| matches!(line.first(), Some(b'+' | b'-')));
        let at = at.unwrap_or(self.lines.len());
        if at == self.lines.len() {
            // A last line without its newline would run into the new one.
            self.ended = true;
        }
        self.lines.insert(at, fields.join(&b':'));
        Ok(())
    }

    /// Removes the line of this name.
    ///
    /// # Errors
    /// As for [`Table::line`].
    pub fn remove(&mut self, name: &str) -> Result<()> {
        if let Some(at) = self.position(name)? {
            self.lines.remove(at);
        }
        Ok(())
    }

    /// The members of a group.
    ///
    /// # Errors
    /// As for [`Table::line`].
    pub fn members(&self, group: &str) -> Result<Vec<String>> {
        let list = self.field(group, field::MEMBERS)?.unwrap_or_default();
        let members = list.split(|byte| *byte == b',').filter(|member| !member.is_empty());
        Ok(members.map(|member| String::from_utf8_lossy(member).into_owned()).collect())
    }

    /// Makes a user a member of a group; where the group has no line, nothing happens. Whether anything changed.
    ///
    /// # Errors
    /// As for [`Table::set`].
    pub fn join(&mut self, group: &str, user: &str) -> Result<bool> {
        let Some(list) = self.field(group, field::MEMBERS)? else { return Ok(false) };
        if list.split(|byte| *byte == b',').any(|member| member == user.as_bytes()) {
            return Ok(false);
        }
        let joined = if list.is_empty() { user.as_bytes().to_vec() } else { [list, user.as_bytes()].join(&b',') };
        self.check(group, user.as_bytes())?;
        self.put(group, field::MEMBERS, &joined)?;
        Ok(true)
    }

    /// Takes a user out of a group; where the group has no line, nothing happens.
    ///
    /// # Errors
    /// As for [`Table::set`].
    pub fn leave(&mut self, group: &str, user: &str) -> Result<()> {
        let Some(list) = self.field(group, field::MEMBERS)? else { return Ok(()) };
        let others: Vec<&[u8]> = list.split(|byte| *byte == b',').filter(|member| *member != user.as_bytes()).collect();
        let left = others.join(&b',');
        self.put(group, field::MEMBERS, &left)
    }

    fn check(&self, name: &str, value: &[u8]) -> Result<()> {
        if value.iter().any(|byte| matches!(byte, b':' | b'\n' | b'\r' | 0)) {
            return Err(Error::invalid(
                format_args!("{}, {name}", self.file.path()),
                "a value has a colon or a line break, which this file cannot hold",
                "write it without",
            ));
        }
        Ok(())
    }
}

fn parse_number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 10 && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// What of `/etc/login.defs` concerns new accounts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginDefs {
    /// Numbers for new users: the lowest and the highest.
    pub uids: (u32, u32),
    /// Numbers for new groups: the lowest and the highest.
    pub gids: (u32, u32),
    /// Permission bits of a new home.
    pub home_mode: u32,
}

impl Default for LoginDefs {
    fn default() -> Self {
        LoginDefs { uids: (1000, 60_000), gids: (1000, 60_000), home_mode: 0o700 }
    }
}

impl LoginDefs {
    /// Reads the file. What is not in it, or makes no sense, has its default: 1000 to 60000, and 0700.
    pub fn parse(text: &[u8]) -> Self {
        let value = |key: &str| {
            let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
            lines.rev().find_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some(key)).then(|| words.next()).flatten()
            })
        };
        let range = |low: &str, high: &str, default: (u32, u32)| {
            let number = |key: &str| value(key).and_then(|text| parse_number(text.as_bytes()));
            let range = (number(low).unwrap_or(default.0), number(high).unwrap_or(default.1));
            if range.0 > 0 && range.0 <= range.1 { range } else { default }
        };
        let default = LoginDefs::default();
        let mode = value("HOME_MODE").and_then(|text| u32::from_str_radix(text, 8).ok());
        LoginDefs {
            uids: range("UID_MIN", "UID_MAX", default.uids),
            gids: range("GID_MIN", "GID_MAX", default.gids),
            home_mode: mode.filter(|mode| *mode <= 0o777 && mode & 0o700 == 0o700).unwrap_or(default.home_mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# a comment\n\nbroken:x:1\nops:x:1000:1000:\xe9:/home/ops:/bin/sh\n+::::::\n";

    #[test]
    fn only_the_field_that_is_set_changes() {
        let mut table = Table::parse(AccountFile::Passwd, PASSWD).unwrap();
        table.set("ops", field::SHELL, b"/bin/zsh").unwrap();
        let expected = PASSWD.to_vec();
        let text = String::from_utf8_lossy(&expected).replace("/bin/sh\n", "/bin/zsh\n");
        assert_eq!(String::from_utf8_lossy(&table.to_bytes()), text);
        assert!(table.to_bytes().contains(&0xe9));
    }

    #[test]
    fn a_new_line_stands_before_nis_lines() {
        let mut table = Table::parse(AccountFile::Passwd, PASSWD).unwrap();
        table.append(&[b"x", b"x", b"1", b"1", b"", b"/", b"/bin/sh"]).unwrap();
        assert!(table.to_bytes().ends_with(b"/bin/sh\nx:x:1:1::/:/bin/sh\n+::::::\n"));
    }

    #[test]
    fn a_missing_final_newline_is_kept_until_a_line_follows() {
        let mut table = Table::parse(AccountFile::Group, b"a:x:1:").unwrap();
        assert_eq!(table.to_bytes(), b"a:x:1:");
        table.append(&[b"b", b"x", b"2", b""]).unwrap();
        assert_eq!(table.to_bytes(), b"a:x:1:\nb:x:2:\n");
    }

    #[test]
    fn a_broken_line_is_refused_only_where_it_is_needed() {
        let table = Table::parse(AccountFile::Passwd, PASSWD).unwrap();
        assert!(table.line("broken").unwrap_err().to_string().contains("line 4"));
        assert_eq!(table.line("nobody").unwrap(), None);
        assert_eq!(table.id("ops").unwrap(), Some(1000));
    }

    #[test]
    fn no_value_can_add_a_field_or_a_line() {
        let mut table = Table::parse(AccountFile::Passwd, PASSWD).unwrap();
        for wrong in [&b"a:b"[..], b"a\nb", b"a\0"] {
            assert!(table.set("ops", field::COMMENT, wrong).is_err());
            assert!(table.append(&[wrong]).is_err());
        }
        assert_eq!(table.to_bytes(), PASSWD);
    }

    #[test]
    fn members_come_and_go() {
        let mut table = Table::parse(AccountFile::Group, b"g:x:1:ab,b\nh:x:2:\n").unwrap();
        assert!(table.join("g", "a").unwrap());
        assert!(!table.join("g", "a").unwrap());
        assert!(table.join("h", "a").unwrap());
        assert!(!table.join("none", "a").unwrap());
        assert_eq!(table.to_bytes(), b"g:x:1:ab,b,a\nh:x:2:a\n");
        table.leave("g", "b").unwrap();
        table.leave("h", "a").unwrap();
        assert_eq!(table.to_bytes(), b"g:x:1:ab,a\nh:x:2:\n");
        assert_eq!(table.members("g").unwrap(), ["ab", "a"]);
    }

    #[test]
    fn members_come_and_go_beside_bytes_that_nobody_could_give() {
        let mut table = Table::parse(AccountFile::Group, b"g:x:1:a,b\r\nh:x:2:o\0ps\n").unwrap();
        assert!(table.join("g", "c").unwrap() && table.join("h", "c").unwrap());
        assert_eq!(table.to_bytes(), b"g:x:1:a,b\r,c\nh:x:2:o\0ps,c\n");
        table.leave("g", "c").unwrap();
        table.leave("h", "c").unwrap();
        assert_eq!(table.to_bytes(), b"g:x:1:a,b\r\nh:x:2:o\0ps\n");
        assert!(table.join("g", "a:b").is_err());
    }

    #[test]
    fn login_defs_fall_back_to_what_everybody_uses() {
        let text = b"# UID_MIN 5\nUID_MIN\t\t 2000\nUID_MAX 3000\nGID_MIN 9\nGID_MAX 3\nHOME_MODE 0750\n\xff\n";
        let defs = LoginDefs::parse(text);
        assert_eq!(defs, LoginDefs { uids: (2000, 3000), gids: (1000, 60_000), home_mode: 0o750 });
        assert_eq!(LoginDefs::parse(b"HOME_MODE 0000\nUID_MIN 0\n"), LoginDefs::default());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), any::<u8>()], 0..200)) {
            for file in [AccountFile::Passwd, AccountFile::Group] {
                prop_assert_eq!(Table::parse(file, &bytes).unwrap().to_bytes(), bytes.clone());
            }
        }
    }
}
