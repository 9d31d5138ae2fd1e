//! Gives every problem the shape of the surface that it is told on, wherever on the way it arose.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::{Problem, Shape};

/// The middleware around everything.
pub(crate) async fn shape(request: Request, next: Next) -> Response {
    let shape = shape_of(request.uri().path());
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if shape != Shape::Problem => reshaped(&response, problem.told(shape)),
        None if is_bare(&response) => Problem::bad_request("bad-path", "the path is not text").told(shape),
        Some(_) | None => response,
    }
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
        if name != CONTENT_LENGTH && !headers.contains_key(name) {
            headers.append(name, value.clone());
        }
    }
    told
}

fn shape_of(path: &str) -> Shape {
    if path.starts_with("/api/") { Shape::CodeRun } else { Shape::Problem }
}
