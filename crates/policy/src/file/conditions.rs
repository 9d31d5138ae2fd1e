//! Conditions of the file, with the examples that they carry.

use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use super::PolicyError;
#[cfg(test)]
use super::place::Origin;
use super::place::{Object, Place};
use crate::condition::{Condition, Subject, Test};

/// Conditions in one list.
const CONDITIONS_MAX: usize = 64;

/// Bytes of a path; RFC 6901 and dotted paths of real arguments are far below.
const PATH_BYTES_MAX: usize = 512;

/// Segments of a path: arguments are at most so deep.
const PATH_SEGMENTS_MAX: usize = 32;

/// Bytes of a pattern or of a text to compare with.
const VALUE_BYTES_MAX: usize = 4_096;

/// Values that `in` and `not_in` list.
const LISTED_MAX: usize = 1_024;

/// Bytes of a sentence for callers. It stands in every refusal.
pub(super) const SENTENCE_BYTES_MAX: usize = 500;

/// Bytes that a compiled pattern may take up; a file has some thousands at the most.
const PATTERN_BYTES_MAX: usize = 256 * 1_024;

/// Nesting of a pattern.
const PATTERN_NESTING_MAX: u32 = 50;

/// Examples of one condition.
const EXAMPLES_MAX: usize = 32;

/// One condition alone, for tests of what it does.
#[cfg(test)]
pub(crate) fn read_condition(text: &str) -> Result<Condition, PolicyError> {
    condition(&Place::whole(text, Origin::Gateway)?)
}

/// Reads a list of conditions.
pub(super) fn conditions(list: Option<Place<'_>>) -> Result<Vec<Condition>, PolicyError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    list.items(CONDITIONS_MAX)?.iter().map(condition).collect()
}

/// Reads one condition, and holds it against its examples.
pub(super) fn condition(place: &Place<'_>) -> Result<Condition, PolicyError> {
    let mut fields = place.object()?;
    let path_place = fields.need("path")?;
    let path = path_place.text(PATH_BYTES_MAX)?;
    let (op, test) = test(&mut fields)?;
    let on_deny = fields.take("on_deny").map(|text| text.text(SENTENCE_BYTES_MAX)).transpose()?;
    let subject = subject(&path).map_err(|what| path_place.wrong(what))?;
    let condition = Condition { rule: place.rule(), path, op, subject, test, on_deny };
    if let Some(examples) = fields.take("match") {
        hold_examples(&condition, &examples, true)?;
    }
    if let Some(examples) = fields.take("not_match") {
        hold_examples(&condition, &examples, false)?;
    }
    fields.finish()?;
    Ok(condition)
}

fn hold_examples(condition: &Condition, examples: &Place<'_>, fires: bool) -> Result<(), PolicyError> {
    for example in examples.items(EXAMPLES_MAX)? {
        if !example.is_object() {
            return Err(example.wrong("an example is the arguments of a call, an object"));
        }
        let finding = condition.judge_arguments(&example.value()?);
        if finding.passes() != fires {
            let wanted = if fires { "be met by" } else { "not be met by" };
            let what = format!("the condition should {wanted} this example, and {}", finding.as_str());
            return Err(example.wrong(what));
        }
    }
    Ok(())
}

/// `args.a.b`, `args/a.b/c` (a JSON pointer, for names with dots) or `labels.name`.
fn subject(path: &str) -> Result<Subject, String> {
    let argument = |segments: Vec<String>| {
        if segments.len() > PATH_SEGMENTS_MAX {
            return Err(format!("a path has at most {PATH_SEGMENTS_MAX} segments"));
        }
        if segments.iter().any(String::is_empty) {
            return Err("a segment of this path is empty".to_owned());
        }
        Ok(Subject::Argument(segments))
    };
    if let Some(dotted) = path.strip_prefix("args.") {
        return argument(dotted.split('.').map(str::to_owned).collect());
    }
    if let Some(pointer) = path.strip_prefix("args/") {
        return argument(pointer.split('/').map(|s| s.replace("~1", "/").replace("~0", "~")).collect());
    }
    match path.strip_prefix("labels.") {
        Some(label) if !label.is_empty() => Ok(Subject::Label(label.to_owned())),
        _ => Err("a path is `args.NAME`, `args/NAME` (a JSON pointer) or `labels.NAME`".to_owned()),
    }
}

/// The path of an argument that is counted.
pub(super) fn argument_path(place: &Place<'_>) -> Result<Vec<String>, PolicyError> {
    match subject(&place.text(PATH_BYTES_MAX)?).map_err(|what| place.wrong(what))? {
        Subject::Argument(path) => Ok(path),
        Subject::Label(_) => Err(place.wrong("only an argument can be counted: `args.NAME`")),
    }
}

/// The operators, in the order in which an error lists them.
const OPERATORS: [(&str, &str); 11] = [
    ("eq", "eq"),
    ("neq", "neq"),
    ("in", "in"),
    ("not_in", "not_in"),
    ("lt", "lt"),
    ("lte", "lte"),
    ("gt", "gt"),
    ("gte", "gte"),
    ("regex", "regex"),
    ("contains", "contains"),
    ("exists", "exists"),
];

fn test(fields: &mut Object<'_>) -> Result<(&'static str, Test), PolicyError> {
    let op = fields.need("op")?.word(&OPERATORS)?;
    if op == "exists" {
        let wanted = fields.take("value").map_or(Ok(true), |value| value.switch())?;
        return Ok((op, Test::Exists(wanted)));
    }
    let value = fields.need("value")?;
    let test = match op {
        "eq" => Test::Equal(scalar(&value)?),
        "neq" => Test::NotEqual(scalar(&value)?),
        "in" => Test::In(listed(&value)?),
        "not_in" => Test::NotIn(listed(&value)?),
        "lt" => Test::Less(bound(&value)?),
        "lte" => Test::AtMost(bound(&value)?),
        "gt" => Test::Greater(bound(&value)?),
        "gte" => Test::AtLeast(bound(&value)?),
        "regex" => Test::Matches(pattern(&value)?),
        _ => Test::Contains(scalar(&value)?),
    };
    Ok((op, test))
}

pub(super) fn scalar(place: &Place<'_>) -> Result<Value, PolicyError> {
    if place.is_text() {
        return place.text(VALUE_BYTES_MAX).map(Value::String);
    }
    match place.value()? {
        Value::Object(_) | Value::Array(_) => {
            Err(place.wrong("this must be a text, a number, true, false or null"))
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Ok(plain),
    }
}

fn listed(place: &Place<'_>) -> Result<Vec<Value>, PolicyError> {
    place.items(LISTED_MAX)?.iter().map(scalar).collect()
}

fn bound(place: &Place<'_>) -> Result<Number, PolicyError> {
    let Value::Number(number) = place.value()? else { return Err(place.wrong("this must be a number")) };
    Ok(number)
}

pub(super) fn pattern(place: &Place<'_>) -> Result<Regex, PolicyError> {
    let text = place.text(VALUE_BYTES_MAX)?;
    let mut builder = RegexBuilder::new(&text);
    let builder = builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    builder.nest_limit(PATTERN_NESTING_MAX).build().map_err(|error| {
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default().trim().to_owned();
        place.wrong(format!("this is not a regular expression that can be used: {cause}"))
    })
}
