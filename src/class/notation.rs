//! How durations and sizes are written: `1h30m`, `250ms`, `64MiB`.

use crate::document::Refusal;

/// The units of a duration, the longest first, in milliseconds.
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The units of a size, in bytes.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

/// The largest number of either: what every tool that reads numbers holds exactly.
pub const MAX: u64 = 1 << 53;

/// Reads a duration in milliseconds: numbers with the units d, h, m, s and ms, each at most once, the longest first.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<u64, Refusal> {
    let wrong = || Refusal::new("is not a duration", "write numbers with d, h, m, s or ms, like 30s, 250ms or 1h30m");
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = DURATIONS.iter();
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or_else(wrong)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).ok_or_else(wrong)?;
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = number.checked_mul(*factor).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { limited(total) }
}

/// Reads a size in bytes: one number with its unit.
///
/// # Errors
/// What is wrong with it.
pub fn size(text: &str) -> Result<u64, Refusal> {
    let wrong =
        || Refusal::new("is not a size", "write a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, like 64MiB");
    let (number, unit) = number(text).ok_or_else(wrong)?;
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    limited(number.checked_mul(*factor).ok_or_else(wrong)?)
}

fn limited(number: u64) -> Result<u64, Refusal> {
    if number > MAX { Err(Refusal::new("is too much", "write less")) } else { Ok(number) }
}

/// The whole number at the front, without superfluous zeros, and what comes after it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let superfluous = digits.len() > 1 && digits.starts_with('0');
    if superfluous || digits.len() > 16 { None } else { Some((digits.parse().ok()?, rest)) }
}

/// A duration as it is written, from milliseconds.
pub fn write_duration(milliseconds: u64) -> String {
    let mut left = milliseconds;
    let mut text = String::new();
    for (unit, factor) in DURATIONS {
        let count = left.checked_div(factor).unwrap_or(0);
        left = left.checked_rem(factor).unwrap_or(0);
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A size as it is written, from bytes: in the largest unit of two's powers that holds it exactly.
pub fn write_size(bytes: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.checked_rem(*factor) == Some(0);
    let (unit, factor) = SIZES.iter().take(4).find(exact).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes.checked_div(*factor).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit_and_written_shortest() {
        for (text, wanted, written) in [
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "1m30s"),
            ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
            ("24h", 86_400_000, "1d"),
        ] {
            assert_eq!(duration(text).unwrap(), wanted, "{text}");
            assert_eq!(write_duration(wanted), written);
        }
        for text in [
            "",
            "5",
            "s",
            "1s1m",
            "1s1s",
            "1.5s",
            "-1s",
            "05s",
            "1 s",
            "1s ",
            "99999999999999999s",
            "9999999999999999d",
            "5é",
            "1S",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit_and_written_in_the_largest() {
        for (text, wanted, written) in [
            ("0B", 0, "0B"),
            ("4096B", 4096, "4KiB"),
            ("64MiB", 64 << 20, "64MiB"),
            ("1MB", 1_000_000, "1000000B"),
            ("3TiB", 3 << 40, "3TiB"),
        ] {
            assert_eq!(size(text).unwrap(), wanted, "{text}");
            assert_eq!(write_size(wanted), written);
        }
        for text in ["", "64", "MiB", "64mib", "64M", "1.5GiB", "-1B", "1GiB1MiB", "99999999999999TiB", "007B"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
