//! nginx's configuration: words in double quotes. A backslash takes the special sense of the one character after it
//! (`ngx_conf_read_token` in `src/core/ngx_conf_file.c`).

use super::{Surroundings, refuse};
use crate::document::Refusal;

/// Bytes of a quoted word. nginx reads by a buffer of 4,096, which no word may fill.
const MAX_WORD: usize = 4000;

pub(super) const SURROUNDINGS: Surroundings = Surroundings {
    quotes: "\"'",
    comments: &["#"],
    // Within a word quotes are letters, and the text would end at its first space or semicolon.
    after: |c| matches!(c, '{' | '}' | ';'),
};

/// A word. `$` begins a variable in most directives and has no escape.
pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "a word of nginx's configuration", |c| c == '$' || (c.is_control() && c != '\t'))?;
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    if out.len() > MAX_WORD {
        let problem =
            format!("is longer than a word of nginx's configuration can be, {MAX_WORD} bytes with its quotes");
        return Err(Refusal::new(problem, "shorten it"));
    }
    Ok(out)
}
