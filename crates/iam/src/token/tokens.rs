//! The way of one token. Every change here needs a second reader.
//!
//! Size, form, issuer, algorithm, key, signature, and only then what it says. A token that was good is known again by its
//! digest for [`KNOWN_US`], at the longest until its end or a change of its issuer's keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use execgate_flow::authorise::{Bearer, TokenError, Tokens};
use execgate_model::{BoxFuture, Clock, Digest, UnixMs};
use execgate_receipt::sha256;
use serde_json::Value;
use tokio::task::JoinSet;

use super::claims::judge;
use super::form::{Compact, TOKEN_MAX};
use super::source::{Current, Source};
use super::{IssuerParts, KeysFault, PartsError};
use crate::TlsError;

/// How long a good token is known again without a look at its signature, in microseconds.
pub(crate) const KNOWN_US: u64 = 60_000_000;

/// Good tokens that are known at once, some 300 bytes each. A full table keeps what it has: it is no promise.
const KNOWN_MAX: usize = 4_096;

/// Issuers of one gateway.
const ISSUERS_MAX: usize = 8;

/// Why issuers cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is said of one cannot be.
    #[error("the issuer {0} cannot be honoured")]
    Parts(String, #[source] PartsError),
    /// Which of the two would hold?
    #[error("the issuer {0} is there twice")]
    Twice(String),
    /// There are too many.
    #[error("there are more than {ISSUERS_MAX} issuers")]
    Many,
    /// Its keys cannot be asked for.
    #[error("the keys of the issuer {0} cannot be asked for")]
    Tls(String, #[source] TlsError),
    /// The file with its keys is wrong.
    #[error("the keys of the issuer {0} cannot be read")]
    Keys(String, #[source] KeysFault),
}

struct Issuer {
    parts: IssuerParts,
    source: Arc<Source>,
}

/// A token that was good.
struct Known {
    issuer: usize,
    generation: u64,
    seen_us: u64,
    until: UnixMs,
    bearer: Arc<Bearer>,
}

/// The issuers whose tokens are taken.
pub struct TokenIssuers {
    issuers: Vec<Issuer>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Digest, Known>>,
}

impl TokenIssuers {
    /// Issuers. Files with keys are read now; nobody is dialled before [`Self::tend`], or a token.
    ///
    /// # Errors
    /// [`OpenError`] where one of them cannot be honoured.
    pub fn open(parts: Vec<IssuerParts>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        if parts.len() > ISSUERS_MAX {
            return Err(OpenError::Many);
        }
        let mut names = BTreeSet::new();
        let mut issuers = Vec::new();
        for parts in parts {
            let name = || parts.issuer.clone();
            parts.check().map_err(|error| OpenError::Parts(name(), error))?;
            if !names.insert(name()) {
                return Err(OpenError::Twice(name()));
            }
            let source = Source::new(name(), &parts.keys, Arc::clone(&clock));
            let source = source.map_err(|error| OpenError::Tls(name(), error))?;
            source.open().map_err(|error| OpenError::Keys(name(), error))?;
            issuers.push(Issuer { parts, source: Arc::new(source) });
        }
        Ok(Self { issuers, clock, known: Mutex::default() })
    }

    /// Reads the keys anew of those issuers whose are due. To be called every few seconds.
    pub async fn tend(&self) {
        let mut all = JoinSet::new();
        for issuer in &self.issuers {
            let source = Arc::clone(&issuer.source);
            all.spawn(async move { source.tend().await });
        }
        while all.join_next().await.is_some() {}
    }

    async fn bearer(&self, token: &str) -> Result<Arc<Bearer>, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Form);
        }
        let digest = sha256(token.as_bytes());
        if let Some(bearer) = self.known(digest) {
            return Ok(bearer);
        }
        let token = Compact::read(token)?;
        let named = token.claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Issuer)?;
        let place = self.issuers.iter().position(|issuer| issuer.parts.issuer == named);
        let place = place.ok_or(TokenError::Issuer)?;
        let issuer = &self.issuers[place];
        let generation = issuer.verified_by(&token).await?;
        let judged = judge(&issuer.parts, &token.claims, self.clock.now())?;
        let bearer = Arc::new(judged.bearer);
        let seen_us = self.clock.monotonic_us();
        let (until, kept) = (judged.until, Arc::clone(&bearer));
        self.keep(digest, Known { issuer: place, generation, seen_us, until, bearer: kept });
        Ok(bearer)
    }

    fn known(&self, digest: Digest) -> Option<Arc<Bearer>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&digest).filter(|known| self.holds(known)).map(|known| Arc::clone(&known.bearer))
    }

    fn holds(&self, known: &Known) -> bool {
        let is_fresh = self.clock.monotonic_us().saturating_sub(known.seen_us) < KNOWN_US;
        let current = || self.issuers.get(known.issuer).and_then(|issuer| issuer.source.current());
        is_fresh
            && self.clock.now() < known.until
            && current().is_some_and(|current| current.generation == known.generation)
    }

    fn keep(&self, digest: Digest, good: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| self.holds(known));
        }
        if known.len() < KNOWN_MAX {
            known.insert(digest, good);
        }
    }
}

impl Issuer {
    /// Holds the signature against the issuer's keys, and tells which generation of them.
    async fn verified_by(&self, token: &Compact<'_>) -> Result<u64, TokenError> {
        let algorithm = token.algorithm.filter(|algorithm| self.parts.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(TokenError::Algorithm)?;
        let name = token.key.as_deref();
        let verdict = |current: &Current| {
            let key = current.set.find(name, algorithm)?;
            let is_signed = key.verifies(algorithm, token.message, &token.signature);
            Some(if is_signed { Ok(current.generation) } else { Err(TokenError::Signature) })
        };
        if let Some(verdict) = self.source.current().as_ref().and_then(verdict) {
            return verdict;
        }
        let is_of_now = self.source.look_again().await;
        match self.source.current().as_ref().map(verdict) {
            Some(Some(verdict)) => verdict,
            // Keys that are not of now may lack one that is there.
            Some(None) if is_of_now => Err(TokenError::Key),
            Some(None) | None => Err(TokenError::Unreachable),
        }
    }
}

impl Tokens for TokenIssuers {
    fn recognise<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Bearer>, TokenError>> {
        Box::pin(self.bearer(token))
    }
}
