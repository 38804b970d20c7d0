//! The ISO 9660 reader: a volume's label, and two files of its root directory, by their Rock Ridge, Joliet or plain names.
//!
//! After ECMA-119 (volume and directory layout), IEEE P1281 (SUSP) and P1282 (Rock Ridge), and Microsoft's Joliet
//! specification. Only what our disks need: one volume, 2048-byte blocks, no sub-directories, files in one extent.

use super::reader::{Bounded, Flaw, be16, be32, byte, le16, le32};
use super::volume::{Files, Name, Picked, padded};

/// The size of a sector and of a logical block, in bytes. Other block sizes are allowed on paper and made by no tool.
const BLOCK: usize = 2048;
/// Where the primary volume descriptor is, in blocks.
const FIRST_DESCRIPTOR: u64 = 16;
/// How many volume descriptors are looked at.
const MOST_DESCRIPTORS: u64 = 32;
/// The largest root directory that is read, in bytes: some ten thousand files.
const LARGEST_DIRECTORY: u32 = 1 << 20;
/// How many continuation areas of one directory record are followed.
const MOST_CONTINUATIONS: usize = 8;
/// How many system use entries of one directory record are looked at.
const MOST_ENTRIES: usize = 128;
/// The longest Rock Ridge name, in bytes.
const LONGEST_NAME: usize = 255;

/// A volume whose primary descriptor has been read.
#[derive(Debug)]
pub(crate) struct Volume {
    /// The volume label, without the padding.
    pub(crate) label: String,
    root: Result<Extent, Flaw>,
}

/// Where the bytes of a file or directory are.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// The first byte on the device.
    offset: u64,
    /// The length in bytes.
    length: u32,
}

/// How the names of a directory are written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Names {
    /// Plain names, and Rock Ridge ones where the records carry them.
    Primary,
    /// UCS-2, big-endian.
    Joliet,
}

/// Reads the primary volume descriptor. `None` where there is none.
pub(crate) fn identify(reader: &Bounded<'_>) -> Result<Option<Volume>, Flaw> {
    let start = FIRST_DESCRIPTOR * BLOCK as u64;
    if !reader.holds(start, BLOCK as u64) {
        return Ok(None);
    }
    let mut block = [0; BLOCK];
    reader.exact(start, &mut block)?;
    if !is_descriptor(&block) || byte(&block, 0) != Some(1) {
        return Ok(None);
    }
    let label = block.get(40..72).unwrap_or_default();
    let root = match (le16(&block, 128), be16(&block, 130)) {
        (Some(2048), Some(2048)) => root_of(&block),
        _ => Err("has logical blocks of another size than 2048 bytes".into()),
    };
    Ok(Some(Volume { label: padded(label), root }))
}

impl Volume {
    /// Reads the two files from the root directory.
    pub(crate) fn files(self, reader: &Bounded<'_>) -> Result<Files, Flaw> {
        let (primary, long_names) = scan(reader, self.root?, Names::Primary)?;
        if !long_names && let Some(root) = joliet(reader)? {
            return read(reader, scan(reader, root, Names::Joliet)?.0);
        }
        read(reader, primary)
    }
}

/// Reads the files that were picked.
fn read(reader: &Bounded<'_>, picked: Picked<Extent>) -> Result<Files, Flaw> {
    picked.read(|extent| extent.length, |extent, length| reader.bytes(extent.offset, length))
}

/// Whether a block is a volume descriptor of any kind.
fn is_descriptor(block: &[u8]) -> bool {
    block.get(1..7) == Some(b"CD001\x01".as_slice())
}

/// The root directory's extent from a volume descriptor.
fn root_of(descriptor: &[u8]) -> Result<Extent, Flaw> {
    let record = descriptor.get(156..190).unwrap_or_default();
    let root = extent(record)?;
    if byte(record, 25).is_none_or(|flags| flags & 2 == 0) {
        return Err("has a root directory that is no directory".into());
    }
    if root.length == 0 || root.length > LARGEST_DIRECTORY || root.length % BLOCK as u32 != 0 {
        return Err(format!("has a root directory of {} bytes", root.length).into());
    }
    Ok(root)
}

/// The root directory of the Joliet tree, where there is one.
fn joliet(reader: &Bounded<'_>) -> Result<Option<Extent>, Flaw> {
    let mut block = [0; BLOCK];
    for index in 1..MOST_DESCRIPTORS {
        reader.exact((FIRST_DESCRIPTOR + index) * BLOCK as u64, &mut block)?;
        if !is_descriptor(&block) || byte(&block, 0) == Some(255) {
            return Ok(None);
        }
        let escape = block.get(88..91).unwrap_or_default();
        if byte(&block, 0) == Some(2) && matches!(escape, b"%/@" | b"%/C" | b"%/E") {
            return root_of(&block).map(Some);
        }
    }
    Ok(None)
}

/// The extent of a directory record. Both byte orders must say the same.
fn extent(record: &[u8]) -> Result<Extent, Flaw> {
    let both = |at| le32(record, at).filter(|&number| be32(record, at + 4) == Some(number));
    let (Some(block), Some(length)) = (both(2), both(10)) else {
        return Err("has a directory record whose numbers differ in their two byte orders".into());
    };
    let attributes = byte(record, 1).unwrap_or_default();
    Ok(Extent { offset: (u64::from(block) + u64::from(attributes)) * BLOCK as u64, length })
}

/// Looks through a directory. Returns what was found, and whether a Rock Ridge name was seen.
fn scan(reader: &Bounded<'_>, root: Extent, names: Names) -> Result<(Picked<Extent>, bool), Flaw> {
    let mut picked = Picked::new();
    let mut rock_ridge = RockRidge::default();
    let mut block = [0; BLOCK];
    for index in 0..root.length / BLOCK as u32 {
        reader.exact(root.offset + u64::from(index) * BLOCK as u64, &mut block)?;
        let mut rest: &[u8] = &block;
        while let Some((record, after)) = next_record(rest)? {
            rest = after;
            let Some(name) = name_of(reader, record, names, &mut rock_ridge)? else { continue };
            let flags = byte(record, 25).unwrap_or_default();
            // Bit 1 is a directory; bit 2 an associated file, such as a resource fork, which bears the name of the real one.
            if flags & 0b110 != 0 {
                continue;
            }
            let Some(which) = name.which() else { continue };
            if flags & 0x80 != 0 || byte(record, 26) != Some(0) || byte(record, 27) != Some(0) {
                return Err(format!("holds {which} in several pieces").into());
            }
            picked.add(which, extent(record)?)?;
        }
    }
    Ok((picked, rock_ridge.seen))
}

/// A directory record, and what follows it in its block.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Splits the next directory record off a block. `None` when the block has no more.
fn next_record(rest: &[u8]) -> Result<Option<Split<'_>>, Flaw> {
    match byte(rest, 0).map(usize::from) {
        None | Some(0) => Ok(None),
        Some(length) if length < 34 => Err("has a directory record that is too short".into()),
        Some(length) => match rest.split_at_checked(length) {
            Some(parts) => Ok(Some(parts)),
            None => Err("has a directory record that leaves its block".into()),
        },
    }
}

/// The name of a record, in the best form that there is; `None` for the directory itself and its parent.
fn name_of(
    reader: &Bounded<'_>,
    record: &[u8],
    names: Names,
    rock_ridge: &mut RockRidge,
) -> Result<Option<Name>, Flaw> {
    let length = usize::from(byte(record, 32).unwrap_or_default());
    let Some(plain) = record.get(33..33 + length) else {
        return Err("has a directory record whose name leaves it".into());
    };
    let system_use = record.get(33 + length + (length + 1) % 2..).unwrap_or_default();
    if let [0 | 1] = plain {
        if plain == [0] && names == Names::Primary {
            rock_ridge.begin(system_use);
        }
        return Ok(None);
    }
    if names == Names::Joliet {
        let units = plain.chunks_exact(2).filter_map(|pair| be16(pair, 0));
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
        return Ok(Some(Name::Long(without_version(&text).to_owned())));
    }
    if let Some(long) = rock_ridge.name(reader, system_use)? {
        return Ok(Some(Name::Long(long)));
    }
    let text = padded(plain);
    Ok(Some(Name::Plain(without_version(&text).trim_end_matches('.').to_owned())))
}

/// A name without the version number that ISO 9660 puts after it.
fn without_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((before, version)) if version.bytes().all(|b| b.is_ascii_digit()) => before,
        _ => name,
    }
}

/// What is known of the Rock Ridge names of a directory.
#[derive(Default)]
struct RockRidge {
    /// How many bytes of each system use area come before the entries; `None` where the volume has no such entries.
    skip: Option<usize>,
    /// Whether any record had such a name.
    seen: bool,
}

impl RockRidge {
    /// Looks for the `SP` entry, which only the root directory's own record has. On CD-ROM XA it comes after 14 bytes.
    fn begin(&mut self, system_use: &[u8]) {
        for area in [Some(system_use), system_use.get(14..)].into_iter().flatten() {
            if let Some([b'S', b'P', 7, 1, 0xbe, 0xef, skip]) = area.first_chunk() {
                self.skip = Some(usize::from(*skip));
                return;
            }
        }
    }

    /// The name from the `NM` entries of a record.
    fn name(&mut self, reader: &Bounded<'_>, system_use: &[u8]) -> Result<Option<String>, Flaw> {
        let Some(mut area) = self.skip.and_then(|skip| system_use.get(skip..)).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        let mut name: Option<Vec<u8>> = None;
        let mut entries = 0;
        for _ in 0..MOST_CONTINUATIONS {
            let mut next = None;
            let mut rest = area.as_slice();
            while let Some(length) = byte(rest, 2).map(usize::from) {
                entries += 1;
                let Some((entry, after)) = rest.split_at_checked(length).filter(|_| length >= 4) else { break };
                rest = after;
                if entries > MOST_ENTRIES {
                    return Err("has a directory record with too many extensions".into());
                }
                match entry {
                    [b'N', b'M', _, _, flags, part @ ..] if flags & 0b110 == 0 => {
                        let name = name.get_or_insert_default();
                        name.extend_from_slice(part);
                        if name.len() > LONGEST_NAME {
                            return Err("has a file name that is too long".into());
                        }
                    }
                    [b'C', b'E', ..] => next = continuation(entry),
                    [b'S', b'T', ..] => break,
                    _ => {}
                }
            }
            let Some((offset, length)) = next else {
                self.seen |= name.is_some();
                return Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()));
            };
            area = reader.bytes(offset, length)?;
        }
        Err("has a directory record whose extensions do not end".into())
    }
}

/// Where the continuation area of a `CE` entry is, and its length. `None` for one that leaves its block.
fn continuation(entry: &[u8]) -> Option<(u64, usize)> {
    let (block, offset, length) = (le32(entry, 4)?, le32(entry, 12)?, le32(entry, 20)?);
    let end = u64::from(offset) + u64::from(length);
    (end <= BLOCK as u64).then_some((u64::from(block) * BLOCK as u64 + u64::from(offset), length as usize))
}
