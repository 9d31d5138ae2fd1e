//! The method `tempo`: a transfer on the Tempo chain that its payer has made already, named by its transaction, with a memo
//! that names the challenge. Tried against a double of ours alone, and never against a node of Tempo.
//! Every change here needs a second reader.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_model::{Amount, BoxFuture, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Ask, Credential, Exchange, Fault, Method, Pledge, Problem, Question};
use crate::evm::{Address, U256, from_hex, keccak256, to_hex};
use crate::{CaptureError, Flow, Found, LookError, PaymentClaim, TxHash, Unreachable};

/// Its name.
const METHOD: &str = "tempo";

/// The event of a transfer with a memo (TIP-20).
const TRANSFER_WITH_MEMO: &[u8] = b"TransferWithMemo(address,address,uint256,bytes32)";

/// How a memo of the scheme begins: four bytes of the hash of its name, and its version.
const MEMO_TAG: [u8; 5] = [0xef, 0x1e, 0xd7, 0x12, 0x01];

/// Where a memo names the realm, and where the challenge; between them is the client's own name.
const MEMO_REALM: core::ops::Range<usize> = 5..15;
const MEMO_CHALLENGE: core::ops::Range<usize> = 25..32;

/// Why a transaction pays nothing here.
const NOT_FOUND: &str = "transaction_not_found";
const DOES_NOT_PAY: &str = "transaction_does_not_pay";

/// What is charged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TempoToken {
    /// The number of the chain: 4217, or 42431 where money is worth nothing.
    pub chain: u64,
    /// The contract. It has six decimals, as all dollars on this chain.
    pub contract: Address,
    /// To whom.
    pub pay_to: Address,
}

/// Charges on the Tempo chain.
pub struct TempoCharge {
    token: TempoToken,
    node: Arc<dyn Exchange>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    amount: String,
    currency: Address,
    method_details: Details,
    recipient: Address,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    chain_id: u64,
    supported_modes: [&'static str; 1],
}

/// What a payment is looked up by later.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    method: String,
    challenge: String,
    realm: String,
    micros: u64,
    transaction: TxHash,
}

impl Kept {
    fn read(state: &[u8]) -> Option<Self> {
        serde_json::from_slice(state).ok().filter(|kept: &Self| kept.method == METHOD)
    }
}

/// The transaction that was kept as a payment on this chain.
pub(crate) fn tempo_transaction(state: &[u8]) -> Option<TxHash> {
    Kept::read(state).map(|kept| kept.transaction)
}

/// What a node says of a transaction.
enum Seen {
    /// It is not in a block.
    Nothing,
    /// It pays.
    Pays,
    /// It is in a block and does not pay: not us, not that much, not for this, or it failed.
    Otherwise,
}

#[derive(Deserialize)]
struct Mined {
    status: String,
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Log {
    address: Address,
    topics: Vec<String>,
    data: String,
}

impl TempoCharge {
    /// Charges in that token, looked up at that node.
    #[must_use]
    pub fn new(token: TempoToken, node: Arc<dyn Exchange>) -> Self {
        Self { token, node }
    }

    async fn look(&self, kept: &Kept) -> Result<Seen, Unreachable> {
        let question = json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [kept.transaction],
        });
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = Some(question.to_string().into_bytes());
        let answer = self.node.ask(Question { path: String::new(), headers, body }).await;
        let answer = answer.map_err(|error| Unreachable(error.to_string()))?;
        let no_receipt = || Unreachable(format!("the node answers {} and no receipt", answer.status));
        let mut body: Value = serde_json::from_slice(&answer.body).map_err(|_| no_receipt())?;
        // A node that has nothing says null; one that says nothing has not answered.
        let result = body.get_mut("result").map(Value::take).ok_or_else(no_receipt)?;
        if result.is_null() {
            return Ok(Seen::Nothing);
        }
        let mined: Mined = serde_json::from_value(result).map_err(|_| no_receipt())?;
        let is_paid = mined.status == "0x1" && mined.logs.iter().any(|log| self.pays(log, kept));
        Ok(if is_paid { Seen::Pays } else { Seen::Otherwise })
    }

    fn pays(&self, log: &Log, kept: &Kept) -> bool {
        let word = |text: &String| from_hex(text, 32).ok().filter(|bytes| bytes.len() == 32);
        let topics: Option<Vec<_>> = log.topics.iter().take(5).map(word).collect();
        let Some([event, _from, to, memo]) = topics.as_deref() else { return false };
        let Some(units) = word(&log.data) else { return false };
        log.address == self.token.contract
            && *event == keccak256(TRANSFER_WITH_MEMO)
            && *to == self.token.pay_to.to_word()
            && units == U256::from(kept.micros).as_bytes()
            && is_memo_of(memo, &kept.challenge, &kept.realm)
    }
}

/// What a memo has of a realm, and of a challenge.
fn bound(challenge: &str, realm: &str) -> ([u8; 10], [u8; 7]) {
    let (realm, challenge) = (keccak256(realm.as_bytes()), keccak256(challenge.as_bytes()));
    (core::array::from_fn(|at| realm[at]), core::array::from_fn(|at| challenge[at]))
}

/// Whether a memo is one of this scheme, for that challenge of that realm.
fn is_memo_of(memo: &[u8], challenge: &str, realm: &str) -> bool {
    let (realm, challenge) = bound(challenge, realm);
    memo.starts_with(&MEMO_TAG)
        && memo.get(MEMO_REALM).is_some_and(|part| part == realm)
        && memo.get(MEMO_CHALLENGE).is_some_and(|part| part == challenge)
}

impl Method for TempoCharge {
    fn name(&self) -> &'static str {
        METHOD
    }

    fn request(&self, amount: Amount) -> Option<String> {
        let request = Request {
            amount: amount.micros().to_string(),
            currency: self.token.contract,
            method_details: Details { chain_id: self.token.chain, supported_modes: ["push"] },
            recipient: self.token.pay_to,
        };
        serde_json::to_vec(&request).ok().map(|json| URL_SAFE_NO_PAD.encode(json))
    }

    fn pledge(&self, credential: &Credential, ask: &Ask) -> Result<Pledge, Fault> {
        let malformed = |words| Fault::new(Problem::MalformedCredential, words);
        let payload = &credential.payload;
        if payload.get("type").and_then(Value::as_str) != Some("hash") {
            return Err(malformed("the payload has the type `hash`; no other is taken"));
        }
        let transaction = payload.get("hash").and_then(Value::as_str).and_then(|hash| hash.parse().ok());
        let transaction: TxHash = transaction.ok_or_else(|| malformed("the payload has no `hash`"))?;
        let kept = Kept {
            method: METHOD.to_owned(),
            challenge: credential.id.clone(),
            realm: credential.challenge.realm.clone(),
            micros: ask.amount.micros(),
            transaction,
        };
        let state = serde_json::to_vec(&kept).map_err(|_| malformed("the payload cannot be kept"))?;
        // By what its memo binds, too: everybody can read a transaction, and who shows one for a challenge that it was not made
        // for has shown another payment. One transaction may have many transfers, each with a memo of its own.
        let (realm, challenge) = bound(&kept.challenge, &kept.realm);
        let (realm, challenge, chain) = (to_hex(&realm), to_hex(&challenge), self.token.chain);
        let canonical = format!(
            r#"{{"chain":"eip155:{chain}","challenge":"{challenge}","method":"{METHOD}","realm":"{realm}","transaction":"{transaction}"}}"#
        );
        let key = Digest::from_bytes(Sha256::digest(canonical).into());
        // Whose transfer it is only its chain knows: each is a payer of its own, and nobody else is it by showing its transaction.
        let claim = PaymentClaim { key, payer: format!("eip155:{chain}:{key}") };
        Ok(Pledge { claim, state, flow: Flow::Upfront, unfit: None })
    }

    fn has_kept(&self, state: &[u8]) -> bool {
        Kept::read(state).is_some()
    }

    /// The money has moved already; what is asked is whether it has.
    fn capture<'a>(
        &'a self,
        _amount: Amount,
        state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async move {
            let failed = |why: &str| CaptureError::Failed(why.to_owned());
            let kept = Kept::read(state).ok_or_else(|| failed("it was not paid on the Tempo chain"))?;
            let reference = kept.transaction.to_string();
            match self.look(&kept).await {
                Ok(Seen::Pays) => Ok(reference),
                Ok(Seen::Nothing) => Err(failed(NOT_FOUND)),
                Ok(Seen::Otherwise) => Err(failed(DOES_NOT_PAY)),
                Err(Unreachable(_)) => Err(CaptureError::Unknown { reference: Some(reference) }),
            }
        })
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(async move {
            let kept = Kept::read(state);
            let kept = kept.ok_or_else(|| Unreachable("it was not paid on the Tempo chain".to_owned()))?;
            Ok(match self.look(&kept).await? {
                Seen::Nothing => Found::Open,
                Seen::Pays => Found::Taken { reference: Some(kept.transaction.to_string()) },
                Seen::Otherwise => Found::Gone,
            })
        })
    }

    /// The money has moved already: what has not, or not to us for this, claims nothing.
    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(async move {
            let kept = Kept::read(state);
            let kept = kept.ok_or_else(|| Unreachable("it was not paid on the Tempo chain".to_owned()))?;
            match self.look(&kept).await? {
                Seen::Pays => Ok(None),
                Seen::Nothing => Err(LookError::Refused(NOT_FOUND.to_owned())),
                Seen::Otherwise => Err(LookError::Refused(DOES_NOT_PAY.to_owned())),
            }
        })
    }
}

#[cfg(test)]
mod tests;
