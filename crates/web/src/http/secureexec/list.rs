//! `GET /exec/tools`: what may be called, and what nothing but an approval unlocks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use execgate_model::{ActionName, Amount, Effect};
use execgate_tool::{BLOCKED, Behind};
use serde_json::{Value, json};

use crate::house::{House, ToolSurface};
use crate::http;
use crate::problem::{Problem, SCHEMA_VERSION};

/// Both lists, with the JSON Schemas of the arguments.
pub(crate) async fn tools(State(house): State<Arc<House>>) -> Response {
    if house.parts.tools == ToolSurface::Off {
        return Problem::tools_are_off().into_response();
    }
    let corridor = &house.parts.corridor;
    let price = |name: &str, effect| {
        ActionName::new(name).map_or(Amount::ZERO, |name| corridor.prices().of(&name, effect, None))
    };
    let allowed: Vec<Value> = corridor
        .tools()
        .map(|(name, description)| {
            json!({
                "name": name,
                "description": description.summary,
                "inputSchema": description.schema,
                "price": {"dryRun": price(name, Effect::DryRun), "live": price(name, Effect::Live)},
            })
        })
        .collect();
    let blocked: Vec<Value> = BLOCKED
        .iter()
        .map(|blocked| {
            let reason = match blocked.behind {
                Behind::Handler(_) => "needs an approval, which this gateway cannot verify yet",
                Behind::Nothing => "has no handler: no approval unlocks it",
            };
            json!({"name": blocked.name, "reason": reason, "inputSchema": blocked.schema()})
        })
        .collect();
    let body = json!({"allowed": allowed, "blocked": blocked, "schemaVersion": SCHEMA_VERSION});
    http::json(StatusCode::OK, &body)
}
