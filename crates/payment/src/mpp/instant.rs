//! Moments as RFC 3339 writes them, to the second.

use execgate_model::UnixMs;
use jiff::Timestamp;

/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// The longest text of a moment that is read: nanoseconds and an offset fit in it.
const MAX_TEXT: usize = 40;

/// Why a text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as in RFC 3339, such as 2026-11-22T00:05:00Z, and lies after 1970")]
pub struct InstantError;

/// A moment in UTC, to the second, rounded down.
#[must_use]
pub fn told(at: UnixMs) -> String {
    let seconds = i64::try_from(at.0 / SECOND_MS).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

/// The moment that a text names.
///
/// # Errors
/// [`InstantError`] where it names none, or one before 1970.
pub fn read(text: &str) -> Result<UnixMs, InstantError> {
    if text.len() > MAX_TEXT {
        return Err(InstantError);
    }
    let moment: Timestamp = text.parse().map_err(|_| InstantError)?;
    u64::try_from(moment.as_millisecond()).map(UnixMs).map_err(|_| InstantError)
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;

    use super::{InstantError, read, told};

    #[test]
    fn a_moment_is_told_to_the_second_and_read_again() {
        assert_eq!(told(UnixMs(1_795_305_900_999)), "2026-11-22T00:05:00Z");
        assert_eq!(read("2026-11-22T00:05:00Z"), Ok(UnixMs(1_795_305_900_000)));
        assert_eq!(read("2026-11-22T01:05:00.250+01:00"), Ok(UnixMs(1_795_305_900_250)));
        assert_eq!(read("2026-11-20T23:49:14.218117698Z").map(|at| at.0 % 1000), Ok(218));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "2026-11-22", "2026-11-22T00:05:00", "1969-12-31T23:59:59Z", "now"] {
            assert_eq!(read(text), Err(InstantError), "{text}");
        }
        assert_eq!(read(&format!("2026-11-22T00:05:00.{}Z", "0".repeat(100))), Err(InstantError));
        assert!(!told(UnixMs(u64::MAX)).is_empty());
    }
}
