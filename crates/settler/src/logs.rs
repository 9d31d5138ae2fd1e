//! Logs of a chain, sought backwards span by span, and not without end.

use execgate_payment::Unreachable;
use serde_json::{Value, json};

use crate::rpc::{Rpc, RpcError};

/// How many blocks are asked for at once for whoever used a nonce: five hours of Base, and what many nodes allow.
const SPAN: u128 = 9_000;

/// The least that is asked for at once of a node that allows no more.
const SPAN_MIN: u128 = 250;

/// How often a node is asked for whoever used a nonce: ten days of Base, where it allows whole spans. What is older is for
/// the operator to say.
const SPANS_MAX: usize = 48;

/// The logs of some contracts with some topics, from a block backwards.
pub(crate) struct Back<'a> {
    rpc: &'a Rpc,
    contracts: &'a Value,
    topics: &'a Value,
    /// The last block of the next span; none where there is none before the first block.
    last: Option<u128>,
    span: u128,
    /// How often the node was asked.
    asked: usize,
}

/// A span of blocks.
pub(crate) struct Span {
    /// Its first block.
    pub(crate) first: u128,
    /// Its logs, in the order in which the chain has them.
    pub(crate) logs: Vec<Value>,
}

impl<'a> Back<'a> {
    pub(crate) fn from(rpc: &'a Rpc, contracts: &'a Value, topics: &'a Value, last: u128) -> Self {
        Self { rpc, contracts, topics, last: Some(last), span: SPAN, asked: 0 }
    }

    /// The next older span; none where the chain begins, or the node was asked often enough.
    ///
    /// # Errors
    /// [`Unreachable`] where the node does not answer.
    pub(crate) async fn next(&mut self) -> Result<Option<Span>, Unreachable> {
        let Some(last) = self.last else { return Ok(None) };
        while self.asked < SPANS_MAX {
            self.asked += 1;
            let first = last.saturating_sub(self.span - 1);
            let filter = json!([{
                "address": self.contracts, "topics": self.topics,
                "fromBlock": format!("{first:#x}"), "toBlock": format!("{last:#x}"),
            }]);
            let logs = match self.rpc.ask("eth_getLogs", &filter).await {
                // Nodes allow different spans.
                Err(RpcError::Said(_)) if self.span > SPAN_MIN => {
                    self.span = (self.span / 4).max(SPAN_MIN);
                    continue;
                }
                logs => logs?,
            };
            let Value::Array(logs) = logs else { return Err(RpcError::Strange("eth_getLogs").into()) };
            self.last = first.checked_sub(1);
            return Ok(Some(Span { first, logs }));
        }
        Ok(None)
    }
}
