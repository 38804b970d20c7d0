//! How a plan is shown: a line for each step, and on request the changed lines, with secrets left out.

use super::{Plan, Step};
use crate::error::one_line;
use crate::guest::Node;
use std::fmt::{self, Write as _};

/// The most lines of one file that are shown at all.
const MAX_LINES: usize = 10_000;
/// The largest table with which lines are compared, in cells of two bytes. Where it would be larger, the shortest difference is
/// not looked for.
const MAX_CELLS: usize = 1 << 17;
/// Unchanged lines that are shown around a change.
const AROUND: usize = 2;

impl Plan {
    /// The plan as text for people. With `diff`, each file's changed lines follow its step.
    pub fn show(&self, diff: bool) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let _ = writeln!(text, "{}", one_line(&step.to_string()));
            if diff {
                show_step(&mut text, step);
            }
        }
        for poke in &self.pokes {
            let _ = writeln!(text, "then {}", one_line(&poke.to_string()));
        }
        if self.steps.is_empty() && self.pokes.is_empty() && !self.bookkeeping.is_empty() {
            text.push_str("no file changes; the new settings are recorded\n");
        }
        text
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(false))
    }
}

fn show_step(text: &mut String, step: &Step) {
    let (before, after) = match step {
        Step::WriteFile { secret: true, .. } => {
            text.push_str("    (secret, not shown)\n");
            return;
        }
        Step::WriteFile { before, file, .. } => (before.as_ref(), Some(file.content.as_slice())),
        Step::WriteLink { before, .. } => (before.as_ref(), None),
        _ => return,
    };
    let empty: &[u8] = &[];
    let (before, secret) = match before {
        Some(Node::File(file)) => (file.content.as_slice(), file.mode & 0o004 == 0),
        Some(Node::Link(target)) => {
            let _ = writeln!(text, "    - (link to {})", one_line(target));
            (empty, false)
        }
        _ => (empty, false),
    };
    if secret {
        text.push_str("    (what it replaces is secret, not shown)\n");
        return;
    }
    let (Ok(before), Ok(after)) = (std::str::from_utf8(before), std::str::from_utf8(after.unwrap_or_default())) else {
        text.push_str("    (not text)\n");
        return;
    };
    for line in changed_lines(before, after) {
        // A tab is plain text to everybody; what else controls a terminal is not.
        let parts: Vec<String> = line.split('\t').map(one_line).collect();
        let _ = writeln!(text, "    {}", parts.join("\t"));
    }
}

/// The lines that differ, each with `- `, `+ ` or, around them, two spaces before it.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let count = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    if count(before) > MAX_LINES || count(after) > MAX_LINES {
        return vec!["(too long to show)".to_owned()];
    }
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let marked = aligned(&before, &after);
    let near = |index: usize| {
        let from = index.saturating_sub(AROUND);
        let window = marked.iter().skip(from).take(index - from + AROUND + 1);
        window.into_iter().any(|(mark, _)| *mark != ' ')
    };
    let mut lines = Vec::new();
    let mut skipped = false;
    for (index, (mark, line)) in marked.iter().enumerate() {
        if near(index) {
            if skipped && !lines.is_empty() {
                lines.push("…".to_owned());
            }
            skipped = false;
            lines.push(format!("{mark} {line}"));
        } else {
            skipped = true;
        }
    }
    lines
}

/// The longest common subsequence, by the textbook table over what is left when equal ends are cut off.
fn aligned<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let front = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let most = before.len().min(after.len()) - front;
    let back = before.iter().rev().zip(after.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let old = before.get(front..before.len() - back).unwrap_or_default();
    let new = after.get(front..after.len() - back).unwrap_or_default();
    let width = new.len() + 1;
    let cells = (old.len() + 1) * width;
    // Without a table every cell counts as 0, and what follows still leads from the one text to the other.
    let mut table = vec![0_u16; if cells > MAX_CELLS { 0 } else { cells }];
    let rows = if table.is_empty() { &[] } else { old };
    let cell = |table: &[u16], row: usize, column: usize| table.get(row * width + column).copied().unwrap_or(0);
    for (row, a) in rows.iter().enumerate().rev() {
        for (column, b) in new.iter().enumerate().rev() {
            let length = if a == b {
                cell(&table, row + 1, column + 1) + 1
            } else {
                cell(&table, row + 1, column).max(cell(&table, row, column + 1))
            };
            if let Some(place) = table.get_mut(row * width + column) {
                *place = length;
            }
        }
    }
    let mut marked: Vec<(char, &str)> = before.iter().take(front).map(|line| (' ', *line)).collect();
    let (mut row, mut column) = (0, 0);
    loop {
        match (old.get(row), new.get(column)) {
            (Some(a), Some(b)) if a == b => {
                marked.push((' ', a));
                row += 1;
                column += 1;
            }
            (Some(a), b) if b.is_none() || cell(&table, row + 1, column) >= cell(&table, row, column + 1) => {
                marked.push(('-', a));
                row += 1;
            }
            (_, Some(b)) => {
                marked.push(('+', b));
                column += 1;
            }
            _ => break,
        }
    }
    marked.extend(before.iter().skip(before.len() - back).map(|line| (' ', *line)));
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_marked_and_far_ones_left_out() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let after = "a\nb\nc\nd\nX\nf\ng\nh\ni\n";
        assert_eq!(changed_lines(before, after).join("|"), "  c|  d|- e|+ X|  f|  g|  h|+ i");
        assert_eq!(changed_lines("", "x\n").join("|"), "+ x");
        assert_eq!(changed_lines("x\n", "").join("|"), "- x");
        assert!(changed_lines(before, before).is_empty());
    }

    #[test]
    fn marked_lines_always_give_back_both_texts() {
        let many: Vec<String> = ["x", "y"].map(|mark| (0..600).map(|n| format!("{mark}{}\n", n % 7)).collect()).into();
        let texts =
            [&many[0], &many[1], "", "a\n", "a\nb\n", "b\na\n", "a\nb\nc\nb\na\n", "c\nb\na\nb\nc\n", "b\nb\nb\n"];
        for before in texts {
            for after in texts {
                let (a, b): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
                let marked = aligned(&a, &b);
                let only = |not: char| {
                    marked.iter().filter(|(mark, _)| *mark != not).map(|(_, line)| *line).collect::<Vec<_>>()
                };
                assert_eq!((only('+'), only('-')), (a, b), "{before:?} {after:?}");
            }
        }
    }
}
