//! The pages.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use execgate_store::Answer;
use serde_json::{Map, Value, json};

use super::offers::{LISTED, Listed};
use crate::figures::Service;
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// What is served here.
pub(crate) fn served(house: &House) -> impl Iterator<Item = &'static Listed> {
    LISTED.iter().filter(|listed| listed.is_served(house))
}

/// `GET /api/languages`: the languages of each profile, with versions and packages.
pub(crate) async fn languages(State(house): State<Arc<House>>) -> Response {
    let Some(catalogue) = &house.parts.catalogue else { return Problem::code_is_off().into_response() };
    let profiles = catalogue.describe().await;
    let languages = profiles["default"]["languages"].clone();
    http::json(StatusCode::OK, &json!({"languages": languages, "profiles": profiles}))
}

/// `GET /api/pricing`.
pub(crate) async fn pricing(State(house): State<Arc<House>>) -> Response {
    let tools: Vec<_> = served(&house).map(|listed| listed.to_json(&house)).collect();
    http::json(StatusCode::OK, &json!({"count": tools.len(), "tools": tools}))
}

/// `GET /api/stats`: counts since this process started.
pub(crate) async fn stats(State(house): State<Arc<House>>) -> Response {
    http::json(StatusCode::OK, &house.figures.stats())
}

/// `GET /api/health/services`.
pub(crate) async fn health_services(State(house): State<Arc<House>>) -> Response {
    let alive = house.parts.sandbox_pulse.as_ref().is_none_or(|alive| alive());
    let of = |listed: &Listed| {
        let mut health = house.figures.health(listed.service);
        if matches!(listed.service, Service::Code(_)) && !alive {
            health["status"] = "down".into();
        }
        (listed.service.id().to_owned(), health)
    };
    let services: Map<_, _> = served(&house).map(of).collect();
    http::json(StatusCode::OK, &json!({ "services": services }))
}

/// `GET /.well-known/x402.json`: what is sold here, and for how much.
pub(crate) async fn x402(State(house): State<Arc<House>>) -> Response {
    let services: Vec<Value> = served(&house).map(|listed| listed.to_json(&house)).collect();
    let manifest = json!({
        "x402Version": 2,
        "name": "execgate",
        "description": "Tool calls and code for AI agents: run once, in a real sandbox, with a receipt.",
        "openapi": "/openapi.json",
        // Nothing is charged here, so that there is nothing to accept.
        "accepts": [],
        "services": services,
    });
    http::json(StatusCode::OK, &manifest)
}

/// `GET /llms.txt`: the same for a model that reads.
pub(crate) async fn llms(State(house): State<Arc<House>>) -> Response {
    let mut text = String::from(
        "# execgate\n\n> Runs tool calls and code for AI agents exactly once, in a fresh jail, and answers with a \
         receipt that anyone can verify offline.\n\nEvery call is `POST` with `Content-Type: application/json`. An \
         `Idempotency-Key` header (or `nonce` on /execute) makes a retry answer from the record. The whole \
         description is at /openapi.json, languages and packages at /api/languages.\n\n## Services\n\n",
    );
    for listed in served(&house) {
        let price = listed.price(&house);
        let price = if price.is_zero() { "free".to_owned() } else { format!("${price}") };
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "- POST {}: {} ({price})\n  Example: `{}`",
            listed.service.path(),
            listed.description,
            listed.example
        );
    }
    text.push_str(
        "\n## Code\n\nThe answer is `{language, stdout, stderr, result, error}`; `result` is the value of the last \
         expression. Optional fields: `stdin`, `args`, `files` ([{path, content | content_base64}]), `collect` \
         (patterns of files to bring back), `rich` (pictures and tables), `timeout`. With `Accept: \
         text/event-stream` output comes as it is written. There is no network in the jail.\n",
    );
    let content_type = "text/plain; charset=utf-8".to_owned();
    http::write(Answer { status: 200, content_type, body: text.into_bytes() })
}
