//! The rail `mpp`: a challenge for each method in a 402, and a credential of one of them held against what is sold now.
//! Every change here needs a second reader.

use std::sync::Arc;

use execgate_model::{Amount, BoxFuture, Clock, Entropy, Resource, UnixMs};
use serde_json::{Map, Value};

use super::challenge::{drawn_opaque, is_opaque_of};
use super::kept::Kept;
use super::{
    Ask, Challenge, Credential, CredentialHeader, Fault, InForce, Method, Pledge, Preferences, Problem,
    Receipt, body_digest, charge, instant, opaque,
};
use crate::evm::Authorization;
use crate::first::first;
use crate::{
    Asked, CaptureError, Endurance, Flow, Found, Header, HoldError, LookError, Offer, Paid, Rail, Settled,
    SettlementState, Taken, Terms, Unreachable,
};

/// For how long a client may think about a challenge, in seconds, where nobody says otherwise: five minutes, as the reference
/// servers give.
pub const PAY_WITHIN_S: u64 = 300;

/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// What stands for the realm where an address names no host.
const NO_HOST: &str = "execgate";

/// The longest realm, in bytes: that of the longest name of a host.
const REALM_MAX: usize = 253;

/// The rail of the Payment scheme.
pub struct Mpp {
    methods: Vec<Arc<dyn Method>>,
    header: CredentialHeader,
    /// The protection space; none: the name of the host.
    realm: Option<String>,
    pay_within_s: u64,
    secrets: Arc<InForce>,
    clock: Arc<dyn Clock>,
    /// What makes each challenge another; none: those of the same second are the same.
    entropy: Option<Arc<dyn Entropy>>,
}

impl Mpp {
    /// Its name.
    pub const NAME: &'static str = "mpp";

    /// A rail with these methods, in the order in which they are offered.
    #[must_use]
    pub fn new(
        methods: Vec<Arc<dyn Method>>,
        header: CredentialHeader,
        secrets: Arc<InForce>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { methods, header, realm: None, pay_within_s: PAY_WITHIN_S, secrets, clock, entropy: None }
    }

    /// The same under another realm than the name of the host. One that is none ([`is_realm`]) leaves that in its place.
    #[must_use]
    pub fn with_realm(self, realm: Option<String>) -> Self {
        Self { realm: realm.filter(|realm| is_realm(realm)), ..self }
    }

    /// The same, with something drawn in each challenge, so that none is given twice.
    #[must_use]
    pub fn drawing(self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// The same, for clients that may think so long, in seconds.
    #[must_use]
    pub fn with_pay_within_s(self, pay_within_s: u64) -> Self {
        Self { pay_within_s, ..self }
    }

    fn opaque(&self, resource: &Resource) -> String {
        match &self.entropy {
            Some(entropy) => drawn_opaque(entropy.sixteen(), &resource.method, &resource.url),
            None => opaque(&resource.method, &resource.url),
        }
    }

    /// The challenge of one method for something that is sold.
    fn challenge(
        &self,
        method: &dyn Method,
        request: String,
        expires: String,
        resource: &Resource,
    ) -> Challenge {
        let description = (!resource.description.is_empty()).then(|| resource.description.clone());
        Challenge {
            realm: self.realm.as_deref().unwrap_or_else(|| realm(&resource.url)).to_owned(),
            method: method.name().to_owned(),
            intent: charge::INTENT.to_owned(),
            request,
            expires: Some(expires),
            digest: resource.body_digest.as_ref().map(body_digest),
            header: self.header.parameter(),
            opaque: Some(self.opaque(resource)),
            description,
        }
    }

    /// The ids of the challenges that ask for payment, and the values of their lines.
    fn challenges(&self, asked: &Asked, resource: &Resource) -> Vec<(String, String)> {
        // A challenge asks for all of a price.
        if asked.flow == Flow::Metered {
            return Vec::new();
        }
        let lives_ms = asked.lives_at_least_s.saturating_add(self.pay_within_s).saturating_mul(SECOND_MS);
        let expires = instant::told(UnixMs(self.clock.now().0.saturating_add(lives_ms)));
        let secrets = self.secrets.now();
        let value = |method: &Arc<dyn Method>| {
            let request = method.request(asked.amount)?;
            let challenge = self.challenge(&**method, request, expires.clone(), resource);
            Some((challenge.id(secrets.newest()).ok()?, challenge.header_value(secrets.newest()).ok()?))
        };
        let mut methods = self.methods.iter().collect();
        if let Some(accepts) = &asked.accepts {
            Preferences::read(accepts).order(&mut methods, |method| (method.name(), charge::INTENT));
        }
        methods.into_iter().filter_map(value).collect()
    }

    /// What came, held against what is sold.
    ///
    /// # Errors
    /// [`Fault`] where it is not known whose it is.
    fn pledge(&self, bytes: &[u8], terms: &Terms, resource: &Resource) -> Result<Pledge, Fault> {
        let malformed = |words: String| Fault::new(Problem::MalformedCredential, words);
        let text = str::from_utf8(bytes).map_err(|_| malformed("a credential is a text".to_owned()))?;
        let credential = Credential::read(text).map_err(|error| malformed(error.to_string()))?;
        let named = &credential.challenge;
        let of_name: Vec<_> = self.methods.iter().filter(|method| method.name() == named.method).collect();
        // Several tokens are several methods of one name. One whose price is another now is the one that was signed for.
        let (asking, others): (Vec<_>, Vec<_>) =
            of_name.into_iter().partition(|method| method.asks(&named.request, terms.amount));
        let now = self.clock.now();
        let ask =
            Ask { amount: terms.amount, now, flow: terms.flow, lives_at_least_s: terms.lives_at_least_s };
        let unsupported = Fault::new(Problem::MethodUnsupported, "this method and intent are not taken here");
        let is_charge = named.intent == charge::INTENT;
        let methods = asking.into_iter().chain(others).filter(|_| is_charge);
        let (method, pledge) = first(methods, unsupported, |method| {
            method.pledge(&credential, &ask).map(|pledge| (method, pledge))
        })?;
        // The challenge comes first: it says most of what a client may have done wrong.
        let metered = || {
            let words = "what is metered is not paid by challenge";
            (terms.flow == Flow::Metered).then(|| Fault::new(Problem::MethodUnsupported, words))
        };
        let unfit = self.unfit(&credential, &**method, &ask, resource).or(pledge.unfit).or_else(metered);
        let state = Kept { challenge: Some(&credential.id), state: &pledge.state }.to_bytes();
        Ok(Pledge { unfit, state, ..pledge })
    }

    /// Why the challenge that a credential answers is not the one for this, where it is not.
    fn unfit(
        &self,
        credential: &Credential,
        method: &dyn Method,
        ask: &Ask,
        resource: &Resource,
    ) -> Option<Fault> {
        let wrong = |words: &str| Some(Fault::new(Problem::InvalidChallenge, words));
        let echo = &credential.challenge;
        let Some(expires) = &echo.expires else {
            return wrong("the challenge has no end");
        };
        let wanted = self.challenge(method, echo.request.clone(), expires.clone(), resource);
        if !method.asks(&echo.request, ask.amount) {
            return wrong("the challenge asks for another payment than this costs now");
        }
        if wanted.digest != echo.digest {
            return wrong("the challenge is for another body");
        }
        let is_for_this =
            echo.opaque.as_ref().is_some_and(|opaque| is_opaque_of(opaque, &resource.method, &resource.url));
        if !is_for_this {
            return wrong("the challenge is for something else, or none of this gateway's");
        }
        // A description is for people, and nothing binds it. A challenge of an earlier configuration named the other header.
        // What was drawn is bound by the id.
        let wanted = Challenge {
            description: echo.description.clone(),
            header: echo.header.clone(),
            opaque: echo.opaque.clone(),
            ..wanted
        };
        if wanted != *echo || !wanted.is_known_as(&credential.id, &self.secrets.now()) {
            return wrong("the challenge is for something else, or none of this gateway's");
        }
        match instant::read(expires) {
            Ok(until) if ask.now < until => None,
            Ok(_) => Some(Fault::new(Problem::PaymentExpired, "the challenge is past its end")),
            Err(error) => Some(Fault::new(Problem::InvalidChallenge, error.to_string())),
        }
    }

    fn keeper(&self, state: &[u8]) -> Option<&dyn Method> {
        self.methods.iter().find(|method| method.has_kept(state)).map(AsRef::as_ref)
    }

    fn no_keeper() -> String {
        "the method that this was paid by is no longer configured".to_owned()
    }
}

impl Rail for Mpp {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        credential: Option<&'a execgate_model::Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async move {
            let credential = credential.ok_or(HoldError::Required)?;
            let pledged = self.pledge(&credential.bytes, terms, &credential.resource);
            let Pledge { claim, state, flow, unfit } =
                pledged.map_err(|fault| HoldError::Refused(fault.to_string()))?;
            let lapsed = unfit.map(|fault| fault.to_string());
            Ok(Paid { flow, lapsed, ..Paid::by(claim, state) })
        })
    }

    fn offer(&self, asked: &Asked, resource: &Resource) -> Offer {
        let header = |(_, value)| Header { name: "www-authenticate", value };
        let challenges = self.challenges(asked, resource);
        let first = challenges.first().map(|(id, _)| id.clone());
        let headers = challenges.into_iter().map(header).collect();
        // A refusal of another rail is in its own words.
        let code = asked.refused.as_deref().unwrap_or(Problem::PaymentRequired.slug());
        let code = code.split(':').next().unwrap_or_default();
        let problem = Problem::ALL.into_iter().find(|problem| problem.slug() == code);
        let mut members = Map::new();
        if let Some(problem) = problem {
            members.insert("type".to_owned(), Value::from(problem.kind()));
            members.insert("title".to_owned(), Value::from(problem.title()));
            if let Some(id) = first {
                members.insert("challengeId".to_owned(), id.into());
            }
        }
        Offer { headers, members }
    }

    fn tell(&self, settled: &Settled<'_>) -> Vec<Header> {
        let (SettlementState::Captured, Some(reference)) = (settled.state, settled.reference) else {
            return Vec::new();
        };
        let kept = Kept::read(settled.kept);
        let Some(method) = self.keeper(kept.state) else { return Vec::new() };
        let mut receipt = Receipt::new(method.name(), settled.at, reference);
        receipt.challenge_id = kept.challenge.map(str::to_owned);
        vec![Header { name: "payment-receipt", value: receipt.to_string() }]
    }

    fn capture<'a>(&'a self, amount: Amount, state: &'a [u8]) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async move {
            let state = Kept::read(state).state;
            let method = self.keeper(state).ok_or_else(|| CaptureError::Failed(Self::no_keeper()))?;
            method.capture(amount, state).await
        })
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        // Nothing was taken: what was signed runs out.
        Box::pin(async {})
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(async move {
            let state = Kept::read(state).state;
            let method = self.keeper(state).ok_or_else(|| Unreachable(Self::no_keeper()))?;
            method.whereabouts(state).await
        })
    }

    fn ends(&self, state: &[u8]) -> Option<UnixMs> {
        Authorization::from_bytes(Kept::read(state).state).ok().map(|authorization| authorization.ends())
    }

    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(async move {
            let state = Kept::read(state).state;
            let method = self.keeper(state).ok_or_else(|| Unreachable(Self::no_keeper()))?;
            method.funds(state).await
        })
    }

    fn may_go_back(&self, state: &[u8]) -> bool {
        let state = Kept::read(state).state;
        self.keeper(state).is_some_and(|method| method.may_go_back(state))
    }

    fn endurance<'a>(&'a self, taken: &'a [Taken<'a>]) -> BoxFuture<'a, Result<Vec<Endurance>, Unreachable>> {
        Box::pin(async move {
            let taken: Vec<_> = taken
                .iter()
                .map(|one| Taken { state: Kept::read(one.state).state, reference: one.reference })
                .collect();
            let mut told = vec![Endurance::Undecided; taken.len()];
            // Several tokens are several methods, and each of them can tell of all.
            let mut left: Vec<_> = (0..taken.len()).collect();
            for method in &self.methods {
                let (its, others): (Vec<_>, Vec<_>) =
                    left.into_iter().partition(|at| method.has_kept(taken[*at].state));
                left = others;
                let asked: Vec<_> = its.iter().map(|at| taken[*at]).collect();
                if asked.is_empty() {
                    continue;
                }
                for (at, one) in its.into_iter().zip(method.endurance(&asked).await?) {
                    told[at] = one;
                }
            }
            Ok(told)
        })
    }
}

/// Whether a text can be a realm: one that every client takes, and that needs no escape.
#[must_use]
pub fn is_realm(text: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
    (1..=REALM_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The host in an address, without its port: the protection space.
fn realm(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = host.rfind(':').filter(|at| host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()));
    let host = port.map_or(host, |at| &host[..at]);
    if is_realm(host) { host } else { NO_HOST }
}

#[cfg(test)]
mod tests;
