//! From what the guest holds to what it shall hold: the desired tree, the difference, the steps.
//!
//! A [`Plan`] is a value. It can be printed, compared and tested, and nothing happens until [`crate::commit`] takes it.

mod bookkeeping;
mod desired;
mod difference;
mod drift;
mod poke;
mod show;
mod step;

pub use bookkeeping::{Incoming, KEPT_GENERATIONS, record};
pub use desired::{Desired, Entry, Keeping};
pub use drift::drift;
pub use poke::Poke;
pub use step::Step;

use crate::commit::state::State;
use crate::error::Result;
use crate::guest::{Facts, View};

/// What has to be done so that the guest is as the settings say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The generation that the guest is in afterwards.
    pub generation: u64,
    /// Changes of the guest's files, in order.
    pub steps: Vec<Step>,
    /// Changes of our own memory below `/var/lib/handoff`, in order; committed together with the steps.
    pub bookkeeping: Vec<Step>,
    /// What is told to the running system afterwards.
    pub pokes: Vec<Poke>,
    /// Soft failures and things an operator should know, one line each.
    pub warnings: Vec<String>,
    /// The memory after the commit.
    pub state: State,
}

impl Plan {
    /// Whether there is nothing to do: no file changes, nothing is recorded, nothing is told to anybody.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.bookkeeping.is_empty() && self.pokes.is_empty()
    }

    /// All changes of files in the order of the commit: the guest's, then ours.
    pub fn all_steps(&self) -> Vec<Step> {
        self.steps.iter().chain(&self.bookkeeping).cloned().collect()
    }

    /// The same, taken out of the plan, because two copies of all that is written would be much memory.
    pub fn take_steps(&mut self) -> Vec<Step> {
        let mut steps = std::mem::take(&mut self.steps);
        steps.append(&mut self.bookkeeping);
        steps
    }
}

/// What the planner compares with what.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// What the guest's tree holds now.
    pub guest: &'a dyn View,
    /// What was committed before.
    pub previous: &'a State,
    /// What is known of the machine.
    pub facts: &'a Facts,
    /// Whether owners count. They do not where the caller is not root and could not set them.
    pub compare_owners: bool,
}

impl std::fmt::Debug for Situation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Situation(..)")
    }
}

/// The plan that leads from the guest as it is to the desired tree.
///
/// # Errors
/// Something stands in the way that cannot be replaced, or the guest cannot be read.
pub fn plan(desired: Desired, incoming: &Incoming<'_>, situation: &Situation<'_>) -> Result<Plan> {
    let mut difference = difference::difference(&desired, situation)?;
    let (state, bookkeeping) = bookkeeping::remember(&desired, &mut difference, incoming, situation)?;
    let pokes = poke::pokes(&difference.steps, incoming, situation.facts);
    let mut warnings = desired.warnings;
    warnings.append(&mut difference.warnings);
    Ok(Plan { generation: state.generation, steps: difference.steps, bookkeeping, pokes, warnings, state })
}

/// The plan that makes the desired tree and then forgets everything: the way out, for a guest that is to be copied.
///
/// # Errors
/// As for [`plan`].
pub fn forget(desired: Desired, situation: &Situation<'_>) -> Result<Plan> {
    let mut difference = difference::difference(&desired, situation)?;
    let bookkeeping = bookkeeping::forget(situation.guest)?;
    let mut warnings = desired.warnings;
    warnings.append(&mut difference.warnings);
    Ok(Plan { steps: difference.steps, bookkeeping, warnings, ..Plan::default() })
}

#[cfg(test)]
mod tests;
