//! What headers carry where a body has no place for it: the nonce of a call, and an approval artifact.

use core::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_flow::Refusal;
use execgate_model::{Amount, Nonce};
use execgate_payment::Flow;
use execgate_receipt::parse_strict;

use crate::payment::shows_one;
use crate::problem::Problem;

/// The nonce of surfaces that have none in their body (CONTRACTS 2).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// An approval artifact, where the body has no place for one (CONTRACTS 4).
const APPROVAL: &str = "approval-artifact";

/// The longest that an answer is held for people, in seconds: beyond that a connection is better made anew.
const WAIT_MAX_S: u64 = 120;

/// The caller's name for its call.
pub(crate) fn nonce(headers: &HeaderMap) -> Result<Option<Nonce>, Problem> {
    let Some(text) = only(headers, IDEMPOTENCY_KEY)? else { return Ok(None) };
    let nonce = Nonce::new(text).map_err(|error| {
        Problem::bad_request("bad-idempotency-key", format!("the Idempotency-Key is wrong: {error}"))
    })?;
    Ok(Some(nonce))
}

/// An approval artifact, as its JSON text.
pub(crate) fn approval(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(text) = only(headers, APPROVAL)? else { return Ok(None) };
    let artifact = STANDARD.decode(text).ok().and_then(|bytes| parse_strict(&bytes).ok());
    artifact.map(|artifact| Some(artifact.to_string())).ok_or_else(|| {
        Problem::bad_request("bad-approval-artifact", "the Approval-Artifact header is not base64 of JSON")
    })
}

/// How long the caller would have its answer held where its run waits for people (`Prefer: wait=N`, RFC 7240, 4.3). A
/// preference that cannot be read is none, and what nobody knows is passed over.
pub(crate) fn patience(headers: &HeaderMap) -> Duration {
    let texts = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = texts.flat_map(|text| text.split(',')).filter_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>())
    });
    let seconds = preferences.next().and_then(Result::ok).unwrap_or_default();
    Duration::from_secs(seconds.min(WAIT_MAX_S))
}

/// A header that may come once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| {
            Problem::bad_request("bad-header", format!("the header {name} has bytes that are no text"))
        }),
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("bad-header", format!("the header {name} may come once")))
        }
    }
}

/// What a request that cannot be read is told. Where it costs something and nothing came to pay for it: the price,
/// whatever is wrong with its form, since clients probe with empty bodies (CONTRACTS 1).
pub(crate) fn or_the_price(problem: Problem, headers: &HeaderMap, tag: (Amount, Flow)) -> Problem {
    let probes = problem.is_of_form() || (problem.is_of_type() && !headers.contains_key(CONTENT_TYPE));
    let (price, flow) = tag;
    if !probes || shows_one(headers) || price.is_zero() {
        problem
    } else {
        Refusal::PaymentRequired { price, flow }.into()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use axum::http::{HeaderMap, HeaderValue};

    use super::{WAIT_MAX_S, patience};

    #[test]
    fn a_preference_to_wait_is_bounded_and_one_that_cannot_be_read_is_none() {
        let asked = |texts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append("prefer", HeaderValue::from_static(text));
            }
            patience(&headers).as_secs()
        };
        assert_eq!(asked(&[]), 0);
        assert_eq!(asked(&["wait=7"]), 7);
        assert_eq!(asked(&["respond-async, Wait = \"9\"; x=1"]), 9);
        // The first one counts (RFC 7240, 2).
        assert_eq!(asked(&["handling=lenient", "wait=3, wait=8"]), 3);
        assert_eq!(Duration::from_secs(asked(&["wait=99999999"])), Duration::from_secs(WAIT_MAX_S));
        for wrong in ["wait", "wait=", "wait=-1", "wait=soon", "waits=5", "wait=99999999999999999999999"] {
            assert_eq!(asked(&[wrong]), 0, "{wrong}");
        }
    }
}
