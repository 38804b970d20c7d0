//! Disks that the host changes while they are read: what is applied is what was signed, whole, or nothing is.

use super::proof::{Guest, PRINCIPAL, operators_key, signed};
use handoff::operator::disk::{Format, image};
use handoff::source::{ReadAt, probe};
use handoff::trust::{Blob, Clock, MAX_BLOB, Requirement, TrustedKeys, verify};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Numbers that look like chance and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// A disk that is another one at some of its reads, in the middle of a request too.
struct Changing<'a> {
    disks: &'a [Vec<u8>],
    /// Of 16 reads so many come from another disk than the first.
    often: u64,
    numbers: Cell<u64>,
    read: Cell<usize>,
    most: Cell<usize>,
}

impl ReadAt for Changing<'_> {
    fn size(&self) -> u64 {
        let mut numbers = Numbers(self.numbers.get());
        let disk = if numbers.next() % 16 < self.often { numbers.below(self.disks.len()) } else { 0 };
        self.numbers.set(numbers.0);
        self.disks[disk].len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.most.set(self.most.get().max(buffer.len()));
        let mut numbers = Numbers(self.numbers.get());
        let disk = if numbers.next() % 16 < self.often { numbers.below(self.disks.len()) } else { 0 };
        let part = 1 + numbers.below(buffer.len() * 2);
        self.numbers.set(numbers.0);
        let part = part.min(buffer.len());
        let done = self.disks[disk].read_at(offset, &mut buffer[..part])?;
        self.read.set(self.read.get() + done);
        Ok(done)
    }
}

/// Settings whose every part says which of them it is, long enough to be read in several requests.
fn settings(word: &str) -> String {
    format!(
        r#"{{ "version": 1, "hostname": "{word}", "files": [ {{ "path": "/etc/motd", "content": "{}" }} ] }}"#,
        format!("{word}\\n").repeat(20_000)
    )
}

#[test]
fn a_disk_that_changes_between_two_reads_gives_signed_settings_whole_or_none() {
    let [one, two] = ["one", "two"].map(|word| signed(settings(word).as_bytes()));
    let line = format!("{PRINCIPAL} {}\n", operators_key().public_line().unwrap());
    let keys = TrustedKeys::parse("trusted-keys", line.as_bytes()).unwrap();
    let clock = Clock { now: 1_800_000_000, floor: 1_700_000_000 };
    let believed = |blob: Blob| verify("disk", blob, Requirement::Signature, &keys, None, clock).is_ok();
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for format in [Format::Raw, Format::Iso, Format::Fat] {
        let (first, second) = (image(format, &one).unwrap(), image(format, &two).unwrap());
        let mut noise = first.clone();
        noise.iter_mut().for_each(|byte| *byte = numbers.next() as u8);
        let disks = [first, second, noise];
        let (mut taken, mut mixed, mut refused) = (0, 0, 0);
        for round in 0..400 {
            let disk = Changing {
                disks: if round % 4 == 3 { &disks } else { &disks[..2] },
                often: [0, 1, 4, 16][round / 100],
                numbers: Cell::new(numbers.next()),
                read: Cell::new(0),
                most: Cell::new(0),
            };
            match probe("disk", &disk) {
                Ok(Some(blob)) if blob == one || blob == two => taken += 1,
                Ok(Some(blob)) => {
                    // The digest of a container sees it; of a volume, the signature.
                    assert!(format != Format::Raw, "round {round}");
                    assert!(!believed(blob), "round {round}");
                    mixed += 1;
                }
                Ok(None) | Err(_) => refused += 1,
            }
            assert!(disk.most.get() <= MAX_BLOB + 4096, "{} bytes in one request", disk.most.get());
            assert!(disk.read.get() <= 65 << 20, "{} bytes are read", disk.read.get());
        }
        println!("{format:?}: {taken} times one of both, {mixed} a mixture that is not believed, {refused} refused");
        assert!((100..400).contains(&taken), "{format:?}");
    }
}

#[test]
fn a_disk_that_is_written_while_it_is_applied_gives_one_of_the_two_settings_or_none() {
    let guest = Guest::debian();
    let texts = ["one", "two"].map(settings);
    let blobs = texts.each_ref().map(|text| signed(text.as_bytes()));
    let formats = [Format::Raw, Format::Iso, Format::Fat];
    let images = formats.map(|format| blobs.each_ref().map(|blob| image(format, blob).unwrap()));
    let sources: Vec<String> = (0..3).map(|at| guest.put(&format!("disk{at}.img"), &images[at][0])).collect();
    let files: Vec<File> =
        (0..3).map(|at| OpenOptions::new().write(true).open(guest.beside(&format!("disk{at}.img"))).unwrap()).collect();
    let end = AtomicBool::new(false);
    let (mut taken, mut refused) = ([0, 0], 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
            while !end.load(Ordering::Relaxed) {
                let [which, disk] = [numbers.below(2), numbers.below(3)];
                let image = &images[disk][which];
                // From the front or the back, in pieces, and now and then at rest.
                let piece = 4096 << numbers.below(4);
                let mut pieces: Vec<usize> = (0..image.len()).step_by(piece).collect();
                if numbers.below(2) == 0 {
                    pieces.reverse();
                }
                for at in pieces {
                    files[disk].write_all_at(&image[at..(at + piece).min(image.len())], at as u64).unwrap();
                    std::thread::sleep(Duration::from_micros(50));
                }
                if numbers.below(4) == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let mut now = None;
        for round in 0..200 {
            let run = guest.run(&["--source", &sources[round % 3], "apply"]);
            match run.code {
                Some(0) => {
                    let name = guest.read("/etc/hostname");
                    let which =
                        ["one\n", "two\n"].iter().position(|word| *word == name).unwrap_or_else(|| panic!("{name}"));
                    taken[which] += 1;
                    now = Some(which);
                }
                _ => {
                    run.refused(11, &[&format!("disk{}.img", round % 3)]);
                    refused += 1;
                }
            }
            if let Some(which) = now {
                let word = ["one\n", "two\n"][which];
                assert_eq!(guest.read("/etc/hostname"), word, "round {round}");
                assert!(guest.read("/etc/motd") == word.repeat(20_000), "round {round}");
            }
        }
        end.store(true, Ordering::Relaxed);
    });
    println!("applied {taken:?} times, refused {refused} times, neither of both never");
    assert!(taken.iter().all(|times| *times > 0), "{taken:?}");
}
