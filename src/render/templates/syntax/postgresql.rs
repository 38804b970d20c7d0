//! `postgresql.conf`: texts in single quotes, with backslash escapes as in C and the quote doubled
//! (`src/backend/utils/misc/guc-file.l`).

use super::{Surroundings, push_octal, refuse};
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings = Surroundings { quotes: "'", comments: &["#"], after: |c| c == '=' };

pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "postgresql.conf", |c| c == '\0')?;
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            c if c.is_ascii_control() => push_octal(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('\'');
    Ok(out)
}
