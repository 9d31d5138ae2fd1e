//! Gives every problem the shape of the surface that it is told on, wherever on the way it arose.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::body_seen::BodySeen;
use crate::figures::Service;
use crate::house::House;
use crate::http::service::{METADATA, resource_path};
use crate::payment::ACCEPT_PAYMENT;
use crate::problem::{Asked, Problem, Shape, Took};

/// The middleware around everything.
pub(crate) async fn shape(State(house): State<Arc<House>>, request: Request, next: Next) -> Response {
    let shape = shape_of(request.uri().path());
    let door = resource_path(request.uri().path()).to_owned();
    let service = Service::of_path(request.uri().path()).filter(|_| house.takes_money());
    // Only the names that an offer is made under, and how it is best made.
    let of_offers = [HOST, HeaderName::from_static(ACCEPT_PAYMENT)].into_iter().filter(|_| service.is_some());
    let named: HeaderMap =
        of_offers.filter_map(|name| Some((name.clone(), request.headers().get(name)?.clone()))).collect();
    let seen = BodySeen::default();
    let request = if service.is_some() { seen.watch(request) } else { request };
    let started_us = house.parts.clock.monotonic_us();
    let mut response = match caught(seen.clone().during(next.run(request))).await {
        Some(response) => response,
        None => Problem::fault().into_response(),
    };
    let code = response.extensions().get().map(Problem::code);
    house.parts.metrics.answered(response.status().as_u16(), code);
    let asked = response.extensions_mut().remove::<Asked>().unwrap_or_default();
    let told = |problem: Problem| match shape {
        Shape::Exec => {
            let latency_ms = house.parts.clock.monotonic_us().saturating_sub(started_us) / 1000;
            problem.told_in_exec(&asked, Took { at: house.parts.clock.now(), latency_ms })
        }
        Shape::Problem | Shape::CodeRun => problem.told(shape),
    };
    let offered = |problem: Problem| match (problem.tag(), service) {
        (Some(tag), Some(service)) => {
            let offers = house.offers(tag, service, &named);
            problem.with_offers(offers)
        }
        (_, _) => problem,
    };
    let unsettled = response.extensions().get().and_then(Problem::unsettled).filter(|_| service.is_some());
    let problem = response.extensions_mut().remove::<Problem>();
    // What is offered is for the body that came.
    let offered = |problem| seen.clone().within(|| offered(problem));
    let mut response = match problem {
        Some(problem) if shape != Shape::Problem || problem.tag().is_some() => {
            reshaped(&response, told(offered(problem)))
        }
        None if is_bare(&response) => told(bad_path()),
        Some(_) | None => response,
    };
    if let Some(run) = unsettled
        && let Some(bought) = house.bought(run).await
    {
        house.tell(&bought, response.headers_mut());
    }
    with_metadata(response, &house, &door)
}

/// Tells in a challenge where this gateway says whose tokens it takes (RFC 9728, 5.1): under the operator's URL, and
/// never under a name that a request brings. A door that is a resource of its own says which scope it takes, too
/// (MCP 2026-07-28, basic/authorization).
fn with_metadata(mut response: Response, house: &House, door: &str) -> Response {
    let resource = house.parts.tokens.as_ref().and_then(|door| door.resource.as_ref());
    let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    // What asks for money asks for no token.
    let challenge = challenge.filter(|challenge| challenge.starts_with("Bearer"));
    if let (Some(resource), Some(challenge)) = (resource, challenge) {
        let scope = resource.caller_scope.as_ref().filter(|_| !door.is_empty());
        let scope = scope.map(|scope| format!(", scope=\"{scope}\""));
        let scope = scope.unwrap_or_default();
        let told = format!("{challenge}{scope}, resource_metadata=\"{}{METADATA}{door}\"", resource.resource);
        if let Ok(told) = HeaderValue::from_str(&told) {
            response.headers_mut().insert(WWW_AUTHENTICATE, told);
        }
    }
    response
}

/// The middleware around the administration, which has one shape.
pub(crate) async fn sound(request: Request, next: Next) -> Response {
    match caught(next.run(request)).await {
        Some(response) if is_bare(&response) => bad_path().into_response(),
        Some(response) => response,
        None => Problem::fault().into_response(),
    }
}

fn bad_path() -> Problem {
    Problem::bad_request("bad-path", "the path is not text")
}

/// What comes of a handler; none where it panics, which ends its own request and nothing else.
async fn caught<T>(handler: impl Future<Output = T>) -> Option<T> {
    let mut handler = pin!(handler);
    poll_fn(|context| {
        // Nothing of a handler that panicked is used again.
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => {
                tracing::error!("a handler of a request panicked");
                Poll::Ready(None)
            }
        }
    })
    .await
}

/// Whether this is a refusal in the words of the framework, which are of no surface: a path whose escapes are no UTF-8.
fn is_bare(response: &Response) -> bool {
    let is_text = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/plain");
    response.status() == StatusCode::BAD_REQUEST && response.headers().get(CONTENT_TYPE).is_some_and(is_text)
}

/// The problem in another shape, with what else was said on the way, such as a new session.
fn reshaped(before: &Response, mut told: Response) -> Response {
    let headers = told.headers_mut();
    for (name, value) in before.headers() {
        // When to come again is for the shape to say: a stub says nothing of it.
        if name != CONTENT_LENGTH && name != RETRY_AFTER && !headers.contains_key(name) {
            headers.append(name, value.clone());
        }
    }
    told
}

fn shape_of(path: &str) -> Shape {
    if path.starts_with("/api/") {
        Shape::CodeRun
    } else if path.starts_with("/exec/") {
        Shape::Exec
    } else {
        Shape::Problem
    }
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[tokio::test]
    async fn a_handler_that_panics_has_an_answer_all_the_same() {
        assert_eq!(caught(async { 1 }).await, Some(1));
        let panics = async { if true { std::panic::resume_unwind(Box::new("a handler")) } else { 1 } };
        assert_eq!(caught(panics).await, None);
    }
}
