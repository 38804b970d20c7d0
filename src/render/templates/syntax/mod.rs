//! The syntaxes that templates are written for: how a text is quoted in each, so that the target's own parser reads exactly
//! that text. One file for each syntax. A text that a syntax cannot carry, or that its program would read as more than text, is
//! refused.

mod haproxy;
mod json;
mod nginx;
mod pg_hba;
mod php;
mod plain;
mod postgresql;
pub mod sql;
mod systemd;

use crate::document::Refusal;
use std::fmt::Write;

/// What a template's result is read as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Syntax {
    /// HAProxy's configuration.
    Haproxy,
    /// nginx's configuration.
    Nginx,
    /// `postgresql.conf`.
    Postgresql,
    /// `pg_hba.conf` and `pg_ident.conf`.
    PgHba,
    /// SQL as PostgreSQL reads it.
    Sql,
    /// PHP source.
    Php,
    /// JSON.
    Json,
    /// A unit of systemd: words of `Environment=`, `ExecStart=` and others that take quoted words.
    Systemd,
    /// No syntax: texts are printed as they are.
    Plain,
}

impl Syntax {
    /// All of them, in the order of the documents.
    pub const ALL: [Syntax; 9] = [
        Syntax::Haproxy,
        Syntax::Nginx,
        Syntax::Postgresql,
        Syntax::PgHba,
        Syntax::Sql,
        Syntax::Php,
        Syntax::Json,
        Syntax::Systemd,
        Syntax::Plain,
    ];

    /// The word for it in a class.
    pub fn name(self) -> &'static str {
        match self {
            Syntax::Haproxy => "haproxy",
            Syntax::Nginx => "nginx",
            Syntax::Postgresql => "postgresql",
            Syntax::PgHba => "pg_hba",
            Syntax::Sql => "sql",
            Syntax::Php => "php",
            Syntax::Json => "json",
            Syntax::Systemd => "systemd",
            Syntax::Plain => "plain",
        }
    }

    /// The syntax of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Syntax, Refusal> {
        Syntax::ALL.into_iter().find(|syntax| syntax.name() == name).ok_or_else(|| {
            let names = Syntax::ALL.map(Syntax::name).join(", ");
            Refusal::new("is not a syntax that texts can be quoted for", format!("write one of {names}"))
        })
    }

    /// The text, quoted so that the target reads exactly it.
    ///
    /// # Errors
    /// The syntax cannot carry the text. The text itself is not in the refusal.
    pub fn quote(self, text: &str) -> Result<String, Refusal> {
        match self {
            Syntax::Haproxy => haproxy::quote(text),
            Syntax::Nginx => nginx::quote(text),
            Syntax::Postgresql => postgresql::quote(text),
            Syntax::PgHba => pg_hba::quote(text),
            Syntax::Sql => sql::quote(text),
            Syntax::Php => php::quote(text),
            Syntax::Json => json::quote(text),
            Syntax::Systemd => systemd::quote(text),
            Syntax::Plain => plain::quote(text),
        }
    }

    /// What may stand before a quoted text on its line.
    pub(super) fn surroundings(self) -> Surroundings {
        match self {
            Syntax::Haproxy => haproxy::SURROUNDINGS,
            Syntax::Nginx => nginx::SURROUNDINGS,
            Syntax::Postgresql => postgresql::SURROUNDINGS,
            Syntax::PgHba => pg_hba::SURROUNDINGS,
            Syntax::Sql => sql::SURROUNDINGS,
            Syntax::Php => php::SURROUNDINGS,
            Syntax::Json => json::SURROUNDINGS,
            Syntax::Systemd => systemd::SURROUNDINGS,
            Syntax::Plain => plain::SURROUNDINGS,
        }
    }
}

/// Where a quoted text may stand. Quotes only protect where the target's parser takes them for quotes: inside other quotes, in
/// the middle of a word of nginx, or in a comment they are letters like others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// What opens and closes a quoted text.
    pub quotes: &'static str,
    /// What makes a comment of a line that begins with it.
    pub comments: &'static [&'static str],
    /// Whether a quoted text may come right after this. White space and the beginning of a line are always right.
    pub after: fn(char) -> bool,
}

/// The first character that `unfit` picks, as a refusal. `whose` says what cannot hold it.
fn refuse(text: &str, whose: &str, unfit: fn(char) -> bool) -> Result<(), Refusal> {
    match text.chars().find(|c| unfit(*c)) {
        None => Ok(()),
        Some('\n') => {
            Err(Refusal::new(format!("holds a line feed, which {whose} cannot hold"), "write it on one line"))
        }
        Some(c) if c.is_control() => {
            let problem = format!("holds the control character U+{:04X}, which {whose} cannot hold", u32::from(c));
            Err(Refusal::new(problem, "leave it out"))
        }
        Some(c) => {
            let problem = format!("holds `{c}`, which {whose} cannot hold as plain text");
            Err(Refusal::new(problem, "write it without this character"))
        }
    }
}

/// Puts into `out` the character as a backslash and three octal digits.
fn push_octal(out: &mut String, c: char) {
    let _ = write!(out, "\\{:03o}", u32::from(c));
}

/// Puts into `out` the character as `\x` and two digits.
fn push_hexadecimal(out: &mut String, c: char) {
    let _ = write!(out, "\\x{:02x}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(syntax: Syntax, text: &str) -> String {
        syntax.quote(text).unwrap()
    }

    #[test]
    fn every_name_is_read_back_and_no_other_one() {
        for syntax in Syntax::ALL {
            assert_eq!(Syntax::parse(syntax.name()).unwrap(), syntax);
        }
        assert!(Syntax::parse("html").unwrap_err().remedy.contains("haproxy, nginx"));
        assert!(Syntax::parse("Plain").is_err());
    }

    #[test]
    fn a_quote_of_the_syntax_cannot_end_the_text() {
        assert_eq!(quoted(Syntax::Haproxy, r#"it's "\n" $HOME #"#), r#"'it'\''s "\n" $HOME #'"#);
        assert_eq!(quoted(Syntax::Nginx, r#"it's "\n" #"#), r#""it's \"\\n\" #""#);
        assert_eq!(quoted(Syntax::Postgresql, "it's \\ a\nb\u{1}"), r"'it''s \\ a\nb\001'");
        assert_eq!(quoted(Syntax::Sql, "it's"), "'it''s'");
        assert_eq!(quoted(Syntax::Sql, "it's \\"), r"E'it''s \\'");
        assert_eq!(quoted(Syntax::Php, r"it's \n"), r"'it\'s \\n'");
        assert_eq!(quoted(Syntax::Json, "\"\n"), r#""\"\n""#);
        assert_eq!(quoted(Syntax::Systemd, "50% of \"x\"\n"), r#""50%% of \"x\"\n""#);
        assert_eq!(quoted(Syntax::PgHba, "all, +x"), r#""all, +x""#);
        assert_eq!(quoted(Syntax::Plain, "it's \"x\"\n"), "it's \"x\"\n");
    }

    #[test]
    fn dollars_cannot_end_a_dollar_quoted_body_that_holds_the_literal() {
        assert_eq!(quoted(Syntax::Sql, "a$$b"), r"E'a\x24\x24b'");
    }

    #[test]
    fn sql_and_postgresql_stay_on_one_line_so_that_no_text_leaves_a_comment() {
        for syntax in [Syntax::Postgresql, Syntax::Sql, Syntax::Json, Syntax::Systemd] {
            assert!(!quoted(syntax, "a\nb").contains('\n'), "{syntax:?}");
        }
    }

    #[test]
    fn what_a_syntax_cannot_carry_is_refused_and_not_repeated() {
        let refused = [
            (Syntax::Haproxy, "hush\n"),
            (Syntax::Haproxy, "hush\r"),
            (Syntax::Haproxy, ""),
            (Syntax::Nginx, "hush$x"),
            (Syntax::Nginx, "hush\n"),
            (Syntax::Systemd, "hush$x"),
            (Syntax::PgHba, "hush\""),
            (Syntax::PgHba, "hush\n"),
            (Syntax::Plain, "hush\r"),
        ];
        for (syntax, text) in refused {
            let refusal = syntax.quote(text).unwrap_err();
            assert!(!refusal.problem.contains("hush") && !refusal.remedy.is_empty(), "{syntax:?} {refusal:?}");
        }
        assert!(Syntax::Nginx.quote(&"x".repeat(5000)).is_err());
        for syntax in Syntax::ALL {
            assert_eq!(syntax.quote("hush\0").is_err(), syntax != Syntax::Json, "{syntax:?}");
        }
    }
}
