//! Instants as RFC 3339 text in UTC with milliseconds: `2026-11-20T10:00:00.123Z`, and no other spelling.
//!
//! It must never read a clock.

use core::fmt;
use core::str::FromStr;

use execgate_model::UnixMs;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The first millisecond of the year 10000, which RFC 3339 cannot write.
const END_MS: u64 = 253_402_300_800_000;
const DAY_MS: u64 = 86_400_000;
/// Days from 0000-03-01, the start of the calendar's 400-year cycle, to 1970-01-01.
const CYCLE_START_DAYS: u64 = 719_468;
const CYCLE_DAYS: u64 = 146_097;

/// An instant from 1970 to 9999, in milliseconds, written as RFC 3339 text in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(UnixMs);

/// Why there is no such instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The instant lies after the year 9999.
    #[error("an instant must lie before the year 10000")]
    Range,
    /// The text is spelt otherwise.
    #[error("an instant is written like 2026-11-20T10:00:00.123Z")]
    Syntax,
}

impl Timestamp {
    /// Wraps an instant that RFC 3339 can write.
    ///
    /// # Errors
    /// [`TimeError::Range`] from the year 10000 on.
    pub const fn new(instant: UnixMs) -> Result<Self, TimeError> {
        if instant.0 < END_MS { Ok(Self(instant)) } else { Err(TimeError::Range) }
    }

    /// The instant in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> UnixMs {
        self.0
    }
}

impl fmt::Display for Timestamp {
    /// Years start in March here, so that the leap day comes last (Hinnant, "chrono-compatible date algorithms").
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.0 / DAY_MS + CYCLE_START_DAYS, self.0.0 % DAY_MS);
        let (cycle, day) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = cycle * 400 + year + carry;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        let ms = ms % 1_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let field = |from: usize, to: usize| -> Result<u64, TimeError> {
            let digits = text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|part| part.parse().ok()).ok_or(TimeError::Syntax)
        };
        let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
        let ms =
            field(11, 13)? * 3_600_000 + field(14, 16)? * 60_000 + field(17, 19)? * 1_000 + field(20, 23)?;
        if year < 1970 || month == 0 || day == 0 {
            return Err(TimeError::Syntax);
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        let read = Self(UnixMs((days - CYCLE_START_DAYS) * DAY_MS + ms));
        // Whatever is out of range or spelt otherwise, such as 30 February, does not come back the same.
        if read.0.0 < END_MS && read.to_string() == text { Ok(read) } else { Err(TimeError::Syntax) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;
    use proptest::prelude::proptest;

    use super::{END_MS, TimeError, Timestamp};

    #[test]
    fn instants_are_written_as_date_writes_them() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (1_795_168_800_123, "2026-11-20T10:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (END_MS - 1, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, text) in table {
            let instant = Timestamp::new(UnixMs(ms)).unwrap();
            assert_eq!(instant.to_string(), text);
            assert_eq!(text.parse(), Ok(instant));
        }
        assert_eq!(Timestamp::new(UnixMs(END_MS)), Err(TimeError::Range));
    }

    #[test]
    fn another_spelling_is_no_instant() {
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T10:00:00Z",
            "2026-11-20t10:00:00.123Z",
            "2026-11-20T10:00:00.123+00:00",
            "2026-02-30T10:00:00.123Z",
            "2026-13-01T10:00:00.123Z",
            "2026-11-20T24:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-11-20T10:00:60.000Z",
            "2026-00-20T10:00:00.123Z",
            "2026-11-20T10:00:00.1234Z",
            "é026-11-20T10:00:00.123Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimeError::Syntax), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_reads_back(ms in 0..END_MS) {
            let instant = Timestamp::new(UnixMs(ms)).unwrap();
            assert_eq!(instant.to_string().parse(), Ok(instant));
        }
    }
}
