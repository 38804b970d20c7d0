//! For tests of those who commit: the power fails at a chosen step of whatever is committed or recovered in this thread.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    /// How many steps are left. `None`: the power does not fail.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

struct PowerCut;

/// Before each step.
pub(super) fn burn() {
    match LEFT.get() {
        None => {}
        // Without the message of a panic: nothing is wrong.
        Some(0) => resume_unwind(Box::new(PowerCut)),
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

/// Does the work until so many steps are done. `None`: the power failed.
pub(crate) fn until_cut<T>(steps: Option<u32>, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(steps);
    let result = catch_unwind(AssertUnwindSafe(work));
    LEFT.set(None);
    match result {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<PowerCut>() => None,
        Err(payload) => resume_unwind(payload),
    }
}
