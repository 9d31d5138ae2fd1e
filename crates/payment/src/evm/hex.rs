//! Bytes as chains write them: `0x` and hexadecimal digits.

/// The digits, by what each stands for.
const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// Why a text is no bytes of that form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// It does not begin with `0x`.
    #[error("hexadecimal begins with 0x")]
    Prefix,
    /// It has a character that is no digit, or half a byte.
    #[error("after 0x stand pairs of hexadecimal digits")]
    Digits,
    /// It has another length than it should.
    #[error("it has another number of bytes than it should")]
    Length,
}

fn nibble(digit: u8) -> Result<u8, HexError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(HexError::Digits),
    }
}

/// The bytes of a text, at most `bytes_max` of them.
///
/// # Errors
/// [`HexError`].
pub fn from_hex(text: &str, bytes_max: usize) -> Result<Vec<u8>, HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?.as_bytes();
    if digits.len() / 2 > bytes_max {
        return Err(HexError::Length);
    }
    if digits.len() % 2 != 0 {
        return Err(HexError::Digits);
    }
    digits.chunks_exact(2).map(|pair| Ok((nibble(pair[0])? << 4) | nibble(pair[1])?)).collect()
}

/// Exactly `N` bytes of a text.
///
/// # Errors
/// [`HexError`].
pub(crate) fn array_from_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    from_hex(text, N)?.try_into().map_err(|_| HexError::Length)
}

/// The text of bytes, in lowercase.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{HexError, array_from_hex, from_hex, to_hex};

    #[test]
    fn hexadecimal_reads_back_what_it_writes_and_names_what_is_wrong() {
        assert_eq!(from_hex(&to_hex(&[0, 1, 0xfe]), 3), Ok(vec![0, 1, 0xfe]));
        assert_eq!(from_hex("0xAb", 1), Ok(vec![0xab]));
        assert_eq!(from_hex("ab", 1), Err(HexError::Prefix));
        assert_eq!(from_hex("0xabc", 2), Err(HexError::Digits));
        assert_eq!(from_hex("0xzz", 2), Err(HexError::Digits));
        assert_eq!(from_hex("0xabcdef", 2), Err(HexError::Length));
        assert_eq!(array_from_hex::<2>("0xab"), Err(HexError::Length));
    }
}
