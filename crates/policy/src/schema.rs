//! The schema of a call's arguments: the part of JSON Schema (2020-12) that is judged in one walk over them.
//!
//! Sole judge of the form of arguments. Each value is looked at by one schema at the most, so that the work is linear in
//! the arguments; there is nothing in it that follows a reference, tries alternatives or asks anybody.

use core::cmp::Ordering;

use regex::Regex;
use serde_json::{Number, Value};

use crate::condition::{TEXT_SEARCHED_MAX, compare, same};

/// The types of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Type {
    pub(crate) const WORDS: [(&str, Self); 7] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("object", Self::Object),
        ("array", Self::Array),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("string", Self::String),
    ];

    fn is_of(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Object, Value::Object(_))
            | (Self::Array, Value::Array(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_)) => true,
            // 1.0 is an integer (JSON Schema 2020-12 validation, 6.1.1).
            (Self::Integer, Value::Number(number)) => {
                number.as_i128().is_some() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
            }
            _ => false,
        }
    }

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }
}

/// What becomes of a field that `properties` does not name.
#[derive(Debug, Clone)]
pub(crate) enum Others {
    Allowed,
    Refused,
    Of(Box<Schema>),
}

/// A bound of a number.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// As the file has it.
    pub(crate) word: &'static str,
    pub(crate) number: Number,
    pub(crate) holds: fn(Ordering) -> bool,
}

/// From so many to so many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Count {
    fn holds(self, count: usize) -> bool {
        u64::try_from(count).is_ok_and(|count| (self.min..=self.max).contains(&count))
    }
}

/// A schema, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    /// Empty: any type.
    pub(crate) types: Vec<Type>,
    /// `enum`, or the one of `const`.
    pub(crate) values: Option<Vec<Value>>,
    /// Sorted by name.
    pub(crate) properties: Vec<(String, Schema)>,
    pub(crate) required: Vec<String>,
    pub(crate) others: Others,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) item_count: Count,
    /// In characters.
    pub(crate) length: Count,
    pub(crate) pattern: Option<Regex>,
    pub(crate) bounds: Vec<Bound>,
}

/// What is wrong with arguments: where, as a JSON pointer, and what would be right. No value of theirs is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) pointer: String,
    pub(crate) wanted: String,
}

/// How much of a caller's field name is repeated, in characters.
const NAME_SHOWN: usize = 64;

fn breach(wanted: impl Into<String>) -> Breach {
    Breach { pointer: String::new(), wanted: wanted.into() }
}

impl Breach {
    fn within(self, segment: &str) -> Self {
        let segment: String = segment.chars().filter(|c| !c.is_control()).take(NAME_SHOWN).collect();
        let segment = segment.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("/{segment}{}", self.pointer), ..self }
    }
}

impl Schema {
    /// Of how many schemas it consists, itself among them.
    pub(crate) fn size(&self) -> usize {
        let inner = self.properties.iter().map(|(_, schema)| schema).chain(self.items.as_deref());
        let others = if let Others::Of(schema) = &self.others { schema.size() } else { 0 };
        1 + inner.map(Self::size).sum::<usize>() + others
    }

    /// Judges a value.
    pub(crate) fn judge(&self, value: &Value) -> Result<(), Breach> {
        if !self.types.is_empty() && !self.types.iter().any(|one| one.is_of(value)) {
            let words: Vec<_> = self.types.iter().map(|one| one.word()).collect();
            return Err(breach(format!("must be of type {}", words.join(" or "))));
        }
        if let Some(values) = &self.values
            && !values.iter().any(|one| same(one, value))
        {
            let words: Vec<_> = values.iter().map(ToString::to_string).collect();
            return Err(breach(format!("must be one of {}", words.join(", "))));
        }
        match value {
            Value::Object(fields) => {
                if let Some(missing) = self.required.iter().find(|name| !fields.contains_key(*name)) {
                    return Err(breach(format!("must have `{missing}`")));
                }
                fields.iter().try_for_each(|(name, value)| self.field(name, value))
            }
            Value::Array(items) => self.array(items),
            Value::String(text) => self.text(text),
            Value::Number(number) => self.number(number),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn field(&self, name: &str, value: &Value) -> Result<(), Breach> {
        let known = self.properties.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok();
        let schema = match (known.map(|at| &self.properties[at].1), &self.others) {
            (Some(schema), _) => schema,
            (None, Others::Of(schema)) => schema.as_ref(),
            (None, Others::Allowed) => return Ok(()),
            (None, Others::Refused) => {
                let names: Vec<_> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
                let wanted = format!("must not be there; there may be: {}", names.join(", "));
                return Err(breach(wanted).within(name));
            }
        };
        schema.judge(value).map_err(|breach| breach.within(name))
    }

    fn array(&self, items: &[Value]) -> Result<(), Breach> {
        if !self.item_count.holds(items.len()) {
            let Count { min, max } = self.item_count;
            return Err(breach(format!("must have {min} to {max} items")));
        }
        let Some(schema) = &self.items else { return Ok(()) };
        items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| schema.judge(item).map_err(|breach| breach.within(&at.to_string())))
    }

    fn text(&self, text: &str) -> Result<(), Breach> {
        if !self.length.holds(text.chars().count()) {
            let Count { min, max } = self.length;
            return Err(breach(format!("must have {min} to {max} characters")));
        }
        match &self.pattern {
            Some(_) if text.len() > TEXT_SEARCHED_MAX => {
                Err(breach(format!("must be at most {TEXT_SEARCHED_MAX} bytes long")))
            }
            Some(pattern) if !pattern.is_match(text) => Err(breach(format!("must match `{pattern}`"))),
            Some(_) | None => Ok(()),
        }
    }

    fn number(&self, number: &Number) -> Result<(), Breach> {
        // What cannot be compared exactly does not hold.
        let broken = |bound: &&Bound| !compare(number, &bound.number).is_some_and(bound.holds);
        match self.bounds.iter().find(broken) {
            None => Ok(()),
            Some(bound) => Err(breach(format!("must be {} {}", bound.word, bound.number))),
        }
    }
}
