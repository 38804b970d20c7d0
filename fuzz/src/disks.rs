//! Disks from a host: ISO 9660, FAT, or anything else, and disks that change while they are read.
//!
//! An input is a folded disk, because most of a disk is zeros: its size in sectors (24 bits, little-endian), the number of
//! reads after which it changes (8 bits), and then sectors, each with its number (16 bits) before its 512 bytes. A sector
//! that comes twice is at first what came first, and after the change what came last.

use super::is_plain;
use handoff::source::{ReadAt, inspect};
use handoff::trust::MAX_BLOB;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;

const SECTOR: usize = 512;

struct Folded<'a> {
    size: u64,
    first: BTreeMap<u64, &'a [u8]>,
    last: BTreeMap<u64, &'a [u8]>,
    changes_after: u32,
    reads: Cell<u32>,
    bytes: Cell<u64>,
}

impl<'a> Folded<'a> {
    fn new(data: &'a [u8]) -> Option<Self> {
        let ([low, middle, high, changes_after], sectors) = data.split_first_chunk()?;
        let (mut first, mut last) = (BTreeMap::new(), BTreeMap::new());
        for record in sectors.chunks(2 + SECTOR) {
            let Some(([low, high], sector)) = record.split_first_chunk() else { continue };
            let number = u64::from(u16::from_le_bytes([*low, *high]));
            first.entry(number).or_insert(sector);
            last.insert(number, sector);
        }
        let size = u64::from(u32::from_le_bytes([*low, *middle, *high, 0])) * SECTOR as u64;
        let changes_after = u32::from(*changes_after);
        Some(Folded { size, first, last, changes_after, reads: Cell::new(0), bytes: Cell::new(0) })
    }
}

impl ReadAt for Folded<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        let sectors = if self.reads.get() > self.changes_after { &self.last } else { &self.first };
        let count = buffer.len().min(usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX));
        self.bytes.set(self.bytes.get() + count as u64);
        let (mut at, mut rest) = (offset, &mut buffer[..count]);
        while !rest.is_empty() {
            let inside = (at % SECTOR as u64) as usize;
            let (part, after) = rest.split_at_mut((SECTOR - inside).min(rest.len()));
            part.fill(0);
            let sector = sectors.get(&(at / SECTOR as u64)).copied().unwrap_or_default();
            let there = sector.get(inside..).unwrap_or_default();
            let there = &there[..there.len().min(part.len())];
            part[..there.len()].copy_from_slice(there);
            at += part.len() as u64;
            rest = after;
        }
        Ok(count)
    }
}

/// Looks for settings on it.
pub fn disk(data: &[u8]) -> bool {
    let Some(disk) = Folded::new(data) else { return false };
    let content = inspect("/dev/fuzz", &disk);
    match &content.blob {
        Ok(Some(blob)) => {
            assert!(content.kind.is_some());
            let (settings, signature) = (blob.settings(), blob.signature().unwrap_or_default());
            assert!(!settings.is_empty() && settings.len() + signature.len() <= MAX_BLOB);
        }
        Ok(None) => {}
        Err(error) => {
            assert!(content.kind.is_some(), "what is not ours is no error");
            is_plain(error);
        }
    }
    // The budget of a candidate, and what one request of it may be larger than what is charged.
    assert!(disk.bytes.get() <= 64 << 20, "{} bytes were read", disk.bytes.get());
    assert!(disk.reads.get() <= (64 << 20) / SECTOR as u32, "{} reads", disk.reads.get());
    matches!(content.blob, Ok(Some(_)))
}
