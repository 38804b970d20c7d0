//! Lines of ours in a file of others: a block between two comments, for files whose comments begin with `#`.

/// The line above ours.
pub(super) const BEGIN: &[u8] = b"# handoff: begin (changes up to the end mark are overwritten)";
/// The line below ours.
pub(super) const END: &[u8] = b"# handoff: end";

/// Whether a block of ours is in the text.
pub(super) fn is_in(text: &[u8]) -> bool {
    lines(text).any(|line| is_mark(line, BEGIN))
}

/// Lines with their newlines.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn is_mark(line: &[u8], mark: &[u8]) -> bool {
    line.trim_ascii_end() == mark
}

/// The text with our block replaced. A new block comes first, because the first line that has a name answers for it. A begin
/// without an end is a mark alone: the lines below it may be somebody's.
pub(super) fn replace(text: &[u8], block: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    if !block.is_empty() {
        for part in [BEGIN, b"\n", block, END, b"\n"] {
            whole.extend_from_slice(part);
        }
    }
    let mut out = Vec::with_capacity(text.len().saturating_add(whole.len()));
    let mut placed = None;
    let mut rest = text;
    while let Some(line) = lines(rest).next() {
        rest = rest.get(line.len()..).unwrap_or_default();
        if !is_mark(line, BEGIN) {
            out.extend_from_slice(line);
            continue;
        }
        placed = placed.or(Some(out.len()));
        if lines(rest).take_while(|line| !is_mark(line, BEGIN)).any(|line| is_mark(line, END)) {
            while let Some(line) = lines(rest).next() {
                rest = rest.get(line.len()..).unwrap_or_default();
                if is_mark(line, END) {
                    break;
                }
            }
        }
    }
    let at = placed.unwrap_or(0).min(out.len());
    out.splice(at..at, whole);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_begin_without_an_end_takes_no_line_of_others() {
        let text = [BEGIN, b"\n1.1.1.1 a\n"].concat();
        assert_eq!(replace(&text, b""), b"1.1.1.1 a\n");
    }

    proptest! {
        #[test]
        fn any_text_survives_a_block_and_its_end(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'#'), any::<u8>()], 0..100)) {
            let with = replace(&bytes, b"10.0.0.1\tx\n");
            prop_assert_eq!(replace(&with, b"10.0.0.1\tx\n"), with.clone());
            prop_assert_eq!(replace(&with, b""), bytes);
        }
    }
}
