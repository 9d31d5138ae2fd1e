//! The sandboxes that code can run in, by the profile that a caller names.

use std::collections::BTreeMap;
use std::sync::Arc;

use execgate_sandbox::Sandbox;

use crate::code;

/// The profile of a call that names none.
const DEFAULT: &str = "default";

/// Every sandbox of a gateway, by profile.
#[derive(Debug, Clone)]
pub struct Profiles(BTreeMap<String, Arc<Sandbox>>);

impl Profiles {
    /// The sandbox of calls that name no profile, and those of the named ones.
    #[must_use]
    pub fn new(default: Arc<Sandbox>, named: impl IntoIterator<Item = (String, Arc<Sandbox>)>) -> Self {
        Self(named.into_iter().chain([(DEFAULT.to_owned(), default)]).collect())
    }

    /// The sandbox of a profile, or of the default one.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Sandbox>> {
        self.0.get(name.unwrap_or(DEFAULT))
    }

    /// Every profile, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Sandbox>)> {
        self.0.iter().map(|(name, sandbox)| (name.as_str(), sandbox))
    }

    /// The names, for an error.
    pub(super) fn names(&self) -> String {
        self.0.keys().cloned().collect::<Vec<_>>().join(", ")
    }

    /// Every language of any profile, in order.
    #[must_use]
    pub fn languages(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.values().flat_map(|sandbox| spoken(sandbox).map(str::to_owned)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The languages of a sandbox that callers may ask for: what else it starts are programs of the operator's.
pub fn spoken(sandbox: &Sandbox) -> impl Iterator<Item = &str> {
    sandbox.languages().filter(|name| code::named(name).is_some())
}
