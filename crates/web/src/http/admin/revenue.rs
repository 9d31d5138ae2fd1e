//! `GET /revenue`: money that was taken, payment by payment, in the order of the record.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use execgate_flow::administer::AdministerError;
use execgate_receipt::Timestamp;
use execgate_store::Earned;
use serde_json::{Value, json};

use crate::http;
use crate::http::admin::answer;
use crate::office::Office;
use crate::query::Query;

/// `GET /revenue`: those behind a place, as many as the record gives at once. An empty page is the last.
pub(crate) async fn list(State(office): State<Arc<Office>>, RawQuery(query): RawQuery) -> Response {
    answer(async {
        let mut query = Query::new(query.as_deref());
        let after = query.read("after", |text| text.parse().ok(), "the `place` of a payment")?;
        query.finish()?;
        let earned = office.parts.store.earned(after.unwrap_or_default()).await;
        let earned = earned.map_err(AdministerError::from)?;
        Ok(http::json(StatusCode::OK, &earned.iter().map(describe).collect()))
    })
    .await
}

/// A payment as JSON. What moved it is not known here.
fn describe(earned: &Earned) -> Value {
    json!({
        "place": earned.place,
        "at": earned.at.and_then(|at| Timestamp::new(at).ok()),
        "run": earned.run,
        "action": earned.action,
        "batch": earned.is_batch,
        "rail": earned.rail,
        "network": earned.network(),
        "payer": earned.payer,
        "amount": earned.amount,
        "currency": "USD",
        "reference": earned.reference,
        "credit": earned.is_credit,
    })
}
