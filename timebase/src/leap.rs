use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{Leap, Span, Timestamp, Utc};

/// NTP counts seconds from 1900, UTC here from 1970.
const NTP_EPOCH: i64 = 2_208_988_800;
/// TAI − UTC before the first leap second of 1972.
const FIRST_OFFSET: i32 = 10;
const DAY: i64 = 86_400;
/// More leap seconds than there can be in any table that is true: twelve a year for two centuries.
const MOST: usize = 2_400;

/// One leap second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeapSecond {
    /// The midnight at which the UTC day after it begins.
    pub at: Timestamp<Utc>,
    /// Whether a second is inserted before that midnight (as all were so far), or deleted.
    pub insert: bool,
}

impl LeapSecond {
    /// How far TAI − UTC grows: one second, or minus one.
    pub const fn step(self) -> Span {
        if self.insert { Span::SECOND } else { Span::from_secs(-1) }
    }

    /// What servers announce in the day before it.
    pub const fn warning(self) -> Leap {
        if self.insert { Leap::Insert } else { Leap::Delete }
    }

    /// The leap second that a warning given at `now` means: at the end of the UTC month, if that is no
    /// more than a day away. Servers that warn earlier are not wrong, but it is not yet time to act.
    pub fn announced(warning: Leap, now: Timestamp<Utc>) -> Option<Self> {
        let insert = match warning {
            Leap::Insert => true,
            Leap::Delete => false,
            Leap::None | Leap::Unsynchronised => return None,
        };
        let day = now.as_ns().div_euclid(Span::from_secs(DAY).as_ns());
        let (_, _, day_of_month) = civil(day + 1);
        let at = Timestamp::from_ns(0) + Span::from_secs((day + 1).saturating_mul(DAY));
        (day_of_month == 1).then_some(Self { at, insert })
    }
}

/// All leap seconds that were decided on, and how long that list is known to be complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeapTable {
    /// In order; TAI − UTC from each on.
    entries: Vec<(Timestamp<Utc>, i32)>,
    expires: Timestamp<Utc>,
}

/// Why a text is not a leap second table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeapTableError {
    /// This line (counted from 1) has neither of the two formats.
    Line(usize),
    /// The entries are not in order, or TAI − UTC changes by other than one second.
    Order,
    /// It does not say until when it is valid.
    Expiry,
    /// It has no entry at all.
    Empty,
}

impl LeapTable {
    /// Reads either of the two files that hosts have: the `leap-seconds.list` of the IERS and NIST, or
    /// the `leapseconds` of the time zone database.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn parse(text: &str) -> Result<Self, LeapTableError> {
        let mut entries = Vec::new();
        let mut expires = None;
        for (number, line) in text.lines().enumerate() {
            let wrong = LeapTableError::Line(number + 1);
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("#@") => {
                    let at = words.next().and_then(|word| word.parse().ok()).ok_or(wrong)?;
                    expires = Some(from_ntp(at).ok_or(wrong)?);
                }
                Some("#expires") => {
                    let at = words.next().and_then(|word| word.parse().ok()).ok_or(wrong)?;
                    expires = Some(from_unix(at).ok_or(wrong)?);
                }
                Some("Leap") => {
                    let next = entries.last().map_or(FIRST_OFFSET, |(_, offset)| *offset);
                    entries.push(zone_line(words, next).ok_or(wrong)?);
                }
                Some(word) if !word.starts_with('#') => {
                    // Leap seconds end a day of UTC.
                    let at = word.parse().ok().filter(|seconds| seconds % DAY == 0);
                    let at = at.and_then(from_ntp).ok_or(wrong)?;
                    let offset = words.next().and_then(|word| word.parse().ok()).ok_or(wrong)?;
                    entries.push((at, offset));
                }
                _ => {}
            }
            if entries.len() > MOST {
                return Err(wrong);
            }
        }
        let table = Self { entries, expires: expires.ok_or(LeapTableError::Expiry)? };
        if table.entries.is_empty() {
            return Err(LeapTableError::Empty);
        }
        let steps = table.entries.windows(2);
        let in_order = steps.into_iter().all(|pair| {
            pair[0].0 < pair[1].0 && pair[1].1.checked_sub(pair[0].1).is_some_and(|d| d.abs() == 1)
        });
        if in_order { Ok(table) } else { Err(LeapTableError::Order) }
    }

    /// Until when no leap second can be missing from it.
    pub const fn expires(&self) -> Timestamp<Utc> {
        self.expires
    }

    /// Whether leap seconds may be missing from it at `now`.
    pub fn is_expired(&self, now: Timestamp<Utc>) -> bool {
        now >= self.expires
    }

    /// TAI − UTC at an instant; `None` before the table begins and after it expires.
    pub fn tai_offset(&self, at: Timestamp<Utc>) -> Option<i32> {
        let known = !self.is_expired(at);
        let before = self.entries.iter().take_while(|(from, _)| known && *from <= at);
        before.last().map(|(_, offset)| *offset)
    }

    /// UTC at a moment of TAI, given as nanoseconds since 1970 on that scale; `None` where
    /// [`tai_offset`](Self::tai_offset) is not known.
    pub fn utc_at_tai(&self, tai_ns: i64) -> Option<Timestamp<Utc>> {
        let at =
            |offset: i32| Timestamp::<Utc>::from_ns(tai_ns) - Span::from_secs(i64::from(offset));
        let reached = self.entries.iter().rev().find(|(from, offset)| at(*offset) >= *from);
        reached.map(|(_, offset)| at(*offset)).filter(|utc| !self.is_expired(*utc))
    }

    /// The first leap second after an instant, if one is decided on.
    pub fn next_after(&self, at: Timestamp<Utc>) -> Option<LeapSecond> {
        self.leaps().find(|leap| leap.at > at)
    }

    /// Every leap second in it, oldest first.
    pub fn leaps(&self) -> impl Iterator<Item = LeapSecond> {
        // The tables of the IERS begin with the offset of 1972, which was no leap second.
        let before = core::iter::once(FIRST_OFFSET).chain(self.entries.iter().map(|e| e.1));
        let pairs = before.zip(&self.entries);
        pairs
            .filter(|(before, (_, after))| before != after)
            .map(|(before, (at, after))| LeapSecond { at: *at, insert: *after > before })
    }
}

/// The numbers that the `#h` line of a `leap-seconds.list` is the SHA-1 of, and that hash; `None`
/// without such a line. Published files have been seen with a word of the hash short of its leading
/// zeros, so words are numbers here.
///
/// Computing it is left to the caller, who has a library for it.
pub fn hashed_part(text: &str) -> Option<(String, [u32; 5])> {
    let mut hashed = String::new();
    let mut hash = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("#$" | "#@") => hashed.extend(words.next()),
            Some("#h") => {
                let mut numbers = [0; 5];
                for number in &mut numbers {
                    *number = u32::from_str_radix(words.next()?, 16).ok()?;
                }
                hash = Some(numbers);
            }
            Some(word) if !word.starts_with('#') => {
                hashed.push_str(word);
                hashed.extend(words.next());
            }
            _ => {}
        }
    }
    hash.map(|hash| (hashed, hash))
}

/// `2016 Dec 31 23:59:60 + S`, where TAI − UTC was `offset` before.
fn zone_line<'a>(
    mut words: impl Iterator<Item = &'a str>,
    offset: i32,
) -> Option<(Timestamp<Utc>, i32)> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let year: i64 = words.next()?.parse().ok().filter(|year| (1972..2262).contains(year))?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let step = match (words.next()?, words.next()?) {
        ("23:59:60", "+") => 1,
        ("23:59:59", "-") => -1,
        _ => return None,
    };
    let at = from_unix((days(year, month, day) + 1) * DAY)?;
    Some((at, offset.checked_add(step)?))
}

fn from_ntp(seconds: i64) -> Option<Timestamp<Utc>> {
    from_unix(seconds.checked_sub(NTP_EPOCH)?)
}

fn from_unix(seconds: i64) -> Option<Timestamp<Utc>> {
    Some(Timestamp::from_ns(seconds.checked_mul(1_000_000_000)?))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years begin in March here, so that the
/// leap day is the last of them.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`]: year, month, day.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

impl fmt::Display for LeapTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line} is not one of a leap second table"),
            Self::Order => f.write_str("its entries do not follow from one another"),
            Self::Expiry => f.write_str("it does not say until when it is valid"),
            Self::Empty => f.write_str("it has no entries"),
        }
    }
}

impl core::error::Error for LeapTableError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IERS: &str = "# a comment\n#$\t3676924800\n#@\t3707596800\n\
        2272060800\t10\t# 1 Jan 1972\n2287785600\t11\t# 1 Jul 1972\n3692217600 12 # 1 Jan 2017\n\
        #h\t49db2447 571e5e1b 2f002a53 9c8da8e4 39b8e49e\n";
    const ZONE: &str = "# comment\nLeap\t1972\tJun\t30\t23:59:60\t+\tS\n\
        Leap\t2016\tDec\t31\t23:59:60\t+\tS\n#Expires 2017 Jun 28 00:00:00\n\
        #updated 1467936000 (2016-07-08)\n#expires 1498608000 (2017-06-28 00:00:00 UTC)\n";
    const JANUARY_2017: i64 = 1_483_228_800;

    fn utc(seconds: i64) -> Timestamp<Utc> {
        Timestamp::from_ns(seconds * 1_000_000_000)
    }

    /// Proves that both formats give the same leap seconds, offsets and expiry.
    #[test]
    fn both_formats_say_the_same() {
        let (iers, zone) = (LeapTable::parse(IERS).unwrap(), LeapTable::parse(ZONE).unwrap());
        let leaps: Vec<_> = iers.leaps().collect();
        assert_eq!(leaps, zone.leaps().collect::<Vec<_>>());
        assert_eq!(leaps[1], LeapSecond { at: utc(JANUARY_2017), insert: true });
        assert_eq!(iers.expires(), zone.expires());
        for table in [iers, zone] {
            assert_eq!(table.tai_offset(utc(JANUARY_2017 - 1)), Some(11));
            assert_eq!(table.tai_offset(utc(JANUARY_2017)), Some(12));
            assert_eq!(table.tai_offset(table.expires()), None, "an expired table knows nothing");
            let tai = |seconds: i64| table.utc_at_tai(seconds * 1_000_000_000);
            assert_eq!(tai(JANUARY_2017 + 10), Some(utc(JANUARY_2017 - 1)));
            assert_eq!(tai(JANUARY_2017 + 12), Some(utc(JANUARY_2017)));
            assert_eq!(tai(0), None);
            assert_eq!(table.next_after(utc(JANUARY_2017 - 1)), Some(leaps[1]));
            assert_eq!(table.next_after(utc(JANUARY_2017)), None);
        }
    }

    /// Proves that a deleted second is read, too.
    #[test]
    fn deleted_seconds_are_read() {
        let text =
            "Leap 2016 Dec 31 23:59:60 + S\nLeap 2029 Jun 30 23:59:59 - S\n#expires 1898000000\n";
        let last = LeapTable::parse(text).unwrap().leaps().last().unwrap();
        assert!(!last.insert);
        assert_eq!(last.step(), Span::from_secs(-1));
        assert_eq!(last.warning(), Leap::Delete);
    }

    /// Proves that a text which is no table is refused with what is wrong.
    #[test]
    fn what_is_no_table_is_refused() {
        let parse = LeapTable::parse;
        assert_eq!(parse(""), Err(LeapTableError::Expiry));
        assert_eq!(parse("#@ 3707596800\n"), Err(LeapTableError::Empty));
        assert_eq!(parse("#@ 3707596800\n2272060800 ten\n"), Err(LeapTableError::Line(2)));
        assert_eq!(parse("#@ 99999999999999999\n"), Err(LeapTableError::Line(1)));
        assert_eq!(
            parse("#@ 3707596800\n2272060800 10\n2287785600 12\n"),
            Err(LeapTableError::Order)
        );
        assert_eq!(parse("Leap 2016 Foo 31 23:59:60 + S\n"), Err(LeapTableError::Line(1)));
    }

    /// Proves that the hash covers the dates and the entries, in their order.
    #[test]
    fn the_hash_covers_all_numbers() {
        let (hashed, hash) = hashed_part(IERS).unwrap();
        assert_eq!(hashed, "36769248003707596800227206080010228778560011369221760012");
        assert_eq!(hash[0], 0x49db_2447);
        assert_eq!(hashed_part(ZONE), None);
    }

    /// Proves that a warning means the end of the month, and only in its last day.
    #[test]
    fn a_warning_means_the_end_of_this_month() {
        let leap = LeapSecond { at: utc(JANUARY_2017), insert: true };
        let announced = LeapSecond::announced;
        assert_eq!(announced(Leap::Insert, utc(JANUARY_2017 - 1)), Some(leap));
        assert_eq!(announced(Leap::Insert, utc(JANUARY_2017 - DAY)), Some(leap));
        assert_eq!(announced(Leap::Insert, utc(JANUARY_2017 - DAY - 1)), None);
        assert_eq!(announced(Leap::Insert, utc(JANUARY_2017)), None);
        assert_eq!(announced(Leap::None, utc(JANUARY_2017 - 1)), None);
        // 29 February 2028.
        assert!(announced(Leap::Delete, utc(1_835_481_599)).is_some_and(|leap| !leap.insert));
    }

    proptest! {
        /// Proves that days and dates are each other's inverse over all that a timestamp can hold.
        #[test]
        fn dates_and_days_are_inverse(day in -106_000i64..106_000) {
            let (year, month, of_month) = civil(day);
            prop_assert_eq!(days(year, month, of_month), day);
        }

        /// Proves that no text makes the parser panic.
        #[test]
        fn any_text_is_parsed_or_refused(text in "[#@$h0-9a-z \n\tLeap:+-]{0,200}") {
            let _ = LeapTable::parse(&text);
            let _ = hashed_part(&text);
        }
    }
}
