//! Names and short texts, each a type that cannot hold what its target would misread.

use crate::document::Refusal;
use crate::guest::GuestPath;
use std::fmt;
use std::net::IpAddr;

fn refuse<T>(problem: &str, remedy: &str) -> Result<T, Refusal> {
    Err(Refusal::new(problem, remedy))
}

/// Makes a text type with a private field: `parse` is its only constructor.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(super) use text_type;

fn is_label(label: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

text_type! {
    /// The name of a machine: RFC 1123 labels with dots between them, at most 64 bytes, which is what the Linux kernel holds.
    Hostname
}

impl Hostname {
    /// Reads a host name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || text.len() > 64 {
            return refuse("has not 1 to 64 characters", "write a name that the kernel can hold");
        }
        if !text.split('.').all(is_label) || text.split('.').all(|label| label.bytes().all(|c| c.is_ascii_digit())) {
            return refuse(
                "is not a host name",
                "write letters, digits and hyphens, with dots between labels, like lb-1.example.net",
            );
        }
        if text == "localhost" {
            return refuse("is the name of every machine", "give this machine a name of its own");
        }
        Ok(Hostname(text.into()))
    }

    /// The first label.
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

text_type! {
    /// A name in the DNS, or in `/etc/hosts`: labels with dots between them, at most 253 bytes.
    DnsName
}

impl DnsName {
    /// Reads a name; underscores are allowed, as in service names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let plain = text.replace('_', "x");
        if text.is_empty() || text.len() > 253 || !plain.split('.').all(is_label) {
            return refuse(
                "is not a DNS name",
                "write labels of letters, digits and hyphens with dots between them, like db.example.net",
            );
        }
        Ok(DnsName(text.into()))
    }
}

text_type! {
    /// The name of a user or of a group, in the form that every tool takes: `[a-z_][a-z0-9_-]*`, at most 32 bytes.
    AccountName
}

impl AccountName {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let first = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c == b'_');
        let rest = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'));
        if !first || !rest || text.len() > 32 {
            return refuse(
                "is not an account name",
                "begin with a lower-case letter or _, go on with lower-case letters, digits, _ and -, at most 32 characters",
            );
        }
        Ok(AccountName(text.into()))
    }
}

impl AccountName {
    /// The superuser and its group.
    pub fn root() -> Self {
        AccountName("root".into())
    }
}

text_type! {
    /// The name of a network interface: at most 15 bytes, none of them a space, a slash, a colon or a percent sign.
    InterfaceName
}

impl InterfaceName {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        let numeric = text.bytes().all(|c| c.is_ascii_digit());
        if text.is_empty() || text.len() > 15 || !text.bytes().all(good) || numeric || text.starts_with(['.', '-']) {
            return refuse(
                "is not an interface name",
                "write 1 to 15 letters, digits, _, - and ., beginning with a letter, digit or _, not digits alone",
            );
        }
        if matches!(text, "lo" | "all" | "default") {
            return refuse("is a name that the kernel keeps for itself", "choose another name");
        }
        Ok(InterfaceName(text.into()))
    }
}

text_type! {
    /// A unit of the init, with its suffix: `haproxy.service`. A name without a suffix means a service.
    UnitName
}

impl UnitName {
    /// Reads a unit name of at most 192 bytes and adds `.service` where no unit suffix is given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        const SUFFIXES: [&str; 6] = [".service", ".socket", ".timer", ".path", ".target", ".mount"];
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b'@' | b':');
        let full = if SUFFIXES.iter().any(|s| text.ends_with(s)) { text.to_owned() } else { format!("{text}.service") };
        let stem = full.rsplit_once('.').map_or("", |(stem, _)| stem);
        let at = stem.bytes().filter(|c| *c == b'@').count();
        if stem.is_empty() || text.len() > 192 || !full.bytes().all(good) || at > 1 || stem.starts_with(['.', '-', '@'])
        {
            return refuse(
                "is not a service name",
                "write the name of a unit in the guest, like haproxy or getty@tty1.service",
            );
        }
        Ok(UnitName(full))
    }

    /// The template of an instance (`getty@.service` for `getty@tty1.service`) and the instance (`tty1`, which may be empty).
    pub fn template(&self) -> Option<(String, &str)> {
        let (stem, suffix) = self.0.rsplit_once('.')?;
        let (prefix, instance) = stem.split_once('@')?;
        Some((format!("{prefix}@.{suffix}"), instance))
    }
}

text_type! {
    /// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes.
    EnvironmentName
}

impl EnvironmentName {
    /// Reads a name. Names with which the loader or the init would change what is run are refused.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let first = text.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
        if !first || text.len() > 128 || !text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            return refuse(
                "is not the name of an environment variable",
                "write letters, digits and _, not a digit first",
            );
        }
        if text.starts_with("LD_") || matches!(text, "PATH" | "IFS" | "ENV" | "BASH_ENV" | "GCONV_PATH") {
            return refuse("would change which program runs", "settings are data: bake it into the image instead");
        }
        Ok(EnvironmentName(text.into()))
    }
}

text_type! {
    /// A text of one line, without control characters, at most 4,096 characters.
    SingleLine
}

impl SingleLine {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.chars().count() > 4096 {
            return refuse("is longer than 4096 characters", "shorten it");
        }
        if text.chars().any(char::is_control) {
            return refuse("has a control character", "write it on one line");
        }
        Ok(SingleLine(text.into()))
    }
}

text_type! {
    /// A time zone of the zone database, such as `Europe/Paris`.
    Timezone
}

impl Timezone {
    /// Reads a name. Whether the guest has that zone is seen when it is applied.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'+');
        let part = |part: &str| !part.is_empty() && part.bytes().all(good);
        if text.len() > 64 || !text.split('/').all(part) || text.starts_with(['-', '+']) {
            return refuse("is not the name of a time zone", "write it like Europe/Paris or UTC");
        }
        Ok(Timezone(text.into()))
    }
}

text_type! {
    /// A locale, such as `en_US.UTF-8` or `C.UTF-8`.
    Locale
}

impl Locale {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b'@');
        if text.is_empty()
            || text.len() > 64
            || !text.bytes().all(good)
            || !text.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            return refuse("is not the name of a locale", "write it like en_US.UTF-8 or C.UTF-8");
        }
        Ok(Locale(text.into()))
    }
}

/// A path in the guest.
pub(super) fn guest_path(text: &str) -> Result<GuestPath, Refusal> {
    GuestPath::parse(text).map_err(|error| Refusal::new(error.problem(), error.remedy()))
}

/// An address of either family, without a zone.
pub(super) fn ip_address(text: &str) -> Result<IpAddr, Refusal> {
    text.parse().map_err(|_| Refusal::new("is not an IP address", "write it like 10.0.0.10 or 2001:db8::10"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(parse: impl Fn(&str) -> Result<T, Refusal>, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert!(parse(text).is_ok(), "refused {text:?}");
        }
        for text in wrong {
            assert!(parse(text).is_err(), "accepted {text:?}");
        }
    }

    #[test]
    fn names_take_what_their_targets_take_and_nothing_else() {
        let long = "a".repeat(64);
        check(
            Hostname::parse,
            &["lb-1", "lb-eu-1.example.net", "1a"],
            &["", "-a", "a-", "a..b", "a_b", "localhost", "a b", "10.0.0.1", "a\n", &format!("{long}a")],
        );
        check(DnsName::parse, &["db", "_srv._tcp.example.net"], &["", ".", "a b", "a\n", "#", "é"]);
        check(
            AccountName::parse,
            &["ops", "_x", "a-b9"],
            &["", "Ops", "9a", "-a", "a:b", "a\n", "%wheel", "ALL", "a b", "a.b", "root\0", &"a".repeat(33)],
        );
        check(
            InterfaceName::parse,
            &["eth0", "front", "vlan.10"],
            &["", "lo", "a b", "a/b", "a:b", "0123456789abcdef", "12", ".", "..", "a%d"],
        );
        check(EnvironmentName::parse, &["MODE", "_x"], &["", "1A", "A-B", "A=B", "LD_PRELOAD", "PATH"]);
        check(SingleLine::parse, &["", "a 'b' \"c\" $d %e"], &["a\nb", "a\0", "\u{1b}[2J", "\u{85}"]);
        check(Timezone::parse, &["UTC", "Europe/Paris", "Etc/GMT+1"], &["", "/etc", "../x", "a//b", "Europe/", "a b"]);
        check(Locale::parse, &["C.UTF-8", "en_US.UTF-8", "de_DE@euro"], &["", "../x", "a b", "a\"b", "."]);
    }

    #[test]
    fn a_unit_name_gets_its_suffix_and_knows_its_template() {
        assert_eq!(UnitName::parse("haproxy").unwrap().as_str(), "haproxy.service");
        assert_eq!(UnitName::parse("a.timer").unwrap().as_str(), "a.timer");
        assert_eq!(UnitName::parse("php8.2-fpm").unwrap().as_str(), "php8.2-fpm.service");
        let unit = UnitName::parse("getty@tty1").unwrap();
        assert_eq!(unit.template(), Some(("getty@.service".into(), "tty1")));
        check(UnitName::parse, &["x@"], &["", "a/b", "../x", "a b", "@", "a@b@c", ".service", "-x", "a\nb", "a%i"]);
    }
}
