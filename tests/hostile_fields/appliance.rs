//! A class of the catalog on a guest in memory, and the comparison of what it makes of a hostile and of a harmless text.

use crate::catalog;
use crate::subjects::{Pem, Subject, good};
use handoff::class::{Class, Direction, Field, Kind, Scalar};
use handoff::commit::state::State;
use handoff::guest::{Facts, GuestPath, Node, Tree};
use handoff::operator::catalog::build::{Source, build};
use handoff::operator::catalog::judge::judged;
use handoff::operator::catalog::skeleton;
use handoff::plan::Desired;
use handoff::render::appliance::fields::{FIELDS, SECRET_FIELDS};
use handoff::render::templates::{self, MAX_RENDERED, Syntax};
use handoff::render::{Context, render};
use handoff::settings::Settings;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A class, a guest for it, and settings that make its templates print what they can.
pub struct Appliance {
    pub name: String,
    pub class: Class,
    pub pem: Pem,
    /// Every field set, every switch on, one peer at each terminal.
    pub base: Value,
    /// The same with one switch off, or another word of an enum.
    variants: Vec<Value>,
    guest: Tree,
}

/// A real certificate and its key, made by openssl; without it, PEM that no program takes.
fn pem() -> Pem {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=shop.example", "-keyout"])
        .arg(at("key"))
        .arg("-out")
        .arg(at("certificate"))
        .output();
    if made.is_ok_and(|output| output.status.success()) {
        let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        return Pem { certificate: read("certificate"), key: read("key") };
    }
    let block = |label: &str| format!("-----BEGIN {label}-----\nenFtYXJrZXI=\n-----END {label}-----\n");
    Pem { certificate: block("CERTIFICATE"), key: block("PRIVATE KEY") }
}

/// A value of a field with nothing left out: from the example or default of the class where it has one.
fn whole(field: &Field, shown: Option<&Value>, pem: &Pem) -> Value {
    match &field.kind {
        Kind::One(Scalar::Boolean) => json!(true),
        Kind::One(scalar) => shown.cloned().unwrap_or_else(|| good(scalar, "harmless", pem)),
        Kind::List { items, .. } => match shown {
            Some(Value::Array(values)) if !values.is_empty() => json!(values),
            _ => json!([good(items, "harmless", pem)]),
        },
        Kind::Table { columns, .. } => {
            let records = shown.and_then(Value::as_array).filter(|records| !records.is_empty()).cloned();
            let whole_record = |record: &Value| {
                let column = |column: &Field| (column.name.clone(), whole(column, record.get(&column.name), pem));
                Value::Object(columns.iter().map(column).collect())
            };
            Value::Array(records.unwrap_or_else(|| vec![json!({})]).iter().map(whole_record).collect())
        }
    }
}

/// The other values of switches and enums, with the places where they go.
fn alternatives(field: &Field, pointer: &str) -> Vec<(String, Value)> {
    match &field.kind {
        Kind::One(Scalar::Boolean) => vec![(pointer.to_owned(), json!(false))],
        Kind::One(Scalar::Enum(words)) => words.iter().map(|word| (pointer.to_owned(), json!(word))).collect(),
        Kind::Table { columns, .. } => {
            columns.iter().flat_map(|column| alternatives(column, &format!("{pointer}/0/{}", column.name))).collect()
        }
        _ => Vec::new(),
    }
}

/// A guest with the accounts and units that the class speaks of.
fn guest(class: &Class) -> Tree {
    let mut names: BTreeSet<&str> = class.templates.iter().map(|template| template.owner.as_str()).collect();
    names.extend(class.templates.iter().map(|template| template.group.as_str()));
    names.remove("root");
    let (mut passwd, mut group) = ("root:x:0:0::/root:/bin/sh\n".to_owned(), "root:x:0:\n".to_owned());
    for (id, name) in (100..).zip(names) {
        passwd.push_str(&format!("{name}:x:{id}:{id}::/:/bin/sh\n"));
        group.push_str(&format!("{name}:x:{id}:\n"));
    }
    let mut guest = Tree::new()
        .with("/etc/passwd", &passwd)
        .with("/etc/group", &group)
        .with("/etc/fstab", "/dev/vda / ext4 defaults 0 1\n")
        .with("/usr/lib/systemd/systemd", "");
    let units = class.services.iter().chain(class.volumes.iter().flat_map(|volume| &volume.services));
    for unit in units.chain(class.templates.iter().flat_map(|template| template.reload.iter().chain(&template.restart)))
    {
        let path = format!("/usr/lib/systemd/system/{unit}");
        guest = guest.with(&path, "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n");
    }
    guest
}

impl Appliance {
    pub fn new(name: &str) -> Self {
        let built = build(&Source::Directory(catalog().join(name))).unwrap();
        let class = Class::parse(&built.json).unwrap();
        let pem = pem();
        let shown = skeleton::examples(&class);
        let fields =
            class.fields.iter().map(|field| (field.name.clone(), whole(field, shown["fields"].get(&field.name), &pem)));
        let fields: serde_json::Map<String, Value> = fields.collect();
        let outputs = class.terminals.iter().filter_map(|terminal| match &terminal.direction {
            Direction::Output { peers } => Some((&terminal.name, (*peers.start()).max(1))),
            Direction::Input { .. } => None,
        });
        let peer = |number| json!({ "name": format!("peer{number}"), "address": "192.0.2.1", "port": 80 });
        let terminals: BTreeMap<&String, Vec<Value>> =
            outputs.map(|(name, count)| (name, (0..count).map(peer).collect())).collect();
        let release = class.release.as_deref().unwrap_or("1");
        let base = json!({ "version": 1, "instance": { "id": "one", "serial": 1 }, "hostname": "a.example",
            "appliance": { "class": name, "version": release }, "fields": fields, "terminals": terminals });
        let other = |(pointer, value): (String, Value)| {
            let mut settings = base.clone();
            *settings.pointer_mut(&pointer).unwrap() = value;
            settings
        };
        let alternatives =
            class.fields.iter().flat_map(|field| alternatives(field, &format!("/fields/{}", field.name)));
        let mut variants = vec![base.clone()];
        variants.extend(alternatives.map(other));
        variants.dedup();
        let guest = guest(&class);
        let appliance = Appliance { name: name.to_owned(), class, pem, base, variants, guest };
        for settings in &appliance.variants {
            appliance.desired(settings).unwrap_or_else(|said| panic!("{name}: {said}\n{settings}"));
        }
        appliance
    }

    /// What the guest shall be by these settings, or what is said of them: by the guest, and in the same words by the desk.
    pub fn desired(&self, settings: &Value) -> Result<Desired, String> {
        let text = settings.to_string();
        let invalid = |error: handoff::Error| {
            assert_eq!(error.class(), handoff::Class::Invalid, "{error}");
            error.to_string()
        };
        let settings = Settings::check_text(text.as_bytes()).map_err(invalid)?;
        let (class, guest) = (&self.class, &self.guest);
        let made = class.resolve(&settings).and_then(|resolved| {
            let (previous, facts) = (&State::default(), &Facts::default());
            render(&Context { settings: &settings, class, resolved: &resolved, guest, previous, facts })
        });
        made.map_err(|error| {
            let said = invalid(error);
            // Only of what is refused: a verifier takes long without optimization, and `handoff check` tells of the others.
            assert_eq!(
                judged(class, &settings).unwrap_err().to_string(),
                said,
                "{}: the desk says otherwise",
                self.name
            );
            said
        })
    }

    /// The files that the templates make.
    pub fn files(&self, desired: &Desired) -> BTreeMap<String, String> {
        let targets = self.class.templates.iter().map(|template| &template.target);
        let made = targets.filter_map(|target| Some((target.to_string(), text_of(desired, target)?)));
        made.collect()
    }

    /// The settings in which the templates print most of what stands in this place. Every text of a field is printed in some.
    pub fn variant_that_prints(&self, subject: &Subject) -> &Value {
        let printed = |settings: &&Value| {
            let desired = self.desired(&subject.set_in(settings, &subject.good));
            let desired = desired.unwrap_or_else(|said| panic!("{}: {said}", self.name));
            let files = self.files(&desired);
            let literal: usize = files.values().map(|text| text.matches(&subject.good).count()).sum();
            if literal > 0 {
                return literal + 1;
            }
            // Or it is printed changed, such as the verifier of a password.
            let other = self.desired(&subject.set_in(settings, &format!("{}x", subject.good)));
            usize::from(other.is_ok_and(|other| self.files(&other) != files))
        };
        if subject.form == crate::Form::Other {
            return &self.base;
        }
        let best = self.variants.iter().rev().max_by_key(printed).unwrap();
        let is_field = subject.name.starts_with("fields.");
        assert!(!is_field || printed(&best) > 0, "{}: {} is printed by no template", self.name, subject.name);
        best
    }

    /// That the two differ in nothing but the literal: wherever the harmless text stands, it is quoted, and the hostile one
    /// stands there instead, quoted as well.
    pub fn assert_only_the_literal_differs(
        &self,
        subject: &Subject,
        hostile: &str,
        harmless: &Desired,
        desired: &Desired,
        what: &str,
    ) {
        let paths = |desired: &Desired| desired.entries().keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(harmless), paths(desired), "{what}");
        for (path, before) in harmless.entries() {
            let after = desired.entry(path).unwrap();
            assert_eq!((before.keeping, before.secret), (after.keeping, after.secret), "{what}: {path}");
            if let Some(template) = self.class.templates.iter().find(|template| template.target == *path) {
                let (before, after) = (text_of(harmless, path).unwrap(), text_of(desired, path).unwrap());
                let expected = exchanged(template.syntax, &before, &subject.good, hostile);
                let expected = expected.unwrap_or_else(|problem| panic!("{what}: {path} {problem}\n{before}"));
                let (expected, after) = (without_verifiers(&expected), without_verifiers(&after));
                let differing = expected.lines().zip(after.lines()).find(|(one, other)| one != other);
                assert!(expected == after, "{what}: {path} differs otherwise than by the literal: {differing:.300?}");
            } else if [FIELDS, SECRET_FIELDS].contains(&path.as_str()) {
                let (before, after) = (text_of(harmless, path).unwrap(), text_of(desired, path).unwrap());
                if subject.secret && path.as_str() == FIELDS {
                    assert_eq!(before, after, "{what}: {path}");
                    continue;
                }
                let mut expected: Value = serde_json::from_str(&before).unwrap();
                exchange_texts(&mut expected, &subject.good, hostile);
                assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), expected, "{what}: {path}");
            } else {
                assert!(before == after, "{what}: {path} depends on it");
            }
        }
    }
}

fn text_of(desired: &Desired, path: &GuestPath) -> Option<String> {
    match desired.entry(path)?.node.as_ref()? {
        Node::File(file) => Some(String::from_utf8(file.content.clone()).unwrap()),
        _ => None,
    }
}

/// How a text may be printed: as a literal, and in SQL as a name.
fn literals(syntax: Syntax, text: &str) -> [Option<String>; 2] {
    let values = minijinja::Value::from_pairs([("text", minijinja::Value::from(text))]);
    let template = templates::Template { name: "test", text: "{{ text | identifier }}", syntax: Syntax::Sql };
    let name = (syntax == Syntax::Sql).then(|| templates::render(&template, &values, MAX_RENDERED).ok()).flatten();
    [syntax.quote(text).ok(), name]
}

/// The file with the literals of one text exchanged for those of another one.
fn exchanged(syntax: Syntax, file: &str, from: &str, to: &str) -> Result<String, String> {
    let mut exchanged = file.to_owned();
    let mut left = file.to_owned();
    for (from, to) in literals(syntax, from).into_iter().zip(literals(syntax, to)) {
        let Some(from) = from.filter(|from| left.contains(from)) else { continue };
        let to = to.ok_or("holds a text that cannot be quoted for it")?;
        left = left.replace(&from, "");
        exchanged = exchanged.replace(&from, &to);
    }
    match left.contains(from) {
        true => Err("holds the text without quotes".to_owned()),
        false => Ok(exchanged),
    }
}

/// Verifiers of passwords depend on all of the password, the role and the instance. That they are right is what a login shows.
fn without_verifiers(file: &str) -> String {
    const BEGIN: &str = "SCRAM-SHA-256\\x24";
    let plain = |c: char| !(c.is_ascii_alphanumeric() || "+/=:\\".contains(c));
    let mut parts = file.split(BEGIN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(plain).expect("a verifier that does not end");
        assert!((100..200).contains(&end) && part[end..].starts_with('\''), "no verifier: {part:.200}");
        out.push_str(BEGIN);
        out.push_str(&part[end..]);
    }
    out
}

pub fn exchange_texts(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| exchange_texts(item, from, to)),
        Value::Object(entries) => entries.values_mut().for_each(|item| exchange_texts(item, from, to)),
        _ => {}
    }
}
