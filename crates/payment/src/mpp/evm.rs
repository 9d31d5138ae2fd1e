//! The method `evm`: an authorization of a transfer (EIP-3009) that whoever moves tokens settles.
//! Every change here needs a second reader.

use std::sync::Arc;

use execgate_model::{Amount, BoxFuture};

use super::charge::{self, METHOD, PayloadError};
use super::{Ask, Credential, Fault, Method, Pledge, Problem};
use crate::evm::{Address, Authorization, Token, U256};
use crate::{
    CaptureError, Endurance, Facilitator, Found, LookError, PaymentClaim, Taken, Unreachable,
    authorized_may_go_back, capture_authorized, endurance_of_authorized, find_authorized, funds_of_payer,
};

/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// An amount of money has so many decimals.
const AMOUNT_DECIMALS: u32 = 6;

/// Charges in one token, to one account.
pub struct EvmCharge {
    token: Token,
    pay_to: Address,
    facilitator: Arc<dyn Facilitator>,
}

impl EvmCharge {
    /// Charges in that token, to that account, settled by that facilitator.
    #[must_use]
    pub fn new(token: Token, pay_to: Address, facilitator: Arc<dyn Facilitator>) -> Self {
        Self { token, pay_to, facilitator }
    }

    /// Why an authorization that is its payer's does not pay for this, where it does not.
    fn unfit(&self, credential: &Credential, paid: &Authorization, ask: &Ask) -> Option<Fault> {
        let wrong = |problem, words: &str| Some(Fault::new(problem, words));
        let Some(units) = units_of(ask.amount, &self.token) else {
            return wrong(Problem::MethodUnsupported, "the price cannot be paid in this token");
        };
        let now_s = ask.now.0 / SECOND_MS;
        let until_s = U256::from(now_s.saturating_add(ask.lives_at_least_s));
        let source = charge::source(self.token.network, paid.from);
        let is_other = |named: &String| !named.eq_ignore_ascii_case(&source);
        if paid.to != self.pay_to {
            wrong(Problem::VerificationFailed, "the authorization pays somebody else")
        } else if paid.value < units {
            wrong(Problem::PaymentInsufficient, "the authorization is for less than the price")
        } else if paid.value > units {
            wrong(Problem::VerificationFailed, "the authorization is for more than the price")
        } else if paid.valid_after > U256::from(now_s) {
            wrong(Problem::VerificationFailed, "the authorization does not hold yet")
        } else if paid.valid_before <= U256::from(now_s) {
            wrong(Problem::PaymentExpired, "the authorization no longer holds")
        } else if paid.valid_before < until_s {
            wrong(Problem::PaymentExpired, "the authorization ends before the work could")
        } else if !charge::nonces(&credential.id, &credential.challenge.realm).contains(&paid.nonce) {
            wrong(Problem::VerificationFailed, "the nonce of the authorization is not that of the challenge")
        } else if credential.source.as_ref().is_some_and(is_other) {
            wrong(Problem::VerificationFailed, "the source of the credential is not its payer")
        } else {
            None
        }
    }
}

impl Method for EvmCharge {
    fn name(&self) -> &'static str {
        METHOD
    }

    fn request(&self, amount: Amount) -> Option<String> {
        units_of(amount, &self.token).map(|units| charge::request(&self.token, units, self.pay_to))
    }

    fn pledge(&self, credential: &Credential, ask: &Ask) -> Result<Pledge, Fault> {
        let paid = charge::authorization(credential, &self.token).map_err(|error| {
            let problem = match error {
                PayloadError::Form(_) | PayloadError::Type => Problem::MalformedCredential,
                PayloadError::Signature => Problem::VerificationFailed,
            };
            Fault::new(problem, error.to_string())
        })?;
        let state = paid.to_bytes();
        let state = state.map_err(|error| Fault::new(Problem::MalformedCredential, error.to_string()))?;
        let claim = PaymentClaim { key: paid.claim_key(), payer: paid.payer() };
        Ok(Pledge { claim, state, flow: ask.flow, unfit: self.unfit(credential, &paid, ask) })
    }

    fn has_kept(&self, state: &[u8]) -> bool {
        Authorization::from_bytes(state).is_ok()
    }

    fn capture<'a>(
        &'a self,
        _amount: Amount,
        state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(capture_authorized(&*self.facilitator, state))
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(find_authorized(&*self.facilitator, state))
    }

    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(funds_of_payer(&*self.facilitator, state))
    }

    fn may_go_back(&self, state: &[u8]) -> bool {
        authorized_may_go_back(&*self.facilitator, state)
    }

    fn endurance<'a>(&'a self, taken: &'a [Taken<'a>]) -> BoxFuture<'a, Result<Vec<Endurance>, Unreachable>> {
        Box::pin(endurance_of_authorized(&*self.facilitator, taken))
    }
}

/// Money as units of a token; none where the token has no unit that is small enough, or no number is that large.
fn units_of(amount: Amount, token: &Token) -> Option<U256> {
    let decimals = u32::from(token.decimals);
    let micros = u128::from(amount.micros());
    let units = if decimals >= AMOUNT_DECIMALS {
        micros.checked_mul(10_u128.checked_pow(decimals - AMOUNT_DECIMALS)?)?
    } else {
        let unit = 10_u128.checked_pow(AMOUNT_DECIMALS - decimals)?;
        micros.is_multiple_of(unit).then(|| micros / unit)?
    };
    let mut bytes = [0; 32];
    bytes[16..].copy_from_slice(&units.to_be_bytes());
    Some(U256::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use execgate_model::Amount;

    use super::units_of;
    use crate::evm::{ChainId, KnownToken, Token, U256};

    #[test]
    fn a_price_that_a_token_has_no_unit_for_cannot_be_paid_in_it() {
        let usdc = KnownToken::find("USDC", ChainId::BASE).unwrap();
        let of = |decimals| Token { decimals, ..usdc.clone() };
        let cents = Amount::from_micros(20_000);
        assert_eq!(units_of(cents, &usdc), Some(U256::from(20_000)));
        assert_eq!(units_of(cents, &of(2)), Some(U256::from(2)));
        assert_eq!(units_of(Amount::from_micros(20_001), &of(2)), None);
        assert_eq!(
            units_of(cents, &of(18)).map(|units| units.to_string()),
            Some("20000000000000000".to_owned())
        );
        assert_eq!(units_of(cents, &of(255)), None);
    }
}
