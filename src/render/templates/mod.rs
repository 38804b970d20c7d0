//! The templates of a class: Jinja, with everything taken away that could print a text in another way than quoted for the syntax
//! of its file.
//!
//! What `{{ }}` prints is quoted by its type, not by what the template says: numbers, booleans and *safe* strings
//! (`Value::from_safe_string`, for types whose alphabet holds nothing special) as they are, every other string through
//! [`Syntax::quote`], and all else not at all. `minijinja`'s own escaping stays off. So what is made of a text (`+`, a slice) is
//! a text again, and is quoted as a whole where it is printed; only of safe strings is the result safe. Undefined names are errors
//! wherever they stand. `scan` refuses `~`, which makes texts of what is not set and of lists. Errors never hold a value.
//!
//! A template has an end. Each step that it does, and each text that it makes, is paid from [`MAX_STEPS`]; what that does not
//! count, lists that grow, is refused by `scan` before anything is rendered.

mod filters;
mod scan;
mod scram;
mod sink;
pub mod syntax;

use crate::document::Refusal;
use crate::error::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};
use sink::Sink;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub use syntax::Syntax;

/// Bytes of a rendered file.
pub const MAX_RENDERED: usize = 1 << 20;
/// Steps of work in rendering one file. 64 bytes of a text count as a step, so that this is also a limit on memory: 32 MB.
/// A line with three values takes about 15.
pub const MAX_STEPS: u64 = 500_000;

/// One template.
#[derive(Clone, Copy, Debug)]
pub struct Template<'t> {
    /// What errors call it: the name of its source.
    pub name: &'t str,
    /// Its text.
    pub text: &'t str,
    /// How texts are quoted.
    pub syntax: Syntax,
}

/// Compiles the template, and returns the names it expects from outside, with what it takes of them: fields, `terminals.db`,
/// `hostname` and so on.
///
/// # Errors
/// It is no template, or uses a statement, filter or test that templates here do not have.
pub fn check(template: &Template<'_>) -> Result<BTreeSet<String>> {
    let sink = Shared::new(template.syntax, 0);
    let environment = environment(template.syntax, &sink);
    let compiled = environment
        .template_from_named_str(template.name, template.text)
        .map_err(|error| explain(template, &Value::UNDEFINED, 0, &error))?;
    scan(template)?;
    Ok(compiled.undeclared_variables(true).into_iter().collect())
}

fn scan(template: &Template<'_>) -> Result<()> {
    scan::check(template.text, template.syntax)
        .map_err(|(line, refusal)| Error::invalid(place(template, Some(line)), refusal.problem, refusal.remedy))
}

/// The template's result with these values, a map from names. `limit` is the most bytes that it may have.
///
/// # Errors
/// It uses what [`check`] refuses, a name is not there, a text cannot be quoted where it is printed, what is printed is neither
/// text nor number, the result is longer than the limit, or rendering takes more than [`MAX_STEPS`]. The error names the
/// template and its line, and the value by its name.
pub fn render(template: &Template<'_>, values: &Value, limit: usize) -> Result<String> {
    scan(template)?;
    render_scanned(template, values, limit)
}

fn render_scanned(template: &Template<'_>, values: &Value, limit: usize) -> Result<String> {
    let sink = Shared::new(template.syntax, limit);
    let environment = environment(template.syntax, &sink);
    environment
        .template_from_named_str(template.name, template.text)
        .and_then(|compiled| compiled.render_captured_to(values.clone(), sink.clone()).map(drop))
        .map_err(|error| explain(template, values, limit, &error))?;
    let written = std::mem::replace(&mut *sink.lock(), Sink::new(0, template.syntax.surroundings()));
    String::from_utf8(written.into_bytes())
        .map_err(|_| Error::invalid(template.name, "makes a file that is not UTF-8", "report this as a bug"))
}

/// The sink, for who writes to it and for who looks at it meanwhile.
#[derive(Clone)]
struct Shared(Arc<Mutex<Sink>>);

impl Shared {
    fn new(syntax: Syntax, limit: usize) -> Self {
        Shared(Arc::new(Mutex::new(Sink::new(limit, syntax.surroundings()))))
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment(syntax: Syntax, sink: &Shared) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // A line that holds nothing but a statement leaves no line behind, and the file ends as its template does.
    let mut lines = SyntaxConfig::builder();
    if let Ok(lines) = lines.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(lines);
    }
    let sink = sink.clone();
    environment.set_formatter(move |out, state, value| print(syntax, &sink, out, state, value));
    filters::register(&mut environment, syntax);
    environment
}

/// Prints one value.
fn print(
    syntax: Syntax,
    sink: &Shared,
    out: &mut Output<'_>,
    state: &State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    // With minijinja's escaping on, a block of text and `~` would make safe strings.
    if !matches!(state.auto_escape(), AutoEscape::None) {
        return Err(Refused::other(Refusal::new("`autoescape` is used", "leave it out: texts are always quoted")));
    }
    let refusal = match value.kind() {
        ValueKind::Bool => return Ok(out.write_str(boolean(value))?),
        ValueKind::Number if f64::try_from(value.clone()).is_ok_and(f64::is_finite) => {
            return Ok(write!(out, "{value}")?);
        }
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            if value.is_safe() {
                return Ok(out.write_str(text)?);
            }
            // What does not fit is not quoted first: that can make it four times as long.
            if text.len() > sink.lock().room() {
                return Err(minijinja::Error::from(ErrorKind::WriteFailure));
            }
            sink.lock().expect_text().map_err(Refused::other)?;
            let quoted = syntax.quote(text).map_err(|refusal| Refused::text(text, refusal))?;
            return Ok(out.write_str(&quoted)?);
        }
        ValueKind::Undefined => return Err(minijinja::Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Refusal::new("a value that is not set is printed", "test it with `if` first"),
        ValueKind::Number => Refusal::new("a number is printed that is none", "look at the divisions in this line"),
        _ => Refusal::new("a list or record is printed", "print its items in a `for` loop, or `join` them"),
    };
    Err(Refused::other(refusal))
}

/// `true` or `false`. minijinja itself writes them as Python does.
fn boolean(value: &Value) -> &'static str {
    if value.is_true() { "true" } else { "false" }
}

/// Our own refusal on its way through minijinja.
struct Refused {
    /// The text it is about. Only compared, to find its name.
    text: Option<String>,
    refusal: Refusal,
}

impl Refused {
    /// About a text: the problem is what is wrong with it.
    fn text(text: &str, refusal: Refusal) -> minijinja::Error {
        Refused { text: Some(text.to_owned()), refusal }.wrapped()
    }

    /// About something else: the problem is a whole sentence.
    fn other(refusal: Refusal) -> minijinja::Error {
        Refused { text: None, refusal }.wrapped()
    }

    fn wrapped(self) -> minijinja::Error {
        minijinja::Error::from(ErrorKind::InvalidOperation).with_source(self)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refused(..)")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.refusal.problem)
    }
}

impl std::error::Error for Refused {}

/// `haproxy.cfg.j2 (line 3)`.
fn place(template: &Template<'_>, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{} (line {line})", template.name),
        None => template.name.to_owned(),
    }
}

/// minijinja's error in our words. Its own repeat values, which may be secret.
fn explain(template: &Template<'_>, values: &Value, limit: usize, error: &minijinja::Error) -> Error {
    let place = place(template, error.line());
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Refused>());
    if let Some(Refused { text, refusal }) = source {
        let problem = match text {
            None => refusal.problem.clone(),
            Some(text) => match name_of(values, text, 0) {
                Some(name) => format!("the value of `{name}` {}", refusal.problem),
                None => format!("a text in `{}` {}", line_of(template, error), refusal.problem),
            },
        };
        return Error::invalid(place, problem, &refusal.remedy);
    }
    let line = line_of(template, error);
    match error.kind() {
        // From the compiler, which sees no values.
        ErrorKind::SyntaxError | ErrorKind::BadEscape => {
            let detail = error.detail().unwrap_or("is no template");
            Error::invalid(place, format!("is not understood: {detail}"), "correct the template of the class")
        }
        ErrorKind::WriteFailure => {
            let problem = format!("makes a file of more than {limit} bytes");
            Error::invalid(place, problem, "give fewer or shorter values")
        }
        ErrorKind::OutOfFuel => {
            let problem = format!("takes more than {MAX_STEPS} steps to render, where 64 bytes of a text are a step");
            Error::invalid(place, problem, "give fewer or shorter values, or make the loops of the template smaller")
        }
        ErrorKind::UndefinedError => {
            let problem = format!("`{line}` names a value that is not there");
            Error::invalid(place, problem, "name a field or terminal of the class")
        }
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => {
            let problem = format!("`{line}` uses a filter, test or function that templates do not have");
            let filters = filters::names(template.syntax).join(", ");
            Error::invalid(place, problem, format!("use one of the filters {filters}"))
        }
        _ => {
            let problem = format!("`{line}` does with a value what its type does not allow");
            Error::invalid(place, problem, "look at the types of the fields that this line names")
        }
    }
}

/// The template's own line that the error is about, shortened.
fn line_of(template: &Template<'_>, error: &minijinja::Error) -> String {
    let line = error.line().and_then(|line| template.text.lines().nth(line.saturating_sub(1)));
    line.unwrap_or_default().trim().chars().take(80).collect()
}

/// The name of the value that is this text, such as `listeners[2].name`.
fn name_of(values: &Value, text: &str, depth: u8) -> Option<String> {
    if depth > 4 || values.is_undefined() {
        return None;
    }
    match values.kind() {
        ValueKind::String => (values.as_str() == Some(text) && !text.is_empty()).then(String::new),
        ValueKind::Map => values.try_iter().ok()?.find_map(|key| {
            let rest = name_of(&values.get_item(&key).ok()?, text, depth.saturating_add(1))?;
            Some(format!("{}{key}{rest}", if depth == 0 { "" } else { "." }))
        }),
        ValueKind::Seq => values
            .try_iter()
            .ok()?
            .enumerate()
            .find_map(|(at, item)| Some(format!("[{at}]{}", name_of(&item, text, depth.saturating_add(1))?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
