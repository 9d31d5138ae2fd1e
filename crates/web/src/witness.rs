//! The door of a witness (C2SP tlog-witness). It knows nobody: what counts is whether a known log has signed what comes.
//!
//! A page in a browser has no business here, so that hosts and origins are asked as at the other doors; the protocol
//! names no content type.

use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use execgate_receipt::{MAX_NOTE_BYTES, WitnessRefusal};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::doors::{DoorRules, check};
use crate::problem::Problem;

/// The largest request, in bytes: a checkpoint, and 63 hashes.
const REQUEST_MAX: usize = MAX_NOTE_BYTES + (4 << 10);

/// How long a request may take to come in.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What a size is sent as (C2SP tlog-witness).
const SIZE_TYPE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");

/// What everything else is sent as.
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why a witness answers with something other than a cosignature.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The checkpoint is refused.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
    /// What was cosigned could not be made durable, so it is not cosigned.
    #[error("the witness could not keep what it was to cosign")]
    Unkept,
}

/// A witness.
pub trait WitnessDesk: Send + Sync {
    /// Judges the request of `add-checkpoint`: lines of cosignatures, which are durable. May wait for a disk.
    ///
    /// # Errors
    /// [`WitnessError`] says why there is none.
    fn add_checkpoint(&self, body: &[u8]) -> Result<String, WitnessError>;

    /// Who it is, for whoever looks: its verifier key.
    fn verifier(&self) -> String;
}

/// What every handler shares.
struct Booth {
    desk: Arc<dyn WitnessDesk>,
    doors: DoorRules,
    /// One at a time, so that those who wait hold no thread.
    turn: Mutex<()>,
}

/// The router of a witness, which is reached under these host names beside `localhost` and addresses.
pub fn witness_router(desk: Arc<dyn WitnessDesk>, hosts: Vec<String>) -> Router {
    let doors = DoorRules { hosts, ..DoorRules::default() };
    let booth = Arc::new(Booth { desk, doors, turn: Mutex::new(()) });
    Router::new()
        .route("/", get(who))
        .route("/add-checkpoint", post(add_checkpoint))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed().into_response() })
        .fallback(|| async { Problem::not_found("a witness has / and /add-checkpoint").into_response() })
        .layer(from_fn_with_state(Arc::clone(&booth), guard))
        .with_state(booth)
}

async fn guard(State(booth): State<Arc<Booth>>, request: Request, next: Next) -> Response {
    match check(&booth.doors, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// `GET /`: the verifier key, which an operator holds against what the witness has told by another way.
async fn who(State(booth): State<Arc<Booth>>) -> Response {
    ([(CONTENT_TYPE, TEXT_TYPE)], format!("{}\n", booth.desk.verifier())).into_response()
}

/// `POST /add-checkpoint`.
async fn add_checkpoint(State(booth): State<Arc<Booth>>, body: Body) -> Response {
    let read = timeout(REQUEST_TIME, to_bytes(body, REQUEST_MAX)).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Problem::too_large(REQUEST_MAX).into_response(),
        Err(_) => return Problem::slow_body().into_response(),
    };
    let _turn = booth.turn.lock().await;
    let desk = Arc::clone(&booth.desk);
    match spawn_blocking(move || desk.add_checkpoint(&body)).await {
        Ok(Ok(lines)) => ([(CONTENT_TYPE, TEXT_TYPE)], lines).into_response(),
        Ok(Err(WitnessError::Refused(WitnessRefusal::Stale { size }))) => {
            (StatusCode::CONFLICT, [(CONTENT_TYPE, SIZE_TYPE)], format!("{size}\n")).into_response()
        }
        Ok(Err(error)) => Problem::from(error).into_response(),
        Err(_) => Problem::fault().into_response(),
    }
}
