//! Secrets of an appliance's fields, looked for by their letters in everything that anybody but root could see: what the agent
//! prints, what it remembers, and each file of the guest that others may read.

#![cfg(feature = "operator")]
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use proof::{Guest, Run, agent, has, is_root, run};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const CLASS: &str = r#"{ "version": 1, "class": "haproxy",
  "fields": {
    "mode": { "type": "enum", "values": ["http", "tcp"], "default": "http", "help": "How connections are balanced" },
    "password": { "type": "secret", "help": "Who may see the statistics" },
    "key": { "type": "pem", "secret": true, "help": "The private key" },
    "note": { "type": "string", "secret": true, "help": "A text that is secret" },
    "tokens": { "type": "list", "items": { "type": "secret" }, "default": [], "help": "Secrets, several" },
    "users": { "type": "table", "default": [], "help": "Who may log in", "columns": {
      "name": { "type": "string", "required": true, "help": "Who" },
      "password": { "type": "secret", "help": "With what" } } } },
  "templates": [
    { "text": "mode {{ mode }}\nuser {{ password }}\n{{ note }}\n{% for user in users %}\nlogin {{ user.name }} {{ user.password }}\n{% endfor %}\n",
      "target": "/etc/haproxy/haproxy.cfg", "syntax": "haproxy", "mode": "0640" },
    { "text": "{{ key }}", "target": "/etc/haproxy/key.pem", "syntax": "plain", "mode": "0600" } ] }"#;

/// Five secrets, each with letters that nothing else here has.
const SECRETS: [&str; 5] = ["Zq1-password", "Zq2Zq2Zq2Zq2", "Zq3-note", "Zq4-token", "Zq5-login"];

fn settings(serial: u32, mode: &str, change: &str) -> String {
    let pem = format!("-----BEGIN PRIVATE KEY-----\\nZq2Zq2Zq2Zq2{change}\\n-----END PRIVATE KEY-----\\n");
    format!(
        r#"{{ "version": 1, "instance": {{ "id": "lb", "serial": {serial} }}, "fields": {{ "mode": "{mode}",
        "password": "Zq1-password{change}", "key": "{pem}", "note": "Zq3-note{change}", "tokens": ["Zq4-token{change}"],
        "users": [ {{ "name": "ada", "password": "Zq5-login{change}" }} ] }} }}"#
    )
}

/// Whether it holds random letters, which are any two letters now and then: the host keys, which no secret is near.
fn is_random(path: &str) -> bool {
    path.starts_with("/etc/ssh/")
}

fn assert_silent(run: &Run, what: &str) {
    for secret in SECRETS.iter().chain(&["Zq"]) {
        assert!(
            !run.out.contains(secret) && !run.err.contains(secret),
            "{what} tells `{secret}`:\n{}{}",
            run.out,
            run.err
        );
    }
}

#[test]
fn a_secret_is_nowhere_but_where_root_looks_for_it() {
    let guest = Guest::debian();
    guest.write("/usr/lib/handoff/class.json", CLASS.as_bytes(), 0o644);
    for (serial, mode, change) in [(1, "http", ""), (2, "tcp", "AAAA")] {
        let source = guest.offer(&settings(serial, mode, change));
        for arguments in [vec!["plan"], vec!["plan", "--diff"], vec!["apply"], vec!["apply"], vec!["plan", "--diff"]] {
            let line = [&arguments[..], &["--source", &source]].concat();
            assert_silent(&guest.run(&line).succeeded(), &line.join(" "));
        }
    }
    for arguments in [
        vec!["status"],
        vec!["status", "--json"],
        vec!["plan", "--diff", "--against", "1"],
        vec!["rollback"],
        vec!["status", "--json"],
        vec!["log"],
        vec!["log", "2"],
        vec!["log", "--json"],
    ] {
        assert_silent(&guest.run(&arguments).succeeded(), arguments[0]);
    }
    assert!(guest.read("/etc/haproxy/haproxy.cfg").contains("'Zq1-password'"), "the secret is where it belongs");

    // The memory of the agent, and each file that somebody else than root may read.
    for (path, thing) in guest.picture() {
        let text = String::from_utf8_lossy(&thing.content).into_owned();
        let told = text.contains("Zq") && !is_random(&path);
        let memory = path.starts_with("/var/lib/handoff/");
        let whole = path.ends_with("/settings.json") || path.starts_with("/var/lib/handoff/objects/");
        assert!(!told || !memory || whole, "{path} remembers a secret");
        let others = thing.mode & 0o077 & if path == "/etc/haproxy/haproxy.cfg" { 0o007 } else { 0o077 };
        assert!(!told || others == 0, "{path} ({:04o}) can be read by others and holds a secret", thing.mode);
    }
}

#[test]
fn an_error_about_a_secret_does_not_tell_it() {
    let guest = Guest::debian();
    guest.write("/usr/lib/handoff/class.json", CLASS.as_bytes(), 0o644);
    let before = guest.picture();
    let long = "Zq".repeat(200);
    for fields in [
        format!(r#""password": "{long}""#),
        r#""password": ["Zq"]"#.to_owned(),
        r#""password": { "Zq": "Zq" }"#.to_owned(),
        r#""key": "Zq""#.to_owned(),
        r#""note": "Zq\nZq""#.to_owned(),
        r#""note": "Zq\u0007""#.to_owned(),
        format!(r#""users": [ {{ "name": "ada", "password": "{long}" }} ]"#),
        r#""tokens": ["Zq", "Zq\n"]"#.to_owned(),
        // What haproxy's syntax cannot carry.
        r#""note": """#.to_owned(),
    ] {
        let refused = guest.apply(&format!(r#"{{ "version": 1, "fields": {{ {fields} }} }}"#)).refused(12, &[]);
        assert_silent(&refused, &fields);
    }
    proof::assert_untouched(&before, &guest.picture(), "settings that were refused");
}

#[test]
fn get_gives_secrets_to_root_alone() {
    let guest = Guest::debian();
    guest.write("/usr/lib/handoff/class.json", CLASS.as_bytes(), 0o644);
    guest.apply(&settings(1, "http", "")).succeeded();
    let get = |field: &str| guest.run(&["get", field]).succeeded().out;
    assert_eq!(get("mode"), "http\n");
    assert_eq!(get("password"), "Zq1-password\n");
    assert!(get("users").contains("Zq5-login"));
    assert_silent(&guest.run(&["get"]).succeeded(), "get");
    guest.run(&["get", "prot"]).refused(2, &["prot: is no field of the class haproxy", "mode, password"]);

    if !is_root() || !has("setpriv", "get_gives_secrets_to_root_alone") {
        return;
    }
    // Somebody else: the program lies where everybody can reach it.
    fs::set_permissions(guest.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    let program = guest.beside("agent");
    fs::copy(agent(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = |field: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
        run(command.arg("--root").arg(guest.root()).args(["get", field]))
    };
    assert_eq!(nobody("mode").succeeded().out, "http\n");
    for field in ["password", "key", "note", "tokens"] {
        let refused = nobody(field).refused(2, &[field, "is secret; ask as root"]);
        assert_silent(&refused, field);
    }
    let users = nobody("users").succeeded();
    assert_silent(&users, "get users");
    assert!(users.out.contains("\"ada\""), "{}", users.out);
}

/// Killed at each renaming of a commit, the journal that is left holds no secret, and staged files are as closed as what they
/// become.
#[test]
fn what_a_killed_agent_leaves_does_not_tell_secrets() {
    if !has("strace", "what_a_killed_agent_leaves_does_not_tell_secrets") {
        return;
    }
    let (mut journals, mut staged) = (0, 0);
    for number in 1..=12 {
        let guest = Guest::debian_in_memory();
        guest.write("/usr/lib/handoff/class.json", CLASS.as_bytes(), 0o644);
        let source = guest.offer(&settings(1, "http", ""));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2"]);
        strace.args(["-e", &format!("inject=rename,renameat,renameat2:signal=KILL:when={number}")]);
        let killed = run(strace.arg(agent()).arg("--root").arg(guest.root()).args(["--source", &source, "apply"]));
        assert_silent(&killed, "a run that was killed");
        for (path, thing) in guest.picture() {
            let told = String::from_utf8_lossy(&thing.content).contains("Zq") && !is_random(&path);
            if path.ends_with("/journal.json") {
                journals += 1;
                assert!(!told, "the journal tells a secret");
            }
            if told && path != "/etc/haproxy/haproxy.cfg" && !path.starts_with("/etc/haproxy/") {
                assert_eq!(thing.mode & 0o077, 0, "{path} can be read by others and holds a secret");
            }
            if told && path.starts_with("/etc/haproxy/") {
                staged += 1;
                assert_eq!(thing.mode & 0o007, 0, "{path} can be read by everybody and holds a secret");
            }
        }
    }
    assert!(journals > 3 && staged > 3, "{journals} journals, {staged} files were looked at");
}
