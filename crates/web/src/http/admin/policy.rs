//! `GET /policy` and `POST /policy/reload`: which rules are in force, and whether they are those of the operator's file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::http;
use crate::http::admin::{answer, asked};
use crate::office::{Office, RuleDesk, RuleFault};
use crate::problem::Problem;

/// `GET /policy`.
pub(crate) async fn show(State(office): State<Arc<Office>>) -> Response {
    answer(async { Ok(http::json(StatusCode::OK, &describe(&**desk(&office)?))) }).await
}

/// `POST /policy/reload`: looks at the file now, which happens by itself every few seconds.
pub(crate) async fn reload(State(office): State<Arc<Office>>, headers: HeaderMap, body: Body) -> Response {
    answer(async {
        asked(&office, &headers, body, |_| Ok(())).await?;
        let desk = Arc::clone(desk(&office)?);
        // On a thread that may wait for a disk.
        let looked = tokio::task::spawn_blocking(move || {
            desk.look();
            describe(&*desk)
        });
        Ok(http::json(StatusCode::OK, &looked.await.map_err(|_| Problem::fault())?))
    })
    .await
}

fn desk(office: &Office) -> Result<&Arc<dyn RuleDesk>, Problem> {
    office.parts.rules.as_ref().ok_or_else(|| Problem::not_found("no gateway has rules in force here"))
}

/// Nothing of the file itself is told: what is wrong in it is for whoever may read it.
fn describe(desk: &dyn RuleDesk) -> Value {
    let standing = desk.standing();
    let fault = standing.fault.map(|fault| match fault {
        RuleFault::Unreadable => json!({"what": "the file cannot be read"}),
        RuleFault::Wrong { place: None } => json!({"what": "the file is no policy"}),
        RuleFault::Wrong { place: Some((line, column)) } => {
            json!({"what": "the file is no policy", "line": line, "column": column})
        }
        RuleFault::NotVouched => json!({"what": "the file was changed by one whose change does not count"}),
    });
    json!({
        "digest": standing.digest,
        "file": standing.file,
        "sound": fault.is_none(),
        "fault": fault,
    })
}
