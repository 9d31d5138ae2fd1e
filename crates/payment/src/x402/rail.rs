//! The rail: what a payment is held against. Sole judge of x402 payments; every change here needs a second reader.

use core::fmt;
use std::sync::Arc;

use execgate_model::{Amount, BoxFuture, Clock, Credential, Nonce, Resource, UnixMs};
use serde_json::Value;

use super::credential::{Accepted, Shown, refused};
use super::{code, offer, response};
use crate::evm::{Address, Authorization, Means, Token, U256};
use crate::first::first;
use crate::{
    Asked, CaptureError, Endurance, Facilitator, Flow, Found, Header, HoldError, LookError, Offer, Paid,
    PaymentClaim, Rail, Settled, Taken, Terms, Unreachable, authorized_may_go_back, capture_authorized,
    endurance_of_authorized, find_authorized, funds_of_payer,
};

/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// By what the tokens of an account are moved (`extra.assetTransferMethod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// The token itself, by EIP-3009, in both versions.
    #[default]
    Eip3009,
    /// Permit2, in version 2: its payers have let it once.
    Permit2,
}

impl Transfer {
    /// Its name in an offer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eip3009 => "eip3009",
            Self::Permit2 => "permit2",
        }
    }

    /// Of what was signed so.
    const fn of(by: &Means) -> Self {
        if by.is_token() { Self::Eip3009 } else { Self::Permit2 }
    }
}

/// Where money comes to: one token, by what it comes, and whose account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The token.
    pub token: Token,
    /// By what it is moved.
    pub transfer: Transfer,
    /// The account.
    pub pay_to: Address,
}

/// The rail of x402.
pub struct X402 {
    accounts: Vec<Account>,
    facilitator: Arc<dyn Facilitator>,
    /// Whose account settles what is metered; none: nothing is.
    settles: Option<Address>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for X402 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X402").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

impl X402 {
    /// Its name.
    pub const NAME: &'static str = "x402";

    /// A rail that is paid to these accounts, offered in their order, by whoever moves the tokens.
    #[must_use]
    pub fn new(accounts: Vec<Account>, facilitator: Arc<dyn Facilitator>, clock: Arc<dyn Clock>) -> Self {
        Self { accounts, facilitator, settles: None, clock }
    }

    /// The same, where what is metered is paid by the scheme `upto`: to the accounts that are paid by Permit2, settled by that
    /// account of the facilitator's.
    #[must_use]
    pub fn metered_by(self, settles: Option<Address>) -> Self {
        Self { settles, ..self }
    }

    /// The accounts that a payment may be for: one, but for version 1, which does not say which token it is.
    fn accounts(&self, shown: &Shown) -> Result<Vec<&Account>, HoldError> {
        let of_network: Vec<_> =
            self.accounts.iter().filter(|account| account.token.network == shown.network).collect();
        if of_network.is_empty() {
            return Err(refused(code::NETWORK, "this network is not taken here"));
        }
        let transfer = Transfer::of(&shown.by);
        let mut moved = of_network.into_iter().filter(|account| account.transfer == transfer).peekable();
        if moved.peek().is_none() {
            let other = if transfer == Transfer::Permit2 { Transfer::Eip3009 } else { Transfer::Permit2 };
            let (no, yes) = (transfer.as_str(), other.as_str());
            return Err(refused(code::SCHEME, format!("{no} is not taken here; authorize by {yes}")));
        }
        Ok(moved.filter(|account| shown.asset.is_none_or(|asset| account.token.contract == asset)).collect())
    }

    /// Reads a credential, and finds out whose it is. What else is wrong with it is for [`Self::fits`]. Where it does not say
    /// its token, that is the one for which its payer has signed.
    fn proven(&self, credential: &Credential) -> Result<(Shown, &Account, Authorization), HoldError> {
        let shown = Shown::read(&credential.bytes)?;
        let none = refused(code::REQUIREMENTS, "this token is not taken here");
        let (account, authorization) = first(self.accounts(&shown)?, none, |account| {
            let authorization = Authorization {
                token: account.token.clone(),
                from: shown.from,
                to: shown.to,
                value: shown.value,
                valid_after: shown.valid_after,
                valid_before: shown.valid_before,
                nonce: shown.nonce,
                by: shown.by,
                signature: shown.signature,
            };
            match authorization.verify() {
                Ok(()) => Ok((account, authorization)),
                Err(error) => Err(refused(code::signed(&shown.by).signature, error)),
            }
        })?;
        shown.identifier()?;
        Ok((shown, account, authorization))
    }

    /// Why a payment buys nothing under these terms, if so.
    fn fits(
        &self,
        terms: &Terms,
        shown: &Shown,
        account: &Account,
        resource: &Resource,
    ) -> Result<(), (&'static str, &'static str)> {
        let codes = code::signed(&shown.by);
        if shown.to != account.pay_to {
            return Err((codes.recipient, "it pays somebody else"));
        }
        let flow = flow_of(terms, shown);
        if (flow == Flow::Metered) != matches!(shown.by, Means::UpTo { .. }) {
            return Err((code::SCHEME, "this is paid by the scheme that is offered for it"));
        }
        if let Means::UpTo { facilitator, .. } = shown.by
            && Some(facilitator) != self.settles
        {
            return Err((code::FACILITATOR, "another is named to settle it than is offered"));
        }
        let asked = Asked {
            amount: terms.amount,
            flow,
            lives_at_least_s: terms.lives_at_least_s,
            refused: None,
            accepts: None,
        };
        if offer::units(terms.amount, account.token.decimals) != Some(shown.value) {
            return Err((codes.value, "it pays another amount than the price"));
        }
        let UnixMs(now_ms) = self.clock.now();
        let now_s = now_ms / SECOND_MS;
        if shown.valid_after > U256::from(now_s) {
            return Err((codes.valid_after, "it is not good yet"));
        }
        if shown.valid_before < U256::from(now_s.saturating_add(terms.lives_at_least_s)) {
            return Err((codes.valid_before, "it ends before the work could be done and paid"));
        }
        if let Some(accepted) = &shown.accepted {
            let requirement = offer::requirement(account, &asked, self.settles);
            if !requirement.is_some_and(|requirement| is_accepted(&requirement, accepted)) {
                return Err((code::REQUIREMENTS, "what was accepted is not what is offered here now"));
            }
        } else if flow != Flow::Authorization {
            return Err((code::REQUIREMENTS, "what is paid before it is done is sold by version 2 alone"));
        }
        if let Some(url) = &shown.resource_url
            && place(url) != place(&resource.url)
        {
            return Err((code::RESOURCE, "it was signed for something else"));
        }
        Ok(())
    }
}

/// When a payment is taken: a client may offer to pay before the work where it need not, and it has to where it was told so.
fn flow_of(terms: &Terms, shown: &Shown) -> Flow {
    let extra = shown.accepted.as_ref().and_then(|accepted| accepted.extra.as_ref());
    let upfront = extra.and_then(|extra| extra.get("paymentFlow"));
    if upfront.is_some_and(|flow| flow == Flow::Upfront.as_str()) { Flow::Upfront } else { terms.flow }
}

/// Host and path of a URL: what it is of, however it is reached.
fn place(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    &rest[..end]
}

/// Whether what a client gives back is what it was offered; it may have added to `extra`.
fn is_accepted(requirement: &Value, accepted: &Accepted) -> bool {
    let same = |name: &str, text: &str| requirement[name].as_str().is_some_and(|ours| ours == text);
    let same_address = |name: &str, text: &str| {
        requirement[name].as_str().is_some_and(|ours| ours.eq_ignore_ascii_case(text))
    };
    let extra = requirement["extra"].as_object().is_some_and(|ours| {
        let theirs = accepted.extra.as_ref();
        ours.iter().all(|(name, value)| theirs.and_then(|theirs| theirs.get(name)) == Some(value))
    });
    // A flow that we do not ask for is not one to be had by asking.
    let flow = accepted.extra.as_ref().and_then(|extra| extra.get("paymentFlow"));
    let same_flow = match requirement["extra"].get("paymentFlow") {
        Some(ours) => flow == Some(ours),
        None => flow.is_none_or(|flow| flow.is_null() || flow == "authorization"),
    };
    same("scheme", &accepted.scheme)
        && same("network", &accepted.network)
        && same("amount", &accepted.amount)
        && same_address("asset", &accepted.asset)
        && same_address("payTo", &accepted.pay_to)
        && requirement["maxTimeoutSeconds"] == accepted.max_timeout_seconds
        && extra
        && same_flow
}

impl Rail for X402 {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async move {
            let credential = credential.ok_or(HoldError::Required)?;
            let (shown, account, authorization) = self.proven(credential)?;
            let claim = PaymentClaim { key: authorization.claim_key(), payer: authorization.payer() };
            let fits = self.fits(terms, &shown, account, &credential.resource);
            let lapsed = fits.err().map(|(code, words)| format!("{code}: {words}"));
            // What cannot be kept cannot be captured.
            let state = authorization.to_bytes().map_err(|_| HoldError::Unavailable { rail: Self::NAME })?;
            let flow = flow_of(terms, &shown);
            Ok(Paid { claim: Some(claim), state, flow, lapsed })
        })
    }

    fn offer(&self, asked: &Asked, resource: &Resource) -> Offer {
        offer::offer(&self.accounts, self.settles, asked, resource)
    }

    fn taking(&self, amount: Amount, state: &[u8]) -> Option<Vec<u8>> {
        let held = Authorization::from_bytes(state).ok()?;
        let Means::UpTo { facilitator, taken: None } = held.by else { return None };
        let taken = offer::units(amount, held.token.decimals).filter(|units| *units <= held.value)?;
        let by = Means::UpTo { facilitator, taken: Some(taken) };
        Authorization { by, ..held }.to_bytes().ok()
    }

    fn tell(&self, settled: &Settled<'_>) -> Vec<Header> {
        response::headers(settled)
    }

    fn name_of(&self, credential: &Credential) -> Option<Nonce> {
        let shown = Shown::read(&credential.bytes).ok()?;
        let id = shown.identifier().ok().flatten()?;
        // Apart from names that a request brings elsewhere.
        Nonce::new(format!("x402:{id}")).ok()
    }

    fn capture<'a>(
        &'a self,
        _amount: Amount,
        state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(capture_authorized(self.facilitator.as_ref(), state))
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        // Nothing was taken, and nothing is held anywhere but here: it expires.
        Box::pin(async {})
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(find_authorized(self.facilitator.as_ref(), state))
    }

    fn ends(&self, state: &[u8]) -> Option<UnixMs> {
        Authorization::from_bytes(state).ok().map(|authorization| authorization.ends())
    }

    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(funds_of_payer(self.facilitator.as_ref(), state))
    }

    fn may_go_back(&self, state: &[u8]) -> bool {
        authorized_may_go_back(self.facilitator.as_ref(), state)
    }

    fn endurance<'a>(&'a self, taken: &'a [Taken<'a>]) -> BoxFuture<'a, Result<Vec<Endurance>, Unreachable>> {
        Box::pin(endurance_of_authorized(self.facilitator.as_ref(), taken))
    }
}

#[cfg(test)]
mod tests;
