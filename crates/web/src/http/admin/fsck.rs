//! `GET /fsck`: checks the whole record, and tells line by line how far it is, what does not hold, and what there was.
//!
//! An answer without an `end` in its last line is no answer: the check broke off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use execgate_flow::Refusal;
use execgate_flow::examine::{Counts, Examination, ExamineError, Finding, Report, Told};
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::office::Office;
use crate::problem::{Problem, seal_headers};

/// The media type of the answer (ndjson-spec 1.0).
const LINES: &str = "application/x-ndjson";

/// Lines that wait to be sent: the check goes no faster than it is read.
const WAITING_MAX: usize = 64;

/// How long nothing is said, at the most: whoever listens knows that the check lives.
const SILENCE: Duration = Duration::from_secs(2);

/// `GET /fsck`.
pub(crate) async fn fsck(State(office): State<Arc<Office>>) -> Response {
    let Ok(turn) = Arc::clone(&office.fsck_turn).try_acquire_owned() else {
        let reason = "the record is being checked already; one check at a time";
        return Problem::from(Refusal::Busy { rule: "fsck-busy", reason }).into_response();
    };
    let (sender, body) = Channel::new(1);
    let (told, lines) = mpsc::channel(WAITING_MAX);
    let (store, keys) = (Arc::clone(&office.parts.store), (office.parts.published)().into());
    // The check has the turn, and not whoever asked: it ends a moment after they hang up.
    let check = tokio::spawn(async move {
        let ended = Examination::run(store.as_ref(), keys, told).await;
        drop(turn);
        ended
    });
    tokio::spawn(send(lines, check, sender));
    let mut response = Response::new(Body::new(body));
    seal_headers(&mut response, LINES);
    response
}

async fn send(
    mut lines: Receiver<Told>,
    check: JoinHandle<Result<Report, ExamineError>>,
    mut sender: Sender<Bytes, io::Error>,
) {
    let mut last = json!({"progress": null});
    loop {
        let line = match timeout(SILENCE, lines.recv()).await {
            Ok(None) => break,
            Ok(Some(Told::Found(finding))) => describe(&finding),
            Ok(Some(Told::At { step, done, of })) => {
                last = json!({"progress": {"step": step.as_str(), "done": done, "of": of}});
                last.clone()
            }
            Err(_) => last.clone(),
        };
        if sender.send_data(written(&line)).await.is_err() {
            return;
        }
    }
    match check.await {
        // Whoever has hung up by now wants no end.
        Ok(Ok(report)) => drop(sender.send_data(written(&end(&report))).await),
        Ok(Err(error)) => {
            tracing::error!(%error, "a check of the record broke off");
            sender.abort(io::Error::other("the record cannot be read"));
        }
        Err(error) => {
            tracing::error!(%error, "a check of the record broke off");
            sender.abort(io::Error::other("the check broke off"));
        }
    }
}

fn written(line: &Value) -> Bytes {
    format!("{line}\n").into()
}

fn describe(finding: &Finding) -> Value {
    json!({"finding": {
        "rule": finding.rule.as_str(),
        "run": finding.run,
        "leaf": finding.leaf,
        "what": finding.what,
        "text": finding.to_string(),
    }})
}

fn end(report: &Report) -> Value {
    let Counts {
        runs,
        open,
        unknown,
        receipts,
        answers,
        leaves,
        undone,
        payments,
        captured,
        released,
        reversed,
        held,
        replaced,
    } = report.counts;
    json!({"end": {
        "sound": report.findings == 0,
        "findings": report.findings,
        "runs": runs,
        "open": open,
        "unknown": unknown,
        "receipts": receipts,
        "answers": answers,
        "leaves": leaves,
        "undone": undone,
        "payments": payments,
        "captured": captured,
        "released": released,
        "reversed": reversed,
        "held": held,
        "replaced": replaced,
    }})
}
