//! Questions to a node of a chain, by JSON-RPC. What it answers is judged, never believed to have a form.

use core::time::Duration;

use execgate_payment::Unreachable;
use execgate_payment::evm::{from_hex, to_hex};
use serde_json::{Value, json};

use crate::line::{Line, LineError};

/// How long a node may think.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest text of a node's error that is kept, in characters.
const TEXT_MAX: usize = 200;

/// The longest bytes that a call gives, in bytes.
const BYTES_MAX: usize = 4_096;

/// The code of an error by which a contract has refused a call (what execution clients agree on).
const REVERTED: i64 = 3;

/// Why a node did not answer what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// It was not reached, or broke off.
    #[error("the node is not reached")]
    Line(#[source] LineError),
    /// It says no: its own words, cut.
    #[error("the node says: {0}")]
    Said(String),
    /// It has run the call, and the contract refuses: its own words, cut.
    #[error("the contract refuses: {0}")]
    Reverted(String),
    /// What it answers is not what was asked for.
    #[error("the node's answer to `{0}` has no form")]
    Strange(&'static str),
}

impl From<RpcError> for Unreachable {
    fn from(error: RpcError) -> Self {
        Self(error.to_string())
    }
}

/// A node.
#[derive(Clone)]
pub struct Rpc(Line);

impl Rpc {
    /// The node at an address.
    ///
    /// # Errors
    /// As [`Line::new`].
    pub fn new(address: &str) -> Result<Self, LineError> {
        Line::new(address, PATIENCE).map(Self)
    }

    /// Asks one question.
    pub(crate) async fn ask(&self, method: &'static str, params: &Value) -> Result<Value, RpcError> {
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let reply = self.0.post("", question.into_bytes()).await.map_err(RpcError::Line)?;
        let mut answer: Value = serde_json::from_slice(&reply.body).map_err(|_| RpcError::Strange(method))?;
        match answer.get("error") {
            None | Some(Value::Null) => {
                answer.get_mut("result").map(Value::take).ok_or(RpcError::Strange(method))
            }
            Some(error) => {
                let text = error.get("message").and_then(Value::as_str).unwrap_or("nothing that can be read");
                let kept = text.chars().filter(|sign| !sign.is_control()).take(TEXT_MAX).collect();
                let is_revert = error.get("code").and_then(Value::as_i64) == Some(REVERTED)
                    || text.to_ascii_lowercase().contains("revert");
                Err(if is_revert { RpcError::Reverted(kept) } else { RpcError::Said(kept) })
            }
        }
    }

    /// A question whose answer is a number.
    pub(crate) async fn number(&self, method: &'static str, params: &Value) -> Result<u128, RpcError> {
        number(&self.ask(method, params).await?).ok_or(RpcError::Strange(method))
    }

    /// What a call of a contract gives in a block.
    pub(crate) async fn call(&self, contract: &str, data: &[u8], block: &str) -> Result<Vec<u8>, RpcError> {
        let params = json!([{"to": contract, "data": to_hex(data)}, block]);
        let answer = self.ask("eth_call", &params).await?;
        let bytes = answer.as_str().and_then(|text| from_hex(text, BYTES_MAX).ok());
        bytes.ok_or(RpcError::Strange("eth_call"))
    }
}

/// A number as nodes write them.
pub(crate) fn number(value: &Value) -> Option<u128> {
    u128::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}
