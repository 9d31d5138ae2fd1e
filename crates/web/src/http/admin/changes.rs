//! `GET /changes`: what was administered, which approvals were used and what was refused, and what their leaves commit to.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use execgate_flow::administer::AdministerError;
use execgate_model::Digest;
use execgate_store::Recorded;
use serde_json::{Value, json};

use crate::http;
use crate::http::admin::answer;
use crate::office::Office;
use crate::query::Query;

/// Changes of one page, where nothing else is said.
const PAGE: u32 = 50;

/// Changes of one page at the most, as many as the record gives at once.
const PAGE_MAX: u32 = 1_000;

/// `GET /changes`: newest first. Whoever has statement and salt can make the leaf: SHA-256(salt ‖ statement).
pub(crate) async fn list(State(office): State<Arc<Office>>, RawQuery(query): RawQuery) -> Response {
    answer(async {
        let mut query = Query::new(query.as_deref());
        let limit = |text: &str| text.parse::<u32>().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        let limit = query.read("limit", limit, "a number from 1 to 1000")?.unwrap_or(PAGE);
        let before = query.read("before", |text| text.parse().ok(), "the `seq` of a change")?;
        query.finish()?;
        let changes = office.parts.store.changes(before, limit).await;
        let changes = changes.map_err(AdministerError::from)?;
        Ok(http::json(StatusCode::OK, &changes.iter().map(describe).collect()))
    })
    .await
}

/// The statement as the text that was digested.
fn describe(recorded: &Recorded) -> Value {
    let change = &recorded.change;
    json!({
        "seq": recorded.seq,
        "kind": change.leaf.kind.as_str(),
        "statement": String::from_utf8_lossy(&change.statement),
        "salt": Digest::from_bytes(change.salt),
        "leaf": change.leaf.digest,
    })
}
