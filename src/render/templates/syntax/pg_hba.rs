//! `pg_hba.conf`: tokens in double quotes, which also take the special sense of words such as `all`, and of `+` and `@` before
//! a name (`next_token` in `src/backend/libpq/hba.c`).

use super::{Surroundings, refuse};
use crate::document::Refusal;

/// Bytes of a token. PostgreSQL 15 skips those of 256 and more, and reads the rest of the line as if there were none.
const MAX_TOKEN: usize = 200;

pub(super) const SURROUNDINGS: Surroundings = Surroundings { quotes: "\"", comments: &["#"], after: |c| c == ',' };

/// A token. A backslash before the end of a line joins it with the next one, and PostgreSQL's versions do not agree on a doubled
/// quote.
pub(super) fn quote(text: &str) -> Result<String, Refusal> {
    refuse(text, "pg_hba.conf", |c| matches!(c, '"' | '\\') || c.is_control())?;
    if text.len() > MAX_TOKEN {
        let problem = format!("is longer than {MAX_TOKEN} bytes, which is more than pg_hba.conf holds in one word");
        return Err(Refusal::new(problem, "shorten it"));
    }
    Ok(format!("\"{text}\""))
}
