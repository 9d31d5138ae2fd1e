//! The issuer of a world: its keys lie in a file, its tokens are made by a [`Mint`](crate::mint::Mint).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use execgate_iam::{Algorithm, IssuerParts, KeysPlace, RoleRule, TenantRule, TokenIssuers};
use execgate_model::{Clock, Role};
use execgate_web::{Resource, TokenDoor};
use serde_json::Value;

use crate::mint::{AUDIENCE, ISSUER};

/// The door for tokens of an issuer that publishes these keys. The scopes `exec.run` and `exec.audit` stand for roles,
/// and the claim `department` is the label `team`.
pub(crate) fn token_door(folder: &Path, published: &Value, clock: Arc<dyn Clock>) -> TokenDoor {
    let file = folder.join("jwks.json");
    fs::write(&file, published.to_string()).expect("keys can be written");
    let words = [("exec.run", Role::Caller), ("exec.audit", Role::Auditor)];
    let words = BTreeMap::from(words.map(|(word, role)| (word.to_owned(), role)));
    let scopes_supported = words.keys().cloned().collect();
    let parts = IssuerParts {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys: KeysPlace::File(file),
        algorithms: BTreeSet::from(Algorithm::USUAL),
        tenant: TenantRule::Fixed(crate::ask::tenant()),
        roles: Some(RoleRule { claim: "scope".to_owned(), words }),
        labels: BTreeMap::from([("team".to_owned(), "department".to_owned())]),
        leeway_s: 0,
    };
    let tokens = TokenIssuers::open(vec![parts], clock).expect("the issuer can be honoured");
    let resource = Resource {
        resource: AUDIENCE.to_owned(),
        authorization_servers: vec![ISSUER.to_owned()],
        scopes_supported,
        caller_scope: Some("exec.run".to_owned()),
    };
    TokenDoor { tokens: Arc::new(tokens), resource: Some(resource) }
}
