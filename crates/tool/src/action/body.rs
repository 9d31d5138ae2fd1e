//! Values of a request: bodies with places for members of the payload, and secrets wherever they may stand.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::bad::BadAction;
use super::schema::Schema;
use super::secret::{Secret, Secrets};
use super::template::only_member;

/// How deeply a body may be nested, so that what reads it need not recurse further.
const NESTING_MAX: usize = 32;

/// Whether secrets are to be seen: only by the one host that they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Real,
    Reference,
}

/// A secret with what stands before it: `{ secret = "NAME", prefix = "Bearer " }`.
#[derive(Debug, Clone)]
pub(super) struct SecretText {
    prefix: String,
    pub(super) secret: Secret,
}

impl SecretText {
    /// The secret that a value refers to, if it does.
    pub(super) fn read(
        field: &'static str,
        value: &Value,
        secrets: &Secrets,
    ) -> Result<Option<Self>, BadAction> {
        let Value::Object(members) = value else { return Ok(None) };
        let Some(name) = members.get("secret") else { return Ok(None) };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let prefix = members.get("prefix").map_or(Some(String::new()), text);
        let is_known = members.keys().all(|member| ["secret", "prefix"].contains(&member.as_str()));
        let (Some(name), Some(prefix), true) = (text(name), prefix, is_known) else {
            let rule = "refers to a secret by `{ secret = \"NAME\" }`, and `prefix` beside it";
            return Err(BadAction::field(field, rule));
        };
        let secret = secrets.find(&name).cloned().ok_or(BadAction::NoSecret)?;
        Ok(Some(Self { prefix, secret }))
    }

    pub(super) fn text(&self, shown: Shown) -> Zeroizing<String> {
        let prefix = &self.prefix;
        Zeroizing::new(match shown {
            Shown::Real => format!("{prefix}{}", self.secret.reveal()),
            Shown::Reference => format!("{prefix}{}", self.secret.reference()),
        })
    }
}

/// A JSON value with places.
#[derive(Debug)]
enum Node {
    Member(String),
    Secret(SecretText),
    Literal(Value),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// The body of a request.
#[derive(Debug)]
pub(super) enum Body {
    /// None.
    Empty,
    /// The payload as it is.
    Payload,
    /// A value with places.
    Tree(BodyTree),
}

/// A value with places.
#[derive(Debug)]
pub(super) struct BodyTree(Node);

impl Body {
    /// Reads the body of a declaration: `"payload"`, or an object or list with places.
    pub(super) fn new(body: Option<&Value>, schema: &Schema, secrets: &Secrets) -> Result<Self, BadAction> {
        match body {
            None => Ok(Self::Empty),
            Some(Value::String(word)) if word == "payload" => Ok(Self::Payload),
            Some(tree @ (Value::Object(_) | Value::Array(_))) => {
                Node::read(tree, schema, secrets, NESTING_MAX).map(|node| Self::Tree(BodyTree(node)))
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Err(BadAction::field("body", "is \"payload\", or a table or list with places"))
            }
        }
    }

    /// The value for a payload; none where there is no body.
    pub(super) fn fill(&self, payload: &Value, shown: Shown) -> Option<Value> {
        match self {
            Self::Empty => None,
            Self::Payload => Some(payload.clone()),
            Self::Tree(BodyTree(node)) => node.fill(payload, shown),
        }
    }

    /// Every secret in it.
    pub(super) fn secrets(&self) -> Vec<&SecretText> {
        let mut found = Vec::new();
        if let Self::Tree(BodyTree(node)) = self {
            node.gather(&mut found);
        }
        found
    }
}

impl Node {
    fn read(value: &Value, schema: &Schema, secrets: &Secrets, levels: usize) -> Result<Self, BadAction> {
        let bad = |rule: String| BadAction::field("body", rule);
        let inner = levels.checked_sub(1);
        let inner = inner.ok_or_else(|| bad(format!("may be nested {NESTING_MAX} levels deep")))?;
        if let Some(secret) = SecretText::read("body", value, secrets)? {
            return Ok(Self::Secret(secret));
        }
        match value {
            Value::String(text) => match only_member(text) {
                Some(name) if schema.has(name) => Ok(Self::Member(name.to_owned())),
                Some(name) => Err(bad(format!("has the place {{{name}}}, which the schema does not name"))),
                None if text.contains(['{', '}']) => {
                    let rule = "has braces in a longer text: a place is a whole value, as \"{city}\"";
                    Err(bad(rule.to_owned()))
                }
                None => Ok(Self::Literal(value.clone())),
            },
            Value::Array(items) => {
                let items = items.iter().map(|item| Self::read(item, schema, secrets, inner));
                items.collect::<Result<_, _>>().map(Self::List)
            }
            Value::Object(members) => {
                let read = |(name, member): (&String, &Value)| {
                    Ok((name.clone(), Self::read(member, schema, secrets, inner)?))
                };
                members.iter().map(read).collect::<Result<_, _>>().map(Self::Object)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Self::Literal(value.clone())),
        }
    }

    /// The value, or none where it is a member that the payload does not have.
    fn fill(&self, payload: &Value, shown: Shown) -> Option<Value> {
        match self {
            Self::Member(name) => payload.get(name).cloned(),
            Self::Secret(secret) => Some(Value::String(secret.text(shown).as_str().to_owned())),
            Self::Literal(value) => Some(value.clone()),
            Self::List(items) => Some(items.iter().filter_map(|item| item.fill(payload, shown)).collect()),
            Self::Object(members) => {
                let fill = |(name, node): &(String, Self)| Some((name.clone(), node.fill(payload, shown)?));
                Some(Value::Object(members.iter().filter_map(fill).collect::<Map<_, _>>()))
            }
        }
    }

    fn gather<'a>(&'a self, found: &mut Vec<&'a SecretText>) {
        match self {
            Self::Secret(secret) => found.push(secret),
            Self::List(items) => items.iter().for_each(|item| item.gather(found)),
            Self::Object(members) => members.iter().for_each(|(_, node)| node.gather(found)),
            Self::Member(_) | Self::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::{Body, Schema, Secret, Secrets, Shown};

    fn body(body: &Value) -> Result<Body, String> {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"to": {"type": "string"}, "items": {"type": "array"}, "note": {"type": "string"}}
        });
        let schema = Schema::new(Some(schema)).map_err(|bad| bad.to_string())?;
        let secret = Secret::new("K", Zeroizing::new("the secret itself".to_owned())).unwrap();
        Body::new(Some(body), &schema, &Secrets::from_iter([secret])).map_err(|bad| bad.to_string())
    }

    #[test]
    fn members_are_values_and_never_text_of_a_body() {
        let tree = json!({
            "mail": {"to": "{to}", "items": "{items}", "note": "{note}"},
            "auth": {"secret": "K", "prefix": "Token "},
            "list": ["{note}", 1, null]
        });
        let body = body(&tree).unwrap();
        let payload = json!({"to": "\",\"admin\":true,\"{note}", "items": [1, {"a": null}]});
        let expected = |secret: &str| {
            json!({
                "mail": {"to": payload["to"], "items": payload["items"]},
                "auth": format!("Token {secret}"),
                "list": [1, null]
            })
        };
        assert_eq!(body.fill(&payload, Shown::Real), Some(expected("the secret itself")));
        assert_eq!(body.fill(&payload, Shown::Reference), Some(expected("[secret K]")));
        assert_eq!(body.secrets().len(), 1);
        assert!(!format!("{body:?}").contains("itself"));
    }

    #[test]
    fn bodies_that_cannot_be_meant_are_refused() {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        for (wrong, why) in [
            (json!("pay"), "\"payload\""),
            (json!({"a": "x{to}"}), "whole value"),
            (json!({"a": "{other}"}), "does not name"),
            (json!({"a": {"secret": "L"}}), "names a secret"),
            (json!({"a": {"secret": "K", "suffix": "x"}}), "refers to a secret"),
            (json!({"a": {"secret": 7}}), "refers to a secret"),
            (deep, "levels deep"),
        ] {
            let told = body(&wrong).err().unwrap();
            assert!(told.contains(why), "{told}");
        }
    }
}
