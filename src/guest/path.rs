//! A path inside the guest: absolute, normal, and unable to leave its root by its spelling.

use crate::error::{Error, Result};
use std::fmt;

/// An absolute path in the guest, such as `/etc/hostname`, or `/` itself.
///
/// It has no `.`, `..`, empty or over-long component, no control character, and at most 1,024 bytes.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct GuestPath(String);

/// The most bytes of a path.
const MAX_PATH: usize = 1024;
/// The most bytes of one component, the limit of every file system that matters.
const MAX_COMPONENT: usize = 255;

impl GuestPath {
    /// The root.
    pub fn root() -> Self {
        GuestPath("/".into())
    }

    /// A path that the program itself writes down. Use [`GuestPath::parse`] for text from outside.
    ///
    /// A text that is no path gives the reserved path `/invalid-path-in-program`, which every test that uses it shows;
    /// there is no panic here because the program may be PID 1.
    pub fn of(text: &str) -> Self {
        let path = Self::parse(text);
        debug_assert!(path.is_ok(), "not a guest path: {text}");
        path.unwrap_or_else(|_| GuestPath("/invalid-path-in-program".into()))
    }

    /// Reads a path that comes from outside.
    ///
    /// # Errors
    /// Why it is not one. The object of the error is the text itself.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |problem: &str, remedy: &str| {
            let shown: String = text.chars().take(80).collect();
            Err(Error::invalid(format_args!("path `{shown}`"), problem, remedy))
        };
        if text == "/" {
            return Ok(Self::root());
        }
        let Some(relative) = text.strip_prefix('/') else {
            return refuse("does not begin with /", "write it from the root of the guest, like /etc/motd");
        };
        if text.len() > MAX_PATH {
            return refuse("is longer than 1024 bytes", "shorten it");
        }
        if text.chars().any(char::is_control) {
            return refuse("has a control character", "remove it");
        }
        for component in relative.split('/') {
            match component {
                "" => return refuse("has an empty part", "write one / between two names and none at the end"),
                "." | ".." => return refuse("has a part `.` or `..`", "write the path that is meant"),
                long if long.len() > MAX_COMPONENT => return refuse("has a name longer than 255 bytes", "shorten it"),
                _ => {}
            }
        }
        Ok(GuestPath(text.into()))
    }

    /// The path as text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root downwards; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The names of a link's target from its end, as they are put on top of a stack of names that are still to be walked. `..`
    /// is among them. Whether the walk begins at the root again is for the first character to say.
    pub(crate) fn names_of_target(target: &str) -> impl Iterator<Item = String> {
        target.split('/').rev().filter(|name| !name.is_empty() && *name != ".").map(str::to_owned)
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<GuestPath> {
        let (front, name) = self.0.rsplit_once('/')?;
        match (front, name) {
            (_, "") => None,
            ("", _) => Some(Self::root()),
            (front, _) => Some(GuestPath(front.into())),
        }
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// The path of `name` in this directory.
    ///
    /// # Errors
    /// `name` is not one good component.
    pub fn join(&self, name: &str) -> Result<Self> {
        let front = if self.0 == "/" { "" } else { &self.0 };
        Self::parse(&format!("{front}/{name}"))
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &GuestPath) -> bool {
        match self.0.strip_prefix(other.0.as_str()) {
            Some(rest) => other.0 == "/" || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_the_root_by_its_spelling() {
        for wrong in ["", "etc", "/etc/", "//etc", "/etc/../x", "/..", "/.", "/a/./b", "/a\nb", "/a\0b", "../x"] {
            assert!(GuestPath::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(GuestPath::parse(&format!("/{}", "a".repeat(256))).is_err());
        for right in ["/", "/etc", "/etc/a b", "/x/..y", "/é"] {
            assert!(GuestPath::parse(right).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn parent_name_and_components_agree() {
        let path = GuestPath::of("/etc/ssh/x");
        assert_eq!(path.parent(), Some(GuestPath::of("/etc/ssh")));
        assert_eq!(path.name(), "x");
        assert_eq!(path.components().collect::<Vec<_>>(), ["etc", "ssh", "x"]);
        assert_eq!(GuestPath::of("/etc").parent(), Some(GuestPath::root()));
        assert_eq!(GuestPath::root().parent(), None);
        assert_eq!(GuestPath::root().join("etc").unwrap(), GuestPath::of("/etc"));
    }

    #[test]
    fn within_goes_by_components() {
        assert!(GuestPath::of("/etc/ssh").is_within(&GuestPath::of("/etc")));
        assert!(GuestPath::of("/etc").is_within(&GuestPath::of("/etc")));
        assert!(GuestPath::of("/etc").is_within(&GuestPath::root()));
        assert!(!GuestPath::of("/etcetera").is_within(&GuestPath::of("/etc")));
    }
}
