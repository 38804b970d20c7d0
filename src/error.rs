//! Every failure an operator can see: what it says, and the exit code it ends in.
//!
//! An error is always three parts: the **object** it is about (`/dev/vdb`, `users[2].shell (line 14, column 20)`), the
//! **problem**, and the **remedy**. They are printed as one line, `object: problem; remedy`. The type has no other
//! constructor, so a message without a remedy cannot be written. None of the parts may hold a secret.

use std::fmt;

/// A result whose error is meant for the operator.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. Each class is one exit code, and the codes are a promise to scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Class {
    /// A bug in this program. Exit code 1.
    Bug,
    /// The command line is wrong. Exit code 2.
    Usage,
    /// No settings were found where some are required. Exit code 10.
    NoSettings,
    /// Settings were found and are not trusted: unsigned, not signed by a trusted key, damaged, replayed, or for another
    /// machine. Exit code 11.
    NotVerified,
    /// Settings are trusted, and say something that cannot be: nowhere, or not with this class and image, like a unit or a
    /// shell that is not there. So does a class that is broken. Another text is needed. Exit code 12.
    Invalid,
    /// Settings say what can be, and the guest would not take them: its disk, its files, its image as a whole. Nothing was
    /// changed. The same text may be taken once that is mended. Exit code 13.
    NotApplied,
    /// The guest runs on the last good settings instead of the ones it was offered. Exit code 14.
    LastGood,
}

impl Class {
    /// The exit code of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Bug => 1,
            Class::Usage => 2,
            Class::NoSettings => 10,
            Class::NotVerified => 11,
            Class::Invalid => 12,
            Class::NotApplied => 13,
            Class::LastGood => 14,
        }
    }
}

/// One failure: its class, the object it is about, the problem and the remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    class: Class,
    object: String,
    problem: String,
    remedy: String,
    is_failure: bool,
}

impl Error {
    /// An error of the given class. `object` names the thing, `problem` says what is wrong with it, `remedy` what to do;
    /// all three without a full stop, and without anything secret.
    pub fn new(class: Class, object: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::of_parts(class, &object, &problem, &remedy)
    }

    /// What every constructor ends in. Not generic, and never inlined, because there are hundreds of places that call it and
    /// the agent is small.
    #[cold]
    #[inline(never)]
    fn of_parts(
        class: Class,
        object: &dyn fmt::Display,
        problem: &dyn fmt::Display,
        remedy: &dyn fmt::Display,
    ) -> Self {
        Error {
            class,
            object: object.to_string(),
            problem: problem.to_string(),
            remedy: remedy.to_string(),
            is_failure: false,
        }
    }

    /// [`Class::Usage`].
    pub fn usage(object: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(Class::Usage, object, problem, remedy)
    }

    /// [`Class::NoSettings`].
    pub fn no_settings(object: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(Class::NoSettings, object, problem, remedy)
    }

    /// [`Class::NotVerified`].
    pub fn not_verified(object: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(Class::NotVerified, object, problem, remedy)
    }

    /// [`Class::Invalid`].
    pub fn invalid(object: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(Class::Invalid, object, problem, remedy)
    }

    /// [`Class::NotApplied`].
    pub fn not_applied(object: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(Class::NotApplied, object, problem, remedy)
    }

    /// The class, which decides the exit code.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What the error is about.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The same, marked as the system's own: a disk that does not answer, no memory. Nobody has put anything in the way.
    #[must_use]
    pub fn as_failure(self) -> Self {
        Error { is_failure: true, ..self }
    }

    /// Whether it is marked so.
    pub fn is_failure(&self) -> bool {
        self.is_failure
    }

    /// The same failure about a more exact object: `found in` becomes part of the front.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        let outer: &dyn fmt::Display = &outer;
        self.object = format!("{outer}: {}", self.object);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", part(&self.object), part(&self.problem), part(&self.remedy))
    }
}

/// One of the three parts of an error, as one line of at most [`LONGEST_PART`] bytes: some of it may come from a file that
/// somebody filled, and the remedy must still be seen.
fn part(text: &str) -> String {
    let mut line = one_line(text);
    if line.len() > LONGEST_PART {
        let most = LONGEST_PART - '…'.len_utf8();
        line.truncate((0..=most).rfind(|end| line.is_char_boundary(*end)).unwrap_or(0));
        line.push('…');
    }
    line
}

impl std::error::Error for Error {}

/// The longest part of an error in bytes. A path of the kernel's longest fits only in part.
const LONGEST_PART: usize = 1024;

/// The text with every control character escaped, so that a hostile name cannot forge a second line on the console.
pub fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped = escape.then(|| c.escape_default());
            let plain = (!escape).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_object_problem_and_remedy() {
        let error =
            Error::invalid("users[2].shell", "is not an absolute path", "write it from the root, like /bin/bash");
        assert_eq!(
            error.to_string(),
            "users[2].shell: is not an absolute path; write it from the root, like /bin/bash"
        );
        assert_eq!(error.class().exit_code(), 12);
    }

    #[test]
    fn a_name_that_fills_a_file_leaves_the_remedy_in_sight() {
        let error = Error::not_applied("\u{18}".repeat(5000), "é".repeat(5000), "mend it");
        let text = error.to_string();
        assert!(text.len() < 2100 && text.ends_with("…; mend it"), "{text}");
        assert_eq!(text.matches('…').count(), 2);
    }

    #[test]
    fn a_hostile_name_cannot_add_a_line_or_turn_the_text_around() {
        let error = Error::invalid("a\nb\u{1b}[2J\u{202e}", "x", "y").within("/dev/vdb");
        let text = error.to_string();
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.starts_with("/dev/vdb: a\\nb"));
    }

    #[test]
    fn exit_codes_are_the_published_ones_and_distinct() {
        let classes = [
            Class::Bug,
            Class::Usage,
            Class::NoSettings,
            Class::NotVerified,
            Class::Invalid,
            Class::NotApplied,
            Class::LastGood,
        ];
        assert_eq!(classes.map(Class::exit_code), [1, 2, 10, 11, 12, 13, 14]);
    }
}
