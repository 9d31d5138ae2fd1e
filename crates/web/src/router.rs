//! Every route of the gateway, in one list. A new one is a line here, a handler in `http/`, and an entry in
//! `openapi.json`.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};

use crate::doors::guard;
use crate::house::House;
use crate::http::{
    approvals, catalogue, code, ep, keys, log, openexec, receipts, runs, secureexec, service, workspace,
};
use crate::mcp;
use crate::problem::Problem;
use crate::shape::shape;

/// Where the Model Context Protocol is spoken.
pub(crate) const MCP: &str = "/mcp";

/// The tools of a server of others.
const MCP_UPSTREAM: &str = "/mcp/{server}";

/// One route.
pub(crate) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "a test holds it against openapi.json"))]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    handler: fn() -> MethodRouter<Arc<House>>,
}

/// The routes of the public listener.
pub(crate) const ROUTES: &[Route] = &[
    Route { method: Method::GET, path: "/", handler: || get(service::index) },
    Route { method: Method::GET, path: "/health", handler: || get(service::health) },
    Route { method: Method::GET, path: "/ready", handler: || get(service::ready) },
    Route { method: Method::GET, path: "/version", handler: || get(service::version) },
    Route { method: Method::GET, path: "/openapi.json", handler: || get(service::openapi) },
    Route { method: Method::POST, path: "/execute", handler: || post(openexec::execute) },
    Route { method: Method::POST, path: "/exec/tool", handler: || post(secureexec::tool) },
    Route { method: Method::POST, path: "/exec/simulate", handler: || post(secureexec::simulate) },
    Route { method: Method::POST, path: "/exec/batch", handler: || post(secureexec::batch) },
    Route { method: Method::GET, path: "/exec/tools", handler: || get(secureexec::tools) },
    Route { method: Method::POST, path: "/api/code-run", handler: || post(code::plain) },
    Route { method: Method::POST, path: "/api/code-run-pro", handler: || post(code::pro) },
    Route { method: Method::POST, path: "/api/code/run", handler: || post(code::basic) },
    Route { method: Method::GET, path: "/api/languages", handler: || get(catalogue::languages) },
    Route { method: Method::GET, path: "/api/pricing", handler: || get(catalogue::pricing) },
    Route { method: Method::GET, path: "/api/stats", handler: || get(catalogue::stats) },
    Route { method: Method::GET, path: "/api/health/services", handler: || get(catalogue::health_services) },
    Route { method: Method::GET, path: "/.well-known/x402.json", handler: || get(catalogue::x402) },
    Route { method: Method::GET, path: keys::KEYS, handler: || get(keys::published) },
    Route { method: Method::GET, path: service::METADATA, handler: || get(service::resource) },
    Route { method: Method::GET, path: service::METADATA_MCP, handler: || get(service::resource) },
    Route { method: Method::GET, path: service::METADATA_UPSTREAM, handler: || get(service::resource) },
    Route { method: Method::GET, path: "/llms.txt", handler: || get(catalogue::llms) },
    Route { method: Method::POST, path: "/ep/validate", handler: || post(ep::validate) },
    Route { method: Method::POST, path: "/receipts/verify", handler: || post(receipts::verify) },
    Route { method: Method::POST, path: MCP, handler: || post(mcp::door) },
    Route { method: Method::GET, path: MCP, handler: || get(mcp::stream) },
    Route { method: Method::DELETE, path: MCP, handler: || delete(mcp::hang_up) },
    Route { method: Method::POST, path: MCP_UPSTREAM, handler: || post(mcp::door) },
    Route { method: Method::GET, path: MCP_UPSTREAM, handler: || get(mcp::stream) },
    Route { method: Method::DELETE, path: MCP_UPSTREAM, handler: || delete(mcp::hang_up) },
    Route { method: Method::GET, path: "/receipts/{id}", handler: || get(receipts::show) },
    Route { method: Method::GET, path: "/runs/{id}", handler: || get(runs::show) },
    Route { method: Method::GET, path: "/log/checkpoint", handler: || get(log::checkpoint) },
    Route { method: Method::GET, path: "/log/tile/{*path}", handler: || get(log::tile) },
    Route { method: Method::GET, path: "/log/consistency/{older}", handler: || get(log::consistency) },
    Route {
        method: Method::GET,
        path: "/log/names/{number}/checkpoint",
        handler: || get(log::named_checkpoint),
    },
    Route { method: Method::GET, path: "/log/names/{number}/tile/{*path}", handler: || get(log::named_tile) },
    Route { method: Method::GET, path: "/workspace", handler: || get(workspace::list) },
    Route { method: Method::GET, path: "/workspace/{*path}", handler: || get(workspace::show) },
    Route { method: Method::DELETE, path: "/workspace/{*path}", handler: || delete(workspace::delete) },
    Route { method: Method::GET, path: "/approvals", handler: || get(approvals::list) },
    Route { method: Method::GET, path: "/approvals/{id}", handler: || get(approvals::show) },
    Route { method: Method::POST, path: "/approvals/{id}", handler: || post(approvals::decide) },
];

/// The router of one gateway.
pub fn router(house: Arc<House>) -> Router {
    let routes =
        ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routes
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed().into_response() })
        .fallback(|| async { Problem::not_found("there is no such path; see /openapi.json").into_response() })
        .layer(from_fn_with_state(Arc::clone(&house), guard))
        .layer(from_fn_with_state(Arc::clone(&house), shape))
        .with_state(house)
}
