//! The method `stripe`: a shared payment token of a card, which becomes a payment intent of Stripe's. Tried against a
//! double of ours alone, and never against Stripe. Every change here needs a second reader.

use core::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use execgate_model::{Amount, BoxFuture, Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Answer, Ask, Credential, Exchange, Fault, Method, Pledge, Problem, Question};
use crate::{CaptureError, Flow, Found, LookError, PaymentClaim, Unreachable};

/// Its name.
const METHOD: &str = "stripe";

/// The smallest charge that Stripe takes in dollars, in cents.
const CENTS_MIN: u64 = 50;

/// Millionths in a cent.
const CENT_MICROS: u64 = 10_000;

/// The version of Stripe's API that has these tokens.
const API_VERSION: &str = "2026-07-29.preview";

/// The longest token that is taken, in bytes; Stripe's own have some thirty.
const TOKEN_BYTES_MAX: usize = 255;

/// The longest reason of Stripe's that is told on, in bytes.
const REASON_BYTES_MAX: usize = 64;

/// The operator's account at Stripe.
#[derive(Clone)]
pub struct StripeAccount {
    /// The key of the API. It is never shown.
    pub key: Zeroizing<String>,
    /// The profile in Stripe's network (`profile_…`).
    pub profile: String,
    /// What is taken: `card`, `link`.
    pub types: Vec<String>,
}

impl fmt::Debug for StripeAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeAccount").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Charges of cards.
pub struct StripeCharge {
    account: StripeAccount,
    service: Arc<dyn Exchange>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    amount: String,
    currency: &'static str,
    method_details: Details<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    network_id: &'a str,
    payment_method_types: &'a [String],
}

/// What takes a payment later.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    method: String,
    challenge: String,
    spt: String,
}

impl Kept {
    fn read(state: &[u8]) -> Option<Self> {
        serde_json::from_slice(state).ok().filter(|kept: &Self| kept.method == METHOD)
    }

    /// What makes a token unique, whatever challenge it answers.
    fn key(&self) -> Digest {
        // A token holds no character that JSON escapes.
        let canonical = format!(r#"{{"method":"{METHOD}","spt":"{}"}}"#, self.spt);
        Digest::from_bytes(Sha256::digest(canonical).into())
    }
}

/// Whether that was kept of a card.
pub(crate) fn is_card(state: &[u8]) -> bool {
    Kept::read(state).is_some()
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
}

impl StripeCharge {
    /// Charges for that account, by that service.
    #[must_use]
    pub fn new(account: StripeAccount, service: Arc<dyn Exchange>) -> Self {
        Self { account, service }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let login = Zeroizing::new(format!("{}:", *self.account.key));
        vec![
            ("authorization", format!("Basic {}", STANDARD.encode(login.as_bytes()))),
            ("stripe-version", API_VERSION.to_owned()),
        ]
    }

    /// The one question that moves money. Stripe does it once for each idempotency key.
    fn creation(&self, cents: u64, kept: &Kept) -> Question {
        let mut headers = self.headers();
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        headers.push(("idempotency-key", format!("mpp_{}_{}", kept.challenge, kept.spt)));
        let body = format!(
            "amount={cents}&automatic_payment_methods[allow_redirects]=never&automatic_payment_methods[enabled]=true\
             &confirm=true&currency=usd&metadata[machine_payment]=true&metadata[execgate_payment]={}\
             &shared_payment_granted_token={}",
            kept.key(),
            kept.spt
        );
        Question { path: "/v1/payment_intents".to_owned(), headers, body: Some(body.into_bytes()) }
    }

    fn search(&self, kept: &Kept) -> Question {
        // metadata['execgate_payment']:'…'
        let path = format!(
            "/v1/payment_intents/search?query=metadata%5B%27execgate_payment%27%5D%3A%27{}%27",
            kept.key()
        );
        Question { path, headers: self.headers(), body: None }
    }
}

/// What Stripe shows of a token to whom it was granted.
#[derive(Deserialize)]
struct Granted {
    deactivated_at: Option<u64>,
    usage_limits: Limits,
}

#[derive(Deserialize)]
struct Limits {
    currency: String,
    /// In cents.
    max_amount: u64,
}

impl StripeCharge {
    /// What a token is good for (`SharedPaymentGrantedToken`): one that Stripe does not know was invented by whoever shows it.
    async fn granted(&self, kept: &Kept) -> Result<Option<Amount>, LookError> {
        let path = format!("/v1/shared_payment/granted_tokens/{}", kept.spt);
        let question = Question { path, headers: self.headers(), body: None };
        let answer = self.service.ask(question).await.map_err(|error| Unreachable(error.to_string()))?;
        let refused = |why: &str| Err(LookError::Refused(why.to_owned()));
        match answer.status {
            200 => {}
            400 | 404 => return Err(LookError::Refused(reason(&answer))),
            // A key that may not ask, and a service that is busy, say nothing of the token.
            status => return Err(Unreachable(format!("Stripe answers {status}")).into()),
        }
        let granted: Granted = serde_json::from_slice(&answer.body)
            .map_err(|_| Unreachable("Stripe answers no token".to_owned()))?;
        if granted.deactivated_at.is_some() {
            return refused("the token was used, or taken back");
        }
        if granted.usage_limits.currency != "usd" {
            return refused("the token is for another currency");
        }
        let micros = granted.usage_limits.max_amount.saturating_mul(CENT_MICROS);
        Ok(Some(Amount::from_micros(micros)))
    }
}

impl Method for StripeCharge {
    fn name(&self) -> &'static str {
        METHOD
    }

    fn request(&self, amount: Amount) -> Option<String> {
        let request = Request {
            amount: cents_of(amount)?.to_string(),
            currency: "usd",
            method_details: Details {
                network_id: &self.account.profile,
                payment_method_types: &self.account.types,
            },
        };
        serde_json::to_vec(&request).ok().map(|json| URL_SAFE_NO_PAD.encode(json))
    }

    fn pledge(&self, credential: &Credential, _ask: &Ask) -> Result<Pledge, Fault> {
        let malformed = |words| Fault::new(Problem::MalformedCredential, words);
        let spt = credential.payload.get("spt").and_then(Value::as_str);
        let is_token = |spt: &&str| {
            spt.starts_with("spt_")
                && spt.len() <= TOKEN_BYTES_MAX
                && spt.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let spt =
            spt.filter(is_token).ok_or_else(|| malformed("the payload has no `spt` of Stripe's form"))?;
        let kept = Kept { method: METHOD.to_owned(), challenge: credential.id.clone(), spt: spt.to_owned() };
        let state = serde_json::to_vec(&kept).map_err(|_| malformed("the payload cannot be kept"))?;
        // Whose card it is only Stripe knows: each token is a payer of its own.
        let claim = PaymentClaim { key: kept.key(), payer: format!("{METHOD}:{}", kept.key()) };
        Ok(Pledge { claim, state, flow: Flow::Upfront, unfit: None })
    }

    fn has_kept(&self, state: &[u8]) -> bool {
        Kept::read(state).is_some()
    }

    fn capture<'a>(&'a self, amount: Amount, state: &'a [u8]) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async move {
            let failed = |why: &str| CaptureError::Failed(why.to_owned());
            let kept = Kept::read(state).ok_or_else(|| failed("it was not paid by card"))?;
            let cents = cents_of(amount).ok_or_else(|| failed("the amount is less than a card takes"))?;
            let unknown = CaptureError::Unknown { reference: None };
            let Ok(answer) = self.service.ask(self.creation(cents, &kept)).await else { return Err(unknown) };
            match answer.status {
                200..300 => match serde_json::from_slice::<Intent>(&answer.body) {
                    Ok(intent) if intent.status == "succeeded" => Ok(intent.id),
                    // It goes on at Stripe, and may come to an end.
                    Ok(intent) if intent.status == "processing" => {
                        Err(CaptureError::Unknown { reference: Some(intent.id) })
                    }
                    Ok(_) => Err(failed("the card needs its owner, or is refused")),
                    Err(_) => Err(unknown),
                },
                // Another request with the same key is under way, or Stripe is busy: nobody can tell.
                409 | 429 => Err(unknown),
                // It does not take our own key, and has not come to the token: the payer has no part in that.
                401 | 403 => Err(CaptureError::Unasked(format!("stripe_{}", answer.status))),
                400..500 => Err(CaptureError::Failed(reason(&answer))),
                _ => Err(unknown),
            }
        })
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(async move {
            let unreachable = |why: &str| Unreachable(why.to_owned());
            let kept = Kept::read(state).ok_or_else(|| unreachable("it was not paid by card"))?;
            let answer = self.service.ask(self.search(&kept)).await;
            let answer = answer.map_err(|error| Unreachable(error.to_string()))?;
            if answer.status != 200 {
                return Err(Unreachable(format!("Stripe answers {}", answer.status)));
            }
            #[derive(Deserialize)]
            struct List {
                data: Vec<Intent>,
            }
            let list: List =
                serde_json::from_slice(&answer.body).map_err(|_| unreachable("Stripe answers no list"))?;
            let taken = list.data.into_iter().find(|intent| intent.status == "succeeded");
            Ok(match taken {
                Some(intent) => Found::Taken { reference: Some(intent.id) },
                // Stripe's search is late by a minute or more. To ask for it again moves nothing twice.
                None => Found::Open,
            })
        })
    }

    /// A token that Stripe does not know, or takes no more, claims nothing: anybody can invent as many as they like.
    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(async move {
            let kept = Kept::read(state).ok_or_else(|| Unreachable("it was not paid by card".to_owned()))?;
            self.granted(&kept).await
        })
    }
}

/// Money in cents; none where a card does not take so little, or there is a part of a cent.
fn cents_of(amount: Amount) -> Option<u64> {
    let micros = amount.micros();
    let cents = micros.is_multiple_of(CENT_MICROS).then_some(micros / CENT_MICROS)?;
    (cents >= CENTS_MIN).then_some(cents)
}

/// Stripe's code of what is wrong, where it is a plain word.
fn reason(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = body["error"]["code"].as_str().unwrap_or_default();
    let is_plain = code.len() <= REASON_BYTES_MAX
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_plain && !code.is_empty() { code.to_owned() } else { format!("stripe_{}", answer.status) }
}

#[cfg(test)]
mod tests;
