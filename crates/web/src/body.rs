//! Reading a body: its type, its size, its time, and strict JSON.

use core::time::Duration;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use execgate_flow::parking::Lodging;
use execgate_model::BodyPlace;
use execgate_receipt::parse_strict;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// The largest body, in bytes: 4 MiB of files as base64, or as escaped text, and the rest.
const BODY_MAX: usize = 8 << 20;

/// What of a body takes one place, in bytes. Most calls are smaller, and need none.
const PLACE_BYTES: usize = 64 << 10;

/// Places for larger bodies, 128 MiB together: what bounds the memory that callers fill by sending slowly, or by
/// waiting for the end of another run.
const PLACES: usize = (128 << 20) / PLACE_BYTES;

/// The longest approval artifact as JSON, in bytes.
const ARTIFACT_MAX: usize = 64 << 10;

/// How long a whole body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The bodies of one gateway.
#[derive(Debug)]
pub(crate) struct Bodies {
    places: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl Lodging for Bodies {
    fn lodge(&self, bytes: u64) -> Option<BodyPlace> {
        let wanted = usize::try_from(bytes).ok()? / PLACE_BYTES;
        if wanted == 0 {
            return Some(BodyPlace::default());
        }
        let places = Arc::clone(&self.places).try_acquire_many_owned(u32::try_from(wanted).ok()?).ok()?;
        Some(BodyPlace::new(places))
    }
}

impl Bodies {
    /// Reads a body as one JSON object. What it takes up is to be kept for as long as its fields are.
    pub(crate) async fn json_object(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Map<String, Value>, BodyPlace), Problem> {
        let (_, value, place) = self.message(headers, body).await?;
        if let Value::Object(fields) = value {
            Ok((fields, place))
        } else {
            Err(Problem::bad_field("", "the body must be a JSON object"))
        }
    }

    /// Reads a body as JSON, with its bytes.
    pub(crate) async fn message(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, Value, BodyPlace), Problem> {
        if !is_json(headers) {
            return Err(Problem::content_type());
        }
        // What says that it is too large need not be waited for.
        if usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX) > BODY_MAX {
            return Err(Problem::too_large(BODY_MAX));
        }
        let read = tokio::time::timeout(BODY_TIME, self.whole(body)).await;
        let (bytes, place) = read.map_err(|_| Problem::slow_body())??;
        let value = parse_strict(&bytes).map_err(|error| Problem::bad_json(&error))?;
        Ok((bytes.into(), value, place.map(BodyPlace::new).unwrap_or_default()))
    }

    /// Reads a body to its end, and takes places for it as it grows.
    async fn whole(&self, mut body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Problem> {
        let mut bytes = Vec::new();
        let mut place: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::bad_request("broken-body", "the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > BODY_MAX {
                return Err(Problem::too_large(BODY_MAX));
            }
            let held = place.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            if let Ok(wanted @ 1..) = u32::try_from((length / PLACE_BYTES).saturating_sub(held)) {
                let more = Arc::clone(&self.places).try_acquire_many_owned(wanted);
                let more = more.map_err(|_| Problem::many_large_bodies())?;
                match &mut place {
                    Some(place) => place.merge(more),
                    None => place = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, place))
    }
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

    /// An approval artifact, as its JSON text.
    pub(crate) fn artifact(&mut self) -> Result<Option<String>, Problem> {
        Ok(self.artifact_named("approval_artifact")?.map(|artifact| artifact.to_string()))
    }

    /// The same under another name, unread.
    pub(crate) fn artifact_named(&mut self, name: &str) -> Result<Option<Value>, Problem> {
        let artifact = self.any(name);
        if artifact.as_ref().is_some_and(|artifact| artifact.to_string().len() > ARTIFACT_MAX) {
            let detail = format!("an approval artifact is at most {ARTIFACT_MAX} bytes");
            return Err(Problem::bad_field(format!("/{name}"), detail));
        }
        Ok(artifact)
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

    /// A text that may be there.
    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        if self.0.get(name).is_none_or(Value::is_null) { Ok(None) } else { self.text(name).map(Some) }
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

/// An object, or a string that parses to one (function-calling models hand arguments over as a string).
pub(crate) fn arguments(name: &str, value: Option<Value>) -> Result<Value, Problem> {
    let wrong = |detail: &str| {
        Problem::bad_field(
            format!("/{name}"),
            format!("`{name}` must be an object, or a string that holds one{detail}"),
        )
    };
    match value {
        None => Ok(Value::Object(Map::new())),
        Some(Value::Object(fields)) => Ok(Value::Object(fields)),
        Some(Value::String(text)) => match parse_strict(text.as_bytes()) {
            Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
            Ok(_) => Err(wrong("")),
            Err(error) => Err(wrong(&format!(": {error}"))),
        },
        Some(_) => Err(wrong("")),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::CONTENT_TYPE;
    use axum::http::{HeaderMap, HeaderValue};
    use execgate_model::BodyPlace;
    use serde_json::{Value, json};

    use super::{ARTIFACT_MAX, Bodies, Fields, PLACE_BYTES, PLACES, arguments};

    async fn read(bodies: &Bodies, length: usize) -> Result<BodyPlace, &'static str> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let body = Body::from("{}".to_owned() + &" ".repeat(length - 2));
        let read = bodies.json_object(&headers, body).await;
        read.map(|(_, place)| place).map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn a_large_body_has_its_places_for_as_long_as_its_fields_are_kept() {
        let bodies = Bodies::default();
        let kept = read(&bodies, 3 * PLACE_BYTES).await.unwrap();
        assert_eq!(bodies.places.available_permits(), PLACES - 3);
        let others = bodies.places.acquire_many(2045).await.unwrap();
        assert_eq!(read(&bodies, PLACE_BYTES).await.unwrap_err(), "many-large-bodies");
        read(&bodies, PLACE_BYTES - 1).await.unwrap();
        drop(kept);
        read(&bodies, 3 * PLACE_BYTES).await.unwrap();
        drop(others);
        assert_eq!(bodies.places.available_permits(), PLACES);
    }

    #[test]
    fn an_approval_artifact_is_kept_as_text_and_bounded() {
        let artifact = |value: Value| {
            let Value::Object(fields) = json!({ "approval_artifact": value }) else {
                unreachable!("an object")
            };
            Fields::new(fields).artifact().map_err(|problem| problem.code())
        };
        assert_eq!(artifact(json!([0, 0])), Ok(Some("[0,0]".to_owned())));
        assert_eq!(artifact(Value::Null), Ok(None));
        assert_eq!(artifact(vec![0; ARTIFACT_MAX / 2].into()), Err("bad-field"));
    }

    #[test]
    fn arguments_are_an_object_or_a_string_that_holds_one() {
        assert_eq!(arguments("args", Some(json!("{\"a\": 1}"))).unwrap(), json!({"a": 1}));
        assert_eq!(arguments("args", None).unwrap(), json!({}));
        for wrong in [json!([1]), json!("[1]"), json!("{"), json!(7), Value::Bool(true)] {
            assert_eq!(arguments("args", Some(wrong)).unwrap_err().code(), "bad-field");
        }
    }
}
