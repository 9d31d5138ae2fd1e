//! What a token says, judged once its signature holds. Every change here needs a second reader.
//!
//! A claim that is there and not of its form refuses the token; it is never taken for one that is not there.

use std::collections::BTreeSet;
use std::sync::Arc;

use execgate_flow::authorise::{Bearer, Opens, TokenError};
use execgate_model::{Caller, Identity, Labels, Role, TenantId, UnixMs};
use serde_json::Value;

use super::{IssuerParts, TenantRule};

/// The longest subject, in bytes (`OpenID` Connect Core, 2).
const SUBJECT_MAX: usize = 255;

/// The longest value of a label, in bytes: as those of grants.
const LABEL_MAX: usize = 128;

/// Audiences, and words for roles, that a token may hold.
const LIST_MAX: usize = 64;

const SECOND_MS: u64 = 1_000;

/// Claims of tokens that say who signed in, or out, and that access tokens do not have (`OpenID` Connect Core, 2 and
/// 3.1.3.6; RFC 8417, 2.2).
const OF_OTHER_KINDS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

/// Somebody by a token, and until when it holds.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) bearer: Bearer,
    pub(super) until: UnixMs,
}

/// Judges the claims of a token whose signature holds, and whose `iss` is this issuer.
pub(super) fn judge(issuer: &IssuerParts, claims: &Value, now: UnixMs) -> Result<Judged, TokenError> {
    refuse_other_kinds(claims)?;
    let opens = opens(claims.get("aud"), &issuer.audience)?;
    let until = times(claims, now, issuer.leeway_s.saturating_mul(SECOND_MS))?;
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(TokenError::Claim)?;
    let is_line = (1..=SUBJECT_MAX).contains(&subject.len())
        && subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_line {
        return Err(TokenError::Claim);
    }
    let identity = Identity::Subject {
        issuer: issuer.issuer.clone(),
        subject: subject.to_owned(),
        labels: Arc::new(labels(issuer, claims)?),
    };
    let caller = Caller { tenant: tenant(issuer, claims)?, identity };
    Ok(Judged { bearer: Bearer { caller, roles: roles(issuer, claims)?, opens }, until })
}

fn refuse_other_kinds(claims: &Value) -> Result<(), TokenError> {
    let other = OF_OTHER_KINDS.iter().any(|name| claims.get(*name).is_some());
    // Words of servers that tell their kinds apart by a claim.
    let says = |name: &str, word: &str| {
        claims
            .get(name)
            .is_none_or(|value| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(word)))
    };
    if other || !says("token_use", "access") || !says("typ", "bearer") {
        return Err(TokenError::Kind);
    }
    if claims.get("cnf").is_some() { Err(TokenError::Bound) } else { Ok(()) }
}

/// The path of a door of this gateway's that has a name of its own (RFC 8707; RFC 9728, 3.1), `/mcp` and those below, where
/// that is what is named.
fn door<'a>(audience: &'a str, ours: &str) -> Option<&'a str> {
    let path = audience.strip_prefix(ours.trim_end_matches('/')).filter(|_| ours.contains("://"))?;
    path.strip_prefix("/mcp").is_some_and(|rest| rest.is_empty() || rest.starts_with('/')).then_some(path)
}

/// Which doors a token is for: all of them by the gateway's own name, else those alone that it names.
fn opens(audience: Option<&Value>, ours: &str) -> Result<Opens, TokenError> {
    let named: Vec<&str> = match audience {
        Some(Value::String(audience)) => vec![audience],
        Some(list @ Value::Array(_)) => words(list)?.collect(),
        None => Vec::new(),
        Some(_) => return Err(TokenError::Claim),
    };
    if named.contains(&ours) {
        return Ok(Opens::Gateway);
    }
    let doors: BTreeSet<_> = named.iter().filter_map(|name| door(name, ours)).map(str::to_owned).collect();
    if doors.is_empty() { Err(TokenError::Audience) } else { Ok(Opens::Doors(doors)) }
}

/// Until when a token holds, where it holds now.
fn times(claims: &Value, now: UnixMs, leeway_ms: u64) -> Result<UnixMs, TokenError> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(time) => time.as_u64().map(|s| Some(s.saturating_mul(SECOND_MS))).ok_or(TokenError::Claim),
    };
    let until = time("exp")?.ok_or(TokenError::Claim)?.saturating_add(leeway_ms);
    let latest = now.0.saturating_add(leeway_ms);
    if [time("nbf")?, time("iat")?].into_iter().flatten().any(|from| from > latest) {
        return Err(TokenError::NotYet);
    }
    if until <= now.0 { Err(TokenError::Expired) } else { Ok(UnixMs(until)) }
}

fn tenant(issuer: &IssuerParts, claims: &Value) -> Result<TenantId, TokenError> {
    match &issuer.tenant {
        TenantRule::Fixed(tenant) => Ok(tenant.clone()),
        TenantRule::Claim { claim, among } => {
            let named = at(claims, claim).and_then(Value::as_str).ok_or(TokenError::Claim)?;
            among.iter().find(|tenant| tenant.as_str() == named).cloned().ok_or(TokenError::Tenant)
        }
    }
}

fn roles(issuer: &IssuerParts, claims: &Value) -> Result<BTreeSet<Role>, TokenError> {
    let Some(rule) = &issuer.roles else { return Ok(BTreeSet::from([Role::Caller])) };
    let role = |word: &str| rule.words.get(word).copied();
    match at(claims, &rule.claim) {
        None => Ok(BTreeSet::new()),
        Some(Value::String(text)) => Ok(text.split(' ').filter_map(role).collect()),
        Some(list) => Ok(words(list)?.filter_map(role).collect()),
    }
}

fn labels(issuer: &IssuerParts, claims: &Value) -> Result<Labels, TokenError> {
    let mut labels = Labels::new();
    for (label, claim) in &issuer.labels {
        let Some(value) = at(claims, claim) else { continue };
        let text = value.as_str().ok_or(TokenError::Claim)?;
        if text.trim().is_empty() || text.len() > LABEL_MAX || text.chars().any(char::is_control) {
            return Err(TokenError::Claim);
        }
        labels.insert(label.clone(), text.to_owned());
    }
    Ok(labels)
}

fn at<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// The words of a list that holds nothing else, and not too many.
fn words(list: &Value) -> Result<impl Iterator<Item = &str>, TokenError> {
    let list = list.as_array().filter(|list| list.len() <= LIST_MAX).ok_or(TokenError::Claim)?;
    let words = list.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or(TokenError::Claim)?;
    Ok(words.into_iter())
}
