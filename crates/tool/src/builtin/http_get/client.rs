//! Fetches a URL, and where it leads to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, LOCATION};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::compute::Raised;
use crate::outbound::{
    Exchange, HttpClient, Outgoing, Target, bad_answer, read, refuse_encoded, shown_headers, text,
};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// A checked call.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    pub(super) bytes_max: usize,
}

impl Fetch {
    /// Fetches; each redirect is checked as the first URL was.
    pub(super) async fn by(self, client: &HttpClient) -> Result<Value, Raised> {
        let Self { mut target, mut headers, bytes_max } = self;
        for _ in 0..=REDIRECTS_MAX {
            let (method, body) = (Method::GET, Bytes::new());
            let asked = Outgoing { method, target: &target, headers: headers.clone(), body };
            let Exchange { response, connection: _open } = client.exchange(asked).await?;
            let Some(next) = redirect(&target, &response)? else {
                let (status, received) = (response.status().as_u16(), response.headers().clone());
                refuse_encoded(&received)?;
                let body = read(response.into_body(), bytes_max).await?;
                return Ok(show(status, &received, &target, body));
            };
            if !next.is_same_origin(&target) {
                headers.clear();
            }
            target = next;
        }
        Err(Raised::new("TooManyRedirects", format!("more than {REDIRECTS_MAX} redirects")))
    }
}

/// Where an answer leads, if it does.
fn redirect(target: &Target, response: &Response<Incoming>) -> Result<Option<Target>, Raised> {
    let leads = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(LOCATION).filter(|_| leads) else { return Ok(None) };
    let location = location.to_str().map_err(|_| bad_answer("a redirect leads to no URL"))?;
    let refused = |rule: &str| Raised::new("AddressRefused", format!("a redirect {rule}"));
    let next = target.join(location).map_err(|rule| refused(&rule))?;
    if target.is_tls && !next.is_tls {
        return Err(refused("leads from https to http"));
    }
    Ok(Some(next))
}

/// The answer as the caller sees it.
fn show(status: u16, headers: &HeaderMap, target: &Target, (body, is_cut): (Vec<u8>, bool)) -> Value {
    let mut answer = json!({"status": status, "headers": shown_headers(headers), "url": target.url.as_str()});
    match text(&body, is_cut) {
        Some(text) => answer["body"] = text.into(),
        None => {
            answer["body"] = STANDARD.encode(&body).into();
            answer["body_encoding"] = "base64".into();
        }
    }
    if is_cut {
        answer["truncated"] = true.into();
    }
    answer
}
