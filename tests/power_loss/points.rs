//! The moments at which the power goes: at each boundary, and at random between two.

use super::log::{Boundary, Entry, SECTOR};
use super::proof::dice::Dice;
use std::collections::BTreeSet;

/// Sectors that a disk writes whole or not at all. Each of the file systems relies on its blocks of 4 KiB being written so,
/// as disks of today do: torn ones are superblocks of ext4 and btrfs and directories of XFS that no mount takes.
pub const WHOLE: u64 = 8;

/// What a power loss leaves of one write: all of it, or some of the blocks of [`WHOLE`] sectors that it touches.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Kept {
    pub entry: usize,
    pub torn: Option<Vec<bool>>,
}

impl Kept {
    /// All of it.
    pub fn whole(entry: usize) -> Self {
        Kept { entry, torn: None }
    }

    /// Whether this block of it reached the disk.
    pub fn holds(&self, block: usize) -> bool {
        self.torn.as_ref().is_none_or(|torn| torn[block])
    }
}

/// One moment: a boundary, and what of the writes in flight after it reached the disk as well.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Point {
    pub boundary: usize,
    pub kept: Vec<Kept>,
}

/// Different random points, in the order of their boundaries. Four of five are in `busy`, where the commit is.
pub fn random(
    entries: &[Entry],
    boundaries: &[Boundary],
    busy: std::ops::Range<usize>,
    count: usize,
    dice: &mut Dice,
) -> BTreeSet<Point> {
    // A boundary counts by what is in flight after it: more writes, more that can happen.
    let tickets = |range: std::ops::Range<usize>| -> Vec<usize> {
        range.flat_map(|number| vec![number; boundaries[number].in_flight.len().min(8)]).collect()
    };
    let (anywhere, within) = (tickets(0..boundaries.len()), tickets(busy));
    let mut points = BTreeSet::new();
    for _ in 0..count * 20 {
        if points.len() == count {
            break;
        }
        let tickets = if dice.below(5) == 0 || within.is_empty() { &anywhere } else { &within };
        let boundary = tickets[dice.below(tickets.len())];
        let kept = subset(entries, &boundaries[boundary].in_flight, dice);
        points.insert(Point { boundary, kept });
    }
    points
}

/// Some of the writes in flight, now and then one of them torn.
fn subset(entries: &[Entry], in_flight: &[usize], dice: &mut Dice) -> Vec<Kept> {
    let one = dice.below(in_flight.len());
    let mut kept: Vec<Kept> = match dice.below(4) {
        0 => in_flight[..=one].iter().copied().map(Kept::whole).collect(),
        1 => in_flight.iter().filter(|entry| **entry != in_flight[one]).copied().map(Kept::whole).collect(),
        _ => {
            let share = 1 + dice.below(7);
            in_flight.iter().filter(|_| dice.below(8) < share).copied().map(Kept::whole).collect()
        }
    };
    if !kept.is_empty() && dice.below(3) == 0 {
        let torn = dice.below(kept.len());
        if let Entry::Write { sector, bytes, .. } = &entries[kept[torn].entry] {
            let end = sector + (bytes.len() / SECTOR) as u64;
            let blocks = (end.div_ceil(WHOLE) - sector / WHOLE) as usize;
            let cut = dice.below(blocks);
            let halves = dice.below(3);
            kept[torn].torn = Some(
                (0..blocks)
                    .map(|number| match halves {
                        0 => number < cut,
                        1 => number >= cut,
                        _ => dice.below(2) == 0,
                    })
                    .collect(),
            );
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log;

    #[test]
    fn points_are_different_and_those_of_one_seed_are_the_same_and_hold_nothing_else_than_what_is_in_flight() {
        let write = |sector| Entry::Write { sector, bytes: 0..32 * SECTOR, through: false };
        let mut entries: Vec<Entry> = (0..4).map(write).collect();
        entries.push(Entry::Flush);
        entries.extend((5..9).map(write));
        let boundaries = log::boundaries(&entries);
        let draw = |seed| random(&entries, &boundaries, 1..2, 60, &mut Dice(seed));
        let points = draw(7);
        assert_eq!(points, draw(7));
        assert_ne!(points, draw(8));
        assert_eq!(points.len(), 60);
        assert!(points.iter().filter(|point| point.boundary == 1).count() > 30);
        assert!(points.iter().any(|point| point.boundary == 0));
        assert!(points.iter().flat_map(|point| &point.kept).any(|kept| kept.torn.is_some()));
        for point in &points {
            let in_flight = &boundaries[point.boundary].in_flight;
            assert!(point.kept.iter().all(|kept| in_flight.contains(&kept.entry)), "{point:?}");
        }
    }
}
