//! The agent as a program, killed at a system call in the middle of an `apply`: what is found afterwards is the old guest or
//! the new one, and the next `apply` ends in the new one as if nothing had happened.
//!
//! A process that is killed loses nothing that it has given to the kernel. What a power failure may lose is for the tests of
//! the engine, which know what was flushed.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use handoff::commit;
use handoff::root::Root;
use proof::{Guest, agent, has, picture, same};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ONE: &str = include_str!("golden/design/1.json");
const TWO: &str = include_str!("golden/design/2.json");

/// How many calls of each kind are points to be killed at.
const POINTS: usize = 7;
/// What all of it may take.
const BUDGET: Duration = Duration::from_secs(90);

/// The system calls that change something, and those that the rest is made of.
const CALLS: &str = "?open,openat,write,fsync,syncfs,?rename,renameat,renameat2,?unlink,unlinkat,?mkdir,mkdirat,?symlink,symlinkat,\
                     fchmod,fchown,fcntl,flock,close,read";

/// Runs `apply` under strace; with a point, until it is killed at that call.
fn traced(root: &Path, source: &str, trace: &Path, point: Option<(&str, usize)>) -> proof::Run {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(trace);
    match point {
        None => strace.arg("-e").arg(format!("trace={CALLS}")),
        Some((call, number)) => {
            strace.arg("-e").arg(format!("trace={call}"));
            strace.arg("-e").arg(format!("inject={call}:signal=KILL:when={number}"))
        }
    };
    strace.arg(agent()).arg("--root").arg(root).args(["--source", source, "apply"]);
    proof::run(&mut strace)
}

/// How often each system call was made.
fn counted(trace: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let call = line.split_whitespace().nth(1).unwrap_or_default().split('(').next().unwrap();
        if !call.is_empty() && call.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            *counts.entry(call.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// A copy of a tree with owners, modes and times.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Kills the change of `before` (a guest with its settings applied) by `settings` at many points.
fn kill_everywhere(name: &str, bench: &Guest, before: &Path, settings: &str, ends: Instant) {
    let source = bench.offer(settings);
    let trace = bench.beside("trace");
    let victim = bench.beside("victim");
    copy(before, &victim);
    let old = picture(&victim);
    traced(&victim, &source, &trace, None).succeeded();
    let new = picture(&victim);
    assert!(same(&old, &new).is_err(), "nothing changes");
    let (mut tried, mut were_old, mut were_new, mut unharmed) = (0, 0, 0, 0);
    for (call, count) in counted(&trace) {
        let points = POINTS.min(count);
        for point in 0..points {
            assert!(Instant::now() < ends, "{name}: {tried} points took too long");
            // The last one is always among them.
            let number = (point + 1) * count / points;
            copy(before, &victim);
            let run = traced(&victim, &source, &trace, Some((&call, number)));
            let place = format!("{name}, killed at {call} number {number} of {count}");
            if run.signal.is_none() && run.code == Some(0) {
                unharmed += 1;
                continue;
            }
            assert!(run.signal == Some(9) || run.code == Some(137), "{place}: {run:?}");
            tried += 1;
            commit::recover(&Root::open(&victim).unwrap()).unwrap_or_else(|error| panic!("{place}: {error}"));
            let found = picture(&victim);
            match (same(&old, &found), same(&new, &found)) {
                (Ok(()), _) => were_old += 1,
                (_, Ok(())) => were_new += 1,
                (Err(from_old), Err(from_new)) => {
                    panic!("{place}: neither the old guest (differs in {from_old:?}) nor the new one ({from_new:?})")
                }
            }
            // Now and then without somebody who recovers first.
            if tried % 4 == 0 {
                copy(before, &victim);
                traced(&victim, &source, &trace, Some((&call, number)));
            }
            let mut again = Command::new(agent());
            again.arg("--root").arg(&victim).args(["--source", &source, "apply"]);
            proof::run(&mut again).succeeded();
            if let Err(paths) = same(&new, &picture(&victim)) {
                panic!("{place}: the next apply leaves {paths:?} otherwise");
            }
        }
    }
    println!("{name}: {tried} points tried, {were_old} old, {were_new} new, neither 0; {unharmed} not reached");
    assert!(tried > 40 && were_old > 0 && were_new > 0 && unharmed < tried / 10);
}

#[test]
fn an_apply_that_is_killed_anywhere_leaves_the_old_guest_or_the_new_one() {
    if !has("strace", "an_apply_that_is_killed_anywhere_leaves_the_old_guest_or_the_new_one") {
        return;
    }
    let ends = Instant::now() + BUDGET;
    let bench = Guest::debian_in_memory();
    bench.apply(&TWO.replace("\"serial\": 8", "\"serial\": 6")).succeeded();
    // Much comes: an account, its home, a file in place of the image's.
    kill_everywhere("settings that add", &bench, &bench.root(), ONE, ends);
    bench.apply(ONE).succeeded();
    // And goes again.
    kill_everywhere("settings that take away", &bench, &bench.root(), TWO, ends);
}
