//! Instants as Python's `datetime.utcnow().isoformat()` writes them: UTC without saying so, with six decimals of the second
//! or none. No other spelling is read.

use execgate_model::UnixMs;

use crate::time::Timestamp;

/// The length of `2026-11-20T10:00:00`.
const WHOLE_SECONDS: usize = 19;

/// The instant, cut to milliseconds: an artifact ends at most a millisecond early and never late.
pub(super) fn naive_utc(text: &str) -> Option<UnixMs> {
    let (seconds, decimals) = (text.get(..WHOLE_SECONDS)?, text.get(WHOLE_SECONDS..)?);
    let ms = match decimals {
        "" => "000",
        _ => {
            let six = decimals.strip_prefix('.')?;
            let is_six = six.len() == 6 && six.bytes().all(|byte| byte.is_ascii_digit());
            six.get(..3).filter(|_| is_six)?
        }
    };
    format!("{seconds}.{ms}Z").parse::<Timestamp>().ok().map(Timestamp::unix_ms)
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;

    use super::naive_utc;

    #[test]
    fn an_instant_is_read_as_python_writes_it() {
        assert_eq!(naive_utc("2026-11-20T10:00:00.123456"), Some(UnixMs(1_795_168_800_123)));
        assert_eq!(naive_utc("2026-11-20T10:00:00"), Some(UnixMs(1_795_168_800_000)));
        assert_eq!(naive_utc("2026-11-20T10:00:00.000001"), Some(UnixMs(1_795_168_800_000)));
    }

    #[test]
    fn another_spelling_is_no_instant() {
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T10:00:00Z",
            "2026-11-20T10:00:00.123456Z",
            "2026-11-20T10:00:00.123456+00:00",
            "2026-11-20T10:00:00.123",
            "2026-11-20T10:00:00.",
            "2026-11-20 10:00:00.123456",
            "2026-02-30T10:00:00.123456",
            "2026-11-20T24:00:00",
            "2026-11-20T10:00:00.12345é",
            "2026-11-20T10:00:0é.123456",
        ] {
            assert_eq!(naive_utc(text), None, "{text}");
        }
    }
}
