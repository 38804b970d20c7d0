//! For each type of field: values that pass and values that fail, with the message that an operator sees, the same on the desk
//! and in the guest. The messages are in tests/field_types/messages.txt; `HANDOFF_UPDATE_GOLDEN=1` writes them anew.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const CLASS: &str = include_str!("field_types/class.toml");
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A field, values that it takes and values that it does not.
type Case = (&'static str, [Value; 3], [Value; 5]);

fn cases() -> Vec<Case> {
    vec![
        (
            "a_string",
            [json!("ab"), json!("web-1"), json!("abcdefghijkl")],
            [json!("a"), json!("abcdefghijklm"), json!("Web"), json!("a\nb"), json!(7)],
        ),
        ("an_integer", [json!(-5), json!(0), json!(100)], [json!(-6), json!(101), json!(1.5), json!("7"), json!([7])]),
        (
            "a_decimal",
            [json!(0.25), json!(3), json!(7.75)],
            [json!(0.2), json!(8.5), json!(-1), json!("0.5"), json!(true)],
        ),
        (
            "a_boolean",
            [json!(true), json!(false), json!(true)],
            [json!("true"), json!("yes"), json!(1), json!(0), json!([])],
        ),
        (
            "an_enum",
            [json!("http"), json!("tcp"), json!("off")],
            [json!("udp"), json!("HTTP"), json!(""), json!(false), json!(["http"])],
        ),
        ("a_port", [json!(1), json!(443), json!(65535)], [json!(0), json!(65536), json!(-1), json!("80"), json!(80.5)]),
        (
            "an_address",
            [json!("10.0.0.1"), json!("2001:db8::1"), json!("::")],
            [json!("10.0.0.256"), json!("10.0.0.0/8"), json!("www"), json!("fe80::1%eth0"), json!(10)],
        ),
        (
            "a_network",
            [json!("10.0.0.0/8"), json!("0.0.0.0/0"), json!("192.0.2.7/32")],
            [json!("10.0.0.1/8"), json!("2001:db8::/32"), json!("10.0.0.0"), json!("10.0.0.0/33"), json!({})],
        ),
        (
            "a_hostname",
            [json!("web1"), json!("www.example.net"), json!("a-1.b")],
            [json!("-web"), json!("web_1"), json!("localhost"), json!("10.0.0.1"), json!("a".repeat(64))],
        ),
        (
            "a_mac",
            [json!("52:54:00:12:34:56"), json!("52-54-00-AB-CD-EF"), json!("02:00:00:00:00:01")],
            [
                json!("52:54:00:12:34"),
                json!("53:54:00:12:34:56"),
                json!("525400123456"),
                json!("52:54:00:12:34:5g"),
                json!(5),
            ],
        ),
        (
            "a_url",
            [json!("https://a"), json!("https://www.example.net:8443/x?y=1"), json!("https://[2001:db8::1]/")],
            [
                json!("http://a/"),
                json!("www.example.net"),
                json!("https://user@a/"),
                json!("https://a:0/"),
                json!("https://a/b c"),
            ],
        ),
        (
            "a_duration",
            [json!("1s"), json!("1m30s"), json!("1h")],
            [json!("500ms"), json!("61m"), json!("30"), json!("5 s"), json!(30)],
        ),
        (
            "a_size",
            [json!("1KiB"), json!("64MiB"), json!("1GB")],
            [json!("1B"), json!("2GiB"), json!("64"), json!("64M"), json!(64)],
        ),
        (
            "a_pem",
            [json!(PEM), json!(PEM.repeat(2)), json!(PEM.replace('\n', "\n\n"))],
            [
                json!("AAAA"),
                json!(""),
                json!(PEM.replace("CERTIFICATE", "PRIVATE KEY")),
                json!("-----BEGIN CERTIFICATE-----\nAAAA\n"),
                json!(PEM.replace("AAAA", "A*A")),
            ],
        ),
        (
            "a_secret",
            [json!("correct horse"), json!("{{ $(x) }}"), json!("12345678")],
            [json!("sh0rt"), json!("s".repeat(33)), json!("tw0\nlines"), json!(12345678), json!(["hidden-word"])],
        ),
        (
            "a_list",
            [json!(["10.0.0.1"]), json!(["10.0.0.1", "10.0.0.2"]), json!(["0.0.0.0", "1.1.1.1", "2.2.2.2"])],
            [
                json!([]),
                json!(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]),
                json!(["10.0.0.1", "10.0.0.1"]),
                json!(["10.0.0.1", "::1"]),
                json!("10.0.0.1"),
            ],
        ),
        (
            "a_table",
            [
                json!([]),
                json!([{"name": "a"}, {"name": "b", "port": 81}]),
                json!([{"name": "a", "tls": true, "token": "to ken"}]),
            ],
            [
                json!([{"port": 80}]),
                json!([{"name": "a"}, {"name": "a"}]),
                json!([{"name": "a", "prt": 80}]),
                json!([{"name": "a", "tls": true}]),
                json!([{"name": "a", "token": "hid"}]),
            ],
        ),
    ]
}

/// What a program says and ends with: its message from the name of the field on.
fn said(program: &str, arguments: &[&str], place: &Path) -> (i32, String) {
    let output = Command::new(program).args(arguments).current_dir(place).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(": fields")).collect();
    let message = match lines.as_slice() {
        [] => String::new(),
        [line] => line[line.find(": fields").unwrap() + 2..].to_owned(),
        several => panic!("{several:?}"),
    };
    let code = output.status.code().unwrap();
    assert!((code == 0) == message.is_empty(), "{program} {arguments:?}: {code}\n{text}");
    (code, message)
}

#[test]
fn desk_and_guest_judge_each_type_alike_and_in_the_same_words() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path();
    fs::create_dir_all(place.join("class")).unwrap();
    fs::write(place.join("class/class.toml"), CLASS).unwrap();
    for directory in ["usr/lib/handoff", "etc", "run", "var/lib"] {
        fs::create_dir_all(place.join("root").join(directory)).unwrap();
    }
    let built = Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(["class", "build", "class", "-o", "root/usr/lib/handoff/class.json"])
        .current_dir(place)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let judge = |field: &str, value: &Value| {
        let settings = json!({"version": 1, "appliance": {"class": "types"}, "fields": {field: value}});
        fs::write(place.join("settings.json"), settings.to_string()).unwrap();
        let desk = said(env!("CARGO_BIN_EXE_handoff"), &["check", "--class", "class", "settings.json"], place);
        let source = format!("file:{}", place.join("settings.json").display());
        let guest = ["--root", "root", "--source", &source, "apply"];
        let guest = said(env!("CARGO_BIN_EXE_handoff-agent"), &guest, place);
        assert_eq!(desk, guest, "{field} = {value}");
        desk
    };
    let mut told = String::new();
    let cases = cases();
    assert_eq!(cases.len(), 17);
    for (field, good, wrong) in &cases {
        told.push_str(&format!("{field}\n"));
        for value in good {
            assert_eq!(judge(field, value), (0, String::new()), "{field} = {value}");
            told.push_str(&format!("  takes {value}\n"));
        }
        for value in wrong {
            let (code, message) = judge(field, value);
            assert_eq!(code, 12, "{field} = {value}");
            assert!(message.starts_with(&format!("fields.{field}")) && message.contains("; "), "{message}");
            told.push_str(&format!("  refuses {value}\n    {message}\n"));
        }
    }
    // What is secret is in no message.
    let messages = told.lines().filter(|line| line.starts_with("    "));
    let leaks =
        |line: &str| ["sh0rt", "tw0", "12345678", "hidden-word", "hid;", "`hid"].iter().any(|text| line.contains(text));
    assert!(messages.clone().all(|line| !leaks(line)), "{told}");

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field_types/messages.txt");
    if std::env::var_os("HANDOFF_UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &told).unwrap();
    }
    let wanted = fs::read_to_string(&golden).unwrap_or_default();
    for (said, wanted) in told.lines().zip(wanted.lines()) {
        assert_eq!(said, wanted, "HANDOFF_UPDATE_GOLDEN=1 writes the messages anew");
    }
    assert_eq!(told.lines().count(), wanted.lines().count());
}
