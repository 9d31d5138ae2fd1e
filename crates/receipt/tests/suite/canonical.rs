//! The canonical form as properties of arbitrary values.

use execgate_receipt::{LARGEST_INTEGER, canonical, parse_strict};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::{bool, collection, num};
use serde_json::{Map, Value};

/// Numbers that have a canonical form and are not an integer written as a double.
fn number() -> impl Strategy<Value = Value> {
    let largest = i64::try_from(LARGEST_INTEGER).unwrap();
    prop_oneof![
        (-largest..=largest).prop_map(Value::from),
        num::f64::NORMAL.prop_filter_map("an exact fraction", |double| {
            (double.fract() != 0.0 || double.abs() >= 1e21).then(|| Value::from(double))
        }),
        num::f64::SUBNORMAL.prop_map(Value::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\u{0}-\u{1f}\"\\\\/a\u{7f}\u{2028}]{0,8}",
        "[a\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        bool::ANY.prop_map(Value::from),
        number(),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            collection::vec((text(), inner), 0..6).prop_map(|members| members.into_iter().collect())
        ]
    })
}

/// White space and other spellings of a value: what a sender might have written.
fn loose(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap().replace('/', "\\/")
}

/// The keys of every object in a text, in the order in which they stand, through `serde_json`'s own reader.
fn keys_in_order(value: &Value, bytes: &[u8]) -> bool {
    let Value::Object(map) = value else { return true };
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by_key(|key| key.encode_utf16().collect::<Vec<_>>());
    let text = core::str::from_utf8(bytes).unwrap();
    let mut from = 1;
    keys.iter().all(|key| {
        let member = Value::Object(Map::from_iter([((*key).clone(), map[*key].clone())]));
        let canonical = canonical(&member).unwrap();
        let member = core::str::from_utf8(&canonical[1..canonical.len() - 1]).unwrap();
        let fits = text[from..].starts_with(member);
        from += member.len() + 1;
        fits
    })
}

proptest! {
    #[test]
    fn a_value_reads_back_from_its_canonical_form(value in value()) {
        prop_assert_eq!(parse_strict(&canonical(&value).unwrap()), Ok(value));
    }

    #[test]
    fn the_canonical_form_is_a_fixed_point_of_every_spelling(value in value()) {
        let bytes = canonical(&value).unwrap();
        let read = parse_strict(loose(&value).as_bytes()).unwrap();
        prop_assert_eq!(canonical(&read).unwrap(), bytes);
    }

    #[test]
    fn keys_stand_in_the_order_of_utf_16(value in value()) {
        prop_assert!(keys_in_order(&value, &canonical(&value).unwrap()));
    }

    #[test]
    fn whatever_the_strict_reader_takes_has_a_canonical_form(double in any::<f64>(), integer in any::<i64>()) {
        for text in [format!("{double}"), format!("{double:e}"), integer.to_string()] {
            if let Ok(value) = parse_strict(text.as_bytes()) {
                let bytes = canonical(&value).unwrap();
                let again = parse_strict(&bytes).unwrap();
                prop_assert_eq!(canonical(&again).unwrap(), bytes);
                prop_assert_eq!(again.as_f64(), value.as_f64());
            }
        }
    }

    #[test]
    fn the_strict_reader_never_panics_and_agrees_with_serde_json(bytes in collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = parse_strict(&bytes) {
            prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
        }
    }

    #[test]
    fn nearly_json_never_panics_and_agrees_with_serde_json(text in "[\\[\\]{}\",:0-9eE.+\\-\\\\ \nantu]{0,40}") {
        if let Ok(value) = parse_strict(text.as_bytes()) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
