//! `GET /audit`: the audit trail, as a page of JSON or, line by line, as an export.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use execgate_flow::Refusal;
use execgate_flow::notice::told;
use execgate_model::UnixMs;
use execgate_receipt::Timestamp;
use execgate_store::{AUDIT_PAGE_MAX, AuditDecision, AuditEntry, AuditOrder, AuditQuery};
use http_body_util::channel::{Channel, Sender};
use serde_json::json;
use tokio::time::timeout;

use crate::http;
use crate::office::Office;
use crate::problem::{Problem, seal_headers};
use crate::query::Query;

/// Lines of one page where nobody says how many.
const USUAL_LINES: u32 = 100;

/// How a moment is written.
const MOMENT: &str = "a moment such as 2027-01-31T00:00:00Z";

/// How long a page may wait for those before it.
const TURN_TIME: Duration = Duration::from_secs(10);

/// The media type of an export (ndjson-spec 1.0).
const LINES: &str = "application/x-ndjson";

/// `GET /audit`.
pub(crate) async fn audit(
    State(office): State<Arc<Office>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = match Asked::read(query.as_deref()) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let answered =
        if wants_lines(&headers) { export(office, asked).await } else { page(&office, asked).await };
    answered.unwrap_or_else(|problem| problem.into_response())
}

/// What is asked for.
struct Asked {
    query: AuditQuery,
    limit: Option<u32>,
}

impl Asked {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        let mut given = Query::new(text);
        let mut text = |name| Ok::<_, Problem>(given.take(name)?.map(Cow::into_owned));
        let query = AuditQuery {
            tenant: text("tenant")?,
            caller: text("caller")?,
            action: text("action")?,
            rule: text("rule")?,
            since: given.read("since", moment, MOMENT)?,
            until: given.read("until", moment, MOMENT)?,
            decision: given.read("decision", AuditDecision::from_word, "a decision")?,
            order: given
                .read("order", AuditOrder::from_word, "newest, oldest or written")?
                .unwrap_or_default(),
            after: given.read("after", |text| text.parse().ok(), "the `place` of a line")?,
            ..AuditQuery::default()
        };
        let count = |text: &str| text.parse().ok().filter(|limit| *limit > 0);
        let limit = given.read("limit", count, "a number above 0")?;
        given.finish()?;
        Ok(Self { query, limit })
    }
}

/// A moment in UTC, with milliseconds or without.
fn moment(text: &str) -> Option<UnixMs> {
    let whole = text.strip_suffix('Z').filter(|rest| !rest.contains('.')).map(|rest| format!("{rest}.000Z"));
    whole.as_deref().unwrap_or(text).parse::<Timestamp>().ok().map(Timestamp::unix_ms)
}

/// Whether the caller asks for lines rather than for a page.
fn wants_lines(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges.any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(LINES))
}

/// Reads a page, one at a time for everybody: those who come in with keys are read for by the same threads.
async fn read(office: &Office, query: AuditQuery) -> Result<Vec<AuditEntry>, Problem> {
    let busy = || {
        let reason = "the audit trail is being read by others; try again shortly";
        Problem::from(Refusal::Busy { rule: "audit-busy", reason })
    };
    let turn = timeout(TURN_TIME, Arc::clone(&office.audit_turn).acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
    let store = Arc::clone(&office.parts.store);
    // The reading has the turn, and not whoever asked: a reading goes on when they hang up.
    let reading = tokio::spawn(async move {
        let page = store.audit(query).await;
        drop(turn);
        page
    });
    reading.await.map_err(|_| Problem::fault())?.map_err(|error| Refusal::Store(error).into())
}

async fn page(office: &Office, asked: Asked) -> Result<Response, Problem> {
    let limit = asked.limit.unwrap_or(USUAL_LINES).min(AUDIT_PAGE_MAX);
    let entries = read(office, AuditQuery { limit, ..asked.query }).await?;
    let is_full = u32::try_from(entries.len()).is_ok_and(|lines| lines == limit);
    let next = entries.last().filter(|_| is_full).map(|entry| entry.place.to_string());
    let page = json!({"entries": entries.iter().map(told).collect::<Vec<_>>(), "next": next});
    Ok(http::json(StatusCode::OK, &page))
}

/// All that is asked for, a page at a time: the next one is read once the one before is on its way, the first one
/// before there is an answer.
async fn export(office: Arc<Office>, asked: Asked) -> Result<Response, Problem> {
    let (mut query, left) = (asked.query, asked.limit.unwrap_or(u32::MAX));
    query.limit = left.min(AUDIT_PAGE_MAX);
    let first = read(&office, query.clone()).await?;
    let (sender, body) = Channel::new(1);
    tokio::spawn(send(office, query, left, first, sender));
    let mut response = Response::new(Body::new(body));
    seal_headers(&mut response, LINES);
    Ok(response)
}

async fn send(
    office: Arc<Office>,
    mut query: AuditQuery,
    mut left: u32,
    mut page: Vec<AuditEntry>,
    mut sender: Sender<Bytes, io::Error>,
) {
    while let Some(last) = page.last() {
        query.after = Some(last.place);
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        // Whoever hangs up wants no more.
        if sender.send_data(lines(&page)).await.is_err() || left == 0 {
            return;
        }
        query.limit = left.min(AUDIT_PAGE_MAX);
        page = match read(&office, query.clone()).await {
            Ok(page) => page,
            Err(problem) => {
                tracing::warn!(code = problem.code(), "an export of the audit trail broke off");
                // Nobody may take the part for the whole.
                sender.abort(io::Error::other("the audit trail cannot be read"));
                return;
            }
        };
    }
}

fn lines(page: &[AuditEntry]) -> Bytes {
    let mut text = String::new();
    for entry in page {
        text.push_str(&told(entry).to_string());
        text.push('\n');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT;
    use axum::http::{HeaderMap, HeaderValue};
    use execgate_model::UnixMs;
    use execgate_store::{AuditDecision, AuditOrder, AuditPlace, AuditQuery};

    use super::{Asked, wants_lines};

    #[test]
    fn a_query_is_read_whole_or_refused() {
        let asked = Asked::read(Some(
            "since=1970-01-01T00%3A00%3A01Z&until=1970-01-01T00:00:02.500Z&rule=%2Ftools%2Fa~1b&caller=grant:g1&decision=refused\
             &order=oldest&after=5-7&limit=3",
        ))
        .unwrap();
        let expected = AuditQuery {
            since: Some(UnixMs(1_000)),
            until: Some(UnixMs(2_500)),
            rule: Some("/tools/a~1b".to_owned()),
            caller: Some("grant:g1".to_owned()),
            decision: Some(AuditDecision::Refused),
            order: AuditOrder::Oldest,
            after: Some(AuditPlace { at: UnixMs(5), seq: 7 }),
            ..AuditQuery::default()
        };
        assert_eq!((asked.query, asked.limit), (expected, Some(3)));
        for wrong in [
            "since=1h",
            "decision=maybe",
            "order=random",
            "after=5",
            "limit=0",
            "limit=-1",
            "caller=a&caller=b",
            "x=1",
        ] {
            assert_eq!(Asked::read(Some(wrong)).map(|_| ()).unwrap_err().code(), "bad-query", "{wrong}");
        }
    }

    #[test]
    fn lines_come_to_whoever_asks_for_them() {
        let wants = |accept| wants_lines(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        assert!(wants("application/x-ndjson") && wants("text/html, Application/X-NDJSON;q=0.9"));
        assert!(!wants("application/json") && !wants("*/*") && !wants_lines(&HeaderMap::new()));
    }
}
