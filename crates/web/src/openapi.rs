//! The OpenAPI descriptions of both doors. They are written by hand, and a test holds them against the routers.

use serde_json::Value;

/// The description, with the version of the binary filled in.
#[must_use]
pub fn document(version: &str) -> Value {
    with_version(include_str!("openapi.json"), version)
}

/// The description of the administration door.
#[must_use]
pub fn admin_document(version: &str) -> Value {
    with_version(include_str!("admin.json"), version)
}

fn with_version(text: &str, version: &str) -> Value {
    let mut document: Value = serde_json::from_str(text).unwrap_or_default();
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

    use serde_json::Value;

    use super::{admin_document, document};
    use crate::admin_router::ADMIN_ROUTES;
    use crate::router::ROUTES;

    type Routes = BTreeSet<(String, String)>;

    fn described(document: &Value) -> Routes {
        let paths = document["paths"].as_object().unwrap();
        let verbs = paths.iter().flat_map(|(path, verbs)| {
            verbs.as_object().unwrap().keys().map(move |verb| (verb.to_uppercase(), path.clone()))
        });
        verbs.collect()
    }

    /// A path as descriptions have it: they know no part that spans several elements.
    fn named(path: &str) -> String {
        path.replace("{*", "{")
    }

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let routed: Routes =
            ROUTES.iter().map(|route| (route.method.as_str().to_owned(), named(route.path))).collect();
        assert_eq!(described(&document("0")), routed);
        let routed: Routes =
            ADMIN_ROUTES.iter().map(|route| (route.method.as_str().to_owned(), named(route.path))).collect();
        assert_eq!(described(&admin_document("0")), routed);
    }
}
