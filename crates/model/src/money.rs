//! Money in integer minor units. Nothing here rounds, and every sum is checked.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of US dollars in millionths, which is what one unit of USDC is (6 decimals).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Amount(u64);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not digits with at most one point.
    #[error("an amount is digits with at most one decimal point, such as 0.05")]
    Syntax,
    /// More than six decimals.
    #[error("an amount has at most six decimals")]
    Precision,
    /// Larger than the largest amount.
    #[error("an amount is at most 18446744073709.551615")]
    Range,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of millionths of a dollar.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The millionths.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The sum, or nothing where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// True for nothing at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Amount {
    /// At least two decimals, no more than needed beyond: `0.05`, `0.005`, `1.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % 1_000_000);
        let kept = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / 1_000_000, &decimals[..kept])
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(AmountError::Syntax);
        }
        if decimals.len() > 6 {
            return Err(AmountError::Precision);
        }
        let micros: u64 = format!("{decimals:0<6}").parse().map_err(|_| AmountError::Range)?;
        whole
            .parse::<u64>()
            .ok()
            .and_then(|units| units.checked_mul(1_000_000))
            .and_then(|units| units.checked_add(micros))
            .map(Self)
            .ok_or(AmountError::Range)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, AmountError};

    #[test]
    fn amounts_are_written_with_at_least_two_decimals() {
        let texts = [(50_000, "0.05"), (5_000, "0.005"), (1_000_000, "1.00"), (1, "0.000001")];
        for (micros, text) in texts {
            assert_eq!(Amount::from_micros(micros).to_string(), text);
            assert_eq!(text.parse(), Ok(Amount::from_micros(micros)));
        }
    }

    #[test]
    fn bad_amounts_name_the_rule() {
        for text in ["", ".", "1.", ".5", "-1", "1e3", "+1", "0x1"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Syntax), "{text}");
        }
        assert_eq!("0.0000001".parse::<Amount>(), Err(AmountError::Precision));
        assert_eq!("18446744073710".parse::<Amount>(), Err(AmountError::Range));
    }

    #[test]
    fn sums_do_not_wrap() {
        assert_eq!(Amount::from_micros(u64::MAX).checked_add(Amount::from_micros(1)), None);
    }
}
