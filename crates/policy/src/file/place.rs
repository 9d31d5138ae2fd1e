//! A value of the file and where it stands, so that whatever is wrong can be told with its line.
//!
//! Nothing is taken that nobody reads: an [`Object`] whose fields are not all taken is an error.

use core::fmt;

use serde::de::{DeserializeOwned, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use super::PolicyError;

/// How much of a wrong word an error repeats, in characters.
const SHOWN_CHARS: usize = 64;

/// Whose rules a file holds. Their names say it, so that no rule of the one is taken for one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The gateway's: they hold for every call.
    Gateway,
    /// A grant's own: they hold for its holder, beside the gateway's.
    Grant,
}

impl Origin {
    /// What the names of its rules begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Gateway => "",
            Self::Grant => "grant:",
        }
    }

    /// The rule for what a file does not list.
    pub(crate) const fn default_rule(self) -> &'static str {
        match self {
            Self::Gateway => "/default",
            Self::Grant => "grant:/default",
        }
    }
}

/// One value of the file.
#[derive(Debug, Clone)]
pub(crate) struct Place<'t> {
    text: &'t str,
    raw: &'t str,
    pointer: String,
    origin: Origin,
}

impl<'t> Place<'t> {
    /// The whole file.
    pub(crate) fn whole(text: &'t str, origin: Origin) -> Result<Self, PolicyError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| PolicyError {
            what: "the file is not JSON".to_owned(),
            line: error.line(),
            column: error.column(),
            pointer: String::new(),
        })?;
        Ok(Self { text, raw: raw.get(), pointer: String::new(), origin })
    }

    /// The stable name of the rule that this is: whose it is, and a JSON pointer to it.
    pub(crate) fn rule(&self) -> String {
        format!("{}{}", self.origin.prefix(), self.pointer)
    }

    /// What is wrong with this value.
    pub(crate) fn wrong(&self, what: impl Into<String>) -> PolicyError {
        self.wrong_at(self.offset(), what.into(), self.pointer.clone())
    }

    fn wrong_at(&self, offset: usize, what: String, pointer: String) -> PolicyError {
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        PolicyError {
            what,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            pointer,
        }
    }

    fn offset(&self) -> usize {
        self.raw.as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
    }

    /// Where the key of this value starts.
    fn key_offset(&self) -> usize {
        let before = self.text.get(..self.offset()).unwrap_or_default().trim_end();
        let before = before.strip_suffix(':').unwrap_or(before).trim_end();
        let Some(inside) = before.strip_suffix('"') else { return self.offset() };
        let opens = |at: &usize| {
            let escapes = inside.get(..*at).unwrap_or_default().bytes().rev().take_while(|b| *b == b'\\');
            escapes.count().is_multiple_of(2)
        };
        inside.rmatch_indices('"').map(|(at, _)| at).find(opens).unwrap_or(self.offset())
    }

    fn inner(&self, raw: &'t RawValue, segment: &str) -> Self {
        let segment = segment.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{}/{segment}", self.pointer);
        Self { text: self.text, raw: raw.get(), pointer, origin: self.origin }
    }

    /// The value, in full.
    pub(crate) fn value(&self) -> Result<Value, PolicyError> {
        self.read("this cannot be read")
    }

    fn read<T: DeserializeOwned>(&self, wanted: &str) -> Result<T, PolicyError> {
        serde_json::from_str(self.raw).map_err(|_| self.wrong(wanted))
    }

    /// A text of so many bytes at the most.
    pub(crate) fn text(&self, max_bytes: usize) -> Result<String, PolicyError> {
        let text: String = self.read("this must be a text")?;
        if text.len() > max_bytes {
            return Err(self.wrong(format!("this text is longer than {max_bytes} bytes")));
        }
        Ok(text)
    }

    /// True or false.
    pub(crate) fn switch(&self) -> Result<bool, PolicyError> {
        self.read("this must be true or false")
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, min: u64, max: u64) -> Result<u64, PolicyError> {
        let wanted = format!("this must be a whole number from {min} to {max}");
        let number: u64 = self.read(&wanted)?;
        if (min..=max).contains(&number) { Ok(number) } else { Err(self.wrong(wanted)) }
    }

    /// One of these words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, PolicyError> {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let wanted = format!("this must be one of: {}", all.join(", "));
        let text: String = self.read(&wanted)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| self.wrong(wanted))
    }

    /// Whether this is an object.
    pub(crate) fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    /// Whether this is a text.
    pub(crate) fn is_text(&self) -> bool {
        self.raw.starts_with('"')
    }

    /// The elements of an array, so many at the most.
    pub(crate) fn items(&self, max: usize) -> Result<Vec<Self>, PolicyError> {
        let mut reader = Deserializer::from_str(self.raw);
        let raws = reader.deserialize_seq(Elements).map_err(|_| self.wrong("this must be an array"))?;
        if raws.len() > max {
            return Err(self.wrong(format!("there are {} of these; at most {max} can be", raws.len())));
        }
        Ok(raws.into_iter().enumerate().map(|(index, raw)| self.inner(raw, &index.to_string())).collect())
    }

    /// The fields of an object, in the order of the file.
    pub(crate) fn fields(&self) -> Result<Vec<(String, Self)>, PolicyError> {
        let mut reader = Deserializer::from_str(self.raw);
        let raws = reader.deserialize_map(Members).map_err(|_| self.wrong("this must be an object"))?;
        let fields: Vec<_> = raws.into_iter().map(|(key, raw)| (self.inner(raw, &key), key)).collect();
        let mut keys: Vec<_> = fields.iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()) {
            let last = fields.iter().rev().find(|(_, key)| *key == twice).map(|(place, _)| place);
            return Err(last.unwrap_or(self).wrong_key(format!("the key `{}` is here twice", cut(&twice))));
        }
        Ok(fields.into_iter().map(|(place, key)| (key, place)).collect())
    }

    /// What is wrong with the key of this value.
    pub(crate) fn wrong_key(&self, what: impl Into<String>) -> PolicyError {
        self.wrong_at(self.key_offset(), what.into(), self.pointer.clone())
    }

    /// The fields of an object that has fixed ones.
    pub(crate) fn object(&self) -> Result<Object<'t>, PolicyError> {
        Ok(Object { fields: self.fields()?, place: self.clone(), known: Vec::new() })
    }
}

/// A word of the file, as an error repeats it.
pub(crate) fn cut(word: &str) -> String {
    word.chars().take(SHOWN_CHARS).collect()
}

/// An object whose fields are taken by name.
#[derive(Debug)]
pub(crate) struct Object<'t> {
    place: Place<'t>,
    fields: Vec<(String, Place<'t>)>,
    known: Vec<&'static str>,
}

impl<'t> Object<'t> {
    /// Takes a field that may be there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Place<'t>> {
        self.known.push(name);
        let at = self.fields.iter().position(|(key, _)| key == name)?;
        Some(self.fields.remove(at).1)
    }

    /// Takes a field that must be there.
    pub(crate) fn need(&mut self, name: &'static str) -> Result<Place<'t>, PolicyError> {
        self.take(name).ok_or_else(|| self.place.wrong(format!("the field `{name}` is missing")))
    }

    /// Refuses a field that this version knows of and cannot honour.
    pub(crate) fn refuse(&mut self, name: &'static str, why: &str) -> Result<(), PolicyError> {
        let at = self.fields.iter().position(|(key, _)| key == name);
        at.map_or(Ok(()), |at| Err(self.fields[at].1.wrong_key(format!("the field `{name}` {why}"))))
    }

    /// Ends the reading: every field has been taken.
    pub(crate) fn finish(self) -> Result<(), PolicyError> {
        let Some((key, place)) = self.fields.into_iter().next() else { return Ok(()) };
        let known = self.known.join(", ");
        Err(place.wrong_key(format!("unknown field `{}`, expected one of: {known}", cut(&key))))
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(element) = elements.next_element()? {
            read.push(element);
        }
        Ok(read)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(member) = members.next_entry()? {
            read.push(member);
        }
        Ok(read)
    }
}
