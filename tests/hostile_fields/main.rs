//! Hostile texts in every field of every class of the catalog: refused with the field's place, or quoted so that the file is the
//! one that a harmless text makes, with another literal in it; and what the programs themselves make of those that are taken.
//! That the quoters are right is proved in `tests/templates.rs`; here that no template and no pattern goes around them.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

#[path = "../proof/mod.rs"]
mod proof;

mod appliance;
mod programs;
mod subjects;

use appliance::Appliance;
use handoff::trust::Blob;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use subjects::{Form, Subject};

fn catalog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog")
}

/// The classes of the catalog, those of later too.
fn classes() -> Vec<String> {
    let directories = std::fs::read_dir(catalog()).unwrap().map(|entry| entry.unwrap().path());
    let with_class = directories.filter(|path| path.join("class.toml").is_file());
    let mut names: Vec<String> =
        with_class.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    names
}

/// What attackers, and people in a hurry, write.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "a\nb",
        "\n",
        "a\r\nb",
        "\r",
        "a\tb",
        "\t",
        "'",
        "\"",
        "`",
        "'\"`",
        "''",
        "it's",
        "\\",
        "a\\",
        "\\'",
        "\\n",
        "\\0",
        "\0",
        "a\0b",
        "{{ 7*7 }}",
        "{% raw %}",
        "{# x #}",
        "$(id)",
        "`id`",
        "${HOME}",
        "$http_host",
        "$$",
        "$1",
        ";",
        "; drop",
        "a; }",
        "'; DROP TABLE x; --",
        "\"; return 200; #",
        "}",
        "{",
        "#",
        " # x",
        "%[env(PATH)]",
        "%",
        "%h",
        "%%",
        " ",
        " a",
        "a ",
        "",
        "*/",
        "/* x",
        "?>",
        "<?php",
        "--",
        "-----BEGIN qz",
        "../..",
        "/../../etc/shadow",
        "//",
        ",",
        "=",
        "+",
        "@x",
        ":",
        "|",
        "&&",
        "~x",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{feff}",
        "\u{202e}",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{1}",
        "é🙂",
        "\u{ff10}",
        "İ",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend([120, 255, 256, 4096, 65_536].map(|count| "x".repeat(count)));
    texts.push("'\\\"".repeat(40));
    texts
}

/// The text by itself, on either side of one that the field takes, and within. `few`: where each of them takes long.
fn forms_of(text: &str, subject: &Subject, few: bool) -> Vec<String> {
    let good = &subject.good;
    let mut forms = vec![text.to_owned()];
    if subject.form == Form::Text {
        // A harmless one as well: what takes nothing hostile shall be quoted, too.
        forms.push(format!("{good}{good}"));
    }
    if text.len() < 4096 {
        forms.push(format!("{good}{text}"));
        if !few {
            forms.push(format!("{text}{good}"));
        }
        if !few && subject.form == Form::Text {
            forms.push(format!("{good}{text}{good}"));
        }
    }
    forms
}

/// A setting that a class took, and the files that it made of it.
struct Taken {
    subject: String,
    text: String,
    files: BTreeMap<String, String>,
    /// A harmless text in its stead, and the files that were made of that.
    marker: String,
    harmless: BTreeMap<String, String>,
}

/// What came of a class.
#[derive(Default)]
struct Report {
    texts: usize,
    refused: usize,
    taken: Vec<Taken>,
}

/// That an error says where, in one line, and no secret.
fn assert_tells(appliance: &Appliance, subject: &Subject, text: &str, said: &str) {
    let what = format!("{}: {} with {:.40?}: {said}", appliance.name, subject.name, text);
    let short = subject.name.strip_prefix("fields.").unwrap_or(&subject.name);
    assert!(said.starts_with(&subject.name) || said.contains(&format!("`{short}`")), "{what}");
    assert!(!said.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}')), "{what}");
    assert!(said.contains(": ") && said.contains("; ") && said.len() < 2000, "{what}");
    if subject.secret {
        let repeated = text.chars().count() >= 4 && said.contains(text);
        assert!(!repeated && !said.contains(subject.good.trim_end()), "{what}");
    }
}

/// Every text in one place of the settings.
fn sweep_one(appliance: &Appliance, subject: &Subject, report: &mut Report) {
    let variant = appliance.variant_that_prints(subject);
    let harmless = match subject.form {
        Form::Text => subject.set_in(variant, &subject.good),
        Form::Other => variant.clone(),
    };
    let harmless = appliance.desired(&harmless).expect(&subject.name);
    // A verifier is 4096 rounds, which without optimization are a tenth of a second.
    let few = subject.form == Form::Text && appliance.files(&harmless).values().any(|file| file.contains("SCRAM-SHA"));
    let mut tried = BTreeSet::new();
    for text in texts().iter().flat_map(|text| forms_of(text, subject, few)) {
        if text == subject.good || !tried.insert(text.clone()) {
            continue;
        }
        report.texts += 1;
        match appliance.desired(&subject.set_in(variant, &text)) {
            Err(said) => {
                assert_tells(appliance, subject, &text, &said);
                report.refused += 1;
            }
            Ok(desired) => {
                let what = format!("{}: {} = {text:.60?}", appliance.name, subject.name);
                assert!(subject.form == Form::Text, "{what} is taken");
                appliance.assert_only_the_literal_differs(subject, &text, &harmless, &desired, &what);
                report.taken.push(Taken {
                    subject: subject.name.clone(),
                    text,
                    marker: subject.good.clone(),
                    files: appliance.files(&desired),
                    harmless: appliance.files(&harmless),
                });
            }
        }
    }
    assert!(tried.len() > 100);
    if subject.form == Form::Other {
        return;
    }
    // A mebibyte is more than any field takes. The desk takes no such document at all.
    let huge = subject.set_in(variant, &"x".repeat(1 << 20));
    assert_tells(appliance, subject, "xxxxxxxx", &appliance.desired(&huge).unwrap_err());
    report.texts += 1;
    report.refused += 1;
}

/// Names that nobody declared are refused as well, whatever they are made of.
fn sweep_names(appliance: &Appliance, report: &mut Report) {
    for text in texts().into_iter().filter(|text| text.len() < 5000) {
        for section in ["fields", "terminals"] {
            let mut settings = appliance.base.clone();
            settings[section].as_object_mut().unwrap().insert(text.clone(), json!([]));
            let said = appliance.desired(&settings).expect_err(&text);
            assert!(said.starts_with(section) && !said.contains(char::is_control), "{section} {text:?}: {said}");
            report.texts += 1;
            report.refused += 1;
        }
    }
}

/// The program that operators run says the same as the guest, and takes no document of more than a mebibyte.
fn assert_the_desk_agrees(appliance: &Appliance, subjects: &[Subject]) {
    let scratch = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        for (letter, text) in [('a', "{{ x }}\n"), ('b', "'; \"")] {
            let settings = subject.set_in(&appliance.base, text);
            let file = format!("{number}{letter}.json");
            std::fs::write(scratch.path().join(&file), settings.to_string()).unwrap();
            wanted.push((file, appliance.desired(&settings).err()));
        }
    }
    let huge = "huge.json".to_owned();
    let subject = subjects.first().unwrap().set_in(&appliance.base, &"x".repeat(1 << 20));
    assert!(Blob::new("test", subject.to_string().into_bytes(), None).is_err());
    std::fs::write(scratch.path().join(&huge), subject.to_string()).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_handoff"));
    check.current_dir(scratch.path()).args(["check", "--class"]).arg(catalog().join(&appliance.name));
    let output = check.args(wanted.iter().map(|(file, _)| file)).arg(&huge).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let good = String::from_utf8(output.stdout).unwrap();
    for (file, error) in &wanted {
        match error {
            Some(error) => assert!(said.contains(&format!("handoff: {file}: {error}\n")), "{file}: {error}\n{said}"),
            None => assert!(good.contains(&format!("{file}: good: ")), "{file}\n{said}"),
        }
    }
    assert!(said.lines().last().unwrap().starts_with("handoff: huge.json: "), "{said:.3000}");
    assert_eq!(said.lines().count(), wanted.iter().filter(|(_, error)| error.is_some()).count() + 1);
    assert_eq!(output.status.code(), Some(12));
}

/// One class: how many of its parts take texts, and what became of them.
fn sweep(name: &str) -> (usize, Report) {
    let appliance = Appliance::new(name);
    let subjects = subjects::subjects(&appliance);
    let mut report = Report::default();
    for subject in &subjects {
        sweep_one(&appliance, subject, &mut report);
    }
    sweep_names(&appliance, &mut report);
    assert_the_desk_agrees(&appliance, &subjects);
    (subjects.len(), report)
}

#[test]
fn hostile_texts_are_refused_or_are_nothing_but_texts_in_every_field_of_the_catalog() {
    let (fields, texts, refused) = std::thread::scope(|scope| {
        let threads: Vec<_> = classes()
            .into_iter()
            .map(|name| {
                scope.spawn(move || {
                    let start = Instant::now();
                    let (fields, report) = sweep(&name);
                    let swept = start.elapsed();
                    let (checked, read) = programs::judge(&name, &report.taken);
                    println!(
                        "{name}: {fields} fields, {} texts: {} refused, {} quoted; {checked} configurations checked and \
                         {read} texts read back by the programs ({swept:.1?}, all {:.1?})",
                        report.texts,
                        report.refused,
                        report.taken.len(),
                        start.elapsed()
                    );
                    assert_eq!(report.texts, report.refused + report.taken.len());
                    (fields, report.texts, report.refused)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
    });
    println!("catalog: {fields} fields, {texts} texts: {refused} refused, {} quoted", texts - refused);
    assert!(refused > 1000 && texts - refused > 100);
}
