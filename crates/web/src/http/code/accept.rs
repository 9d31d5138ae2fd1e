//! Which form an answer takes: events as they come only for a caller that prefers them to JSON (RFC 9110, 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// What stands for JSON, the most specific first.
const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];

/// Whether the caller asks for events (WHATWG HTML, server-sent events) rather than for JSON.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let events = weight(headers, "text/event-stream").unwrap_or(0.0);
    let json = JSON.iter().find_map(|range| weight(headers, range)).unwrap_or(0.0);
    events > json
}

/// How much a media range is wanted, from 0 to 1; `None` where it is not named.
fn weight(headers: &HeaderMap, wanted: &str) -> Option<f32> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(wanted))?;
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        // What is no number asks for nothing.
        Some(q.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT;
    use axum::http::{HeaderMap, HeaderValue};

    use super::wants_stream;

    fn streams(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        wants_stream(&headers)
    }

    #[test]
    fn events_come_to_whoever_prefers_them() {
        for one in [
            "text/event-stream",
            "Text/Event-Stream; q=0.1",
            "text/event-stream, application/json;q=0.9",
            "text/event-stream;q=0.5, */*;q=0.4",
            "text/html, text/event-stream",
            "text/event-stream, application/json; q=0, */*",
        ] {
            assert!(streams(&[one]), "{one}");
        }
        assert!(streams(&["application/json;q=0.1", "text/event-stream"]));
    }

    #[test]
    fn whoever_takes_json_as_gladly_gets_json() {
        for one in [
            "",
            "*/*",
            "text/*",
            "text/event-stream;q=0",
            "text/event-stream; Q=0.000",
            "text/event-stream;q=much",
            "application/json, text/event-stream",
            "text/event-stream, application/*",
            "text/event-stream, */*",
            "text/event-stream;q=0.5, application/json",
        ] {
            assert!(!streams(&[one]), "{one}");
        }
        assert!(!streams(&[]) && !streams(&["text/event-stream", "application/json"]));
    }
}
