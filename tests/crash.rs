//! The agent as a program, killed at a system call in the middle of an `apply`: what is found afterwards is the old guest or
//! the new one, and the next `apply` ends in the new one as if nothing had happened. `HANDOFF_CRASH_FULL=1`: at every call.
//!
//! A process that is killed loses nothing that it has given to the kernel. What a power failure may lose is for the tests of
//! the engine, which know what was flushed, and for those on machines.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use handoff::commit;
use handoff::root::Root;
use proof::report::Counts;
use proof::strace::{Call, Fate, apply, calls, copy, each, is_full, is_new, share};
use proof::{Guest, agent, has, picture, same};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const ONE: &str = include_str!("golden/design/1.json");
const TWO: &str = include_str!("golden/design/2.json");

/// How many calls of each kind are points to be killed at, where not all are.
const POINTS: usize = 5;
/// What one change may take, then.
const BUDGET: Duration = Duration::from_secs(90);

/// Those that are made before the program is the agent, or cannot be killed at.
fn is_point(call: &Call) -> bool {
    !matches!(call.name.as_str(), "execve" | "exit_group" | "exit")
}

/// The points of a run: every call, or some of each kind.
fn points(calls: Vec<Call>) -> Vec<Call> {
    let mut names: Vec<String> = calls.iter().map(|call| call.name.clone()).collect();
    names.sort();
    names.dedup();
    let of = |name: String| share(calls.iter().filter(|call| call.name == name).cloned().collect(), POINTS);
    names.into_iter().flat_map(of).filter(is_point).collect()
}

/// Kills the change of `before` (a guest with its settings applied) by `settings` at many points.
fn kill_everywhere(name: &str, bench: &Guest, before: &Path, settings: &str) {
    let began = Instant::now();
    let source = bench.offer(settings);
    let (trace, victim) = (bench.beside("trace"), bench.beside("victim"));
    copy(before, &victim);
    let old = picture(&victim);
    apply(&victim, &source, &trace, Fate::Spared).succeeded();
    let new = picture(&victim);
    assert!(same(&old, &new).is_err(), "nothing changes");
    let made = calls(&trace);
    let all = made.len();
    let points = points(made);
    let counts = Mutex::new((Counts::default(), 0));
    each(&points, &bench.beside(""), |call, directory| {
        assert!(is_full() || began.elapsed() < BUDGET, "{name}: took too long");
        let (victim, trace) = (directory.join("victim"), directory.join("trace"));
        copy(before, &victim);
        let run = apply(&victim, &source, &trace, Fate::Killed(call));
        let place = format!("{name}, killed at {} number {}: {}", call.name, call.number, call.text);
        if run.signal.is_none() && run.code == Some(0) {
            // The number of some calls differs from run to run, so a few are not reached.
            counts.lock().unwrap().1 += 1;
            return;
        }
        assert!(run.signal == Some(9) || run.code == Some(137), "{place}: {run:?}");
        commit::recover(&Root::open(&victim).unwrap()).unwrap_or_else(|error| panic!("{place}: {error}"));
        let is_new = is_new(&old, &new, &picture(&victim), &place);
        let tried = {
            let mut counts = counts.lock().unwrap();
            counts.0.count(is_new);
            counts.0.points
        };
        // Now and then without somebody who recovers first.
        if tried % 4 == 0 {
            copy(before, &victim);
            apply(&victim, &source, &trace, Fate::Killed(call));
        }
        let mut again = Command::new(agent());
        again.arg("--root").arg(&victim).args(["--source", &source, "apply"]);
        proof::run(&mut again).succeeded();
        if let Err(paths) = same(&new, &picture(&victim)) {
            panic!("{place}: the next apply leaves {paths:?} otherwise");
        }
    });
    let (counts, unharmed) = counts.into_inner().unwrap();
    println!("{name}: {} of {all} calls were points, {unharmed} were not reached", points.len());
    counts.report(&format!("killed at a system call, {name}"), began.elapsed());
    assert!(counts.points > 40 && counts.old > 0 && counts.new > 0 && unharmed < 10.max(counts.points / 50));
    assert!(!is_full() || counts.points + unharmed == points.len());
}

#[test]
fn an_apply_that_is_killed_anywhere_leaves_the_old_guest_or_the_new_one() {
    if !has("strace", "an_apply_that_is_killed_anywhere_leaves_the_old_guest_or_the_new_one") {
        return;
    }
    let bench = Guest::debian_in_memory();
    bench.apply(&TWO.replace("\"serial\": 8", "\"serial\": 6")).succeeded();
    // Much comes: an account, its home, a file in place of the image's.
    kill_everywhere("settings that add", &bench, &bench.root(), ONE);
    bench.apply(ONE).succeeded();
    // And goes again.
    kill_everywhere("settings that take away", &bench, &bench.root(), TWO);
}
