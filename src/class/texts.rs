//! Texts of a form of their own: URLs, PEM, and patterns.

use crate::document::Refusal;
use crate::settings::Hostname;
use base64ct::{Base64, Encoding};
use std::net::Ipv6Addr;

/// A regular expression that a whole text must match. The syntax is that of the `regex` crate, without Unicode classes.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: regex_lite::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// The largest program a pattern may be compiled to, in bytes.
    const SIZE: usize = 256 << 10;

    /// Reads a pattern.
    ///
    /// # Errors
    /// It is no regular expression, or a huge one.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::new("is not a regular expression that can be used", "write one like [a-z][a-z0-9_]*");
        // By itself first: brackets that are closed too often must not close ours.
        regex_lite::Regex::new(text).map_err(|_| wrong())?;
        let whole = format!("^(?:{text})$");
        let regex = regex_lite::RegexBuilder::new(&whole).size_limit(Self::SIZE).build().map_err(|_| wrong())?;
        Ok(Pattern { text: text.to_owned(), regex })
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// Checks a URL with a host: `scheme://host[:port][/path][?query]`, no user name, no password, no fragment.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(text: &str, schemes: &[String]) -> Result<(), Refusal> {
    let wrong =
        |problem: &str| Refusal::new(problem, format!("write it like {}://www.example.net/path", first(schemes)));
    if text.len() > MAX_URL {
        return Err(Refusal::new("is longer than 2048 characters", "shorten it"));
    }
    let Some((scheme, rest)) = text.split_once("://") else { return Err(wrong("is not a URL")) };
    if !schemes.iter().any(|known| known == scheme) {
        return Err(Refusal::new(
            "has a scheme that is not taken here",
            format!("write {}://", schemes.join(":// or ")),
        ));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or_else(|| wrong("is not a URL"))?;
    if authority.contains('@') {
        return Err(wrong("has a user name"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(|| wrong("has no closing ]"))?;
            address.parse::<Ipv6Addr>().map_err(|_| wrong("has no address between [ and ]"))?;
            ("", after.strip_prefix(':').or((!after.is_empty()).then_some("x")))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let numeric = !host.is_empty() && host.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let good_host = match numeric {
        true => host.parse::<std::net::Ipv4Addr>().is_ok(),
        false => {
            host == "localhost" || Hostname::parse(host).is_ok() || (host.is_empty() && authority.starts_with('['))
        }
    };
    if !good_host {
        return Err(wrong("has a host that is neither a name nor an address"));
    }
    let good_port = |port: &str| {
        let plain = port.bytes().all(|c| c.is_ascii_digit()) && !port.starts_with('0');
        plain && port.parse::<u16>().is_ok()
    };
    if port.is_some_and(|port| !good_port(port)) {
        return Err(wrong("has a port that is not from 1 to 65535"));
    }
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/?:@!$&'()*+,;=-._~%[]".contains(&c);
    if !path.bytes().all(plain) {
        return Err(Refusal::new("has a character that must be escaped", "write it as % and two hexadecimal digits"));
    }
    Ok(())
}

fn first(schemes: &[String]) -> &str {
    schemes.first().map_or("https", String::as_str)
}

/// Checks PEM text (RFC 7468): one block after the other, each with the label where one is given; `PRIVATE KEY` also stands
/// for its kinds, such as `EC PRIVATE KEY`.
///
/// # Errors
/// What is wrong with it. The text is not repeated.
pub fn check_pem(text: &str, label: Option<&str>) -> Result<(), Refusal> {
    let wrong = |problem: &str| Refusal::new(problem, "give the PEM text whole, from its BEGIN line to its END line");
    let mut lines = text.split('\n').map(str::trim_end).filter(|line| !line.is_empty());
    let mut blocks = 0_u32;
    while let Some(line) = lines.next() {
        let found = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        let found = found.ok_or_else(|| wrong("has a line where -----BEGIN is expected"))?;
        if label.is_some_and(|label| found != label && !(label == "PRIVATE KEY" && found.ends_with(" PRIVATE KEY"))) {
            let problem = format!("holds another block than {}", label.unwrap_or_default());
            return Err(Refusal::new(problem, "give only blocks of that kind"));
        }
        let end = format!("-----END {found}-----");
        let mut body = String::new();
        loop {
            match lines.next() {
                None => return Err(wrong("ends inside a block")),
                Some(line) if line == end => break,
                Some(line) => body.push_str(line),
            }
        }
        if body.is_empty() || Base64::decode_vec(&body).is_err() {
            return Err(wrong("has a block that is not base64"));
        }
        blocks = blocks.saturating_add(1);
    }
    if blocks == 0 { Err(wrong("holds no PEM block")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_matched_by_the_whole_text() {
        let pattern = Pattern::parse("a|bc").unwrap();
        assert!(pattern.matches("a") && pattern.matches("bc"));
        for text in ["ac", "xbc", "a\n", "\na", ""] {
            assert!(!pattern.matches(text), "{text:?}");
        }
        for wrong in ["(", "a)|(b", "[", "a{2,1}", "(a{1000}){1000}"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_are_told_from_other_texts() {
        let schemes = ["http".to_owned(), "https".to_owned()];
        for good in
            ["http://a", "https://www.example.net:8443/x?y=1&z=%20", "http://10.0.0.1/", "http://[2001:db8::1]:80/"]
        {
            assert_eq!(check_url(good, &schemes), Ok(()), "{good}");
        }
        let wrong = [
            "",
            "www.example.net",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://a:0/",
            "http://a:99999/",
            "http://u:p@a/",
            "http://10.0.0.256/",
            "http://a b/",
            "http://a/\"",
            "http://a/\n",
            "http://[::1",
            "http://[x]/",
            "http://[::1]x/",
            "http://a/#f",
        ];
        for text in wrong {
            assert!(check_url(text, &schemes).is_err(), "{text}");
        }
    }

    #[test]
    fn pem_is_whole_and_of_the_kind_that_is_asked_for() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\nAAA=\n-----END {label}-----\n");
        let two = format!("{}\n{}", block("CERTIFICATE"), block("CERTIFICATE"));
        assert_eq!(check_pem(&two, Some("CERTIFICATE")), Ok(()));
        assert_eq!(check_pem(&block("EC PRIVATE KEY"), Some("PRIVATE KEY")), Ok(()));
        assert!(check_pem(&block("EC PRIVATE KEY"), Some("CERTIFICATE")).is_err());
        for wrong in [
            "",
            "x",
            "-----BEGIN A-----\nAAAA\n",
            "-----BEGIN A-----\n-----END A-----",
            "-----BEGIN A-----\n!\n-----END A-----",
        ] {
            assert!(check_pem(wrong, None).is_err(), "{wrong}");
        }
    }
}
