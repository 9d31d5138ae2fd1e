//! The service pages. They read what is there and touch nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use execgate_receipt::Timestamp;
use serde_json::json;

use crate::house::{ExecMode, House};
use crate::http;
use crate::http::catalogue::served;
use crate::openapi::document;

/// `GET /`.
pub(crate) async fn index(State(house): State<Arc<House>>) -> Response {
    let version = house.parts.info.version;
    http::json(StatusCode::OK, &json!({"service": "execgate", "status": "running", "version": version}))
}

/// `GET /health`: CONTRACTS 4.
pub(crate) async fn health(State(house): State<Arc<House>>) -> Response {
    let info = &house.parts.info;
    let verification = match info.mode {
        ExecMode::Clawshield if info.verifies => "enabled",
        ExecMode::Demo | ExecMode::Clawshield => "disabled",
    };
    // A policy that denies what it does not list restricts as an allow-list does.
    let closed = house.parts.corridor.denies_unlisted();
    let mut body = json!({
        "status": "ok",
        "service": "execgate",
        "version": info.version,
        "exec_mode": info.mode,
        "signature_verification": verification,
        "restriction": if info.allow_list.is_some() || closed { "restricted" } else { "open" },
        "sandbox": info.sandbox,
    });
    match &info.allow_list {
        Some(list) => body["allow_list"] = json!(list),
        None if closed => {}
        None => body["warning"] = json!("No execution allow-list configured"),
    }
    http::json(StatusCode::OK, &body)
}

/// `GET /ready`: false while it drains or is paused, while its policy file is wrong or its disk nearly full, once an image
/// of its sandbox was altered, and once its sandbox or record is gone, or the record is not the one that its log was seen
/// with, or too few witnesses have said so.
pub(crate) async fn ready(State(house): State<Arc<House>>) -> Response {
    let reason = if house.parts.corridor.is_draining() {
        Some("draining")
    } else if house.parts.image_pulse.as_ref().is_some_and(|sound| !sound()) {
        Some("image")
    } else if house.parts.sandbox_pulse.as_ref().is_some_and(|alive| !alive()) {
        Some("sandbox")
    } else if house.parts.policy_pulse.as_ref().is_some_and(|sound| !sound()) {
        Some("policy")
    } else if house.parts.log.as_ref().is_some_and(|log| log.fault().is_some()) {
        Some("log")
    } else if house.parts.log.as_ref().is_some_and(|log| log.is_unwitnessed()) {
        Some("witness")
    } else if house.parts.space.is_low() {
        Some("disk")
    } else {
        match house.parts.store.paused().await {
            Ok(false) => None,
            Ok(true) => Some("paused"),
            Err(_) => Some("record"),
        }
    };
    match reason {
        None => http::json(StatusCode::OK, &json!({"ready": true})),
        Some(reason) => {
            http::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"ready": false, "reason": reason}))
        }
    }
}

/// `GET /version`.
pub(crate) async fn version(State(house): State<Arc<House>>) -> Response {
    let timestamp = Timestamp::new(house.parts.clock.now()).ok();
    http::json(StatusCode::OK, &json!({"version": house.parts.info.version, "timestamp": timestamp}))
}

/// `GET /openapi.json`, with what the services cost where they cost something.
pub(crate) async fn openapi(State(house): State<Arc<House>>) -> Response {
    let mut document = document(house.parts.info.version);
    let mut is_paid = false;
    for listed in served(&house) {
        let Some(info) = house.payment_info(listed.service, listed.price(&house)) else { continue };
        document["paths"][listed.service.path()]["post"]["x-payment-info"] = info;
        is_paid = true;
    }
    if is_paid {
        let docs = json!({"apiReference": "/openapi.json", "llms": "/llms.txt"});
        document["x-service-info"] = json!({"categories": ["compute"], "docs": docs});
    }
    http::json(StatusCode::OK, &document)
}
