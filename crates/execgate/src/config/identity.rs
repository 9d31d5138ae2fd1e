//! Who is asked about callers beside the grants.

use anyhow::Context as _;
use execgate_iam::{ServiceUrl, Unreached};

use super::Environment;
use super::file::{IdentitySection, UnreachableSetting};

/// The identity service of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarding {
    pub(crate) url: ServiceUrl,
    pub(crate) unreached: Unreached,
}

impl Guarding {
    /// `EP_GUARD_URL`, or the address in the file. The address is not told in an error: it may hold a token.
    pub(crate) fn of(environment: &Environment, section: &IdentitySection) -> anyhow::Result<Option<Self>> {
        let in_file = section.guard_url.as_ref().filter(|url| !url.is_empty());
        let Some(url) = environment.ep_guard_url.as_ref().or(in_file) else { return Ok(None) };
        let url = ServiceUrl::new(url).context("EP_GUARD_URL (`identity.guard_url`) is wrong")?;
        let unreached = match section.guard_unreachable.unwrap_or_default() {
            UnreachableSetting::Refuse => Unreached::Refuse,
            UnreachableSetting::Open => Unreached::Open,
        };
        Ok(Some(Self { url, unreached }))
    }
}

#[cfg(test)]
mod tests {
    use execgate_iam::Unreached;

    use super::{Environment, Guarding, IdentitySection};

    fn of(environment: &str, file: &str) -> anyhow::Result<Option<Guarding>> {
        let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let environment = Environment { ep_guard_url: filled(environment), ..Environment::default() };
        Guarding::of(&environment, &toml::from_str::<IdentitySection>(file).unwrap())
    }

    #[test]
    fn the_environment_wins_and_what_is_live_is_refused_unless_the_file_says_otherwise() {
        assert_eq!(of("", "guard_url = \"\"").unwrap(), None);
        let file = "guard_url = \"https://file.example/\"\nguard_unreachable = \"open\"";
        let (from_file, from_both) =
            (of("", file).unwrap().unwrap(), of("https://env.example/", file).unwrap().unwrap());
        assert_eq!(
            (from_file.url.to_string(), from_file.unreached),
            ("https://file.example/…".to_owned(), Unreached::Open)
        );
        assert_eq!(from_both.url.to_string(), "https://env.example/…");
        assert_eq!(of("http://localhost:9", "").unwrap().unwrap().unreached, Unreached::Refuse);
    }

    #[test]
    fn an_address_that_cannot_be_is_an_error_that_does_not_tell_it() {
        let error = format!("{:#}", of("http://guard.example/secret", "").unwrap_err());
        assert!(error.contains("https") && !error.contains("secret"), "{error}");
    }
}
