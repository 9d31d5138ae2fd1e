//! `/grants`: who may ask, by which key. A key is told once, in the answer that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use execgate_flow::administer::{AdministerError, End, Keyed, NewGrant, length, role};
use execgate_flow::authorise::OwnRules;
use execgate_model::{GrantId, Role, TenantId, UnixMs};
use execgate_receipt::Timestamp;
use execgate_store::Grant;
use serde_json::{Value, json};

use crate::admit::Administrator;
use crate::body::Fields;
use crate::http;
use crate::http::admin::{answer, asked};
use crate::office::Office;
use crate::problem::Problem;
use crate::query::Query;

/// Says whether a change was one, or was so before.
const CHANGED: &str = "execgate-changed";

/// How long an old key is taken where nothing else is said.
const OVERLAP: &str = "24h";

/// `GET /grants`: oldest first; those too that are revoked with `all=true`.
pub(crate) async fn list(State(office): State<Arc<Office>>, RawQuery(query): RawQuery) -> Response {
    answer(async {
        let mut query = Query::new(query.as_deref());
        let all = query.read("all", |text| text.parse::<bool>().ok(), "true or false")?.unwrap_or(false);
        query.finish()?;
        let mut grants = office.parts.store.grants().await.map_err(AdministerError::from)?;
        grants.retain(|grant| all || grant.revoked.is_none());
        let now = office.parts.clock.now();
        // Ten thousand texts would be no list.
        let listed = |grant: &Grant| {
            let mut told = describe_but_rules(grant, now);
            told["policy"] = grant.policy.as_ref().map(|text| json!({"bytes": text.len()})).into();
            told
        };
        let grants: Vec<_> = grants.iter().map(listed).collect();
        Ok(http::json(StatusCode::OK, &json!(grants)))
    })
    .await
}

/// `GET /grants/{id}`.
pub(crate) async fn show(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    answer(async {
        let grant = office.administer.grant(&named(id)?).await?;
        Ok(http::json(StatusCode::OK, &describe(&grant, office.parts.clock.now())))
    })
    .await
}

/// `POST /grants`.
pub(crate) async fn create(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let new = asked(&office, &headers, body, read).await?;
        let keyed = office.administer.create(&administrator.by(), new).await?;
        Ok(tell(&office, StatusCode::CREATED, &keyed))
    })
    .await
}

/// `POST /grants/{id}/rotate`.
pub(crate) async fn rotate(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let overlap = asked(&office, &headers, body, |fields| optional(fields, "overlap")).await?;
        let overlap = length(overlap.as_deref().unwrap_or(OVERLAP))
            .map_err(|what| Problem::bad_field("/overlap", what))?;
        let keyed = office.administer.rotate(&administrator.by(), named(id)?, overlap).await?;
        Ok(tell(&office, StatusCode::OK, &keyed))
    })
    .await
}

/// `POST /grants/{id}/policy`: rules of its own by `policy`, or none by `"none": true`.
pub(crate) async fn set_policy(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        let read = |fields: &mut Fields| Ok((optional(fields, "policy")?, fields.switch("none")?));
        let (policy, none) = asked(&office, &headers, body, read).await?;
        // What takes rules away is said, and not left out.
        if policy.is_some() == none {
            return Err(Problem::bad_field("/policy", "either `policy`, a text, or `none`, true"));
        }
        let grant = office.administer.set_policy(&administrator.by(), named(id)?, policy).await?;
        Ok(http::json(StatusCode::OK, &describe(&grant, office.parts.clock.now())))
    })
    .await
}

/// `POST /grants/{id}/revoke`.
pub(crate) async fn revoke(
    State(office): State<Arc<Office>>,
    Extension(administrator): Extension<Administrator>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(async {
        asked(&office, &headers, body, |_| Ok(())).await?;
        let revoked = office.administer.revoke(&administrator.by(), named(id)?).await?;
        let mut response = http::json(StatusCode::OK, &describe(&revoked.grant, office.parts.clock.now()));
        let changed = if revoked.now { "true" } else { "false" };
        response.headers_mut().insert(CHANGED, HeaderValue::from_static(changed));
        Ok(response)
    })
    .await
}

fn named(id: String) -> Result<GrantId, Problem> {
    GrantId::new(id).map_err(|error| Problem::bad_request("bad-id", error.to_string()))
}

fn tell(office: &Office, status: StatusCode, keyed: &Keyed) -> Response {
    let grant = describe(&keyed.grant, office.parts.clock.now());
    http::json(status, &json!({"grant": grant, "key": keyed.key.expose()}))
}

/// What a grant is to be. Texts are judged where it is made.
fn read(fields: &mut Fields) -> Result<NewGrant, Problem> {
    let bad = |pointer: String| move |what: String| Problem::bad_field(pointer, what);
    let name = fields.text("name")?;
    let tenant = optional(fields, "tenant")?.map(TenantId::new).transpose();
    let roles = match list_of(fields, "roles")? {
        None => BTreeSet::from([Role::Caller]),
        Some(words) => {
            let read = |(at, word): (usize, &String)| role(word).map_err(bad(format!("/roles/{at}")));
            words.iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
    };
    Ok(NewGrant {
        name,
        tenant: tenant.map_err(|error| Problem::bad_field("/tenant", error.to_string()))?,
        roles,
        labels: labels(fields.any("labels"))?,
        internal: fields.switch("internal")?,
        isolation: optional(fields, "isolation")?,
        wallets: list_of(fields, "wallets")?.unwrap_or_default(),
        expires: optional(fields, "expires")?
            .map(|text| End::read(&text).map_err(bad("/expires".to_owned())))
            .transpose()?,
        policy: optional(fields, "policy")?,
    })
}

fn optional(fields: &mut Fields, name: &str) -> Result<Option<String>, Problem> {
    match fields.any(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::bad_field(format!("/{name}"), format!("`{name}` must be a string"))),
    }
}

fn list_of(fields: &mut Fields, name: &str) -> Result<Option<Vec<String>>, Problem> {
    let wrong = || Problem::bad_field(format!("/{name}"), format!("`{name}` must be a list of strings"));
    let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(wrong()) };
    match fields.any(name) {
        None => Ok(None),
        Some(Value::Array(items)) => items.into_iter().map(text).collect::<Result<_, _>>().map(Some),
        Some(_) => Err(wrong()),
    }
}

fn labels(value: Option<Value>) -> Result<BTreeMap<String, String>, Problem> {
    let wrong = || Problem::bad_field("/labels", "`labels` must be an object of strings");
    let pair = |(name, value)| if let Value::String(text) = value { Ok((name, text)) } else { Err(wrong()) };
    match value {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(fields)) => fields.into_iter().map(pair).collect(),
        Some(_) => Err(wrong()),
    }
}

/// Where a grant stands, in one word.
fn state(grant: &Grant, now: UnixMs) -> &'static str {
    if grant.revoked.is_some() {
        "revoked"
    } else if grant.expires.is_some_and(|expires| expires <= now) {
        "expired"
    } else {
        "active"
    }
}

/// A grant as JSON: everything but its keys, of which nothing is known but digests.
fn describe_but_rules(grant: &Grant, now: UnixMs) -> Value {
    let time = |at: UnixMs| Timestamp::new(at).ok();
    json!({
        "id": grant.id,
        "name": grant.name,
        "state": state(grant, now),
        "tenant": grant.tenant,
        "roles": grant.roles,
        "internal": grant.internal,
        "labels": grant.labels,
        "isolation": grant.isolation,
        "wallets": grant.wallets,
        "created_at": time(grant.created),
        "expires_at": grant.expires.and_then(time),
        "revoked_at": grant.revoked.and_then(time),
        "old_key_until": grant.old_key.filter(|old| old.expires > now).and_then(|old| time(old.expires)),
        "last_used_at": grant.last_used.and_then(time),
    })
}

/// The same with its own rules.
fn describe(grant: &Grant, now: UnixMs) -> Value {
    let mut told = describe_but_rules(grant, now);
    told["policy"] = grant.policy.as_deref().map(rules).into();
    told
}

/// A grant's own rules, as they were given. The record may be of another release.
fn rules(text: &str) -> Value {
    match OwnRules::read(text) {
        Ok(rules) => json!({"digest": rules.digest(), "text": text}),
        Err(error) => json!({"wrong": error.to_string(), "text": text}),
    }
}
