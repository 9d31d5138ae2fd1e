//! What holds of strangers' tokens, whatever the bytes. A fuzz target and a property test call it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use execgate_model::{Identity, Role, TenantId, UnixMs};
use execgate_receipt::parse_strict;

use crate::token::checks;
use crate::{Algorithm, IssuerParts, KeysPlace, RoleRule, TenantRule};

/// When it is, in milliseconds since 1970.
const NOW_MS: u64 = 1_800_000_000_000;

/// A token, a set of keys, and claims: each is refused, or has the bounds that everything behind them relies on.
pub fn token(bytes: &[u8]) {
    if let Ok(text) = core::str::from_utf8(bytes) {
        checks::form(text);
    }
    checks::keys(bytes);
    let Ok(claims) = parse_strict(bytes) else { return };
    let parts = parts();
    if let Ok((bearer, until)) = checks::claims(&parts, &claims, UnixMs(NOW_MS)) {
        assert!(until.0 > NOW_MS && claims["exp"].is_u64());
        assert!(bearer.roles.iter().all(|role| matches!(role, Role::Caller | Role::Auditor)));
        assert!(!bearer.caller.is_internal() && ["red", "blue"].contains(&bearer.caller.tenant.as_str()));
        let Identity::Subject { issuer, subject, labels } = &bearer.caller.identity else {
            unreachable!("a token makes a subject")
        };
        assert!(*issuer == parts.issuer && (1..=255).contains(&subject.len()));
        assert!(!bearer.caller.label().chars().any(char::is_control));
        assert!(labels.iter().all(|(label, text)| label == "team" && (1..=128).contains(&text.len())));
        assert_eq!(bearer.caller.scope().map(|scope| scope.as_str().lines().count()), Some(4));
    }
}

fn parts() -> IssuerParts {
    let tenant = |name: &str| TenantId::new(name).ok();
    let words = [("exec.run", Role::Caller), ("exec.audit", Role::Auditor)];
    let words = BTreeMap::from(words.map(|(word, role)| (word.to_owned(), role)));
    IssuerParts {
        issuer: "https://login.example".to_owned(),
        audience: "https://gate.example".to_owned(),
        keys: KeysPlace::File(PathBuf::new()),
        algorithms: BTreeSet::from(Algorithm::USUAL),
        tenant: TenantRule::Claim {
            claim: "org".to_owned(),
            among: ["red", "blue"].into_iter().filter_map(tenant).collect(),
        },
        roles: Some(RoleRule { claim: "scope".to_owned(), words }),
        labels: BTreeMap::from([("team".to_owned(), "/custom/team".to_owned())]),
        leeway_s: 30,
    }
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{near, token};

    #[test]
    fn a_token_is_refused_or_bounded() {
        near::holds("token", token);
    }
}
