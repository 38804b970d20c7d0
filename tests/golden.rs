//! Golden roots: a root, settings applied one after the other, and what the plan said and the root then holds. Beside the
//! texts, what must hold whatever they say, checked by means of the test's own.
//!
//! `tests/golden/debian` is the image; `tests/golden/CASE/` has `1.json`, `2.json` … and for each a `plan-N.txt` (the output of
//! `plan --diff`) and a `result-N.txt` (what is then other than in the image). HANDOFF_UPDATE_GOLDEN=1 writes these texts anew;
//! read the difference before you commit it.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use proof::accounts::{account_lines, assert_accounts_are_sound, assert_unowned_lines_survive, named};
use proof::{Guest, Picture, assert_untouched, differing, golden, is_root, shown};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

#[test]
fn the_example_of_the_design_and_its_change() {
    case("design");
}

#[test]
fn interfaces_of_every_kind() {
    case("network");
}

#[test]
fn users_and_groups_come_change_and_leave() {
    case("users");
}

#[test]
fn a_home_that_a_file_made_becomes_its_users() {
    case("homes");
}

#[test]
fn services_are_enabled_disabled_and_masked() {
    case("services");
}

#[test]
fn files_are_replaced_and_given_back() {
    case("files");
}

/// What a golden text leaves out: the agent's own memory, and the lock file of the account tools.
fn is_aside(path: &str) -> bool {
    path.starts_with("/var/lib/handoff") || path == "/etc/.pwd.lock"
}

fn case(name: &str) {
    let directory = golden().join(name);
    let guest = Guest::debian();
    if directory.join("manifest").exists() {
        guest.lay(&directory);
    }
    let image = guest.picture();
    let mut given = Vec::new();
    let mut number = 0;
    while let Ok(settings) = fs::read_to_string(directory.join(format!("{}.json", number + 1))) {
        number += 1;
        given.push(serde_json::from_str::<Value>(&settings).unwrap());
        let source = guest.offer(&settings);
        let before = guest.picture();
        let plan = guest.run(&["--source", &source, "plan", "--diff"]).succeeded();
        assert_untouched(&before, &guest.picture(), "a plan");
        assert!(!plan.out.contains("nothing to do"), "{}", plan.out);
        guest.run(&["--source", &source, "apply"]).succeeded();
        let after = guest.picture();
        assert_plan_said_so(&plan.out, &before, &after);
        assert_invariants(&guest, &source, &image, &given);
        let plan = format!("{}{}", plan.err, plan.out).replace(guest.beside("settings.img").to_str().unwrap(), "DISK");
        // Who is not root gives back to itself.
        let own = format!("{}:{}\n", nix::unistd::geteuid(), nix::unistd::getegid());
        let plan = if is_root() { plan } else { plan.replace(&own, "0:0\n") };
        expect(&directory, &format!("plan-{number}.txt"), &normal(&plan));
        if is_root() {
            expect(&directory, &format!("result-{number}.txt"), &normal(&shown(&image, &after, &is_aside)));
        }
    }
    assert!(number > 0, "no settings in {}", directory.display());
    if !is_root() {
        println!("{name}: result texts not compared, because owners cannot be set");
    }
    let identity = identity(&guest.picture());
    assert_given_back(&guest, &image, &given, &identity);
    assert_reset(&guest, &directory);
}

/// Compares with a golden text, or writes it anew.
#[track_caller]
fn expect(directory: &std::path::Path, name: &str, text: &str) {
    let path = directory.join(name);
    if std::env::var_os("HANDOFF_UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    for (number, (golden, text)) in golden.lines().zip(text.lines()).enumerate() {
        assert_eq!(golden, text, "{} line {}; HANDOFF_UPDATE_GOLDEN=1 writes it anew", path.display(), number + 1);
    }
    assert_eq!(golden, text, "{}; HANDOFF_UPDATE_GOLDEN=1 writes it anew", path.display());
}

/// The text with what is random in it replaced by its form, and nothing else.
fn normal(text: &str) -> String {
    let mut lines = Vec::new();
    let mut in_key = false;
    for line in text.lines() {
        let word = line.trim_start_matches(['+', ' ']);
        let mark = &line[..line.len() - word.len()];
        if word.starts_with("-----BEGIN OPENSSH PRIVATE KEY") {
            in_key = true;
            lines.push("(a private key)".to_owned());
        } else if word.starts_with("-----END OPENSSH PRIVATE KEY") {
            in_key = false;
        } else if in_key {
        } else if is_machine_id(word) && !word.starts_with("0123456789abcdef0123") {
            lines.push(format!("{mark}(a machine-id)"));
        } else if let Some((_, comment)) = word.strip_prefix("ssh-ed25519 ").and_then(|rest| rest.split_once(" root@"))
        {
            lines.push(format!("{mark}(a host key of root@{comment})"));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

/// 32 lower-case hexadecimal digits, and those of a random UUID (machine-id(5)).
fn is_machine_id(text: &str) -> bool {
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    text.len() == 32 && text.chars().all(hex)
}

/// That the paths that the plan names are exactly those that have changed.
fn assert_plan_said_so(plan: &str, before: &Picture, after: &Picture) {
    let named: BTreeSet<String> = plan.lines().filter_map(path_of_step).collect();
    let changed: BTreeSet<String> = differing(before, after).into_iter().filter(|path| !is_aside(path)).collect();
    assert_eq!(named, changed, "the plan said\n{plan}");
}

/// The path of a line that is a step; other lines begin with a space or another word.
fn path_of_step(line: &str) -> Option<String> {
    let starts = ["make directory /", "create /", "change /", "link /", "set /", "remove directory /", "remove /"];
    let start = starts.iter().find(|start| line.starts_with(**start))?;
    let rest = &line[start.len() - 1..];
    let end = rest.find(" (").or_else(|| rest.find(" -> ")).or_else(|| rest.find(" to 0")).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// What must hold after every `apply`.
fn assert_invariants(guest: &Guest, source: &str, image: &Picture, given: &[Value]) {
    let after = guest.picture();
    assert_accounts_are_sound(&after);
    assert_unowned_lines_survive(image, &after, given);

    let again = guest.run(&["--source", source, "plan", "--diff"]).succeeded();
    assert!(again.out.starts_with("nothing to do: ") && again.out.lines().count() == 1, "{}", again.out);
    let again = guest.run(&["--source", source, "apply"]).succeeded();
    assert!(again.out.starts_with("handoff: nothing to do: "), "{}", again.out);
    assert_untouched(&after, &guest.picture(), "the same settings again");

    let status = guest.run(&["status"]).succeeded();
    assert!(!status.out.contains("edited"), "{}", status.out);
    assert!(after.keys().all(|path| !path.contains("journal") && !path.contains(".handoff-")), "left-overs");
    let secrets = given.last().unwrap()["users"].as_array().cloned().unwrap_or_default();
    for hash in secrets.iter().filter_map(|user| user["password_hash"].as_str()) {
        assert!(!again.out.contains(hash) && !status.out.contains(hash));
    }
    let id = after["/etc/machine-id"].text();
    assert!(is_machine_id(id.trim_end()) && id.ends_with('\n'), "{id}");
    assert_eq!((&id[12..13], after["/etc/machine-id"].mode), ("4", 0o444));
    assert_ne!(id, image["/etc/machine-id"].text());
    assert!(!after.contains_key("/etc/ssh/ssh_host_rsa_key"), "a key of the image");
    assert_eq!((after[KEY].mode, after[&format!("{KEY}.pub")].mode), (0o600, 0o644));
    let private = ssh_key::PrivateKey::from_openssh(&after[KEY].content).unwrap();
    let public = ssh_key::PublicKey::from_openssh(&after[&format!("{KEY}.pub")].text()).unwrap();
    assert_eq!(private.public_key().key_data(), public.key_data());
}

fn identity(picture: &Picture) -> Vec<Vec<u8>> {
    ["/etc/machine-id", KEY, "/etc/ssh/ssh_host_ed25519_key.pub"].map(|path| picture[path].content.clone()).into()
}

/// Applies settings that say nothing any more, and looks that the guest is its image again, but for what is documented to
/// stay: the locked lines of users that were made, their groups and homes, the directory for keys in any home, and the
/// identity.
fn assert_given_back(guest: &Guest, image: &Picture, given: &[Value], before: &[Vec<u8>]) {
    let mut last = given.last().unwrap()["instance"].clone();
    last["serial"] = 1_000_000.into();
    guest.apply(&serde_json::json!({ "version": 1, "instance": last }).to_string()).succeeded();
    let now = guest.picture();
    assert_eq!(identity(&now), before, "the identity stays");
    assert_accounts_are_sound(&now);

    let of_image: BTreeSet<String> =
        account_lines(image, "/etc/passwd").into_iter().map(|mut line| line.remove(0)).collect();
    let made: BTreeSet<String> = named(given, "users", "name").difference(&of_image).cloned().collect();
    let homes: Vec<String> = account_lines(&now, "/etc/passwd")
        .into_iter()
        .filter(|user| made.contains(&user[0]))
        .map(|user| user[5].clone())
        .collect();
    // A locked user keeps its group, whatever the group's name.
    let users: Vec<Vec<String>> = account_lines(&now, "/etc/passwd");
    let gids: BTreeSet<&String> = users.iter().filter(|user| made.contains(&user[0])).map(|user| &user[3]).collect();
    let groups = account_lines(&now, "/etc/group");
    let kept: BTreeSet<&String> = groups.iter().filter(|line| gids.contains(&line[2])).map(|line| &line[0]).collect();
    for file in ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"] {
        let text = now[file].text();
        let rest =
            text.strip_prefix(&image[file].text()).unwrap_or_else(|| panic!("{file} is not as in the image\n{text}"));
        for line in rest.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let of_group = file.starts_with("/etc/g") && kept.contains(&fields[0].to_owned());
            assert!(of_group || (!file.starts_with("/etc/g") && made.contains(fields[0])), "{file}: `{line}` stays");
            if file == "/etc/shadow" {
                assert!(fields[1].starts_with('!') && fields[7] == "1", "not locked: {line}");
            }
        }
    }
    let accounts = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
    let identity = ["/etc/machine-id", KEY, "/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ssh/ssh_host_rsa_key"];
    let stays = |path: &String| {
        let at_home = homes.iter().any(|home| {
            path == home || path.starts_with(&format!("{home}/"))
                // Where it lies stays with it.
                || home.starts_with(&format!("{path}/"))
        });
        let for_keys = path.ends_with("/.ssh") && now.get(path).is_some_and(|thing| thing.kind == 'd');
        // The class has its fields, whatever the settings say of them.
        let of_class = path == "/etc/handoff" || path == "/etc/handoff/fields.json";
        is_aside(path) || of_class || for_keys || accounts.contains(&&**path) || identity.contains(&&**path) || at_home
    };
    let others: Vec<String> = differing(image, &now).into_iter().filter(|path| !stays(path)).collect();
    assert!(others.is_empty(), "not given back: {others:?}");
    for path in now.keys().filter(|path| path.ends_with("authorized_keys")) {
        assert!(image.contains_key(path), "{path} stays");
    }
    guest.run(&["--source", &format!("file:{}", guest.beside("settings.img").display()), "apply"]).succeeded();
    assert_untouched(&now, &guest.picture(), "settings that say nothing, again");
}

/// That `reset` leaves no memory and no identity, and that the first settings can be had again afterwards.
fn assert_reset(guest: &Guest, directory: &std::path::Path) {
    let first = fs::read_to_string(directory.join("1.json")).unwrap();
    guest.run(&["reset"]).succeeded();
    let reset = guest.picture();
    let memory: Vec<&String> = reset.keys().filter(|path| path.starts_with("/var/lib/handoff/")).collect();
    assert!(memory.is_empty(), "{memory:?} stays");
    assert_eq!(reset["/etc/machine-id"].content, b"");
    assert!(reset.keys().all(|path| !path.starts_with("/etc/ssh/ssh_host_")), "a host key stays");
    assert!(guest.run(&["status"]).succeeded().out.contains("no settings were ever applied"));
    let again = guest.run(&["reset"]).succeeded();
    assert!(again.out.contains("nothing to do"), "{}", again.out);
    assert_untouched(&reset, &guest.picture(), "a second reset");
    guest.apply(&first).succeeded();
    assert_accounts_are_sound(&guest.picture());
    guest.run(&["reset"]).succeeded();
    assert!(guest.picture().keys().all(|path| !path.starts_with("/var/lib/handoff/")));
}
