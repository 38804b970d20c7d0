//! The filters and tests of templates. Few, and none that could print a text without its quotes: what a filter makes of a text is
//! a text again, with the one exception of [`sql::identifier`], which quotes for itself.

use super::scram;
use super::syntax::{Syntax, sql};
use super::{Refused, boolean};
use crate::document::Refusal;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// The tests of every template: `{% if x is none %}`.
pub(super) const TESTS: &[&str] = &["none"];

/// Characters that may stand between the items of a printed list. None of them ends a line, a word in quotes or a statement.
const SEPARATORS: &str = ", :|/+-.";
/// Bytes between two items.
const MAX_SEPARATOR: usize = 8;
/// What a verifier costs of `MAX_STEPS`: it is made in 4096 rounds.
const STEPS_OF_SCRAM: u64 = 400;

/// The filters of a template for this syntax.
pub(super) fn names(syntax: Syntax) -> Vec<&'static str> {
    let mut names = vec!["join", "kib", "length", "mib", "scram", "seconds", "text", "times"];
    match syntax {
        Syntax::Sql => names.push("identifier"),
        Syntax::Haproxy => names.push("log_format"),
        _ => {}
    }
    names
}

/// Puts in what [`names`] and [`TESTS`] name.
pub(super) fn register(environment: &mut Environment<'_>, syntax: Syntax) {
    environment.add_test("none", |value: &Value| match value.is_undefined() {
        true => Err(Error::from(ErrorKind::UndefinedError)),
        false => Ok(value.is_none()),
    });
    environment.add_filter("join", join);
    environment.add_filter("length", length);
    environment.add_filter("scram", scram_verifier);
    environment.add_filter("text", as_text);
    environment.add_filter("times", times);
    environment.add_filter("seconds", |value: &Value| whole(value, 1000, "a whole number of seconds"));
    environment.add_filter("kib", |value: &Value| whole(value, 1 << 10, "a whole number of KiB"));
    environment.add_filter("mib", |value: &Value| whole(value, 1 << 20, "a whole number of MiB"));
    match syntax {
        Syntax::Sql => environment.add_filter("identifier", |value: &Value| {
            let name = text(value)?;
            sql::identifier(name).map(Value::from_safe_string).map_err(|refusal| Refused::text(name, refusal))
        }),
        // In a log-format string `%` begins what HAProxy looks up for each request.
        Syntax::Haproxy => environment.add_filter("log_format", |value: &Value| Ok(text(value)?.replace('%', "%%"))),
        _ => {}
    }
}

fn text(value: &Value) -> Result<&str, Error> {
    defined(value)?.as_str().ok_or_else(|| {
        let problem = "a filter for texts is used on a value that is none";
        Refused::other(Refusal::new(problem, "leave the filter out, or test the value with `if` when it may be unset"))
    })
}

fn defined(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(value) }
}

/// The number, boolean or safe string as a text, to be joined with others: `host + ":" + port | text`.
fn as_text(value: &Value) -> Result<String, Error> {
    match defined(value)?.kind() {
        ValueKind::Number => Ok(value.to_string()),
        ValueKind::Bool => Ok(boolean(value).to_owned()),
        _ => text(value).map(str::to_owned),
    }
}

/// The product of two numbers. The sign `*` is refused, because it makes lists longer as well.
fn times(value: &Value, by: &Value) -> Result<Value, Error> {
    let product = match (defined(value)?.as_i64(), defined(by)?.as_i64()) {
        (Some(value), Some(by)) => value.checked_mul(by).map(Value::from),
        _ => f64::try_from(value.clone()).ok().zip(f64::try_from(by.clone()).ok()).map(|(a, b)| Value::from(a * b)),
    };
    let numbers = value.kind() == ValueKind::Number && by.kind() == ValueKind::Number;
    product.filter(|_| numbers).ok_or_else(|| {
        let problem = "`times` is used on what is no number, or makes one that is too large";
        Refused::other(Refusal::new(problem, "look at the types of the fields that this line names"))
    })
}

/// The number in units of `size`. A fraction is refused: what is rounded is not what the operator wrote.
fn whole(value: &Value, size: i64, unit: &str) -> Result<i64, Error> {
    let number = defined(value)?.as_i64().filter(|_| value.kind() == ValueKind::Number);
    match number {
        Some(number) if number >= 0 && number % size == 0 => Ok(number / size),
        Some(_) => {
            let problem = format!("a value is not {unit}, which is all that can be written here");
            Err(Refused::other(Refusal::new(problem, format!("give {unit}"))))
        }
        None => {
            let problem = "a filter for numbers is used on a value that is none";
            Err(Refused::other(Refusal::new(problem, "use it on a duration or size, and test one that may be unset")))
        }
    }
}

fn length(value: &Value) -> Result<usize, Error> {
    defined(value)?.len().ok_or_else(|| {
        let problem = "the length is asked of a value that has none";
        Refused::other(Refusal::new(problem, "use it on a list or text, and test one that may be unset with `if`"))
    })
}

/// The items one after the other. Only of items whose alphabet is safe, so that the result is as safe as each of them.
fn join(state: &State<'_, '_>, list: &Value, separator: Option<&str>) -> Result<Value, Error> {
    let separator = separator.unwrap_or_default();
    if separator.len() > MAX_SEPARATOR || !separator.chars().all(|c| SEPARATORS.contains(c)) {
        let problem = "what `join` shall put between the items is not a few spaces and signs";
        return Err(Refused::other(Refusal::new(problem, format!("use only these: `{SEPARATORS}`; or a `for` loop"))));
    }
    if defined(list)?.kind() != ValueKind::Seq {
        let problem = "`join` is used on a value that is no list";
        return Err(Refused::other(Refusal::new(
            problem,
            "use it on a list, and test one that may be unset with `if`",
        )));
    }
    let mut joined = String::new();
    for (at, item) in list.try_iter()?.enumerate() {
        state.consume_fuel(1)?;
        if at > 0 {
            joined.push_str(separator);
        }
        match item.kind() {
            ValueKind::String if item.is_safe() => joined.push_str(item.as_str().unwrap_or_default()),
            ValueKind::Number => joined.push_str(&item.to_string()),
            _ => {
                let problem = "`join` is used on a list of texts, whose quotes would be lost";
                return Err(Refused::other(Refusal::new(problem, "print each item in a `for` loop")));
            }
        }
    }
    Ok(Value::from_safe_string(joined))
}

/// `password | scram(user)`. The result is a text like others.
fn scram_verifier(state: &State<'_, '_>, password: &Value, user: &Value) -> Result<String, Error> {
    let (password, user) = (text(password)?, text(user)?);
    state.consume_fuel(STEPS_OF_SCRAM)?;
    let instance = state.lookup("instance").ok_or_else(|| Error::from(ErrorKind::UndefinedError))?;
    let instance = text(&instance)?;
    scram::verifier(password, user, instance).map_err(|refusal| Refused::text(password, refusal))
}
