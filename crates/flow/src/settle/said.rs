//! What the log says of money: each statement binds a run to a movement.

use execgate_model::{Amount, Digest, RunId, UnixMs};
use execgate_receipt::{canonical, salted};
use execgate_store::{Change, Leaf, LeafKind};
use serde_json::{Value, json};

use crate::Refusal;

/// What is said of money in the log is written in this version.
const STATEMENT_VERSION: u32 = 1;

/// A movement of money, or that there was none.
#[derive(Clone, Copy)]
pub(super) struct Movement<'a> {
    pub(super) run: RunId,
    pub(super) payment: Digest,
    pub(super) rail: &'a str,
    pub(super) amount: Amount,
    pub(super) reference: Option<&'a str>,
}

impl Movement<'_> {
    /// That it was taken.
    pub(super) fn taken(self, salt: &[u8; 32], at: UnixMs) -> Result<Change, Refusal> {
        said(&self.statement(), salt, at)
    }

    /// What an operator says of it: taken under a reference, or gone.
    pub(super) fn by_hand(self, salt: &[u8; 32], at: UnixMs) -> Result<Change, Refusal> {
        let mut statement = self.statement();
        statement["by"] = json!("operator");
        statement["ended"] = json!(if self.reference.is_some() { "taken" } else { "gone" });
        said(&statement, salt, at)
    }

    /// That its chain has taken back the movement that was known: this one has moved it since, and is final.
    pub(super) fn moved_again(self, salt: &[u8; 32], at: UnixMs) -> Result<Change, Refusal> {
        self.ended("moved", salt, at)
    }

    /// That its chain has taken it back for good.
    pub(super) fn reversed(self, salt: &[u8; 32], at: UnixMs) -> Result<Change, Refusal> {
        self.ended("reversed", salt, at)
    }

    fn ended(self, word: &str, salt: &[u8; 32], at: UnixMs) -> Result<Change, Refusal> {
        let mut statement = self.statement();
        statement["ended"] = json!(word);
        said(&statement, salt, at)
    }

    fn statement(self) -> Value {
        json!({
            "v": STATEMENT_VERSION,
            "kind": "settlement",
            "exec_id": self.run,
            "payment": self.payment,
            "rail": self.rail,
            "amount": self.amount,
            "currency": "USD",
            "reference": self.reference,
        })
    }
}

fn said(statement: &Value, salt: &[u8; 32], at: UnixMs) -> Result<Change, Refusal> {
    let statement = canonical(statement).map_err(|error| Refusal::Receipt { detail: error.to_string() })?;
    let leaf = Leaf { kind: LeafKind::Settlement, digest: salted(salt, &statement) };
    Ok(Change { statement, salt: *salt, leaf, at })
}
