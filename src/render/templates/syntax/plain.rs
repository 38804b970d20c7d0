//! Files without a syntax: a text is printed as it is. For certificates, messages and the like; never for a file in which a
//! line or a word means something.

use super::{Surroundings, refuse};
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings = Surroundings { quotes: "", comments: &[], after: |_| true };

pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "a plain file", |c| c.is_control() && !matches!(c, '\n' | '\t'))?;
    Ok(text.to_owned())
}
