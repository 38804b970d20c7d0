//! SQL as PostgreSQL reads it (manual, 4.1 "Lexical Structure"). The text may be sent by `psql`, which expands nothing in quotes.

use super::{Surroundings, push_hexadecimal, refuse};
use crate::document::Refusal;

/// Bytes of a name. PostgreSQL cuts longer ones with no more than a notice.
const MAX_NAME: usize = 63;

pub(super) const SURROUNDINGS: Surroundings = Surroundings {
    quotes: "'\"",
    comments: &["--", "/*"],
    // Not after a letter, which changes what the quotes mean: `E'…'`, `B'…'`.
    after: |c| matches!(c, '(' | ',' | '=' | '<' | '>' | '|' | '['),
};

/// A literal, always on one line. Whether a backslash is special in `'…'` is a setting of the server, so that a text with one is
/// written as `E'…'`, where it always is. So is one with `$`: a literal may stand in the body of a function, which a `$$` would
/// end.
pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "a text of PostgreSQL", |c| c == '\0')?;
    let special = text.contains(|c: char| matches!(c, '\\' | '$') || c.is_ascii_control());
    let mut out = String::with_capacity(text.len().saturating_add(3));
    out.push_str(if special { "E'" } else { "'" });
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            c if c == '$' || c.is_ascii_control() => push_hexadecimal(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('\'');
    Ok(out)
}

/// A name in double quotes: of a role, a database, a table.
///
/// # Errors
/// The name is empty, is longer than PostgreSQL keeps, or holds a control character or `$`, which could end the body of a
/// function that the name stands in.
pub(crate) fn identifier(text: &str) -> Result<String, Refusal> {
    refuse(text, "a name of PostgreSQL", |c| c == '$' || c.is_control())?;
    if text.is_empty() || text.len() > MAX_NAME {
        let problem = format!("is not 1 to {MAX_NAME} bytes long, as a name of PostgreSQL is");
        return Err(Refusal::new(problem, "choose another name"));
    }
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_doubles_its_quotes_and_is_refused_where_it_would_be_cut() {
        assert_eq!(identifier("a\"; DROP").unwrap(), "\"a\"\"; DROP\"");
        assert_eq!(identifier(&"x".repeat(63)).unwrap().len(), 65);
        for name in ["", &"x".repeat(64), &"é".repeat(32), "a\0", "a\nb", "a$$b"] {
            assert!(identifier(name).is_err(), "{name:?}");
        }
    }
}
