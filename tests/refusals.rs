//! What is refused, and that a refusal is one line with its exit code and leaves the guest as it was: content, modes, owners,
//! inodes and times of every file.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

#[path = "refusals/changing.rs"]
mod changing;
mod proof;

use handoff::Class;
use handoff::operator::disk::{Format, image};
use handoff::source::{self, Places, Spec};
use handoff::trust::{Blob, container};
use proof::{
    Guest, MACHINE, PRINCIPAL, Picture, Run, assert_untouched, has, is_root, key, operators_key, picture, signed,
};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Settings that this guest would accept.
const GOOD: &str = r#"{ "version": 1, "instance": { "id": "lb-1", "serial": 5 }, "hostname": "lb-1",
  "users": [ { "name": "ops" } ], "files": [ { "path": "/etc/motd", "content": "ours\n" } ] }"#;

/// Runs `apply` and `plan` on this source, which both must refuse with this code and these words, touching nothing.
#[track_caller]
fn refuses(guest: &Guest, source: &str, code: i32, words: &[&str]) {
    let before = guest.picture();
    for command in ["apply", "plan"] {
        guest.run(&["--source", source, command]).refused(code, words);
        assert_untouched(&before, &guest.picture(), words.first().unwrap_or(&command));
    }
}

/// Like [`refuses`], of settings with the operator's signature.
#[track_caller]
fn refuses_settings(guest: &Guest, settings: &str, code: i32, words: &[&str]) {
    let source = guest.offer(settings);
    refuses(guest, &source, code, words);
}

fn disk(format: Format, blob: &Blob) -> Vec<u8> {
    image(format, blob).unwrap()
}

/// Runs a tool that must succeed.
fn tool(directory: &Path, command: &str, arguments: &[&str]) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(command).args(arguments).current_dir(directory).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn good_settings_are_accepted_here_so_that_what_follows_means_something() {
    let guest = Guest::debian();
    guest.apply(GOOD).succeeded();
    assert_eq!(guest.read("/etc/motd"), "ours\n");
}

#[test]
fn what_is_unsigned_or_signed_by_nobody_known_is_refused() {
    let guest = Guest::debian();
    let unsigned = Blob::new("test", GOOD.into(), None).unwrap();
    let others = key(9).sign(GOOD.as_bytes()).unwrap();
    let stranger = Blob::new("test", GOOD.into(), Some(others)).unwrap();
    let elsewhere = operators_key().sign(b"{ \"version\": 1 }").unwrap();
    let of_another_text = Blob::new("test", GOOD.into(), Some(elsewhere)).unwrap();
    let garbage = Blob::new("test", GOOD.into(), Some(b"garbage".to_vec())).unwrap();
    for format in [Format::Raw, Format::Iso, Format::Fat] {
        for (blob, word) in [(&unsigned, "sign"), (&stranger, "trust"), (&of_another_text, "sign"), (&garbage, "sign")]
        {
            let source = guest.put("settings.img", &disk(format, blob));
            refuses(&guest, &source, 11, &["settings.img", word]);
        }
    }
    let plain = guest.put("settings.json", GOOD.as_bytes());
    refuses(&guest, &plain, 11, &["settings.json", "sign"]);

    let good = guest.offer(GOOD);
    fs::remove_file(guest.at("/usr/lib/handoff/trusted-keys")).unwrap();
    refuses(&guest, &good, 11, &["settings.img", "trust"]);
    let line = format!("{PRINCIPAL} namespaces=\"git\" {}\n", operators_key().public_line().unwrap());
    guest.write("/usr/lib/handoff/trusted-keys", line.as_bytes(), 0o644);
    refuses(&guest, &good, 11, &["settings.img"]);
}

#[test]
fn a_signature_that_ssh_keygen_made_for_something_else_is_refused() {
    if !has("ssh-keygen", "a_signature_that_ssh_keygen_made_for_something_else_is_refused") {
        return;
    }
    let guest = Guest::debian();
    let directory = guest.beside("");
    tool(&directory, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "ops", "-f", "key"]);
    let public = fs::read_to_string(guest.beside("key.pub")).unwrap();
    guest.write("/usr/lib/handoff/trusted-keys", format!("{PRINCIPAL} {public}").as_bytes(), 0o644);
    let offer = |namespace: &str| {
        fs::write(guest.beside("settings.json"), GOOD).unwrap();
        let _ = fs::remove_file(guest.beside("settings.json.sig"));
        tool(&directory, "ssh-keygen", &["-q", "-Y", "sign", "-n", namespace, "-f", "key", "settings.json"]);
        format!("file:{}", guest.beside("settings.json").display())
    };
    for namespace in ["file", "git", "handoff-setting", "handoff-settings2", "HANDOFF-SETTINGS"] {
        refuses(&guest, &offer(namespace), 11, &["settings.json", "handoff-settings"]);
    }
    guest.run(&["--source", &offer("handoff-settings"), "apply"]).succeeded();
}

#[test]
fn any_of_500_flipped_bits_of_a_container_is_refused() {
    let guest = Guest::debian();
    let container = container::encode(&signed(GOOD.as_bytes()));
    let before = guest.picture();
    let bits = container.len() * 8;
    let mut not_ours = 0;
    for number in 0..500 {
        let bit = number * bits / 500;
        let mut flipped = container.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let source = guest.put("settings.img", &flipped);
        let run = guest.run(&["--source", &source, "apply"]);
        // What no longer begins like a container is none, and then there are no settings.
        let expected = if bit / 8 < 8 { 10 } else { 11 };
        not_ours += i32::from(expected == 10);
        run.refused(expected, &["settings.img"]);
    }
    assert!((1..20).contains(&not_ours), "{not_ours}");
    assert_untouched(&before, &guest.picture(), "flipped bits");
    // The first bits, each of them: lengths and digest are in the first 48 bytes.
    for bit in 0..48 * 8 {
        let mut flipped = container.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match source::probe("disk", &flipped) {
            Ok(found) => assert!(found.is_none() && bit < 64, "bit {bit}"),
            Err(error) => assert_eq!(error.class(), Class::NotVerified, "bit {bit}"),
        }
    }
}

/// The number of bytes from the start of an image that must be there so that both texts are.
fn needed(image: &[u8], blob: &Blob) -> usize {
    let end = |text: &[u8]| image.windows(text.len()).position(|window| window == text).unwrap() + text.len();
    end(blob.settings()).max(end(blob.signature().unwrap()))
}

/// A disk of each format, by our writers and, where they are installed, by the tools that operators have.
fn disks(guest: &Guest, blob: &Blob) -> Vec<(&'static str, Vec<u8>)> {
    let mut disks = vec![
        ("raw", container::encode(blob)),
        ("our iso", disk(Format::Iso, blob)),
        ("our fat", disk(Format::Fat, blob)),
    ];
    let directory = guest.beside("");
    fs::create_dir_all(guest.beside("files")).unwrap();
    fs::write(guest.beside("files/settings.json"), blob.settings()).unwrap();
    fs::write(guest.beside("files/settings.json.sig"), blob.signature().unwrap()).unwrap();
    if has("xorriso", "truncation") {
        let words = ["-as", "mkisofs", "-quiet", "-V", "HANDOFF", "-J", "-R", "-o", "x.iso", "files"];
        tool(&directory, "xorriso", &words);
        disks.push(("xorriso", fs::read(guest.beside("x.iso")).unwrap()));
    }
    if has("mkfs.vfat", "truncation") && has("mcopy", "truncation") {
        tool(&directory, "mkfs.vfat", &["-n", "HANDOFF", "-C", "x.fat", "1440"]);
        tool(&directory, "mcopy", &["-i", "x.fat", "files/settings.json", "files/settings.json.sig", "::/"]);
        disks.push(("mkfs.vfat", fs::read(guest.beside("x.fat")).unwrap()));
    }
    disks
}

#[test]
fn every_format_cut_at_100_places_is_refused() {
    let guest = Guest::debian();
    let blob = signed(GOOD.as_bytes());
    let before = guest.picture();
    for (name, disk) in disks(&guest, &blob) {
        let needed = needed(&disk, &blob);
        let mut codes = [0, 0];
        for place in 0..100 {
            // From nothing at all to one byte less than what is needed.
            let length = place * (needed - 1) / 99;
            let source = guest.put("settings.img", &disk[..length]);
            let run = guest.run(&["--source", &source, "apply"]);
            // 11 where it can be seen that it was ours, and in an empty file, which is settings without a signature; 10 where
            // what told so is cut off too. Nothing else is allowed.
            let code = run.code.filter(|code| [10, 11].contains(code)).unwrap_or(11);
            codes[usize::from(code == 11)] += 1;
            run.refused(code, &["settings.img"]);
        }
        assert!(codes[1] > 0, "{name}: {codes:?}");
        println!("{name}: {needed} bytes needed, {} times no settings, {} times not verified", codes[0], codes[1]);
        assert_untouched(&before, &guest.picture(), name);
        let whole = guest.put("settings.img", &disk);
        guest.run(&["--source", &whole, "plan"]).succeeded();
    }
}

#[test]
fn lengths_that_lie_are_refused_without_believing_them() {
    let guest = Guest::debian();
    let good = container::encode(&signed(GOOD.as_bytes()));
    let settings = u32::try_from(GOOD.len()).unwrap();
    let signature = u32::from_le_bytes(good[12..16].try_into().unwrap());
    let lies = [
        (settings + 1, signature),
        (settings - 1, signature + 1),
        (settings, signature + 1),
        (settings + signature, 0),
        (0, signature),
        (0, 0),
        (settings, 0),
        (u32::MAX, u32::MAX),
        (u32::MAX, 1),
        (1, u32::MAX),
        (1 << 20, 1),
        (0x8000_0000, 0x8000_0000),
    ];
    for (settings, signature) in lies {
        let mut lying = good.clone();
        lying[8..12].copy_from_slice(&settings.to_le_bytes());
        lying[12..16].copy_from_slice(&signature.to_le_bytes());
        let source = guest.put("settings.img", &lying);
        refuses(&guest, &source, 11, &["settings.img"]);
    }
}

#[test]
fn settings_that_are_old_or_another_machines_are_refused() {
    let guest = Guest::debian();
    guest.apply(GOOD).succeeded();
    refuses_settings(
        &guest,
        &GOOD.replace("\"serial\": 5", "\"serial\": 4"),
        11,
        &["settings.img", "serial", "4", "5"],
    );
    refuses_settings(&guest, &GOOD.replace("ours", "others"), 11, &["settings.img", "serial", "5"]);
    refuses_settings(&guest, r#"{ "version": 1, "hostname": "anybody" }"#, 11, &["instance"]);
    let bound = |machine: &str| {
        let instance = format!(r#""serial": 6, "machine": "{machine}""#);
        GOOD.replace("\"serial\": 5", &instance)
    };
    refuses_settings(&guest, &bound("4c4c4544-0042-3510-8052-b4c04f4e3133"), 11, &["machine", "4c4c4544"]);
    let id = guest.at("/sys/class/dmi/id/product_uuid");
    let text = fs::read(&id).unwrap();
    fs::remove_file(&id).unwrap();
    refuses_settings(&guest, &bound(MACHINE), 11, &["machine"]);
    guest.write("/sys/class/dmi/id/product_uuid", &text, 0o400);
    guest.apply(&bound(MACHINE)).succeeded();
    // Also after a way back: what was rolled back is not taken again by itself.
    guest.run(&["rollback"]).succeeded();
    refuses_settings(&guest, &bound(MACHINE), 14, &["settings.img", "rolled back"]);
}

#[test]
fn settings_that_say_what_cannot_be_are_refused_with_their_place() {
    let guest = Guest::debian();
    let cases: &[(&str, &[&str])] = &[
        ("", &["settings.img"]),
        ("{", &["line 1"]),
        ("[]", &["settings.img"]),
        ("{}", &["version"]),
        (r#"{ "version": 2 }"#, &["version", "2"]),
        (r#"{ "version": "1" }"#, &["version"]),
        ("{ \"version\": 1,\n  \"hostnme\": \"x\" }", &["hostnme", "line 2"]),
        (r#"{ "version": 1, "hostname": "a", "hostname": "b" }"#, &["hostname", "twice"]),
        (r#"{ "version": 1, "fields": { "a": 1, "a": 2 } }"#, &["fields.a", "twice"]),
        (r#"{ "version": 1, "hostname": 7 }"#, &["hostname"]),
        (r#"{ "version": 1, "hostname": null }"#, &["hostname"]),
        (r#"{ "version": 1, "users": {} }"#, &["users"]),
        (r#"{ "version": 1, "users": [ { "name": "a" }, { "name": "b", "shel": "/bin/sh" } ] }"#, &["users[1].shel"]),
        (r#"{ "version": 1, "users": [ { "name": "a", "uid": "7" } ] }"#, &["users[0].uid"]),
        (r#"{ "version": 1, "users": [ { "name": "a", "uid": -1 } ] }"#, &["users[0].uid"]),
        (r#"{ "version": 1, "users": [ { "name": "a", "uid": 1e3 } ] }"#, &["users[0].uid"]),
        (r#"{ "version": 1, "users": [ { "name": "a:b" } ] }"#, &["users[0].name"]),
        (r#"{ "version": 1, "users": [ { "name": "a", "password": "x" } ] }"#, &["users[0].password"]),
        (r#"{ "version": 1, "hostname": "a\u000ab" }"#, &["hostname"]),
        (r#"{ "version": 1, "files": [ { "path": "/etc/../etc/x", "content": "" } ] }"#, &["files[0].path", ".."]),
        (r#"{ "version": 1, "files": [ { "path": "/..", "content": "" } ] }"#, &["files[0].path", ".."]),
        (r#"{ "version": 1, "files": [ { "path": "etc/x", "content": "" } ] }"#, &["files[0].path"]),
        (r#"{ "version": 1, "files": [ { "path": "/proc/x", "content": "" } ] }"#, &["files[0].path"]),
        (r#"{ "version": 1, "files": [ { "path": "/etc/shadow", "content": "" } ] }"#, &["files[0].path"]),
        (r#"{ "version": 1, "files": [ { "path": "/x", "mode": "4755", "content": "" } ] }"#, &["files[0].mode"]),
        (r#"{ "version": 1, "users": [ { "name": "a", "home": "/home/../etc" } ] }"#, &["users[0].home", ".."]),
        (r#"{ "version": 1, "timezone": "../../etc/shadow" }"#, &["timezone"]),
        (r#"{ "version": 1, "timezone": "Europe/Atlantis" }"#, &["timezone"]),
        (r#"{ "version": 1, "services": [ { "name": "../x", "enabled": true } ] }"#, &["services[0].name"]),
        (r#"{ "version": 1, "appliance": { "class": "nginx" } }"#, &["appliance.class", "nginx", "haproxy"]),
        (r#"{ "version": 1, "users": [ { "name": "a", "uid": 1000 } ] }"#, &["users[0].uid", "alice"]),
        (
            r#"{ "version": 1, "files": [ { "path": "/x", "owner": "who", "content": "" } ] }"#,
            &["files[0].owner", "who"],
        ),
    ];
    for (settings, words) in cases {
        let words: Vec<&str> = words.iter().copied().chain(["settings.img"]).collect();
        if settings.is_empty() {
            // An empty text is no blob at all, so it lies there as a file.
            let source = guest.put("settings.img", b"");
            refuses(&guest, &source, 11, &words);
        } else {
            refuses_settings(&guest, settings, 12, &words);
        }
    }
}

#[test]
fn a_service_that_the_image_has_not_is_refused() {
    let guest = Guest::debian();
    let settings = r#"{ "version": 1, "services": [ { "name": "haprox", "enabled": true } ] }"#;
    refuses_settings(&guest, settings, 12, &["haprox", "did you mean haproxy"]);
}

/// A guest with a directory beside it that nobody may reach from inside.
fn guarded() -> (Guest, Picture) {
    let guest = Guest::debian();
    fs::create_dir(guest.beside("outside")).unwrap();
    fs::write(guest.beside("outside/authorized_keys"), "theirs\n").unwrap();
    let outside = picture(&guest.beside("outside"));
    (guest, outside)
}

fn file(path: &str) -> String {
    format!(r#"{{ "version": 1, "hostname": "after", "files": [ {{ "path": "{path}", "content": "ours" }} ] }}"#)
}

#[test]
fn links_in_the_image_never_lead_out_of_the_root() {
    let (guest, outside) = guarded();
    let real = guest.beside("outside").display().to_string();
    guest.link("/etc/absolute", &real);
    guest.link("/etc/relative", "../../outside");
    guest.link(
        "/etc/deep",
        "../../../../../../../../../../../../../../../../../../../../../../../../../../../../outside",
    );
    for name in ["absolute", "relative", "deep"] {
        // Inside of the root there is no such directory.
        refuses_settings(&guest, &file(&format!("/etc/{name}/new")), 13, &[&format!("/etc/{name}")]);
    }
    // Where a directory is wanted, a link to nowhere is seen before anything is begun.
    guest.link("/root/.ssh", &real);
    let key = operators_key().public_line().unwrap();
    let keys = format!(r#"{{ "version": 1, "users": [ {{ "name": "root", "ssh_authorized_keys": ["{key}"] }} ] }}"#);
    refuses_settings(&guest, &keys, 13, &["/root/.ssh"]);
    // A link at the end is replaced, not followed.
    guest.link("/etc/end", &format!("{real}/authorized_keys"));
    guest.apply(&file("/etc/end")).succeeded();
    assert_eq!(guest.picture()["/etc/end"].kind, 'f');
    assert_untouched(&outside, &picture(&guest.beside("outside")), "outside");
}

#[test]
fn a_link_that_a_user_owns_in_the_middle_of_a_path_is_refused() {
    if !is_root() {
        println!(
            "a_link_that_a_user_owns_in_the_middle_of_a_path_is_refused: SKIPPED, only root can give a link to a user"
        );
        return;
    }
    let (guest, outside) = guarded();
    guest.write("/opt/real/there", b"x", 0o644);
    guest.link("/opt/way", "real");
    // While it is root's it is a way like another.
    guest.run(&["--source", &guest.offer(&file("/opt/way/new")), "plan"]).succeeded();
    guest.own("/opt/way", 1000, 1000);
    refuses_settings(&guest, &file("/opt/way/new"), 13, &["/opt/way"]);
    assert_untouched(&outside, &picture(&guest.beside("outside")), "outside");
}

#[test]
fn what_a_user_plants_spoils_only_what_is_the_users_own() {
    let (guest, outside) = guarded();
    let real = guest.beside("outside").display().to_string();
    guest.link("/home/alice/.ssh", &real);
    guest.own("/home/alice/.ssh", 1000, 1000);
    guest.write("/srv/web/x", b"x", 0o644);
    guest.link("/srv/web/etc", "/etc");
    guest.own("/srv/web", 33, 33);
    guest.own("/srv/web/etc", 33, 33);
    let public = operators_key().public_line().unwrap();
    let settings = format!(
        r#"{{ "version": 1, "hostname": "after",
            "users": [ {{ "name": "alice", "ssh_authorized_keys": ["{public}"] }} ],
            "files": [ {{ "path": "/srv/web/etc/planted", "content": "ours" }} ] }}"#
    );
    let before = guest.picture();
    let run = guest.apply(&settings);
    if is_root() {
        // A warning for each, and all else is applied.
        let run = run.succeeded();
        for path in ["/home/alice/.ssh", "/srv/web/etc"] {
            assert!(
                run.err.lines().any(|line| line.starts_with("handoff: warning: ") && line.contains(path)),
                "{}",
                run.err
            );
        }
        assert_eq!(guest.read("/etc/hostname"), "after\n");
        let after = guest.picture();
        for path in ["/home/alice/.ssh", "/srv/web/etc"] {
            assert_eq!(before[path], after[path], "{path}");
        }
        assert!(!after.contains_key("/etc/planted"));
    } else {
        run.refused(13, &[]);
        assert_untouched(&before, &guest.picture(), "planted links");
    }
    assert_untouched(&outside, &picture(&guest.beside("outside")), "outside");
}

/// A machine with these disks, in a scratch directory.
fn machine(directory: &Path, disks: &[(&str, &[u8])]) -> Places {
    let places = Places { sys_class_block: directory.join("class"), dev: directory.join("dev") };
    fs::create_dir_all(&places.dev).unwrap();
    for (name, content) in disks {
        fs::create_dir_all(places.sys_class_block.join(name)).unwrap();
        fs::write(places.dev.join(name), content).unwrap();
    }
    places
}

#[test]
fn two_disks_that_both_qualify_are_refused_whatever_they_hold() {
    let blob = signed(GOOD.as_bytes());
    let other = signed(GOOD.replace("5", "6").as_bytes());
    let disks = [
        ("raw and raw", disk(Format::Raw, &blob), disk(Format::Raw, &other)),
        ("raw and iso", disk(Format::Raw, &blob), disk(Format::Iso, &other)),
        ("iso and fat", disk(Format::Iso, &blob), disk(Format::Fat, &other)),
        ("the same twice", disk(Format::Raw, &blob), disk(Format::Raw, &blob)),
    ];
    for (name, one, two) in disks {
        let scratch = tempfile::tempdir().unwrap();
        let places = machine(scratch.path(), &[("vda", &[0; 4096]), ("vdb", &one), ("vdc", &two)]);
        let started = Instant::now();
        let errors = [
            source::scan(&places).unwrap_err(),
            source::wait(&[Spec::Auto], &places, started + Duration::from_secs(20), &mut None).unwrap_err(),
        ];
        assert!(started.elapsed() < Duration::from_secs(3), "{name}: {:?}", started.elapsed());
        for error in errors {
            let text = error.to_string();
            assert_eq!(error.class().exit_code(), 11, "{name}: {text}");
            assert!(text.contains("vdb") && text.contains("vdc") && text.contains("detach"), "{name}: {text}");
        }
        fs::remove_dir(places.sys_class_block.join("vdc")).unwrap();
        assert!(source::scan(&places).unwrap().is_some(), "{name}");
    }
}

#[test]
fn no_settings_at_all_is_an_error_at_the_deadline_and_not_long_after() {
    let guest = Guest::debian();
    let before = guest.picture();
    let missing = guest.beside("none");
    for source in [format!("file:{}", missing.display()), format!("disk:{}", missing.display())] {
        for seconds in [0, 2] {
            let started = Instant::now();
            let run = guest.run(&["--source", &source, "--wait", &seconds.to_string(), "apply"]);
            let took = started.elapsed();
            run.refused(10, &["settings", &format!("{} is not there", missing.display())]);
            let least = Duration::from_secs(seconds);
            assert!(took >= least && took < least + Duration::from_secs(2), "{source}: {took:?} for {seconds} s");
        }
    }
    assert_untouched(&before, &guest.picture(), "no settings");
    let scratch = tempfile::tempdir().unwrap();
    let places = machine(scratch.path(), &[("vda", &[0; 4096])]);
    let started = Instant::now();
    let found = source::wait(&[Spec::Auto], &places, started + Duration::from_millis(700), &mut None).unwrap();
    let took = started.elapsed();
    assert!(found.is_none() && took >= Duration::from_millis(700) && took < Duration::from_secs(2), "{took:?}");
}

/// Runs `apply` with no more than this many KiB of address space.
fn within(guest: &Guest, kib: u32, source: &str) -> Run {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -v {kib}; exec \"$@\"")).arg("sh").arg(proof::agent());
    shell.arg("--root").arg(guest.root()).args(["--source", source, "apply"]);
    proof::run(&mut shell)
}

#[test]
fn four_gib_of_anything_take_bounded_time_and_memory() {
    let guest = Guest::debian();
    let before = guest.picture();
    let mut header = container::encode(&signed(GOOD.as_bytes()));
    header[8..12].copy_from_slice(&0xffff_ff00_u32.to_le_bytes());
    // Each begins with something else, and is zeros from there to its end.
    let cases: [(&[u8], i32); 4] = [(b"", 10), (b"{ \"version\": 1 }", 11), (b"   ", 11), (&header, 11)];
    for (start, code) in cases {
        let source = guest.put("settings.img", start);
        let large = fs::OpenOptions::new().write(true).open(guest.beside("settings.img")).unwrap();
        large.set_len(4 << 30).unwrap();
        let started = Instant::now();
        // The debug build itself takes some of it.
        let run = within(&guest, 48 << 10, &source);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        run.refused(code, &["settings.img"]);
    }
    assert_untouched(&before, &guest.picture(), "4 GiB");
}
