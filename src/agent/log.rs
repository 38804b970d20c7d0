//! The command `log`: the generations that are kept, what they changed, and what became of them.

use super::commands::tell;
use super::offer;
use crate::commit::state::{Committed, Standing, State};
use crate::document::Writer;
use crate::error::{Result, one_line};
use crate::root::Root;
use crate::trust::ShownTime;
use std::fmt::Write as _;
use std::io::Write;

/// Shows them, the newest first; with a number that one, with each path that it changed.
///
/// # Errors
/// The memory cannot be read. [`crate::Class::Usage`]: that generation is not kept.
pub(super) fn log(root: &Root, generation: Option<u64>, json: bool, out: &mut dyn Write) -> Result<u8> {
    let state = State::load(root)?;
    let chosen = match generation {
        Some(number) => vec![(number, offer::entry(&state, number)?)],
        None => state.history.iter().rev().map(|(number, committed)| (*number, committed)).collect(),
    };
    if json {
        let text = Writer::indented(|writer| {
            writer.table(|w| {
                w.key("version").number(1_u32);
                w.key("generation").number(state.generation);
                w.key("last_good").nullable(state.good(), Writer::number);
                w.key("log").list(chosen, |w, (number, committed)| {
                    w.table(|w| {
                        w.key("generation").number(number);
                        w.key("committed").nullable(Some(committed), |w, committed| committed.write(w));
                    });
                });
            });
        });
        tell(out, &String::from_utf8_lossy(&text));
        return Ok(0);
    }
    if chosen.is_empty() {
        tell(out, "no settings were ever applied to this guest\n");
    }
    for (number, committed) in chosen {
        tell(out, &format!("{}\n{}", one_line(&headline(&state, number, committed)), shown(committed)));
        if let (Some(_), Some(changes)) = (generation, &committed.changes) {
            for (path, change) in &changes.paths {
                tell(out, &format!("    {:<8} {path}\n", change.word()));
            }
            let all = changes.created + changes.changed + changes.removed;
            let more = all.saturating_sub(changes.paths.len() as u64);
            if more > 0 {
                tell(out, &format!("    and {more} more, which were not recorded\n"));
            }
        }
    }
    Ok(0)
}

/// Which generation it is, and what became of it.
fn headline(state: &State, number: u64, committed: &Committed) -> String {
    let instance = match (&committed.instance, committed.serial) {
        (Some(id), Some(serial)) => format!(", {id} serial {serial}"),
        _ => String::new(),
    };
    let is_current = number == state.generation;
    let became = match (&committed.left, committed.standing) {
        (Some(reason), _) => format!("left: {reason}"),
        (None, Some(Standing::Trial)) if is_current => "on trial".to_owned(),
        (None, Some(Standing::Trial)) => "replaced before it was seen to work".to_owned(),
        (None, Some(Standing::Good)) => "got ready".to_owned(),
        (None, Some(Standing::Untried)) => "nobody looked whether it got ready".to_owned(),
        (None, None) => "what became of it was not recorded".to_owned(),
    };
    let current = if is_current { ", current" } else { "" };
    format!("generation {number}{instance}{current}: {became}")
}

/// What is known of a generation, in lines for people.
pub(super) fn shown(committed: &Committed) -> String {
    let mut text = format!("  settings   {}\n", one_line(&committed.digest));
    let _ = writeln!(text, "  trust      {}", one_line(&committed.authority));
    let _ = writeln!(text, "  committed  {}", ShownTime(committed.time));
    if let Some(source) = &committed.source {
        let _ = writeln!(text, "  source     {}", one_line(source));
    }
    if let Some(changes) = &committed.changes {
        let (created, changed, removed) = (changes.created, changes.changed, changes.removed);
        let _ = writeln!(text, "  changes    {created} created, {changed} changed, {removed} removed");
    }
    text
}

/// The numbers of those that are kept, for the end of a sentence.
pub(super) fn known(state: &State) -> String {
    let known: Vec<String> = state.history.keys().map(u64::to_string).collect();
    if known.is_empty() { "none".into() } else { known.join(", ") }
}

/// The newest generation before the current one that has other settings, and was not left.
pub(super) fn before(state: &State) -> Option<u64> {
    let now = state.current().map(|committed| &committed.digest);
    let is_other =
        |committed: &Committed| now != Some(&committed.digest) && !state.rejected.contains_key(&committed.digest);
    let older = state.history.range(..state.generation).rev();
    older.filter(|(_, committed)| is_other(committed)).map(|(number, _)| *number).next()
}
