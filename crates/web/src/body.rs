//! Reading a body: its type, its size, its time, and strict JSON.

use core::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use execgate_receipt::parse_strict;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::problem::Problem;

/// The largest body, in bytes: 4 MiB of files as base64, or as escaped text, and the rest.
const BODY_MAX: usize = 8 << 20;

/// Up to this many bytes a body needs no place of its own; most calls are far smaller.
const SMALL_MAX: usize = 1 << 20;

/// Larger bodies that are held at once: what bounds the memory that callers can fill by sending slowly.
static LARGE: Semaphore = Semaphore::const_new(16);

/// How long a whole body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Reads a body as one JSON object.
pub(crate) async fn json_object(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Problem> {
    if !is_json(headers) {
        return Err(Problem::content_type());
    }
    // What says that it is too large need not be waited for.
    if usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX) > BODY_MAX {
        return Err(Problem::too_large(BODY_MAX));
    }
    let read = tokio::time::timeout(BODY_TIME, whole(body)).await;
    let (bytes, _place) = read.map_err(|_| Problem::slow_body())??;
    let value = parse_strict(&bytes).map_err(|error| Problem::bad_json(&error))?;
    if let Value::Object(fields) = value {
        Ok(fields)
    } else {
        Err(Problem::bad_field("", "the body must be a JSON object"))
    }
}

/// Reads a body to its end, and holds a place among the large ones for as long as a large one is held.
async fn whole(mut body: Body) -> Result<(Vec<u8>, Option<SemaphorePermit<'static>>), Problem> {
    let mut bytes = Vec::new();
    let mut place = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("broken-body", "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = bytes.len() + data.len();
        if length > BODY_MAX {
            return Err(Problem::too_large(BODY_MAX));
        }
        if length > SMALL_MAX && place.is_none() {
            place = Some(LARGE.try_acquire().map_err(|_| Problem::many_large_bodies())?);
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, place))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Takes the fields of a body one by one, and refuses what is left over.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A field of any type; null is as good as absent.
    pub(crate) fn any(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A switch, which is off where it is absent.
    pub(crate) fn switch(&mut self, name: &str) -> Result<bool, Problem> {
        match self.any(name) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(on),
            Some(_) => Err(Problem::bad_field(format!("/{name}"), format!("`{name}` must be true or false"))),
        }
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.0
    }

    /// A text that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, Problem> {
        match self.any(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Problem::bad_field(format!("/{name}"), format!("`{name}` must be a string"))),
            None => Err(Problem::bad_field(format!("/{name}"), format!("`{name}` is required"))),
        }
    }

    /// Refuses fields that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                let place = name.replace('~', "~0").replace('/', "~1");
                Err(Problem::bad_field(format!("/{place}"), format!("unknown field `{name}`")))
            }
        }
    }
}
