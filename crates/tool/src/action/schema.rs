//! The schema of an action's payload: checked when it is declared, and asked before a call is anything. The operator's
//! schema is no enemy, a payload may be: what a check can cost is bounded by both, so that it needs no worker.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::bad::BadAction;
use crate::BadCall;
use crate::json_schema::{cut, validator};

/// The longest schema, in bytes of its JSON.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// The most schemas in one another, with every reference counted as what it leads to. A value is checked by each of them
/// at the most once.
const SUBSCHEMAS_MAX: u64 = 1_000;

/// The largest payload: bytes of its JSON, and values in it.
const PAYLOAD_BYTES_MAX: usize = 256 << 10;
const PAYLOAD_VALUES_MAX: usize = 10_000;

/// The most errors that are told.
const ERRORS_MAX: usize = 5;

/// A schema of an object.
pub(super) struct Schema {
    text: Value,
    validator: Validator,
    /// A payload that fits, for errors.
    example: Option<String>,
}

impl Schema {
    /// Reads the schema; without one a payload has no members.
    pub(super) fn new(text: Option<Value>) -> Result<Self, BadAction> {
        let text = text.unwrap_or_else(|| json!({"type": "object", "additionalProperties": false}));
        let bad = |rule: String| BadAction::Schema(rule);
        if text.to_string().len() > SCHEMA_BYTES_MAX {
            return Err(bad(format!("may have {SCHEMA_BYTES_MAX} bytes of JSON")));
        }
        if text.get("type").and_then(Value::as_str) != Some("object") {
            return Err(bad("must be of the type object".to_owned()));
        }
        let closes =
            ["additionalProperties", "unevaluatedProperties"].iter().any(|word| text.get(word).is_some());
        if !closes {
            return Err(bad(
                "must say what becomes of members that it does not name: `additionalProperties = false`"
                    .to_owned(),
            ));
        }
        let within = Cost { root: &text, done: BTreeMap::new() }.of_root();
        if within.is_none_or(|cost| cost > SUBSCHEMAS_MAX) {
            return Err(bad(format!(
                "may have {SUBSCHEMAS_MAX} schemas in it, those counted again that are referred to again, by \
                 references to `#/$defs/…` that lead in no circle"
            )));
        }
        let validator = validator(&text).map_err(|wrong| bad(format!("cannot be kept: {wrong}")))?;
        let mut schema = Self { text, validator, example: None };
        let examples = schema.text.get("examples").and_then(Value::as_array).cloned().unwrap_or_default();
        for example in &examples {
            schema
                .check(example)
                .map_err(|error| bad(format!("has an example that does not fit: {error}")))?;
        }
        schema.example = examples.first().map(Value::to_string);
        Ok(schema)
    }

    pub(super) fn text(&self) -> &Value {
        &self.text
    }

    fn properties(&self) -> Option<&Map<String, Value>> {
        self.text.get("properties")?.as_object()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.properties().is_some_and(|properties| properties.contains_key(name))
    }

    pub(super) fn is_required(&self, name: &str) -> bool {
        let required = self.text.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|required| required == name))
    }

    /// Whether a member is of a type that is one word in a text.
    pub(super) fn is_scalar(&self, name: &str) -> bool {
        let of = self.properties().and_then(|properties| properties.get(name)?.get("type")?.as_str());
        of.is_some_and(|of| ["string", "integer", "number", "boolean"].contains(&of))
    }

    /// Checks a payload.
    pub(super) fn check(&self, payload: &Value) -> Result<(), BadCall> {
        if count(payload, PAYLOAD_VALUES_MAX).is_none() {
            return Err(BadCall::at("", format!("the payload may have {PAYLOAD_VALUES_MAX} values in it")));
        }
        if payload.to_string().len() > PAYLOAD_BYTES_MAX {
            return Err(BadCall::at("", format!("the payload may have {PAYLOAD_BYTES_MAX} bytes of JSON")));
        }
        let found: Vec<_> = self.validator.iter_errors(payload).take(ERRORS_MAX).collect();
        let Some(first) = found.first() else { return Ok(()) };
        let told = found.iter().map(|error| match error.instance_path().as_str() {
            "" => cut(&error.to_string()),
            place => format!("`{}`: {}", cut(place), cut(&error.to_string())),
        });
        let told = told.collect::<Vec<_>>().join("; ");
        let example = self.example.as_ref().map(|example| format!("; an example is {example}"));
        Err(BadCall::at(first.instance_path().as_str(), format!("{told}{}", example.unwrap_or_default())))
    }
}

/// How many values a payload has, if no more than these.
fn count(value: &Value, left: usize) -> Option<usize> {
    let left = left.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().try_fold(left, |left, item| count(item, left)),
        Value::Object(members) => members.values().try_fold(left, |left, item| count(item, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(left),
    }
}

/// What a schema costs: how many schemas are in it.
struct Cost<'a> {
    root: &'a Value,
    /// The cost of what references lead to; none while it is being counted.
    done: BTreeMap<String, Option<u64>>,
}

impl Cost<'_> {
    fn of_root(mut self) -> Option<u64> {
        self.of(self.root)
    }

    /// `None` for a circle, for a reference that leads elsewhere, and for more than can be counted. Every object counts,
    /// also one that is no schema.
    fn of(&mut self, node: &Value) -> Option<u64> {
        match node {
            Value::Array(items) => items.iter().try_fold(0_u64, |sum, item| sum.checked_add(self.of(item)?)),
            Value::Object(members) => {
                let mut sum = 1_u64;
                for (name, member) in members {
                    let cost = match (name.as_str(), member) {
                        ("$ref", Value::String(to)) => self.of_reference(to)?,
                        ("$dynamicRef" | "$recursiveRef" | "$id" | "id" | "$anchor", Value::String(_)) => {
                            return None;
                        }
                        // These hold schemas by names of the operator's, which may be any of those below.
                        (
                            "properties" | "patternProperties" | "dependentSchemas" | "dependencies",
                            Value::Object(named),
                        ) => {
                            named.values().try_fold(0_u64, |sum, schema| sum.checked_add(self.of(schema)?))?
                        }
                        ("$defs" | "definitions" | "examples" | "enum" | "const" | "default", _) => 0,
                        _ => self.of(member)?,
                    };
                    sum = sum.checked_add(cost)?;
                }
                Some(sum)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(0),
        }
    }

    fn of_reference(&mut self, to: &str) -> Option<u64> {
        if let Some(known) = self.done.get(to) {
            return *known;
        }
        let place = to
            .strip_prefix('#')
            .filter(|place| place.starts_with("/$defs/") || place.starts_with("/definitions/"))
            // Which would be undone elsewhere, and name another place.
            .filter(|place| !place.contains('%'))?;
        let node = self.root.pointer(place)?;
        self.done.insert(to.to_owned(), None);
        let cost = self.of(node)?;
        self.done.insert(to.to_owned(), Some(cost));
        Some(cost)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{PAYLOAD_BYTES_MAX, PAYLOAD_VALUES_MAX, Schema};

    fn city() -> Value {
        json!({
            "type": "object",
            "required": ["city"],
            "additionalProperties": false,
            "properties": {"city": {"$ref": "#/$defs/name"}, "days": {"type": "integer", "maximum": 7}},
            "$defs": {"name": {"type": "string", "minLength": 1}},
            "examples": [{"city": "Oslo"}]
        })
    }

    #[test]
    fn what_does_not_fit_is_told_with_places_and_an_example() {
        let schema = Schema::new(Some(city())).map_err(|bad| bad.to_string()).unwrap();
        assert_eq!(schema.check(&json!({"city": "Oslo", "days": 3})), Ok(()));
        let bad = schema.check(&json!({"city": "", "days": "3"})).unwrap_err();
        assert_eq!(bad.pointer, "/city");
        for part in ["`/city`: ", "`/days`: ", "an example is {\"city\":\"Oslo\"}"] {
            assert!(bad.message.contains(part), "{}", bad.message);
        }
        assert!(schema.check(&json!({"citty": "Oslo"})).is_err() && schema.check(&json!(["Oslo"])).is_err());
        let nothing = Schema::new(None).map_err(|bad| bad.to_string()).unwrap();
        assert!(nothing.check(&json!({})).is_ok() && nothing.check(&json!({"a": 1})).is_err());
    }

    #[test]
    fn schemas_that_cannot_be_kept_or_paid_are_refused() {
        let mut definitions = json!({"d20": {"type": "integer"}});
        for level in 0..20 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            definitions[format!("d{level}")] = json!({"allOf": [next.clone(), next]});
        }
        let with = |name: &str, value: Value| {
            let mut schema = city();
            schema[name] = value;
            schema
        };
        for (schema, why) in [
            (json!({"type": "string"}), "type object"),
            (json!({"type": "object"}), "additionalProperties"),
            (with("required", json!("city")), "cannot be kept"),
            (with("allOf", json!([{"$ref": "#"}])), "no circle"),
            (with("allOf", json!([{"$ref": "https://example.com/a"}])), "no circle"),
            (with("allOf", json!([{"$ref": "#/$defs/nothing"}])), "no circle"),
            (with("allOf", json!([{"$dynamicRef": "#a"}])), "no circle"),
            (with("$defs", json!({"name": {"$ref": "#/$defs/name"}})), "no circle"),
            (
                json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/d0"}, "$defs": definitions}),
                "no circle",
            ),
            (with("properties", json!({"default": {"allOf": [{"$ref": "#"}]}})), "no circle"),
            (with("examples", json!([{"city": 7}])), "does not fit"),
            (with("description", json!("x".repeat(70_000))), "bytes of JSON"),
            (json!({"type": "object", "additionalProperties": {"pattern": "(?=a)"}}), "cannot be kept"),
        ] {
            let told = Schema::new(Some(schema)).err().unwrap().to_string();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_payload_is_bounded_in_bytes_and_values() {
        let any = json!({"type": "object", "additionalProperties": true});
        let schema = Schema::new(Some(any)).map_err(|bad| bad.to_string()).unwrap();
        assert!(schema.check(&json!({"a": "x".repeat(PAYLOAD_BYTES_MAX)})).is_err());
        assert!(schema.check(&json!({"a": vec![0; PAYLOAD_VALUES_MAX]})).is_err());
        assert!(schema.check(&json!({"a": vec![0; PAYLOAD_VALUES_MAX - 10]})).is_ok());
    }
}
