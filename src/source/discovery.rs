//! Finding the settings disk among the disks of a machine, and waiting for it.
//!
//! Candidates come from `/sys/class/block`, in natural order. Two that qualify are an error, never a choice. Waiting is
//! event-driven, and looks again from time to time in any case, since a container hears no events.

use super::reader::{Device, ReadAt as _};
use super::spec::{self, Spec};
use super::{Content, Found, inspect};
use crate::error::{Error, Result};
use crate::platform::{self, BlockEvents};
use crate::trust::{Blob, Digest};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long at most until disks are looked at again, without any event.
const RESCAN: Duration = Duration::from_millis(500);
/// How long a broken disk may remain so until it is reported: a host may still be writing it. Tests run on loaded machines.
const SETTLE: Duration = Duration::from_millis(if cfg!(test) { 3000 } else { 300 });
/// The most block devices that are looked at.
const MOST_DEVICES: usize = 1024;
/// The most disks that an error names.
const MOST_NAMED: usize = 4;
/// Devices that are never settings disks: made of memory, of other devices, or slow to say that they are empty. An operator
/// who means one names it.
const PASSED_OVER: [(&str, &str); 6] = [
    ("ram", "is a memory disk"),
    ("zram", "is a memory disk"),
    ("loop", "is a loop device"),
    ("dm-", "is made of other devices"),
    ("md", "is made of other devices"),
    ("fd", "is a floppy drive"),
];

/// Where a machine lists its block devices, and where their nodes are.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/sys/class/block`.
    pub sys_class_block: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

impl Default for Places {
    /// Those of the machine that this runs on.
    fn default() -> Self {
        Places { sys_class_block: "/sys/class/block".into(), dev: "/dev".into() }
    }
}

/// One block device, and what was found on it.
#[derive(Debug)]
pub struct Candidate {
    /// The device's node, such as `/dev/vdb`.
    pub path: PathBuf,
    /// The size in bytes, where the device could be opened.
    pub size: Option<u64>,
    /// The format, for people.
    pub kind: Option<&'static str>,
    /// The label of a volume.
    pub label: Option<String>,
    /// Whether it is a settings disk.
    pub verdict: Verdict,
}

/// Whether a device is a settings disk.
#[derive(Debug)]
pub enum Verdict {
    /// It holds settings.
    Qualifies,
    /// It is none of ours, and why.
    Passed(String),
    /// It is ours and broken.
    Broken(Error),
}

/// A block device as `/sys` lists it.
struct Block {
    name: String,
    path: PathBuf,
    /// The name of the disk that this is a partition of.
    parent: Option<String>,
    /// Why it is not looked at.
    passed_over: Option<&'static str>,
}

/// What came of opening a device.
pub(crate) enum Seen {
    /// It was read; with its size in bytes.
    Content(Content, u64),
    /// An optical drive that holds nothing.
    NoMedium,
}

/// Opens a device and looks at what it holds.
pub(crate) fn examine(path: &Path) -> io::Result<Seen> {
    // A link such as /dev/cdrom is followed for the name.
    let real = fs::canonicalize(path)?;
    let drive = real.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"sr"));
    let file = match drive {
        true => platform::open_drive(path)?,
        false => Some(platform::open_disk(path)?),
    };
    let Some(file) = file else { return Ok(Seen::NoMedium) };
    let device = Device::new(file)?;
    Ok(Seen::Content(inspect(&path.display().to_string(), &device), device.size()))
}

/// The block devices, in natural order. A machine without such a list has none.
fn blocks(places: &Places) -> Vec<Block> {
    let Ok(entries) = fs::read_dir(&places.sys_class_block) else { return Vec::new() };
    let mut blocks: Vec<Block> = entries
        .take(MOST_DEVICES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .map(|name| block(places, name))
        .collect();
    blocks.sort_by(|a, b| natural(&a.name, &b.name));
    blocks
}

/// Reads what `/sys` says of one device.
fn block(places: &Places, name: String) -> Block {
    let sys = places.sys_class_block.join(&name);
    let holds = |attribute: &str, text: &str| {
        fs::read_to_string(sys.join(attribute)).is_ok_and(|content| content.trim_end() == text)
    };
    let by_name = PASSED_OVER.iter().find(|(prefix, _)| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    let passed_over = match by_name {
        Some((_, why)) => Some(*why),
        None if holds("size", "0") => Some("is empty"),
        None if holds("hidden", "1") => Some("is a path of another device"),
        None => None,
    };
    // The entry is a link to the device's directory, which for a partition lies in the directory of its disk.
    let parent = (sys.join("partition").exists())
        .then(|| fs::canonicalize(&sys).ok()?.parent()?.file_name()?.to_str().map(str::to_owned))
        .flatten();
    // The kernel writes `!` for a slash in the names of directories.
    let path = places.dev.join(name.replace('!', "/"));
    Block { name, path, parent, passed_over }
}

/// Compares names so that `vda2` comes before `vda10`, and a disk before its partitions.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (a.find(digit).unwrap_or(a.len()), b.find(digit).unwrap_or(b.len()));
        let (head_a, rest_a) = a.split_at(text_a);
        let (head_b, rest_b) = b.split_at(text_b);
        let (number_a, after_a) = rest_a.split_at(rest_a.find(|c| !digit(c)).unwrap_or(rest_a.len()));
        let (number_b, after_b) = rest_b.split_at(rest_b.find(|c| !digit(c)).unwrap_or(rest_b.len()));
        let (value_a, value_b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
        let order = head_a
            .cmp(head_b)
            .then_with(|| value_a.len().cmp(&value_b.len()))
            .then_with(|| value_a.cmp(value_b))
            .then_with(|| number_a.len().cmp(&number_b.len()));
        if order != Ordering::Equal || (after_a.is_empty() && after_b.is_empty()) {
            return order.then_with(|| after_a.cmp(after_b));
        }
        (a, b) = (after_a, after_b);
    }
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Everything that is known of the machine's block devices, in natural order. For people: see [`scan`] for the choice.
pub fn list(places: &Places) -> Vec<Candidate> {
    blocks(places).into_iter().map(candidate).collect()
}

fn candidate(block: Block) -> Candidate {
    let passed =
        |path, size, why: String| Candidate { path, size, kind: None, label: None, verdict: Verdict::Passed(why) };
    if let Some(why) = block.passed_over {
        return passed(block.path, None, why.into());
    }
    match examine(&block.path) {
        Err(error) => passed(block.path, None, format!("cannot be opened ({error})")),
        Ok(Seen::NoMedium) => passed(block.path, None, "has no medium".into()),
        Ok(Seen::Content(content, size)) => {
            let Content { kind, label, blob, note } = content;
            let verdict = match (blob, note, kind) {
                (Ok(Some(_)), _, _) => Verdict::Qualifies,
                (Err(error), _, _) => Verdict::Broken(error),
                (Ok(None), Some(note), _) => Verdict::Passed(note),
                (Ok(None), None, Some(_)) => Verdict::Passed("is not labelled HANDOFF".into()),
                (Ok(None), None, None) => Verdict::Passed("holds nothing of ours".into()),
            };
            Candidate { path: block.path, size: Some(size), kind, label, verdict }
        }
    }
}

/// Looks at every disk once. `None` where no settings disk is there.
///
/// A partition that shows the same volume as its own disk, as hybrid ISO images make it, is not a second settings disk.
///
/// # Errors
/// A disk is ours and broken, or several qualify: [`crate::Class::NotVerified`]. No disk may be read:
/// [`crate::Class::NoSettings`].
pub fn scan(places: &Places) -> Result<Option<Found>> {
    let (disks, denied) = disks(places, &BTreeSet::new());
    let found = disks.into_iter().map(|(_, content)| content).collect::<Result<Vec<Found>>>()?;
    match (the_one(found)?, denied) {
        (None, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

/// The one of several.
///
/// # Errors
/// There are more than one.
pub(super) fn the_one(mut found: Vec<Found>) -> Result<Option<Found>> {
    if found.len() < 2 {
        return Ok(found.pop());
    }
    let places: Vec<String> = found.into_iter().map(|found| found.place).collect();
    Err(Error::not_verified(
        places.join(" and "),
        "are all settings disks, and only one may be there",
        "detach all but one, or name the one that counts with --source disk:/dev/NAME",
    ))
}

/// The disks of ours, good and broken, without those that are known already; and why a disk could not be opened.
pub(super) fn disks(places: &Places, known: &BTreeSet<Medium>) -> (Vec<(Medium, Result<Found>)>, Option<Error>) {
    let (mut disks, mut denied) = (Vec::new(), None);
    // Of each disk of ours its name, its format, and its digest where it is good.
    let mut seen: Vec<(String, Option<&'static str>, Option<Digest>)> = Vec::new();
    let mut good = 0;
    for block in blocks(places).into_iter().filter(|block| block.passed_over.is_none()) {
        let object = block.path.display().to_string();
        let content = match examine(&block.path) {
            Ok(Seen::Content(content, _)) => content,
            Ok(Seen::NoMedium) => continue,
            Err(error) => {
                if platform::is_denied(&error) {
                    denied.get_or_insert(spec::unreadable(&object, &error));
                }
                continue;
            }
        };
        let place = content.place(&object);
        let Some(blob) = content.blob.transpose() else { continue };
        let digest = blob.as_ref().ok().map(digest);
        let disk = block.parent.as_ref().and_then(|parent| seen.iter().find(|(name, ..)| name == parent));
        let again = match (disk, &digest) {
            (None, _) => false,
            // The partition of a hybrid image need not reach as far as the volume does.
            (Some((_, kind, _)), None) => *kind == content.kind,
            (Some((_, _, of_disk)), digest) => of_disk == digest,
        };
        if again {
            continue;
        }
        let sequence = sequence(places, block.parent.as_ref().unwrap_or(&block.name));
        let medium = Medium::new(&place, &sequence, &blob);
        seen.push((block.name, content.kind, digest));
        if known.contains(&medium) {
            continue;
        }
        good += usize::from(blob.is_ok());
        disks.push((medium, blob.map(|blob| Found { blob, place })));
        // A blob can be a good part of our memory.
        if good > MOST_NAMED {
            break;
        }
    }
    (disks, denied)
}

/// What tells one medium in a place from the next one there: a disk that is put in again, and one that was changed.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Medium(String);

impl Medium {
    /// Of what a place holds. `sequence` is the kernel's number of the medium, empty where there is none.
    pub(super) fn new(place: &str, sequence: &str, content: &Result<Blob>) -> Self {
        match content {
            Ok(blob) => Medium(format!("{place} {sequence} {}", digest(blob))),
            Err(error) => Medium(format!("{place} {sequence} {error}")),
        }
    }
}

/// Of both texts, so that the same settings signed by another hand are not the same.
fn digest(blob: &Blob) -> Digest {
    let texts = [blob.settings(), blob.signature().unwrap_or_default()].map(|text| *Digest::of(text).as_bytes());
    Digest::of(&texts.concat())
}

/// The number that the kernel gives to each disk that comes and to each medium in a drive. Empty where it gives none.
pub(super) fn sequence(places: &Places, disk: &str) -> String {
    let text = fs::read_to_string(places.sys_class_block.join(disk).join("diskseq"));
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Looks at these places until one of them has settings, at most until the deadline. Where several have, the first of the
/// list counts. `None` where none had any; `note` says then what a named disk is instead.
///
/// When something is found, everything is looked at once more, so that a second settings disk which is there already is seen.
///
/// # Errors
/// As [`spec::load`]. What is broken may mend itself for a short while, since a host may still be writing it.
pub fn wait(specs: &[Spec], places: &Places, deadline: Instant, note: &mut Option<String>) -> Result<Option<Found>> {
    // Before the first look, so that nothing can come unseen between the look and the wait.
    let mut events = BlockEvents::open();
    let mut broken_since = None;
    loop {
        *note = None;
        let mut result = look(specs, places, note);
        if matches!(result, Ok(Some(_))) {
            // Let go of the first before the second is read: a blob can be a good part of our memory.
            drop(result);
            result = look(specs, places, note);
        }
        let now = Instant::now();
        let pause = match result {
            Ok(Some(found)) => return Ok(Some(found)),
            Err(error) => {
                let settled = *broken_since.get_or_insert(now) + SETTLE;
                if now >= settled || now >= deadline {
                    return Err(error);
                }
                settled - now
            }
            Ok(None) => {
                broken_since = None;
                RESCAN
            }
        };
        if now >= deadline {
            return Ok(None);
        }
        events.wait(pause.min(deadline - now));
    }
}

/// Looks at each place once.
fn look(specs: &[Spec], places: &Places, note: &mut Option<String>) -> Result<Option<Found>> {
    for spec in specs {
        if let Some(found) = spec::look(spec, places, note)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
