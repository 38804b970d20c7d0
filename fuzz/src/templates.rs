//! Templates, with texts from an operator.

use super::good;
use handoff::render::templates::{MAX_RENDERED, Syntax, Template, check, render};
use minijinja::Value;

/// Characters that no input holds, around signs that each syntax must quote.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// Which syntax, a line with a text, and then the template.
pub fn templates(data: &[u8]) -> bool {
    let Some((which, rest)) = data.split_first() else { return false };
    let syntax = Syntax::ALL[usize::from(which.wrapping_sub(b'0')) % Syntax::ALL.len()];
    let Ok(rest) = std::str::from_utf8(rest) else { return false };
    let (text, template) = rest.split_once('\n').unwrap_or_default();
    if rest.contains([OPEN, CLOSE]) || template.contains("\\u") {
        return false;
    }
    let template = Template { name: "fuzz.j2", text: template, syntax };
    let Some(names) = good(check(&template)) else { return false };
    assert!(names.iter().all(|name| !name.is_empty()));
    // Syntaxes without quotes refuse more and quote nothing, so that there is nothing to see in their result.
    let mut rendered = false;
    for signs in ["", "'\"", "'\"\n"] {
        let hostile = format!("{OPEN}{signs}{CLOSE}");
        let quoted = syntax.quote(&hostile).is_ok_and(|quoted| quoted.contains(&hostile));
        let record = |text: &str| Value::from_pairs([("name", Value::from(text)), ("port", Value::from(80))]);
        let names = [
            ("a", Value::from(hostile.as_str())),
            ("b", Value::from(text)),
            ("n", Value::from(60_000)),
            ("d", Value::from(0.5)),
            ("yes", Value::from(true)),
            ("unset", Value::from(())),
            ("word", Value::from_safe_string("word".into())),
            ("words", Value::from(vec![Value::from_safe_string("one".into()), Value::from_safe_string("two".into())])),
            ("texts", Value::from(vec![Value::from(hostile.as_str()), Value::from(text)])),
            ("table", Value::from(vec![record(&hostile), record(text)])),
            ("instance", Value::from("fuzz-1")),
            ("terminals", Value::from_pairs([("out", Value::from(vec![record(&hostile)]))])),
        ];
        let Some(result) = good(render(&template, &Value::from_pairs(names), MAX_RENDERED)) else { continue };
        rendered = true;
        assert!(result.len() <= MAX_RENDERED);
        if !signs.is_empty() && !quoted {
            assert!(!result.contains(&hostile), "printed without quotes: {result:?}");
        }
    }
    rendered
}
