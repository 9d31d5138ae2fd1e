//! The end of a run that people denied, or that nobody approved: a receipt that says that it never started.

use execgate_model::{Amount, Stage};
use execgate_receipt::Kind;
use execgate_store::{Finish, Leaf, LeafKind, Record};
use serde_json::Map;

use super::sign::Said;
use super::{Facts, Render, Witness};
use crate::Refusal;
use crate::parking::{Closed, Closing};

impl Witness {
    /// Signs that a parked run is never started, and why.
    ///
    /// # Errors
    /// [`Refusal::Receipt`] if the record's intent cannot be read, or no statement can be made.
    pub(crate) fn close(
        &self,
        record: &Record,
        why: &Closing,
        render: &dyn Render,
    ) -> Result<Finish, Refusal> {
        // What a start that failed had taken of approvals and money was given back.
        let mut facts = Facts::from_bytes(&record.intent)?;
        (facts.approved, facts.payment) = (None, None);
        let at = self.clock.now();
        let said = Said {
            kind: Kind::Final,
            outcome: why.word(),
            result_digest: None,
            context_digest: facts.context,
            charged: Amount::ZERO,
            enforced: Map::new(),
            finished: Some(at),
        };
        let signed = self.sign(&facts, &record.salt, said)?;
        let closed = Closed {
            run: facts.run,
            surface: facts.surface,
            action: &facts.action,
            effect: facts.effect,
            rail: &facts.rail,
            why,
            content: signed.content,
            started: facts.started,
            ended: at,
        };
        Ok(Finish {
            run: facts.run,
            instance: self.store.instance(),
            stage: Stage::Settled,
            outcome: why.word().to_owned(),
            content: signed.content,
            answer: render.closed(&closed),
            receipt: signed.file,
            signer: signed.signer,
            leaf: Leaf { kind: LeafKind::Final, digest: signed.leaf },
            charged: false,
            metered: None,
            at,
        })
    }
}
