//! The socket between a gateway and its settler, which is another process: the gateway never has the gas key.
//!
//! Five questions by HTTP on a Unix socket, each a `POST` with JSON. Who may open the socket's file may ask: that is for the
//! rights of its folder to say. What is asked is bounded, and an answer that does not come means that nobody can tell.

use core::convert::Infallible;
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use execgate_line::exchange;
use execgate_model::BoxFuture;
use execgate_payment::evm::{Address, Authorization, ChainId, Token, U256};
use execgate_payment::{
    Facilitator, Finality, Gas, LookError, SettleError, TxHash, Unreachable, Whereabouts,
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::line::{ANSWER_MAX, LineError};
use crate::reason;

/// The longest question, in bytes: an authorization has some 700, and of settlements there are two hundred at once.
const QUESTION_MAX: usize = 512 << 10;

/// How long a settler may take: longer than it keeps anybody waiting.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long the head of a question may take.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Connections at once.
const CONNECTIONS_MAX: usize = 512;

/// Why a socket could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on the socket of the settler")]
pub struct SocketError(#[source] io::Error);

/// Answers at a socket until it is dropped. A file that is there already is replaced.
///
/// # Errors
/// [`SocketError`] if the socket cannot be made.
pub async fn serve(path: &Path, facilitator: Arc<dyn Facilitator>) -> Result<Infallible, SocketError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SocketError(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(SocketError)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the settler failed");
                continue;
            }
        };
        let facilitator = Arc::clone(&facilitator);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let facilitator = Arc::clone(&facilitator);
                async move { Ok::<_, Infallible>(answer(request, facilitator.as_ref()).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the settler ended badly");
            }
            drop(place);
        });
    }
}

async fn answer(request: Request<Incoming>, facilitator: &dyn Facilitator) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), QUESTION_MAX).collect().await;
    let told = match body {
        Ok(body) => told(&path, &body.to_bytes(), facilitator).await,
        Err(_) => None,
    };
    let status = if told.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let body = told.unwrap_or_else(|| json!({"error": "no such question"})).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

/// The answer to a question; none where it is none.
async fn told(path: &str, body: &[u8], facilitator: &dyn Facilitator) -> Option<Value> {
    match path {
        "/settle" => Some(match facilitator.settle(&Authorization::from_bytes(body).ok()?).await {
            Ok(transaction) => json!({"transaction": transaction}),
            Err(SettleError::Refused(reason)) => json!({"refused": reason}),
            Err(SettleError::Unasked(reason)) => json!({"unasked": reason}),
            Err(SettleError::Postponed(reason)) => json!({"postponed": reason}),
            Err(SettleError::Unknown { transaction }) => json!({"unknown": transaction}),
        }),
        "/verify" => Some(match facilitator.verify(&Authorization::from_bytes(body).ok()?).await {
            Ok(units) => json!({"good": true, "units": units}),
            Err(LookError::Refused(reason)) => json!({"refused": reason}),
            Err(LookError::Unreachable(Unreachable(why))) => json!({"unreachable": why}),
        }),
        "/whereabouts" => Some(match facilitator.whereabouts(&Authorization::from_bytes(body).ok()?).await {
            Ok(Whereabouts::Unused) => json!({"word": "unused"}),
            Ok(Whereabouts::Used { transaction, to_us }) => {
                json!({"word": "used", "transaction": transaction, "toUs": to_us})
            }
            Ok(Whereabouts::Expired) => json!({"word": "expired"}),
            Ok(Whereabouts::Cancelled) => json!({"word": "cancelled"}),
            Err(Unreachable(why)) => json!({"unreachable": why}),
        }),
        "/finality" => {
            let question: Vec<(Value, Option<TxHash>)> = serde_json::from_slice(body).ok()?;
            let read = |(kept, hash): (Value, _)| {
                Some((Authorization::from_bytes(kept.to_string().as_bytes()).ok()?, hash))
            };
            let settled = question.into_iter().map(read).collect::<Option<Vec<_>>>()?;
            Some(match facilitator.finality(&settled).await {
                Ok(told) => json!({"told": told.into_iter().map(word).collect::<Vec<_>>()}),
                Err(Unreachable(why)) => json!({"unreachable": why}),
            })
        }
        "/balance" => {
            let mut question: Value = serde_json::from_slice(body).ok()?;
            let token: Token = serde_json::from_value(question["token"].take()).ok()?;
            let account: Address = question["account"].as_str()?.parse().ok()?;
            Some(match facilitator.balance(&token, account).await {
                Ok(units) => json!({"units": units}),
                Err(Unreachable(why)) => json!({"unreachable": why}),
            })
        }
        "/gas" => Some(match facilitator.gas().await {
            Ok(Some(gas)) => {
                json!({"account": gas.account, "wei": gas.wei.to_string(), "nonce": gas.nonce})
            }
            Ok(None) => json!({"account": null}),
            Err(Unreachable(why)) => json!({"unreachable": why}),
        }),
        _ => None,
    }
}

fn word(finality: Finality) -> Value {
    match finality {
        Finality::Final(transaction) => json!({"word": "final", "transaction": transaction}),
        Finality::Fresh => json!({"word": "fresh"}),
        Finality::Open => json!({"word": "open"}),
        Finality::Gone => json!({"word": "gone"}),
        Finality::Unclear => json!({"word": "unclear"}),
    }
}

fn finality_of(told: &Value) -> Finality {
    match (told["word"].as_str(), hash(&told["transaction"])) {
        (Some("final"), Some(transaction)) => Finality::Final(transaction),
        (Some("fresh"), _) => Finality::Fresh,
        (Some("open"), _) => Finality::Open,
        (Some("gone"), _) => Finality::Gone,
        _ => Finality::Unclear,
    }
}

/// The gateway's side of the socket.
#[derive(Debug, Clone)]
pub struct Counter(PathBuf);

impl Counter {
    /// The settler behind a socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self(socket)
    }

    async fn ask(&self, path: &'static str, body: Vec<u8>) -> Result<Value, LineError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, "settler")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| LineError::Address)?;
        let asked = async {
            let stream = UnixStream::connect(&self.0).await.map_err(LineError::Connect)?;
            Ok(exchange(stream, request, ANSWER_MAX).await?)
        };
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        let reply = asked.unwrap_or_else(|late| Err(LineError::Broken(late.into())))?;
        serde_json::from_slice(&reply.body).map_err(|error| LineError::Broken(error.into()))
    }

    async fn look(&self, path: &'static str, body: Vec<u8>) -> Result<Value, Unreachable> {
        let answer = self.ask(path, body).await.map_err(|error| Unreachable(error.to_string()))?;
        match answer["unreachable"].as_str() {
            Some(why) => Err(Unreachable(why.to_owned())),
            None => Ok(answer),
        }
    }
}

fn hash(value: &Value) -> Option<TxHash> {
    value.as_str()?.parse().ok()
}

fn strange() -> Unreachable {
    Unreachable("the settler answers what was not asked".to_owned())
}

impl Facilitator for Counter {
    fn name(&self) -> &'static str {
        "settler"
    }

    fn verify<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(async move {
            let body = authorization.to_bytes().map_err(|error| Unreachable(error.to_string()))?;
            let answer = self.look("/verify", body).await?;
            let units = answer["units"].as_str().map(str::parse).transpose();
            match (answer["good"].as_bool(), answer["refused"].as_str(), units) {
                (Some(true), None, Ok(units)) => Ok(units),
                (None, Some(reason), _) => Err(LookError::Refused(reason.to_owned())),
                _ => Err(strange().into()),
            }
        })
    }

    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(async move {
            let unknown = SettleError::Unknown { transaction: None };
            let Ok(body) = authorization.to_bytes() else { return Err(unknown) };
            match self.ask("/settle", body).await {
                Ok(answer) => match (hash(&answer["transaction"]), answer["refused"].as_str()) {
                    (Some(transaction), _) => Ok(transaction),
                    (None, Some(reason)) => Err(SettleError::Refused(reason.to_owned())),
                    (None, None) => Err(match (answer["unasked"].as_str(), answer["postponed"].as_str()) {
                        (Some(reason), _) => SettleError::Unasked(reason.to_owned()),
                        (None, Some(reason)) => SettleError::Postponed(reason.to_owned()),
                        (None, None) => SettleError::Unknown { transaction: hash(&answer["unknown"]) },
                    }),
                },
                Err(error) => {
                    tracing::warn!(%error, unasked = error.is_unasked(), "the settler does not answer");
                    // Its journal says later that it knows nothing of it, and it is asked for again.
                    let postponed = SettleError::Postponed(reason::UNREACHED.to_owned());
                    Err(if error.is_unasked() { postponed } else { unknown })
                }
            }
        })
    }

    fn whereabouts<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async move {
            let body = authorization.to_bytes().map_err(|error| Unreachable(error.to_string()))?;
            let answer = self.look("/whereabouts", body).await?;
            match (answer["word"].as_str(), answer["toUs"].as_bool()) {
                (Some("unused"), _) => Ok(Whereabouts::Unused),
                (Some("expired"), _) => Ok(Whereabouts::Expired),
                (Some("cancelled"), _) => Ok(Whereabouts::Cancelled),
                (Some("used"), Some(to_us)) => {
                    Ok(Whereabouts::Used { transaction: hash(&answer["transaction"]), to_us })
                }
                _ => Err(strange()),
            }
        })
    }

    fn balance<'a>(&'a self, token: &'a Token, account: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async move {
            let question = json!({"token": token, "account": account}).to_string().into_bytes();
            let answer = self.look("/balance", question).await?;
            answer["units"].as_str().and_then(|units| units.parse().ok()).ok_or_else(strange)
        })
    }

    /// A settler is of one network, and has a node of it.
    fn shows(&self, _chain: ChainId) -> bool {
        true
    }

    fn finality<'a>(
        &'a self,
        settled: &'a [(Authorization, Option<TxHash>)],
    ) -> BoxFuture<'a, Result<Vec<Finality>, Unreachable>> {
        Box::pin(async move {
            let kept = |(authorization, hash): &(Authorization, Option<TxHash>)| {
                let bytes = authorization.to_bytes().map_err(|error| Unreachable(error.to_string()))?;
                let kept: Value = serde_json::from_slice(&bytes).map_err(|_| strange())?;
                Ok(json!([kept, hash]))
            };
            let question = settled.iter().map(kept).collect::<Result<Vec<_>, Unreachable>>()?;
            let answer = self.look("/finality", Value::from(question).to_string().into_bytes()).await?;
            let told = answer["told"].as_array().filter(|told| told.len() == settled.len());
            Ok(told.ok_or_else(strange)?.iter().map(finality_of).collect())
        })
    }

    fn gas(&self) -> BoxFuture<'_, Result<Option<Gas>, Unreachable>> {
        Box::pin(async move {
            let answer = self.look("/gas", Vec::new()).await?;
            if answer.get("account") == Some(&Value::Null) {
                return Ok(None);
            }
            let account = answer["account"].as_str().and_then(|account| account.parse().ok());
            let wei = answer["wei"].as_str().and_then(|wei| wei.parse().ok());
            match (account, wei, answer["nonce"].as_u64()) {
                (Some(account), Some(wei), Some(nonce)) => Ok(Some(Gas { account, wei, nonce })),
                _ => Err(strange()),
            }
        })
    }
}
