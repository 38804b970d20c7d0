//! The words of a checker, made fit for an error: its last lines, without secrets.

use crate::error::one_line;

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
///
/// There may be a mebibyte of secrets, and far less text. So the pieces of the secrets are looked up in the text, and the time
/// grows with the secrets' length alone.
fn masked(text: &[u8], secrets: &[&str]) -> Vec<u8> {
    let whole_and_lines = secrets.iter().flat_map(|secret| std::iter::once(*secret).chain(secret.lines()));
    let parts = whole_and_lines.map(|part| part.trim().as_bytes()).filter(|part| part.len() >= SHORTEST);
    let mut lengths: Vec<Pieces> = (SHORTEST..=PIECE).map(|length| Pieces::of(text, length)).collect();
    for part in parts {
        let Some(pieces) = lengths.get_mut(part.len().min(PIECE).saturating_sub(SHORTEST)) else { continue };
        part.windows(pieces.length).for_each(|piece| pieces.mark(piece));
    }
    let mut masked = Vec::with_capacity(text.len());
    // Up to where the text is secret.
    let mut hidden = 0;
    for (at, byte) in text.iter().enumerate() {
        let rest = text.get(at..).unwrap_or_default();
        // The longest first.
        let found = lengths.iter().rev().find(|pieces| rest.get(..pieces.length).is_some_and(|p| pieces.is_marked(p)));
        if let Some(pieces) = found {
            if hidden <= at {
                masked.extend_from_slice(MASK);
            }
            hidden = hidden.max(at + pieces.length);
        }
        if at >= hidden {
            masked.push(*byte);
        }
    }
    masked
}

/// All that stands in a text in a row of so many bytes, and which of it is secret.
struct Pieces {
    length: usize,
    /// In order, each once.
    pieces: Vec<(u64, bool)>,
}

impl Pieces {
    /// `length` is at most eight.
    fn of(text: &[u8], length: usize) -> Self {
        let mut pieces: Vec<(u64, bool)> = text.windows(length).map(|piece| (code(piece), false)).collect();
        pieces.sort_unstable();
        pieces.dedup();
        Pieces { length, pieces }
    }

    fn find(&self, piece: &[u8]) -> Option<usize> {
        self.pieces.binary_search_by_key(&code(piece), |(code, _)| *code).ok()
    }

    fn mark(&mut self, piece: &[u8]) {
        if let Some((_, marked)) = self.find(piece).and_then(|at| self.pieces.get_mut(at)) {
            *marked = true;
        }
    }

    fn is_marked(&self, piece: &[u8]) -> bool {
        self.find(piece).and_then(|at| self.pieces.get(at)).is_some_and(|(_, marked)| *marked)
    }
}

/// The bytes as a number, different for different bytes of the same length.
fn code(piece: &[u8]) -> u64 {
    piece.iter().fold(0, |code, byte| code << 8 | u64::from(*byte))
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
    fn of_two_secrets_that_begin_alike_the_longer_one_is_masked() {
        assert_eq!(words(b"is hunter2!", &["hunt", "hunter2"]), "is <secret>!");
    }

    #[test]
    fn a_mebibyte_of_secrets_is_masked_in_time() {
        // Of all lengths: a long one, many short ones, and one of many short lines.
        let number = |n: u32| n.wrapping_mul(2_654_435_761);
        let long: String = (0..30_000).map(|n| format!("{:08x}", number(n))).collect();
        let short: Vec<String> = (0..60_000).map(|n| format!("{:06x}", number(n) >> 8)).collect();
        let lines: String = (0..60_000).map(|n| format!("{:05x}\n", number(n) >> 12)).collect();
        let mut secrets: Vec<&str> = short.iter().map(String::as_str).collect();
        secrets.extend([long.as_str(), lines.as_str()]);
        assert!(secrets.iter().map(|secret| secret.len()).sum::<usize>() > 950_000);
        let mut text = "nothing here\n".repeat(5000).into_bytes();
        text.extend_from_slice(format!("wrong: {} and {}!\n", &long[4000..4020], short[777]).as_bytes());
        let begun = std::time::Instant::now();
        let told = words(&text, &secrets);
        assert!(told.ends_with("wrong: <secret> and <secret>!"), "{told}");
        assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_secret_on_the_edge_of_what_is_told_is_masked_before_it_is_cut() {
        let line = format!("{}topsecretvalue{}", "x".repeat(MAX_WORDS - 8), "y".repeat(50));
        let told = words(line.as_bytes(), &["topsecretvalue"]);
        assert!(!told.contains("top"), "{told}");
    }
}
