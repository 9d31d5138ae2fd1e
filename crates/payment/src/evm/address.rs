//! An account or a contract, with the check that its capitals are (EIP-55).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hex::{HexError, array_from_hex, to_hex};
use super::keccak::keccak256;

/// An address: 20 bytes. Written with capitals by EIP-55.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address([u8; 20]);

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not `0x` and 40 digits.
    #[error("an address is 0x and 40 hexadecimal digits")]
    Form(#[source] HexError),
    /// It has capitals and small letters, and they are not those of its check: a digit is wrong.
    #[error("the capitals of the address do not fit its digits (EIP-55), so one of them is wrong")]
    Checksum,
}

impl Address {
    /// The address that is nobody's.
    pub const ZERO: Self = Self([0; 20]);

    /// From its 20 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its 20 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// As contracts take it: 32 bytes, the first 12 zero.
    #[must_use]
    pub fn to_word(self) -> [u8; 32] {
        let mut word = [0; 32];
        word[12..].copy_from_slice(&self.0);
        word
    }

    /// In lowercase, with `0x`: the form for comparing and for hashing.
    #[must_use]
    pub fn to_lowercase(self) -> String {
        to_hex(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lower = to_hex(&self.0);
        let hash = keccak256(&lower.as_bytes()[2..]);
        let is_capital = |at: usize| {
            let byte = hash[at / 2];
            (if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xf }) >= 8
        };
        let capitals = |(at, digit): (usize, char)| {
            if at >= 2 && is_capital(at - 2) { digit.to_ascii_uppercase() } else { digit }
        };
        f.write_str(&lower.chars().enumerate().map(capitals).collect::<String>())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Letters of one case carry no check; letters of both have to fit.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = Self(array_from_hex(text).map_err(AddressError::Form)?);
        let has = |is: fn(&u8) -> bool| text.as_bytes()[2..].iter().any(is);
        let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        if is_mixed && address.to_string() != text {
            return Err(AddressError::Checksum);
        }
        Ok(address)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};

    /// The examples of EIP-55.
    const EXAMPLES: [&str; 4] = [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn the_examples_of_the_standard_read_back_what_they_write() {
        for text in EXAMPLES {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(text.to_ascii_lowercase().parse(), Ok(address));
            assert_eq!(format!("0x{}", text[2..].to_ascii_uppercase()).parse(), Ok(address));
        }
    }

    #[test]
    fn a_wrong_digit_or_capital_is_found() {
        for text in EXAMPLES {
            let wrong = text.replacen('B', "b", 1);
            assert_eq!(wrong.parse::<Address>(), Err(AddressError::Checksum), "{wrong}");
        }
        for text in [
            "",
            "0x",
            "0x12",
            &EXAMPLES[0][2..],
            &format!("{}00", EXAMPLES[0]),
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
        ] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Form(_))), "{text}");
        }
    }
}
