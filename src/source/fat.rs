//! The FAT reader: a volume's two labels, and two files of its root directory, by their long or short names.
//!
//! After Microsoft's "FAT: General Overview of On-Disk Format" (1.03) for FAT12, FAT16 and FAT32. The whole parameter block
//! of the boot sector is checked before any of it is used.

use super::reader::{Bounded, Flaw, byte, le16, le32};
use super::volume::{Files, Name, Picked, is_ours, padded};

/// The size of a directory entry, in bytes.
const ENTRY: usize = 32;
/// The most entries of a root directory that are looked at. FAT itself allows no more in any directory.
const MOST_ENTRIES: u32 = 65_536;
/// How much of the directory is held in memory at a time, in bytes. Divides every sector size.
const CHUNK: usize = 512;
/// The most entries that make up one long name: 20 times 13 characters.
const MOST_NAME_PARTS: u8 = 20;

/// A FAT volume whose boot sector has been read.
#[derive(Debug)]
pub(crate) struct Volume {
    /// The labels that it bears: of the boot sector, and of the root directory.
    pub(crate) labels: Vec<String>,
    contents: Result<Picked<File>, Flaw>,
    layout: Option<Layout>,
}

/// How many bits an entry of the table has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The checked parameter block, in bytes.
#[derive(Debug)]
struct Layout {
    width: Width,
    cluster: u32,
    clusters: u32,
    table: u64,
    data: u64,
    root: Root,
}

/// Where the root directory is.
#[derive(Clone, Copy, Debug)]
enum Root {
    /// At a fixed place, with this many entries.
    Fixed { offset: u64, entries: u32 },
    /// In a chain of clusters, like a file.
    Chain { first: u32 },
}

/// A file's first cluster and its length in bytes.
#[derive(Debug)]
struct File {
    first: u32,
    length: u32,
}

/// Reads the boot sector and, where it is one of FAT, looks through the root directory. `None` where it is none.
///
/// # Errors
/// The device cannot be read; nothing is known of it.
pub(crate) fn identify(reader: &Bounded<'_>) -> Result<Option<Volume>, Flaw> {
    let mut sector = [0; 512];
    if !reader.holds(0, 512) {
        return Ok(None);
    }
    reader.exact(0, &mut sector)?;
    let mut labels: Vec<String> = boot_label(&sector).into_iter().collect();
    if !matches!(sector, [0xeb, _, 0x90, ..] | [0xe9, ..]) || sector.get(510..) != Some([0x55, 0xaa].as_slice()) {
        return Ok(None);
    }
    let layout = match Layout::of(&sector) {
        Ok(layout) => layout,
        // Without the text of a label in the right place this is any boot sector, not a damaged volume.
        Err(_) if labels.is_empty() => return Ok(None),
        Err(flaw) => return Ok(Some(Volume { labels, contents: Err(flaw), layout: None })),
    };
    let mut directory = Directory { picked: Picked::new(), labels: Vec::new(), long: LongName::default() };
    let result = match reader.holds(0, layout.end()) {
        true => scan(reader, &layout, &mut directory),
        false => Err(format!("ends at byte {}, and its volume at {}", reader.size(), layout.end()).into()),
    };
    labels.append(&mut directory.labels);
    Ok(Some(Volume { labels, contents: result.map(|()| directory.picked), layout: Some(layout) }))
}

impl Volume {
    /// The label to show: ours where one of the two is ours.
    pub(crate) fn label(&self) -> Option<&str> {
        let ours = self.labels.iter().find(|label| is_ours(label));
        ours.or(self.labels.first()).map(String::as_str)
    }

    /// What is wrong with a volume that is not ours, if anything.
    pub(crate) fn flaw(&self) -> Option<&Flaw> {
        self.contents.as_ref().err()
    }

    /// Reads the two files.
    pub(crate) fn files(self, reader: &Bounded<'_>) -> Result<Files, Flaw> {
        let picked = self.contents?;
        let layout = self.layout.ok_or("has no valid boot sector")?;
        picked.read(|file| file.length, |file, length| read(reader, &layout, file, length))
    }
}

/// The label of the boot sector: 11 bytes behind an extended boot signature, where FAT12 and FAT16, or FAT32, have it.
fn boot_label(sector: &[u8]) -> Option<String> {
    [38, 66].into_iter().find_map(|at| {
        let kind = sector.get(at + 16..at + 19)?;
        let there = byte(sector, at) == Some(0x29) && kind == b"FAT";
        there.then(|| padded(sector.get(at + 5..at + 16).unwrap_or_default())).filter(|label| label != "NO NAME")
    })
}

impl Layout {
    /// Checks the parameter block of a boot sector.
    fn of(sector: &[u8]) -> Result<Layout, Flaw> {
        Self::checked(sector).ok_or_else(|| "has a boot sector with impossible numbers".into())
    }

    fn checked(sector: &[u8]) -> Option<Layout> {
        let bytes = u32::from(le16(sector, 11)?);
        let per_cluster = u32::from(byte(sector, 13)?);
        let reserved = u32::from(le16(sector, 14)?);
        let tables = u32::from(byte(sector, 16)?);
        let root_entries = u32::from(le16(sector, 17)?);
        let media = byte(sector, 21)?;
        let small_total = u32::from(le16(sector, 19)?);
        let total = if small_total == 0 { le32(sector, 32)? } else { small_total };
        let small_table = u32::from(le16(sector, 22)?);
        let is_32 = small_table == 0;
        let table = if is_32 { le32(sector, 36)? } else { small_table };

        let sane = matches!(bytes, 512 | 1024 | 2048 | 4096)
            && per_cluster.is_power_of_two()
            && reserved > 0
            && (1..=4).contains(&tables)
            && (media == 0xf0 || media >= 0xf8)
            && table > 0
            && is_32 == (root_entries == 0)
            && (root_entries * ENTRY as u32).is_multiple_of(bytes)
            && (!is_32 || le16(sector, 42) == Some(0));
        if !sane {
            return None;
        }
        let root_sector = reserved.checked_add(tables.checked_mul(table)?)?;
        let data_sector = root_sector.checked_add(root_entries * ENTRY as u32 / bytes)?;
        let clusters = total.checked_sub(data_sector)? / per_cluster;
        let width = match clusters {
            0 => return None,
            _ if is_32 => Width::Fat32,
            1..4085 => Width::Fat12,
            4085..65525 => Width::Fat16,
            _ => return None,
        };
        let bits = match width {
            Width::Fat12 => 12,
            Width::Fat16 => 16,
            Width::Fat32 => 32,
        };
        // Some tools count a few clusters more than their table has entries for. Those cannot be in use.
        let covered = (u64::from(table) * u64::from(bytes) * 8 / bits).checked_sub(2)?;
        let clusters = u64::from(clusters).min(covered).min(0x0fff_fff4) as u32;
        let place = |sector: u32| u64::from(sector) * u64::from(bytes);
        let root = match width {
            Width::Fat32 => Root::Chain { first: le32(sector, 44)? & 0x0fff_ffff },
            _ => Root::Fixed { offset: place(root_sector), entries: root_entries },
        };
        Some(Layout {
            width,
            cluster: per_cluster * bytes,
            clusters,
            table: place(reserved),
            data: place(data_sector),
            root,
        })
    }

    /// The first byte behind the last cluster.
    fn end(&self) -> u64 {
        self.data + u64::from(self.clusters) * u64::from(self.cluster)
    }

    /// The place of a cluster.
    fn place(&self, cluster: u32) -> Result<u64, Flaw> {
        match cluster.checked_sub(2) {
            Some(index) if index < self.clusters => Ok(self.data + u64::from(index) * u64::from(self.cluster)),
            _ => Err(format!("has a chain that leads to cluster {cluster}, which is none").into()),
        }
    }

    /// The cluster after this one, or `None` at the end of the chain.
    fn next(&self, reader: &Bounded<'_>, cluster: u32) -> Result<Option<u32>, Flaw> {
        let at = u64::from(cluster);
        let mut entry = [0; 4];
        let (next, last) = match self.width {
            Width::Fat12 => {
                let pair = entry.first_chunk_mut::<2>().ok_or("")?;
                reader.exact(self.table + at + at / 2, pair)?;
                let pair = u32::from(u16::from_le_bytes(*pair));
                (if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }, 0xff8)
            }
            Width::Fat16 => {
                let number = entry.first_chunk_mut::<2>().ok_or("")?;
                reader.exact(self.table + at * 2, number)?;
                (u32::from(u16::from_le_bytes(*number)), 0xfff8)
            }
            Width::Fat32 => {
                reader.exact(self.table + at * 4, &mut entry)?;
                (u32::from_le_bytes(entry) & 0x0fff_ffff, 0x0fff_fff8)
            }
        };
        Ok((next < last).then_some(next))
    }
}

/// Reads a file. A chain that ends before the file does is a flaw; one that is longer is not looked at.
fn read(reader: &Bounded<'_>, layout: &Layout, file: &File, length: usize) -> Result<Vec<u8>, Flaw> {
    let mut bytes = vec![0; length];
    let mut cluster = file.first;
    let mut parts = bytes.chunks_mut(layout.cluster as usize).peekable();
    while let Some(part) = parts.next() {
        reader.exact(layout.place(cluster)?, part)?;
        if parts.peek().is_some() {
            cluster = layout.next(reader, cluster)?.ok_or("has a file whose chain ends before the file does")?;
        }
    }
    Ok(bytes)
}

/// Looks through the root directory.
fn scan(reader: &Bounded<'_>, layout: &Layout, directory: &mut Directory) -> Result<(), Flaw> {
    match layout.root {
        Root::Fixed { offset, entries } => {
            directory.scan(reader, offset, u64::from(entries) * ENTRY as u64)?;
        }
        Root::Chain { first } => {
            let mut cluster = first;
            let limit = MOST_ENTRIES.saturating_mul(ENTRY as u32) / layout.cluster;
            for _ in 0..limit.max(1) {
                if directory.scan(reader, layout.place(cluster)?, u64::from(layout.cluster))? {
                    return Ok(());
                }
                match layout.next(reader, cluster)? {
                    Some(next) => cluster = next,
                    None => return Ok(()),
                }
            }
            return Err("has a root directory that does not end".into());
        }
    }
    Ok(())
}

/// What the root directory holds.
struct Directory {
    picked: Picked<File>,
    labels: Vec<String>,
    long: LongName,
}

impl Directory {
    /// Looks through a piece of the directory. True where the directory ends in it.
    fn scan(&mut self, reader: &Bounded<'_>, offset: u64, length: u64) -> Result<bool, Flaw> {
        let mut chunk = [0; CHUNK];
        for index in 0..length / CHUNK as u64 {
            reader.exact(offset + index * CHUNK as u64, &mut chunk)?;
            for entry in chunk.chunks_exact(ENTRY) {
                if entry.first() == Some(&0) {
                    return Ok(true);
                }
                self.entry(entry)?;
            }
        }
        Ok(false)
    }

    fn entry(&mut self, entry: &[u8]) -> Result<(), Flaw> {
        let (Some(short), Some(attributes)) = (entry.first_chunk::<11>(), byte(entry, 11)) else { return Ok(()) };
        if short.first() == Some(&0xe5) {
            self.long = LongName::default();
            return Ok(());
        }
        if attributes & 0x3f == 0x0f {
            self.long.add(entry);
            return Ok(());
        }
        let long = std::mem::take(&mut self.long).finish(short);
        match attributes & 0x18 {
            0x08 => {
                self.labels.push(padded(short));
                Ok(())
            }
            0 => {
                let name = long.map_or_else(|| Name::Plain(short_name(short)), Name::Long);
                let Some(which) = name.which() else { return Ok(()) };
                let (high, low) = (le16(entry, 20).unwrap_or(0), le16(entry, 26).unwrap_or(0));
                let first = u32::from(high) << 16 | u32::from(low);
                self.picked.add(which, File { first, length: le32(entry, 28).unwrap_or(0) })
            }
            _ => Ok(()),
        }
    }
}

/// The short name of an entry, with its dot.
fn short_name(short: &[u8; 11]) -> String {
    let (base, extension) = short.split_at(8);
    let (base, extension) = (padded(base), padded(extension));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// A long name under construction: its entries come before the short one, the last part first.
#[derive(Default)]
struct LongName {
    /// The parts so far, the last first. `None` until a first entry has come, and after a wrong one.
    parts: Option<Vec<[u16; 13]>>,
    /// The sequence number of the entry that came last.
    number: u8,
    checksum: u8,
}

impl LongName {
    /// Takes one entry.
    fn add(&mut self, entry: &[u8]) {
        let (Some(order), Some(checksum)) = (byte(entry, 0), byte(entry, 13)) else { return };
        let number = order & 0x3f;
        if order & 0x40 != 0 && (1..=MOST_NAME_PARTS).contains(&number) {
            *self = LongName { parts: Some(Vec::new()), number, checksum };
        } else if self.parts.is_none()
            || number == 0
            || number.checked_add(1) != Some(self.number)
            || checksum != self.checksum
        {
            *self = LongName::default();
            return;
        }
        self.number = number;
        let mut part = [0xffff; 13];
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        for (unit, at) in part.iter_mut().zip(places) {
            *unit = le16(entry, at).unwrap_or(0xffff);
        }
        if let Some(parts) = &mut self.parts {
            parts.push(part);
        }
    }

    /// The name, where all its parts have come and belong to this short name.
    fn finish(self, short: &[u8; 11]) -> Option<String> {
        let parts = self.parts.filter(|_| self.number == 1)?;
        let checksum = short.iter().fold(0u8, |sum, &b| sum.rotate_right(1).wrapping_add(b));
        let units = parts.iter().rev().flatten().copied().take_while(|&unit| unit != 0);
        (checksum == self.checksum).then(|| char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect())
    }
}
