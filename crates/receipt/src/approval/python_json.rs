//! JSON as Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it, and the hash of an action over it.
//!
//! It is not RFC 8785: everything beyond ASCII is escaped, keys stand in the order of their code points, and `1.0` stays
//! `1.0`. For `ClawShield` artifacts alone; nothing of ours is hashed so.

use core::fmt::Write as _;

use execgate_model::Digest;
use serde_json::{Map, Number, Value};

use crate::canonical::{CanonicalError, MAX_CANONICAL_NESTING};
use crate::digest::sha256;

/// The SHA-256 that a `ClawShield` artifact names: over `{"action": A, "payload": P or {}}`.
///
/// # Errors
/// [`CanonicalError::TooDeep`].
pub fn action_hash(action: &str, payload: &Value) -> Result<Digest, CanonicalError> {
    let mut request = Map::new();
    request.insert("action".to_owned(), action.into());
    let payload = if is_true(payload) { payload.clone() } else { Value::Object(Map::new()) };
    request.insert("payload".to_owned(), payload);
    Ok(sha256(python_json(&Value::Object(request))?.as_bytes()))
}

/// The text, which is ASCII.
///
/// # Errors
/// [`CanonicalError::TooDeep`] beyond [`MAX_CANONICAL_NESTING`] levels.
pub fn python_json(value: &Value) -> Result<String, CanonicalError> {
    let mut out = String::with_capacity(256);
    put(&mut out, value, MAX_CANONICAL_NESTING)?;
    Ok(out)
}

/// What Python takes for true: `payload or {}` is the payload then.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn put(out: &mut String, value: &Value, levels_left: usize) -> Result<(), CanonicalError> {
    let inner = || levels_left.checked_sub(1).ok_or(CanonicalError::TooDeep { max: MAX_CANONICAL_NESTING });
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => put_number(out, number),
        Value::String(text) => put_text(out, text),
        Value::Array(items) => {
            let inner = inner()?;
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put(out, item, inner)?;
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let inner = inner()?;
            // By bytes of UTF-8, which is by code points.
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| name.as_bytes());
            out.push('{');
            for (at, (name, field)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_text(out, name);
                out.push(':');
                put(out, field, inner)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// `ensure_ascii`: everything but printable ASCII is escaped, beyond the first plane as a surrogate pair.
fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write_to(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

/// Where Python's `repr` of a float turns to an exponent.
const FIRST_EXPONENT: i32 = 16;
/// Below this power of ten it does, too.
const SMALLEST_PLAIN: i32 = -4;

fn put_number(out: &mut String, number: &Number) {
    let Some(double) = number.as_f64().filter(|_| number.is_f64()) else {
        write_to(out, format_args!("{number}"));
        return;
    };
    if double.is_sign_negative() {
        out.push('-');
    }
    let mut buffer = ryu_js::Buffer::new();
    let text = buffer.format(double.abs());
    let (digits, exponent) = shortest(text);
    if (SMALLEST_PLAIN..FIRST_EXPONENT).contains(&exponent) {
        out.push_str(text);
        if !text.contains('.') {
            out.push_str(".0");
        }
    } else {
        let (first, more) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        let point = if more.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        write_to(out, format_args!("{first}{point}{more}e{sign}{:02}", exponent.unsigned_abs()));
    }
}

/// The digits of a number that is not negative, as ECMAScript writes it, and the power of ten of the first. Of the shortest
/// that read back these are the closest, and of two as close the even ones, as Python has them; the standard library takes
/// the upper.
fn shortest(text: &str) -> (String, i32) {
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    let zeros = all.len() - all.trim_start_matches('0').len();
    let place = |digits: usize| i32::try_from(digits).unwrap_or(i32::MAX);
    let digits = all.trim_matches('0').to_owned();
    if digits.is_empty() { (digits, 0) } else { (digits, exponent + place(whole.len()) - 1 - place(zeros)) }
}

/// Writing to a `String` cannot fail.
fn write_to(out: &mut String, text: core::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{action_hash, python_json};
    use crate::strict::parse_strict;

    #[test]
    fn numbers_are_written_as_repr_writes_them() {
        let table = [
            ("1.0", "1.0"),
            ("-0.0", "-0.0"),
            ("1e0", "1.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1234567890123456.0", "1234567890123456.0"),
            ("1e300", "1e+300"),
            ("1.5e-300", "1.5e-300"),
            ("5e-324", "5e-324"),
            ("0.1", "0.1"),
            ("6.02214076e23", "6.02214076e+23"),
            ("0.0000123", "1.23e-05"),
            ("1e22", "1e+22"),
            ("0.0", "0.0"),
            // Half-way between two that are as short: the even one.
            ("581395642584252.25", "581395642584252.2"),
            ("9007199254740991", "9007199254740991"),
            ("-7", "-7"),
        ];
        for (text, expected) in table {
            let value = parse_strict(text.as_bytes()).unwrap();
            assert_eq!(python_json(&value).unwrap(), expected, "{text}");
        }
        assert_eq!(python_json(&json!(1e16)).unwrap(), "1e+16");
        assert_eq!(python_json(&json!(12_345_678_901_234_567_000.0)).unwrap(), "1.2345678901234567e+19");
    }

    #[test]
    fn texts_are_ascii_and_keys_stand_by_code_point() {
        // By UTF-16 the last key would come before the second (RFC 8785 has it so).
        let value = json!({"\u{ff5e}": 1, "a": "ä\u{7f}\u{1f600}\n\u{1}\"\\/", "\u{1f600}": [true, null]});
        let expected =
            r#"{"a":"\u00e4\u007f\ud83d\ude00\n\u0001\"\\/","\uff5e":1,"\ud83d\ude00":[true,null]}"#;
        assert_eq!(python_json(&value).unwrap(), expected);
    }

    #[test]
    fn an_empty_payload_hashes_as_an_empty_object() {
        let empty = action_hash("echo", &json!({})).unwrap();
        for payload in [json!(null), json!(false), json!(0), json!(0.0), json!(""), json!([])] {
            assert_eq!(action_hash("echo", &payload), Ok(empty), "{payload}");
        }
        for payload in [json!(true), json!(1), json!(" "), json!([null]), json!({"a": null})] {
            assert_ne!(action_hash("echo", &payload), Ok(empty), "{payload}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels| (0..levels).fold(Value::Null, |inner, _| json!([inner]));
        assert!(python_json(&nested(100)).is_ok());
        assert!(python_json(&nested(101)).is_err());
    }
}
