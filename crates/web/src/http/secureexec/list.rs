//! `GET /exec/tools`: what may be called, and what nothing but an approval unlocks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_model::{ActionName, Amount, Caller, Effect, Identity};
use execgate_tool::BLOCKED;
use serde_json::{Value, json};

use crate::caller::known;
use crate::house::{House, ToolSurface};
use crate::http;
use crate::problem::{Problem, SCHEMA_VERSION};

/// Both lists, with the JSON Schemas of the arguments.
pub(crate) async fn tools(State(house): State<Arc<House>>, headers: HeaderMap) -> Response {
    if house.parts.tools == ToolSurface::Off {
        return Problem::tools_are_off().into_response();
    }
    match list(&house, &headers).await {
        Ok(body) => http::json(StatusCode::OK, &body),
        Err(problem) => problem.into_response(),
    }
}

/// Anybody may look; whoever shows a key sees what its own rules leave of it.
async fn list(house: &House, headers: &HeaderMap) -> Result<Value, Problem> {
    let corridor = &house.parts.corridor;
    let known = known(house, headers).await?;
    let tenant = house.parts.tenant.clone();
    let anybody = || Caller { tenant, identity: Identity::Anonymous };
    let caller = known.map_or_else(anybody, |(caller, _)| caller);
    let rules = corridor.rules_for(&caller).await?;
    let price = |name: &str, effect| {
        let price = |action| corridor.prices().ruled(&action, effect, None, rules.price(name));
        ActionName::new(name).map_or(Amount::ZERO, price)
    };
    let allowed: Vec<Value> = corridor
        .tools(&rules)
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
            let reason = if corridor.can_unlock(*blocked) {
                "needs an approval: send one as approval_artifact"
            } else {
                "has no handler here: no approval unlocks it"
            };
            json!({"name": blocked.name, "reason": reason, "inputSchema": blocked.schema()})
        })
        .collect();
    Ok(json!({"allowed": allowed, "blocked": blocked, "schemaVersion": SCHEMA_VERSION}))
}
