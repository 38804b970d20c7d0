//! YAML to a document: YAML 1.2 without its traps.
//!
//! Only what settings need is taken: tables, lists and scalars. Anchors, aliases and tags are refused, and so is a plain
//! scalar that YAML dialects read as different things, such as `0644`. `yes`, `no`, `on` and dates are texts.

use crate::error::{Error, Result};
use crate::settings::document::{Entry, MAX_DEPTH, MAX_NODES, Node, Place, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::Number;
use std::fmt;

/// Reads YAML.
///
/// # Errors
/// Broken YAML, more than one document, or what settings may not use: [`crate::Class::Invalid`], with line and column.
pub fn parse(text: &str) -> Result<Node> {
    let mut builder = Builder { parser: Parser::new_from_str(text), nodes: 0 };
    let mut document = None;
    loop {
        match builder.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(_), marker) => {
                if document.is_some() {
                    return Err(invalid(marker, "begins a second document", "write one document to a file"));
                }
                let first = builder.next()?;
                document = Some(builder.node(first, 0)?);
            }
            _ => {}
        }
    }
    document.ok_or_else(|| Error::invalid("settings", "are empty", "write at least `version: 1`"))
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Marker)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(broken(&error)),
            None => Ok((Event::StreamEnd, Marker::default())),
        }
    }

    /// The value that begins with this event.
    fn node(&mut self, (event, marker): (Event<'a>, Marker), depth: usize) -> Result<Node> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return Err(invalid(marker, "goes beyond 65536 values", "write fewer"));
        }
        if depth > MAX_DEPTH {
            return Err(invalid(marker, "lies inside more than 16 tables and lists", "make the document flatter"));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                plain_only(marker, anchor, tag.is_some())?;
                scalar(&text, style).map_err(|(problem, remedy)| invalid(marker, problem, remedy))?
            }
            Event::SequenceStart(anchor, tag) => {
                plain_only(marker, anchor, tag.is_some())?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        item => items.push(self.node(item, depth + 1)?),
                    }
                }
                Value::List(items)
            }
            Event::MappingStart(anchor, tag) => {
                plain_only(marker, anchor, tag.is_some())?;
                let mut entries = Vec::new();
                loop {
                    let (key, marker) = match self.next()? {
                        (Event::MappingEnd, _) => break,
                        key => self.key(key)?,
                    };
                    let value = self.next()?;
                    let node = self.node(value, depth + 1)?;
                    entries.push(Entry { key, place: Some(place(marker)), node });
                }
                Value::Table(entries)
            }
            Event::Alias(_) => {
                return Err(invalid(marker, "is an alias (*), which settings do not have", "write the value again"));
            }
            _ => return Err(invalid(marker, "ends too early", "finish the document")),
        };
        Ok(Node::new(value, Some(place(marker))))
    }

    fn key(&mut self, (event, marker): (Event<'a>, Marker)) -> Result<(String, Marker)> {
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                plain_only(marker, anchor, tag.is_some())?;
                Ok((text.into_owned(), marker))
            }
            Event::Alias(_) => {
                Err(invalid(marker, "is an alias (*), which settings do not have", "write the key itself"))
            }
            _ => Err(invalid(marker, "is a key that is no text", "write a text as the key")),
        }
    }
}

/// Refuses what would make a value mean something else than what stands there.
fn plain_only(marker: Marker, anchor: usize, tagged: bool) -> Result<()> {
    if tagged {
        return Err(invalid(marker, "has a tag (!), which settings do not have", "write the value without it"));
    }
    if anchor > 0 {
        return Err(invalid(marker, "has an anchor (&), which settings do not have", "write the value without it"));
    }
    Ok(())
}

/// What a scalar means.
fn scalar(text: &str, style: ScalarStyle) -> Result<Value, (&'static str, &'static str)> {
    if style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    // The numbers of YAML that are also numbers of JSON are numbers here.
    if text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && let Ok(number) = serde_json::from_str::<Number>(text)
    {
        return Ok(Value::Number(number));
    }
    if is_ambiguous(text) {
        return Err((
            "is a number in one dialect of YAML and not in another",
            "put it in quotes if it is a text, like a file's mode; write a number in plain decimal digits",
        ));
    }
    Ok(Value::Text(text.to_owned()))
}

/// Whether some reader of YAML takes this plain scalar for a number: octal, hexadecimal, binary, signs, underscores,
/// fractions without a digit, infinity.
fn is_ambiguous(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let rest = digits.to_ascii_lowercase();
    if matches!(rest.as_str(), ".inf" | ".nan") {
        return true;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = rest.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c == '_' || c.is_digit(radix));
        }
    }
    let without: String = rest.chars().filter(|c| *c != '_').collect();
    rest.starts_with(|c: char| c == '.' || c.is_ascii_digit())
        && without.contains(|c: char| c.is_ascii_digit())
        && without.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'))
        && without.parse::<f64>().is_ok()
}

fn place(marker: Marker) -> Place {
    // The parser counts lines from 1 and columns from 0.
    Place { line: marker.line(), column: marker.col().saturating_add(1) }
}

fn invalid(marker: Marker, problem: impl fmt::Display, remedy: impl fmt::Display) -> Error {
    Error::invalid(format_args!("settings ({})", place(marker)), problem, remedy)
}

fn broken(error: &ScanError) -> Error {
    invalid(*error.marker(), format_args!("is not YAML ({})", error.info()), "mend it there or just before")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> String {
        serde_json::to_string(&parse(text).unwrap()).unwrap()
    }

    #[test]
    fn tables_lists_and_scalars_become_a_document_in_order() {
        let text = "b: 1\na:\n  - x\n  - {c: [true, null, -2.5]}\nd: |\n  line\n  line\n";
        assert_eq!(json(text), r#"{"b":1,"a":["x",{"c":[true,null,-2.5]}],"d":"line\nline\n"}"#);
        let node = parse(text).unwrap();
        assert_eq!(node.entry("a").unwrap().item(1).unwrap().place(), Some(Place { line: 4, column: 5 }));
    }

    #[test]
    fn words_and_dates_and_addresses_are_texts() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "2026-01-02",
            "2026-01-02T03:04:05Z",
            "12:30",
            "52:54:00:12:34:56",
            "10.0.0.1",
            "10.0.0.1/24",
            "2001:db8::1",
            "1.2.3",
            "v1",
            "1-2",
            "0xyz",
            "<<",
            "=",
            "-",
            "+",
            ".",
            "e3",
        ] {
            let node = parse(&format!("- {text}\n- '{text}'\n"));
            // A lone dash begins a list.
            if text == "-" {
                continue;
            }
            let node = node.unwrap();
            assert_eq!(node.item(0).unwrap().value(), &Value::Text(text.into()), "{text}");
            assert_eq!(node.item(0).unwrap().value(), node.item(1).unwrap().value());
        }
    }

    #[test]
    fn a_number_that_dialects_disagree_about_is_refused_unless_quoted() {
        for text in ["0644", "0o644", "0x1F", "0b11", "+1", "1_000", ".5", "1.", "-.inf", ".NaN", "007", "00", "1_0.5"]
        {
            let error = parse(&format!("mode: {text}\n")).unwrap_err();
            assert!(error.object().contains("line 1, column 7"), "{error}");
            assert!(error.remedy().contains("quotes"), "{error}");
            assert_eq!(json(&format!("mode: \"{text}\"")), format!("{{\"mode\":\"{text}\"}}"));
        }
        assert_eq!(
            json("[0, 8080, -1, 1.5, 1e3, 18446744073709551615]"),
            "[0,8080,-1,1.5,1000.0,18446744073709551615]"
        );
    }

    #[test]
    fn anchors_aliases_tags_and_strange_keys_are_refused() {
        for (text, problem) in [
            ("a: &x 1\nb: *x\n", "anchor"),
            ("a: &x [1]\n", "anchor"),
            ("a: !!str 1\n", "tag"),
            ("a: !secret {}\n", "tag"),
            ("[a]: 1\n", "key"),
            ("? {a: 1}\n: 1\n", "key"),
            ("a: 1\n---\nb: 1\n", "second document"),
            ("a: [1\nb: 2\n", "not YAML"),
            ("a: *none\n", "not YAML"),
            ("a:\n\tb: 1\n", "not YAML"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.problem().contains(problem), "{text}: {error}");
            assert!(error.object().contains("line "), "{error}");
        }
        assert!(parse("").unwrap_err().problem().contains("empty"));
    }

    #[test]
    fn depth_and_size_have_limits() {
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&format!("{}1{}", "[".repeat(16), "]".repeat(16))).is_ok());
        assert!(
            parse(&format!("{}1{}", "[".repeat(17), "]".repeat(17))).unwrap_err().problem().contains("more than 16")
        );
        assert!(parse(&"- 1\n".repeat(70_000)).unwrap_err().problem().contains("65536"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(any in any::<String>(), likely in "[-a:,0\\[\\]{}#&*!|>'\"%@ \n\t?é]{0,40}") {
            let _ = parse(&any);
            if let Ok(node) = parse(&likely) {
                // What was read can be written as JSON and is the same then.
                let json = serde_json::to_vec(&node).unwrap();
                let _: serde_json::Value = serde_json::from_slice(&json).unwrap();
            }
        }
    }
}
