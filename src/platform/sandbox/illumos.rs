//! illumos, and what else compiles this: nothing can be judged here, because there are no mount namespaces.

use super::{Act, Ending, Ran};
use nix::errno::Errno;
use std::ffi::CString;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Says that there is no sandbox.
///
/// # Errors
/// None here.
pub fn run_in_sandbox(_root: &Path, acts: &[Act<'_>], _command: &[CString], _deadline: Duration) -> io::Result<Ran> {
    debug_assert!(acts.iter().all(|act| act.path().starts_with('/')));
    Ok(Ran { ending: Ending::NoSandbox(Errno::ENOTSUP), output: Vec::new() })
}
