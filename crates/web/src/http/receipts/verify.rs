//! `POST /receipts/verify`: `{exec_id, result, receipt}` → `{valid, …}`, always 200 for a well-formed question.
//!
//! The receipt is computed anew from the record and the result that was sent; what is stored is only compared.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_flow::witness::Facts;
use execgate_model::{Digest, RunId};
use execgate_receipt::{digest_json, result_digest_of_text};
use execgate_store::Record;
use serde_json::{Value, json};

use crate::body::Fields;
use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// Checks a receipt against the record.
pub(crate) async fn verify(State(house): State<Arc<House>>, headers: HeaderMap, body: Body) -> Response {
    match judge(&house, &headers, body).await {
        Ok(None) => http::json(StatusCode::OK, &json!({"valid": true})),
        Ok(Some(reason)) => http::json(StatusCode::OK, &json!({"valid": false, "reason": reason})),
        Err(problem) => problem.into_response(),
    }
}

async fn judge(house: &House, headers: &HeaderMap, body: Body) -> Result<Option<&'static str>, Problem> {
    let (fields, _place) = house.bodies.json_object(headers, body).await?;
    let mut fields = Fields::new(fields);
    let exec_id = fields.text("exec_id")?;
    let receipt = fields.text("receipt")?;
    let result = fields.any("result").unwrap_or(Value::Null);
    fields.finish()?;
    check(house, &exec_id, &receipt, Some(&result)).await
}

/// Why a receipt does not belong to a run and its result, or to the run alone where no result is named.
pub(crate) async fn check(
    house: &House,
    exec_id: &str,
    receipt: &str,
    result: Option<&Value>,
) -> Result<Option<&'static str>, Problem> {
    let (Ok(run), Ok(receipt)) = (exec_id.parse::<RunId>(), receipt.parse::<Digest>()) else {
        return Ok(Some("exec_id or receipt is not of its form"));
    };
    let record = house.parts.store.run(run).await.map_err(|error| Problem::from(Refusal::Store(error)))?;
    Ok(match record {
        // The same words, so that nobody learns which runs exist.
        None => Some("the receipt does not belong to this run and result"),
        Some(record)
            if result.is_none_or(|result| reproduces(&record, result, receipt))
                && record.content == Some(receipt) =>
        {
            None
        }
        Some(_) => Some("the receipt does not belong to this run and result"),
    })
}

/// Whether the run and this result make exactly this receipt.
fn reproduces(record: &Record, result: &Value, receipt: Digest) -> bool {
    let (Ok(facts), Some(outcome)) = (Facts::from_bytes(&record.intent), &record.outcome) else {
        return false;
    };
    let result_digest = if outcome == "unknown" && result.is_null() {
        None
    } else if let Value::String(text) = result {
        Some(result_digest_of_text(text))
    } else {
        digest_json(result).ok()
    };
    facts.content(outcome, result_digest) == receipt && record.content == Some(receipt)
}
