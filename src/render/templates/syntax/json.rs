//! JSON (RFC 8259).

use super::Surroundings;
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings =
    Surroundings { quotes: "\"", comments: &[], after: |c| matches!(c, '[' | ',' | ':' | '{') };

pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    serde_json::to_string(text).map_err(|_| Refusal::new("cannot be written as JSON", "choose another text"))
}
