//! Whose tokens are taken, and under which URL others reach this gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::path;

use anyhow::{Context as _, bail};
use execgate_iam::{Algorithm, IssuerParts, KeysPlace, RoleRule, ServiceUrl, TenantRule};
use execgate_model::{Role, TenantId};

use super::file::{IssuerSection, Server};

/// By how much clocks may differ where the operator does not say, in seconds.
const LEEWAY_S: u64 = 30;

/// The URL under which others reach this gateway: what it says of itself, and the name of a host that is its own.
pub(super) fn public_url(server: &Server) -> anyhow::Result<Option<ServiceUrl>> {
    let Some(text) = server.public_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
    let url = ServiceUrl::new(text).context("`server.public_url` is wrong")?;
    if url.origin().is_none() || text.contains('#') {
        bail!("`server.public_url` must be without a path, such as https://gate.example");
    }
    Ok(Some(url))
}

/// The issuers, each of which can be honoured.
pub(super) fn issuers(sections: &[IssuerSection], tenant: &TenantId) -> anyhow::Result<Vec<IssuerParts>> {
    let read = |section: &IssuerSection| {
        let parts = parts(section, tenant).and_then(|parts| {
            parts.check()?;
            Ok(parts)
        });
        parts.with_context(|| format!("the issuer `{}` of `[[identity.issuer]]` is wrong", section.issuer))
    };
    sections.iter().map(read).collect()
}

fn parts(section: &IssuerSection, tenant: &TenantId) -> anyhow::Result<IssuerParts> {
    Ok(IssuerParts {
        issuer: section.issuer.clone(),
        audience: section.audience.clone(),
        keys: keys(&section.jwks)?,
        algorithms: algorithms(section.algorithms.as_deref())?,
        tenant: tenant_rule(section, tenant)?,
        roles: role_rule(section)?,
        labels: section.labels.clone(),
        leeway_s: section.leeway_seconds.unwrap_or(LEEWAY_S),
    })
}

fn keys(place: &str) -> anyhow::Result<KeysPlace> {
    if place.contains("://") {
        return Ok(KeysPlace::Url(ServiceUrl::new(place).context("`jwks` is wrong")?));
    }
    Ok(KeysPlace::File(path::absolute(place).context("`jwks` is neither a URL nor a path")?))
}

fn algorithms(words: Option<&[String]>) -> anyhow::Result<BTreeSet<Algorithm>> {
    let Some(words) = words else { return Ok(BTreeSet::from(Algorithm::USUAL)) };
    let read = |word: &String| {
        Algorithm::from_word(word).with_context(|| {
            let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
            format!("tokens signed by `{word}` cannot be taken; an algorithm is one of {known}")
        })
    };
    words.iter().map(read).collect()
}

fn tenant_rule(section: &IssuerSection, tenant: &TenantId) -> anyhow::Result<TenantRule> {
    let among = section.tenants.iter().map(|name| TenantId::new(name.as_str())).collect::<Result<_, _>>()?;
    match (&section.tenant, &section.tenant_claim) {
        (Some(_), Some(_)) => bail!("either `tenant`, or `tenant_claim` with `tenants`"),
        (None, Some(claim)) => Ok(TenantRule::Claim { claim: claim.clone(), among }),
        (_, None) if !section.tenants.is_empty() => bail!("`tenants` needs `tenant_claim`"),
        (Some(name), None) => Ok(TenantRule::Fixed(TenantId::new(name.as_str())?)),
        (None, None) => Ok(TenantRule::Fixed(tenant.clone())),
    }
}

fn role_rule(section: &IssuerSection) -> anyhow::Result<Option<RoleRule>> {
    let read = |(word, role): (&String, &String)| {
        let role = Role::from_word(role).with_context(|| format!("`{role}` is no role"))?;
        Ok((word.clone(), role))
    };
    let words: BTreeMap<String, Role> = section.roles.iter().map(read).collect::<anyhow::Result<_>>()?;
    match (&section.roles_claim, words.is_empty()) {
        (None, true) => Ok(None),
        (Some(claim), false) => Ok(Some(RoleRule { claim: claim.clone(), words })),
        _ => bail!("`roles_claim` and `roles` belong together"),
    }
}

#[cfg(test)]
mod tests {
    use execgate_iam::{Algorithm, KeysPlace, TenantRule};
    use execgate_model::{Role, TenantId};

    use super::super::file::{IdentitySection, Server};
    use super::{IssuerParts, issuers, public_url};

    const LEAST: &str = "issuer = \"https://login.example\"\naudience = \"https://gate.example\"\n";

    fn read(more: &str) -> anyhow::Result<IssuerParts> {
        let text = format!("[[issuer]]\n{LEAST}{more}");
        let section: IdentitySection = toml::from_str(&text)?;
        Ok(issuers(&section.issuer, &TenantId::new("house")?)?.remove(0))
    }

    #[test]
    fn the_least_that_is_said_makes_callers_of_the_house_s_tenant_and_nothing_more() {
        let parts = read("jwks = \"https://login.example/jwks.json\"").unwrap();
        assert_eq!(parts.tenant, TenantRule::Fixed(TenantId::new("house").unwrap()));
        assert!(parts.roles.is_none() && parts.labels.is_empty() && parts.leeway_s == 30);
        assert!(parts.algorithms.iter().eq(&Algorithm::USUAL));
        assert!(matches!(parts.keys, KeysPlace::Url(_)));
    }

    #[test]
    fn everything_that_can_be_said_is_heard() {
        let parts = read(
            "jwks = \"/etc/execgate/jwks.json\"\nalgorithms = [\"PS256\"]\ntenant_claim = \"org\"\n\
             tenants = [\"red\"]\nroles_claim = \"scope\"\nroles = {\"exec.audit\" = \"auditor\"}\n\
             labels = {team = \"department\"}\nleeway_seconds = 0",
        )
        .unwrap();
        assert_eq!(parts.keys, KeysPlace::File("/etc/execgate/jwks.json".into()));
        assert!(
            matches!(&parts.tenant, TenantRule::Claim { claim, among } if claim == "org" && among.len() == 1)
        );
        assert_eq!(parts.roles.unwrap().words["exec.audit"], Role::Auditor);
        assert_eq!((parts.labels["team"].as_str(), parts.leeway_s), ("department", 0));
    }

    #[test]
    fn what_cannot_be_honoured_is_an_error() {
        let url = "jwks = \"https://login.example/jwks.json\"\n";
        for (more, words) in [
            ("".to_owned(), "missing field `jwks`"),
            ("jwks = \"http://login.example/jwks.json\"".to_owned(), "must be https"),
            (format!("{url}algorithms = [\"HS256\"]"), "signed by `HS256`"),
            (format!("{url}algorithms = [\"none\"]"), "signed by `none`"),
            (format!("{url}algorithms = []"), "at least one"),
            (format!("{url}roles_claim = \"scope\""), "belong together"),
            (format!("{url}roles_claim = \"r\"\nroles = {{x = \"approver\"}}"), "and not `approver`"),
            (format!("{url}roles_claim = \"r\"\nroles = {{x = \"king\"}}"), "no role"),
            (format!("{url}tenant_claim = \"org\""), "needs `tenants`"),
            (format!("{url}tenants = [\"red\"]"), "needs `tenant_claim`"),
            (format!("{url}leeway_seconds = 61"), "at most 60"),
            (format!("{url}internal = true"), "unknown field"),
        ] {
            let error = format!("{:#}", read(&more).unwrap_err());
            assert!(error.contains(words), "{more}: {error}");
        }
    }

    #[test]
    fn the_public_url_has_no_path_and_is_not_plain_but_on_this_machine() {
        let read = |url: &str| {
            let server = Server { public_url: Some(url.to_owned()), ..Server::default() };
            public_url(&server).map(|url| url.and_then(|url| url.origin()))
        };
        for (url, origin) in [
            ("https://Gate.example", Some("https://gate.example")),
            ("https://gate.example:8443/", Some("https://gate.example:8443")),
            ("http://127.0.0.1:5091", Some("http://127.0.0.1:5091")),
            ("", None),
        ] {
            assert_eq!(read(url).unwrap().as_deref(), origin, "{url}");
        }
        for bad in [
            "http://gate.example",
            "gate.example",
            "https://gate.example/x",
            "https://gate.example/?x",
            "https://gate.example#x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
