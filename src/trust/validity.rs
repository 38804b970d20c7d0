//! From when until when a key is trusted, and which clock that is held against.

use std::fmt;

const DAY: u64 = 86_400;
/// The first second of the year 10000, which the format cannot write.
const END_OF_TIME: u64 = 253_402_300_800;

/// What is known about the time. Seconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clock {
    /// What the system's clock shows.
    pub now: u64,
    /// A moment that has certainly passed: the newest of the day this program was built and the last commit.
    pub floor: u64,
}

/// The limits of a trusted key. Both are inclusive, as in OpenSSH. Seconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validity {
    /// Not to be used before this moment.
    pub after: Option<u64>,
    /// Not to be used after this moment.
    pub before: Option<u64>,
}

/// Which limit is not kept, and the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outside {
    /// The key is not valid yet.
    NotYet(u64),
    /// The key is not valid any more.
    Expired(u64),
}

impl Validity {
    /// Whether the key is valid now.
    ///
    /// Early in boot the clock may be wrong: a machine without a battery starts in 1970 and time comes over the network
    /// that the settings are to set up. A clock that shows less than the floor is certainly wrong. Then `before` is
    /// held against the floor, which can only be too kind to a key that expired since; and `after` is not enforced,
    /// because the true time is not known, and a new key must not lock out a machine whose battery is empty.
    ///
    /// # Errors
    /// The limit that is not kept.
    pub fn check(&self, clock: Clock) -> Result<(), Outside> {
        let trusted = clock.now >= clock.floor;
        match (self.after, self.before) {
            (Some(after), _) if trusted && clock.now < after => Err(Outside::NotYet(after)),
            (_, Some(before)) if clock.now.max(clock.floor) > before => Err(Outside::Expired(before)),
            _ => Ok(()),
        }
    }
}

/// Reads a time as OpenSSH writes it: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, and then `Z` or `UTC` or nothing.
///
/// Without a zone OpenSSH means local time; here it is UTC, because a guest has no zone before it is configured.
/// Days that do not exist, such as 31 February, are refused. `None` for anything that is no such time, and for 1970's
/// first second, which OpenSSH does not accept either.
pub fn parse_time(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_suffix('Z').or_else(|| upper.strip_suffix("UTC")).unwrap_or(&upper);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<u64>().ok());
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let lengths = month_lengths(year);
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    if day == 0 || day > *lengths.get(month)? {
        return None;
    }
    // Leap days between 1970 and the first of January of the year: 1969 years hold 477 of them.
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - 477;
    let days = 365 * (year - 1970) + leap_days + lengths.iter().take(month).sum::<u64>() + day - 1;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second;
    (seconds > 0).then_some(seconds)
}

/// A moment for people, such as `2026-11-22T20:59:58Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShownTime(
    /// Seconds since 1970 in UTC. What lies beyond the year 9999 is shown as its last second.
    pub u64,
);

impl fmt::Display for ShownTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.min(END_OF_TIME - 1);
        let (mut days, clock) = (seconds / DAY, seconds % DAY);
        let mut year = 1970;
        while days >= month_lengths(year).iter().sum() {
            days -= month_lengths(year).iter().sum::<u64>();
            year += 1;
        }
        let mut month = 1;
        for length in month_lengths(year) {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
    }
}

fn month_lengths(year: u64) -> [u64; 12] {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_those_that_date_prints() {
        // date -u -d '2024-02-29 12:34:56' +%s
        for (text, seconds) in [
            ("19700102", 86_400),
            ("20240229123456Z", 1_709_210_096),
            ("20240229123456", 1_709_210_096),
            ("20240229123456utc", 1_709_210_096),
            ("200003010000z", 951_868_800),
            ("21000301", 4_107_542_400),
            ("99991231235959Z", END_OF_TIME - 1),
        ] {
            assert_eq!(parse_time(text), Some(seconds), "{text}");
        }
        assert_eq!(ShownTime(1_709_210_096).to_string(), "2024-02-29T12:34:56Z");
        assert_eq!(ShownTime(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(ShownTime(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "2024",
            "202402",
            "20240230",
            "20230229",
            "21000229",
            "20241301",
            "20240001",
            "20240100",
            "2024010124",
            "202401012400",
            "202401010060",
            "20240101000060",
            "19691231",
            "19700101",
            "2024-01-01",
            "+2024010",
            "20240101ZZ",
            "202401010",
            "²0240101",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_time_reads_back(seconds in 1..END_OF_TIME) {
            let shown: String = ShownTime(seconds).to_string().chars().filter(|c| !"-T:".contains(*c)).collect();
            prop_assert_eq!(parse_time(&shown), Some(seconds));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,20}|[0-9]{8,15}[ZU]?") {
            let _ = parse_time(&text);
        }
    }

    #[test]
    fn a_good_clock_enforces_both_limits_inclusively() {
        let validity = Validity { after: Some(100), before: Some(200) };
        let at = |now| validity.check(Clock { now, floor: 50 });
        assert_eq!(at(99), Err(Outside::NotYet(100)));
        assert_eq!(at(100), Ok(()));
        assert_eq!(at(200), Ok(()));
        assert_eq!(at(201), Err(Outside::Expired(200)));
    }

    #[test]
    fn a_wrong_clock_neither_revives_an_expired_key_nor_locks_out_a_new_one() {
        let clock = Clock { now: 0, floor: 1000 };
        assert_eq!(Validity { after: None, before: Some(999) }.check(clock), Err(Outside::Expired(999)));
        assert_eq!(Validity { after: None, before: Some(1000) }.check(clock), Ok(()));
        assert_eq!(Validity { after: Some(2000), before: Some(3000) }.check(clock), Ok(()));
        assert_eq!(Validity::default().check(clock), Ok(()));
    }
}
