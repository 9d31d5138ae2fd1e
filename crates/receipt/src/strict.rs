//! Reads JSON of outsiders into a value that means one thing only: I-JSON (RFC 7493), bounded in depth.
//!
//! Sole door for outside JSON. It must never accept a text that another reader could understand differently (a key
//! twice, half a surrogate pair, a rounded integer). It is a visitor over `serde_json`, and never a parser of its
//! own. Read on in `canonical`, which gives such a value its bytes.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::str;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::canonical::{LARGEST_INTEGER, MAX_CANONICAL_NESTING, is_exact, may_hide_an_integer};

/// How many arrays and objects may lie within each other in JSON of outsiders.
pub const MAX_NESTING: usize = 64;

/// How much of a key an error repeats, in characters.
const KEY_SHOWN_CHARS: usize = 64;

/// Why a text is not the JSON that a door takes. Lines count from 1; a column is the number of bytes
/// read in its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// The bytes are not UTF-8.
    #[error("the text is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// How many bytes are good.
        at: usize,
    },
    /// The text starts with U+FEFF (RFC 8259, section 8.1).
    #[error("the text starts with a byte order mark")]
    ByteOrderMark,
    /// An object has a key twice (RFC 7493, section 2.3).
    #[error("an object has the key `{key}` twice, at line {line} column {column}")]
    DuplicateKey {
        /// The key, at most its first 64 characters.
        key: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A number is an integer beyond 2^53 - 1 (RFC 7493, section 2.2).
    #[error(
        "an integer is beyond 9007199254740991 and must be written as text, at line {line} column {column}"
    )]
    InexactNumber {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Arrays and objects lie within each other too deeply.
    #[error("the text is nested deeper than {max} levels, at line {line} column {column}")]
    TooDeep {
        /// The bound.
        max: usize,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Something other than white space follows the value.
    #[error("something follows the value, at line {line} column {column}")]
    Trailing {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// The text is not JSON, holds half a surrogate pair, or a number beyond the range of a double.
    #[error("{reason}, at line {line} column {column}")]
    Syntax {
        /// What `serde_json` says.
        reason: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
}

/// Reads I-JSON nested at most [`MAX_NESTING`] deep.
///
/// # Errors
/// [`StrictError`] names the rule that the text breaks, and where.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, StrictError> {
    parse_bounded(bytes, MAX_NESTING)
}

/// Reads I-JSON nested at most `max` deep, which must be less than the 128 at which `serde_json` gives up.
pub(crate) fn parse_bounded(bytes: &[u8], max: usize) -> Result<Value, StrictError> {
    let text = str::from_utf8(bytes).map_err(|error| StrictError::NotUtf8 { at: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(StrictError::ByteOrderMark);
    }
    let watch = Watch::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { watch: &watch, levels_left: max }
        .deserialize(&mut deserializer)
        .map_err(|error| watch.explain(&error, max))?;
    deserializer
        .end()
        .map_err(|error| StrictError::Trailing { line: error.line(), column: error.column() })?;
    if watch.long_double.get()
        && let Some((line, column)) = long_integer(text)
    {
        return Err(StrictError::InexactNumber { line, column });
    }
    Ok(value)
}

/// Reads a value by the same rules out of any deserializer, for a field of a typed struct.
///
/// `Value`'s own reader takes an object with a certain private key of `serde_json` for raw JSON text; this does not.
pub(crate) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let watch = Watch::default();
    match (Node { watch: &watch, levels_left: MAX_CANONICAL_NESTING }).deserialize(deserializer)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(D::Error::custom("an object was expected"))
        }
    }
}

/// What the visitor saw and cannot say through an error type that is not its own.
#[derive(Default)]
struct Watch {
    cause: RefCell<Option<Cause>>,
    long_double: Cell<bool>,
}

enum Cause {
    DuplicateKey(String),
    InexactNumber,
    TooDeep,
}

impl Watch {
    fn refuse<E: Error>(&self, cause: Cause) -> E {
        let error = E::custom(match &cause {
            Cause::DuplicateKey(_) => "an object has a key twice",
            Cause::InexactNumber => "an integer is beyond 9007199254740991",
            Cause::TooDeep => "the value is nested too deeply",
        });
        self.cause.replace(Some(cause));
        error
    }

    fn explain(&self, error: &serde_json::Error, max: usize) -> StrictError {
        let (line, column) = (error.line(), error.column());
        match self.cause.take() {
            Some(Cause::DuplicateKey(key)) => StrictError::DuplicateKey { key, line, column },
            Some(Cause::InexactNumber) => StrictError::InexactNumber { line, column },
            Some(Cause::TooDeep) => StrictError::TooDeep { max, line, column },
            None => {
                let said = error.to_string();
                let reason = said.split(" at line ").next().unwrap_or_default().to_owned();
                StrictError::Syntax { reason, line, column }
            }
        }
    }
}

/// One value, within `levels_left` further levels.
#[derive(Clone, Copy)]
struct Node<'a> {
    watch: &'a Watch,
    levels_left: usize,
}

impl Node<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(|| self.watch.refuse(Cause::TooDeep))?;
        Ok(Self { levels_left, ..self })
    }

    fn number<E: Error>(self, number: Number) -> Result<Value, E> {
        if is_exact(&number) {
            Ok(Value::Number(number))
        } else {
            Err(self.watch.refuse(Cause::InexactNumber))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Value, E> {
        self.number(integer.into())
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Value, E> {
        self.number(integer.into())
    }

    fn visit_f64<E: Error>(self, double: f64) -> Result<Value, E> {
        if may_hide_an_integer(double) {
            self.watch.long_double.set(true);
        }
        let number = Number::from_f64(double).ok_or_else(|| E::custom("a number is not finite"))?;
        self.number(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match map.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(access.next_value_seed(inner)?);
                }
                Entry::Occupied(entry) => {
                    let key = entry.key().chars().take(KEY_SHOWN_CHARS).collect();
                    return Err(self.watch.refuse(Cause::DuplicateKey(key)));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// Where the first integer beyond 2^53 - 1 ends, in a text that is known to be JSON.
///
/// An integer of more than 64 bits reaches the visitor as a double, like `1e30`, which is allowed. Only its digits
/// tell them apart, and this runs only where such a double was seen.
fn long_integer(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut line_start) = (0, 1, 0);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        at += match byte {
            b'"' => text_length(rest),
            b'-' | b'0'..=b'9' => {
                let length = rest.iter().take_while(|b| b"+-.eE0123456789".contains(b)).count();
                if is_long_integer(&text[at..at + length]) {
                    return Some((line, at + length - line_start));
                }
                length
            }
            _ => 1,
        };
        if byte == b'\n' {
            (line, line_start) = (line + 1, at);
        }
    }
    None
}

/// The bytes of the text that starts here, with both quotation marks.
fn text_length(bytes: &[u8]) -> usize {
    let mut escaped = true; // so that the opening mark does not close
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

fn is_long_integer(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    digits.bytes().all(|b| b.is_ascii_digit())
        && digits.parse::<u64>().map_or(true, |integer| integer > LARGEST_INTEGER)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_NESTING, StrictError, parse_strict};

    fn syntax(text: &[u8]) -> String {
        match parse_strict(text) {
            Err(error @ StrictError::Syntax { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ordinary_json_reads_as_it_does_elsewhere() {
        let text = r#" {"a": [1, -2, 2.5, 1e30, true, null], "b": {"c": "\ud83d\ude00\n"}} "#;
        let expected = json!({"a": [1, -2, 2.5, 1e30, true, null], "b": {"c": "\u{1f600}\n"}});
        assert_eq!(parse_strict(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_where_it_stands() {
        let refusal = StrictError::DuplicateKey { key: "a".to_owned(), line: 2, column: 3 };
        assert_eq!(parse_strict(b"{\"a\":1,\n\"a\":2}"), Err(refusal.clone()));
        let spelt_otherwise = b"{\"a\":1,\n\"\\u0061\":2}";
        assert!(matches!(parse_strict(spelt_otherwise), Err(StrictError::DuplicateKey { .. })));
        assert_eq!(refusal.to_string(), "an object has the key `a` twice, at line 2 column 3");
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_in_values_and_keys() {
        for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#"{"\ud83d":1}"#, r#""\ud83d\u0041""#] {
            syntax(text.as_bytes());
        }
    }

    #[test]
    fn integers_that_readers_round_are_refused_however_long_they_are() {
        let largest = b"[9007199254740991,-9007199254740991]";
        assert_eq!(parse_strict(largest), Ok(json!([9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64])));
        let beyond = [
            "9007199254740992",
            "-9007199254740992",
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678901234567890",
            "-123456789012345678901234567890",
            "1e20",
            "9007199254740993.0",
        ];
        for token in beyond {
            let text = format!("{{\"\\\"1\":\"{token}\",\n\"a\":{token}}}");
            let refused = parse_strict(text.as_bytes());
            let Err(StrictError::InexactNumber { line, column }) = refused else {
                panic!("{token}: {refused:?}")
            };
            assert_eq!(line, 2, "{token}");
            assert!((4 + token.len()..=5 + token.len()).contains(&column), "{token}: {column}");
        }
        assert_eq!(syntax(b"1e400"), "number out of range, at line 1 column 5");
    }

    #[test]
    fn large_doubles_with_an_exponent_are_numbers_like_others() {
        assert_eq!(parse_strict(b"[6.022e23,1E+300,\"123456789012345678901\"]").unwrap()[1], json!(1e300));
    }

    #[test]
    fn nesting_is_bounded_for_arrays_and_objects() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_strict(nested(MAX_NESTING).as_bytes()).is_ok());
        let refusal = StrictError::TooDeep { max: 64, line: 1, column: 65 };
        assert_eq!(parse_strict(nested(MAX_NESTING + 1).as_bytes()), Err(refusal.clone()));
        assert_eq!(refusal.to_string(), "the text is nested deeper than 64 levels, at line 1 column 65");
        let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
        assert!(matches!(parse_strict(objects.as_bytes()), Err(StrictError::TooDeep { .. })));
        assert!(parse_strict("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn bytes_that_are_no_json_text_are_refused() {
        assert_eq!(parse_strict(b"\"\xff\""), Err(StrictError::NotUtf8 { at: 1 }));
        assert_eq!(parse_strict(b"\xef\xbb\xbf1"), Err(StrictError::ByteOrderMark));
        assert_eq!(parse_strict(b"1 2"), Err(StrictError::Trailing { line: 1, column: 3 }));
        assert_eq!(parse_strict(b"{}\0"), Err(StrictError::Trailing { line: 1, column: 3 }));
        for text in ["", "nan", "NaN", "{a:1}", "[1,]", "01", "+1", ".5", "1.", "'a'", "// c\n1", "\"\n\""] {
            syntax(text.as_bytes());
        }
    }

    #[test]
    fn private_keys_of_serde_json_have_no_meaning() {
        let text = br#"{"$serde_json::private::RawValue":"[1]","$serde_json::private::Number":"2"}"#;
        let Ok(Value::Object(map)) = parse_strict(text) else { panic!("not an object") };
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn doubles_are_read_to_the_last_bit() {
        // Without serde_json's `float_roundtrip` this one is off by one bit.
        let read = parse_strict(b"31.245270191439438").unwrap();
        assert_eq!(read.as_f64().map(f64::to_bits), Some(31.245_270_191_439_438_f64.to_bits()));
    }
}
