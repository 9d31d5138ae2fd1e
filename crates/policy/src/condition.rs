//! One condition on a call: a path, an operator, a value. Compiled once; asking it is linear in the argument.
//!
//! Sole judge of arguments. It must never take a value of another type for the one that a rule is about: what
//! cannot be compared is [`Finding::Unfit`], and every rule refuses on it.

use core::cmp::Ordering;

use regex::Regex;
use serde_json::{Number, Value};

use crate::Request;

/// Text beyond this many bytes is not searched: it is `Unfit`. The code of the largest offer is far below it, and
/// the slowest pattern takes some 20 ms over this much.
pub(crate) const TEXT_SEARCHED_MAX: usize = 256 * 1_024;

/// The largest number that a float holds without leaving out whole ones before it.
const EXACT_IN_FLOAT: i128 = 9_007_199_254_740_992;

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A place within the arguments, segment by segment; none of them is the whole of the arguments.
    Argument(Vec<String>),
    /// A label of the caller.
    Label(String),
}

/// What is asked of it: the eleven operators.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Equal(Value),
    NotEqual(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Less(Number),
    AtMost(Number),
    Greater(Number),
    AtLeast(Number),
    Matches(Regex),
    Contains(Value),
    Exists(bool),
}

/// A condition, and where it stands in the file.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) rule: String,
    /// The path as the file has it.
    pub(crate) path: String,
    /// The operator's word.
    pub(crate) op: &'static str,
    pub(crate) subject: Subject,
    pub(crate) test: Test,
    /// What a caller is told where the condition refuses.
    pub(crate) on_deny: Option<String>,
}

/// What a condition finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// There is no such value.
    Missing,
    /// The value is of a type or size that the operator cannot judge.
    Unfit,
}

impl Finding {
    /// For `require`: only what holds passes.
    pub(crate) const fn passes(self) -> bool {
        matches!(self, Self::Holds)
    }

    /// For `deny_if` and `when`: what holds fires, and so does what cannot be judged.
    pub(crate) const fn fires(self) -> bool {
        matches!(self, Self::Holds | Self::Unfit)
    }

    /// In words, for an explanation.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "does not hold",
            Self::Missing => "has no value to look at",
            Self::Unfit => "cannot be judged: the value is of another type, or too long",
        }
    }
}

impl Condition {
    /// Judges a call.
    pub(crate) fn judge(&self, request: &Request<'_>) -> Finding {
        match &self.subject {
            Subject::Argument(path) => self.test.judge(at(request.arguments, path)),
            Subject::Label(name) => match request.labels.get(name) {
                Some(label) => self.test.judge_text(label),
                None => self.test.judge(None),
            },
        }
    }

    /// Judges arguments alone, for the examples that stand beside the condition. A label is missing there.
    pub(crate) fn judge_arguments(&self, arguments: &Value) -> Finding {
        match &self.subject {
            Subject::Argument(path) => self.test.judge(at(arguments, path)),
            Subject::Label(_) => self.test.judge(None),
        }
    }
}

/// The value at a path. A segment names a field of an object or counts from 0 into an array.
pub(crate) fn at<'v>(arguments: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(arguments, |value, segment| match value {
        Value::Object(fields) => fields.get(segment),
        Value::Array(items) => items.get(index(segment)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// An index has one spelling only.
fn index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with('0') && segment.bytes().all(|b| b.is_ascii_digit());
    if plain { segment.parse().ok() } else { None }
}

impl Test {
    fn judge(&self, value: Option<&Value>) -> Finding {
        if let Self::Exists(wanted) = self {
            return holds(value.is_some() == *wanted);
        }
        let Some(value) = value else { return Finding::Missing };
        match self {
            Self::Exists(_) => Finding::Missing,
            Self::Equal(wanted) => holds(same(value, wanted)),
            Self::NotEqual(wanted) => holds(!same(value, wanted)),
            Self::In(list) => holds(list.iter().any(|wanted| same(value, wanted))),
            Self::NotIn(list) => holds(!list.iter().any(|wanted| same(value, wanted))),
            Self::Less(bound) => ordered(value, bound, Ordering::is_lt),
            Self::AtMost(bound) => ordered(value, bound, Ordering::is_le),
            Self::Greater(bound) => ordered(value, bound, Ordering::is_gt),
            Self::AtLeast(bound) => ordered(value, bound, Ordering::is_ge),
            Self::Matches(pattern) => {
                let text = value.as_str().filter(|text| text.len() <= TEXT_SEARCHED_MAX);
                text.map_or(Finding::Unfit, |text| holds(pattern.is_match(text)))
            }
            Self::Contains(part) => contains(value, part),
        }
    }

    /// The same for a text that is no JSON value: a label.
    fn judge_text(&self, text: &str) -> Finding {
        self.judge(Some(&Value::String(text.to_owned())))
    }
}

fn contains(value: &Value, part: &Value) -> Finding {
    match (value, part) {
        (Value::Array(items), _) => holds(items.iter().any(|item| same(item, part))),
        (Value::String(text), Value::String(part)) if text.len() <= TEXT_SEARCHED_MAX => {
            holds(text.contains(part.as_str()))
        }
        _ => Finding::Unfit,
    }
}

const fn holds(yes: bool) -> Finding {
    if yes { Finding::Holds } else { Finding::Fails }
}

/// The same value: numbers by what they amount to, everything else to the letter. A text is never a number.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare(left, right) == Some(Ordering::Equal),
        _ => left == right,
    }
}

fn ordered(value: &Value, bound: &Number, wanted: fn(Ordering) -> bool) -> Finding {
    let Value::Number(number) = value else { return Finding::Unfit };
    compare(number, bound).map_or(Finding::Unfit, |order| holds(wanted(order)))
}

/// The order of two numbers, where it can be told exactly.
pub(crate) fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (whole_left, whole_right) => {
            let in_float = |whole: Option<i128>| whole.is_none_or(|n| n.abs() <= EXACT_IN_FLOAT);
            if !in_float(whole_left) || !in_float(whole_right) {
                return None;
            }
            left.as_f64()?.partial_cmp(&right.as_f64()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Finding, TEXT_SEARCHED_MAX};
    use crate::file::read_condition;

    #[track_caller]
    fn judge(condition: &Value, arguments: &Value) -> Finding {
        read_condition(&condition.to_string()).unwrap().judge_arguments(arguments)
    }

    #[track_caller]
    fn all(cases: &[(Value, Value, Finding)]) {
        for (condition, arguments, wanted) in cases {
            assert_eq!(judge(condition, arguments), *wanted, "{condition} {arguments}");
        }
    }

    #[test]
    fn the_eleven_operators_do_what_they_say() {
        use Finding::{Fails, Holds};
        let a = |op: &str, value: Value| json!({"path": "args.a", "op": op, "value": value});
        all(&[
            (a("eq", json!("x")), json!({"a": "x"}), Holds),
            (a("eq", json!("x")), json!({"a": "X"}), Fails),
            (a("neq", json!("x")), json!({"a": "y"}), Holds),
            (a("in", json!(["x", 1])), json!({"a": 1.0}), Holds),
            (a("in", json!(["x", 1])), json!({"a": "1"}), Fails),
            (a("not_in", json!(["x"])), json!({"a": "y"}), Holds),
            (a("lt", json!(10)), json!({"a": 9.5}), Holds),
            (a("lte", json!(10)), json!({"a": 10}), Holds),
            (a("gt", json!(10)), json!({"a": 10}), Fails),
            (a("gte", json!(10)), json!({"a": 10}), Holds),
            (a("regex", json!("^a+$")), json!({"a": "aaa"}), Holds),
            (a("regex", json!("^a+$")), json!({"a": "aab"}), Fails),
            (a("contains", json!("ell")), json!({"a": "hello"}), Holds),
            (a("contains", json!(2)), json!({"a": [1, 2]}), Holds),
            (a("exists", json!(true)), json!({"a": null}), Holds),
            (a("exists", json!(false)), json!({}), Holds),
        ]);
    }

    #[test]
    fn what_is_of_another_type_is_not_judged() {
        let a = |op: &str, value: Value| json!({"path": "args.a", "op": op, "value": value});
        for odd in [json!("11"), json!(null), json!([11]), json!({"n": 11}), json!(true)] {
            assert_eq!(judge(&a("gt", json!(10)), &json!({"a": odd})), Finding::Unfit, "{odd}");
        }
        assert_eq!(judge(&a("regex", json!("x")), &json!({"a": 7})), Finding::Unfit);
        assert_eq!(judge(&a("contains", json!("x")), &json!({"a": {"x": 1}})), Finding::Unfit);
        let long = "a".repeat(TEXT_SEARCHED_MAX + 1);
        assert_eq!(judge(&a("regex", json!("x")), &json!({"a": long})), Finding::Unfit);
        assert_eq!(judge(&a("contains", json!("x")), &json!({"a": long})), Finding::Unfit);
    }

    #[test]
    fn what_is_not_there_is_missing_whatever_is_asked_of_it() {
        for op in ["eq", "neq", "lt", "lte", "gt", "gte"] {
            let condition = json!({"path": "args.a.b.0", "op": op, "value": 1});
            for arguments in [json!({}), json!({"a": 1}), json!({"a": {"b": []}}), json!({"a": {"b": {}}})] {
                assert_eq!(judge(&condition, &arguments), Finding::Missing, "{op} {arguments}");
            }
        }
    }

    #[test]
    fn large_numbers_are_compared_exactly_or_not_at_all() {
        let over = |bound: Value| json!({"path": "args.a", "op": "gt", "value": bound});
        assert_eq!(
            judge(&over(json!(9_007_199_254_740_992_u64)), &json!({"a": 9_007_199_254_740_993_u64})),
            Finding::Holds
        );
        assert_eq!(judge(&over(json!(0.5)), &json!({"a": u64::MAX})), Finding::Unfit);
        assert_eq!(judge(&over(json!(-1)), &json!({"a": u64::MAX})), Finding::Holds);
    }

    #[test]
    fn a_path_goes_through_objects_and_arrays_and_may_be_a_pointer() {
        let is = |path: &str| json!({"path": path, "op": "eq", "value": 7});
        all(&[
            (is("args.a.1.b"), json!({"a": [0, {"b": 7}]}), Finding::Holds),
            (is("args.a.01.b"), json!({"a": [0, {"b": 7}]}), Finding::Missing),
            (is("args/a.b/c~1d"), json!({"a.b": {"c/d": 7}}), Finding::Holds),
        ]);
    }
}
