//! The `schema` of an entry, read strictly: a word of JSON Schema that is not judged here is an error, and never ignored.

use core::cmp::Ordering;

use serde_json::Value;

use super::PolicyError;
use super::conditions::{pattern, scalar};
use super::place::{Object, Place};
use crate::schema::{Bound, Count, Others, Schema, Type};

/// Nesting of a schema: arguments are at most so deep.
const DEPTH_MAX: usize = 32;

/// Fields of one object, and values of one `enum`.
const LIST_MAX: usize = 256;

/// Bytes of the name of a field, and of a sentence for people.
const NAME_BYTES_MAX: usize = 256;
const NOTE_BYTES_MAX: usize = 4_096;

/// The largest count: what every JSON reader holds exactly.
const COUNT_MAX: u64 = 9_007_199_254_740_991;

/// The dialect that this is a part of.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Words of JSON Schema that are not judged, so that nobody believes they are.
const NOT_JUDGED: [&str; 14] = [
    "$ref",
    "$dynamicRef",
    "$defs",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "patternProperties",
    "propertyNames",
    "prefixItems",
    "uniqueItems",
    "multipleOf",
    "format",
];

/// Reads the schema of an entry.
pub(super) fn schema(place: &Place<'_>) -> Result<Schema, PolicyError> {
    at_depth(place, 0)
}

fn at_depth(place: &Place<'_>, depth: usize) -> Result<Schema, PolicyError> {
    if depth > DEPTH_MAX {
        return Err(place.wrong(format!("a schema is at most {DEPTH_MAX} levels deep")));
    }
    let mut fields = place.object()?;
    for word in NOT_JUDGED {
        fields.refuse(word, "of JSON Schema is not judged by policies: leave it out")?;
    }
    if let Some(dialect) = fields.take("$schema") {
        dialect.word(&[(DIALECT, ())])?;
    }
    for note in ["title", "description", "$comment"] {
        fields.take(note).map(|note| note.text(NOTE_BYTES_MAX)).transpose()?;
    }
    let schema = Schema {
        types: types(fields.take("type"))?,
        values: values(&mut fields)?,
        properties: properties(fields.take("properties"), depth)?,
        required: required(fields.take("required"))?,
        others: others(fields.take("additionalProperties"), depth)?,
        items: fields.take("items").map(|items| at_depth(&items, depth + 1).map(Box::new)).transpose()?,
        item_count: count(&mut fields, "minItems", "maxItems")?,
        length: count(&mut fields, "minLength", "maxLength")?,
        pattern: fields.take("pattern").map(|text| pattern(&text)).transpose()?,
        bounds: bounds(&mut fields)?,
    };
    fields.finish()?;
    Ok(schema)
}

fn types(place: Option<Place<'_>>) -> Result<Vec<Type>, PolicyError> {
    match place {
        None => Ok(Vec::new()),
        Some(place) if place.is_text() => Ok(vec![place.word(&Type::WORDS)?]),
        Some(place) => {
            let types = place.items(Type::WORDS.len())?;
            if types.is_empty() {
                return Err(place.wrong("there must be a type"));
            }
            types.iter().map(|one| one.word(&Type::WORDS)).collect()
        }
    }
}

fn values(fields: &mut Object<'_>) -> Result<Option<Vec<Value>>, PolicyError> {
    match (fields.take("enum"), fields.take("const")) {
        (None, None) => Ok(None),
        (Some(list), None) => list.items(LIST_MAX)?.iter().map(scalar).collect::<Result<_, _>>().map(Some),
        (None, Some(one)) => Ok(Some(vec![scalar(&one)?])),
        (Some(_), Some(one)) => Err(one.wrong_key("`enum` and `const` exclude each other")),
    }
}

fn properties(map: Option<Place<'_>>, depth: usize) -> Result<Vec<(String, Schema)>, PolicyError> {
    let Some(map) = map else { return Ok(Vec::new()) };
    let fields = map.fields()?;
    if fields.len() > LIST_MAX {
        return Err(map.wrong(format!("at most {LIST_MAX} fields can be here")));
    }
    let read = |(name, place): (String, Place<'_>)| Ok((name, at_depth(&place, depth + 1)?));
    let mut read: Vec<_> = fields.into_iter().map(read).collect::<Result<_, PolicyError>>()?;
    read.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(read)
}

fn required(list: Option<Place<'_>>) -> Result<Vec<String>, PolicyError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    list.items(LIST_MAX)?.iter().map(|name| name.text(NAME_BYTES_MAX)).collect()
}

fn others(place: Option<Place<'_>>, depth: usize) -> Result<Others, PolicyError> {
    match place {
        None => Ok(Others::Allowed),
        Some(place) if place.is_object() => Ok(Others::Of(Box::new(at_depth(&place, depth + 1)?))),
        Some(place) => Ok(if place.switch()? { Others::Allowed } else { Others::Refused }),
    }
}

fn count(fields: &mut Object<'_>, least: &'static str, most: &'static str) -> Result<Count, PolicyError> {
    let read = |place: Place<'_>| place.number(0, COUNT_MAX);
    let min = fields.take(least).map_or(Ok(0), read)?;
    let max = fields.take(most).map_or(Ok(COUNT_MAX), read)?;
    Ok(Count { min, max })
}

/// A word of JSON Schema, how it is told, and what holds.
type Kind = (&'static str, &'static str, fn(Ordering) -> bool);

fn bounds(fields: &mut Object<'_>) -> Result<Vec<Bound>, PolicyError> {
    let kinds: [Kind; 4] = [
        ("minimum", "at least", Ordering::is_ge),
        ("maximum", "at most", Ordering::is_le),
        ("exclusiveMinimum", "more than", Ordering::is_gt),
        ("exclusiveMaximum", "less than", Ordering::is_lt),
    ];
    let mut bounds = Vec::new();
    for (field, word, holds) in kinds {
        let Some(place) = fields.take(field) else { continue };
        let Value::Number(number) = place.value()? else { return Err(place.wrong("this must be a number")) };
        bounds.push(Bound { word, number, holds });
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::schema;
    use crate::file::place::{Origin, Place};
    use crate::schema::Schema;

    fn read(text: &Value) -> Result<Schema, String> {
        let text = text.to_string();
        schema(&Place::whole(&text, Origin::Gateway).unwrap()).map_err(|error| error.what)
    }

    #[track_caller]
    fn told(text: &Value, arguments: &Value) -> String {
        let judged = read(text).unwrap().judge(arguments);
        judged.map_or_else(|breach| format!("{}: {}", breach.pointer, breach.wanted), |()| "fits".to_owned())
    }

    #[test]
    fn arguments_fit_or_are_told_where_they_do_not() {
        let text = json!({
            "$schema": super::DIALECT, "description": "a call", "type": "object",
            "required": ["language"], "additionalProperties": false,
            "properties": {
                "language": {"enum": ["python", "r"]},
                "n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
                "tags": {"type": "array", "maxItems": 2, "items": {"type": "string", "pattern": "^[a-z]+$"}},
                "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 3},
                "env": {"additionalProperties": {"type": "string"}},
                "v": {"const": 1},
            }
        });
        let with = |name: &str, value: Value| {
            let mut arguments = json!({"language": "r"});
            arguments[name] = value;
            told(&text, &arguments)
        };
        for (name, value) in [
            ("n", json!(1)),
            ("n", json!(9.0)),
            ("tags", json!(["a", "b"])),
            ("name", json!(null)),
            ("name", json!("äöü")),
            ("env", json!({"A": "b"})),
            ("v", json!(1.0)),
        ] {
            assert_eq!(with(name, value.clone()), "fits", "{name} {value}");
        }
        for (name, value, wanted) in [
            ("language", json!("ruby"), "/language: must be one of \"python\", \"r\""),
            ("n", json!(0), "/n: must be at least 1"),
            ("n", json!(10), "/n: must be less than 10"),
            ("n", json!(1.5), "/n: must be of type integer"),
            ("n", json!("1"), "/n: must be of type integer"),
            ("tags", json!(["a", "B"]), "/tags/1: must match `^[a-z]+$`"),
            ("tags", json!(["a", "b", "c"]), "/tags: must have 0 to 2 items"),
            ("name", json!("abcd"), "/name: must have 1 to 3 characters"),
            ("env", json!({"A": 1}), "/env/A: must be of type string"),
            ("v", json!("1"), "/v: must be one of 1"),
        ] {
            assert_eq!(with(name, value.clone()), wanted, "{name} {value}");
        }
        assert_eq!(told(&text, &json!({})), ": must have `language`");
        assert_eq!(told(&text, &json!([])), ": must be of type object");
        assert!(with("x/y", json!(1)).starts_with("/x~1y: must not be there; there may be: env, language"));
    }

    #[test]
    fn a_word_that_is_not_judged_is_refused_and_nothing_is_fetched() {
        let error = |text: Value| read(&text).err().unwrap_or_default();
        for word in ["$ref", "anyOf", "format", "uniqueItems"] {
            let told = error(json!({word: "https://example.org/s.json"}));
            assert!(told.contains(word) && told.contains("is not judged"), "{told}");
        }
        assert!(error(json!({"minimun": 1})).starts_with("unknown field `minimun`"));
        assert!(error(json!({"type": "text"})).starts_with("this must be one of: null"));
        assert!(
            error(json!({"$schema": "http://json-schema.org/draft-07/schema#"}))
                .starts_with("this must be one of")
        );
        assert!(error(json!({"pattern": "(?=a)"})).starts_with("this is not a regular expression"));
        let deep = (0..40).fold(json!({}), |inner, _| json!({"items": inner}));
        assert!(error(deep).contains("levels deep"));
    }
}
