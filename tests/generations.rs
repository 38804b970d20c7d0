//! Generations by hand: what `status` and `log` tell, `plan --against`, `rollback`, what is kept and what is pruned, and what
//! becomes of files that somebody has edited.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use proof::{Guest, PRINCIPAL, assert_untouched, is_root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

const STATE: &str = "/var/lib/handoff/state.json";

fn settings(serial: u32, files: &[(&str, &str)]) -> String {
    let files: Vec<Value> =
        files.iter().map(|(path, content)| serde_json::json!({ "path": path, "content": content })).collect();
    serde_json::json!({ "version": 1, "instance": { "id": "lb-1", "serial": serial }, "files": files }).to_string()
}

/// A guest with three generations.
fn three() -> Guest {
    let guest = Guest::debian_in_memory();
    guest.apply(&settings(1, &[("/etc/motd", "one\n"), ("/etc/app/a", "a\n")])).succeeded();
    guest.apply(&settings(2, &[("/etc/motd", "two\n"), ("/etc/app/a", "a\n"), ("/etc/app/b", "b\n")])).succeeded();
    guest.apply(&settings(3, &[("/etc/motd", "three\n")])).succeeded();
    guest
}

fn state(guest: &Guest) -> Value {
    serde_json::from_str(&guest.read(STATE)).unwrap()
}

fn json(guest: &Guest, arguments: &[&str]) -> Value {
    serde_json::from_str(&guest.run(arguments).succeeded().out).unwrap()
}

/// The text without what differs from run to run.
fn normal(guest: &Guest, text: &str) -> String {
    let text = text.replace(guest.beside("").to_str().unwrap(), "");
    let mask = |line: &str| match line.split_once("  settings   sha256:") {
        Some(_) => "  settings   SHA256".to_owned(),
        None if line.starts_with("  committed  20") => "  committed  TIME".to_owned(),
        None => line.split(" (SHA256:").next().unwrap().to_owned(),
    };
    text.lines().map(mask).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_log_tells_who_signed_what_when_it_came_what_it_changed_and_what_became_of_it() {
    let guest = three();
    guest.run(&["rollback"]).succeeded();
    let log = guest.run(&["log"]).succeeded().out;
    let expected = format!(
        "\
generation 4, lb-1 serial 2, current: nobody looked whether it got ready
  settings   SHA256
  trust      signed by {PRINCIPAL}
  committed  TIME
  source     generation 2
  changes    3 created, 1 changed, 0 removed
generation 3, lb-1 serial 3: left: generation 3 was rolled back by hand
  settings   SHA256
  trust      signed by {PRINCIPAL}
  committed  TIME
  source     settings.img (raw container)
  changes    0 created, 1 changed, 3 removed
generation 2, lb-1 serial 2: nobody looked whether it got ready
  settings   SHA256
  trust      signed by {PRINCIPAL}
  committed  TIME
  source     settings.img (raw container)
  changes    1 created, 1 changed, 0 removed
"
    );
    let normal_log = normal(&guest, &log);
    assert!(normal_log.starts_with(expected.trim_end()), "{normal_log}");

    let one = guest.run(&["log", "2"]).succeeded().out;
    assert!(one.ends_with("\n    created  /etc/app/b\n    changed  /etc/motd\n"), "{one}");
    assert!(one.starts_with("generation 2, ") && !one.contains("generation 3"), "{one}");

    let log = json(&guest, &["log", "--json"]);
    let numbers: Vec<u64> =
        log["log"].as_array().unwrap().iter().map(|one| one["generation"].as_u64().unwrap()).collect();
    assert_eq!((numbers, &log["generation"]), (vec![4, 3, 2, 1], &4.into()));
    let third = &log["log"][1]["committed"];
    assert_eq!(third["changes"]["paths"]["/etc/app"], "removed");
    assert_eq!(third["left"], "generation 3 was rolled back by hand");
    assert_eq!(json(&guest, &["log", "3", "--json"])["log"].as_array().unwrap().len(), 1);

    let words = ["generation 9", "not kept", "1, 2, 3, 4"];
    guest.run(&["log", "9"]).refused(2, &words);
    let empty = Guest::debian_in_memory();
    assert_eq!(empty.run(&["log"]).succeeded().out, "no settings were ever applied to this guest\n");
    empty.run(&["log", "1"]).refused(2, &["none"]);
}

#[test]
fn the_status_tells_the_generations_that_are_kept_and_those_that_were_left() {
    let guest = three();
    guest.run(&["rollback"]).succeeded();
    let status = guest.run(&["status"]).succeeded().out;
    for line in [
        "lb-1 serial 2 (generation 4)",
        "  last good  generation 4",
        "  kept       1, 2, 3, 4",
        "  left       generation 3 was rolled back by hand; its settings are not taken again: sha256:",
    ] {
        assert!(status.lines().any(|shown| shown.starts_with(line)), "no `{line}` in {status}");
    }
    let status = json(&guest, &["status", "--json"]);
    assert_eq!(status["generations"], serde_json::json!([1, 2, 3, 4]));
    assert_eq!((&status["last_good"], &status["trial"]), (&4.into(), &Value::Null));

    // On trial, as a boot would have left it.
    let mut of_boot = state(&guest);
    of_boot["trial"] = serde_json::json!({ "attempt": 2, "good": 2 });
    of_boot["history"]["4"]["standing"] = "trial".into();
    fs::write(guest.at(STATE), of_boot.to_string()).unwrap();
    let status = guest.run(&["status"]).succeeded().out;
    for line in ["lb-1 serial 2 (generation 4, on trial)", "  on trial   attempt 2 of 3", "  last good  generation 2"] {
        assert!(status.lines().any(|shown| shown == line), "no `{line}` in {status}");
    }
    assert!(guest.run(&["log", "4"]).succeeded().out.starts_with("generation 4, lb-1 serial 2, current: on trial\n"));
}

#[test]
fn a_plan_against_a_generation_says_what_a_rollback_then_does_and_does_nothing() {
    let guest = three();
    let before = guest.picture();
    let plan = guest.run(&["plan", "--diff", "--against", "1"]).succeeded().out;
    assert!(plan.contains("\nchange /etc/motd\n    - three\n    + one\n"), "{plan}");
    assert!(plan.contains("create /etc/app/a (0644 0:0)\n    + a\n") || !is_root(), "{plan}");
    assert!(plan.contains("3 changes, from generation 1, signed by "), "{plan}");
    let current = guest.run(&["plan", "--against", "3"]).succeeded().out;
    assert_eq!(current, "nothing to do: this guest is as generation 3 says\n");
    guest.run(&["plan", "--against", "7"]).refused(2, &["generation 7", "not kept", "1, 2, 3"]);
    guest.run(&["plan", "--against", "1", "--source", "file:x"]).refused(2, &["--source"]);
    assert_untouched(&before, &guest.picture(), "plans");

    guest.run(&["rollback", "1"]).succeeded();
    let log = guest.run(&["log", "4"]).succeeded().out;
    for path in ["created  /etc/app\n", "created  /etc/app/a\n", "changed  /etc/motd\n"] {
        assert!(log.contains(path), "{log}");
    }
    assert_eq!(guest.read("/etc/motd"), "one\n");
}

#[test]
fn a_rollback_to_what_is_in_place_does_nothing_and_says_so() {
    let guest = three();
    guest.run(&["rollback", "1"]).succeeded();
    let before = guest.picture();
    for number in ["4", "1"] {
        let run = guest.run(&["rollback", number]).succeeded();
        let words =
            format!("handoff: nothing to do: lb-1 serial 1 (generation 4) has the settings of generation {number}\n");
        assert_eq!((run.out, run.err), (words, String::new()));
    }
    guest.run(&["rollback", "0"]).refused(2, &["generation 0", "1, 2, 3, 4"]);
    assert_untouched(&before, &guest.picture(), "rollbacks to what is in place");
}

#[test]
fn a_rollback_never_chooses_what_was_left_and_takes_it_where_it_is_named() {
    let guest = three();
    for motd in ["two\n", "one\n"] {
        guest.run(&["rollback"]).succeeded();
        assert_eq!(guest.read("/etc/motd"), motd);
    }
    let before = guest.picture();
    guest.run(&["rollback"]).refused(2, &["no generation before this one that was not left", "1, 2, 3, 4, 5"]);
    assert_untouched(&before, &guest.picture(), "a rollback to nothing");
    let named = guest.run(&["rollback", "3"]).succeeded();
    let warning =
        "handoff: warning: generation 3 was rolled back by hand; it is taken again, because you have named it\n";
    assert_eq!(named.err, warning);
    assert_eq!(guest.read("/etc/motd"), "three\n");
    // It is no longer refused, and the one that was left for it is.
    guest.apply(&settings(3, &[("/etc/motd", "three\n")])).succeeded();
    guest
        .apply(&settings(1, &[("/etc/motd", "one\n"), ("/etc/app/a", "a\n")]))
        .refused(14, &["generation 5 was rolled back by hand"]);
}

#[test]
fn kept_settings_that_are_damaged_or_gone_change_nothing() {
    let guest = three();
    let kept = guest.at("/var/lib/handoff/generations/1/settings.json");
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replace("one", "two")).unwrap();
    let before = guest.picture();
    for command in [&["rollback", "1"][..], &["plan", "--against", "1"]] {
        guest.run(command).refused(11, &["generation 1"]);
    }
    assert_untouched(&before, &guest.picture(), "a damaged generation");
    fs::remove_file(&kept).unwrap();
    let before = guest.picture();
    for command in [&["rollback", "1"][..], &["plan", "--against", "1"]] {
        guest.run(command).refused(13, &["generation 1", "missing", "/var/lib/handoff/generations"]);
    }
    assert_untouched(&before, &guest.picture(), "a lost generation");
    // The others are as good as they were.
    guest.run(&["rollback", "2"]).succeeded();
}

#[test]
fn a_memory_of_before_is_read_and_goes_on() {
    let guest = three();
    let mut old = state(&guest);
    for committed in old["history"].as_object_mut().unwrap().values_mut() {
        for key in ["source", "standing", "left", "changes"] {
            assert!(committed.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
    }
    fs::write(guest.at(STATE), old.to_string()).unwrap();
    let log = guest.run(&["log", "2"]).succeeded().out;
    assert!(log.starts_with("generation 2, lb-1 serial 2: what became of it was not recorded\n"), "{log}");
    assert!(!log.contains("changes") && !log.contains("source"), "{log}");
    guest.run(&["status"]).succeeded();
    guest.run(&["rollback"]).succeeded();
    let log = guest.run(&["log"]).succeeded().out;
    assert!(
        log.contains("generation 3, lb-1 serial 3: left: ") && log.contains("  source     generation 2\n"),
        "{log}"
    );
    assert_eq!(state(&guest)["history"]["1"]["changes"], Value::Null);
}

#[test]
fn what_is_recorded_of_a_change_is_bounded() {
    let guest = Guest::debian_in_memory();
    let paths: Vec<String> = (0..400).map(|number| format!("/srv/app/{number:03}")).collect();
    let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "x")).collect();
    guest.apply(&settings(1, &files)).succeeded();
    let changes = state(&guest)["history"]["1"]["changes"].clone();
    assert_eq!(changes["paths"].as_object().unwrap().len(), 256);
    let all = changes["created"].as_u64().unwrap();
    assert!(all >= 401, "{all}");
    let log = guest.run(&["log", "1"]).succeeded().out;
    assert!(log.contains("/srv/app/100\n"), "{log}");
    assert!(log.lines().last().unwrap().starts_with("    and ") && log.ends_with(" more, which were not recorded\n"));
}

/// That the memory holds what its state speaks of, and nothing else.
#[track_caller]
fn assert_memory_is_exact(guest: &Guest) {
    let state = state(guest);
    let mut objects: BTreeSet<String> = BTreeSet::new();
    for kept in state["kept"].as_array().unwrap() {
        objects.insert(kept["sha256"].as_str().unwrap().to_owned());
    }
    for owned in state["owned"].as_object().unwrap().values() {
        objects.extend(owned["replaced"]["file"]["sha256"].as_str().map(str::to_owned));
    }
    let listed = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(guest.at("/var/lib/handoff").join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(listed("objects"), objects);
    let history: BTreeSet<String> = state["history"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(listed("generations"), history);
    for number in history {
        for name in ["settings.json", "settings.json.sig"] {
            assert!(guest.at(&format!("/var/lib/handoff/generations/{number}/{name}")).is_file(), "{number}/{name}");
        }
        guest.run(&["plan", "--against", &number]).succeeded();
    }
}

#[test]
fn old_generations_and_their_texts_go_and_no_others() {
    let guest = Guest::debian_in_memory();
    guest.write("/etc/replaced", b"image\n", 0o644);
    for serial in 1..=9 {
        let number = serial.to_string();
        let mut files = vec![("/etc/motd", number.as_str())];
        // Now and then something else of the image is replaced, and given back.
        if serial % 3 != 0 {
            files.push(("/etc/replaced", "ours\n"));
        }
        guest.apply(&settings(serial, &files)).succeeded();
        assert_memory_is_exact(&guest);
        fs::write(guest.at("/etc/motd"), format!("by hand {serial}\n")).unwrap();
    }
    assert_eq!(json(&guest, &["status", "--json"])["generations"], serde_json::json!([5, 6, 7, 8, 9]));
    guest.run(&["rollback", "4"]).refused(2, &["not kept", "5, 6, 7, 8, 9"]);
    let kept: Vec<u64> =
        state(&guest)["kept"].as_array().unwrap().iter().filter_map(|k| k["generation"].as_u64()).collect();
    assert_eq!(kept, [6, 7, 8, 9], "of one file the four newest texts that were edited by hand");

    // While something is on trial the last good one stays, however old.
    let mut of_boot = state(&guest);
    of_boot["trial"] = serde_json::json!({ "attempt": 1, "good": 5 });
    fs::write(guest.at(STATE), of_boot.to_string()).unwrap();
    for serial in 10..=12 {
        guest.apply(&settings(serial, &[("/etc/motd", &serial.to_string())])).succeeded();
        assert_memory_is_exact(&guest);
        let mut of_boot = state(&guest);
        // A scratch root has no trials of its own.
        of_boot["trial"] = serde_json::json!({ "attempt": 1, "good": 5 });
        fs::write(guest.at(STATE), of_boot.to_string()).unwrap();
    }
}

#[test]
fn each_kind_of_edit_is_told_and_overwritten_and_texts_are_kept() {
    let guest = Guest::debian_in_memory();
    let names = ["content", "mode", "owner", "removed", "link", "both"];
    let paths = names.map(|name| format!("/etc/app/{name}"));
    let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "ours\n")).collect();
    let wanted = settings(1, &files);
    guest.apply(&wanted).succeeded();
    let at = |name: &str| guest.at(&format!("/etc/app/{name}"));
    fs::write(at("content"), "by hand\n").unwrap();
    fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    guest.own("/etc/app/owner", 5, 6);
    fs::remove_file(at("removed")).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("/etc/hostname", at("link")).unwrap();
    fs::write(at("both"), "by hand, too\n").unwrap();
    fs::set_permissions(at("both"), fs::Permissions::from_mode(0o666)).unwrap();

    let before = guest.picture();
    let status = guest.run(&["status"]).succeeded().out;
    let mut expected = vec![
        "  edited     /etc/app/both: content, mode 0666 instead of 0644",
        "  edited     /etc/app/content: content",
        "  edited     /etc/app/link: link to /etc/hostname",
        "  edited     /etc/app/mode: mode 0600 instead of 0644",
    ];
    if is_root() {
        expected.push("  edited     /etc/app/owner: owner 5:6 instead of 0:0");
    }
    expected.push("  edited     /etc/app/removed: removed");
    expected.push("             `handoff-agent plan --diff --against 1` shows it");
    let shown: Vec<&str> = status.lines().skip_while(|line| !line.starts_with("  edited")).collect();
    assert_eq!(shown, expected);
    let edited = &json(&guest, &["status", "--json"])["edited_by_hand"];
    assert_eq!(edited[0]["path"], "/etc/app/both");
    assert_eq!(edited[0]["differs"], serde_json::json!(["content", "mode 0666 instead of 0644"]));
    let plan = guest.run(&["plan", "--diff", "--against", "1"]).succeeded();
    assert!(plan.out.contains("change /etc/app/content\n    - by hand\n    + ours\n"), "{}", plan.out);
    assert_untouched(&before, &guest.picture(), "looking");

    let applied = guest.apply(&wanted).succeeded();
    for words in [
        "/etc/app/content: was edited by hand; the settings win, and the edited text is kept as /var/lib/handoff/objects/",
        "/etc/app/both: was edited by hand; the settings win, and the edited text is kept as /var/lib/handoff/objects/",
        "/etc/app/mode: was changed by hand (mode 0600 instead of 0644); the settings win",
        "/etc/app/removed: was changed by hand (removed); the settings win",
        "/etc/app/link: was changed by hand (link to /etc/hostname); the settings win",
    ] {
        assert!(applied.err.contains(words), "no `{words}` in {}", applied.err);
    }
    assert!(guest.read("/etc/hostname") != "ours\n", "the link was not followed");
    for name in names {
        let thing = &guest.picture()[&format!("/etc/app/{name}")];
        assert_eq!((thing.kind, thing.mode, thing.text().as_str()), ('f', 0o644, "ours\n"), "{name}");
        assert!(!is_root() || (thing.uid, thing.gid) == (0, 0), "{name}");
    }
    let status = guest.run(&["status"]).succeeded().out;
    assert!(!status.contains("  edited"), "{status}");
    // Whoever wants the text back finds it by what the status says.
    let texts: Vec<String> = status
        .lines()
        .filter_map(|line| line.strip_prefix("  text kept  "))
        .map(|line| guest.read(line.rsplit_once(": ").unwrap().1))
        .collect();
    assert_eq!(texts, ["by hand, too\n", "by hand\n"]);
    assert_memory_is_exact(&guest);

    // The same edit again is the same text.
    fs::write(at("content"), "by hand\n").unwrap();
    guest.apply(&wanted).succeeded();
    assert_eq!(state(&guest)["kept"].as_array().unwrap().len(), 2);
    assert_memory_is_exact(&guest);
}

#[test]
fn a_directory_in_place_of_a_file_is_told_and_not_removed() {
    let guest = Guest::debian_in_memory();
    let wanted = settings(1, &[("/etc/app/a", "ours\n")]);
    guest.apply(&wanted).succeeded();
    fs::remove_file(guest.at("/etc/app/a")).unwrap();
    guest.write("/etc/app/a/theirs", b"precious", 0o644);
    let status = guest.run(&["status"]).succeeded().out;
    assert!(status.contains("  edited     /etc/app/a: directory in its place\n"), "{status}");
    let before = guest.picture();
    guest.apply(&wanted).refused(13, &["/etc/app/a", "is a directory"]);
    assert_untouched(&before, &guest.picture(), "a directory in the way");
}
