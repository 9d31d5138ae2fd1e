//! What holds of every policy and every call.

use execgate_model::Amount;
use execgate_policy::{Decision, PolicySet};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;
use serde_json::{Value, json};

use super::ask::{as_holder, ask, own, policy};

/// Cases of a property: what is rare among them has been seen with a thousand, and not with a quarter of it.
const CASES: u32 = 4_096;

const TOOLS: [&str; 4] = ["a", "ab", "abc", "b"];
const KEYS: [&str; 6] = ["a", "ab", "a*", "ab*", "b", "*"];

fn tools() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TOOLS[..])
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i8>().prop_map(|n| json!(n)),
        any::<u64>().prop_map(|n| json!(n)),
        (-4_i16..4).prop_map(|n| json!(f64::from(n) / 2.0)),
        "[a-c1]{0,3}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn arguments() -> impl Strategy<Value = Value> {
    let leaf = scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[xy]", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[xy]", leaf, 0..3)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn condition() -> impl Strategy<Value = Value> {
    let path = prop::sample::select(&["args.x", "args.y", "args.x.y", "args.x.0", "labels.env"][..]);
    let test = prop_oneof![
        (prop::sample::select(&["eq", "neq", "contains"][..]), scalar()),
        (prop::sample::select(&["lt", "lte", "gt", "gte"][..]), any::<i8>().prop_map(|n| json!(n))),
        (
            prop::sample::select(&["in", "not_in"][..]),
            prop::collection::vec(scalar(), 0..3).prop_map(Value::from)
        ),
        (Just("regex"), "[a-c]{1,2}".prop_map(Value::from)),
        (Just("exists"), any::<bool>().prop_map(Value::from)),
    ];
    (path, test).prop_map(|(path, (op, value))| json!({"path": path, "op": op, "value": value}))
}

fn conditions() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(condition(), 0..3)
}

fn entry() -> impl Strategy<Value = Value> {
    let action = prop_oneof![3 => Just(None), 1 => Just(Some("deny")), 1 => Just(Some("require_approval"))];
    let mode = prop_oneof![3 => Just("enforce"), 1 => Just("shadow")];
    (action, mode, conditions(), conditions(), any::<bool>()).prop_map(
        |(action, mode, require, deny_if, limit)| {
            let mut entry = json!({"mode": mode, "require": require, "deny_if": deny_if});
            if let Some(action) = action {
                entry["action"] = json!(action);
            }
            if limit {
                entry["rate_limit"] = json!({"max": 3, "window": "minute"});
            }
            entry
        },
    )
}

fn file() -> impl Strategy<Value = Value> {
    let entries = prop::collection::btree_map(prop::sample::select(&KEYS[..]), entry(), 0..4);
    let default = prop::sample::select(&["allow", "deny"][..]);
    (default, entries)
        .prop_map(|(default, tools)| json!({"version": "1", "default": default, "tools": tools}))
}

/// More of a no to the same file.
fn with_denial(mut file: Value, kind: u8, key: &str, condition: Value) -> Value {
    let has = file["tools"].get(key).is_some();
    match kind {
        0 => file["hide"] = json!([key]),
        1 => file["default"] = json!("deny"),
        2 => file["all_tools"] = json!({"deny_if": [condition]}),
        3 => file["all_tools"] = json!({"require": [condition]}),
        4 if has => file["tools"][key]["action"] = json!("deny"),
        5 if has => file["tools"][key]["deny_if"] = add(&file["tools"][key]["deny_if"], condition),
        6 if has => file["tools"][key]["require"] = add(&file["tools"][key]["require"], condition),
        7 => file["all_tools"] = json!({"require_approval": {}}),
        9 if has => file["tools"][key]["schema"] = json!({"properties": {"x": {"type": "string"}}}),
        _ if !has => file["tools"][key] = json!({"action": "deny"}),
        _ => {}
    }
    file
}

fn add(list: &Value, condition: Value) -> Value {
    let mut list = list.as_array().cloned().unwrap_or_default();
    list.push(condition);
    Value::from(list)
}

/// How much a decision lets happen.
fn freedom(decision: &Decision) -> u8 {
    match decision {
        Decision::Deny(_) => 0,
        Decision::RequireApproval(_) => 1,
        Decision::Allow(_) => 2,
    }
}

fn decided(rules: &PolicySet, arguments: &Value) -> Vec<Decision> {
    TOOLS.iter().map(|tool| ask(rules, tool, arguments)).collect()
}

proptest! {
    #![proptest_config(Config { cases: CASES, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_denial_added_never_allows_more(
        file in file(), kind in 0_u8..10, key in prop::sample::select(&KEYS[..]),
        condition in condition(), arguments in arguments(),
    ) {
        let before = decided(&policy(&file), &arguments);
        let after = decided(&policy(&with_denial(file, kind, key, condition)), &arguments);
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(freedom(after) <= freedom(before), "{before:?} became {after:?}");
        }
    }

    #[test]
    fn a_grants_own_rules_never_allow_more_and_neither_does_a_denial_added_to_them(
        gateway in file(), mine in file(), kind in 0_u8..10, key in prop::sample::select(&KEYS[..]),
        condition in condition(), arguments in arguments(), tool in tools(),
    ) {
        let rules = policy(&gateway);
        let alone = ask(&rules, tool, &arguments);
        let held = |mine: &Value| as_holder(&rules, &own(mine), "g1", tool, &arguments, Amount::ZERO);
        let before = held(&mine);
        let after = held(&with_denial(mine, kind, key, condition));
        prop_assert!(freedom(&before) <= freedom(&alone), "{alone:?} became {before:?}");
        prop_assert!(freedom(&after) <= freedom(&before), "{before:?} became {after:?}");
    }

    #[test]
    fn the_same_inputs_are_decided_the_same(file in file(), arguments in arguments()) {
        let (one, other) = (policy(&file), policy(&file));
        prop_assert_eq!(decided(&one, &arguments), decided(&other, &arguments));
        prop_assert_eq!(decided(&one, &arguments), decided(&one, &arguments));
    }

    #[test]
    fn a_shadow_refuses_nothing(mut file in file(), arguments in arguments(), tool in tools()) {
        file["mode"] = json!("shadow");
        for entry in file["tools"].as_object_mut().into_iter().flat_map(|tools| tools.values_mut()) {
            entry["mode"] = json!("shadow");
        }
        prop_assert_eq!(freedom(&ask(&policy(&file), tool, &arguments)), 2);
    }

    #[test]
    fn whatever_refuses_names_a_rule_of_the_file(file in file(), arguments in arguments(), tool in tools()) {
        if let Decision::Deny(denial) = ask(&policy(&file), tool, &arguments) {
            let names = denial.rule == "/default" || file.pointer(&denial.rule).is_some();
            prop_assert!(names, "{}", denial.rule);
        }
    }
}
