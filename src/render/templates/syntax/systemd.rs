//! Units of systemd: words in double quotes with escapes as in C (systemd.syntax(7), "Quoting"), and `%%` for the sign that
//! begins a specifier (systemd.unit(5)).

use super::{Surroundings, refuse};
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings =
    Surroundings { quotes: "\"'", comments: &["#", ";"], after: |c| c == '=' };

/// A word. `$` is plain in `Environment=`, and begins a variable in `ExecStart=`; there is no way to write it that is right in
/// both. No variable holds a control character but line feed and tab.
pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "a word of systemd's units", |c| c == '$' || (c.is_control() && !matches!(c, '\n' | '\t')))?;
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '\n' => out.push_str(r"\n"),
            '\t' => out.push_str(r"\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str(r"\\"),
            '%' => out.push_str("%%"),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}
