//! How long a large class takes: 200 fields and 20 templates, from the bytes of the class file to the desired tree.
//!
//! `cargo bench --bench class` prints the median and the worst of a hundred runs, and fails where the median is over its
//! limit.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use handoff::class::{CLASS_PATH, Class};
use handoff::commit::state::State;
use handoff::guest::{Facts, GuestPath, Tree, View};
use handoff::render::{Context, render};
use handoff::settings::Settings;
use std::time::{Duration, Instant};

/// The limit, on the machines that this is developed on.
const LIMIT: Duration = Duration::from_millis(20);
const FIELDS: usize = 200;
const TEMPLATES: usize = 20;
const RUNS: usize = 100;

/// A class with fields of every kind, each used by a template.
fn class() -> String {
    let kinds = [
        r#""type": "string", "pattern": "[a-z][a-z0-9 ']*", "default": "it's a text""#,
        r#""type": "integer", "min": 0, "max": 100000, "default": 42"#,
        r#""type": "boolean", "default": true"#,
        r#""type": "enum", "values": ["http", "tcp"], "default": "http""#,
        r#""type": "port", "default": 8080"#,
        r#""type": "address", "default": "10.0.0.1""#,
        r#""type": "url", "default": "https://www.example.net/path""#,
        r#""type": "duration", "default": "30s""#,
        r#""type": "list", "items": { "type": "network" }, "default": ["10.0.0.0/8", "192.168.0.0/16"]"#,
        r#""type": "table", "unique": "name", "default": [], "columns": { "name": { "type": "string", "help": "h" }, "port": { "type": "port", "help": "h" } }"#,
    ];
    let fields: Vec<String> =
        (0..FIELDS).map(|n| format!(r#""f{n}": {{ {}, "help": "field {n}" }}"#, kinds[n % kinds.len()])).collect();
    let templates: Vec<String> = (0..TEMPLATES)
        .map(|t| {
            let lines: String = (0..FIELDS / TEMPLATES)
                .map(|n| match (t * (FIELDS / TEMPLATES) + n, n % kinds.len()) {
                    (f, 8) => format!(r"{{% for n in f{f} %}}\nallow {{{{ n }}}}\n{{% endfor %}}\n"),
                    (f, 9) => {
                        format!(r"{{% for r in f{f} %}}\nserver {{{{ r.name }}}} {{{{ r.port }}}}\n{{% endfor %}}\n")
                    }
                    (f, 2) => format!(r"{{% if f{f} %}}\nswitch on\n{{% endif %}}\n"),
                    (f, _) => format!(r"key {{{{ f{f} }}}}\n"),
                })
                .collect();
            format!(r#"{{ "text": "{}", "target": "/etc/app/{t}.conf", "syntax": "haproxy" }}"#, lines.repeat(5))
        })
        .collect();
    format!(
        r#"{{ "version": 1, "class": "large", "fields": {{ {} }}, "templates": [ {} ] }}"#,
        fields.join(", "),
        templates.join(", ")
    )
}

/// Settings that give half of the fields.
fn settings() -> String {
    let given: Vec<String> = (0..FIELDS)
        .filter_map(|n| match n % 10 {
            0 => Some(format!(r#""f{n}": "given {n}""#)),
            1 => Some(format!(r#""f{n}": {n}"#)),
            4 => Some(format!(r#""f{n}": {}"#, 1000 + n)),
            5 => Some(format!(r#""f{n}": "10.1.0.{n}""#)),
            9 => Some(format!(r#""f{n}": [ {{ "name": "a", "port": 1 }}, {{ "name": "b", "port": 2 }} ]"#)),
            _ => None,
        })
        .collect();
    format!(r#"{{ "version": 1, "fields": {{ {} }} }}"#, given.join(", "))
}

fn main() {
    let (class, settings) = (class(), settings());
    let guest = Tree::new()
        .with(CLASS_PATH, &class)
        .with("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
        .with("/etc/group", "root:x:0:\n");
    let (state, facts) = (State::default(), Facts::default());
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let class = Class::load(&guest).unwrap();
            let settings = Settings::check_text(settings.as_bytes()).unwrap();
            let resolved = class.resolve(&settings).unwrap();
            let context = Context {
                settings: &settings,
                class: &class,
                resolved: &resolved,
                guest: &guest,
                previous: &state,
                facts: &facts,
            };
            let desired = render(&context).unwrap();
            let took = start.elapsed();
            // All of it was made: the templates and the fields.
            assert!(desired.entries().len() > TEMPLATES);
            assert!(desired.entry(&GuestPath::of("/etc/app/0.conf")).is_some());
            took
        })
        .collect();
    times.sort();
    assert!(guest.read(&GuestPath::of(CLASS_PATH)).unwrap().is_some());
    let (median, worst) = (times[RUNS / 2], times[RUNS - 1]);
    println!(
        "class: {FIELDS} fields, {TEMPLATES} templates, {} bytes: median {median:?}, worst {worst:?}",
        class.len()
    );
    assert!(median < LIMIT, "the median is over {LIMIT:?}");
}
