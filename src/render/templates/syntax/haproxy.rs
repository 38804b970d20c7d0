//! HAProxy's configuration: words in single quotes, in which nothing is special but the quote that ends them
//! (configuration manual, 2.2 "Quoting and escaping").

use super::{Surroundings, refuse};
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings = Surroundings {
    quotes: "\"'",
    comments: &["#"],
    // Quotes may begin within a word: `stats auth admin:{{ password }}`.
    after: |c| !matches!(c, '\\' | '$' | '"' | '\''),
};

/// A word. Line feeds could be written with an escape, but what words are put into are mostly headers, whose end a line feed
/// is. An empty word is not refused by HAProxy, and ends the line: what follows is not read.
pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        let problem = "is empty, and HAProxy does not read a line further than to an empty word";
        return Err(Refusal::new(problem, "give it at least one character"));
    }
    refuse(text, "a word of HAProxy's configuration", |c| c.is_control() && c != '\t')?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}
