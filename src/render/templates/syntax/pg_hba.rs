//! `pg_hba.conf`: tokens in double quotes, which also take the special sense of words such as `all`, and of `+` and `@` before
//! a name (`next_token` in `src/backend/libpq/hba.c`).

use super::{Surroundings, refuse};
use crate::document::Refusal;

pub(super) const SURROUNDINGS: Surroundings = Surroundings { quotes: "\"", comments: &["#"], after: |c| c == ',' };

/// A token. A backslash before the end of a line joins it with the next one, and PostgreSQL's versions do not agree on a doubled
/// quote.
pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "pg_hba.conf", |c| matches!(c, '"' | '\\') || c.is_control())?;
    Ok(format!("\"{text}\""))
}
