//! The port by which the tokens of an operator's authorization server are recognised. `iam` is behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use execgate_model::{BoxFuture, Caller, Role};

/// Why a token opens nothing. No variant repeats a byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no signed token in the compact form (RFC 7515, 7.1), or longer than tokens are.
    #[error("this is no signed token of a form that is taken here")]
    Form,
    /// Its header asks for what no token may decide (`crit`, `jku`, `jwk`, `x5u`).
    #[error("the header of the token asks for what is not done here")]
    Header,
    /// It is another kind of token: one that says who has signed in, and opens nothing.
    #[error("this is no access token")]
    Kind,
    /// Nobody is known here by the name of its issuer.
    #[error("the token is of no issuer that is known here")]
    Issuer,
    /// It is signed in a way that is not taken from its issuer.
    #[error("the token is signed by an algorithm that is not taken from its issuer")]
    Algorithm,
    /// Its issuer has no such key, or no more.
    #[error("the token is signed by no key that its issuer has now")]
    Key,
    /// It is not what was signed.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It is past its time.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come, or it was made in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is bound to a key that whoever shows it has not proved to hold (`cnf`).
    #[error("the token is bound to a key, and bound tokens are not taken here")]
    Bound,
    /// A claim that is needed here is missing, or is not of its form.
    #[error("a claim of the token that is needed here is missing, or of a wrong form")]
    Claim,
    /// Its tenant is not served by way of its issuer.
    #[error("the tenant of the token is not served here")]
    Tenant,
    /// Nobody can tell: the keys of its issuer cannot be read now. That says nothing of the token.
    #[error("the keys of the token's issuer cannot be read now")]
    Unreachable,
}

/// Somebody who has shown a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Who it is.
    pub caller: Caller,
    /// What it is there for.
    pub roles: BTreeSet<Role>,
    /// Which doors the token is for.
    pub opens: Opens,
}

/// Which doors a token is for, by its audience (RFC 8707, 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opens {
    /// The gateway as a whole: every door.
    Gateway,
    /// Doors that are resources of their own, by their paths, and nothing beside them or below.
    Doors(BTreeSet<String>),
}

impl Opens {
    /// Whether it opens the door of a path; none: one that is no resource of its own.
    #[must_use]
    pub fn has(&self, door: Option<&str>) -> bool {
        match self {
            Self::Gateway => true,
            Self::Doors(doors) => door.is_some_and(|door| doors.contains(door)),
        }
    }
}

/// Whoever recognises tokens.
pub trait Tokens: Send + Sync {
    /// Tells who shows a token.
    ///
    /// # Errors
    /// [`TokenError`], of which [`TokenError::Unreachable`] alone is no fault of the token.
    fn recognise<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Bearer>, TokenError>>;
}
