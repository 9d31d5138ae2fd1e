//! What a person says of a run whose end is lost: a signed statement of its own, and never a run.

use execgate_model::Amount;
use execgate_receipt::{Kind, sha256};
use execgate_store::{Leaf, LeafKind, Record, Resolution};
use serde_json::Map;

use super::sign::Said;
use super::{Facts, Witness};
use crate::Refusal;

impl Witness {
    /// Signs what became of an unknown run. The statement commits to the note as its context.
    ///
    /// # Errors
    /// [`Refusal::Receipt`] if the record's intent cannot be read, or no statement can be made.
    pub fn resolve(&self, record: &Record, note: &str) -> Result<Resolution, Refusal> {
        let facts = Facts::from_bytes(&record.intent)?;
        let at = self.clock.now();
        let said = Said {
            kind: Kind::Resolve,
            outcome: "unknown",
            result_digest: None,
            context_digest: Some(sha256(note.as_bytes())),
            charged: Amount::ZERO,
            enforced: Map::new(),
            finished: Some(at),
        };
        let signed = self.sign(&facts, &record.salt, said)?;
        let leaf = Leaf { kind: LeafKind::Resolve, digest: signed.leaf };
        Ok(Resolution {
            run: facts.run,
            note: note.to_owned(),
            receipt: signed.file,
            signer: signed.signer,
            leaf,
            at,
        })
    }
}
