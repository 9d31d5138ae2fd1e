//! An action that asks a service: one request to the one host, and its answer without secrets.

use core::time::Duration;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use execgate_model::{BoxFuture, Effect, ErrorReport, LimitKind, Product, RunId, Verdict};
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::bad::BadAction;
use super::body::{Body, SecretText, Shown};
use super::definition::{ActionEffect, Common, HttpSpec};
use super::redact::{BEHIND, Redactor};
use super::schema::Schema;
use super::secret::Secrets;
use super::url::UrlTemplate;
use crate::compute::{Ended, Raised};
use crate::guest_json::{Numbers, value};
use crate::outbound::{
    Exchange, HttpClient, Outgoing, Target, judge_private, judge_within, read, refuse_encoded, shown_headers,
    text,
};
use crate::pure::Computed;
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// By which an upstream knows a call that it has had before: the run's id (CONTRACTS 4).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that say where a request goes, how it is carried, or that are ours.
const OURS: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The most headers.
const HEADERS_MAX: usize = 32;

/// What is kept of an answer where nothing else is said, and the most that can be, in bytes.
const ANSWER_BYTES: usize = 256 << 10;
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The value of a header.
#[derive(Debug)]
enum HeaderText {
    Fixed(HeaderValue),
    Secret(SecretText),
}

/// The request of an action.
pub(super) struct HttpRequest {
    method: Method,
    url: UrlTemplate,
    headers: Vec<(HeaderName, HeaderText)>,
    body: Body,
    allow_private: bool,
    has_secrets: bool,
    bytes_max: usize,
    redactor: Redactor,
}

impl HttpRequest {
    pub(super) fn new(spec: &HttpSpec, schema: &Schema, secrets: &Secrets) -> Result<Self, BadAction> {
        let bad = |field: &'static str, rule: String| BadAction::field(field, rule);
        let method = METHODS.into_iter().find(|method| method.as_str() == spec.method);
        let method = method.ok_or_else(|| {
            let names: Vec<_> = METHODS.iter().map(Method::as_str).collect();
            bad("method", format!("must be one of {}", names.join(", ")))
        })?;
        let url = UrlTemplate::new(&spec.url, &spec.query, schema, secrets)?;
        let body = Body::new(spec.body.as_ref(), schema, secrets)?;
        if matches!(method, Method::GET | Method::HEAD) && !matches!(body, Body::Empty) {
            return Err(bad("body", format!("does not go with {method}")));
        }
        if spec.headers.len() > HEADERS_MAX {
            return Err(bad("headers", format!("may have {HEADERS_MAX} members")));
        }
        let headers = spec.headers.iter().map(|(name, text)| header(name, text, secrets));
        let headers: Vec<_> = headers.collect::<Result<_, _>>()?;
        let bytes_max = spec.bytes_max.unwrap_or(ANSWER_BYTES);
        if bytes_max > ANSWER_BYTES_MAX {
            return Err(bad("max_bytes", format!("may be {ANSWER_BYTES_MAX}")));
        }
        let in_headers = headers.iter().filter_map(|(_, text)| match text {
            HeaderText::Secret(secret) => Some(secret),
            HeaderText::Fixed(_) => None,
        });
        let used: Vec<_> = in_headers.chain(url.secrets()).chain(body.secrets()).collect();
        if !used.is_empty() && !url.is_tls() && !spec.allow_private {
            let rule = "must begin with https://: a secret does not cross the internet in the clear";
            return Err(bad("url", rule.to_owned()));
        }
        let redactor = Redactor::of(used.iter().map(|used| &used.secret));
        let (allow_private, has_secrets) = (spec.allow_private, !used.is_empty());
        Ok(Self { method, url, headers, body, allow_private, has_secrets, bytes_max, redactor })
    }

    /// The tool that this request is.
    pub(super) fn tool(request: &Arc<Self>, common: Arc<Common>, client: &HttpClient) -> impl Tool + 'static {
        let client = match (request.allow_private, request.url.is_tls() || !request.has_secrets) {
            (true, true) => client.judged_by(judge_private),
            (true, false) => client.judged_by(judge_within),
            (false, _) => client.clone(),
        };
        HttpAction { common, request: Arc::clone(request), client }
    }

    /// The headers that a request has beside those of every request.
    fn headers(&self, shown: Shown) -> Result<HeaderMap, BadCall> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("execgate"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        if !matches!(self.body, Body::Empty) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, text) in &self.headers {
            let value = match text {
                HeaderText::Fixed(value) => value.clone(),
                HeaderText::Secret(secret) => {
                    let value = HeaderValue::from_str(&secret.text(shown));
                    let mut value =
                        value.map_err(|_| BadCall::at("", "a header of this action cannot be sent"))?;
                    value.set_sensitive(shown == Shown::Real);
                    value
                }
            };
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }

    /// What would be sent, for a dry-run.
    fn description(&self, payload: &Value, effect: ActionEffect) -> Result<Value, BadCall> {
        let mut headers = shown_headers(&self.headers(Shown::Reference)?);
        headers.insert(IDEMPOTENCY_KEY.to_string(), "[id of the run]".into());
        Ok(json!({
            "simulated": true,
            "effect": effect.word(),
            "request": {
                "method": self.method.as_str(),
                "url": self.url.fill(payload, Shown::Reference)?,
                "headers": headers,
                "body": self.body.fill(payload, Shown::Reference),
            },
        }))
    }
}

fn header(name: &str, text: &Value, secrets: &Secrets) -> Result<(HeaderName, HeaderText), BadAction> {
    let bad = |rule: String| BadAction::field("headers", rule);
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("have names of HTTP".to_owned()))?;
    if OURS.contains(&known.as_str()) {
        return Err(bad(format!("may not hold `{known}`, which is the gateway's own")));
    }
    if let Some(secret) = SecretText::read("headers", text, secrets)? {
        return Ok((known, HeaderText::Secret(secret)));
    }
    let text = text.as_str().filter(|text| !text.contains(['{', '}']));
    let value = text.and_then(|text| HeaderValue::from_str(text).ok());
    let value = value.ok_or_else(|| bad("are texts of one line without places, or secrets".to_owned()))?;
    Ok((known, HeaderText::Fixed(value)))
}

struct HttpAction {
    common: Arc<Common>,
    request: Arc<HttpRequest>,
    client: HttpClient,
}

impl Tool for HttpAction {
    fn name(&self) -> &str {
        &self.common.name
    }

    fn describe(&self) -> Description {
        self.common.describe()
    }

    fn reaches_out(&self) -> bool {
        true
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let (common, request) = (&self.common, &self.request);
        common.schema.check(call.payload)?;
        let wall = common.wall(call.options)?;
        // The rule that is broken may quote a secret.
        let target = Target::of(&request.url.fill(call.payload, Shown::Real)?)
            .map_err(|_rule| BadCall::at("", "the URL of this call would be too long, or none"))?;
        let headers = request.headers(Shown::Real)?;
        if call.effect == Effect::DryRun {
            return Ok(Box::new(Computed(request.description(call.payload, common.effect)?)));
        }
        let body =
            request.body.fill(call.payload, Shown::Real).map(|body| body.to_string()).unwrap_or_default();
        Ok(Box::new(PreparedCall {
            common: Arc::clone(common),
            request: Arc::clone(request),
            client: self.client.clone(),
            target,
            headers,
            body: body.into(),
            wall,
            place: None,
        }))
    }
}

/// A checked call. It holds secrets, and shows nothing.
struct PreparedCall {
    common: Arc<Common>,
    request: Arc<HttpRequest>,
    client: HttpClient,
    target: Target,
    headers: HeaderMap,
    body: Bytes,
    wall: Duration,
    place: Option<OwnedSemaphorePermit>,
}

/// What came back, as it came.
struct Received {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    is_cut: bool,
}

impl Prepared for PreparedCall {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.place = Some(self.client.reserve()?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { common, request, client, target, headers, body, wall, place } = *self;
            let bytes_max = request.bytes_max + BEHIND;
            let asked = Outgoing { method: request.method.clone(), target: &target, headers, body };
            let received = tokio::select! {
                received = timeout(wall, ask(&client, asked, context.run, bytes_max)) => {
                    received.unwrap_or(Err(Ended::Timeout))
                }
                () = context.cancel.cancelled() => Err(Ended::Limit(LimitKind::Killed)),
            };
            drop(place);
            // A large answer takes a while to search.
            let told = spawn_blocking(move || {
                let product = match received {
                    Ok(received) => request.product(&received),
                    Err(Ended::Raised(raised)) => request.cleaned(&raised).product(wall),
                    Err(ended) => ended.product(wall),
                };
                Product { enforced: json!({"action": common.enforced("http")}), ..product }
            });
            told.await
                .map_err(|_panic| RunFault::Lost("an answer could not be searched for secrets".to_owned()))
        })
    }
}

async fn ask(
    client: &HttpClient,
    mut asked: Outgoing<'_>,
    run: RunId,
    bytes_max: usize,
) -> Result<Received, Ended> {
    let key = HeaderValue::from_str(&run.to_string());
    let key = key.map_err(|_| Ended::Raised(Raised::new("BadCall", "the id of the run is no header")))?;
    asked.headers.insert(IDEMPOTENCY_KEY, key);
    let Exchange { response, connection: _open } = client.exchange(asked).await.map_err(Ended::Raised)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    refuse_encoded(&headers).map_err(Ended::Raised)?;
    let (body, is_cut) = read(response.into_body(), bytes_max).await.map_err(Ended::Raised)?;
    Ok(Received { status, headers, body, is_cut })
}

impl HttpRequest {
    fn cleaned(&self, raised: &Raised) -> Ended {
        Ended::Raised(Raised::new(&raised.name, self.redactor.clean_text(&raised.message)))
    }

    /// What an answer is to the caller: a value where the service says 2xx, else an exception that shows the answer. A
    /// redirect is not followed, so that it is no success.
    fn product(&self, received: &Received) -> Product {
        let is_cut = received.is_cut || received.body.len() > self.bytes_max;
        let body = self.redactor.clean(&received.body, self.bytes_max);
        let (body, format) = shown(&body, &received.headers, is_cut);
        let body = self.redactor.clean_value(body);
        let headers: Map<_, _> = shown_headers(&received.headers)
            .into_iter()
            .map(|(name, text)| {
                let text = text.as_str().map(|text| self.redactor.clean_text(text));
                (self.redactor.clean_text(&name), text.into())
            })
            .collect();
        let mut result =
            json!({"status": received.status, "headers": headers, "body": body, "body_format": format});
        if is_cut {
            result["truncated"] = true.into();
        }
        if (200..300).contains(&received.status) {
            return Product { verdict: Verdict::Value, result, error: None, enforced: Value::Null };
        }
        let message = format!("the service answered with status {}", received.status);
        result["error"] = json!({"name": "UpstreamStatus", "message": message});
        let error = ErrorReport { name: "UpstreamStatus".to_owned(), message, traceback: String::new() };
        Product { verdict: Verdict::Exception, result, error: Some(error), enforced: Value::Null }
    }
}

/// A body as it is shown, and how.
fn shown(body: &[u8], headers: &HeaderMap, is_cut: bool) -> (Value, &'static str) {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let says_json = kind == "application/json" || kind.ends_with("+json");
    if let Some(json) = (says_json && !is_cut).then(|| value(body, Numbers::Exact).ok()).flatten() {
        return (json, "json");
    }
    match text(body, is_cut) {
        Some(text) => (text.into(), "text"),
        None => (STANDARD.encode(body).into(), "base64"),
    }
}
