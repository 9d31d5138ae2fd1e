//! The tool: filter, conditions, order, window, fields; in this order.

use serde_json::{Value, json};

use super::condition::{OPERATORS, at, check as check_condition, fits, order, pick};
use super::jq;
use crate::BadCall;
use crate::arguments::Arguments;
use crate::compute::{Computation, Place, Raised};

const EXAMPLE: &str = r#"{"data": [{"n": 1}, {"n": 2}], "where": {"n": {"gt": 1}}}"#;
const NAMES: [&str; 8] = ["data", "filter", "where", "sort_by", "order", "limit", "offset", "fields"];
const ORDERS: [&str; 2] = ["asc", "desc"];

/// The longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 8 << 10;

/// The most fields that are picked, and the most conditions.
const FIELDS_MAX: usize = 100;

/// The most items that a window can be moved by.
const WINDOW_MAX: usize = 1_000_000_000;

/// The tool.
pub(in crate::builtin) const COMPUTATION: Computation = Computation {
    name: "data_filter",
    summary: "Filters, sorts and picks from a list, by simple conditions or by a jq filter.",
    schema,
    check,
    compute,
    place: Place::Worker,
};

fn schema() -> Value {
    let operators = OPERATORS.join(", ");
    json!({
        "type": "object",
        "required": ["data"],
        "additionalProperties": false,
        "properties": {
            "data": {"description": "A list, or any JSON value for `filter`; anything but a list is a list of itself."},
            "filter": {
                "type": "string",
                "maxLength": FILTER_BYTES_MAX,
                "description": "A jq filter over `data`, applied first. Its outputs are the items; a single output that is a list \
                                is the list of items. No environment, clock, files or further input. Numbers from 2^53 on are \
                                text in the items."
            },
            "where": {
                "type": "object",
                "maxProperties": FIELDS_MAX,
                "description": format!(
                    "Conditions that must all hold: a path (`address.city`, `tags.0`) to the value that it must equal, or to \
                     operators: {operators}. An item without the path fits only `ne`, `not_in` and `exists: false`."
                )
            },
            "sort_by": {"type": "string", "description": "The path of what to sort by. Null and missing come first."},
            "order": {"enum": ORDERS, "default": "asc"},
            "offset": {"type": "integer", "minimum": 0, "description": "How many items to leave out."},
            "limit": {"type": "integer", "minimum": 0, "description": "How many items to give at most."},
            "fields": {
                "type": "array",
                "maxItems": FIELDS_MAX,
                "items": {"type": "string"},
                "description": "Paths to keep of each item; the others are left out."
            }
        },
        "examples": [{"data": [{"n": 1}, {"n": 2}], "where": {"n": {"gt": 1}}}]
    })
}

fn check(payload: &Value) -> Result<(), BadCall> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    arguments.any("data")?;
    if arguments.maybe("filter").is_some() {
        arguments.short_text("filter", FILTER_BYTES_MAX)?;
    }
    if let Some(wanted) = arguments.maybe_object("where")? {
        if wanted.len() > FIELDS_MAX {
            return Err(arguments.bad("where", &format!("may have {FIELDS_MAX} conditions")));
        }
        check_condition(wanted).map_err(|rule| arguments.bad("where", &rule))?;
    }
    arguments.maybe_text("sort_by")?;
    arguments.choice("order", &ORDERS)?;
    arguments.maybe_count("limit", WINDOW_MAX)?;
    arguments.maybe_count("offset", WINDOW_MAX)?;
    fields(&arguments).map(|_| ())
}

fn fields<'a>(arguments: &Arguments<'a>) -> Result<Option<Vec<&'a str>>, BadCall> {
    let Some(list) = arguments.maybe_list("fields")? else { return Ok(None) };
    let texts: Option<Vec<_>> = list.iter().map(Value::as_str).collect();
    let texts = texts.filter(|texts| texts.len() <= FIELDS_MAX);
    texts
        .map(Some)
        .ok_or_else(|| arguments.bad("fields", &format!("must be a list of at most {FIELDS_MAX} texts")))
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    let data = arguments.any("data")?;
    let mut items = match arguments.maybe_text("filter")? {
        Some(filter) => list_of_one(jq::run(filter, data)?),
        None => list_of_one(vec![data.clone()]),
    };
    if let Some(wanted) = arguments.maybe_object("where")? {
        items.retain(|item| fits(item, wanted));
    }
    if let Some(path) = arguments.maybe_text("sort_by")? {
        let is_descending = arguments.choice("order", &ORDERS)? == "desc";
        items.sort_by(|a, b| {
            let order = order(at(a, path), at(b, path));
            if is_descending { order.reverse() } else { order }
        });
    }
    let total = items.len();
    let offset = arguments.maybe_count("offset", WINDOW_MAX)?.unwrap_or_default();
    let limit = arguments.maybe_count("limit", WINDOW_MAX)?.unwrap_or(total);
    let window = items.into_iter().skip(offset).take(limit);
    let items: Vec<Value> = match fields(&arguments)? {
        Some(fields) => window.map(|item| pick(&item, &fields)).collect(),
        None => window.collect(),
    };
    Ok(json!({"count": items.len(), "total": total, "items": items}))
}

/// The items of the only one, where that is a list.
fn list_of_one(mut values: Vec<Value>) -> Vec<Value> {
    match values.as_mut_slice() {
        [Value::Array(items)] => std::mem::take(items),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{check, compute};

    fn people() -> Value {
        json!([
            {"name": "ada", "age": 36, "address": {"city": "London"}, "tags": ["x", "y"]},
            {"name": "bob", "age": 20.0, "address": {"city": "Paris"}},
            {"name": "cyd", "age": null},
        ])
    }

    fn filtered(mut payload: Value) -> Value {
        if payload.get("data").is_none() {
            payload["data"] = people();
        }
        check(&payload).unwrap();
        compute(&payload).unwrap()
    }

    fn names(payload: Value) -> Vec<String> {
        let found = filtered(payload);
        let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
        found["items"].as_array().unwrap().iter().map(name).collect()
    }

    #[test]
    fn conditions_hold_or_not() {
        for (wanted, expected) in [
            (json!({"name": "ada"}), vec!["ada"]),
            (json!({"age": 20}), vec!["bob"]),
            (json!({"age": {"gte": 20, "lt": 36}}), vec!["bob"]),
            (json!({"age": {"ne": 20}}), vec!["ada", "cyd"]),
            (json!({"address.city": {"in": ["Paris", "Rome"]}}), vec!["bob"]),
            (json!({"address.city": {"not_in": ["Paris"]}}), vec!["ada", "cyd"]),
            (json!({"address.city": {"starts_with": "Lon"}}), vec!["ada"]),
            (json!({"tags": {"contains": "y"}}), vec!["ada"]),
            (json!({"tags.0": "x"}), vec!["ada"]),
            (json!({"address": {"exists": false}}), vec!["cyd"]),
            (json!({"name": {"contains": "b"}, "age": {"gt": 100}}), vec![]),
        ] {
            assert_eq!(names(json!({"where": wanted})), expected, "{wanted}");
        }
    }

    #[test]
    fn order_window_and_fields_come_after() {
        assert_eq!(names(json!({"sort_by": "age"})), ["cyd", "bob", "ada"]);
        assert_eq!(names(json!({"sort_by": "age", "order": "desc", "limit": 2})), ["ada", "bob"]);
        let page = filtered(json!({"offset": 1, "limit": 1, "fields": ["name", "address.city", "nope"]}));
        let expected = json!({"count": 1, "total": 3, "items": [{"name": "bob", "address.city": "Paris"}]});
        assert_eq!(page, expected);
    }

    #[test]
    fn a_filter_comes_first_and_its_list_is_the_items() {
        let found = filtered(json!({"filter": "map(select(.age != null))", "sort_by": "name", "limit": 1}));
        assert_eq!((&found["total"], &found["items"][0]["name"]), (&json!(2), &json!("ada")));
        assert_eq!(filtered(json!({"filter": ".[].name"}))["items"], json!(["ada", "bob", "cyd"]));
        assert_eq!(filtered(json!({"data": {"a": 7}}))["items"], json!([{"a": 7}]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (wrong, pointer) in [
            (json!({}), "/data"),
            (json!({"data": [], "where": {"a": {"over": 1}}}), "/where"),
            (json!({"data": [], "where": {"a": {"in": 1}}}), "/where"),
            (json!({"data": [], "order": "up"}), "/order"),
            (json!({"data": [], "limit": -1}), "/limit"),
            (json!({"data": [], "fields": [1]}), "/fields"),
            (json!({"data": [], "filter": "x".repeat(9000)}), "/filter"),
        ] {
            assert_eq!(check(&wrong).unwrap_err().pointer, pointer);
        }
    }

    proptest! {
        #[test]
        fn what_is_sorted_is_the_same_in_order(numbers in vec(-100_i32..100, 0..20)) {
            let data: Vec<Value> = numbers.iter().map(|number| json!({"n": number})).collect();
            let found = filtered(json!({"data": [data], "filter": ".[0]", "sort_by": "n"}));
            let sorted: Vec<i64> =
                found["items"].as_array().unwrap().iter().map(|item| item["n"].as_i64().unwrap()).collect();
            prop_assert!(sorted.is_sorted());
            let mut expected: Vec<i64> = numbers.into_iter().map(i64::from).collect();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }
}
