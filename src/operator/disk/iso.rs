//! A small ISO 9660 volume: two files in one directory, with Rock Ridge and Joliet names.
//!
//! After ECMA-119, IEEE P1281 and P1282 (in the edition that calls itself RRIP_1991A, which everything reads), and Microsoft's
//! Joliet specification.

use crate::source::LABEL;
use crate::trust::Blob;

/// The size of a logical block, in bytes.
const BLOCK: usize = 2048;
/// The first blocks, in their order on the disk. The files follow.
const SYSTEM_AREA: usize = 16;
const PATH_TABLES: u32 = 19;
const JOLIET_PATH_TABLES: u32 = 21;
const DIRECTORY: u32 = 23;
const JOLIET_DIRECTORY: u32 = 24;
const FILES: u32 = 25;
/// A path table with nothing but the root directory, in bytes.
const PATH_TABLE_LEN: u32 = 10;
/// The time of everything, 1980-01-01 00:00 UTC: the clock must not decide the bytes of an image.
const TIME: [u8; 7] = [80, 1, 1, 0, 0, 0, 0];
const LONG_TIME: &[u8; 17] = b"1980010100000000\0";

/// A file of the volume.
struct File<'a> {
    /// Its name at ISO level 1.
    plain: &'a str,
    /// Its name.
    name: &'a str,
    content: &'a [u8],
    /// Its first block.
    block: u32,
}

/// The two kinds of tree that describe the same files.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Tree {
    RockRidge,
    Joliet,
}

/// The volume with the two files.
pub(super) fn image(blob: &Blob) -> Vec<u8> {
    let mut next = FILES;
    let files: Vec<File<'_>> = [
        ("SETTINGS.JSO;1", "settings.json", Some(blob.settings())),
        ("SETTINGS.SIG;1", "settings.json.sig", blob.signature()),
    ]
    .into_iter()
    .filter_map(|(plain, name, content)| {
        let content = content?;
        let file = File { plain, name, content, block: next };
        next += content.len().div_ceil(BLOCK) as u32;
        Some(file)
    })
    .collect();

    let mut image = vec![0; SYSTEM_AREA * BLOCK];
    image.extend(descriptor(Tree::RockRidge, next));
    image.extend(descriptor(Tree::Joliet, next));
    image.extend(padded(b"\xffCD001\x01".to_vec()));
    for directory in [DIRECTORY, JOLIET_DIRECTORY] {
        image.extend(padded([&[1, 0], &directory.to_le_bytes()[..], &1u16.to_le_bytes(), &[0, 0]].concat()));
        image.extend(padded([&[1, 0], &directory.to_be_bytes()[..], &1u16.to_be_bytes(), &[0, 0]].concat()));
    }
    image.extend(directory(Tree::RockRidge, DIRECTORY, &files));
    image.extend(directory(Tree::Joliet, JOLIET_DIRECTORY, &files));
    for file in &files {
        image.extend(padded(file.content.to_vec()));
    }
    image
}

/// The bytes with zeros up to a whole block.
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A 16-bit number in both byte orders.
fn both16(number: u16) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

/// A 32-bit number in both byte orders.
fn both32(number: u32) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

/// A text of a volume descriptor in `length` bytes, padded with spaces. Joliet has two bytes for each character, and a zero
/// where the length is odd.
fn text(tree: Tree, text: &str, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = match tree {
        Tree::RockRidge => text.bytes().chain(std::iter::repeat(b' ')).take(length).collect(),
        Tree::Joliet => {
            text.encode_utf16().chain(std::iter::repeat(0x20)).take(length / 2).flat_map(u16::to_be_bytes).collect()
        }
    };
    bytes.resize(length, 0);
    bytes
}

/// The volume descriptor of a tree. `blocks` is the size of the volume.
fn descriptor(tree: Tree, blocks: u32) -> Vec<u8> {
    let (kind, escape, tables, directory): (u8, &[u8], u32, u32) = match tree {
        Tree::RockRidge => (1, b"", PATH_TABLES, DIRECTORY),
        // UCS-2 level 3.
        Tree::Joliet => (2, b"%/E", JOLIET_PATH_TABLES, JOLIET_DIRECTORY),
    };
    let mut out = vec![kind];
    out.extend(b"CD001\x01\0");
    out.extend(text(tree, "", 32));
    out.extend(text(tree, LABEL, 32));
    out.extend([0; 8]);
    out.extend(both32(blocks));
    out.extend(escape);
    out.resize(120, 0);
    out.extend(both16(1));
    out.extend(both16(1));
    out.extend(both16(BLOCK as u16));
    out.extend(both32(PATH_TABLE_LEN));
    out.extend(tables.to_le_bytes());
    out.extend([0; 4]);
    out.extend((tables + 1).to_be_bytes());
    out.extend([0; 4]);
    out.extend(record(directory, BLOCK as u32, true, &[0], &[]));
    // Volume set, publisher, preparer, application; then the names of the copyright, abstract and bibliography files.
    for (value, length) in [("", 128), ("", 128), ("", 128), ("HANDOFF", 128), ("", 37), ("", 37), ("", 37)] {
        out.extend(text(tree, value, length));
    }
    out.extend(LONG_TIME);
    out.extend(LONG_TIME);
    // It does not expire, and is valid from the start.
    out.extend(b"0000000000000000\0");
    out.extend(b"0000000000000000\0");
    out.push(1);
    padded(out)
}

/// A directory record.
fn record(block: u32, length: u32, directory: bool, name: &[u8], system_use: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(both32(block));
    out.extend(both32(length));
    out.extend(TIME);
    out.push(if directory { 2 } else { 0 });
    out.extend([0, 0]);
    out.extend(both16(1));
    out.push(name.len() as u8);
    out.extend(name);
    if name.len().is_multiple_of(2) {
        out.push(0);
    }
    out.extend(system_use);
    if !out.len().is_multiple_of(2) {
        out.push(0);
    }
    // At most 34 bytes, a name of at most 36, and system use entries of at most 79.
    let length = out.len() as u8;
    if let Some(first) = out.first_mut() {
        *first = length;
    }
    out
}

/// The root directory of a tree: itself, its parent, which is itself too, and the files.
fn directory(tree: Tree, block: u32, files: &[File<'_>]) -> Vec<u8> {
    let rock_ridge = tree == Tree::RockRidge;
    let mut itself = Vec::new();
    if rock_ridge {
        // That there are such entries, how they are called, and the directory's mode.
        itself.extend(b"SP\x07\x01\xbe\xef\0");
        itself.extend(b"ER\x12\x01\x0a\0\0\x01RRIP_1991A");
        itself.extend(mode(0o040_555, 2));
    }
    let parent = if rock_ridge { mode(0o040_555, 2) } else { Vec::new() };
    let mut out = record(block, BLOCK as u32, true, &[0], &itself);
    out.extend(record(block, BLOCK as u32, true, &[1], &parent));
    for file in files {
        let (name, system_use) = match tree {
            Tree::RockRidge => {
                let mut entries = b"NM".to_vec();
                entries.extend([5 + file.name.len() as u8, 1, 0]);
                entries.extend(file.name.bytes());
                entries.extend(mode(0o100_444, 1));
                (file.plain.as_bytes().to_vec(), entries)
            }
            Tree::Joliet => (file.name.encode_utf16().flat_map(u16::to_be_bytes).collect(), Vec::new()),
        };
        out.extend(record(file.block, file.content.len() as u32, false, &name, &system_use));
    }
    padded(out)
}

/// A `PX` entry: POSIX mode, number of links, owned by root.
fn mode(mode: u32, links: u32) -> Vec<u8> {
    let mut out = b"PX\x24\x01".to_vec();
    for number in [mode, links, 0, 0] {
        out.extend(both32(number));
    }
    out
}
