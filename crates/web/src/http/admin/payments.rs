//! `/payments`: money that is not settled, and the operator's word on it, which no key of a grant has.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use execgate_flow::administer::{AdministerError, By};
use execgate_flow::settle::{ByHand, Reconciled, Settle, Unasked, Unsettled, unsettled};
use execgate_model::{Digest, RunId, UnixMs};
use execgate_payment::SettlementState;
use execgate_receipt::Timestamp;
use serde_json::{Value, json};

use crate::admit::Administrator;
use crate::http;
use crate::http::admin::{answer, asked};
use crate::office::Office;
use crate::problem::Problem;

/// Milliseconds in a second.
const SECOND_MS: u64 = 1_000;

/// `GET /payments`: oldest first.
pub(crate) async fn list(State(office): State<Arc<Office>>) -> Response {
    answer(async {
        let found = unsettled(office.parts.store.as_ref()).await.map_err(AdministerError::from)?;
        let UnixMs(now) = office.parts.clock.now();
        Ok(http::json(StatusCode::OK, &found.iter().map(|unsettled| describe(unsettled, now)).collect()))
    })
    .await
}

/// `POST /payments/{id}/retry`: looks where the payments of a run are, and asks again for what may still be taken. 404 where
/// nothing of it is open and there is no such run.
pub(crate) async fn retry(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        asked(&office, &headers, body, |_| Ok(())).await?;
        let run = named(&id)?;
        let found = settle(&office)?.reconcile(Some(run)).await?;
        if found == Reconciled::default() {
            // A run that was taken back is not there either; what is loose of it is found above.
            office.administer.run(run).await?;
        }
        Ok(http::json(
            StatusCode::OK,
            &json!({
                "captured": found.captured,
                "unpaid": found.unpaid,
                "released": found.released,
                "left": found.left,
            }),
        ))
    })
    .await
}

/// `POST /payments/{id}/end`: what the operator has found out about a payment of a run, where nobody else can tell.
pub(crate) async fn end(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let By::Operator { .. } = administrator.by() else {
            let (rule, what) = ("operator-only/payments", "the word on what became of a payment");
            return Err(AdministerError::OperatorOnly { rule, what }.into());
        };
        let (word, transaction, payment, only_if_asked) = asked(&office, &headers, body, |fields| {
            let (word, transaction) = (fields.text("word")?, fields.optional_text("transaction")?);
            Ok((word, transaction, fields.optional_text("payment")?, fields.switch("only_if_asked")?))
        })
        .await?;
        let unasked = if only_if_asked { Unasked::Refused } else { Unasked::Taken };
        let end = match (word.as_str(), transaction) {
            ("taken", Some(reference)) => ByHand::Taken { reference },
            ("gone", None) => ByHand::Gone,
            ("taken" | "gone", _) => {
                let detail = "`transaction` is what took it: it is named where it was taken, and only there";
                return Err(Problem::bad_field("/transaction", detail));
            }
            _ => return Err(Problem::bad_field("/word", "`word` is `taken` or `gone`")),
        };
        let read = |text: String| {
            text.parse::<Digest>()
                .map_err(|_| Problem::bad_field("/payment", "this is no digest of a payment"))
        };
        let payment = payment.map(read).transpose()?;
        let ended = settle(&office)?.end_by_word(named(&id)?, payment, end, unasked).await?;
        Ok(http::json(
            StatusCode::OK,
            &json!({
                "run": named(&id)?,
                "payment": ended.payment,
                "payer": ended.payer,
                "rail": ended.rail,
                "amount": ended.amount,
                "state": state(ended.state),
                "credit": ended.is_credit,
                "unasked": ended.unasked,
            }),
        ))
    })
    .await
}

const fn state(state: SettlementState) -> &'static str {
    match state {
        SettlementState::Free => "free",
        SettlementState::Captured => "captured",
        SettlementState::Released => "released",
        SettlementState::Unpaid => "unpaid",
        SettlementState::Pending => "pending",
    }
}

fn settle(office: &Office) -> Result<&Settle, Problem> {
    office.settle.as_ref().ok_or_else(Problem::no_rails)
}

fn named(id: &str) -> Result<RunId, Problem> {
    id.parse().map_err(|_| Problem::bad_request("bad-id", "this is no id of a run"))
}

/// A payment as JSON. What could move it is not in it.
fn describe(unsettled: &Unsettled, now: u64) -> Value {
    let age = unsettled.since.map(|UnixMs(since)| now.saturating_sub(since) / SECOND_MS);
    json!({
        "run": unsettled.run,
        "payment": unsettled.payment,
        "state": unsettled.standing.as_str(),
        "payer": unsettled.payer,
        "rail": unsettled.rail,
        "amount": unsettled.amount,
        "reference": unsettled.reference,
        "since": unsettled.since.and_then(|at| Timestamp::new(at).ok()),
        "age_s": age,
    })
}
