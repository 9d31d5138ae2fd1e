//! Reads JSON that a guest wrote. Sole door for such text. It must never give a key a meaning of its own, as the
//! parser's own reader of values does for some, and never recurse more deeply than [`NESTING_MAX`].

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deeply a value may be nested: less than a receipt can digest, with room for what wraps it.
pub(crate) const NESTING_MAX: usize = 64;

/// From here on integers are written as text, since readers of JSON round them (RFC 7493, section 2.2).
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// The object that a guest wrote, with every number as readers hold it. A member that is nested too deeply is left
/// out; `None` where the text is no object.
pub(crate) fn object(text: &str) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

/// Why a text is no JSON that can be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadJson {
    /// What is wrong, in lower case.
    pub(crate) message: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The byte of the line, from 1; 0 where the text ends before it has any.
    pub(crate) column: usize,
}

/// How numbers that readers round are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// As text.
    Exact,
    /// As the parser holds them: for what was made exact before.
    AsTheyAre,
}

/// The value of a text. One that is nested too deeply is refused.
pub(crate) fn value(text: &[u8], numbers: Numbers) -> Result<Value, BadJson> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Node { levels_left: NESTING_MAX, numbers }.deserialize(&mut deserializer);
    match read.and_then(|read| deserializer.end().map(|()| read)) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(BadJson {
            message: format!("nested more than {NESTING_MAX} levels deep"),
            line: 1,
            column: 1,
        }),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let told = error.to_string();
            let place = format!(" at line {line} column {column}");
            Err(BadJson { message: told.strip_suffix(&place).unwrap_or(&told).to_owned(), line, column })
        }
    }
}

/// The members of the outermost object.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if let Some(value) =
                access.next_value_seed(Node { levels_left: NESTING_MAX, numbers: Numbers::Exact })?
            {
                members.insert(key, value);
            }
        }
        Ok(members)
    }
}

/// One value within `levels_left` further levels; `None` where it has more.
#[derive(Clone, Copy)]
struct Node {
    levels_left: usize,
    numbers: Numbers,
}

impl Node {
    fn inner(self) -> Self {
        Self { levels_left: self.levels_left.saturating_sub(1), ..self }
    }
}

impl Node {
    fn hold(self, number: Number) -> Value {
        match self.numbers {
            Numbers::Exact => exact(number),
            Numbers::AsTheyAre => Value::Number(number),
        }
    }
}

/// A number as every reader holds it: text from 2^53 on.
pub(crate) fn exact(number: Number) -> Value {
    if number.as_f64().is_none_or(|value| value.abs() >= FIRST_INEXACT) {
        Value::String(number.to_string())
    } else {
        Value::Number(number)
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // What is too deep is skipped, which takes no stack.
        if self.levels_left == 0 {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| None);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(Value::Null))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Some(Value::Bool(truth)))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Self::Value, E> {
        Ok(Some(self.hold(integer.into())))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Self::Value, E> {
        Ok(Some(self.hold(integer.into())))
    }

    fn visit_f64<E: Error>(self, double: f64) -> Result<Self::Value, E> {
        Number::from_f64(double)
            .map(|number| Some(self.hold(number)))
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Value::String(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner();
        let mut items = Some(Vec::new());
        while let Some(item) = seq.next_element_seed(inner)? {
            items = items.zip(item).map(|(mut items, item)| {
                items.push(item);
                items
            });
        }
        Ok(items.map(Value::Array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner();
        let mut fields = Some(Map::new());
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            fields = fields.zip(value).map(|(mut fields, value)| {
                fields.insert(key, value);
                fields
            });
        }
        Ok(fields.map(Value::Object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{NESTING_MAX, object};

    /// The private keys of the parser, the first byte escaped.
    const PRIVATE: [&str; 2] = ["\\u0024serde_json::private::RawValue", "\\u0024serde_json::private::Number"];

    #[test]
    fn what_is_no_object_is_nothing() {
        for text in ["", "1", "[{}]", "{", "{} {}", "{\"a\":}", "{\"a\": 1e400}"] {
            assert_eq!(object(text), None, "{text}");
        }
        assert_eq!(object(" {\"a\": [null, true]} ").map(Value::Object), Some(json!({"a": [null, true]})));
    }

    #[test]
    fn a_member_that_is_too_deep_is_left_out_and_takes_no_stack() {
        for (levels, stays) in [(NESTING_MAX, true), (NESTING_MAX + 1, false), (1 << 20, false)] {
            let text = format!("{{\"a\": {}{}, \"b\": 1}}", "[".repeat(levels), "]".repeat(levels));
            let read = object(&text).unwrap();
            assert_eq!((read.contains_key("a"), &read["b"]), (stays, &json!(1)), "{levels} levels");
        }
    }

    #[test]
    fn numbers_that_readers_would_round_are_text() {
        let read = object(r#"{"a": [9007199254740993, 1.5, 1e30, -3]}"#).unwrap();
        assert_eq!(read["a"], json!(["9007199254740993", 1.5, "1e+30", -3]));
    }

    #[test]
    fn layers_of_escaped_private_keys_are_texts() {
        let mut inner = "1".to_owned();
        for _ in 0..12 {
            let text = format!("{}{inner}{}", "[".repeat(60), "]".repeat(60));
            inner = format!("{{\"{}\": {}}}", PRIVATE[0], Value::String(text));
        }
        let read = object(&format!("{{\"json\": {inner}}}")).unwrap();
        assert!(read["json"]["$serde_json::private::RawValue"].is_string());
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    proptest! {
        #[test]
        fn keys_have_no_meaning_however_deep_they_stand(levels in vec(0..3usize, 0..100)) {
            let wrap = |text: String, kind: &usize| match PRIVATE.get(*kind) {
                Some(key) => format!("{{\"{key}\":{text}}}"),
                None => format!("[{text}]"),
            };
            let text = levels.iter().fold("\"[[]]\"".to_owned(), wrap);
            let read = object(&format!("{{\"json\":{text}}}")).unwrap();
            let stays = levels.len() < NESTING_MAX;
            prop_assert_eq!(read.get("json").map(depth), stays.then_some(levels.len()));
        }
    }
}
