//! A look at a template's tags before it is ever rendered: a statement, filter or test that there is not is found when the class
//! is built, not in the branch that some operator's settings take first.
//!
//! Nor can a list grow. minijinja's fuel pays for texts and steps, but not for lists: it joins and multiplies them lazily, and
//! compares and prints what they hold without counting. So there are no lists but those of the settings and those that
//! are written out: no `*`, no slice, `+` only beside what is surely no list, and no list whose items are names where a name gets it.

use super::filters;
use super::syntax::Syntax;
use crate::document::Refusal;

/// The statements that templates have.
const STATEMENTS: &[&str] =
    &["if", "elif", "else", "endif", "for", "endfor", "set", "with", "endwith", "raw", "endraw"];

/// Refuses what templates do not have. The line, from 1, comes with the refusal.
pub(super) fn check(text: &str, syntax: Syntax) -> Result<(), (usize, Refusal)> {
    let mut rest = text;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let (_, tag) = rest.split_at(start);
        let line = || text.len().saturating_sub(tag.len());
        let at_line = |refusal| (line_at(text, line()), refusal);
        let (opening, inside) = tag.split_at(2);
        if opening == "{#" {
            rest = inside.split_once("#}").map_or("", |(_, after)| after);
            continue;
        }
        let (tokens, after) = tokens(inside, if opening == "{{" { "}}" } else { "%}" });
        rest = after;
        if opening == "{%" {
            let statement = tokens.first().copied().unwrap_or_default();
            if !STATEMENTS.contains(&statement) || (statement == "set" && !tokens.contains(&"=")) {
                let problem = format!("`{statement}` with these words is not a statement of templates");
                let known = "if, for, set NAME = VALUE, with, raw";
                return Err(at_line(Refusal::new(problem, format!("use only {known}"))));
            }
            if statement == "raw" {
                rest = end_of_raw(rest);
                continue;
            }
        }
        names(&tokens, syntax).and_then(|()| growth(&tokens, opening == "{%")).map_err(at_line)?;
    }
    Ok(())
}

/// Refuses what could make a list that grows, or one in which lists are nested without end.
fn growth(tokens: &[&str], statement: bool) -> Result<(), Refusal> {
    let naming = statement && matches!(tokens.first(), Some(&("set" | "with" | "for")));
    // A name that a loop goes through becomes one item: so there a list of names is harmless, and a list of lists is not.
    let looping = naming && tokens.first() == Some(&"for");
    let mut open: Vec<Bracket> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = |by: usize| at.checked_sub(by).and_then(|at| tokens.get(at)).copied().unwrap_or_default();
        let after = |by: usize| tokens.get(at.saturating_add(by)).copied().unwrap_or_default();
        let refusal = match *token {
            "*" => Some((
                "`*` is used, which also makes lists longer",
                "use the filter `times`, as in `memory | times(2)`",
            )),
            "+" if !(ends_scalar(before(1), before(2), before(3)) || begins_scalar(after(1), after(2), after(3))) => {
                Some((
                    "`+` is used between two values that may both be lists",
                    "put a text between them, or make one a text: `a + \" \" + b`, `a | text + b`",
                ))
            }
            "{" => Some(("a map is written out", "use the fields of the class")),
            "recursive" if looping => Some(("a loop is recursive", "write a loop in a loop")),
            ":" if open.last() == Some(&Bracket::Subscript) => {
                Some(("a slice is used", "take single items: `list[0]`"))
            }
            "," if naming
                && (open.last() == Some(&Bracket::Round) || (open.is_empty() && tokens.first() == Some(&"set"))) =>
            {
                Some(("a tuple is written out", "set one name after the other"))
            }
            "[" if !ends_operand(before(1)) => {
                let nested = open.contains(&Bracket::List);
                open.push(Bracket::List);
                (naming && nested).then_some(("a list of lists is written out", "use a table of the class"))
            }
            "[" => {
                open.push(Bracket::Subscript);
                None
            }
            "(" => {
                open.push(Bracket::Round);
                None
            }
            "]" | ")" => {
                open.pop();
                None
            }
            name if naming && !looping && open.contains(&Bracket::List) && is_name(name) => {
                Some(("a list with names in it gets a name", "write the list in the `for` itself"))
            }
            _ => None,
        };
        if let Some((problem, remedy)) = refusal {
            return Err(Refusal::new(problem, remedy));
        }
    }
    Ok(())
}

/// What a bracket begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    /// `[1, 2]`
    List,
    /// `list[0]`
    Subscript,
    /// `(a)`, `filter(a)`
    Round,
}

fn is_literal(token: &str) -> bool {
    token.starts_with(|c: char| matches!(c, '"' | '\'') || c.is_ascii_digit())
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether what stands before a sign, read backwards, is a text, a number or the result of a filter: no list, in any case.
fn ends_scalar(last: &str, second: &str, third: &str) -> bool {
    // `1.5` is a number, and `x.5` may be anything.
    (is_literal(last) && (second != "." || third.starts_with(|c: char| c.is_ascii_digit())))
        || (is_name(last) && second == "|")
}

/// The same for what comes after it.
fn begins_scalar(first: &str, second: &str, third: &str) -> bool {
    is_literal(first) || (is_name(first) && second == "|" && is_name(third))
}

/// Whether a value ends here, so that a bracket which follows takes an item of it.
fn ends_operand(token: &str) -> bool {
    const WORDS: &[&str] = &["in", "and", "or", "not", "is", "if", "elif", "else", "for", "set", "with"];
    matches!(token, ")" | "]") || is_literal(token) || (is_name(token) && !WORDS.contains(&token))
}

/// Looks at the filters and tests of one tag.
fn names(tokens: &[&str], syntax: Syntax) -> Result<(), Refusal> {
    let known = filters::names(syntax);
    for (at, token) in tokens.iter().enumerate() {
        let next = |by: usize| tokens.get(at.saturating_add(by)).copied().unwrap_or_default();
        if *token == "~" {
            let problem = "`~` is used, which also makes texts of lists and of what is not set";
            return Err(Refusal::new(problem, "join texts with +, and make them of numbers with the filter text"));
        }
        if *token == "|" && !known.contains(&next(1)) {
            let problem = format!("`{}` is not a filter of templates for {}", next(1), syntax.name());
            return Err(Refusal::new(problem, format!("use one of {}", known.join(", "))));
        }
        let test = if next(1) == "not" { next(2) } else { next(1) };
        // `.is` is an attribute.
        let attribute = at.checked_sub(1).and_then(|at| tokens.get(at)) == Some(&".");
        if *token == "is" && !attribute && !filters::TESTS.contains(&test) {
            let problem = format!("`{test}` is not a test of templates");
            return Err(Refusal::new(problem, format!("use {}, or compare with ==", filters::TESTS.join(", "))));
        }
    }
    Ok(())
}

/// The words and signs up to the end of a tag, without strings, and what comes after the tag.
fn tokens<'t>(inside: &'t str, end: &str) -> (Vec<&'t str>, &'t str) {
    let (mut tokens, mut rest) = (Vec::new(), inside);
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return (tokens, rest) };
        if let Some(after) = rest.strip_prefix(end) {
            return (tokens, after);
        }
        // The signs that trim white space around a tag.
        if matches!(first, '-' | '+') && (tokens.is_empty() || rest.get(1..).is_some_and(|rest| rest.starts_with(end)))
        {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let length = match first {
            '"' | '\'' => string_length(rest, first),
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
}

/// Bytes of the string that begins here, with its quotes.
fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

/// What comes after `{% endraw %}`.
fn end_of_raw(mut rest: &str) -> &str {
    while let Some((_, after)) = rest.split_once("{%") {
        rest = after;
        let (words, after) = tokens(after, "%}");
        if words == ["endraw"] {
            return after;
        }
    }
    ""
}

/// The line that a byte stands on, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|b| *b == b'\n').count().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let (line, refusal) = check(text, Syntax::Plain).unwrap_err();
        (line, refusal.problem)
    }

    #[test]
    fn what_templates_have_passes() {
        let text = "{# {% autoescape false %} | safe #}{%- if a is not none and b.is == 'x | safe' -%}\n{{ a|length }}\n\
                    {%- elif \"\\\" | safe\" == a %}{% set c = 2 %}{% endif %}{% raw %}{{ x | safe }}{% include %}{%- endraw -%}\
                    {% for x in y %}{{ -x }}{% else %}{% endfor %}{% with z = 1 %}{% endwith %}";
        check(text, Syntax::Plain).unwrap();
    }

    #[test]
    fn other_statements_filters_and_tests_are_found_with_their_line() {
        for (text, word) in [
            ("\n{% autoescape false %}{% endautoescape %}", "autoescape"),
            ("\n{%-autoescape false%}", "autoescape"),
            ("\n{%+ include 'x' %}", "include"),
            ("\n{% set x %}a{% endset %}", "set"),
            ("\n{% filter join %}a{% endfilter %}", "filter"),
            ("\n{{ a | safe }}", "safe"),
            ("\n{{ a|\nsafe }}", "safe"),
            ("\n{{ a | identifier }}", "identifier"),
            ("\n{% if a is\n not defined %}", "defined"),
            ("{% raw %}{{ x }}{% endraw %}\n{{ a is safe }}", "safe"),
            ("{# #}\n{{ 'a' | e }}", "e"),
            ("\n{{ 'a~' ~ b }}", "~"),
            ("\n{{ a * 2 }}", "*"),
            ("\n{{ 'a' + 'b' + c.0 + d[1] }}", "+"),
        ] {
            let (line, problem) = refused(text);
            assert!(line == 2 && problem.starts_with(&format!("`{word}`")), "{text} {line} {problem}");
        }
        check("{{ a | identifier }}", Syntax::Sql).unwrap();
    }

    #[test]
    fn lists_cannot_grow() {
        for (text, word) in [
            ("{% set x = y + y %}", "+"),
            ("{{ (y + y) | join }}", "+"),
            ("{{ y[0] + z }}", "+"),
            ("{{ x.0 + y }}", "+"),
            ("{{ x + y.z }}", "+"),
            ("{{ x + y[0] | text }}", "+"),
            ("{% for x in 9 ** y %}", "*"),
            ("{% for x in y recursive %}", "recursive"),
            ("{{ y[1:] }}", "slice"),
            ("{{ y[a[0]:] }}", "slice"),
            ("{{ 'abc'[:1] }}", "slice"),
            ("{{ {'a': 1} }}", "map"),
            ("{% set x = y, y %}", "tuple"),
            ("{% set x = (y, y) %}", "tuple"),
            ("{% for x in [(y, y)] %}", "tuple"),
            ("{% with x = (y, y) %}", "tuple"),
            ("{% set x = [y, y] %}", "names"),
            ("{% set x = ['a', [y]] %}", "list of lists"),
            ("{% with x = [y] %}", "names"),
            ("{% for x in [[y, y], [y, y]] %}", "list of lists"),
            ("{% for x in [y][0] if not [[y]] %}", "list of lists"),
        ] {
            let (_, problem) = refused(text);
            assert!(problem.contains(word), "{text} {problem}");
        }
        let text = "{{ a + 'x' + b }}{{ 1.5 + a }}{{ a | text + b }}{{ a + b | text }}{{ a | times(2) + 0 + b[0] }}\
                    {% if a in ['x', b] and [a, [b]] == c %}{% for x in [a, b.c, d[0]] %}{% set p = [80, 'x', -1] %}\
                    {% with x = a, y = b.c[0] %}{% set v = p | join(', ') %}{{ a.b(1, 2) }}{% for a, b in c if a[0] %}{%+ if a +%}";
        check(text, Syntax::Plain).unwrap();
    }

    #[test]
    fn text_that_ends_anywhere_is_looked_at_without_harm() {
        for text in ["{{", "{%", "{#", "{{ 'a", "{{ \"\\", "{% raw", "{% raw %}", "{{ é |", "{{ a is", "{% if x -"] {
            let _ = check(text, Syntax::Plain);
        }
    }
}
