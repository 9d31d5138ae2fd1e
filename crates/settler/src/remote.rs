//! A remote facilitator: a service that speaks x402 (`/verify`, `/settle`, `/supported`).
//!
//! It is asked before the work (`/verify`) whether it would settle. It is believed that it settled only where it names a
//! transaction, and where a node of our own is configured only when that shows the transfer. An answer that did not come, or
//! that makes no sense, may have settled: nobody can tell. What it says to have failed may have been sent all the same, and it
//! has what the payer signed: where our node can be asked, only that says that nothing will come of it.

use core::time::Duration;

use execgate_line::Reply;
use execgate_model::BoxFuture;
use execgate_payment::evm::{Address, Authorization, ChainId, Means, Token, U256, to_hex};
use execgate_payment::{Facilitator, Finality, LookError, SettleError, TxHash, Unreachable, Whereabouts};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ledger::{Ledger, Mined};
use crate::line::{Line, LineError};
use crate::reason;

/// How long a service may take to settle: shorter than a caller's own patience.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long our node may lag behind the service's.
const LAG: Duration = Duration::from_secs(5);

/// For which part of its patience a service is dialled again that cannot be reached: five seconds, within which one restarts.
const REDIAL_PART: u32 = 5;

/// How long it is left alone between.
const REDIAL_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The longest reason of a service that is kept, in characters.
const REASON_MAX: usize = 100;

/// The least time that an authorization must have left when it is offered in terms of x402, in seconds.
const TIMEOUT_S: u64 = 60;

/// A service.
pub struct Remote {
    line: Line,
    /// How long it may take to answer.
    patience: Duration,
    /// Nodes of our own, where they are configured: at most one of a chain.
    ledgers: Vec<Ledger>,
}

impl Remote {
    /// The service at an address, checked by nodes of our own where there are some.
    ///
    /// # Errors
    /// As [`Line::new`].
    pub fn new(address: &str, ledgers: impl IntoIterator<Item = Ledger>) -> Result<Self, LineError> {
        let line = Line::new(address, PATIENCE)?;
        Ok(Self { line, patience: PATIENCE, ledgers: ledgers.into_iter().collect() })
    }

    /// The same service, which may take so long to answer.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { line: self.line.within(patience), patience, ..self }
    }

    /// Whether it settles `exact` of x402 v2 on this chain.
    ///
    /// # Errors
    /// [`Unreachable`] where it does not answer.
    pub async fn supports(&self, chain: ChainId) -> Result<bool, Unreachable> {
        let reply = self.line.get("/supported").await.map_err(|error| Unreachable(error.to_string()))?;
        let answer: Value =
            serde_json::from_slice(&reply.body).map_err(|_| Unreachable("it answers no JSON".to_owned()))?;
        let is_it = |kind: &Value| {
            kind["x402Version"] == 2 && kind["scheme"] == "exact" && kind["network"] == chain.to_string()
        };
        Ok(answer["kinds"].as_array().is_some_and(|kinds| kinds.iter().any(is_it)))
    }

    /// The node of our own of a chain.
    fn ledger(&self, chain: ChainId) -> Option<&Ledger> {
        self.ledgers.iter().find(|ledger| ledger.chain() == chain)
    }

    fn own(&self, chain: ChainId) -> Result<&Ledger, Unreachable> {
        self.ledger(chain).ok_or_else(|| Unreachable(format!("no node of our own of {chain} is configured")))
    }

    /// Whether it would settle, and whether our own node says that it could. Both are asked at once.
    async fn looked(&self, authorization: &Authorization) -> Result<Option<U256>, LookError> {
        let Some(ledger) = self.ledger(authorization.token.network) else {
            return self.verified(authorization).await.map(|()| None);
        };
        let (moves, verified) =
            tokio::join!(ledger.would_pay(authorization, authorization.to), self.verified(authorization));
        let (has, _) = moves?;
        verified?;
        Ok(Some(has))
    }

    async fn verified(&self, authorization: &Authorization) -> Result<(), LookError> {
        let unreachable = |why: &str| Err(Unreachable(why.to_owned()).into());
        let reply = match self.line.post("/verify", question(authorization)).await {
            Ok(reply) => reply,
            Err(error) => return unreachable(&error.to_string()),
        };
        let Ok(answer) = serde_json::from_slice::<Value>(&reply.body) else {
            return unreachable("the facilitator answers no JSON");
        };
        let is_of_another = answer["payer"]
            .as_str()
            .is_some_and(|payer| payer.parse::<Address>().is_ok_and(|payer| payer != authorization.from));
        match (reply.status, answer["isValid"].as_bool(), answer["invalidReason"].as_str()) {
            (200, Some(true), _) if !is_of_another => Ok(()),
            // A fault of its own is no answer.
            (200..=499, Some(false), Some(reason)) if reason != "unexpected_verify_error" => {
                Err(LookError::Refused(kept(reason)))
            }
            (200..=499, Some(false), None) => Err(LookError::Refused("invalid_payment".to_owned())),
            _ => unreachable("the facilitator does not say whether a payment is good"),
        }
    }

    async fn settled(&self, authorization: &Authorization) -> Result<TxHash, SettleError> {
        let unknown = SettleError::Unknown { transaction: None };
        let reply = match self.asked(authorization).await {
            Ok(reply) => reply,
            Err(error) => {
                let is_unasked = error.is_unasked();
                tracing::warn!(%error, unasked = is_unasked, "a facilitator does not answer");
                // Our own node says later that it is unused, and it is asked for again. Without one nobody would ever say so.
                return Err(match (is_unasked, self.ledger(authorization.token.network)) {
                    (true, Some(_)) => SettleError::Postponed(reason::UNREACHED.to_owned()),
                    (true, None) => SettleError::Unasked(reason::UNREACHED.to_owned()),
                    (false, _) => unknown,
                });
            }
        };
        let Ok(answer) = serde_json::from_slice::<Value>(&reply.body) else { return Err(unknown) };
        let transaction: Option<TxHash> = answer["transaction"].as_str().and_then(|hash| hash.parse().ok());
        if reply.status != 200 {
            return Err(SettleError::Unknown { transaction });
        }
        match (answer["success"].as_bool(), answer["errorReason"].as_str(), transaction) {
            (Some(true), _, Some(hash)) => self.shown(authorization, hash).await,
            (Some(false), Some("settlement_pending"), transaction) => {
                Err(SettleError::Unknown { transaction })
            }
            (Some(false), reason, transaction) if !is_before_sending(reason, transaction) => {
                self.sought(authorization, transaction).await
            }
            (Some(false), reason, _) => {
                self.denied(authorization, kept(reason.unwrap_or("unexpected_settle_error"))).await
            }
            (_, _, transaction) => Err(SettleError::Unknown { transaction }),
        }
    }

    /// Asks it to settle, over a connection of its own. Where none comes to be nothing was asked, and it is dialled again for a
    /// while: a service that restarts costs nobody anything.
    async fn asked(&self, authorization: &Authorization) -> Result<Reply, LineError> {
        let until = Instant::now() + self.patience / REDIAL_PART;
        loop {
            match self.line.anew().post("/settle", question(authorization)).await {
                Err(error) if error.is_unasked() && Instant::now() < until => sleep(REDIAL_EVERY).await,
                answer => return answer,
            }
        }
    }

    /// What it says to have sent, as our own node shows it.
    async fn shown(&self, authorization: &Authorization, hash: TxHash) -> Result<TxHash, SettleError> {
        let Some(ledger) = self.ledger(authorization.token.network) else { return Ok(hash) };
        let unknown = SettleError::Unknown { transaction: Some(hash) };
        let until = Instant::now() + LAG;
        loop {
            match ledger.mined(authorization, hash).await {
                Ok(Some(Mined::Paid)) => return Ok(hash),
                Ok(Some(Mined::Idle | Mined::Failed)) => {
                    tracing::error!(transaction = %hash, "a facilitator names a transaction that did not pay us");
                    return self.sought(authorization, None).await;
                }
                Ok(None) if Instant::now() < until => sleep(LOOK_EVERY).await,
                Ok(None) | Err(_) => return Err(unknown),
            }
        }
    }

    /// It may have sent it, and may still. Only our own node can tell that it did, or that nothing will come of it.
    async fn sought(
        &self,
        authorization: &Authorization,
        transaction: Option<TxHash>,
    ) -> Result<TxHash, SettleError> {
        let unknown = SettleError::Unknown { transaction };
        let Some(ledger) = self.ledger(authorization.token.network) else { return Err(unknown) };
        match ledger.whereabouts(authorization).await {
            Ok(Whereabouts::Used { transaction: Some(hash), to_us: true }) => Ok(hash),
            Ok(Whereabouts::Used { to_us: false, .. }) => {
                Err(SettleError::Refused(reason::nonce_used(authorization).to_owned()))
            }
            Ok(Whereabouts::Expired | Whereabouts::Cancelled) => {
                Err(SettleError::Refused("the authorization is over".to_owned()))
            }
            Ok(Whereabouts::Unused | Whereabouts::Used { .. }) | Err(_) => Err(unknown),
        }
    }

    /// It says that it was not sent. Where our own node can tell, it has the last word.
    async fn denied(&self, authorization: &Authorization, reason: String) -> Result<TxHash, SettleError> {
        let Some(ledger) = self.ledger(authorization.token.network) else {
            return Err(SettleError::Refused(reason));
        };
        match ledger.whereabouts(authorization).await {
            Ok(Whereabouts::Used { transaction: Some(hash), to_us: true }) => Ok(hash),
            Ok(_) => Err(SettleError::Refused(reason)),
            Err(_) => Err(SettleError::Unknown { transaction: None }),
        }
    }
}

/// A reason of a service, as far as it is kept: it goes on to callers.
fn kept(reason: &str) -> String {
    let is_plain = |sign: &char| sign.is_ascii_graphic() || *sign == ' ';
    reason.chars().filter(is_plain).take(REASON_MAX).collect()
}

/// Whether a facilitator has refused before it sent anything: by a code of its verification (x402, error codes), and without
/// a transaction. That a nonce is used, or that a transaction did not come out well, is said of what was sent, too.
fn is_before_sending(said: Option<&str>, transaction: Option<TxHash>) -> bool {
    let Some(said) = said.filter(|_| transaction.is_none()) else { return false };
    let is_of_what_was_sent =
        ["nonce", "transaction", "transfer_event"].iter().any(|part| said.contains(part));
    let starts = ["invalid_", "unsupported_", "permit2_", "upto_"];
    (said == reason::NO_FUNDS || starts.iter().any(|start| said.starts_with(start))) && !is_of_what_was_sent
}

/// The body of `/verify` and `/settle`: what was signed, and what was asked for; and of what is metered, how much is taken.
fn question(authorization: &Authorization) -> Vec<u8> {
    let Authorization { token, to, value, by, signature, .. } = authorization;
    let mut accepted = json!({
        "scheme": "exact", "network": token.network, "amount": value, "asset": token.contract, "payTo": to,
        "maxTimeoutSeconds": TIMEOUT_S, "extra": {"name": token.name, "version": token.version},
    });
    if !by.is_token() {
        accepted["extra"]["assetTransferMethod"] = "permit2".into();
    }
    if let Means::UpTo { facilitator, .. } = by {
        accepted["scheme"] = "upto".into();
        accepted["extra"]["facilitatorAddress"] = facilitator.to_string().into();
    }
    let mut required = accepted.clone();
    required["amount"] = authorization.moved().to_string().into();
    let (member, said) = said(authorization);
    json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2,
            "payload": {"signature": to_hex(signature.as_bytes()), member: said},
            "accepted": accepted,
        },
        "paymentRequirements": required,
    })
    .to_string()
    .into_bytes()
}

/// What its payer has signed, in the words of x402, and the member of a payload that it is.
fn said(authorization: &Authorization) -> (&'static str, Value) {
    let Authorization { token, from, to, value, valid_after, valid_before, nonce, by, .. } = authorization;
    let Some(proxy) = by.proxy() else {
        let said = json!({
            "from": from, "to": to, "value": value, "validAfter": valid_after, "validBefore": valid_before,
            "nonce": to_hex(nonce),
        });
        return ("authorization", said);
    };
    let mut said = json!({
        "from": from, "permitted": {"token": token.contract, "amount": value}, "spender": proxy,
        "nonce": U256::from_bytes(*nonce), "deadline": valid_before,
        "witness": {"to": to, "validAfter": valid_after},
    });
    if let Means::UpTo { facilitator, .. } = by {
        said["witness"]["facilitator"] = facilitator.to_string().into();
    }
    ("permit2Authorization", said)
}

impl Facilitator for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn verify<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(self.looked(authorization))
    }

    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(self.settled(authorization))
    }

    fn whereabouts<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async move { self.own(authorization.token.network)?.whereabouts(authorization).await })
    }

    fn balance<'a>(&'a self, token: &'a Token, account: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async move { self.own(token.network)?.balance(token, account).await })
    }

    fn shows(&self, chain: ChainId) -> bool {
        self.ledger(chain).is_some()
    }

    fn finality<'a>(
        &'a self,
        settled: &'a [(Authorization, Option<TxHash>)],
    ) -> BoxFuture<'a, Result<Vec<Finality>, Unreachable>> {
        Box::pin(async move {
            let mut told = vec![Finality::Unclear; settled.len()];
            for ledger in &self.ledgers {
                let is_its = |at: &usize| settled[*at].0.token.network == ledger.chain();
                let its: Vec<_> = (0..settled.len()).filter(is_its).collect();
                let asked: Vec<_> = its.iter().map(|at| settled[*at].clone()).collect();
                if asked.is_empty() {
                    continue;
                }
                for (at, one) in its.into_iter().zip(ledger.finality(&asked).await?) {
                    told[at] = one;
                }
            }
            Ok(told)
        })
    }
}
