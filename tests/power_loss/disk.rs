//! Disks of two partitions, as a guest has them and as a power loss leaves them: made, taken apart, mounted and checked.
//!
//! A partition is a file of its own here, so that the tools of each file system take it as it is. Mounts are made in the
//! mount namespace of the thread, and their loop devices go with them: nothing is left, however the test ends.

use super::harness::program;
use super::log::{Entry, SECTOR};
use super::points::{Kept, WHOLE};
use super::proof;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// How long somebody may be on a file system that is to be unmounted.
const PATIENCE: Duration = Duration::from_secs(20);

/// A file system that a guest's root may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    /// The kernel's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
        }
    }

    /// The programs that are called for it.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Kind::Ext4 => &["mkfs.ext4", "e2fsck"],
            Kind::Xfs => &["mkfs.xfs", "xfs_repair"],
            Kind::Btrfs => &["mkfs.btrfs", "btrfs"],
        }
    }

    /// The size of a partition, near the smallest that the file system's own tools make without being forced.
    pub fn partition_size(self) -> u64 {
        match self {
            Kind::Ext4 => 64 * MIB,
            Kind::Xfs => 320 * MIB,
            Kind::Btrfs => 160 * MIB,
        }
    }

    /// Makes an empty file system in a new file.
    pub fn make(self, file: &Path) {
        File::create(file).unwrap().set_len(self.partition_size()).unwrap();
        let options: &[&str] = if self == Kind::Ext4 { &["-q", "-b", "4096"] } else { &["-q"] };
        said(program(&format!("mkfs.{}", self.name())).args(options).arg(file)).unwrap();
    }

    /// What a boot does before it mounts the file system.
    pub fn check_before_mount(self, file: &Path) -> Result<(), String> {
        match self {
            Kind::Ext4 => {
                let run = proof::run(program("e2fsck").arg("-p").arg(file));
                if matches!(run.code, Some(0 | 1)) { Ok(()) } else { Err(format!("e2fsck -p: {}{}", run.out, run.err)) }
            }
            Kind::Xfs => Ok(()),
            Kind::Btrfs => {
                // The kernel remembers file systems by their UUID, and of several with the same one takes the newest.
                let _ = proof::run(program("btrfs").args(["device", "scan", "--forget"]));
                Ok(())
            }
        }
    }

    /// The file system's own judgement, when its journal was replayed and it is not mounted.
    pub fn check_clean(self, file: &Path) -> Result<(), String> {
        match self {
            Kind::Ext4 => said(program("e2fsck").args(["-f", "-n"]).arg(file)),
            Kind::Xfs => said(program("xfs_repair").arg("-n").arg(file)),
            Kind::Btrfs => said(program("btrfs").args(["check", "--readonly"]).arg(file)),
        }
    }
}

/// Runs a program, and returns what it said where it failed.
fn said(command: &mut Command) -> Result<(), String> {
    let run = proof::run(command);
    if run.code == Some(0) { Ok(()) } else { Err(format!("{command:?}: {}{}", run.out, run.err)) }
}

/// The two partitions of a disk, each in a file: the root and `/var`.
#[derive(Debug)]
pub struct Partitions {
    kind: Kind,
    files: [PathBuf; 2],
}

impl Partitions {
    fn at(kind: Kind, directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        Partitions { kind, files: ["root.img", "var.img"].map(|name| directory.join(name)) }
    }

    /// Empty ones.
    pub fn make(kind: Kind, directory: &Path) -> Self {
        let made = Self::at(kind, directory);
        made.files.iter().for_each(|file| kind.make(file));
        made
    }

    /// Those of a disk.
    pub fn of(kind: Kind, disk: &Path, directory: &Path) -> Self {
        let parts = Self::at(kind, directory);
        let disk = File::open(disk).unwrap();
        for (number, file) in parts.files.iter().enumerate() {
            let part = File::create(file).unwrap();
            part.set_len(kind.partition_size()).unwrap();
            copy_data(&disk, start(kind, number), &part, 0, kind.partition_size());
        }
        parts
    }

    /// A disk that has them, with a partition table.
    pub fn assemble(&self, disk: &Path) {
        let size = self.kind.partition_size();
        let out = File::create(disk).unwrap();
        out.set_len(disk_size(self.kind)).unwrap();
        let mut table = [0; SECTOR];
        for (number, file) in self.files.iter().enumerate() {
            let at = 446 + 16 * number;
            let sectors = |bytes: u64| u32::try_from(bytes / SECTOR as u64).unwrap().to_le_bytes();
            table[at + 4] = 0x83;
            table[at + 8..at + 12].copy_from_slice(&sectors(start(self.kind, number)));
            table[at + 12..at + 16].copy_from_slice(&sectors(size));
            copy_data(&File::open(file).unwrap(), 0, &out, start(self.kind, number), size);
        }
        table[510..].copy_from_slice(&[0x55, 0xaa]);
        out.write_all_at(&table, 0).unwrap();
    }

    /// The same again in another directory, in place of what is there.
    pub fn copy(&self, directory: &Path) -> Self {
        let copy = Self::at(self.kind, directory);
        said(program("cp").arg("--sparse=always").args(&self.files).arg(directory)).unwrap();
        copy
    }

    /// Does one entry of the log of the whole disk, or that part of it that was kept.
    pub fn replay(&self, log: &[u8], entry: &Entry, kept: &Kept) {
        match entry {
            Entry::Flush => {}
            Entry::Write { sector: first, bytes, .. } => {
                for (sector, piece) in (*first..).zip(log[bytes.clone()].chunks(SECTOR)) {
                    if kept.holds((sector / WHOLE - first / WHOLE) as usize) {
                        self.write(sector * SECTOR as u64, piece);
                    }
                }
            }
            // What was given up may be anything; zeros are what a disk most often makes of it.
            Entry::Discard { sector, count } => {
                for sector in *sector..sector + count {
                    self.write(sector * SECTOR as u64, &[0; SECTOR]);
                }
            }
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let number = usize::from(offset >= start(self.kind, 1));
        let inside = offset.checked_sub(start(self.kind, number));
        let inside = inside.filter(|inside| inside + bytes.len() as u64 <= self.kind.partition_size());
        let inside = inside.unwrap_or_else(|| panic!("the guest wrote outside of its partitions, at {offset}"));
        File::options().write(true).open(&self.files[number]).unwrap().write_all_at(bytes, inside).unwrap();
    }

    /// Whether both hold the same bytes.
    pub fn are_same(&self, other: &Partitions) -> bool {
        let same = |(one, other): (&PathBuf, &PathBuf)| {
            let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
            let (mut left, mut right) = (vec![0; MIB as usize], vec![0; MIB as usize]);
            for _ in 0..self.kind.partition_size() / MIB {
                one.read_exact(&mut left).unwrap();
                other.read_exact(&mut right).unwrap();
                if left != right {
                    return false;
                }
            }
            true
        };
        self.files.iter().zip(&other.files).all(same)
    }

    /// Mounts both as a boot would, the second one at `/var` of the first.
    pub fn mount(&self, at: &Path) -> Result<Mounted, String> {
        let mounted = Mounted { at: at.to_owned(), targets: Vec::new() };
        self.files.iter().zip([at.to_owned(), at.join("var")]).try_fold(mounted, |mut mounted, (file, target)| {
            self.kind.check_before_mount(file)?;
            fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
            said(program("mount").args(["-t", self.kind.name(), "-o", "loop"]).arg(file).arg(&target))?;
            mounted.targets.push(target);
            Ok(mounted)
        })
    }

    /// See [`Kind::check_clean`].
    pub fn check_clean(&self) -> Result<(), String> {
        self.files.iter().try_for_each(|file| self.kind.check_clean(file))
    }
}

/// The size of a disk with its partitions.
pub fn disk_size(kind: Kind) -> u64 {
    start(kind, 2)
}

fn start(kind: Kind, number: usize) -> u64 {
    MIB + number as u64 * kind.partition_size()
}

/// Copies what is not zero. The target must be new.
fn copy_data(mut from: &File, from_offset: u64, mut to: &File, to_offset: u64, length: u64) {
    const CHUNK: usize = 64 << 10;
    let mut chunk = vec![0; CHUNK];
    from.seek(SeekFrom::Start(from_offset)).unwrap();
    for number in 0..length / CHUNK as u64 {
        from.read_exact(&mut chunk).unwrap();
        if chunk.iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(to_offset + number * CHUNK as u64)).unwrap();
            to.write_all(&chunk).unwrap();
        }
    }
}

/// A mounted guest. Unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    targets: Vec<PathBuf>,
}

impl Mounted {
    /// Where its root is.
    pub fn root(&self) -> &Path {
        &self.at
    }

    /// Unmounts it, with errors. A program that another thread is starting has what we had open, until it is started.
    pub fn unmount(mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while let Some(target) = self.targets.last() {
            match said(program("umount").arg(target)) {
                Ok(()) => drop(self.targets.pop()),
                Err(problem) if !problem.contains("busy") || Instant::now() >= end => return Err(problem),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        while let Some(target) = self.targets.pop() {
            let _ = proof::run(program("umount").arg("--lazy").arg(target));
        }
    }
}
