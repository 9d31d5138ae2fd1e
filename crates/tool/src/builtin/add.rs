//! `add`: the sum of two numbers, as OpenExec's does: `{"sum": a + b}`.

use serde_json::{Number, Value, json};

use crate::pure::Computed;
use crate::{BadCall, Call, Description, Prepared, Tool};

/// The largest integer that a JSON number holds exactly everywhere (RFC 7493, section 2.2).
const EXACT_MAX: i64 = (1 << 53) - 1;

/// The tool.
pub(super) struct Add;

impl Tool for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Adds two numbers.".into(),
            schema: json!({
                "type": "object",
                "required": ["a", "b"],
                "properties": {"a": {"type": "number"}, "b": {"type": "number"}}
            }),
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let sum = sum(operand(call.payload, "a")?, operand(call.payload, "b")?)?;
        Ok(Box::new(Computed(json!({ "sum": sum }))))
    }
}

fn operand<'a>(payload: &'a Value, name: &str) -> Result<&'a Number, BadCall> {
    match payload.get(name) {
        Some(Value::Number(number)) => Ok(number),
        Some(_) => Err(BadCall::at(&format!("/{name}"), format!("`{name}` must be a number"))),
        None => Err(BadCall::at("", format!("`add` needs the numbers `a` and `b`; `{name}` is missing"))),
    }
}

/// Integers add as integers, anything else as doubles. A sum that JSON cannot carry exactly is refused.
fn sum(a: &Number, b: &Number) -> Result<Number, BadCall> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a
            .checked_add(b)
            .filter(|sum| (-EXACT_MAX..=EXACT_MAX).contains(sum))
            .map(Number::from)
            .ok_or_else(|| BadCall::at("", "the sum is beyond what a JSON number holds exactly (2^53 - 1)"));
    }
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else {
        return Err(BadCall::at("", "`a` and `b` must be finite numbers"));
    };
    Number::from_f64(a + b).ok_or_else(|| BadCall::at("", "the sum is not a finite number"))
}

#[cfg(test)]
mod tests {
    use execgate_model::{Effect, RunOptions};
    use serde_json::{Value, json};

    use super::{Add, sum};
    use crate::{Call, Tool};

    fn complaint(payload: &Value) -> Option<String> {
        let options = RunOptions::default();
        Add.prepare(&Call { payload, options: &options, effect: Effect::Live }).err().map(|bad| bad.message)
    }

    #[test]
    fn integers_stay_integers_and_doubles_stay_doubles() {
        let added = |a: Value, b: Value| match (a, b) {
            (Value::Number(a), Value::Number(b)) => sum(&a, &b).map(Value::Number).unwrap(),
            other => panic!("{other:?} are not numbers"),
        };
        assert_eq!(added(json!(2), json!(3)), json!(5));
        assert_eq!(added(json!(0.5), json!(1)), json!(1.5));
    }

    #[test]
    fn what_is_missing_or_too_large_is_named() {
        assert_eq!(
            complaint(&json!({"a": 1})).unwrap(),
            "`add` needs the numbers `a` and `b`; `b` is missing"
        );
        assert_eq!(complaint(&json!({"a": 1, "b": "2"})).unwrap(), "`b` must be a number");
        assert!(complaint(&json!({"a": 9_007_199_254_740_991_i64, "b": 1})).is_some());
        assert_eq!(complaint(&json!({"a": 1, "b": 2})), None);
    }
}
