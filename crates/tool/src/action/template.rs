//! Texts with places for members of a payload: `{city}`. What stands in braces is the name of a member and nothing else.

use serde_json::Value;

use super::schema::Schema;
use crate::BadCall;

/// The longest member that goes into a URL, in bytes.
const MEMBER_BYTES_MAX: usize = 1024;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Member(String),
}

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

/// The name in a text that is nothing but one place.
pub(super) fn only_member(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    starts && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

impl Template {
    /// The template of a text, or the rule that it breaks.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const RULE: &str = "may hold braces around the name of a member alone, as `{city}`";
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(open) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(open);
            let close = from.find('}').filter(|_| from.starts_with('{')).ok_or(RULE)?;
            let name = only_member(&from[..=close]).ok_or(RULE)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Member(name.to_owned()));
            rest = &from[close + 1..];
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Whether it is one place alone, which is left out with its member.
    pub(super) fn is_one_member(&self) -> bool {
        matches!(self.0.as_slice(), [Piece::Member(_)])
    }

    /// Checks that the schema gives every place a text, a number or a truth value, and always, where it must be there.
    pub(super) fn fits(&self, schema: &Schema, may_be_missing: bool) -> Result<(), String> {
        for piece in &self.0 {
            let Piece::Member(name) = piece else { continue };
            if !schema.is_scalar(name) {
                return Err(format!(
                    "has the place {{{name}}}, which the schema must give the type string, integer, number or boolean"
                ));
            }
            if !may_be_missing && !schema.is_required(name) {
                return Err(format!("has the place {{{name}}}, which the schema must require"));
            }
        }
        Ok(())
    }

    /// The text with its places filled by what `fill` makes of a member; `None` where a member is missing.
    pub(super) fn fill(
        &self,
        payload: &Value,
        fill: impl Fn(&str, String) -> Result<String, BadCall>,
    ) -> Result<Option<String>, BadCall> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Member(name) => {
                    let Some(member) = scalar(name, payload)? else { return Ok(None) };
                    filled.push_str(&fill(name, member)?);
                }
            }
        }
        Ok(Some(filled))
    }

    /// The same with other fixed parts.
    pub(super) fn map_text(self, map: impl Fn(&str) -> String) -> Self {
        let piece = |piece| match piece {
            Piece::Text(text) => Piece::Text(map(&text)),
            member @ Piece::Member(_) => member,
        };
        Self(self.0.into_iter().map(piece).collect())
    }

    /// The text with `x` in its places, to see what it would be.
    pub(super) fn sample(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Member(_) => "x".to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// A complaint about a member.
pub(super) fn bad_member(name: &str, rule: &str) -> BadCall {
    BadCall::at(&format!("/{name}"), format!("`{name}` {rule}"))
}

/// A member as text; none where it is missing or null.
fn scalar(name: &str, payload: &Value) -> Result<Option<String>, BadCall> {
    let text = match payload.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Array(_) | Value::Object(_)) => {
            return Err(bad_member(name, "must be a text, a number, true or false"));
        }
    };
    if text.len() > MEMBER_BYTES_MAX {
        return Err(bad_member(name, &format!("may have {MEMBER_BYTES_MAX} bytes")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Template;

    #[test]
    fn places_are_names_in_braces_and_nothing_else_is() {
        for text in ["{", "}", "{}", "{a", "a}", "{a b}", "{{a}}", "{a.b}", "{1}", "{a}}", "}{a}{"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        for text in ["", "a", "{a}", "x{a}y{_b2}", "{a}{b}"] {
            assert!(Template::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn places_are_filled_once_and_never_read_again() {
        let template = Template::parse("<{a}|{b}>").unwrap();
        let fill = |payload| template.fill(&payload, |_, member| Ok(member));
        assert_eq!(fill(json!({"a": "{b}", "b": 7})).unwrap().as_deref(), Some("<{b}|7>"));
        assert_eq!(fill(json!({"a": true, "b": null})).unwrap(), None);
        assert!(fill(json!({"a": [], "b": 1})).is_err());
        assert!(fill(json!({"a": "x".repeat(2000), "b": 1})).is_err());
    }
}
