//! Who asks, as far as a door can tell.
//!
//! Whoever shows the key of a grant is its holder, and whoever shows a token of an operator's authorization server its
//! bearer, or is refused: a credential that opens nothing is never taken for none. Without one, in free mode on loopback everybody is local, and elsewhere an anonymous caller is known by a
//! session secret: it presents the one that an earlier answer returned, or is given a new one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use execgate_flow::Refusal;
use execgate_flow::authorise::{Bearer, GrantKey, Holder, KeyError, TokenError};
use execgate_flow::witness::Facts;
use execgate_model::{Amount, Caller, Digest, Identity, Role, TenantId};
use execgate_receipt::sha256;
use execgate_store::Record;

use crate::house::House;
use crate::payment::is_payment;
use crate::problem::Problem;

/// The header that carries a session secret, both ways.
pub(crate) const SESSION: &str = "execgate-session";

/// The other header that carries a key.
pub(crate) const API_KEY: &str = "x-api-key";

/// A session secret is 32 random bytes in hexadecimal.
const SECRET_LENGTH: usize = 64;

/// The one credential of a request.
enum Shown<'a> {
    Key(GrantKey),
    Token(&'a str),
}

/// Somebody who has proved who it is.
pub(crate) enum Known {
    Holder(Holder),
    Bearer(Arc<Bearer>),
}

impl Known {
    fn has(&self, role: Role) -> bool {
        match self {
            Self::Holder(holder) => holder.has(role),
            Self::Bearer(bearer) => bearer.roles.contains(&role),
        }
    }
}

/// A caller, and the session secret that the answer must tell it.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    pub(crate) holder: Option<Known>,
    pub(crate) new_session: Option<HeaderValue>,
    /// Where it comes from, on routes that ask.
    pub(crate) peer: Option<IpAddr>,
}

/// Tells who asks for something to happen.
///
/// A grant, or a token, without the role `caller` is for other things, and is told so.
pub(crate) async fn identify(house: &House, headers: &HeaderMap) -> Result<Visitor, Problem> {
    recognise(house, headers).await?.may_call()
}

/// Tells who asks, whatever for.
pub(crate) async fn recognise(house: &House, headers: &HeaderMap) -> Result<Visitor, Problem> {
    recognise_at(house, headers, None).await
}

/// The same at a door that is a resource of its own, by its path: tokens may be for that alone.
pub(crate) async fn recognise_at(
    house: &House,
    headers: &HeaderMap,
    door: Option<&str>,
) -> Result<Visitor, Problem> {
    if let Some((caller, holder)) = known_at(house, headers, door).await? {
        return Ok(Visitor { caller, holder: Some(holder), new_session: None, peer: None });
    }
    if house.parts.doors.require_grant {
        return Err(Problem::grant_required());
    }
    let tenant = house.parts.tenant.clone();
    if house.parts.doors.local_free {
        let caller = Caller { tenant, identity: Identity::Local };
        return Ok(Visitor { caller, holder: None, new_session: None, peer: None });
    }
    let (secret, new_session) = match headers.get(SESSION) {
        Some(value) => (known_secret(value)?, None),
        None => {
            let secret = Digest::from_bytes(house.parts.entropy.thirty_two()).to_hex();
            let header = HeaderValue::from_str(&secret).ok();
            (secret, header)
        }
    };
    let id = sha256(format!("execgate session v1\n\n{secret}").as_bytes()).to_hex();
    let caller = Caller { tenant, identity: Identity::Session { id, is_new: new_session.is_some() } };
    Ok(Visitor { caller, holder: None, new_session, peer: None })
}

/// Whoever shows a key or a token; none where none is shown.
pub(crate) async fn known(house: &House, headers: &HeaderMap) -> Result<Option<(Caller, Known)>, Problem> {
    known_at(house, headers, None).await
}

async fn known_at(
    house: &House,
    headers: &HeaderMap,
    at: Option<&str>,
) -> Result<Option<(Caller, Known)>, Problem> {
    let tokens = house.parts.tokens.as_ref();
    match shown(headers, tokens.is_some(), house.takes_money())? {
        Some(Shown::Key(key)) => {
            let holder = house.grants.recognise(&key).await.map_err(refused)?;
            Ok(Some((holder.caller(), Known::Holder(holder))))
        }
        Some(Shown::Token(token)) => {
            let door = tokens.ok_or_else(|| refused(KeyError::Unknown))?;
            let bearer = door.tokens.recognise(token).await.map_err(unrecognised)?;
            if !bearer.opens.has(at) {
                return Err(unrecognised(TokenError::Audience));
            }
            Ok(Some((bearer.caller.clone(), Known::Bearer(bearer))))
        }
        None => Ok(None),
    }
}

/// The key that a request shows, where nothing else is taken.
pub(crate) fn shown_key(headers: &HeaderMap) -> Result<Option<GrantKey>, Problem> {
    match shown(headers, false, false)? {
        Some(Shown::Key(key)) => Ok(Some(key)),
        Some(Shown::Token(_)) => Err(refused(KeyError::Unknown)),
        None => Ok(None),
    }
}

/// The key or token that a request shows. One credential at the most: two could be of two callers. A token comes by
/// `Authorization` alone (RFC 6750, 2.1), and is told from a key by its dots.
/// A payment says nothing of who asks.
fn shown(headers: &HeaderMap, takes_tokens: bool, takes_money: bool) -> Result<Option<Shown<'_>>, Problem> {
    let mut keys = headers.get_all(API_KEY).iter();
    let mut authorizations =
        headers.get_all(AUTHORIZATION).iter().filter(|value| !(takes_money && is_payment(value)));
    let text = match (authorizations.next(), keys.next()) {
        (None, None) => return Ok(None),
        (Some(value), None) if authorizations.next().is_none() => {
            let text = bearer(value)?;
            if takes_tokens && text.contains('.') {
                return Ok(Some(Shown::Token(text)));
            }
            text
        }
        (None, Some(value)) if keys.next().is_none() => value.to_str().unwrap_or_default(),
        _ => {
            let detail = "one key at a time: either `Authorization` or `X-API-Key`, once";
            return Err(Problem::unauthorised("several-credentials", detail));
        }
    };
    GrantKey::parse(text).map(|key| Some(Shown::Key(key))).ok_or_else(|| refused(KeyError::Unknown))
}

/// The token of a Bearer credential (RFC 6750, 2.1).
fn bearer(value: &HeaderValue) -> Result<&str, Problem> {
    let text = value.to_str().unwrap_or_default();
    let scheme = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    scheme.map(|(_, token)| token.trim()).ok_or_else(|| {
        Problem::unauthorised(
            "unknown-scheme",
            "the only `Authorization` that is taken here is `Bearer`, with a key `eg_…` or a token",
        )
    })
}

/// Why a key opens nothing, as its holder is told it.
pub(crate) fn refused(error: KeyError) -> Problem {
    match error {
        KeyError::Unknown => {
            Problem::unauthorised("unknown-key", "this key is of no grant here, or its grant is revoked")
        }
        KeyError::Expired => Problem::unauthorised("expired-grant", "the grant of this key has expired"),
        KeyError::Replaced => {
            Problem::unauthorised("replaced-key", "a newer key has taken the place of this one")
        }
        KeyError::Record(error) => Refusal::Store(error).into(),
        // Only the rooms ask for the rules of a grant.
        KeyError::Rules => Problem::fault(),
    }
}

fn unrecognised(error: TokenError) -> Problem {
    let rule = match error {
        TokenError::Form => "token-form",
        TokenError::Header => "token-header",
        TokenError::Kind => "token-kind",
        TokenError::Issuer => "unknown-issuer",
        TokenError::Algorithm => "token-algorithm",
        TokenError::Key => "unknown-token-key",
        TokenError::Signature => "token-signature",
        TokenError::Audience => "token-audience",
        TokenError::Expired => "expired-token",
        TokenError::NotYet => "early-token",
        TokenError::Bound => "bound-token",
        TokenError::Claim => "token-claim",
        TokenError::Tenant => "unknown-tenant",
        TokenError::Unreachable => return Problem::issuer_unreachable(),
    };
    Problem::unauthorised(rule, error.to_string())
}

fn known_secret(value: &HeaderValue) -> Result<String, Problem> {
    value.to_str().ok().filter(|text| is_secret(text)).map(str::to_ascii_lowercase).ok_or_else(|| {
        Problem::unauthorised(
            "unknown-session",
            "the Execgate-Session header is not one that this gateway gave",
        )
    })
}

/// Whether a text has the form of a session secret.
pub(crate) fn is_secret(text: &str) -> bool {
    text.len() == SECRET_LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Visitor {
    /// The same, if what it has shown is for calling something.
    pub(crate) fn may_call(self) -> Result<Self, Problem> {
        match &self.holder {
            Some(holder) if !holder.has(Role::Caller) => Err(Problem::role_missing(Role::Caller)),
            Some(_) | None => Ok(self),
        }
    }

    /// Tells a new session's secret, once.
    pub(crate) fn announce(self, headers: &mut HeaderMap) {
        if let Some(secret) = self.new_session {
            headers.insert(SESSION, secret);
        }
    }

    /// Whether it is there to say yes or no, or to look at what others say, in a tenant.
    pub(crate) fn reviews(&self, tenant: &TenantId) -> bool {
        let is_for = |holder: &Known| holder.has(Role::Approver) || holder.has(Role::Auditor);
        self.holder.as_ref().is_some_and(is_for) && self.caller.tenant == *tenant
    }

    /// What it is asked for where others are asked for a price.
    pub(crate) fn owes(&self, price: Amount) -> Amount {
        if self.caller.is_internal() { Amount::ZERO } else { price }
    }

    /// Whether a run may be read because its reader is an auditor of its tenant.
    pub(crate) fn audits(&self, record: &Record) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.has(Role::Auditor))
            && Facts::from_bytes(&record.intent).is_ok_and(|facts| facts.caller.tenant == self.caller.tenant)
    }
}
