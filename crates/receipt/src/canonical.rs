//! The one byte sequence that stands for a JSON value: RFC 8785 (JCS).
//!
//! It must never give two values that a handler could tell apart the same bytes, so an integer that a double
//! cannot hold is an error and not a rounded number. Read on in `strict`, which applies the same rule to what
//! comes in.

use core::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// The largest integer that every JSON reader holds exactly, 2^53 - 1 (RFC 7493, section 2.2).
pub const LARGEST_INTEGER: u64 = (1 << 53) - 1;

/// How many arrays and objects may lie within each other in a value that is hashed.
///
/// More than [`crate::MAX_NESTING`], because a receipt file and a statement wrap what a door let in; less than
/// the 128 at which `serde_json` gives up, so that what was hashed can be read again.
pub const MAX_CANONICAL_NESTING: usize = 100;

/// From here on ECMAScript writes an integer with an exponent (ECMA-262, `Number::toString`).
const FIRST_EXPONENT: f64 = 1e21;

/// The first power of two above [`LARGEST_INTEGER`].
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number would be written as an integer beyond [`LARGEST_INTEGER`], where readers round.
    #[error(
        "the number {number} is an integer beyond 9007199254740991, which readers round; write it as text"
    )]
    InexactNumber {
        /// The number as `serde_json` writes it.
        number: String,
    },
    /// Arrays and objects lie within each other too deeply.
    #[error("the value is nested deeper than {max} levels")]
    TooDeep {
        /// The bound, [`MAX_CANONICAL_NESTING`].
        max: usize,
    },
}

/// The canonical bytes of a value (RFC 8785): UTF-8, no white space, keys by UTF-16 code units, numbers as
/// ECMAScript writes them.
///
/// `1` and `1.0` are one JSON number and have the same bytes. A double of 2^53 or more that ECMAScript writes
/// without an exponent (below 1e21) is refused like the integer it would look like.
///
/// # Errors
/// [`CanonicalError::InexactNumber`] and [`CanonicalError::TooDeep`].
pub fn canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    put_value(&mut out, value, MAX_CANONICAL_NESTING)?;
    Ok(out)
}

/// True where the number's canonical text stands for this number and no other.
pub(crate) fn is_exact(number: &Number) -> bool {
    if let Some(integer) = number.as_u64() {
        return integer <= LARGEST_INTEGER;
    }
    if let Some(integer) = number.as_i64() {
        return integer.unsigned_abs() <= LARGEST_INTEGER;
    }
    number.as_f64().is_some_and(|double| double.abs() < FIRST_INEXACT || may_hide_an_integer(double))
}

/// True for a double so large that its text has an exponent, and that many long integers round to.
pub(crate) fn may_hide_an_integer(double: f64) -> bool {
    double.abs() >= FIRST_EXPONENT
}

/// Writes a text with the escapes of RFC 8785, section 3.2.2.2, and no others.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut copied = 0;
    out.push(b'"');
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0x00..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            out.extend_from_slice(b"00");
            out.extend_from_slice(&digits);
        }
        copied = at + 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

fn put_value(out: &mut Vec<u8>, value: &Value, levels_left: usize) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => put_number(out, number)?,
        Value::String(text) => put_text(out, text),
        Value::Array(items) => {
            let levels_left = descend(levels_left)?;
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put_value(out, item, levels_left)?;
            }
            out.push(b']');
        }
        Value::Object(map) => put_object(out, map, descend(levels_left)?)?,
    }
    Ok(())
}

fn descend(levels_left: usize) -> Result<usize, CanonicalError> {
    levels_left.checked_sub(1).ok_or(CanonicalError::TooDeep { max: MAX_CANONICAL_NESTING })
}

fn put_object(out: &mut Vec<u8>, map: &Map<String, Value>, levels_left: usize) -> Result<(), CanonicalError> {
    out.push(b'{');
    if map.keys().is_sorted_by(|a, b| by_utf16(a, b) == Ordering::Less) {
        put_members(out, map.iter(), levels_left)?;
    } else {
        let mut members: Vec<_> = map.iter().collect();
        members.sort_unstable_by(|(a, _), (b, _)| by_utf16(a, b));
        put_members(out, members.into_iter(), levels_left)?;
    }
    out.push(b'}');
    Ok(())
}

fn put_members<'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    levels_left: usize,
) -> Result<(), CanonicalError> {
    for (at, (key, value)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_text(out, key);
        out.push(b':');
        put_value(out, value, levels_left)?;
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, number: &Number) -> Result<(), CanonicalError> {
    if !is_exact(number) {
        return Err(CanonicalError::InexactNumber { number: number.to_string() });
    }
    match number.as_f64() {
        Some(double) if number.is_f64() => put_double(out, double),
        _ => out.extend_from_slice(number.to_string().as_bytes()),
    }
    Ok(())
}

fn put_double(out: &mut Vec<u8>, double: f64) {
    out.extend_from_slice(ryu_js::Buffer::new().format(double).as_bytes());
}

/// Orders texts by UTF-16 code units (RFC 8785, section 3.2.3) without converting them.
///
/// UTF-8 orders by code point. The two orders differ only where U+E000 to U+FFFF (lead bytes EE and EF) meet the
/// characters beyond U+FFFF (lead bytes F0 to F4), whose surrogates come first in UTF-16.
fn by_utf16(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| if matches!(byte, 0xee | 0xef) { byte + 0x10 } else { byte };
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};

    use super::{CanonicalError, MAX_CANONICAL_NESTING, by_utf16, canonical, put_double};

    fn text(value: &Value) -> String {
        String::from_utf8(canonical(value).unwrap()).unwrap()
    }

    #[test]
    fn doubles_are_written_as_in_appendix_b_of_rfc_8785() {
        let table: [(u64, &str); 24] = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, expected) in table {
            let mut out = Vec::new();
            put_double(&mut out, f64::from_bits(bits));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{bits:016x}");
        }
    }

    #[test]
    fn keys_are_sorted_as_in_section_3_2_3_of_rfc_8785() {
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
            "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let expected = concat!(
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",",
            "\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",",
            "\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
        );
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn the_sample_of_section_3_2_2_of_rfc_8785_has_the_bytes_of_section_3_2_4() {
        let sample = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            "\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
        assert_eq!(text(&serde_json::from_str(sample).unwrap()), expected);
    }

    #[test]
    fn every_control_character_has_its_one_escape_and_others_have_none() {
        let value = Value::String("\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}\u{2028}/\"\\".to_owned());
        let expected = "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\u{7f}\u{2028}/\\\"\\\\\"";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn an_integer_that_readers_round_has_no_canonical_form() {
        assert_eq!(text(&json!(9_007_199_254_740_991_u64)), "9007199254740991");
        assert_eq!(text(&json!(-9_007_199_254_740_991_i64)), "-9007199254740991");
        let beyond = [
            json!(9_007_199_254_740_992_u64),
            json!(-9_007_199_254_740_992_i64),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(9_007_199_254_740_992.0),
            json!(1e20),
        ];
        for number in beyond {
            let refusal = CanonicalError::InexactNumber { number: number.to_string() };
            assert_eq!(canonical(&json!({ "a": [number] })), Err(refusal));
        }
        assert_eq!(text(&json!(1e21)), "1e+21");
    }

    #[test]
    fn nesting_is_bounded() {
        let nest = |levels| (0..levels).fold(Value::Null, |inner, _| json!([inner]));
        assert_eq!(text(&nest(MAX_CANONICAL_NESTING)).len(), 2 * MAX_CANONICAL_NESTING + 4);
        let refusal = CanonicalError::TooDeep { max: MAX_CANONICAL_NESTING };
        assert_eq!(canonical(&nest(MAX_CANONICAL_NESTING + 1)), Err(refusal));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_utf_16_code_units(a in any::<String>(), b in any::<String>()) {
            assert_eq!(by_utf16(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }

        #[test]
        fn the_order_holds_around_the_surrogates(
            a in "[a\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
            b in "[a\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
        ) {
            assert_eq!(by_utf16(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }
}
