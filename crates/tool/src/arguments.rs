//! Reads the arguments of a built-in tool, strictly. Every complaint names the place and the rule, and shows a call that
//! is right, so that a model can mend its own.

use serde_json::{Map, Value};

use crate::BadCall;

/// The arguments of one call.
pub(crate) struct Arguments<'a> {
    fields: &'a Map<String, Value>,
    example: &'static str,
}

impl<'a> Arguments<'a> {
    /// The members of a payload, if it is an object and has none but these.
    pub(crate) fn of(payload: &'a Value, names: &[&str], example: &'static str) -> Result<Self, BadCall> {
        let Value::Object(fields) = payload else {
            return Err(BadCall::at("", format!("the arguments must be an object, as {example}")));
        };
        let arguments = Self { fields, example };
        match fields.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(arguments),
            Some(unknown) => {
                let rule = format!("is no argument of this tool; its arguments are {}", names.join(", "));
                Err(arguments.bad(&shown(unknown), &rule))
            }
        }
    }

    /// A complaint about an argument: what the rule is, and an example.
    pub(crate) fn bad(&self, name: &str, rule: &str) -> BadCall {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        BadCall::at(&pointer, format!("`{name}` {rule}; an example is {}", self.example))
    }

    /// An argument that may be left out; null is the same.
    pub(crate) fn maybe(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// An argument of any kind that must be there; it may be null.
    pub(crate) fn any(&self, name: &str) -> Result<&'a Value, BadCall> {
        self.fields.get(name).ok_or_else(|| self.bad(name, "is missing"))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, BadCall> {
        self.maybe_text(name)?.ok_or_else(|| self.bad(name, "is missing"))
    }

    pub(crate) fn maybe_text(&self, name: &str) -> Result<Option<&'a str>, BadCall> {
        match self.maybe(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(name, "must be text")),
        }
    }

    /// A text of at most so many bytes.
    pub(crate) fn short_text(&self, name: &str, bytes_max: usize) -> Result<&'a str, BadCall> {
        let text = self.text(name)?;
        if text.len() > bytes_max {
            return Err(self.bad(name, &format!("may have {bytes_max} bytes")));
        }
        Ok(text)
    }

    /// One of some words; the first, where none is given.
    pub(crate) fn choice(&self, name: &str, words: &[&'static str]) -> Result<&'static str, BadCall> {
        let Some(text) = self.maybe_text(name)? else { return Ok(words[0]) };
        let found = words.iter().find(|word| **word == text).copied();
        found.ok_or_else(|| self.bad(name, &format!("must be one of {}", words.join(", "))))
    }

    /// A whole number from 0 to a bound.
    pub(crate) fn maybe_count(&self, name: &str, max: usize) -> Result<Option<usize>, BadCall> {
        let Some(value) = self.maybe(name) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        let within = count.filter(|count| *count <= max);
        within.map(Some).ok_or_else(|| self.bad(name, &format!("must be a whole number from 0 to {max}")))
    }

    pub(crate) fn maybe_object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, BadCall> {
        match self.maybe(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(self.bad(name, "must be an object")),
        }
    }

    pub(crate) fn maybe_list(&self, name: &str) -> Result<Option<&'a [Value]>, BadCall> {
        match self.maybe(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.bad(name, "must be a list")),
        }
    }
}

/// How much of a caller's own word is shown back, in characters.
const SHOWN_MAX: usize = 80;

/// A caller's word as far as it is shown back.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().nth(SHOWN_MAX).is_none() {
        return text.to_owned();
    }
    text.chars().take(SHOWN_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Arguments, SHOWN_MAX, shown};

    const EXAMPLE: &str = r#"{"a": "x"}"#;

    #[test]
    fn a_complaint_has_the_place_the_rule_and_an_example() {
        let payload = json!({"a": 7, "b": 3, "c": "no"});
        let arguments =
            Arguments::of(&payload, &["a", "b", "c"], EXAMPLE).map_err(|bad| bad.message).unwrap();
        let bad = arguments.text("a").unwrap_err();
        assert_eq!(bad.pointer, "/a");
        assert_eq!(bad.message, "`a` must be text; an example is {\"a\": \"x\"}");
        assert_eq!(arguments.maybe_count("b", 2).unwrap_err().pointer, "/b");
        let bad = arguments.choice("c", &["asc", "desc"]).unwrap_err();
        assert!(bad.message.contains("must be one of asc, desc"), "{}", bad.message);
        assert!(arguments.any("d").unwrap_err().message.contains("is missing"));
    }

    #[test]
    fn what_is_no_argument_is_refused_and_shown_in_part() {
        let payload = json!({"a": "x", "wrong/one": 1});
        let bad = Arguments::of(&payload, &["a"], EXAMPLE).err().unwrap();
        assert_eq!(bad.pointer, "/wrong~1one");
        assert!(bad.message.contains("its arguments are a"), "{}", bad.message);
        assert!(Arguments::of(&json!([1]), &["a"], EXAMPLE).is_err());
        assert_eq!(shown(&"x".repeat(SHOWN_MAX + 1)).chars().count(), SHOWN_MAX + 1);
    }

    #[test]
    fn null_is_as_good_as_left_out() {
        let payload = json!({"a": null});
        let arguments = Arguments::of(&payload, &["a"], EXAMPLE).map_err(|bad| bad.message).unwrap();
        assert_eq!(arguments.maybe_text("a").unwrap(), None);
        assert_eq!(arguments.choice("a", &["asc", "desc"]).unwrap(), "asc");
        assert!(arguments.text("a").is_err());
    }
}
