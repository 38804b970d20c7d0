//! The operator's tool as an operator meets it: texts, exit codes, files, and OpenSSH on the other side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use snapbox::cmd::Command;
use snapbox::{IntoData as _, str};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

const JSON: &str = include_str!("operator/settings.json");
const TOML: &str = include_str!("operator/settings.toml");
const YAML: &str = include_str!("operator/settings.yaml");

/// The class of these settings.
const EDGE: &str = r#"version = 1
class = "edge"
release = "1"
summary = "Takes requests"
[fields.port]
type = "port"
required = true
help = "Where"
example = 8080
[fields.pin]
type = "secret"
min_length = 4
help = "Who may"
"#;

/// A desk: a directory with settings in each notation, where the tool and OpenSSH are run.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.write("lb.json", JSON);
        desk.write("lb.toml", TOML);
        desk.write("lb.yaml", YAML);
        fs::create_dir_all(desk.path("catalog/edge")).unwrap();
        desk.write("catalog/edge/class.toml", EDGE);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Command {
        Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("HANDOFF_CATALOG")
            .env("LC_ALL", "C")
            .timeout(std::time::Duration::from_secs(60))
    }

    fn handoff(&self, arguments: &[&str]) -> Command {
        self.run(env!("CARGO_BIN_EXE_handoff"), arguments)
    }

    fn done(&self, arguments: &[&str]) {
        self.handoff(arguments).assert().success().stderr_eq(str![""]);
    }

    /// A new key `name` of the owner `ops`, with the line `trusted-keys` for it.
    fn key(&self, name: &str, passphrase: &str) {
        let options = ["-q", "-t", "ed25519", "-C", "ops", "-N", passphrase, "-f", name];
        self.run("ssh-keygen", &options).assert().success();
        let line = self.handoff(&["trust", &format!("{name}.pub")]).assert().success();
        self.write("trusted-keys", &line.get_output().stdout);
    }

    /// `ssh-keygen -Y verify` over `file` with its signature beside it.
    fn openssh_accepts(&self, file: &str) {
        let signature = format!("{file}.sig");
        let arguments = ["-Y", "verify", "-f", "trusted-keys", "-I", "ops", "-n", "handoff-settings", "-s", &signature];
        self.run("ssh-keygen", &arguments).stdin(self.read(file).into_data()).assert().success();
    }
}

#[test]
fn good_settings_are_called_good_in_each_notation() {
    let desk = Desk::new();
    desk.handoff(&["check", "lb.json", "lb.toml", "lb.yaml"]).assert().success().stderr_eq(str![""]).stdout_eq(str![[r#"
lb.json: good: instance lb-eu-1 serial 7, appliance edge 1, hostname lb-eu-1.example.net, 1 interface, 1 hosts line, 1 user, 1 service, 2 files, 1 field
lb.toml: good: instance lb-eu-1 serial 7, appliance edge 1, hostname lb-eu-1.example.net, 1 interface, 1 hosts line, 1 user, 1 service, 2 files, 1 field
lb.yaml: good: instance lb-eu-1 serial 7, appliance edge 1, hostname lb-eu-1.example.net, 1 interface, 1 hosts line, 1 user, 1 service, 2 files, 1 field

"#]]);
    let stdin = desk.handoff(&["check", "-", "--format", "yaml"]).stdin(YAML);
    stdin.assert().success().stdout_eq(str![[r#"
standard input: good: [..]

"#]]);
}

#[test]
fn settings_are_held_against_their_class_by_every_command() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.write("bad.json", JSON.replace("8080", "80800"));
    let refused = "handoff: bad.json: fields.port (line [..], column [..]): 80800 is not a whole number from 1 to 65535; write a whole number from 1 to 65535\n";
    for line in ["check bad.json", "sign bad.json -k key", "pack bad.json -k key -o x.img", "try bad.json"] {
        let arguments: Vec<&str> = line.split(' ').collect();
        desk.handoff(&arguments).assert().code(12).stderr_eq(refused);
    }
    assert!(!desk.path("bad.json.sig").exists() && !desk.path("x.img").exists());
    // What is secret is known from the class, and not by its name.
    desk.write("pin.json", JSON.replace("\"port\": 8080", "\"port\": 8080, \"pin\": \"hidden-pin\""));
    let shown = desk.handoff(&["inspect", "pin.json", "--show"]).assert().success();
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    assert!(shown.contains("\"pin\": \"<secret>\"") && !shown.contains("hidden-pin"), "{shown}");
    desk.handoff(&["inspect", "bad.json"]).assert().code(12);
    // The release that is asked for is not the one that there is.
    desk.write("new.json", JSON.replace("\"version\": \"1\"", "\"version\": \"2\""));
    desk.handoff(&["check", "new.json"]).assert().code(12).stderr_eq(str![[r#"
handoff: new.json: appliance.version: is `2`, and the class `edge` here has release `1`; write settings for this release, or use the other one

"#]]);
}

#[test]
fn what_a_template_cannot_carry_is_refused_on_the_desk() {
    let desk = Desk::new();
    let template = "[[templates]]\nsource = \"edge.conf.j2\"\ntarget = \"/etc/edge.conf\"\nsyntax = \"nginx\"\n[[services]]\nname = \"edge.service\"\n";
    desk.write("catalog/edge/class.toml", format!("{EDGE}{template}"));
    desk.write("catalog/edge/edge.conf.j2", "{% if pin %}pin {{ pin }};{% endif %}\n");
    desk.done(&["check", "lb.json"]);
    desk.write("bad.json", JSON.replace("\"port\": 8080", "\"port\": 8080, \"pin\": \"$uri-pin\""));
    let refused = desk.handoff(&["check", "bad.json"]).assert().code(12);
    let text = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(text.starts_with("handoff: bad.json: template of /etc/edge.conf (line 1): the value of `pin`"), "{text}");
    assert!(!text.contains("$uri-pin"), "{text}");
    desk.write(
        "off.json",
        JSON.replace("\"name\": \"haproxy\"", "\"name\": \"edge\"").replace("\"enabled\": true", "\"enabled\": false"),
    );
    let refused = desk.handoff(&["check", "off.json"]).assert().code(12);
    let text = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(text.contains("services[0]: takes away `edge.service`"), "{text}");
}

#[test]
fn the_examples_of_the_catalog_are_good() {
    let desk = Desk::new();
    let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog");
    for entry in fs::read_dir(format!("{catalog}/examples/shop")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            desk.done(&["check", path.to_str().unwrap(), "--catalog", catalog]);
        }
    }
}

#[test]
fn settings_without_a_class_at_hand_are_not_called_judged() {
    let desk = Desk::new();
    fs::remove_dir_all(desk.path("catalog")).unwrap();
    desk.handoff(&["check", "lb.json"]).assert().success().stdout_eq(str![[r#"
lb.json: good: [..] 1 field (fields and terminals not judged)

"#]]).stderr_eq(str![[r#"
handoff: lb.json: note: the class `edge` is not in the built-in catalog, so fields and terminals were not judged; name the class with --class

"#]]);
    desk.write("none.toml", "version = 1\n[fields]\nport = 1\n");
    desk.handoff(&["check", "none.toml"]).assert().success().stderr_eq(str![[r#"
handoff: none.toml: note: no `appliance.class` is given, so fields and terminals were not judged; name the class with --class

"#]]);
    fs::create_dir_all(desk.path("away/edge")).unwrap();
    desk.write("away/edge/class.toml", EDGE);
    desk.done(&["class", "build", "away/edge", "-o", "class.json"]);
    for place in [
        ["--class", "away/edge"],
        ["--class", "away/edge/class.toml"],
        ["--class", "class.json"],
        ["--catalog", "away"],
    ] {
        desk.done(&["check", "lb.json", place[0], place[1]]);
    }
    desk.handoff(&["check", "lb.json", "--catalog", "nowhere"]).assert().code(2).stderr_eq(str![[r#"
handoff: nowhere: is no directory; name the directory that holds the classes

"#]]);
}

#[test]
fn new_settings_are_good_as_they_are_for_every_class() {
    let desk = Desk::new();
    for class in ["edge", "haproxy", "nginx", "postgresql"] {
        let catalog = if class == "edge" { "catalog" } else { concat!(env!("CARGO_MANIFEST_DIR"), "/catalog") };
        let file = format!("new-{class}.toml");
        desk.done(&["new", class, "-o", &file, "--catalog", catalog]);
        desk.done(&["check", &file, "--catalog", catalog]);
        desk.handoff(&["new", class, "-o", &file, "--catalog", catalog]).assert().code(2);
    }
    let edge = String::from_utf8(desk.read("new-edge.toml")).unwrap();
    assert!(edge.contains("\nport = 8080\n") && edge.contains("\n# pin = "), "{edge}");
    desk.handoff(&["catalog", "list"]).assert().success().stdout_eq(str![[r#"
edge  1       Takes requests

"#]]);
    desk.handoff(&["catalog", "show", "edgy"]).assert().code(2).stderr_eq(str![[r#"
handoff: edgy: is no class of catalog; name one of edge, or another catalog with --catalog

"#]]);
}

#[test]
fn every_wrong_file_is_told_with_its_place_and_the_good_ones_too() {
    let desk = Desk::new();
    desk.write("a.yaml", "version: 1\nfiles:\n  - path: /etc/motd\n    mode: 0644\n    content: x\n");
    desk.write("b.toml", "version = 1\nhostnam = \"lb\"\n");
    desk.write("c.json", "{\"version\": 1,\n  \"hostname\": \"a\", \"hostname\": \"b\"}");
    desk.handoff(&["check", "a.yaml", "b.toml", "lb.toml", "c.json"]).assert().code(12).stdout_eq(str![[r#"
lb.toml: good: [..]

"#]]).stderr_eq(str![[r#"
handoff: a.yaml: settings (line 4, column 11): is a number in one dialect of YAML and not in another; put it in quotes if it is a text, like a file's mode; write a number in plain decimal digits
handoff: b.toml: hostnam (line 2, column 1): [..]
handoff: c.json: hostname (line 2, column 20): is given twice; keep one of the two

"#]]);
    desk.handoff(&["check", "none.toml"]).assert().code(2).stderr_eq(str![[r#"
handoff: none.toml: is not there; name a file that is there

"#]]);
    desk.handoff(&["check", "-"]).assert().code(2).stderr_eq(str![[r#"
handoff: standard input: does not tell how it is written; with `check` and `convert`, say --format json, toml or yaml; for the others name a file

"#]]);
    desk.write("d", "");
    desk.handoff(&["check", "d"]).assert().code(2).stderr_eq(str![[r#"
handoff: d: does not tell by its name how it is written; end the name in .json, .toml or .yaml; `check` and `convert` also take --format

"#]]);
}

#[test]
fn no_command_writes_onto_what_it_reads() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.done(&["sign", "lb.toml", "-k", "key"]);
    std::os::unix::fs::symlink("lb.toml", desk.path("link")).unwrap();
    let inputs = ["lb.toml", "lb.json", "lb.json.sig", "key"];
    let before = inputs.map(|name| desk.read(name));
    for line in [
        "pack lb.toml -o lb.toml",
        "pack lb.toml -o lb.json",
        "pack lb.toml -o lb.json.sig",
        "pack lb.toml -o ./link",
        "pack lb.toml -k key -o key",
        "pack lb.toml --sig lb.json.sig -o lb.json.sig",
        "sign lb.toml -k key -o lb.toml",
        "sign lb.toml -k key -o lb.json",
        "sign lb.toml -k key -o key",
        "convert lb.toml -o lb.toml",
    ] {
        let output = desk.handoff(&line.split(' ').collect::<Vec<_>>()).assert().code(2);
        let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(told.contains("would be lost; write another file"), "{line}: {told}");
        assert!(inputs.map(|name| desk.read(name)) == before, "{line}");
    }
    desk.done(&["pack", "lb.toml", "-o", "disk"]);
    desk.done(&["pack", "lb.toml", "-o", "disk"]);
}

#[test]
fn each_notation_becomes_the_same_bytes() {
    let desk = Desk::new();
    for name in ["lb.json", "lb.toml", "lb.yaml"] {
        let output = desk.handoff(&["convert", name]).assert().success();
        assert_eq!(String::from_utf8_lossy(&output.get_output().stdout), JSON, "{name}");
    }
    desk.done(&["convert", "lb.yaml", "-o", "out.json"]);
    assert_eq!(desk.read("out.json"), JSON.as_bytes());
    assert_eq!(fs::metadata(desk.path("out.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn openssh_accepts_what_the_tool_signs() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.handoff(&["sign", "lb.json", "--key", "key"]).assert().success().stdout_eq(str![[r#"
lb.json.sig: signed by ssh-ed25519 SHA256:[..]
check it with: ssh-keygen -Y verify -f TRUSTED_KEYS -I NAME -n handoff-settings -s lb.json.sig < lb.json

"#]]);
    assert_eq!(desk.read("lb.json"), JSON.as_bytes());
    desk.openssh_accepts("lb.json");

    desk.write("other.toml", TOML);
    desk.handoff(&["sign", "other.toml", "-k", "key"]).assert().success().stdout_eq(str![[r#"
other.json: converted from other.toml
other.json.sig: signed by [..]
check it with: [..]

"#]]);
    assert_eq!(desk.read("other.json"), JSON.as_bytes());
    desk.openssh_accepts("other.json");
}

#[test]
fn the_tool_accepts_what_openssh_signs() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.run("ssh-keygen", &["-Y", "sign", "-q", "-n", "handoff-settings", "-f", "key", "lb.json"]).assert().success();
    for (format, kind) in [("raw", "raw container"), ("iso", "ISO 9660 volume HANDOFF"), ("fat", "FAT volume HANDOFF")]
    {
        let packed = desk.handoff(&["pack", "lb.json", "--format", format, "-o", "disk"]);
        packed.assert().success().stdout_eq(str![[r#"
disk: [..] disk, signed by ssh-ed25519 SHA256:[..]
  holds instance lb-eu-1 serial 7, [..]
  handoff.digest=sha256:[..]

"#]]);
        assert_eq!(fs::metadata(desk.path("disk")).unwrap().permissions().mode() & 0o777, 0o600);
        let shown = desk.handoff(&["inspect", "disk", "--trusted-keys", "trusted-keys"]).assert().success();
        let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
        assert!(shown.starts_with(&format!("disk ({kind})\n")), "{shown}");
        assert!(shown.contains("yes, signed by ops (SHA256:"), "{shown}");
    }
}

#[test]
fn a_signature_of_another_text_is_never_packed() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.done(&["sign", "lb.json", "-k", "key"]);
    // The TOML is signed as its conversion, so the signature of the same JSON fits.
    desk.done(&["pack", "lb.toml", "-o", "disk"]);
    desk.write("lb.toml", TOML.replace("serial = 7", "serial = 8"));
    desk.handoff(&["pack", "lb.toml", "-o", "new"]).assert().code(11).stderr_eq(str![[r#"
handoff: lb.json.sig: its signature does not match its settings; sign the settings again with `handoff sign`, after their last change

"#]]);
    assert!(!desk.path("new").exists());
    desk.done(&["pack", "lb.toml", "-k", "key", "-o", "new"]);

    fs::remove_file(desk.path("lb.json.sig")).unwrap();
    desk.handoff(&["pack", "lb.json", "-o", "none"]).assert().code(2).stderr_eq(str![[r#"
handoff: lb.json: is not signed; sign it with `handoff sign`, or on the way with --key KEY; --unsigned packs it as it is

"#]]);
    desk.done(&["pack", "lb.json", "--unsigned", "-o", "unsigned"]);
    desk.handoff(&["inspect", "unsigned"]).assert().success();
    desk.handoff(&["inspect", "unsigned", "--trusted-keys", "trusted-keys"]).assert().code(11).stderr_eq(str![[r#"
handoff: unsigned (raw container): its settings are not signed; sign them with `handoff sign`

"#]]);
}

#[test]
fn bad_settings_are_neither_signed_nor_packed() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.write("bad.json", "{\"version\":1,\"hostname\":7}");
    for arguments in [&["sign", "bad.json", "-k", "key"][..], &["pack", "bad.json", "-k", "key", "-o", "disk"]] {
        desk.handoff(arguments).assert().code(12).stderr_eq(str![[r#"
handoff: bad.json: hostname (line 1, column 25): [..]

"#]]);
    }
    assert!(!desk.path("bad.json.sig").exists() && !desk.path("disk").exists());
}

#[test]
fn a_key_that_is_not_trusted_is_told() {
    let desk = Desk::new();
    desk.key("other", "");
    desk.key("key", "");
    desk.done(&["pack", "lb.json", "-k", "other", "-o", "disk"]);
    desk.handoff(&["inspect", "disk", "--trusted-keys", "trusted-keys"])
        .assert()
        .code(11)
        .stdout_eq(str![[r#"
disk (raw container)
  settings   [..] bytes, sha256:[..]
  signature  ssh-ed25519 SHA256:[..], namespace handoff-settings, fits
  trusted    NO: is signed by SHA256:[..], which is not a trusted key
  holds      instance lb-eu-1 serial 7, [..]

"#]])
        .stderr_eq(str![[r#"
handoff: disk (raw container): is signed by SHA256:[..], which is not a trusted key; sign with a trusted key, or add this one to /usr/lib/handoff/trusted-keys in the image

"#]]);
}

#[test]
fn secrets_are_masked_for_people_and_programs() {
    let desk = Desk::new();
    desk.key("key", "");
    desk.done(&["pack", "lb.json", "-k", "key", "-o", "disk"]);
    for manner in [&["inspect", "disk", "--show"][..], &["inspect", "disk", "--show", "--json"]] {
        let shown = desk.handoff(manner).assert().success();
        let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
        for secret in ["$6$salt", "sesame", "MIIE"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains("STATS_PASSWORD") && shown.contains("Welcome."), "{shown}");
    }
    let json = desk.handoff(&["inspect", "disk", "--json"]).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(json["instance"]["serial"], 7);
    assert_eq!(json["signature"]["fits"], true);
    assert_eq!(json["trusted"], serde_json::Value::Null);
}

#[test]
fn a_key_with_a_passphrase_is_used_through_ssh_keygen() {
    let desk = Desk::new();
    desk.key("key", "open sesame");
    desk.write("askpass", "#!/bin/sh\necho open sesame\n");
    fs::set_permissions(desk.path("askpass"), fs::Permissions::from_mode(0o700)).unwrap();
    let sign = || desk.handoff(&["sign", "lb.json", "-k", "key"]).env("SSH_ASKPASS_REQUIRE", "force");
    sign().env("SSH_ASKPASS", desk.path("askpass")).assert().success();
    desk.openssh_accepts("lb.json");

    fs::remove_file(desk.path("lb.json.sig")).unwrap();
    sign().env("SSH_ASKPASS", "/bin/false").assert().code(2).stderr_eq(str![[r#"
...
handoff: key key: was not used: ssh-keygen ended with exit status: 255; [..]

"#]]);
    assert!(!desk.path("lb.json.sig").exists());
}

/// An SSH agent of this test alone, which ends with it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_key_in_an_agent_is_used_by_its_public_half() {
    let desk = Desk::new();
    desk.key("key", "");
    let socket = desk.path("agent");
    let agent = std::process::Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
    let _agent = Agent(agent.unwrap());
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    desk.run("ssh-add", &["-q", "key"]).env("SSH_AUTH_SOCK", &socket).assert().success();
    fs::remove_file(desk.path("key")).unwrap();
    desk.handoff(&["sign", "lb.toml", "-k", "key.pub"]).env("SSH_AUTH_SOCK", &socket).assert().success();
    desk.openssh_accepts("lb.json");
    desk.handoff(&["sign", "lb.toml", "-k", "key.pub"]).assert().code(2);
}

#[test]
fn a_key_that_cannot_sign_settings_is_refused() {
    let desk = Desk::new();
    for (kind, name) in [("rsa", "ssh-rsa"), ("ecdsa", "[..]")] {
        desk.run("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", kind]).assert().success();
        let expected = format!(
            "handoff: key {kind}: is of type {name}, which cannot sign settings; use one of type ssh-ed25519 or \
             sk-ssh-ed25519@openssh.com; `ssh-keygen -t ed25519` makes one\n"
        );
        desk.handoff(&["sign", "lb.json", "-k", kind]).assert().code(2).stderr_eq(expected.into_data());
    }
}

#[test]
fn a_machine_is_shown_before_it_is_started() {
    let desk = Desk::new();
    desk.write("root.img", "not really");
    desk.write("kernel", "");
    let arguments =
        ["boot", "root.img", "--disk", "lb.json", "--kernel", "kernel", "--pid1", "--ssh-port", "2222", "--print"];
    let shown = desk.handoff(&arguments).assert().success().stderr_eq(str![""]);
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    assert!(shown.contains("hostfwd=tcp:127.0.0.1:2222-:22"), "{shown}");
    assert!(shown.contains("init=/usr/sbin/handoff-agent"), "{shown}");
    desk.handoff(&["boot", "none.img", "--print"]).assert().code(2);
    desk.handoff(&["boot", "root.img", "--mac", "x", "--print"]).assert().code(2);
}

#[test]
fn whoever_stops_reading_is_no_error() {
    let desk = Desk::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(["convert", "lb.json"])
        .current_dir(desk.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn the_example_is_tried_out_and_leaves_nothing_behind() {
    let desk = Desk::new();
    let tried = desk.handoff(&["try"]).env("TMPDIR", desk.0.path()).assert().success().stderr_eq(str![""]);
    let text = String::from_utf8_lossy(&tried.get_output().stdout).into_owned();
    for claim in [
        "ok: planning changed nothing",
        "ok: no secret is in the plan",
        "ok: the guest has its name",
        "~ /etc/passwd",
        "+ /home/ops/.ssh/authorized_keys",
        "ok: no file was touched",
        "ok: there is nothing left to plan",
        "+ Address=10.0.0.11/24",
        "ok: the image's own /etc/motd is back",
        "ok: a disk with one bit flipped was refused",
        "ok: a disk with other settings under the same signature was refused",
        "ok: the guest is as it was",
    ] {
        assert!(text.contains(claim), "{claim} is not in {text}");
    }
    assert!(!text.contains("not-shown-in-a-plan"));
    assert_eq!(fs::read_dir(desk.0.path()).unwrap().count(), 4, "only the settings and the catalog are left");
}

#[test]
fn own_settings_are_tried_out_too() {
    let desk = Desk::new();
    desk.handoff(&["try", "lb.yaml", "--keep"]).env("TMPDIR", desk.0.path()).assert().success();
    let kept =
        fs::read_dir(desk.0.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.join("root").is_dir());
    let hostname = fs::read_to_string(kept.unwrap().join("root/etc/hostname")).unwrap();
    assert_eq!(hostname, "lb-eu-1.example.net\n");

    // A class of the catalog, with its templates.
    let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog");
    for name in ["lb", "web1", "db"] {
        let file = format!("{catalog}/examples/shop/{name}.toml");
        let tried = desk.handoff(&["try", &file, "--catalog", catalog]).env("TMPDIR", desk.0.path()).assert().success();
        let text = String::from_utf8_lossy(&tried.get_output().stdout).into_owned();
        for file in fs::read_to_string(&file).unwrap().lines().filter_map(|line| line.strip_prefix("class = ")) {
            assert!(text.contains(&format!("the class {}, without its checks", file.trim_matches('"'))), "{text}");
        }
        assert!(text.contains("/etc/haproxy/haproxy.cfg") || name != "lb", "{text}");
        assert!(!text.contains("a-secret-of-the"), "{text}");
    }

    desk.write("bad.yaml", "version: 1\nusers:\n- name: ops\n  shell: /bin/none\n  groups: [none]\n");
    desk.handoff(&["try", "bad.yaml"]).assert().code(12).stderr_eq(str![[r#"
handoff: trial: the agent ended with exit code 12, not 0; see its message above

"#]]);
}
