//! Who asks, as far as a door can tell.
//!
//! In free mode on loopback everybody is local. Elsewhere an anonymous caller is known by a session secret:
//! it presents the one that an earlier answer returned, or is given a new one.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use execgate_model::{Caller, Identity};
use execgate_receipt::sha256;

use crate::house::House;
use crate::problem::Problem;

/// The header that carries a session secret, both ways.
const SESSION: &str = "execgate-session";

/// A session secret is 32 random bytes in hexadecimal.
const SECRET_LENGTH: usize = 64;

/// A caller, and the session secret that the answer must tell it.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    pub(crate) new_session: Option<HeaderValue>,
}

/// Tells who asks.
pub(crate) fn identify(house: &House, headers: &HeaderMap) -> Result<Visitor, Problem> {
    if headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") {
        // A credential that nobody can check proves nothing, and must not be taken for none.
        return Err(Problem::unauthorised("this gateway has no grants; send the request without a key"));
    }
    let tenant = house.parts.tenant.clone();
    if house.parts.doors.local_free {
        return Ok(Visitor { caller: Caller { tenant, identity: Identity::Local }, new_session: None });
    }
    let (secret, new_session) = match headers.get(SESSION) {
        Some(value) => (known_secret(value)?, None),
        None => {
            let secret = execgate_model::Digest::from_bytes(house.parts.entropy.thirty_two()).to_hex();
            let header = HeaderValue::from_str(&secret).ok();
            (secret, header)
        }
    };
    let id = sha256(format!("execgate session v1\n\n{secret}").as_bytes()).to_hex();
    Ok(Visitor { caller: Caller { tenant, identity: Identity::Session { id } }, new_session })
}

fn known_secret(value: &HeaderValue) -> Result<String, Problem> {
    value
        .to_str()
        .ok()
        .filter(|text| text.len() == SECRET_LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(str::to_ascii_lowercase)
        .ok_or_else(|| Problem::unauthorised("the Execgate-Session header is not one that this gateway gave"))
}

impl Visitor {
    /// Tells a new session's secret, once.
    pub(crate) fn announce(self, headers: &mut HeaderMap) {
        if let Some(secret) = self.new_session {
            headers.insert(SESSION, secret);
        }
    }
}
