//! `handoff class schema` accepts the settings that `handoff check` accepts, and rejects what it rejects: over classes with fields
//! of every type and the classes of the catalog, with thousands of documents, a validator of JSON Schema as the judge.
//!
//! What a schema cannot say is in [`BEYOND`]: there, and nowhere else, the schema may accept what the program refuses.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use handoff::class::{Class, Kind};
use handoff::document::Node;
use handoff::operator::catalog::{Catalog, page, schema, skeleton};
use handoff::operator::{convert, toml};
use handoff::settings::Settings;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The words of the program's refusals that no schema can repeat. The same list is in docs/class.md.
const BEYOND: [&str; 5] =
    [" is not from ", "is too much", "is not base64", "is an address in a network", "holds the same"];

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\r\nAAAA\nAAA=\n-----END EC PRIVATE KEY-----";

/// Every scalar type, and the keys it is declared with.
fn scalars() -> Vec<Value> {
    vec![
        json!({"type": "string"}),
        json!({"type": "string", "min_length": 1, "max_length": 3}),
        json!({"type": "string", "pattern": "[a-z]+|x-[0-9]{2}"}),
        json!({"type": "string", "multiline": true, "max_length": 400}),
        json!({"type": "integer"}),
        json!({"type": "integer", "min": -1, "max": 80}),
        json!({"type": "decimal"}),
        json!({"type": "decimal", "min": 0.25, "max": 80}),
        json!({"type": "boolean"}),
        json!({"type": "enum", "values": ["http", "tcp", "TLSv1.2"]}),
        json!({"type": "port"}),
        json!({"type": "address"}),
        json!({"type": "address", "family": "ipv4"}),
        json!({"type": "address", "family": "ipv6"}),
        json!({"type": "network"}),
        json!({"type": "network", "family": "ipv4"}),
        json!({"type": "network", "family": "ipv6"}),
        json!({"type": "hostname"}),
        json!({"type": "mac"}),
        json!({"type": "url"}),
        json!({"type": "url", "schemes": ["git+ssh", "a.b"]}),
        json!({"type": "duration"}),
        json!({"type": "duration", "min": "1s", "max": "1h"}),
        json!({"type": "size"}),
        json!({"type": "size", "max": "1GiB"}),
        json!({"type": "pem"}),
        json!({"type": "pem", "label": "CERTIFICATE"}),
        json!({"type": "pem", "label": "PRIVATE KEY"}),
        json!({"type": "secret"}),
        json!({"type": "secret", "min_length": 4, "max_length": 8}),
    ]
}

/// Values of every type, right and nearly right, each of which is tried in every place.
fn palette() -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(-2),
        json!(80),
        json!(81),
        json!(65535),
        json!(65536),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.25),
        json!(0.2),
        json!(79.5),
        json!(80.5),
        json!(-0.5),
        json!(1e300),
        json!([]),
        json!({}),
        json!([1]),
        json!(["a"]),
        json!(["a", "a"]),
        json!([["a"]]),
        json!([{}]),
        json!({"a": 1}),
    ];
    let texts = [
        "",
        "a",
        "abc",
        "abcd",
        "ABC",
        "x-12",
        "x-1",
        "ax-12",
        "a b",
        "é",
        "ééé",
        "a\nb",
        "a\tb",
        "a\rb",
        "a\u{0}",
        "a\u{7f}",
        "a\u{85}",
        "\n",
        "abc\n",
        "\u{2028}",
        "http",
        "tcp",
        "TLSv1.2",
        "TLSv1x2",
        "udp",
        "true",
        "1",
        "80",
        "0.5",
        "10.0.0.1",
        "10.0.0.256",
        "10.0.0.01",
        "10.0.0",
        "1.2.3.4.5",
        "::",
        "::1",
        "2001:DB8::10",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "1::2::3",
        "::ffff:1.2.3.4",
        "1:2:3:4:5:6:1.2.3.4",
        "fe80::1%eth0",
        "12345::",
        "[::1]",
        ":::",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/08",
        "10.0.0.1/8",
        "10.0.0.1/32",
        "10.0.0.0/33",
        "10.0.0.0",
        "10.64.0.0/10",
        "10.65.0.0/10",
        "172.16.0.0/12",
        "192.168.1.128/25",
        "192.168.1.129/25",
        "192.168.1.254/31",
        "192.168.1.255/31",
        "::/0",
        "2001:db8::/32",
        "2001:db8::1/64",
        "2001:db8::/129",
        "::1/128",
        "a/8",
        "www.example.net",
        "www",
        "localhost",
        "local-host",
        "-a",
        "a-",
        "a..b",
        "a.",
        ".a",
        "a_b",
        "1.2.3",
        "123",
        "1a",
        "52:54:00:12:34:56",
        "52-54-00-AB-cd-00",
        "52:54-00:12:34:56",
        "53:54:00:12:34:56",
        "00:00:00:00:00:00",
        "52:54:00:12:34",
        "525400123456",
        "http://a",
        "http://a/",
        "https://www.example.net:8443/x?y=1&z=%20",
        "http://10.0.0.1/",
        "http://10.0.0.256/",
        "http://1.2.3/",
        "http://[2001:db8::1]:80/",
        "http://[10.0.0.1]/",
        "http://[::1",
        "http://[::1]x/",
        "http://[]/",
        "HTTP://a/",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:65535/",
        "http://a:65536/",
        "http://a:080/",
        "http://a:/",
        "http://u:p@a/",
        "http://u@a/",
        "http://a b/",
        "http://a/\"",
        "http://a/#f",
        "http://a?x",
        "http://a?x:y",
        "http://localhost/",
        "http://localhost:80",
        "http://a_b/",
        "http://-a/",
        "http://a/x://y",
        "git+ssh://a/x",
        "a.b://a",
        "aXb://a",
        "http//a",
        "://a",
        "http://a/é",
        "http://a-:80/",
        "0s",
        "5s",
        "30s",
        "1h",
        "61m",
        "500ms",
        "1h30m",
        "1d2h3m4s5ms",
        "1m1h",
        "1s1s",
        "05s",
        "5",
        "s",
        "1.5s",
        "-1s",
        "1 s",
        "1S",
        "9007199254740992ms",
        "9007199254740993ms",
        "99999999999999999s",
        "0B",
        "5B",
        "1KiB",
        "64MiB",
        "1GiB",
        "2GiB",
        "1TiB",
        "1kB",
        "1KB",
        "1MB",
        "1GB",
        "1TB",
        "1.5GiB",
        "64mib",
        "64M",
        "MiB",
        "007B",
        "64MiB ",
        "8PiB",
        PEM,
        KEY,
        "-----BEGIN A-----\nAAAA\n",
        "-----BEGIN A-----\n-----END A-----",
        "-----BEGIN A-----\n!\n-----END A-----",
        "-----BEGIN A-----\nAAA\n-----END A-----",
        "-----BEGIN A-----\nAAAA\n-----END B-----",
        "-----BEGIN A-----AAAA\n-----END A-----",
        "-----BEGIN A-----  \nAAAA\t\n\nAA==\n-----END A-----\n\n",
        "x\n-----BEGIN A-----\nAAAA\n-----END A-----",
        "\n\n-----BEGIN A-----\nAAAA\n-----END A-----",
        "-----BEGIN A-----\nAAAA\n-----END A-----x",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN XPRIVATE KEY-----\nAAAA\n-----END XPRIVATE KEY-----\n",
        "{{ x }}",
        "$(x)",
        "'; drop",
    ];
    all.extend(texts.iter().map(|text| json!(text)));
    let long = "a".repeat(63);
    all.push(json!(PEM.repeat(2)));
    all.push(json!(format!("{PEM}\n{}", KEY.replace('\r', ""))));
    all.push(json!(format!("{PEM}{}", PEM.replace("CERTIFICATE", "X509 CRL"))));
    all.extend([255, 256].map(|count| json!("é".repeat(count))));
    all.extend(
        [long.clone(), format!("{long}a"), format!("a.{long}"), format!("http://{long}/"), format!("http://{long}aa/")]
            .map(Value::from),
    );
    all.extend([2041, 2042].map(|count| json!(format!("http://a{}", "/".to_owned() + &"x".repeat(count - 2)))));
    all
}

/// A class with a field, a required field in a table, and a list of each type.
fn generated() -> Class {
    let mut fields = Map::new();
    let mut columns = Map::new();
    let with = |scalar: &Value, more: Value| {
        let mut all = scalar.as_object().unwrap().clone();
        all.insert("help".into(), json!("what it is"));
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    for (index, scalar) in scalars().iter().enumerate() {
        fields.insert(format!("f{index}"), with(scalar, json!({})));
        columns.insert(format!("c{index}"), with(scalar, json!({})));
        let unique = index % 2 == 0;
        let list =
            json!({"type": "list", "items": scalar, "min_items": 1, "max_items": 3, "unique": unique, "help": "some"});
        fields.insert(format!("l{index}"), list);
    }
    columns.insert("key".into(), json!({"type": "string", "required": true, "help": "key"}));
    columns.insert("tls".into(), json!({"type": "boolean", "default": true, "help": "whether"}));
    columns.insert(
        "cert".into(),
        json!({"type": "string", "required_if": {"field": "tls", "is": true}, "help": "needed"}),
    );
    columns.insert("many".into(), json!({"type": "list", "items": {"type": "port"}, "help": "some"}));
    fields.insert(
        "rows".into(),
        json!({"type": "table", "columns": columns, "min_items": 1, "max_items": 2, "unique": "key", "help": "rows"}),
    );
    fields.insert("mode".into(), json!({"type": "enum", "values": ["a", "b"], "help": "how"}));
    fields
        .insert("for_b".into(), json!({"type": "port", "required_if": {"field": "mode", "is": "b"}, "help": "for b"}));
    let class = json!({"version": 1, "class": "all", "release": "3", "fields": fields,
        "policy": {"sections": ["hostname", "fields", "terminals", "files"]},
        "terminals": {"in": {"direction": "input", "protocol": "x", "help": "in"},
                      "out": {"direction": "output", "protocol": "x", "help": "out", "max": 2},
                      "must": {"direction": "output", "protocol": "x", "help": "must", "min": 1}}});
    Class::parse(class.to_string().as_bytes()).unwrap()
}

/// A schema and the program, side by side.
struct Bench {
    class: Class,
    schema: Validator,
    judged: usize,
    accepted: usize,
    beyond: usize,
    disagreements: Vec<String>,
}

impl Bench {
    fn new(class: Class) -> Self {
        let schema = schema::schema(&class);
        assert!(jsonschema::meta::is_valid(&schema));
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        Bench { class, schema, judged: 0, accepted: 0, beyond: 0, disagreements: Vec::new() }
    }

    fn judge(&mut self, document: &Value) {
        let by_schema = self.schema.is_valid(document);
        let settings = Node::from_json(document.to_string().as_bytes()).and_then(|node| Settings::from_document(&node));
        let by_code = settings.and_then(|settings| self.class.resolve(&settings));
        self.judged += 1;
        self.accepted += usize::from(by_code.is_ok());
        match by_code {
            Ok(_) if by_schema => {}
            Err(_) if !by_schema => {}
            Err(error) if BEYOND.iter().any(|words| error.to_string().contains(words)) => self.beyond += 1,
            code => {
                let code = code.map_or_else(|error| error.to_string(), |_| "accepts it".into());
                let text: String = document.to_string().chars().take(400).collect();
                self.disagreements.push(format!("{text}\n  schema: {by_schema}, code: {code}"));
            }
        }
    }

    /// The document, with each value of the palette at the pointer.
    fn vary(&mut self, base: &Value, pointer: &str) {
        for value in palette() {
            let mut document = base.clone();
            *document.pointer_mut(pointer).unwrap() = value;
            self.judge(&document);
        }
    }

    fn done(&self, least: usize, good: usize) {
        let Bench { judged, accepted, beyond, disagreements, .. } = self;
        println!("{}: {judged} documents, {accepted} good, {beyond} beyond a schema", self.class.name);
        let shown: Vec<&str> = disagreements.iter().take(40).map(String::as_str).collect();
        assert!(disagreements.is_empty(), "{} disagreements:\n{}", disagreements.len(), shown.join("\n"));
        assert!(*judged >= least && *accepted >= good, "too few documents: {judged}, {accepted} good");
        assert!(beyond * 20 < *judged, "{beyond} of {judged} are beyond the schema");
    }
}

fn base() -> Value {
    json!({"version": 1, "terminals": {"must": [{"name": "a", "address": "10.0.0.1", "port": 1}]}, "fields": {}})
}

#[test]
fn schema_and_program_agree_on_fields_of_every_type() {
    let mut bench = Bench::new(generated());
    for index in 0..scalars().len() {
        let mut one = base();
        one["fields"] = json!({ format!("f{index}"): 0 });
        bench.vary(&one, &format!("/fields/f{index}"));
        one["fields"] = json!({ format!("l{index}"): [0] });
        bench.vary(&one, &format!("/fields/l{index}"));
        bench.vary(&one, &format!("/fields/l{index}/0"));
        one["fields"] = json!({ "rows": [{"key": "k", "cert": "c", format!("c{index}"): 0}] });
        bench.vary(&one, &format!("/fields/rows/0/c{index}"));
    }
    bench.done(20_000, 1_500);
}

#[test]
fn schema_and_program_agree_on_what_must_be_there_and_how_often() {
    let mut bench = Bench::new(generated());
    let row = json!({"key": "k", "cert": "c"});
    let fields = [
        json!({}),
        json!({"mode": "a"}),
        json!({"mode": "b"}),
        json!({"mode": "b", "for_b": 1}),
        json!({"for_b": 1}),
        json!({"none": 1}),
        json!({"rows": []}),
        json!({"rows": [row]}),
        json!({"rows": [row, {"key": "l", "cert": "c"}]}),
        json!({"rows": [row, row]}),
        json!({"rows": [row, row, row]}),
        json!({"rows": [{"key": "k"}]}),
        json!({"rows": [{"cert": "k"}]}),
        json!({"rows": [{"key": "k", "tls": false}]}),
        json!({"rows": [{"key": "k", "tls": true}]}),
        json!({"rows": [{"key": "k", "tls": true, "cert": "x"}]}),
        json!({"rows": [{"key": "k", "cert": "c", "many": [1, 1]}]}),
        json!({"rows": [{"key": "k", "cert": "c", "many": [0]}]}),
        json!({"rows": [{"key": "k", "cert": "c", "other": 1}]}),
        json!({"rows": row}),
        json!({"rows": [[row]]}),
        json!({"l4": [1, 2, 3]}),
        json!({"l4": [1, 2, 3, 4]}),
        json!({"l4": [1, 1]}),
        json!({"l5": [1, 1]}),
    ];
    for fields in fields {
        let mut one = base();
        one["fields"] = fields;
        bench.judge(&one);
    }
    let peer = |name: &str| json!({"name": name, "address": "10.0.0.1", "port": 1});
    let terminals = [
        json!({}),
        json!({"must": []}),
        json!({"must": [peer("a")]}),
        json!({"must": [peer("a")], "in": []}),
        json!({"must": [peer("a")], "out": []}),
        json!({"must": [peer("a")], "out": [peer("a"), peer("b")]}),
        json!({"must": [peer("a")], "out": [peer("a"), peer("b"), peer("c")]}),
        json!({"must": [peer("a")], "none": []}),
        json!({"must": [{"name": "a"}]}),
        json!({"must": [peer("a.b")]}),
        json!({"out": [peer("a")]}),
    ];
    for terminals in terminals {
        let mut one = base();
        one["terminals"] = terminals;
        bench.judge(&one);
    }
    for (key, value) in [
        ("appliance", json!({"class": "all"})),
        ("appliance", json!({"class": "al"})),
        ("appliance", json!({"class": "all", "version": "3"})),
        ("appliance", json!({"class": "all", "version": "4"})),
        ("hostname", json!("a")),
        ("hostname", json!(1)),
        ("users", json!([])),
        ("users", json!([{"name": "a"}])),
        ("timezone", json!("Etc/UTC")),
        ("locale", json!("C.UTF-8")),
        ("network", json!({})),
        ("network", json!({"interfaces": []})),
        ("hosts", json!([])),
        ("services", json!([{"name": "x"}])),
        ("groups", json!([{"name": "x"}])),
        ("files", json!([{"path": "/etc/x", "content": ""}])),
        ("files", json!([])),
        ("other", json!(1)),
        ("instance", json!({"id": "a", "serial": 1})),
    ] {
        let mut one = base();
        one[key] = value;
        bench.judge(&one);
    }
    bench.judge(&json!({"version": 1}));
    bench.judge(&json!({"version": 1, "terminals": {}}));
    bench.judge(&json!({"version": 2}));
    bench.done(55, 20);
}

#[test]
fn schema_and_program_agree_on_the_classes_of_the_catalog() {
    let catalog = Catalog::Directory(Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog"));
    let names = catalog.names().unwrap();
    assert!(names.len() >= 3);
    for name in names {
        let class = catalog.class(&name).unwrap().class;
        let new = convert::to_json(&toml::parse(&skeleton::settings(&class)).unwrap());
        let new: Value = serde_json::from_slice(&new).unwrap();
        let mut bench = Bench::new(class.clone());
        bench.judge(&new);
        assert_eq!(bench.accepted, 1, "{name}: {new}");
        for field in &class.fields {
            let mut one = new.clone();
            one["fields"][&field.name] = json!(0);
            bench.vary(&one, &format!("/fields/{}", field.name));
            let example = field.example.as_ref().or(field.default_written.as_ref());
            let (Kind::Table { columns, .. }, Some(example)) = (&field.kind, example) else { continue };
            let example: Value = serde_json::from_slice(&convert::to_json(example)).unwrap();
            for column in columns {
                one["fields"][&field.name] = example.clone();
                one["fields"][&field.name][0][&column.name] = json!(0);
                bench.vary(&one, &format!("/fields/{}/0/{}", field.name, column.name));
            }
        }
        bench.done(3_000, 150);
    }
}

#[test]
fn the_pages_of_the_catalog_are_what_class_doc_prints() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let catalog = Catalog::Directory(directory.clone());
    for name in catalog.names().unwrap() {
        let path = directory.join(&name).join("README.md");
        let made = page::markdown(&catalog.class(&name).unwrap().class);
        if std::env::var_os("HANDOFF_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == made, "{} is old; HANDOFF_UPDATE_GOLDEN=1 writes it anew", path.display());
    }
}

#[test]
fn a_schema_describes_what_editors_show() {
    let schema = schema::schema(&generated());
    for (name, field) in schema["properties"]["fields"]["properties"].as_object().unwrap() {
        assert!(field["description"].is_string(), "{name}");
    }
    assert_eq!(
        schema["properties"]["fields"]["properties"]["rows"]["items"]["properties"]["tls"]["default"],
        json!(true)
    );
    assert!(schema["description"].as_str().unwrap().contains("handoff check"));
}
