//! Whole numbers of 256 bits, as contracts count with. Nothing is computed with them here: they are read, compared, written.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest has so many decimal digits.
const DIGITS_MAX: usize = 78;

/// A number from 0 to 2^256 - 1. JSON has it as a text of decimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct U256([u8; 32]);

/// Why a text is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum U256Error {
    /// It has something else than decimal digits, or none, or a zero before them.
    #[error("a number is written in decimal digits")]
    Digits,
    /// It is larger than the largest.
    #[error("a number has at most 256 bits")]
    Range,
}

impl U256 {
    /// Nothing.
    pub const ZERO: Self = Self([0; 32]);

    /// From 32 bytes, the highest first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, the highest first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a number of 128 bits.
    #[must_use]
    pub fn from_u128(number: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    /// The number, where 64 bits hold it.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        let (high, low) = self.0.split_at(24);
        let low = low.try_into().ok()?;
        high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(low))
    }

    /// The number, or the largest that 64 bits hold.
    #[must_use]
    pub fn saturating_u64(self) -> u64 {
        self.to_u64().unwrap_or(u64::MAX)
    }
}

impl From<u64> for U256 {
    fn from(number: u64) -> Self {
        Self::from_u128(number.into())
    }
}

impl FromStr for U256 {
    type Err = U256Error;

    fn from_str(text: &str) -> Result<Self, U256Error> {
        let digits = text.as_bytes();
        let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
        if !is_plain {
            return Err(U256Error::Digits);
        }
        if digits.len() > DIGITS_MAX {
            return Err(U256Error::Range);
        }
        // What money is counted in is small.
        if let Ok(number) = text.parse() {
            return Ok(Self::from_u128(number));
        }
        let mut bytes = [0_u8; 32];
        for digit in digits {
            let mut carry = u16::from(digit - b'0');
            for byte in bytes.iter_mut().rev() {
                let [high, low] = (u16::from(*byte) * 10 + carry).to_be_bytes();
                (*byte, carry) = (low, u16::from(high));
            }
            if carry != 0 {
                return Err(U256Error::Range);
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = self.0.split_at(16);
        if let Ok(low) = low.try_into()
            && high.iter().all(|byte| *byte == 0)
        {
            return fmt::Display::fmt(&u128::from_be_bytes(low), f);
        }
        let (mut rest, mut digits) = (self.0, Vec::with_capacity(DIGITS_MAX));
        while rest.iter().any(|byte| *byte != 0) {
            let mut remainder = 0_u16;
            for byte in &mut rest {
                let value = remainder * 256 + u16::from(*byte);
                // Below 256, since the remainder is below 10.
                *byte = u8::try_from(value / 10).map_err(|_| fmt::Error)?;
                remainder = value % 10;
            }
            digits.push(char::from_digit(u32::from(remainder), 10).ok_or(fmt::Error)?);
        }
        let text: String = digits.iter().rev().collect();
        f.pad_integral(true, "", if text.is_empty() { "0" } else { &text })
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for U256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for U256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{U256, U256Error};

    const LARGEST: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

    #[test]
    fn the_largest_is_read_and_the_next_is_not() {
        let largest: U256 = LARGEST.parse().unwrap();
        assert_eq!((largest, largest.to_string()), (U256([0xff; 32]), LARGEST.to_owned()));
        assert_eq!((largest.to_u64(), largest.saturating_u64()), (None, u64::MAX));
        assert_eq!(LARGEST.replace("639935", "639936").parse::<U256>(), Err(U256Error::Range));
        assert_eq!(format!("{LARGEST}0").parse::<U256>(), Err(U256Error::Range));
    }

    #[test]
    fn what_is_no_decimal_number_is_refused() {
        for text in ["", "-1", "+1", "0x10", "1e3", "01", "1.0", " 1", "1_000", "٣"] {
            assert_eq!(text.parse::<U256>(), Err(U256Error::Digits), "{text}");
        }
        assert_eq!("0".parse(), Ok(U256::ZERO));
    }

    proptest! {
        #[test]
        fn every_number_reads_back_what_it_writes(bytes in any::<[u8; 32]>(), small in any::<u64>()) {
            let number = U256(bytes);
            assert_eq!(number.to_string().parse(), Ok(number));
            let half: U256 = U256(core::array::from_fn(|at| if at < 16 { 0 } else { bytes[at] }));
            assert_eq!(half.to_string().parse(), Ok(half));
            assert_eq!(small.to_string().parse(), Ok(U256::from(small)));
            assert_eq!(U256::from(small).to_u64(), Some(small));
        }
    }
}
