//! How far what was settled is final: a block that its chain takes back takes back what was paid in it.
//!
//! Many settlements are one look: the final block, and the logs of all their nonces behind it; where Permit2 has moved them, which
//! tells of no nonce, those of their transfers. Only what is not found as it is
//! known is looked at by itself, and that it never will be had is said by a final block alone. A node that is behind
//! the others is heard as one that cannot tell, or has something asked for again that moves once.

use std::collections::BTreeSet;

use execgate_payment::evm::{Authorization, to_hex};
use execgate_payment::{Finality, TxHash, Unreachable, Whereabouts};
use serde_json::{Value, json};

use crate::abi;
use crate::ledger::{Block, Ledger};
use crate::rpc::number;

/// A settlement, and the transaction that is known to have made it.
pub(crate) type Settled = (Authorization, Option<TxHash>);

/// The use of a nonce, as a log tells of it: that of the nonce, or of what Permit2 has moved by it.
struct Use {
    contract: String,
    payer: String,
    /// The nonce, or who was paid.
    other: String,
    /// What was moved, where Permit2 has.
    data: String,
    transaction: TxHash,
    block: u128,
}

impl Use {
    fn read(log: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_ascii_lowercase);
        let is_removed = log.get("removed") == Some(&Value::Bool(true));
        Some(Self {
            contract: text(&log["address"])?,
            payer: text(&log["topics"][1])?,
            other: text(&log["topics"][2])?,
            data: text(&log["data"])?,
            transaction: log["transactionHash"].as_str()?.parse().ok()?,
            block: log.get("blockNumber").and_then(number)?,
        })
        .filter(|_| !is_removed)
    }

    /// Whether it is that of this settlement, by the transaction that is known: the same bytes.
    fn is_of(&self, (authorization, known): &Settled) -> bool {
        let is_its = if authorization.by.is_token() {
            self.other == to_hex(&authorization.nonce)
        } else {
            self.other == to_hex(&authorization.to.to_word())
                && self.data == to_hex(authorization.moved().as_bytes())
        };
        *known == Some(self.transaction)
            && self.contract == authorization.token.contract.to_lowercase()
            && self.payer == to_hex(&authorization.from.to_word())
            && is_its
    }
}

impl Ledger {
    /// How far these are final, in their order.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer. What it cannot tell of one is [`Finality::Unclear`].
    pub async fn finality(&self, settled: &[Settled]) -> Result<Vec<Finality>, Unreachable> {
        let sealed = self.newest_final().await?;
        let uses = self.uses(settled, sealed).await?;
        let mut told = Vec::with_capacity(settled.len());
        for one in settled {
            told.push(match uses.iter().find(|used| used.is_of(one)) {
                Some(used) if used.block <= sealed.number => Finality::Final(used.transaction),
                Some(_) => Finality::Fresh,
                None => self.sought(one, sealed).await,
            });
        }
        Ok(told)
    }

    /// What the newest blocks say of the nonces of all of them: those that are not final yet, and some before.
    async fn uses(&self, settled: &[Settled], sealed: Block) -> Result<Vec<Use>, Unreachable> {
        let newest = self.newest().await?;
        let blocks = (newest.number, sealed.number);
        let is_known = |used: &Use| settled.iter().any(|one| used.is_of(one));
        let read = |log: &Value| Use::read(log).filter(is_known);
        let mut uses = Vec::new();
        for by_token in [true, false] {
            let its: Vec<_> = settled.iter().filter(|(one, _)| one.by.is_token() == by_token).collect();
            if its.is_empty() {
                continue;
            }
            let of = |word: fn(&Authorization) -> String| -> BTreeSet<_> {
                its.iter().map(|(authorization, _)| word(authorization)).collect()
            };
            let contracts = of(|it| it.token.contract.to_lowercase());
            let payers = of(|it| to_hex(&it.from.to_word()));
            let topics = if by_token {
                json!([[abi::used()], payers, of(|it| to_hex(&it.nonce))])
            } else {
                json!([[abi::moved()], payers, of(|it| to_hex(&it.to.to_word()))])
            };
            uses.extend(self.logs_back(&json!(contracts), &topics, blocks, its.len(), read).await?);
        }
        Ok(uses)
    }

    /// Where one stands that is not found as it is known: what is final, and else the newest block.
    async fn sought(&self, (authorization, _): &Settled, sealed: Block) -> Finality {
        match self.whereabouts_in(authorization, sealed).await {
            Ok(Whereabouts::Used { transaction: Some(hash), to_us: true }) => Finality::Final(hash),
            Ok(Whereabouts::Used { transaction: None, to_us: true }) | Err(_) => Finality::Unclear,
            Ok(Whereabouts::Used { to_us: false, .. } | Whereabouts::Cancelled | Whereabouts::Expired) => {
                Finality::Gone
            }
            Ok(Whereabouts::Unused) => match self.whereabouts(authorization).await {
                Ok(Whereabouts::Used { to_us: true, .. }) => Finality::Fresh,
                Ok(Whereabouts::Unused) => Finality::Open,
                // Not to be had any more, as far as this block counts: a final one has to say so.
                Ok(Whereabouts::Used { .. } | Whereabouts::Cancelled | Whereabouts::Expired) | Err(_) => {
                    Finality::Unclear
                }
            },
        }
    }
}
