//! What usage comes to, where an action is paid by it.

use execgate_model::{Amount, UnixMs};
use serde::{Deserialize, Serialize};

/// Milliseconds in a second.
const SECOND_MS: u128 = 1000;

/// What a run comes to by the time that it took, by the clock of its receipt: from its claim to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// However long it took.
    pub base: Amount,
    /// For each second, and the same part of it for a part of one.
    pub per_second: Amount,
}

impl Meter {
    /// What a run comes to: parts of a millionth count as one, and it is never more than that.
    #[must_use]
    pub fn due(&self, started: UnixMs, ended: UnixMs, most: Amount) -> Amount {
        let took_ms = u128::from(ended.0.saturating_sub(started.0));
        let by_time = (u128::from(self.per_second.micros()) * took_ms).div_ceil(SECOND_MS);
        let whole = u128::from(self.base.micros()) + by_time;
        u64::try_from(whole).map_or(most, |micros| Amount::from_micros(micros).min(most))
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Amount, UnixMs};

    use super::Meter;

    #[test]
    fn usage_is_rounded_up_and_never_above_the_most() {
        let meter = |base, per_second| Meter {
            base: Amount::from_micros(base),
            per_second: Amount::from_micros(per_second),
        };
        for (base, per_second, took_ms, expected) in [
            (5, 1_000, 0, 5),
            (5, 1_000, 1, 6),
            (5, 1_000, 1_500, 1_505),
            (0, 3, 1, 1),
            (0, 3, 0, 0),
            (0, 0, 60_000, 0),
            (5, 1_000, 60_000, 20_000),
            (u64::MAX, u64::MAX, u64::MAX, 20_000),
        ] {
            let due = meter(base, per_second).due(UnixMs(0), UnixMs(took_ms), Amount::from_micros(20_000));
            assert_eq!(due, Amount::from_micros(expected), "{base} {per_second} {took_ms}");
        }
        let back = meter(7, 1_000).due(UnixMs(9), UnixMs(3), Amount::from_micros(20_000));
        assert_eq!(back, Amount::from_micros(7), "a clock that went back adds nothing");
    }
}
