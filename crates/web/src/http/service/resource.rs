//! `GET /.well-known/oauth-protected-resource`: whose tokens are taken here (RFC 9728, 3).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// Where it stands (RFC 9728, 3), below the URL of a gateway, which has no path.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Tells whose tokens are taken here.
pub(crate) async fn resource(State(house): State<Arc<House>>) -> Response {
    let resource = house.parts.tokens.as_ref().and_then(|door| door.resource.as_ref());
    let Some(resource) = resource else {
        let detail =
            "no tokens are taken here, or the operator has not said under which URL this gateway is reached";
        return Problem::not_found(detail).into_response();
    };
    let mut told = json!(resource);
    told["bearer_methods_supported"] = json!(["header"]);
    told["resource_name"] = json!("execgate");
    http::json(StatusCode::OK, &told)
}
