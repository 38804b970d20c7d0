//! What a guest lives through while settings are on trial.

mod guest;
mod lives;
mod pins;

use crate::agent::boot::{self, exit_code};
use crate::agent::ready;
use crate::agent::status::{Mode, Outcome};
use crate::agent::trial::{self};
use crate::commit::fuse::until_cut;
use crate::commit::{self};
use crate::source::{self, Places, Spec};
use guest::{FLAWS, Guest, Picture, with_a_good_one};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Places with two disks that hold what the guest would take.
fn two_disks(guest: &Guest) -> Places {
    let directory = guest.disk.parent().unwrap();
    let places = Places { sys_class_block: directory.join("class"), dev: directory.join("dev") };
    guest.offer_good(9);
    for name in ["vdb", "vdc"] {
        let sys = places.sys_class_block.join(name);
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("size"), "8\n").unwrap();
        fs::create_dir_all(&places.dev).unwrap();
        fs::copy(&guest.disk, places.dev.join(name)).unwrap();
    }
    places
}

#[test]
fn what_is_refused_costs_a_guest_nothing_on_trial_or_not() {
    for (flaw, code) in FLAWS {
        let guest = Guest::new(3, "last-good", "signature");
        guest.offer_good(1);
        assert_eq!(guest.boot().0, 0);
        assert!(!guest.look(true));
        let before = guest.picture();
        guest.offer_flawed(flaw, 1);
        let (exit, outcome, message) = guest.boot();
        assert_eq!((exit, outcome), (14, Outcome::LastGood), "{flaw:?}: {message}");
        assert!(message.starts_with(&format!("NOT APPLIED (code {code}): ")), "{flaw:?}: {message}");
        assert!(message.ends_with("; running on the last good settings, m-1 serial 1 (generation 1)"), "{message}");
        assert_eq!(guest.picture(), before, "{flaw:?}");

        // Two disks at once are no choice, whatever they hold.
        let places = two_disks(&guest);
        let error = source::wait(&[Spec::Auto], &places, Instant::now(), &mut None).unwrap_err();
        let status = boot::refused(&guest.root, Mode::Service, &error);
        assert_eq!(
            (exit_code(&status), status.code, status.outcome),
            (14, 11, Outcome::LastGood),
            "{}",
            status.message
        );
        assert_eq!(guest.picture(), before);

        // The same while others are on trial: only the attempt is counted.
        guest.offer_good(2);
        assert_eq!(guest.boot().0, 0);
        let before = guest.picture();
        guest.offer_flawed(flaw, 2);
        let (exit, _, message) = guest.boot();
        assert_eq!(exit, 14, "{flaw:?}: {message}");
        assert!(
            message.ends_with("; running on the settings of before, m-1 serial 2 (generation 2, on trial)"),
            "{message}"
        );
        let state = Path::new("var/lib/handoff/state.json");
        let differing = |after: Picture| -> Vec<PathBuf> {
            let paths = after
                .into_iter()
                .filter(|(path, seen)| before.get(path) != Some(seen) && !path.ends_with("var/lib/handoff"));
            paths.map(|(path, _)| path.strip_prefix(&guest.tree).unwrap().to_owned()).collect()
        };
        assert_eq!(differing(guest.picture()), [state], "{flaw:?}");
        assert_eq!(guest.state().trial.map(|trial| (trial.attempt, trial.good)), Some((2, Some(1))), "{flaw:?}");
    }
}

#[test]
fn who_looks_ends_what_it_was_killed_in() {
    let mut cuts = 0;
    for steps in 0.. {
        let guest = with_a_good_one("last-good");
        guest.offer_good(2);
        guest.boot();
        let ended = until_cut(Some(steps), || ready::ready(&guest.root, &mut Vec::new()).unwrap());
        if ended.is_some() {
            break;
        }
        cuts += u32::from(commit::interrupted(&guest.root).unwrap());
        assert_eq!(ready::ready(&guest.root, &mut Vec::new()), Ok(0), "killed after {steps} steps");
        assert_eq!((guest.state().trial, guest.state().good()), (None, Some(2)));
    }
    assert!(cuts > 1, "{cuts}");
}

#[test]
fn what_came_while_somebody_looked_is_not_judged_by_that_look() {
    let guest = with_a_good_one("last-good");
    guest.offer_good(2);
    guest.boot();
    let mut seen = guest.state();
    guest.offer_good(3);
    guest.boot();
    let before = guest.picture();
    let mut err = Vec::new();
    let went_back = ready::go_back(&guest.root, 2, 1, "generation 2 was not ready", &mut err);
    assert_eq!(went_back, Ok(false));
    let told = "handoff: generation 2 was not ready; m-1 serial 3 (generation 3, on trial) came meanwhile and stays\n";
    assert_eq!(String::from_utf8(err).unwrap(), told);
    // Nor is the memory of before written over theirs.
    assert!(trial::judged(&guest.root, &mut seen, 2, true).is_err());
    assert!(trial::judged(&guest.root, &mut seen, 2, false).is_err());
    assert_eq!(guest.picture(), before);
}
