//! What an operator says of an authorization server: whose tokens are taken, for whom, and what they make of a caller.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use execgate_model::{Role, TenantId};

use super::Algorithm;
use crate::{ServiceUrl, UrlError};

/// The longest issuer and audience, in bytes. An issuer is in every scope, log line and record of its callers.
const NAME_MAX: usize = 256;

/// The longest leeway, in seconds: clocks of hosts that are looked after differ by less.
const LEEWAY_MAX_S: u64 = 60;

/// Labels that are taken over of a token.
const LABELS_MAX: usize = 16;

/// The longest name of a claim or label, and the longest word that stands for a role, in bytes.
const WORD_MAX: usize = 128;

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysPlace {
    /// They are asked for.
    Url(ServiceUrl),
    /// They are in a file of this host.
    File(PathBuf),
}

/// The tenant of callers by tokens of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantRule {
    /// One for all.
    Fixed(TenantId),
    /// What a claim says, where that is among these.
    Claim {
        /// The name of the claim.
        claim: String,
        /// The tenants.
        among: BTreeSet<TenantId>,
    },
}

/// How words of a token become roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The claim: a text of words with spaces between them, or a list of words.
    pub claim: String,
    /// The role that each word stands for.
    pub words: BTreeMap<String, Role>,
}

/// What is known of an issuer. A claim is named by its name, or, where it lies within another, by a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerParts {
    /// Its own name for itself: `iss` is exactly this.
    pub issuer: String,
    /// Our name in its tokens: `aud` is, or holds, exactly this.
    pub audience: String,
    /// Where its keys are.
    pub keys: KeysPlace,
    /// By what it may sign.
    pub algorithms: BTreeSet<Algorithm>,
    /// The tenant of its callers.
    pub tenant: TenantRule,
    /// How their roles are told; without this rule every one has the role `caller`.
    pub roles: Option<RoleRule>,
    /// Label by claim: what the rules see of the token.
    pub labels: BTreeMap<String, String>,
    /// By how much its clock and ours may differ, in seconds.
    pub leeway_s: u64,
}

/// Why an issuer cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// It is no name of an authorization server (RFC 8414, 2).
    #[error("`issuer` must be a URL without query and fragment, of at most {NAME_MAX} bytes")]
    Issuer(#[source] Option<UrlError>),
    /// Tokens for others would be taken, or nobody's.
    #[error("`audience` must be 1 to {NAME_MAX} printable characters")]
    Audience,
    /// No token could be taken.
    #[error("`algorithms` must name at least one")]
    Algorithms,
    /// A token would be taken long after its end.
    #[error("`leeway_seconds` must be at most {LEEWAY_MAX_S}")]
    Leeway,
    /// A token must not give what only the operator's files give.
    #[error("a token can give the roles `caller` and `auditor`, and not `{}`", .0.as_str())]
    Role(Role),
    /// No caller could be of any tenant.
    #[error("`tenant_claim` needs `tenants`, the list of those that it may name")]
    Tenants,
    /// A name is empty, too long, or holds what no name holds.
    #[error(
        "a name of a claim, label or role's word must be 1 to {WORD_MAX} printable characters without a space"
    )]
    Word,
    /// There are too many.
    #[error("at most {LABELS_MAX} labels and words for roles can be taken over of a token")]
    Many,
}

impl IssuerParts {
    /// Whether this can be honoured.
    ///
    /// # Errors
    /// [`PartsError`] says which rule it breaks.
    pub fn check(&self) -> Result<(), PartsError> {
        ServiceUrl::new(&self.issuer).map_err(|error| PartsError::Issuer(Some(error)))?;
        if !is_word(&self.issuer, NAME_MAX) || self.issuer.contains(['?', '#', '"', '\\']) {
            return Err(PartsError::Issuer(None));
        }
        if !is_word(&self.audience, NAME_MAX) {
            return Err(PartsError::Audience);
        }
        if self.algorithms.is_empty() {
            return Err(PartsError::Algorithms);
        }
        if self.leeway_s > LEEWAY_MAX_S {
            return Err(PartsError::Leeway);
        }
        self.check_words()
    }

    fn check_words(&self) -> Result<(), PartsError> {
        let mut words: Vec<&String> = self.labels.iter().flat_map(|(label, claim)| [label, claim]).collect();
        if let TenantRule::Claim { claim, among } = &self.tenant {
            if among.is_empty() {
                return Err(PartsError::Tenants);
            }
            words.push(claim);
        }
        if let Some(rule) = &self.roles {
            let given = rule.words.values().find(|role| !matches!(role, Role::Caller | Role::Auditor));
            if let Some(role) = given {
                return Err(PartsError::Role(*role));
            }
            words.push(&rule.claim);
            words.extend(rule.words.keys());
        }
        let many = self.labels.len() > LABELS_MAX
            || self.roles.as_ref().is_some_and(|rule| rule.words.len() > LABELS_MAX);
        if many {
            return Err(PartsError::Many);
        }
        if words.iter().all(|word| is_word(word, WORD_MAX)) { Ok(()) } else { Err(PartsError::Word) }
    }
}

fn is_word(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
