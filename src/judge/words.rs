//! The words of a checker, made fit for an error: its last lines, without secrets.

use crate::error::one_line;
use std::collections::BTreeSet;

/// The most bytes of them that are told.
const MAX_WORDS: usize = 500;
/// The shortest secret that is looked for: what is shorter stands in every text.
const SHORTEST: usize = 4;
/// So many bytes of a secret in a row are as bad as all of it. Checkers show the front of long lines.
const PIECE: usize = 8;
/// What stands in the place of a secret.
const MASK: &[u8] = b"<secret>";

/// The last lines that say something, as one line, with every secret of at least four bytes masked, and every piece of eight.
pub(super) fn words(output: &[u8], secrets: &[&str]) -> String {
    let text = String::from_utf8_lossy(&masked(output, secrets)).into_owned();
    let mut lines: Vec<String> = Vec::new();
    let mut length = 0;
    for line in text.lines().rev() {
        let line = one_line(line.trim());
        if !line.chars().any(char::is_alphanumeric) {
            continue;
        }
        length += line.len() + 3;
        if length > MAX_WORDS && !lines.is_empty() {
            break;
        }
        lines.insert(0, shortened(&line));
    }
    lines.join(" | ")
}

fn shortened(line: &str) -> String {
    if line.len() <= MAX_WORDS {
        return line.to_owned();
    }
    let end = (0..=MAX_WORDS - 3).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", line.get(..end).unwrap_or_default())
}

/// The text with the bytes of secrets masked. A secret of several lines is looked for line by line, too.
fn masked(text: &[u8], secrets: &[&str]) -> Vec<u8> {
    let whole_and_lines = secrets.iter().flat_map(|secret| std::iter::once(*secret).chain(secret.lines()));
    let secrets: BTreeSet<&[u8]> =
        whole_and_lines.map(|part| part.trim().as_bytes()).filter(|part| part.len() >= SHORTEST).collect();
    let short: Vec<&[u8]> = secrets.iter().copied().filter(|secret| secret.len() < PIECE).collect();
    let pieces: BTreeSet<&[u8]> = secrets.iter().flat_map(|secret| secret.windows(PIECE)).collect();
    let mut masked = Vec::with_capacity(text.len());
    // Up to where the text is secret.
    let mut hidden = 0;
    for (at, byte) in text.iter().enumerate() {
        let rest = text.get(at..).unwrap_or_default();
        let found = match rest.get(..PIECE).is_some_and(|piece| pieces.contains(piece)) {
            true => Some(PIECE),
            false => short.iter().find(|secret| rest.starts_with(secret)).map(|secret| secret.len()),
        };
        if let Some(length) = found {
            if hidden <= at {
                masked.extend_from_slice(MASK);
            }
            hidden = hidden.max(at + length);
        }
        if at >= hidden {
            masked.push(*byte);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_that_say_something_are_one_line() {
        let output = b"haproxy version 2.6\n\n[ALERT] unknown keyword 'modee'\n[ALERT] Fatal errors\n-----\n\n";
        assert_eq!(words(output, &[]), "haproxy version 2.6 | [ALERT] unknown keyword 'modee' | [ALERT] Fatal errors");
        let many: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let told = words(many.as_bytes(), &[]);
        assert!(told.ends_with("line 998 | line 999") && told.len() <= MAX_WORDS, "{told}");
        let long = words("é".repeat(2000).as_bytes(), &[]);
        assert!(long.ends_with("é...") && long.len() <= MAX_WORDS);
        assert_eq!(words(b"a\x1b[31m red\xff\tx\n", &[]), "a\\u{1b}[31m red\u{fffd}\\tx");
        assert_eq!(words(b"", &[]), "");
    }

    #[test]
    fn a_secret_is_masked_and_also_a_piece_of_it() {
        let secrets =
            ["hunter2", "correct horse battery staple", "abc", "-----BEGIN-----\nMIIBsecretkey\n-----END-----"];
        assert_eq!(words(b"password hunter2hunter2 is bad", &secrets), "password <secret><secret> is bad");
        assert_eq!(words(b"near 'correct horse ba...", &secrets), "near '<secret>...");
        assert_eq!(words(b"line MIIBsecretkey: bad", &secrets), "line <secret>: bad");
        // Three bytes are in every text.
        assert_eq!(words(b"abc", &secrets), "abc");
        assert_eq!(words(b"nothing of it", &secrets), "nothing of it");
    }

    #[test]
    fn a_secret_on_the_edge_of_what_is_told_is_masked_before_it_is_cut() {
        let line = format!("{}topsecretvalue{}", "x".repeat(MAX_WORDS - 8), "y".repeat(50));
        let told = words(line.as_bytes(), &["topsecretvalue"]);
        assert!(!told.contains("top"), "{told}");
    }
}
