//! The log of a disk: every write of a boot and every flush, in the order in which they were completed.
//!
//! The format is that of Linux' device-mapper target log-writes, as QEMU's driver `blklogwrites` writes it: a sector with
//! the number of entries, then for each entry a sector that describes it and the sectors that it wrote. All numbers are
//! little-endian.

use std::ops::Range;

/// Bytes of a sector, in the log and of the disk.
pub const SECTOR: usize = 512;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Something that the disk completed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Sectors from this one on were written with these bytes of the log.
    Write { sector: u64, bytes: Range<usize>, through: bool },
    /// So many sectors from this one on were given up: they may hold zeros from now on, or what they held.
    Discard { sector: u64, count: u64 },
    /// All that was completed before is on the disk.
    Flush,
}

/// Reads a whole log of a disk of so many sectors.
pub fn read(log: &[u8], sectors: u64) -> Result<Vec<Entry>, String> {
    let head = log.get(..SECTOR).ok_or("is shorter than a sector")?;
    if (number(head, 0), number(head, 8), number(head, 24) & 0xffff_ffff) != (MAGIC, 1, SECTOR as u64) {
        return Err("has no head of version 1 with sectors of 512 bytes".into());
    }
    let count = number(head, 16);
    let mut entries = Vec::new();
    let mut at = SECTOR;
    for entry in 0..count {
        let described = log.get(at..at + SECTOR).ok_or(format!("ends before entry {entry} of {count}"))?;
        let (sector, length, flags) = (number(described, 0), number(described, 8), number(described, 16));
        at += SECTOR;
        if flags & !(FLUSH | FUA | DISCARD) != 0 || number(described, 24) != 0 {
            return Err(format!("has entry {entry} with flags {flags:#x}, or data of its own"));
        }
        if sector.checked_add(length).is_none_or(|end| end > sectors) {
            return Err(format!(
                "has entry {entry} at sector {sector} with {length} sectors, beyond the disk's {sectors}"
            ));
        }
        if flags & FLUSH != 0 {
            entries.push(Entry::Flush);
        }
        if length == 0 {
            continue;
        }
        if flags & DISCARD != 0 {
            entries.push(Entry::Discard { sector, count: length });
            continue;
        }
        let bytes = at..at + usize::try_from(length).map_err(|_| "is too long")? * SECTOR;
        if bytes.end > log.len() {
            return Err(format!("ends within the data of entry {entry} of {count}"));
        }
        at = bytes.end;
        entries.push(Entry::Write { sector, bytes, through: flags & FUA != 0 });
    }
    Ok(entries)
}

fn number(sector: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(sector[at..at + 8].try_into().unwrap())
}

/// Where a power loss can be told from others: after a flush or a write through the cache, and before the next one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Boundary {
    /// The entries before it that were flushed, all of them: those up to this one.
    pub flushed: usize,
    /// Entries after those that went through the cache, so that they are on the disk, too.
    pub through: Vec<usize>,
    /// Entries that are on their way, before and after the boundary.
    pub in_flight: Vec<usize>,
}

/// All boundaries, in order, the first before anything was written.
pub fn boundaries(entries: &[Entry]) -> Vec<Boundary> {
    let mut boundaries = vec![Boundary::default()];
    for (number, entry) in entries.iter().enumerate() {
        let last = boundaries.last_mut().unwrap();
        match entry {
            Entry::Flush => boundaries.push(Boundary { flushed: number + 1, ..Boundary::default() }),
            Entry::Write { through: true, .. } => {
                let mut next = last.clone();
                last.in_flight.push(number);
                next.through.push(number);
                boundaries.push(next);
            }
            Entry::Write { .. } | Entry::Discard { .. } => last.in_flight.push(number),
        }
    }
    boundaries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(numbers: &[u64]) -> Vec<u8> {
        let mut sector: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        sector.resize(SECTOR, 0);
        sector
    }

    /// A log of entries: sector, sectors, flags.
    fn log(entries: &[[u64; 3]]) -> Vec<u8> {
        let mut log = sector(&[MAGIC, 1, entries.len() as u64, 512]);
        for (number, entry) in entries.iter().enumerate() {
            log.extend(sector(entry));
            if entry[2] & DISCARD == 0 {
                log.extend(vec![number as u8; entry[1] as usize * SECTOR]);
            }
        }
        log
    }

    #[test]
    fn writes_flushes_and_discards_are_read_in_their_order() {
        let log = log(&[[8, 2, 0], [0, 0, FLUSH], [0, 16, DISCARD], [1, 1, FUA], [3, 1, FLUSH]]);
        let entries = read(&log, 16).unwrap();
        let data = |from: usize, sectors: usize| from * SECTOR..(from + sectors) * SECTOR;
        assert_eq!(
            entries,
            [
                Entry::Write { sector: 8, bytes: data(2, 2), through: false },
                Entry::Flush,
                Entry::Discard { sector: 0, count: 16 },
                Entry::Write { sector: 1, bytes: data(7, 1), through: true },
                Entry::Flush,
                Entry::Write { sector: 3, bytes: data(9, 1), through: false },
            ]
        );
        assert_eq!(log[data(9, 1)], [4; SECTOR]);
    }

    #[test]
    fn a_log_that_is_cut_off_or_leads_out_of_the_disk_is_refused() {
        let whole = log(&[[0, 2, 0], [0, 0, FLUSH]]);
        assert_eq!(read(&whole, 2).unwrap().len(), 2);
        for length in (0..whole.len()).step_by(SECTOR / 2) {
            assert!(read(&whole[..length], 2).is_err(), "{length}");
        }
        assert!(read(&whole, 1).is_err());
        for entry in [[u64::MAX, 2, DISCARD], [0, u64::MAX, DISCARD], [9, 1, 0], [0, 1, 8], [0, 1, 16]] {
            assert!(read(&log(&[entry]), 9).is_err(), "{entry:?}");
        }
        assert!(read(&sector(&[MAGIC, 2, 0, 512]), 1).is_err());
        assert!(read(&sector(&[MAGIC, 1, 0, 4096]), 1).is_err());
    }

    #[test]
    fn what_was_flushed_is_not_in_flight_and_what_went_through_the_cache_is_lost_only_before_it() {
        let entries = read(&log(&[[0, 1, 0], [1, 1, FUA], [2, 1, 0], [0, 0, FLUSH], [3, 1, 0]]), 9).unwrap();
        let boundary = |flushed, through: &[usize], in_flight: &[usize]| Boundary {
            flushed,
            through: through.to_vec(),
            in_flight: in_flight.to_vec(),
        };
        assert_eq!(
            boundaries(&entries),
            [boundary(0, &[], &[0, 1]), boundary(0, &[1], &[0, 2]), boundary(4, &[], &[4])]
        );
    }
}
