//! `handoff class build`: a class file and its templates become the one file that is baked into the image.

use super::judge::judged;
use super::{skeleton, words};
use crate::class::{Class, Direction, Field, Kind, Pattern, PortOf, Probe, Scalar, Template};
use crate::document::{Entry, Format, Node, Value};
use crate::error::{Error, Result};
use crate::guest::MAX_GUEST_FILE;
use crate::operator::{convert, output, toml};
use crate::render::{appliance, templates};
use crate::settings::Settings;
use crate::settings::document::MAX_DEPTH;
use std::path::{Path, PathBuf};

/// The file of a class that a builder writes.
pub const CLASS_FILE: &str = "class.toml";

/// The most bytes of a class file, and of a template.
const MAX_SOURCE: usize = 1 << 20;

/// Where a class is written: a directory, or the files that this program carries.
#[derive(Clone, Debug)]
pub enum Source {
    /// A directory that holds `class.toml` and the templates.
    Directory(PathBuf),
    /// One of this program's own.
    BuiltIn {
        /// What errors call it.
        name: &'static str,
        /// The names and texts of its files.
        files: &'static [(&'static str, &'static str)],
    },
}

impl Source {
    /// What errors call one of its files.
    fn name(&self, file: &str) -> String {
        match self {
            Source::Directory(path) => path.join(file).display().to_string(),
            Source::BuiltIn { name, .. } => format!("{name}/{file}"),
        }
    }

    /// The text of a file. `None`: there is none.
    fn text(&self, file: &str) -> Result<Option<String>> {
        match self {
            Source::Directory(path) => {
                let path = path.join(file);
                // What a link leads to would be baked into every image, and a pipe would be waited for.
                if std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
                    let remedy = "put the file itself into the directory of the class";
                    return Err(Error::invalid(path.display(), "is a link, or no file", remedy));
                }
                text_of(&path)
            }
            Source::BuiltIn { files, .. } => {
                Ok(files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()))
            }
        }
    }
}

/// A class that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The class.
    pub class: Class,
    /// What the image holds of it, in [`crate::class::CLASS_PATH`]. The same sources always make the same bytes.
    pub json: Vec<u8>,
    /// The names of the templates' sources, in the order of the class.
    pub sources: Vec<String>,
}

/// The class file as a document.
const FORMAT: Format = Format {
    name: CLASS_FILE,
    depth: MAX_DEPTH,
    items: 4096,
    values: 65_536,
    error: |fault| {
        let path = if fault.path.is_empty() { "the class" } else { fault.path };
        Error::invalid(format_args!("{path}{}", fault.shown_place()), fault.problem, fault.remedy)
    },
};

/// Reads and judges a class and its templates.
///
/// # Errors
/// There is no class file, or something is wrong with it or a template, with its place: [`crate::error::Class::Invalid`].
pub fn build(source: &Source) -> Result<Built> {
    let file = source.name(CLASS_FILE);
    let Some(text) = source.text(CLASS_FILE)? else {
        return Err(Error::usage(file, "is not there", "name the directory of a class"));
    };
    let document = toml::parse(&text).map_err(|error| renamed(&error).within(&file))?;
    let within = |error: Error| error.within(&file);
    document.check_shape(&FORMAT).map_err(within)?;
    let (document, sources) = with_texts(&document, source).map_err(within)?;
    let class = Class::read(&document, &FORMAT).map_err(within)?;
    check_words(&class).map_err(within)?;
    for (template, name) in class.templates.iter().zip(&sources) {
        check_template(&class, template, &source.name(name))?;
    }
    try_out(&class).map_err(within)?;
    let json = convert::to_json_in_order(&document);
    if json.len() > MAX_GUEST_FILE {
        let problem = format_args!("becomes a file of more than {MAX_GUEST_FILE} bytes, which no guest reads");
        return Err(within(Error::invalid("the class", problem, "make the templates smaller")));
    }
    Ok(Built { class, json, sources })
}

/// Reads what was built before.
///
/// # Errors
/// It is not there, or no class file.
pub fn read_built(path: &Path) -> Result<Built> {
    let Some(text) = text_of(path)? else {
        return Err(Error::usage(path.display(), "is not there", "name the directory of a class, or its class.json"));
    };
    let read = || Class::read(&crate::document::read(text.as_bytes(), &FORMAT)?, &FORMAT);
    let class = read().map_err(|error| error.within(path.display()))?;
    Ok(Built { class, json: text.into_bytes(), sources: Vec::new() })
}

/// The reader of TOML speaks of settings, which are what it usually reads.
fn renamed(error: &Error) -> Error {
    let object = error.object().strip_prefix("settings ").unwrap_or(error.object());
    Error::new(error.class(), object, error.problem(), error.remedy())
}

/// The class with the texts of its templates in it, and the names of the files that held them.
fn with_texts(document: &Node, source: &Source) -> Result<(Node, Vec<String>)> {
    let mut sources = Vec::new();
    let Value::Table(entries) = document.value() else { return Ok((document.clone(), sources)) };
    let mut entries = entries.clone();
    for entry in &mut entries {
        let (true, Value::List(items)) = (entry.key == "templates", entry.node.value()) else { continue };
        let mut templates = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            templates.push(with_text(item, index, source, &mut sources)?);
        }
        entry.node = Node::new(Value::List(templates), entry.node.place());
    }
    Ok((Node::new(Value::Table(entries), document.place()), sources))
}

fn with_text(template: &Node, index: usize, source: &Source, sources: &mut Vec<String>) -> Result<Node> {
    let refused = |node: &Node, key: &str, problem: &str, remedy: &str| {
        let place = node.place().map(|place| format!(" ({place})")).unwrap_or_default();
        Err(Error::invalid(format_args!("templates[{index}]{key}{place}"), problem, remedy))
    };
    let Value::Table(entries) = template.value() else {
        return refused(template, "", "is no table", "begin each template with [[templates]]");
    };
    if let Some(text) = template.entry("text") {
        return refused(text, ".text", "is an unknown key", "name the file beside the class file as `source`");
    }
    let Some(node) = template.entry("source") else {
        return refused(template, "", "has no `source`", "add the key `source`, the name of a file beside the class");
    };
    let name = match node.value() {
        Value::Text(name) if is_file_name(name) => name.clone(),
        _ => {
            let remedy = "name a file beside the class file, like haproxy.cfg.j2";
            return refused(node, ".source", "is not the name of a file", remedy);
        }
    };
    let Some(text) = source.text(&name)? else {
        let problem = format!("names `{name}`, which is not there");
        return refused(node, ".source", &problem, "put the file beside the class file");
    };
    sources.push(name);
    let with_text = |entry: &Entry| match entry.key.as_str() {
        "source" => Entry {
            key: "text".to_owned(),
            place: entry.place,
            node: Node::new(Value::Text(text.clone()), entry.node.place()),
        },
        _ => entry.clone(),
    };
    Ok(Node::new(Value::Table(entries.iter().map(with_text).collect()), template.place()))
}

/// A plain name: nothing that leads elsewhere.
fn is_file_name(name: &str) -> bool {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    name.len() <= 100 && name.bytes().all(good) && !name.is_empty() && !name.starts_with('.')
}

/// What a guest can do without, and an operator cannot.
fn check_words(class: &Class) -> Result<()> {
    let missing = |what: &str, remedy: &str| Err(Error::invalid("the class", format_args!("has no `{what}`"), remedy));
    if class.name == crate::class::GENERIC {
        return missing("class", "give it a name of its own, like class = \"haproxy\"");
    }
    if class.summary.is_empty() {
        return missing("summary", "say in one line what the appliance is");
    }
    for field in &class.fields {
        if words::is_needed(field, &class.fields) && field.example.is_none() {
            let problem = "must be given by every settings, and has no `example`";
            let remedy = "add one: `handoff new` writes it into new settings";
            return Err(Error::invalid(format_args!("fields.{}", field.name), problem, remedy));
        }
        check_patterns(field, &format!("fields.{}", field.name))?;
    }
    check_ports(class)
}

/// Refuses a port that is held by a field of another type.
fn check_ports(class: &Class) -> Result<()> {
    let inputs = class.terminals.iter().filter_map(|terminal| match &terminal.direction {
        Direction::Input { port: Some(port) } => Some((format!("terminals.{}.port", terminal.name), port)),
        _ => None,
    });
    let probes = class.ready.iter().flat_map(|ready| &ready.probes).filter_map(|probe| match probe {
        Probe::Tcp(PortOf::Field(port)) | Probe::Http { port: PortOf::Field(port), .. } => {
            Some(("ready.probes".to_owned(), port))
        }
        _ => None,
    });
    for (path, port) in inputs.chain(probes) {
        if !class.field(port).is_some_and(|field| field.kind == Kind::One(Scalar::Port)) {
            let problem = format_args!("names `{port}`, which is no field of the type port");
            return Err(Error::invalid(path, problem, "name a field that holds one port"));
        }
    }
    Ok(())
}

/// Holds the class to what is made of it: new settings are good, and the templates can be rendered with them, and with the
/// examples.
fn try_out(class: &Class) -> Result<()> {
    let told = |what: &str, error: &Error| {
        let problem = format_args!("does not take {what}: {}: {}", error.object(), error.problem());
        Error::invalid("the class", problem, "change the defaults, the examples or the template, so that they fit")
    };
    let new = toml::parse(&skeleton::settings(class)).and_then(|document| Settings::from_document(&document));
    new.and_then(|settings| judged(class, &settings)).map_err(|error| told("its own new settings", &error))?;
    let examples = Node::from_json(skeleton::examples(class).to_string().as_bytes());
    let Ok(settings) = examples.and_then(|document| Settings::from_document(&document)) else { return Ok(()) };
    // An example may ask for a field that has none, such as a certificate.
    match class.resolve(&settings) {
        Ok(resolved) => appliance::judge(&settings, class, &resolved).map_err(|error| told("its own examples", &error)),
        Err(_) => Ok(()),
    }
}

/// Refuses patterns that mean something else, or nothing, to a validator of JSON Schema.
fn check_patterns(field: &Field, path: &str) -> Result<()> {
    let pattern = match &field.kind {
        Kind::Table { columns, .. } => {
            return columns.iter().try_for_each(|one| check_patterns(one, &format!("{path}.columns.{}", one.name)));
        }
        Kind::One(Scalar::String { pattern, .. }) | Kind::List { items: Scalar::String { pattern, .. }, .. } => pattern,
        _ => return Ok(()),
    };
    let text = pattern.as_ref().map(Pattern::as_str).unwrap_or_default();
    let groups = text.match_indices("(?").all(|(at, _)| text.get(at..).is_some_and(|rest| rest.starts_with("(?:")));
    let foreign = ["[:", "\\A", "\\z", "\\x{", "\\u", "\\U", "\\b{", "\\<", "\\>", "\\p", "\\P", "&&", "--", "~~"];
    match foreign.iter().find(|part| text.contains(*part)) {
        None if groups => Ok(()),
        found => Err(Error::invalid(
            format_args!("{path}.pattern"),
            format_args!("has `{}`, which a JSON Schema reads otherwise", found.unwrap_or(&"(?")),
            "write it with characters, [ ], ( ), (?: ), |, *, +, ? and { } alone",
        )),
    }
}

/// Whether a template is one, and names only what there is.
fn check_template(class: &Class, template: &Template, name: &str) -> Result<()> {
    let names = templates::check(&templates::Template { name, text: &template.text, syntax: template.syntax })?;
    let terminals: Vec<&str> = class.terminals.iter().map(|terminal| terminal.name.as_str()).collect();
    for used in &names {
        let mut parts = used.split('.');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        let known = match (first, second) {
            ("terminals", Some(terminal)) => terminals.contains(&terminal),
            ("terminals" | "hostname" | "instance" | "class", None) => true,
            (field, _) => class.field(field).is_some(),
        };
        if !known {
            let mut all: Vec<String> = class.fields.iter().map(|field| field.name.clone()).collect();
            all.extend(terminals.iter().map(|terminal| format!("terminals.{terminal}")));
            all.extend(["hostname", "instance", "class"].map(str::to_owned));
            let remedy = format!("name one of {}", all.join(", "));
            return Err(Error::invalid(name, format_args!("names `{used}`, which the class does not declare"), remedy));
        }
    }
    Ok(())
}

/// The text of a file. `None`: it is not there.
pub(super) fn text_of(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = output::read_if_there(path, MAX_SOURCE)? else { return Ok(None) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Error::invalid(path.display(), "is not UTF-8 text", "save the file as UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = r#"version = 1
class = "web"
summary = "Serves pages"

[fields.zone]
type = "string"
help = "Where"

[fields.alias]
type = "string"
help = "Also known as"

[terminals.db]
direction = "output"
protocol = "sql"
help = "Database"

[[templates]]
source = "web.conf.j2"
target = "/etc/web.conf"
syntax = "plain"

[[services]]
name = "web.service"
"#;

    fn built(class: &str, template: Option<&str>) -> Result<Built> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CLASS_FILE), class).unwrap();
        if let Some(text) = template {
            std::fs::write(dir.path().join("web.conf.j2"), text).unwrap();
        }
        build(&Source::Directory(dir.path().to_owned()))
    }

    #[test]
    fn what_is_built_is_what_the_guest_reads_in_the_order_of_the_file() {
        let built = built(
            CLASS,
            Some("{% if zone is not none %}{{ zone }}{% endif %}{{ terminals.db | length }}{{ hostname }}\n"),
        )
        .unwrap();
        let read = Class::parse(&built.json).unwrap();
        assert_eq!(read, built.class);
        let names: Vec<&str> = read.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["zone", "alias"]);
        assert_eq!(
            read.templates[0].text,
            "{% if zone is not none %}{{ zone }}{% endif %}{{ terminals.db | length }}{{ hostname }}\n"
        );
        assert_eq!(read.services[0].to_string(), "web.service");
    }

    #[test]
    fn what_is_wrong_names_the_file_the_place_and_the_remedy() {
        for (old, new, template, wanted) in [
            (
                "type = \"string\"\nhelp = \"Where\"",
                "type = \"sting\"\nhelp = \"Where\"",
                "",
                "class.toml: fields.zone.type (line 6, column 8): is no type; did you mean `string`?",
            ),
            (
                "web.conf.j2",
                "../web.conf.j2",
                "",
                "class.toml: templates[0].source (line 19, column 10): is not the name of a file",
            ),
            (
                "web.conf.j2",
                "other.j2",
                "",
                "class.toml: templates[0].source (line 19, column 10): names `other.j2`, which is not there",
            ),
            ("source", "text", "", "class.toml: templates[0].text (line 19, column 8): is an unknown key"),
            ("version = 1", "version = ", "", "class.toml: (line 1, column 1"),
            (
                "summary",
                "sumary",
                "",
                "class.toml: sumary (line 3, column 1): is an unknown key; did you mean `summary`?",
            ),
            ("summary = \"Serves pages\"\n", "", "", "class.toml: the class: has no `summary`"),
            (
                "",
                "",
                "{{ zome }}",
                "web.conf.j2: names `zome`, which the class does not declare; name one of zone, alias, terminals.db",
            ),
            ("", "", "{{ terminals.bd }}", "web.conf.j2: names `terminals.bd`"),
            (
                "",
                "",
                "{% if zone is none %}{{ zone.x }}{% endif %}",
                "class.toml: the class: does not take its own new settings: template of /etc/web.conf (line 1)",
            ),
            (
                "[terminals.db]",
                "[terminals.web]\ndirection = \"input\"\nprotocol = \"x\"\nhelp = \"x\"\nport = \"zone\"\n[terminals.db]",
                "",
                "terminals.web.port: names `zone`, which is no field of the type port",
            ),
            ("help = \"Where\"", "help = \"Where\"\npattern = \"(?i)a\"", "", "fields.zone.pattern: has `(?`"),
            (
                "help = \"Where\"",
                "help = \"Where\"\nrequired = true",
                "",
                "fields.zone: must be given by every settings, and has no `example`",
            ),
            ("", "", "a\n{% if %}", "web.conf.j2 (line 2): is not understood"),
        ] {
            let error = built(&CLASS.replacen(old, new, 1), Some(template)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}\n{wanted}");
        }
    }

    #[test]
    fn a_directory_without_a_class_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = build(&Source::Directory(dir.path().to_owned())).unwrap_err();
        assert!(error.to_string().contains("class.toml: is not there"), "{error}");
    }

    #[test]
    fn a_source_is_a_file_of_the_class_and_not_a_link_to_another() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key"), "private").unwrap();
        let class = directory.path().join("class");
        std::fs::create_dir(&class).unwrap();
        let text = "version = 1\nclass = \"web\"\nsummary = \"x\"\n[[templates]]\nsource = \"x.j2\"\ntarget = \"/etc/x\"\nsyntax = \"plain\"\n";
        std::fs::write(class.join("class.toml"), text).unwrap();
        std::os::unix::fs::symlink("../key", class.join("x.j2")).unwrap();
        let error = build(&Source::Directory(class.clone())).unwrap_err().to_string();
        assert!(error.contains("x.j2: is a link, or no file"), "{error}");
        std::fs::remove_file(class.join("x.j2")).unwrap();
        std::fs::write(class.join("x.j2"), "public").unwrap();
        assert!(build(&Source::Directory(class)).is_ok());
    }
}
