//! Every route of the administration door, in one list. A new one is a line here, a handler in `http/admin/`, and an
//! entry in `admin.json`.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get, post};
use execgate_model::Role;

use crate::admit::{admit, ask_role};
use crate::http::admin;
use crate::office::Office;
use crate::problem::Problem;
use crate::shape::sound;

/// One route.
pub(crate) struct AdminRoute {
    #[cfg_attr(not(test), expect(dead_code, reason = "a test holds it against admin.json"))]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Whose it is beside the admin's.
    roles: &'static [Role],
    handler: fn() -> MethodRouter<Arc<Office>>,
}

/// The admin alone.
const ADMIN: &[Role] = &[];

/// Those who read what has happened.
const AUDIT: &[Role] = &[Role::Auditor];

/// Those who change rules.
const RULES: &[Role] = &[Role::PolicyManager];

/// Those who read how the gateway stands.
const READERS: &[Role] = &[Role::Auditor, Role::PolicyManager];

/// The routes of the administration door.
pub(crate) const ADMIN_ROUTES: &[AdminRoute] = &[
    AdminRoute { method: Method::GET, path: "/health", roles: READERS, handler: || get(admin::health) },
    AdminRoute {
        method: Method::GET,
        path: "/openapi.json",
        roles: READERS,
        handler: || get(admin::openapi),
    },
    AdminRoute { method: Method::GET, path: "/grants", roles: ADMIN, handler: || get(admin::grants) },
    AdminRoute { method: Method::POST, path: "/grants", roles: ADMIN, handler: || post(admin::create_grant) },
    AdminRoute { method: Method::GET, path: "/grants/{id}", roles: ADMIN, handler: || get(admin::grant) },
    AdminRoute {
        method: Method::POST,
        path: "/grants/{id}/rotate",
        roles: ADMIN,
        handler: || post(admin::rotate_grant),
    },
    AdminRoute {
        method: Method::POST,
        path: "/grants/{id}/policy",
        roles: ADMIN,
        handler: || post(admin::set_grant_policy),
    },
    AdminRoute {
        method: Method::POST,
        path: "/grants/{id}/revoke",
        roles: ADMIN,
        handler: || post(admin::revoke_grant),
    },
    AdminRoute { method: Method::GET, path: "/runs", roles: AUDIT, handler: || get(admin::runs) },
    AdminRoute { method: Method::GET, path: "/runs/{id}", roles: AUDIT, handler: || get(admin::run) },
    AdminRoute {
        method: Method::GET,
        path: "/runs/{id}/receipt",
        roles: AUDIT,
        handler: || get(admin::receipt),
    },
    AdminRoute {
        method: Method::POST,
        path: "/runs/{id}/resolve",
        roles: ADMIN,
        handler: || post(admin::resolve),
    },
    AdminRoute { method: Method::GET, path: "/payments", roles: AUDIT, handler: || get(admin::payments) },
    AdminRoute {
        method: Method::POST,
        path: "/payments/{id}/retry",
        roles: ADMIN,
        handler: || post(admin::retry_payments),
    },
    AdminRoute {
        method: Method::POST,
        path: "/payments/{id}/end",
        roles: ADMIN,
        handler: || post(admin::end_payment),
    },
    AdminRoute { method: Method::GET, path: "/changes", roles: AUDIT, handler: || get(admin::changes) },
    AdminRoute { method: Method::POST, path: "/pause", roles: ADMIN, handler: || post(admin::pause) },
    AdminRoute { method: Method::POST, path: "/resume", roles: ADMIN, handler: || post(admin::resume) },
    AdminRoute { method: Method::GET, path: "/keys", roles: READERS, handler: || get(admin::keys) },
    AdminRoute { method: Method::POST, path: "/keys", roles: ADMIN, handler: || post(admin::rotate_key) },
    AdminRoute {
        method: Method::POST,
        path: "/keys/{id}/retire",
        roles: ADMIN,
        handler: || post(admin::retire_key),
    },
    AdminRoute { method: Method::GET, path: "/policy", roles: READERS, handler: || get(admin::policy) },
    AdminRoute {
        method: Method::POST,
        path: "/policy/reload",
        roles: RULES,
        handler: || post(admin::reload_policy),
    },
    AdminRoute { method: Method::GET, path: "/audit", roles: AUDIT, handler: || get(admin::audit) },
    AdminRoute { method: Method::GET, path: "/revenue", roles: AUDIT, handler: || get(admin::revenue) },
    AdminRoute { method: Method::GET, path: "/fsck", roles: AUDIT, handler: || get(admin::fsck) },
    AdminRoute { method: Method::GET, path: "/log", roles: AUDIT, handler: || get(admin::log) },
    AdminRoute {
        method: Method::GET,
        path: "/log/checkpoint",
        roles: AUDIT,
        handler: || get(admin::log_checkpoint),
    },
    AdminRoute {
        method: Method::GET,
        path: "/log/tile/{*path}",
        roles: AUDIT,
        handler: || get(admin::log_tile),
    },
    AdminRoute {
        method: Method::POST,
        path: "/log/new-origin",
        roles: ADMIN,
        handler: || post(admin::new_origin),
    },
    AdminRoute { method: Method::GET, path: "/metrics", roles: AUDIT, handler: || get(admin::metrics) },
];

/// The router of the administration of one gateway. It serves nobody without a [`Peer`](crate::Peer) among the
/// extensions of a request, which [`serve_admin`](crate::serve_admin) puts there.
pub fn admin_router(office: Arc<Office>) -> Router {
    let routes =
        ADMIN_ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, guarded(route)));
    routes
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed().into_response() })
        .fallback(|| async { Problem::not_found("there is no such path; see /openapi.json").into_response() })
        .layer(from_fn_with_state(Arc::clone(&office), admit))
        .layer(from_fn(sound))
        .with_state(office)
}

fn guarded(route: &AdminRoute) -> MethodRouter<Arc<Office>> {
    let roles = route.roles;
    (route.handler)().route_layer(from_fn(move |request: Request, next: Next| ask_role(roles, request, next)))
}
