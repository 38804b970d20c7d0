//! Finding the settings disk among the disks of a machine, and waiting for it.
//!
//! Candidates come from `/sys/class/block`, in natural order. Two that qualify are an error, never a choice. Waiting is
//! event-driven, and looks again from time to time in any case, since a container hears no events.

use super::reader::{Device, ReadAt as _};
use super::spec::{self, Spec};
use super::{Content, Found, inspect};
use crate::error::{Error, Result};
use crate::platform::{self, BlockEvents};
use crate::trust::Blob;
use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long at most until disks are looked at again, without any event.
const RESCAN: Duration = Duration::from_millis(500);
/// How long a broken disk may remain so until it is reported: a host may still be writing it.
const SETTLE: Duration = Duration::from_millis(300);
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
    let mut first: Option<(String, Found)> = None;
    let mut others: Vec<String> = Vec::new();
    let mut denied = None;
    for block in blocks(places).into_iter().filter(|block| block.passed_over.is_none()) {
        let object = block.path.display().to_string();
        let content = match examine(&block.path) {
            Ok(Seen::Content(content, _)) => content,
            Ok(Seen::NoMedium) => continue,
            Err(error) => {
                log::debug!("{object} cannot be opened ({error})");
                // Not EPERM, which is how a container is kept from the devices of its host.
                if error.raw_os_error() == Some(nix::errno::Errno::EACCES as i32) {
                    denied.get_or_insert(spec::unreadable(&object, &error));
                }
                continue;
            }
        };
        if let Some(note) = &content.note {
            log::debug!("{object} {note}");
        }
        let place = content.place(&object);
        let parent = first.as_ref().filter(|(name, _)| block.parent.as_ref() == Some(name));
        match (content.blob, parent) {
            (Ok(None), _) => {}
            (Ok(Some(blob)), Some((_, disk))) if same(&blob, &disk.blob) => {}
            // The partition of a hybrid image need not reach as far as the volume does.
            (Err(_), Some((_, disk))) if content.kind.is_some_and(|kind| disk.place.contains(kind)) => {}
            (Err(error), _) => return Err(error),
            (Ok(Some(blob)), _) if first.is_none() => first = Some((block.name, Found { blob, place })),
            (Ok(Some(_)), _) => others.push(place),
        }
        if others.len() >= MOST_NAMED {
            break;
        }
    }
    match (first, denied) {
        (Some((_, found)), _) if others.is_empty() => Ok(Some(found)),
        (Some((_, found)), _) => Err(Error::not_verified(
            format_args!("{} and {}", found.place, others.join(" and ")),
            "are all settings disks, and only one may be there",
            "detach all but one, or name the one that counts with --source disk:/dev/NAME",
        )),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(None),
    }
}

/// Whether both blobs are the same to the byte.
fn same(a: &Blob, b: &Blob) -> bool {
    a.settings() == b.settings() && a.signature() == b.signature()
}

/// Looks at these places until one of them has settings, at most until the deadline. Where several have, the first of the
/// list counts. `None` where none had any.
///
/// When something is found, everything is looked at once more, so that a second settings disk which is there already is seen.
///
/// # Errors
/// As [`spec::load`]. What is broken may mend itself for a short while, since a host may still be writing it.
pub fn wait(specs: &[Spec], places: &Places, deadline: Instant) -> Result<Option<Found>> {
    // Before the first look, so that nothing can come unseen between the look and the wait.
    let mut events = BlockEvents::open();
    let mut broken_since = None;
    loop {
        let mut note = None;
        let result = match look(specs, places, &mut note) {
            Ok(Some(_)) => look(specs, places, &mut note),
            other => other,
        };
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
            if let Some(note) = note {
                log::warn!("{note}");
            }
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
