//! `/runs`: the record, for the operator and for auditors.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use execgate_flow::administer::AdministerError;
use execgate_model::{RunId, Stage};
use execgate_receipt::Timestamp;
use execgate_store::{Answer, Page, Record};
use serde_json::{Value, json};

use crate::admit::Administrator;
use crate::http;
use crate::http::admin::{answer, asked};
use crate::office::Office;
use crate::problem::Problem;
use crate::query::Query;

/// Runs of one page, where nothing else is said.
const PAGE: u32 = 50;

/// Runs of one page at the most, as many as the record gives at once.
const PAGE_MAX: u32 = 1_000;

/// The longest note of a resolution, in bytes: some sentences.
const NOTE_MAX: usize = 4_096;

/// `GET /runs`: newest first.
pub(crate) async fn list(State(office): State<Arc<Office>>, RawQuery(query): RawQuery) -> Response {
    answer(async {
        let mut query = Query::new(query.as_deref());
        let limit = |text: &str| text.parse::<u32>().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        let page = Page {
            limit: query.read("limit", limit, "a number from 1 to 1000")?.unwrap_or(PAGE),
            before: query.read("before", |text| text.parse().ok(), "the id of a run")?,
            stage: query.read("stage", Stage::from_word, "a stage of a run")?,
        };
        query.finish()?;
        let records = office.parts.store.list(page).await.map_err(AdministerError::from)?;
        Ok(http::json(StatusCode::OK, &records.iter().map(describe).collect()))
    })
    .await
}

/// `GET /runs/{id}`.
pub(crate) async fn show(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    answer(async {
        let record = office.administer.run(named(&id)?).await?;
        Ok(http::json(StatusCode::OK, &describe(&record)))
    })
    .await
}

/// `GET /runs/{id}/receipt`: the receipt file.
pub(crate) async fn receipt(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    answer(async {
        let record = office.administer.run(named(&id)?).await?;
        let body = http::receipts::receipt(office.parts.log.as_deref(), record).await?;
        Ok(http::write(Answer { status: 200, content_type: "application/json".to_owned(), body }))
    })
    .await
}

/// `POST /runs/{id}/resolve`.
pub(crate) async fn resolve(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let note = asked(&office, &headers, body, |fields| fields.text("note")).await?;
        if note.trim().is_empty() || note.len() > NOTE_MAX {
            let detail = format!("`note` must say what became of the run, in 1 to {NOTE_MAX} bytes");
            return Err(Problem::bad_field("/note", detail));
        }
        let record = office.administer.resolve(&administrator.by(), named(&id)?, &note).await?;
        Ok(http::json(StatusCode::OK, &describe(&record)))
    })
    .await
}

fn named(id: &str) -> Result<RunId, Problem> {
    id.parse().map_err(|_| Problem::bad_request("bad-id", "this is no id of a run"))
}

/// A run as JSON. Neither what went in nor what came out is known here.
fn describe(record: &Record) -> Value {
    let time = |at| Timestamp::new(at).ok();
    json!({
        "id": record.run,
        "action": record.action,
        "effect": record.effect,
        "caller": record.caller,
        "stage": record.stage,
        "outcome": record.outcome,
        "receipt": record.content,
        "rail": record.rail,
        "price": record.price,
        "settlement": record.settlement.as_str(),
        "reference": record.settlement_reference,
        "resolution": record.resolution,
        "created_at": time(record.created),
        "finished_at": record.finished.and_then(time),
    })
}
