//! The tool: checks a call, simulates it, or fetches.

use core::time::Duration;

use execgate_model::{BoxFuture, Effect, LimitKind, Product};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::client::Fetch;
use crate::arguments::{Arguments, shown};
use crate::compute::{Ended, wall};
use crate::outbound::{Host, HttpClient, Target, URL_BYTES_MAX};
use crate::pure::Computed;
use crate::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};

const EXAMPLE: &str = r#"{"url": "https://example.com/", "headers": {"accept": "application/json"}}"#;
const NAMES: [&str; 3] = ["url", "headers", "max_bytes"];

/// Headers that a caller may send. Whatever says where a request goes, how, or for whom, is not among them.
const HEADERS: [&str; 12] = [
    "accept",
    "accept-language",
    "api-key",
    "authorization",
    "cache-control",
    "if-modified-since",
    "if-none-match",
    "range",
    "user-agent",
    "x-api-key",
    "x-auth-token",
    "x-request-id",
];

/// The longest value of a header, in bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// What is kept of a body where nothing else is asked for, and the most that can be, in bytes.
const BODY_BYTES: usize = 256 << 10;
const BODY_BYTES_MAX: usize = 1 << 20;

/// The tool.
pub(in crate::builtin) struct HttpGet {
    pub(in crate::builtin) client: HttpClient,
}

impl HttpGet {
    fn read(&self, payload: &Value) -> Result<Fetch, BadCall> {
        let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
        let target = Target::of(arguments.text("url")?).map_err(|rule| arguments.bad("url", &rule))?;
        if let Host::Address(address) = target.host
            && let Some(why) = (self.client.judge())(address)
        {
            return Err(arguments.bad("url", &format!("may not be reached: {why}")));
        }
        let bytes_max = arguments.maybe_count("max_bytes", BODY_BYTES_MAX)?.unwrap_or(BODY_BYTES);
        Ok(Fetch { target, headers: headers(&arguments)?, bytes_max })
    }
}

fn headers(arguments: &Arguments<'_>) -> Result<HeaderMap, BadCall> {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("execgate"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    for (name, value) in arguments.maybe_object("headers")?.into_iter().flatten() {
        let allowed = HEADERS.iter().find(|header| **header == name.as_str());
        let Some(allowed) = allowed else {
            let rule = format!("may not hold `{}`; it may hold {}", shown(name), HEADERS.join(", "));
            return Err(arguments.bad("headers", &rule));
        };
        let value = value.as_str().filter(|value| value.len() <= HEADER_BYTES_MAX);
        let value = value.and_then(|value| HeaderValue::from_str(value).ok());
        let value = value.ok_or_else(|| {
            arguments.bad("headers", &format!("must have texts without line breaks; `{allowed}` has none"))
        })?;
        headers.insert(HeaderName::from_static(allowed), value);
    }
    Ok(headers)
}

impl Tool for HttpGet {
    fn name(&self) -> &'static str {
        "http_get"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Fetches a URL of the public internet with GET. A dry-run touches no network.".into(),
            schema: json!({
                "type": "object",
                "required": ["url"],
                "additionalProperties": false,
                "properties": {
                    "url": {
                        "type": "string",
                        "maxLength": URL_BYTES_MAX,
                        "description": "An absolute http or https URL in its normal form, without user name and password. Hosts that are not on the public \
                                        internet (loopback, private, link-local, cloud metadata) are refused, also behind a redirect."
                    },
                    "headers": {
                        "type": "object",
                        "propertyNames": {"enum": HEADERS},
                        "additionalProperties": {"type": "string", "maxLength": HEADER_BYTES_MAX},
                        "description": "Headers to send, their names in small letters. They are dropped when a redirect leads to another origin."
                    },
                    "max_bytes": {
                        "type": "integer",
                        "minimum": 0,
                        "maximum": BODY_BYTES_MAX,
                        "default": BODY_BYTES,
                        "description": "How much of the body is kept; `truncated` says that there was more. A body that is no text \
                                        is base64, and `body_encoding` says so."
                    }
                },
                "examples": [{"url": "https://example.com/"}]
            }),
        }
    }

    fn reaches_out(&self) -> bool {
        true
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let (fetch, wall) = (self.read(call.payload)?, wall(call.options)?);
        if call.effect == Effect::DryRun {
            let url = call.payload.get("url").and_then(Value::as_str).unwrap_or_default();
            let body = format!("Simulated GET {url}");
            return Ok(Box::new(Computed(json!({"status": 200, "body": body, "headers": {}}))));
        }
        let client = self.client.clone();
        Ok(Box::new(PreparedFetch { client, fetch, wall, place: None }))
    }
}

/// A checked fetch.
struct PreparedFetch {
    client: HttpClient,
    fetch: Fetch,
    wall: Duration,
    place: Option<OwnedSemaphorePermit>,
}

impl Prepared for PreparedFetch {
    fn reserve(&mut self) -> Result<(), NotStarted> {
        self.place = Some(self.client.reserve()?);
        Ok(())
    }

    fn run(self: Box<Self>, context: RunContext) -> BoxFuture<'static, Result<Product, RunFault>> {
        Box::pin(async move {
            let Self { client, fetch, wall, place } = *self;
            let ended = tokio::select! {
                fetched = timeout(wall, fetch.by(&client)) => match fetched {
                    Ok(Ok(answer)) => Ended::Value(answer),
                    Ok(Err(raised)) => Ended::Raised(raised),
                    Err(_elapsed) => Ended::Timeout,
                },
                () = context.cancel.cancelled() => Ended::Limit(LimitKind::Killed),
            };
            drop(place);
            Ok(ended.product(wall))
        })
    }
}
