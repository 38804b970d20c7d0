//! The seeds of the fuzz targets, and a fixed number of fixed changes of each: the bounded share of `make fuzz` that needs
//! neither libFuzzer nor a compiler for C++.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![allow(missing_docs)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{TARGETS, Target};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often each seed is changed.
const CHANGES: usize = 500;
/// How long one input may take here, without optimisation and beside other tests.
const SLOW: Duration = Duration::from_secs(10);

/// What numbers and texts are damaged with.
const WORDS: [&[u8]; 14] = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"\"",
    b"\\u0000",
    b"[[[[[[[[",
    b"{\"\":",
    b"\n",
    b":",
    b"../../..",
    b"{% for x in texts %}",
];

/// A generator of numbers that is the same on each machine: xorshift64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// A few changes of the seed, with parts of another one.
fn changed(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(64)).min(bytes.len());
        match numbers.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => drop(bytes.splice(at..end, WORDS[numbers.below(WORDS.len())].iter().copied())),
            4 => {
                let from = numbers.below(other.len());
                let part = &other[from..(from + numbers.below(256)).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
            5 => bytes[at..end].reverse(),
            _ if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
    bytes
}

fn judge(target: &Target, what: &str, input: &[u8]) -> bool {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| target.judge(input)));
    let took = start.elapsed();
    match result {
        Ok(understood) if took < SLOW => understood,
        result => {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
            fs::write(&kept, input).unwrap();
            let fault = if result.is_ok() { format!("takes {took:?}") } else { "is not survived".into() };
            panic!("{}: {what} {fault}; it is kept in {}", target.name, kept.display());
        }
    }
}

fn try_all(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut understood = 0;
    for (seed, bytes) in &seeds {
        let is_good = judge(target, seed, bytes);
        // A format that changes must not leave seeds behind that end at its first byte.
        assert_eq!(is_good, !seed.starts_with("refused-"), "{name}/{seed} is understood: {is_good}");
        for number in 0..CHANGES {
            let other = &seeds[numbers.below(seeds.len())].1;
            let input = changed(bytes, other, &mut numbers);
            understood += usize::from(judge(target, &format!("change {number} of {seed}"), &input));
        }
    }
    println!("{name}: {} seeds, {} changes, {understood} of them understood", seeds.len(), seeds.len() * CHANGES);
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { try_all(stringify!($name)); })*

        #[test]
        fn no_target_is_forgotten() {
            assert_eq!(TARGETS.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

targets!(accounts class container fat iso9660 journal keys settings sshsig state status templates);
