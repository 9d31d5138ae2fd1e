//! How far what was settled is final: a block that its chain takes back takes back what was paid in it.
//!
//! Many settlements are one look: the final block, and the logs of all their nonces behind it. Only what is not found as it is
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

/// The use of a nonce, as a log tells of it.
struct Use {
    contract: String,
    payer: String,
    nonce: String,
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
            nonce: text(&log["topics"][2])?,
            transaction: log["transactionHash"].as_str()?.parse().ok()?,
            block: log.get("blockNumber").and_then(number)?,
        })
        .filter(|_| !is_removed)
    }

    /// Whether it is that of this settlement, by the transaction that is known: the same bytes.
    fn is_of(&self, (authorization, known): &Settled) -> bool {
        *known == Some(self.transaction)
            && self.contract == authorization.token.contract.to_lowercase()
            && self.payer == to_hex(&authorization.from.to_word())
            && self.nonce == to_hex(&authorization.nonce)
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
        let of = |word: fn(&Authorization) -> String| -> BTreeSet<_> {
            settled.iter().map(|(authorization, _)| word(authorization)).collect()
        };
        let contracts = of(|it| it.token.contract.to_lowercase());
        let topics = json!([[abi::used()], of(|it| to_hex(&it.from.to_word())), of(|it| to_hex(&it.nonce))]);
        let newest = self.newest().await?;
        let blocks = (newest.number, sealed.number);
        self.logs_back(&json!(contracts), &topics, blocks, settled.len(), Use::read).await
    }

    /// Where one stands that is not found as it is known: what is final, and else the newest block.
    async fn sought(&self, (authorization, _): &Settled, sealed: Block) -> Finality {
        match self.whereabouts_in(authorization, sealed).await {
            Ok(Whereabouts::Used { transaction: Some(hash), to_us: true }) => Finality::Final(hash),
            Ok(Whereabouts::Used { transaction: None, .. }) | Err(_) => Finality::Unclear,
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
