//! `GET /approvals/{id}` for a browser, where a client of the Model Context Protocol has led its user: what to do, and nothing
//! of what waits. It is the same for every id, so that it tells nobody whether there is one, and has no byte of a guest.

use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use execgate_model::RunId;

use crate::problem::seal_headers;

/// Nothing is loaded, nothing runs, nobody frames it.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether whoever asks is a browser: programs ask for JSON, or for anything.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    accepts.split(',').any(|kind| kind.trim().starts_with("text/html"))
}

/// The page of an approval.
pub(super) fn page(run: RunId) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Approval {run}</title>\n\
         <h1>A call waits for a person's approval</h1>\n\
         <p>Whoever holds the key of an approver looks at it, and says yes or no, where that key is: \
         it never comes here.</p>\n\
         <pre>execgate approvals show {run}\nexecgate approve {run} --key FILE\nexecgate approve {run} --key FILE \
         --deny</pre>\n\
         <p>With <code>--url</code> or <code>EXECGATE_URL</code> for the address of this gateway. The call goes on by \
         itself when enough people have said yes.</p></html>\n"
    );
    let mut response = text.into_response();
    seal_headers(&mut response, "text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT;
    use axum::http::{HeaderMap, HeaderValue};

    use super::is_wanted;

    #[test]
    fn a_browser_is_told_from_a_program() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            is_wanted(&headers)
        };
        assert!(with("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!with("application/json") && !with("*/*") && !is_wanted(&HeaderMap::new()));
    }
}
