//! The digest pin: `handoff.digest=sha256:…` on the kernel command line, which a measured boot measures.

use super::blob::Digest;
use crate::error::{Error, Result};

const NAME: &str = "handoff.digest";

/// The digest that the kernel command line pins. `None` where it pins none.
///
/// The line is read as the kernel reads it: words are separated by blanks that are not in double quotes, the quotes
/// around a word or a value are not part of it, and the words after `--` belong to init.
///
/// # Errors
/// A pin that is no digest, or two that differ: [`crate::Class::NotVerified`]. A pin that cannot be read must not be
/// taken for no pin.
pub fn pin_from_command_line(command_line: &str) -> Result<Option<Digest>> {
    let mut pin = None;
    for word in words(command_line) {
        let word = strip_quotes(word);
        if word == "--" {
            break;
        }
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if name != NAME {
            continue;
        }
        let value = strip_quotes(value);
        let digest = value.strip_prefix("sha256:").and_then(Digest::parse).filter(|_| value.len() == 71);
        let Some(digest) = digest else {
            return Err(Error::not_verified(
                format_args!("{NAME} on the kernel command line"),
                "is not sha256: and 64 hexadecimal digits",
                "write what `sha256sum settings.json` prints behind sha256:, or remove it",
            ));
        };
        if pin.is_some_and(|pin| pin != digest) {
            return Err(Error::not_verified(
                format_args!("{NAME} on the kernel command line"),
                "stands there twice, with different digests",
                "keep one of them",
            ));
        }
        pin = Some(digest);
    }
    Ok(pin)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

/// Without the quote at the beginning, and, where there is one, without the one at the end.
fn strip_quotes(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const B: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_pin_is_found_among_other_words() {
        for line in [
            format!("handoff.digest={A}"),
            format!("root=/dev/vda1 ro  handoff.digest={A}\n"),
            format!("\"handoff.digest={A}\" quiet"),
            format!("handoff.digest=\"{A}\""),
            format!("dyndbg=\"file a.c +p\" handoff.digest={A} -- single"),
            format!("handoff.digest={A} handoff.digest={A}"),
            format!("handoff.digest={}", A.to_uppercase().replace("SHA", "sha")),
        ] {
            assert_eq!(pin_from_command_line(&line), Ok(Digest::parse(A)), "{line}");
        }
    }

    #[test]
    fn no_pin_is_none() {
        for line in [
            String::new(),
            "root=/dev/vda1 quiet".into(),
            format!("-- handoff.digest={A}"),
            format!("\"--\" handoff.digest={A}"),
            format!("x=\"a handoff.digest={A}\""),
            format!("xhandoff.digest={A} handoff.digests={A}"),
        ] {
            assert_eq!(pin_from_command_line(&line), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_pin_that_cannot_be_read_is_an_error_and_not_no_pin() {
        for line in [
            "handoff.digest".to_owned(),
            "handoff.digest=".into(),
            "handoff.digest=sha256:".into(),
            format!("handoff.digest={}", &A[7..]),
            format!("handoff.digest=sha256:{A}"),
            format!("handoff.digest={}", &A[..70]),
            format!("handoff.digest={A}0"),
            format!("handoff.digest={}", A.replace("256", "512")),
            format!("handoff.digest={A} handoff.digest={B}"),
            format!("handoff.digest={A} handoff.digest=nonsense"),
        ] {
            assert!(pin_from_command_line(&line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in "(\\PC|handoff.digest=|\"| ){0,12}") {
            let _ = pin_from_command_line(&line);
        }
    }
}
