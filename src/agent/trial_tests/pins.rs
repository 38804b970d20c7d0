//! A pin on the kernel's command line binds what a guest goes back to.

use super::guest::{Flaw, Guest, with_a_good_one};
use crate::agent::arguments::Command;
use crate::agent::boot::{self};
use crate::agent::commands::{self};
use crate::agent::status::{Mode, Outcome};
use crate::error::Error;
use std::fs;
use std::path::PathBuf;

#[test]
fn a_guest_never_goes_back_to_settings_that_are_not_pinned() {
    for failure in ["last-good", "stop", "continue"] {
        let guest = with_a_good_one(failure);
        guest.offer_good(2);
        guest.pin(Some(&Guest::settings(2)));
        assert_eq!(guest.boot().0, 0);
        for _ in 0..3 {
            // There is nothing to go back to, so a boot counts and a look does not.
            assert!(!guest.look(false));
            guest.boot();
            assert_eq!(guest.marker(), "2", "{failure}");
        }
        let (code, outcome, message) = guest.boot();
        let why = "generation 2 did not get ready in 2 attempts, and the pinned ones are all that it may run on";
        assert!(message.contains(why), "{message}");
        let expected = if failure == "continue" { (0, Outcome::Continued) } else { (13, Outcome::Stopped) };
        assert_eq!((code, outcome), expected, "{message}");
        if failure != "continue" {
            assert_eq!(guest.wait().1, Outcome::Stopped);
        }
        let state = guest.state();
        assert_eq!((state.good(), state.rejected.len(), guest.marker()), (Some(1), 0, "2".into()));

        // The good ones are not forgotten. Without the pin it is as it would have been.
        guest.pin(None);
        guest.boot();
        assert_eq!(guest.marker(), "1", "{failure}");
    }
}

#[test]
fn settings_in_place_that_are_not_pinned_count_as_none() {
    let refused = |guest: &Guest| {
        guest.offer_flawed(Flaw::Forged, 1);
        guest.boot()
    };
    let other = "m-1 serial 1 (generation 1) is not what the kernel's command line pins";
    for (failure, code) in [("last-good", 11), ("stop", 11), ("continue", 0)] {
        let guest = with_a_good_one(failure);
        guest.pin(Some(&Guest::settings(1)));
        let (_, _, message) = refused(&guest);
        assert!(!message.contains(other), "{message}");
        guest.pin(Some(&Guest::settings(2)));
        let (exit, _, message) = refused(&guest);
        assert_eq!(exit, code, "{message}");
        assert!(message.contains(other), "{message}");
    }
}

#[test]
fn a_guest_that_may_run_on_its_last_good_settings_alone_stops_where_others_are_pinned() {
    let guest = with_a_good_one("last-good");
    // The pinned ones are there and refused for something else, or are not there.
    let forged = || guest.offer(&Guest::settings(2), Some(&guest.stranger));
    let missing = || guest.offer_flawed(Flaw::Missing, 1);
    guest.pin(Some(&Guest::settings(1)));
    missing();
    assert_eq!(guest.boot().1, Outcome::LastGood);
    guest.pin(Some(&Guest::settings(2)));
    let before = guest.picture();
    missing();
    assert_eq!((guest.boot().0, guest.boot().1), (10, Outcome::Stopped));
    forged();
    assert_eq!((guest.boot().0, guest.boot().1), (11, Outcome::Stopped));
    // What comes while it is stopped and is refused does not let the boot go on either.
    assert_eq!(guest.wait().1, Outcome::Stopped);
    assert_eq!(boot::refused(&guest.root, Mode::Service, &Error::not_applied("a", "b", "c")).outcome, Outcome::Stopped);
    // A pin that cannot be read is not none.
    guest.command_line("handoff.digest=sha256:1");
    assert_eq!(guest.boot().1, Outcome::Stopped);
    guest.pin(Some(&Guest::settings(2)));
    let changed = guest.picture().into_iter().filter(|(path, seen)| before.get(path) != Some(seen));
    let changed: Vec<PathBuf> = changed.map(|one| one.0).filter(|path| !path.ends_with("proc/cmdline")).collect();
    assert!(changed.is_empty(), "{changed:?}");

    // A boot that needs no settings needs those that are in place to be the pinned ones.
    let class = guest.tree.join("usr/lib/handoff/class.json");
    let text = fs::read_to_string(&class).unwrap();
    fs::write(&class, text.replace("\"trust\"", "\"settings\": \"optional\", \"trust\"")).unwrap();
    missing();
    let (code, outcome, message) = guest.boot();
    assert_eq!((code, outcome), (11, Outcome::Stopped), "{message}");
    assert!(message.contains("generation 1: its settings have the digest"), "{message}");
    guest.pin(Some(&Guest::settings(1)));
    assert_eq!((guest.boot().0, guest.boot().1), (0, Outcome::NoSettings));

    // The pinned ones, in the stopped boot.
    guest.pin(Some(&Guest::settings(2)));
    guest.offer_good(2);
    assert_eq!((guest.wait().1, guest.marker()), (Outcome::Applied, "2".into()));
}

#[test]
fn a_rollback_by_hand_to_what_is_not_pinned_is_refused() {
    let guest = with_a_good_one("last-good");
    guest.offer_good(2);
    guest.boot();
    guest.pin(Some(&Guest::settings(2)));
    let before = guest.picture();
    let arguments = guest.arguments(Command::Rollback { generation: Some(1) });
    let roll_back = || commands::rollback(&guest.root, &arguments, Some(1), &mut Vec::new(), &mut Vec::new());
    let error = roll_back().unwrap_err();
    assert_eq!((error.class().exit_code(), error.object()), (11, "generation 1"));
    assert!(error.remedy().starts_with("start the guest with handoff.digest=sha256:"), "{error}");
    assert_eq!(guest.picture(), before);
    guest.pin(Some(&Guest::settings(1)));
    roll_back().unwrap();
    assert_eq!(guest.marker(), "1");
}
