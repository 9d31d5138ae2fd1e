//! The URL of an action: its scheme, host and port are the operator's words; a payload fills segments of its path and
//! values of its query, each of which stays one segment and one value.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::bad::BadAction;
use super::body::{SecretText, Shown};
use super::schema::Schema;
use super::secret::Secrets;
use super::template::{Template, bad_member};
use crate::BadCall;
use crate::outbound::Target;

/// All but what never means anything in a URL (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The most members of a query.
const QUERY_MAX: usize = 32;

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// What stands in a query.
#[derive(Debug)]
enum QueryValue {
    Template(Template),
    Secret(SecretText),
}

/// A URL with places.
#[derive(Debug)]
pub(super) struct UrlTemplate {
    /// Scheme, host and port, and the slash behind them.
    origin: String,
    segments: Vec<Template>,
    query: Vec<(String, QueryValue)>,
}

impl UrlTemplate {
    /// Reads the URL and the query of a declaration.
    pub(super) fn new(
        url: &str,
        query: &Map<String, Value>,
        schema: &Schema,
        secrets: &Secrets,
    ) -> Result<Self, BadAction> {
        let bad = |rule: String| BadAction::field("url", rule);
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| bad("must begin with https:// or http://".to_owned()))?;
        let slash = rest.find('/').ok_or_else(|| bad("must have a path, and be it `/`".to_owned()))?;
        let (origin, path) = url.split_at(url.len() - rest.len() + slash + 1);
        if origin.contains(['{', '}']) {
            return Err(bad("has its places in the path and the query alone".to_owned()));
        }
        if path.contains(['?', '#']) {
            return Err(bad("must have neither query nor fragment: `query` is for the first".to_owned()));
        }
        let segments = path.split('/').map(Template::parse).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        for segment in &segments {
            segment.fits(schema, false).map_err(bad)?;
        }
        if query.len() > QUERY_MAX {
            return Err(BadAction::field("query", format!("may have {QUERY_MAX} members")));
        }
        let read =
            |(name, value): (&String, &Value)| Ok((name.clone(), QueryValue::new(value, schema, secrets)?));
        let query = query.iter().map(read).collect::<Result<_, BadAction>>()?;
        let template = Self { origin: origin.to_owned(), segments, query };
        let sample: Vec<_> = template.segments.iter().map(Template::sample).collect();
        Target::of(&format!("{origin}{}", sample.join("/"))).map_err(bad)?;
        Ok(template)
    }

    /// Whether it is asked by TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// Every secret in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretText> {
        self.query.iter().filter_map(|(_, value)| match value {
            QueryValue::Secret(secret) => Some(secret),
            QueryValue::Template(_) => None,
        })
    }

    /// The URL for a payload that fits the schema.
    pub(super) fn fill(&self, payload: &Value, shown: Shown) -> Result<String, BadCall> {
        let mut url = self.origin.clone();
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 {
                url.push('/');
            }
            let filled = segment.fill(payload, fill_segment)?.unwrap_or_default();
            if matches!(filled.as_str(), "." | "..") {
                return Err(BadCall::at("", "a segment of the path would be `.` or `..`"));
            }
            url.push_str(&filled);
        }
        let mut sign = '?';
        for (name, value) in &self.query {
            let value = match value {
                QueryValue::Template(template) => template.fill(payload, |_, member| Ok(encoded(&member)))?,
                QueryValue::Secret(secret) => Some(match shown {
                    Shown::Real => encoded(&secret.text(Shown::Real)),
                    Shown::Reference => secret.text(Shown::Reference).to_string(),
                }),
            };
            if let Some(value) = value {
                url.push(sign);
                url.push_str(&encoded(name));
                url.push('=');
                url.push_str(&value);
                sign = '&';
            }
        }
        Ok(url)
    }
}

/// A member as a part of one segment. What some servers decode twice, or take for a separator once they have decoded
/// it, is not sent at all.
fn fill_segment(name: &str, member: String) -> Result<String, BadCall> {
    if member.is_empty() || matches!(member.as_str(), "." | "..") {
        return Err(bad_member(name, "must be neither empty nor `.` nor `..`: it is a part of a path"));
    }
    if member.chars().any(|letter| matches!(letter, '/' | '\\' | '%') || letter.is_control()) {
        return Err(bad_member(
            name,
            "must hold no `/`, `\\`, `%` and no control character: it is a part of a path",
        ));
    }
    Ok(encoded(&member))
}

impl QueryValue {
    fn new(value: &Value, schema: &Schema, secrets: &Secrets) -> Result<Self, BadAction> {
        let bad = |rule: String| BadAction::field("query", rule);
        if let Some(secret) = SecretText::read("query", value, secrets)? {
            return Ok(Self::Secret(secret));
        }
        let text = value.as_str().ok_or_else(|| bad("has texts and secrets for values".to_owned()))?;
        // The literal parts stand in the URL as they are encoded; the places are found before.
        let template = Template::parse(text).map_err(bad)?;
        template.fits(schema, template.is_one_member()).map_err(bad)?;
        Ok(Self::Template(template.map_text(encoded)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use serde_json::{Map, Value, json};

    use super::{Schema, Secrets, Shown, Target, UrlTemplate};
    use crate::BadCall;

    fn schema() -> Schema {
        let schema = json!({
            "type": "object",
            "required": ["city", "n"],
            "additionalProperties": false,
            "properties": {
                "city": {"type": "string"}, "n": {"type": "integer"}, "days": {"type": "number"},
                "list": {"type": "array"}
            }
        });
        Schema::new(Some(schema)).map_err(|bad| bad.to_string()).unwrap()
    }

    fn template(url: &str, query: Value) -> Result<UrlTemplate, String> {
        let Value::Object(query) = query else { panic!("a query is an object") };
        UrlTemplate::new(url, &query, &schema(), &Secrets::default()).map_err(|bad| bad.to_string())
    }

    fn filled(url: &str, payload: Value) -> Result<String, BadCall> {
        template(url, json!({})).unwrap().fill(&payload, Shown::Real)
    }

    #[test]
    fn places_are_in_path_and_query_and_stay_one_segment_and_one_value() {
        let url = template(
            "https://api.example/v1/{city}/{n}.json",
            json!({"days": "{days}", "q": "a b&c={city}", "fixed": "é"}),
        )
        .unwrap();
        let full = url.fill(&json!({"city": "São &?#+Paulo", "n": 3, "days": 1.5}), Shown::Real).unwrap();
        assert_eq!(
            full,
            "https://api.example/v1/S%C3%A3o%20%26%3F%23%2BPaulo/3.json?days=1.5&fixed=%C3%A9\
             &q=a%20b%26c%3DS%C3%A3o%20%26%3F%23%2BPaulo"
        );
        assert!(Target::of(&full).is_ok());
        let less = url.fill(&json!({"city": "x", "n": 3}), Shown::Real).unwrap();
        assert!(!less.contains("days"), "{less}");
    }

    #[test]
    fn what_would_leave_its_segment_is_refused() {
        for city in ["", ".", "..", "a/b", "../../admin", "a\\b", "..%2f", "%2e%2e", "a\u{0}b", "a\nb"] {
            let bad = filled("https://api.example/v1/{city}/x", json!({"city": city, "n": 1})).unwrap_err();
            assert_eq!(bad.pointer, "/city", "{city:?}");
        }
        assert!(filled("https://api.example/{city}.", json!({"city": ".", "n": 1})).is_err());
        let dots = filled("https://api.example/.{n}/{city}", json!({"city": "..;", "n": 1})).unwrap();
        assert_eq!(dots, "https://api.example/.1/..%3B");
    }

    #[test]
    fn urls_that_leave_the_host_open_or_are_not_normal_are_refused() {
        for url in [
            "ftp://api.example/",
            "https://api.example",
            "https://{city}/",
            "https://api.{city}/x",
            "https://api.example:{n}/",
            "https://user:secret@api.example/",
            "https://api.example/a?b=c",
            "https://api.example/a#b",
            "https://api.example/a/../b",
            "https://api.example/%7Bcity}",
            "https://api.example/{days}",
            "https://api.example/{list}",
            "https://api.example/{nothing}",
            "https://API.example/",
            "https://0x7f.1/",
            "https://api.example:22/",
            "https://api.example/a b",
        ] {
            assert!(template(url, json!({})).is_err(), "{url}");
        }
        for query in [json!({"a": 1}), json!({"a": "{days}x"}), json!({"a": "{list}"}), json!({"a": "{"})] {
            assert!(template("https://api.example/", query).is_err());
        }
        let many: Map<_, _> = (0..40).map(|n| (n.to_string(), json!("x"))).collect();
        assert!(template("https://api.example/", Value::Object(many)).is_err());
    }

    proptest! {
        #[test]
        fn no_member_changes_where_a_request_goes(city in ".{0,40}", days in "[0-9]{1,3}") {
            let url = template("https://api.example/v1/{city}/end", json!({"q": "{city}", "d": "{days}"})).unwrap();
            let Ok(full) = url.fill(&json!({"city": city, "n": 1, "days": days}), Shown::Real) else { return Ok(()) };
            let target = Target::of(&full).unwrap();
            prop_assert_eq!(target.authority(), "api.example");
            let segments: Vec<_> = target.url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            prop_assert!(segments[0] == "v1" && segments[2] == "end");
            let query: Vec<_> = target.url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            prop_assert_eq!(query, vec![("d".to_owned(), days), ("q".to_owned(), city)]);
        }
    }
}
