//! The agent under strace, which tells its system calls one by one, ends it at any of them, or answers for the system.

use super::{Picture, Run, agent, same};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One system call of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Which one of this name it is, from 1.
    pub number: usize,
    /// Its arguments and its answer, as strace shows them.
    pub text: String,
}

/// What happens to a run.
#[derive(Clone, Copy, Debug)]
pub enum Fate<'a> {
    /// Nothing.
    Spared,
    /// It is killed when it makes this call, which is not carried out.
    Killed(&'a Call),
    /// This call fails with this error.
    Refused(&'a Call, &'a str),
    /// As for a disk that dies: with this error fails, from this moment on, every call that would touch it. For each kind of
    /// call, the number of the first one that fails.
    Cut(&'a BTreeMap<String, usize>, &'a str),
}

/// Runs `apply` on a root.
pub fn apply(root: &Path, source: &str, trace: &Path, fate: Fate<'_>) -> Run {
    let mut strace = Command::new("strace");
    // Long names, because a test looks for what they say.
    strace.args(["-f", "-qq", "-s", "200", "-o"]).arg(trace);
    // A filter lets calls that are not traced pass without a stop, which makes it several times as fast. No signal is sent
    // where it stops a call, though.
    if !matches!(fate, Fate::Killed(_)) {
        strace.arg("--seccomp-bpf");
    }
    match fate {
        Fate::Spared => {}
        Fate::Killed(Call { name, number, .. }) => {
            strace.args(["-e", &format!("trace={name}"), "-e", &format!("inject={name}:signal=KILL:when={number}")]);
        }
        Fate::Refused(Call { name, number, .. }, error) => {
            strace.args(["-e", &format!("trace={name}"), "-e", &format!("inject={name}:error={error}:when={number}")]);
        }
        Fate::Cut(first, error) => {
            let names: Vec<&str> = first.keys().map(String::as_str).collect();
            strace.args(["-e", &format!("trace={}", names.join(","))]);
            for (name, number) in first {
                strace.args(["-e", &format!("inject={name}:error={error}:when={number}+")]);
            }
        }
    }
    strace.arg(agent()).arg("--root").arg(root).args(["--source", source, "apply"]);
    super::run(&mut strace)
}

/// The calls that a trace holds, in order.
pub fn calls(trace: &Path) -> Vec<Call> {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut calls = Vec::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let text = line.split_once(' ').map_or("", |(_, text)| text.trim_start());
        let Some((name, _)) = text.split_once('(') else { continue };
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_') {
            continue;
        }
        let number = counts.entry(name.to_owned()).or_default();
        *number += 1;
        calls.push(Call { name: name.to_owned(), number: *number, text: text.to_owned() });
    }
    calls
}

/// A copy of a tree with owners, modes and times.
pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether it is the new guest. Panics where it is neither that nor the old one.
#[track_caller]
pub fn is_new(old: &Picture, new: &Picture, found: &Picture, place: &str) -> bool {
    match (same(old, found), same(new, found)) {
        (Ok(()), _) => false,
        (_, Ok(())) => true,
        (Err(from_old), Err(from_new)) => {
            panic!("{place}: neither the old guest (differs in {from_old:?}) nor the new one ({from_new:?})")
        }
    }
}

/// Does the work for each item, several at a time, each worker with a directory of its own below `beside`.
pub fn each<T: Sync>(items: &[T], beside: &Path, work: impl Fn(&T, &Path) + Sync) {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, |number| number.get().min(4));
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (next, work) = (&next, &work);
            let directory: PathBuf = beside.join(format!("worker-{worker}"));
            scope.spawn(move || {
                fs::create_dir_all(&directory).unwrap();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item, &directory);
                }
            });
        }
    });
}

/// `number` of the items, at equal distances, the last one among them; all of them where the suites run in full
/// (`HANDOFF_CRASH_FULL=1`).
pub fn share<T>(items: Vec<T>, number: usize) -> Vec<T> {
    share_of(items, number, usize::MAX)
}

/// The same, and `full` of them where the suites run in full.
pub fn share_of<T>(items: Vec<T>, number: usize, full: usize) -> Vec<T> {
    let (all, number) = (items.len(), if is_full() { full } else { number });
    if all <= number {
        return items;
    }
    let is_chosen = |index: usize| (index + 1) * number / all > index * number / all;
    items.into_iter().enumerate().filter(|(index, _)| is_chosen(*index)).map(|(_, item)| item).collect()
}

/// Whether every point is to be tried, and not only a share of them.
pub fn is_full() -> bool {
    std::env::var_os("HANDOFF_CRASH_FULL").is_some_and(|value| value == "1")
}
