//! Where a rendered file grows: a limited buffer that knows, at any time, what stands on the line it has come to.

use super::syntax::Surroundings;
use crate::document::Refusal;
use std::io;

/// What is rendered so far.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    surroundings: Surroundings,
    /// Where the first byte of the last line stands that is no white space.
    start: Option<usize>,
    /// The quote that is open on the last line.
    open: Option<u8>,
    /// Whether the last byte was a backslash that takes the sense of the next one.
    escaping: bool,
}

impl Sink {
    pub(super) fn new(limit: usize, surroundings: Surroundings) -> Self {
        Sink { bytes: Vec::new(), limit, surroundings, start: None, open: None, escaping: false }
    }

    /// All that was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes more there may be.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// Takes in more of the file. An error says that this would be more than the limit.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if text.len() > self.room() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for &byte in text {
            if self.start.is_none() && !byte.is_ascii_whitespace() {
                self.start = Some(self.bytes.len());
            }
            self.bytes.push(byte);
            if byte == b'\n' {
                (self.start, self.open, self.escaping) = (None, None, false);
            } else if self.escaping {
                self.escaping = false;
            } else if byte == b'\\' {
                self.escaping = true;
            } else if self.open == Some(byte) {
                self.open = None;
            } else if self.open.is_none() && self.surroundings.quotes.as_bytes().contains(&byte) {
                self.open = Some(byte);
            }
        }
        Ok(())
    }

    /// Whether a quoted text that comes next is read as one by the target.
    ///
    /// # Errors
    /// It stands in quotes, in a comment, or after what changes the sense of its quotes.
    pub(super) fn expect_text(&self) -> Result<(), Refusal> {
        let line = self.start.and_then(|start| self.bytes.get(start..)).unwrap_or_default();
        let marks = self.surroundings.comments;
        if marks.iter().any(|mark| line.starts_with(mark.as_bytes())) {
            let problem = "a text is printed in a comment, where its quotes protect nothing";
            return Err(Refusal::new(problem, "take it out of the comment"));
        }
        if self.open.is_some() {
            let problem = "a text is printed inside quotes, and it brings its own";
            let remedy = "take the quotes of the template away; join texts inside the braces: `{{ \"to \" + name }}`";
            return Err(Refusal::new(problem, remedy));
        }
        // No character is longer than four bytes, and a line may be as long as the file.
        let end = line.rchunks(4).next().unwrap_or_default();
        match String::from_utf8_lossy(end).chars().next_back() {
            Some(last) if !last.is_whitespace() && !(self.surroundings.after)(last) => {
                let problem =
                    format!("a text is printed right after `{last}`, where its quotes may not be read as quotes");
                let remedy = "put a space before it, or join texts inside the braces: `{{ \"to \" + name }}`";
                Err(Refusal::new(problem, remedy))
            }
            _ => Ok(()),
        }
    }
}
