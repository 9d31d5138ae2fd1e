//! `schema_validate`: whether data fits a JSON Schema. The schema is a stranger's: nothing that it refers to is ever
//! fetched, and what its references and combinations cost cannot be foreseen, so that a worker does it.

use jsonschema::ValidationError;
use serde_json::{Value, json};

use crate::BadCall;
use crate::arguments::Arguments;
use crate::compute::{Computation, Place, Raised};
use crate::json_schema::{cut, validator};

const EXAMPLE: &str = r#"{"schema": {"type": "object", "required": ["a"]}, "data": {"a": 1}}"#;
const NAMES: [&str; 2] = ["schema", "data"];

/// The most errors that are told.
const ERRORS_MAX: usize = 100;

/// The tool.
pub(super) const COMPUTATION: Computation = Computation {
    name: "schema_validate",
    summary: "Checks data against a JSON Schema, and names every place that does not fit.",
    schema,
    check,
    compute,
    place: Place::Worker,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["schema", "data"],
        "additionalProperties": false,
        "properties": {
            "schema": {
                "type": ["object", "boolean"],
                "description": "A JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12 (the default; `$schema` names another). `$ref` \
                                reaches what is in the schema itself (`#/$defs/…`); a remote one is an error, nothing is \
                                fetched. Patterns are linear: no look-around."
            },
            "data": {"description": "What to check: any JSON value, not its text."}
        },
        "examples": [{"schema": {"type": "object", "required": ["a"]}, "data": {"a": 1}}]
    })
}

fn check(payload: &Value) -> Result<(), BadCall> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    arguments.any("data")?;
    match arguments.any("schema")? {
        Value::Object(_) | Value::Bool(_) => Ok(()),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(arguments.bad("schema", "must be a JSON Schema: an object, or true or false"))
        }
    }
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    let (schema, data) = (arguments.any("schema")?, arguments.any("data")?);
    let validator = validator(schema).map_err(|wrong| Raised::new("BadSchema", wrong))?;
    let mut found = validator.iter_errors(data);
    let errors: Vec<Value> = found.by_ref().take(ERRORS_MAX).map(|error| error_json(&error)).collect();
    let mut result = json!({"valid": errors.is_empty(), "errors": errors});
    if found.next().is_some() {
        result["truncated"] = true.into();
    }
    Ok(result)
}

fn error_json(error: &ValidationError<'_>) -> Value {
    let path = cut(error.instance_path().as_str());
    json!({"path": path, "message": cut(&error.to_string()), "keyword": error.kind().keyword()})
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ERRORS_MAX, check, compute};
    use crate::json_schema::MESSAGE_MAX;

    fn validated(schema: &Value, data: &Value) -> Value {
        compute(&json!({"schema": schema, "data": data})).unwrap()
    }

    #[test]
    fn data_that_fits_is_valid_and_the_rest_is_named() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {"age": {"type": "integer", "minimum": 0}, "name": {"$ref": "#/$defs/name"}},
            "$defs": {"name": {"type": "string", "pattern": "^[a-z]+$"}}
        });
        assert_eq!(validated(&schema, &json!({"name": "ada"})), json!({"valid": true, "errors": []}));
        let wrong = validated(&schema, &json!({"name": "A", "age": -1}));
        assert_eq!(wrong["valid"], false);
        let mut paths: Vec<_> =
            wrong["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/age", "/name"]);
    }

    #[test]
    fn a_remote_reference_is_an_error_that_says_so() {
        for uri in ["http://169.254.169.254/a", "https://example.com/schema.json", "file:///etc/passwd"] {
            let told = compute(&json!({"schema": {"$ref": uri}, "data": 1})).unwrap_err();
            assert_eq!(told.name, "BadSchema");
            assert!(told.message.contains("nothing is fetched"), "{}", told.message);
        }
        let unknown = compute(&json!({"schema": {"$schema": "https://example.com/x"}, "data": 1}));
        assert_eq!(unknown.unwrap_err().name, "BadSchema");
    }

    #[test]
    fn a_schema_that_is_none_is_told() {
        let told = compute(&json!({"schema": {"type": "strin"}, "data": 1})).unwrap_err();
        assert!(told.message.contains("/type"), "{}", told.message);
        assert!(compute(&json!({"schema": {"pattern": "(?=a)"}, "data": "a"})).is_err());
        assert!(check(&json!({"schema": "{}", "data": 1})).is_err());
        assert!(check(&json!({"schema": {}})).is_err());
        assert_eq!(validated(&json!(false), &json!(1))["valid"], false);
    }

    #[test]
    fn errors_are_bounded_in_number_and_length() {
        let data: Vec<String> = (0..=ERRORS_MAX).map(|_| "x".repeat(2 * MESSAGE_MAX)).collect();
        let found = validated(&json!({"items": {"type": "integer"}}), &json!(data));
        let errors = found["errors"].as_array().unwrap();
        assert_eq!(errors.len(), ERRORS_MAX);
        assert_eq!(found["truncated"], true);
        assert!(
            errors.iter().all(|error| error["message"].as_str().unwrap().chars().count() <= MESSAGE_MAX + 1)
        );
    }
}
