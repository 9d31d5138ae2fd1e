//! Writing an answer.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use execgate_flow::{Passage, Room};
use execgate_store::Answer;
use serde_json::Value;

use crate::house::House;
use crate::problem::seal_headers;

/// A stored answer as a response, byte for byte.
pub(crate) fn write(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    seal_headers(&mut response, &answer.content_type);
    response
}

/// A JSON value as a response.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let content_type = "application/json".to_owned();
    write(Answer { status: status.as_u16(), content_type, body: value.to_string().into_bytes() })
}

/// The answer of a run, with what its headers say of it (CONTRACTS 4).
pub(crate) fn passage(house: &House, passage: Passage) -> Response {
    let bought = passage.bought.clone();
    let mut response = write(passage.answer);
    let headers = response.headers_mut();
    let mut insert = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    insert("execgate-run", passage.run.to_string());
    insert("execgate-receipt", passage.content.to_hex());
    if passage.replayed {
        insert("execgate-replayed", "true".to_owned());
    } else {
        insert("server-timing", timing(&passage.laps));
    }
    if let Some(bought) = bought {
        house.tell(&bought, response.headers_mut());
    }
    response
}

/// The rooms and their milliseconds (W3C Server Timing).
fn timing(laps: &[(Room, u64)]) -> String {
    let mut text = String::with_capacity(laps.len() * 24);
    for (at, (room, us)) in laps.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{comma}{};dur={}.{:03}", room.as_str(), us / 1000, us % 1000);
    }
    text
}

#[cfg(test)]
mod tests {
    use execgate_flow::Room;

    use super::timing;

    #[test]
    fn timing_is_written_in_milliseconds_by_room() {
        let laps = [(Room::Propose, 12), (Room::Execute, 1_034)];
        assert_eq!(timing(&laps), "propose;dur=0.012, execute;dur=1.034");
    }
}
