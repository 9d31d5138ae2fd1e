//! `/log`: the transparency log, for the operator and for auditors; and the name that only the operator gives it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use execgate_flow::administer::AdministerError;
use execgate_flow::log::Log;
use execgate_receipt::Timestamp;
use execgate_store::{LOG_LEAVES_MAX, LogLeaf};
use serde_json::{Value, json};

use crate::admit::Administrator;
use crate::http;
use crate::http::admin::{answer, asked};
use crate::http::log::{Named, write_checkpoint, write_tile};
use crate::office::Office;
use crate::problem::Problem;
use crate::query::Query;

/// Entries of one page, where nothing else is said.
const PAGE: u32 = 50;

/// `GET /log`: where the log stands, and entries in their order, from `after` on or the newest.
pub(crate) async fn list(State(office): State<Arc<Office>>, RawQuery(query): RawQuery) -> Response {
    answer(async {
        let mut query = Query::new(query.as_deref());
        let limit =
            |text: &str| text.parse::<u32>().ok().filter(|limit| (1..=LOG_LEAVES_MAX).contains(limit));
        let limit = query.read("limit", limit, "a number from 1 to 1024")?.unwrap_or(PAGE);
        let after = query.read("after", |text| text.parse::<u64>().ok(), "how many entries to pass over")?;
        query.finish()?;
        let log = at_hand(&office)?;
        let standing = log.standing().await.map_err(AdministerError::from)?;
        let after = after.unwrap_or_else(|| standing.leaves.saturating_sub(limit.into()));
        let leaves = log.entries(after.min(standing.leaves), limit).await.map_err(AdministerError::from)?;
        let entries: Vec<_> = (after..).zip(&leaves).map(|(index, leaf)| describe(index, leaf)).collect();
        let newest = standing.newest.as_ref();
        Ok(http::json(
            StatusCode::OK,
            &json!({
                "origin": standing.epoch.as_ref().map(|epoch| &epoch.origin),
                "epoch": standing.epoch.as_ref().map(|epoch| epoch.number),
                "key": log.key().await?.map(|key| key.to_string()),
                "entries_in_all": standing.leaves,
                "size": newest.map(|newest| newest.head.size),
                "root": newest.map(|newest| newest.head.root),
                "fault": log.fault().map(|fault| fault.to_string()),
                "entries": entries,
            }),
        ))
    })
    .await
}

/// `GET /log/checkpoint`, as on the public door.
pub(crate) async fn checkpoint(State(office): State<Arc<Office>>) -> Response {
    answer(write_checkpoint(office.parts.log.as_deref(), None)).await
}

/// `GET /log/tile/…`, as on the public door.
pub(crate) async fn tile(State(office): State<Arc<Office>>, Path(path): Path<String>) -> Response {
    answer(write_tile(office.parts.log.as_deref(), &path, Named::Newest)).await
}

/// `POST /log/new-origin`.
pub(crate) async fn new_origin(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let origin = asked(&office, &headers, body, |fields| fields.optional_text("origin")).await?;
        let origin = office.administer.new_origin(&administrator.by(), origin).await?;
        let fault = at_hand(&office)?.fault().map(|fault| fault.to_string());
        Ok(http::json(StatusCode::OK, &json!({"origin": origin, "fault": fault})))
    })
    .await
}

fn at_hand(office: &Office) -> Result<&Log, Problem> {
    Ok(office.parts.log.as_deref().ok_or(AdministerError::NoLog)?)
}

fn describe(index: u64, leaf: &LogLeaf) -> Value {
    json!({
        "index": index,
        "kind": leaf.kind.as_str(),
        "digest": leaf.digest,
        "at": leaf.at.and_then(|at| Timestamp::new(at).ok()),
    })
}
