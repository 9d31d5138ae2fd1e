//! The OpenAPI description. It is written by hand, and a test holds it against the router.

use serde_json::Value;

/// The description, with the version of the binary filled in.
#[must_use]
pub fn document(version: &str) -> Value {
    let mut document: Value = serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    document["info"]["version"] = version.into();
    document
}

/// A schema, or the one that it refers to, in full.
pub(crate) fn resolved(document: &Value, schema: &Value) -> Value {
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    named.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema).clone()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::document;
    use crate::router::ROUTES;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let document = document("0");
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, verbs)| {
                verbs.as_object().unwrap().keys().map(move |verb| (verb.to_uppercase(), path.clone()))
            })
            .collect();
        let routed =
            ROUTES.iter().map(|route| (route.method.as_str().to_owned(), route.path.to_owned())).collect();
        assert_eq!(described, routed);
    }
}
