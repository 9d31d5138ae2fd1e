//! Who may come in at all (CONTRACTS 6). Every change here needs a second reader.
//!
//! A page on a foreign site must not reach this gateway through a visitor's browser: the Host must be one that
//! the operator means (or an address, which no rebinding can point elsewhere), a foreign Origin is refused.
//! In free mode nobody may come through a proxy, since then "local" would mean "everybody".

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HOST, ORIGIN, VIA};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

use crate::house::House;
use crate::problem::Problem;

/// The rules of the doors.
#[derive(Debug, Clone, Default)]
pub struct DoorRules {
    /// Host names beside `localhost` and addresses: of `public_url`, and those the operator lists. Lowercase.
    pub hosts: Vec<String>,
    /// Free mode: requests that came through a proxy are refused.
    pub free: bool,
    /// Free mode on loopback: all callers are this machine's own.
    pub local_free: bool,
    /// Only callers with the key of a grant are served; the pages that tell of the gateway are for everybody.
    pub require_grant: bool,
}

/// The middleware before every handler.
pub(crate) async fn guard(State(house): State<Arc<House>>, request: Request, next: Next) -> Response {
    match check(&house.parts.doors, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

pub(crate) fn check(rules: &DoorRules, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::bad_request("host", "exactly one Host header is needed"));
    };
    let host = host.to_str().unwrap_or_default().to_ascii_lowercase();
    if !host_name(&host).is_some_and(|name| is_ours(rules, name)) {
        return Err(Problem::misdirected());
    }
    for origin in headers.get_all(ORIGIN) {
        // The whole authority: a page on another port of this machine is a page from elsewhere.
        let same = origin.to_str().ok().and_then(origin_authority).is_some_and(|origin| origin == host);
        if !same {
            return Err(Problem::forbidden("foreign-origin", "requests of pages from elsewhere are refused"));
        }
    }
    let proxied = headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || headers.contains_key("x-forwarded-for");
    if rules.free && proxied {
        return Err(Problem::forbidden(
            "proxied-free-mode",
            "free mode takes no request that came through a proxy",
        ));
    }
    Ok(())
}

/// The name in a Host header, without its port.
fn host_name(host: &str) -> Option<&str> {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    (!name.is_empty()).then_some(name)
}

fn origin_authority(origin: &str) -> Option<String> {
    let (scheme, authority) = origin.split_once("://")?;
    matches!(scheme, "http" | "https").then(|| authority.to_ascii_lowercase())
}

fn is_ours(rules: &DoorRules, name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok() || rules.hosts.iter().any(|host| host == name)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{DoorRules, check};

    fn verdict(free: bool, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let rules = DoorRules { hosts: vec!["gate.example".to_owned()], free, ..DoorRules::default() };
        check(&rules, &map).err().map(|problem| problem.code())
    }

    #[test]
    fn only_hosts_that_the_operator_means_come_in() {
        for host in ["localhost:5091", "127.0.0.1:5091", "[::1]:5091", "GATE.example", "10.0.0.7"] {
            assert_eq!(verdict(true, &[("host", host)]), None, "{host}");
        }
        assert_eq!(verdict(true, &[("host", "evil.example:5091")]), Some("misdirected"));
        assert_eq!(verdict(true, &[]), Some("host"));
        assert_eq!(verdict(true, &[("host", "localhost"), ("host", "localhost")]), Some("host"));
    }

    #[test]
    fn a_foreign_origin_is_refused_and_our_own_is_not() {
        let from = |origin| verdict(false, &[("host", "localhost:5091"), ("origin", origin)]);
        assert_eq!(from("http://localhost:5091"), None);
        assert_eq!(from("http://localhost:3000"), Some("foreign-origin"));
        assert_eq!(from("https://evil.example"), Some("foreign-origin"));
        assert_eq!(from("null"), Some("foreign-origin"));
    }

    #[test]
    fn free_mode_refuses_what_a_proxy_forwarded() {
        for header in ["forwarded", "via", "x-forwarded-for"] {
            let headers = [("host", "localhost"), (header, "1.1 elsewhere")];
            assert_eq!(verdict(true, &headers), Some("proxied-free-mode"), "{header}");
            assert_eq!(verdict(false, &headers), None, "{header}");
        }
    }
}
