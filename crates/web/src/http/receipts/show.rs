//! `GET /receipts/{id}`: the receipt file, as `execgate verify` reads it: statement, salt, and the proof that they are in
//! the log.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use execgate_flow::Refusal;
use execgate_flow::log::Log;
use execgate_receipt::ReceiptFile;
use execgate_store::{Answer, Record, StoreError};

use crate::house::House;
use crate::http;
use crate::problem::Problem;

/// The receipt of a run, for its owner.
pub(crate) async fn show(
    State(house): State<Arc<House>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let record = match http::runs::owned(&house, &headers, &id).await {
        Ok(record) => record,
        Err(problem) => return problem.into_response(),
    };
    match receipt(house.parts.log.as_deref(), record).await {
        Ok(body) => http::write(Answer { status: 200, content_type: "application/json".to_owned(), body }),
        Err(problem) => problem.into_response(),
    }
}

/// The receipt file of a run, with the proof that its leaf is in the log once it is.
pub(crate) async fn receipt(log: Option<&Log>, record: Record) -> Result<Vec<u8>, Problem> {
    let kept = record.receipt.ok_or_else(|| Problem::not_found("this run has no receipt yet"))?;
    let Some(log) = log else { return Ok(kept) };
    let Some(proof) = log.proof_soon(record.run).await? else { return Ok(kept) };
    let unreadable = |_| Problem::from(Refusal::Store(StoreError::Unreadable { column: "receipt" }));
    let mut file = ReceiptFile::from_json(&kept).map_err(unreadable)?;
    file.log_proof = Some(proof.to_string());
    file.log_key = log.key().await?.map(|key| key.to_string());
    Ok(file.to_json().map_err(unreadable)?.into_bytes())
}
