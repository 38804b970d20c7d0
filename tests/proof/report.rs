//! The table of the crash suites: each appends its line to `target/crash-report.txt`, which `tests/crash-suites` and
//! `tests/check` show, because cargo hides what a test that passed has printed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one suite has tried, and what it found afterwards. A suite that finds anything else than the old or the new guest
/// fails, so there is no number for that; the table shows it as 0.
#[derive(Debug, Default)]
pub struct Counts {
    /// How many times the guest was stopped or refused something.
    pub points: usize,
    /// How many times it was the old guest then.
    pub old: usize,
    /// How many times it was the new one.
    pub new: usize,
    /// What the random choices grew from, where there are any.
    pub seed: Option<u64>,
}

impl Counts {
    /// One point more, after which it was the new guest, or the old one.
    pub fn count(&mut self, is_new: bool) {
        self.points += 1;
        *(if is_new { &mut self.new } else { &mut self.old }) += 1;
    }

    /// Adds the line of this suite to the table, and prints it.
    #[allow(clippy::print_stdout, clippy::unwrap_used)]
    pub fn report(&self, suite: &str, took: Duration) {
        assert_eq!(self.points, self.old + self.new, "{suite}: neither the old guest nor the new one");
        let seed = self.seed.map_or_else(|| "-".to_owned(), |seed| seed.to_string());
        let Counts { points, old, new, .. } = self;
        let line = format!("{suite:<58} {points:>6} {old:>6} {new:>6} {:>7} {seed:>12} {:>5}\n", 0, took.as_secs());
        print!("{line}");
        // In one piece, because suites end at the same time.
        let mut file = OpenOptions::new().append(true).create(true).open(place()).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

fn place() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from).join("crash-report.txt")
}
