//! `GET /.well-known/oauth-protected-resource`: whose tokens are taken here (RFC 9728, 3). The doors of the Model Context
//! Protocol are resources of their own, below the gateway's: a client that is told of one asks for tokens for that one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::house::House;
use crate::http;
use crate::problem::Problem;
use crate::router::MCP;

/// Where it stands (RFC 9728, 3), below the URL of a gateway, which has no path.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The same for `/mcp`, whose path follows the name (RFC 9728, 3.1).
pub(crate) const METADATA_MCP: &str = "/.well-known/oauth-protected-resource/mcp";

/// The same for a server of others.
pub(crate) const METADATA_UPSTREAM: &str = "/.well-known/oauth-protected-resource/mcp/{server}";

/// The path of a resource of its own among the paths of this gateway: empty where a path is of none.
pub(crate) fn resource_path(path: &str) -> &str {
    if path == MCP || path.strip_prefix(MCP).is_some_and(|rest| rest.starts_with('/')) { path } else { "" }
}

/// Tells whose tokens are taken here.
pub(crate) async fn resource(State(house): State<Arc<House>>, uri: Uri) -> Response {
    let path = uri.path().strip_prefix(METADATA).unwrap_or_default();
    if let Some(server) = path.strip_prefix("/mcp/")
        && house.parts.upstreams.server(server).is_none()
    {
        return Problem::not_found("there is no such server here").into_response();
    }
    let resource = house.parts.tokens.as_ref().and_then(|door| door.resource.as_ref());
    let Some(resource) = resource else {
        let detail =
            "no tokens are taken here, or the operator has not said under which URL this gateway is reached";
        return Problem::not_found(detail).into_response();
    };
    let mut told = json!(resource);
    told["resource"] = format!("{}{path}", resource.resource).into();
    told["bearer_methods_supported"] = json!(["header"]);
    told["resource_name"] = json!("execgate");
    http::json(StatusCode::OK, &told)
}
