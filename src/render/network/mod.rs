//! Section `network`: files of the network stack that the image holds. One file for each stack.

use super::Context;
use crate::error::Result;
use crate::plan::Desired;

/// Puts what the section asks for into the desired tree.
///
/// # Errors
/// The image holds no network stack that we know.
pub fn render(_context: &Context<'_>, _desired: &mut Desired) -> Result<()> {
    Ok(())
}
