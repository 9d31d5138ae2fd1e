//! One operation: how it is written, and what it does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::tool::TEXT_BYTES_MAX;
use super::words::{Case, capital, join};
use crate::arguments::shown;

/// Every operation.
pub(super) const NAMES: [&str; 33] = [
    "uppercase",
    "upper",
    "lowercase",
    "lower",
    "capitalize",
    "title_case",
    "snake_case",
    "kebab_case",
    "camel_case",
    "pascal_case",
    "trim",
    "trim_start",
    "trim_end",
    "collapse_whitespace",
    "remove_whitespace",
    "reverse",
    "sort_lines",
    "unique_lines",
    "base64_encode",
    "base64_decode",
    "hex_encode",
    "url_encode",
    "url_decode",
    "html_escape",
    "json_escape",
    "replace",
    "prefix",
    "suffix",
    "repeat",
    "truncate",
    "substring",
    "pad_start",
    "pad_end",
];

/// One operation of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    /// One that needs no argument.
    Plain(&'static str),
    Replace {
        find: &'a str,
        with: &'a str,
    },
    Prefix(&'a str),
    Suffix(&'a str),
    Repeat(usize),
    Substring {
        start: usize,
        end: usize,
    },
    PadStart {
        length: usize,
        with: &'a str,
    },
    PadEnd {
        length: usize,
        with: &'a str,
    },
}

/// The members of one operation, where it is an object.
struct Members<'a>(Option<&'a Map<String, Value>>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0?.get(name)
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` must be text"))
    }

    fn maybe_text(&self, name: &str, default: &'a str) -> Result<&'a str, String> {
        if self.get(name).is_some() { self.text(name) } else { Ok(default) }
    }

    fn count(&self, name: &str) -> Result<usize, String> {
        let count = self.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| format!("`{name}` must be a whole number from 0"))
    }

    fn maybe_count(&self, name: &str, default: usize) -> Result<usize, String> {
        if self.get(name).is_some() { self.count(name) } else { Ok(default) }
    }

    fn has_only(&self, names: &[&str]) -> Result<(), String> {
        let mut keys = self.0.iter().flat_map(|members| members.keys());
        match keys.find(|key| *key != "op" && !names.contains(&key.as_str())) {
            None => Ok(()),
            Some(other) => Err(format!("`{}` is no argument of this operation", shown(other))),
        }
    }
}

impl<'a> Operation<'a> {
    /// The operation that an item of the list is, or the rule that it breaks.
    pub(super) fn read(item: &'a Value) -> Result<Self, String> {
        let (name, members) = match item {
            Value::String(name) => (name.as_str(), Members(None)),
            Value::Object(members) => {
                let name = members.get("op").and_then(Value::as_str);
                (name.ok_or("an operation needs `op`, its name")?, Members(Some(members)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err("an operation is a name, or an object with `op`".to_owned());
            }
        };
        let found = NAMES.iter().find(|one| **one == name);
        let name = found.ok_or_else(|| {
            format!("there is no operation `{}`; there are {}", shown(name), NAMES.join(", "))
        })?;
        Self::with(name, &members)
    }

    fn with(name: &'static str, members: &Members<'a>) -> Result<Self, String> {
        let (operation, names): (_, &[&str]) = match name {
            "replace" => {
                let find = members.text("find")?;
                if find.is_empty() {
                    return Err("`find` must not be empty".to_owned());
                }
                (Self::Replace { find, with: members.text("with")? }, &["find", "with"])
            }
            "prefix" => (Self::Prefix(members.text("text")?), &["text"]),
            "suffix" => (Self::Suffix(members.text("text")?), &["text"]),
            "repeat" => (Self::Repeat(members.count("times")?), &["times"]),
            "truncate" => (Self::Substring { start: 0, end: members.count("length")? }, &["length"]),
            "substring" => {
                let (start, end) = (members.count("start")?, members.maybe_count("end", usize::MAX)?);
                (Self::Substring { start, end }, &["start", "end"])
            }
            "pad_start" | "pad_end" => {
                let (length, with) = (members.count("length")?, members.maybe_text("with", " ")?);
                if with.is_empty() {
                    return Err("`with` must not be empty".to_owned());
                }
                let pad = match name {
                    "pad_start" => Self::PadStart { length, with },
                    _ => Self::PadEnd { length, with },
                };
                (pad, &["length", "with"])
            }
            _ => (Self::Plain(name), &[]),
        };
        members.has_only(names).map(|()| operation)
    }

    /// The text after it, or why there is none.
    pub(super) fn apply(&self, text: &str) -> Result<String, String> {
        let changed = match *self {
            Self::Plain(name) => plain(name, text)?,
            Self::Replace { find, with } => {
                let grows = with.len().saturating_sub(find.len());
                let places = if grows == 0 { 0 } else { text.matches(find).count() };
                bounded(text.len().saturating_add(places.saturating_mul(grows)))?;
                text.replace(find, with)
            }
            Self::Prefix(other) => [other, text].concat(),
            Self::Suffix(other) => [text, other].concat(),
            Self::Repeat(times) => {
                bounded(text.len().saturating_mul(times))?;
                text.repeat(times)
            }
            Self::Substring { start, end } => text.chars().take(end).skip(start).collect(),
            Self::PadStart { length, with } => padding(text, length, with)? + text,
            Self::PadEnd { length, with } => text.to_owned() + &padding(text, length, with)?,
        };
        bounded(changed.len()).map(|()| changed)
    }
}

fn bounded(bytes: usize) -> Result<(), String> {
    if bytes > TEXT_BYTES_MAX {
        return Err(format!("the text would have more than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn padding(text: &str, length: usize, with: &str) -> Result<String, String> {
    bounded(length)?;
    let missing = length.saturating_sub(text.chars().count());
    Ok(with.chars().cycle().take(missing).collect())
}

fn plain(name: &str, text: &str) -> Result<String, String> {
    Ok(match name {
        "uppercase" | "upper" => text.to_uppercase(),
        "lowercase" | "lower" => text.to_lowercase(),
        "capitalize" => capital(&text.to_lowercase()),
        "title_case" => text.to_lowercase().split_inclusive(char::is_whitespace).map(capital).collect(),
        "snake_case" => join(text, Case::Snake),
        "kebab_case" => join(text, Case::Kebab),
        "camel_case" => join(text, Case::Camel),
        "pascal_case" => join(text, Case::Pascal),
        "trim" => text.trim().to_owned(),
        "trim_start" => text.trim_start().to_owned(),
        "trim_end" => text.trim_end().to_owned(),
        "collapse_whitespace" => text.split_whitespace().collect::<Vec<_>>().join(" "),
        "remove_whitespace" => text.split_whitespace().collect(),
        "reverse" => text.chars().rev().collect(),
        "sort_lines" => {
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        }
        "unique_lines" => {
            let mut seen = std::collections::HashSet::new();
            text.lines().filter(|line| seen.insert(*line)).collect::<Vec<_>>().join("\n")
        }
        "base64_encode" => STANDARD.encode(text),
        "base64_decode" => {
            let bytes = STANDARD.decode(text.trim()).map_err(|_| "the text is not padded base64")?;
            String::from_utf8(bytes).map_err(|_| "the bytes are no UTF-8 text")?
        }
        "hex_encode" => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        "url_encode" => text.bytes().map(url_byte).collect(),
        "url_decode" => url_decode(text)?,
        "html_escape" => text.chars().map(html_letter).collect(),
        _ => {
            let quoted = Value::from(text).to_string();
            quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
        }
    })
}

fn url_byte(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        return char::from(byte).to_string();
    }
    format!("%{byte:02X}")
}

fn url_decode(text: &str) -> Result<String, String> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let pair = digit(bytes.next()).zip(digit(bytes.next()));
                let byte = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                byte.ok_or("a `%` is not followed by two hex digits")?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| "the decoded bytes are no UTF-8 text".to_owned())
}

fn html_letter(letter: char) -> String {
    match letter {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        other => other.to_string(),
    }
}
