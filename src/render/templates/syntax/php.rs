//! PHP: literals in single quotes, in which only the quote and the backslash have an escape (manual, "Strings").

use super::{Surroundings, refuse};
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings = Surroundings {
    quotes: "'\"`",
    comments: &["//", "#", "/*", "*"],
    after: |c| matches!(c, '(' | ',' | '=' | '.' | '[' | '>' | '?' | ':'),
};

pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "a text of PHP's functions", |c| c == '\0')?;
    Ok(format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'")))
}
