//! Conditions, order and fields, for those who do not write jq.

use core::cmp::Ordering;

use serde_json::{Map, Value};

use crate::arguments::shown;

/// The operators of a condition.
pub(super) const OPERATORS: [&str; 11] =
    ["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "contains", "starts_with", "exists"];

/// The value at a path of names and places, parted by dots: `address.city`, `tags.0`.
pub(super) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// Whether a `where` is one: each member a value, or an object of operators.
pub(super) fn check(wanted: &Map<String, Value>) -> Result<(), String> {
    for (path, condition) in wanted {
        let Some(operators) = operators(condition) else { continue };
        for (name, operand) in operators {
            let rule = match name.as_str() {
                "in" | "not_in" if !operand.is_array() => "takes a list",
                "starts_with" if !operand.is_string() => "takes a text",
                "exists" if !operand.is_boolean() => "takes true or false",
                name if !OPERATORS.contains(&name) => {
                    let (name, all) = (shown(name), OPERATORS.join(", "));
                    return Err(format!("has the unknown operator `{name}`; there are {all}"));
                }
                _ => continue,
            };
            return Err(format!("has `{}.{name}`, and `{name}` {rule}", shown(path)));
        }
    }
    Ok(())
}

/// The operators of a condition; `None` for one that is a value to be equal to.
fn operators(condition: &Value) -> Option<&Map<String, Value>> {
    condition.as_object().filter(|operators| !operators.is_empty())
}

/// Whether an item fits every condition.
pub(super) fn fits(item: &Value, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(path, condition)| {
        let value = at(item, path);
        match operators(condition) {
            None => value.is_some_and(|value| equal(value, condition)),
            Some(operators) => operators.iter().all(|(name, operand)| holds(value, name, operand)),
        }
    })
}

fn holds(value: Option<&Value>, name: &str, operand: &Value) -> bool {
    if name == "exists" {
        return operand.as_bool() == Some(value.is_some());
    }
    let is_in =
        |value: &Value| operand.as_array().is_some_and(|list| list.iter().any(|one| equal(one, value)));
    let Some(value) = value else { return matches!(name, "ne" | "not_in") };
    let order = || order_of_kind(value, operand);
    match name {
        "eq" => equal(value, operand),
        "ne" => !equal(value, operand),
        "gt" => order() == Some(Ordering::Greater),
        "gte" => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        "lt" => order() == Some(Ordering::Less),
        "lte" => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
        "in" => is_in(value),
        "not_in" => !is_in(value),
        "contains" => match (value, operand) {
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            (Value::Array(items), one) => items.iter().any(|item| equal(item, one)),
            _ => false,
        },
        "starts_with" => {
            value.as_str().zip(operand.as_str()).is_some_and(|(text, part)| text.starts_with(part))
        }
        _ => false,
    }
}

/// Numbers are equal by their value: 1 and 1.0 are.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => order_of_kind(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

/// The order of two numbers, texts or truths; others have none.
fn order_of_kind(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// The order of any two values: null and what is missing, truths, numbers, texts, and then all others as they came.
pub(super) fn order(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None | Some(Value::Null) => 0,
        Some(Value::Bool(_)) => 1,
        Some(Value::Number(_)) => 2,
        Some(Value::String(_)) => 3,
        Some(Value::Array(_) | Value::Object(_)) => 4,
    };
    rank(a)
        .cmp(&rank(b))
        .then_with(|| a.zip(b).and_then(|(a, b)| order_of_kind(a, b)).unwrap_or(Ordering::Equal))
}

/// An item with only some of its fields, those of a path under the path's own name.
pub(super) fn pick(item: &Value, fields: &[&str]) -> Value {
    let found = |field: &&str| at(item, field).map(|value| ((*field).to_owned(), value.clone()));
    Value::Object(fields.iter().filter_map(found).collect())
}
