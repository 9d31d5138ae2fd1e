//! The operator's word on a pending payment, held against whoever can tell: what a rail knows better is not recorded.

use execgate_model::{Digest, RunId};
use execgate_payment::evm::Authorization;
use execgate_payment::{SettlementState, TxHash, look};
use execgate_store::OpenPayment;

use super::by_hand::{ByHand, ByHandError, EndedByHand};
use super::reconcile::LOOK_TIME;
use super::room::Settle;

/// Why an operator's word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// Whoever can tell says otherwise.
    #[error("{0}")]
    Contradicted(String),
    /// Nothing could be ended by hand.
    #[error(transparent)]
    ByHand(#[from] ByHandError),
}

impl Settle {
    /// Ends a pending payment of a run as the operator says, unless its rail can tell and says otherwise.
    ///
    /// # Errors
    /// [`WordError`]. Nothing is recorded then.
    pub async fn end_by_word(
        &self,
        run: RunId,
        payment: Option<Digest>,
        end: ByHand,
    ) -> Result<EndedByHand, WordError> {
        let mut open =
            self.store.open_payments_of(run).await.map_err(|error| ByHandError::Record(error.into()))?;
        open.retain(|open| payment.is_none_or(|payment| payment == open.key));
        let end = match open.as_slice() {
            [open] => self.unless_contradicted(open, end).await?,
            _ => end,
        };
        Ok(self.end_by_hand(run, payment, end).await?)
    }

    async fn unless_contradicted(&self, open: &OpenPayment, end: ByHand) -> Result<ByHand, WordError> {
        let end = named(open, end)?;
        let Ok(rail) = self.rail(&open.rail) else { return Ok(end) };
        let looked = tokio::time::timeout(LOOK_TIME, look(rail, open.amount, &open.state)).await;
        // Nobody can tell: that is what the operator's word is for.
        let Ok(Ok(looked)) = looked else { return Ok(end) };
        let found = looked.as_ref().map(|found| (found.state(), found.reference()));
        let says = match (found, &end) {
            (Some((SettlementState::Captured, reference)), ByHand::Taken { reference: said }) => {
                match reference {
                    Some(reference) if reference != said => format!("it was taken by {reference}"),
                    Some(_) | None => return Ok(end),
                }
            }
            (Some((SettlementState::Captured, reference)), ByHand::Gone) => {
                format!("it was taken by {}", reference.unwrap_or("a movement that is not named"))
            }
            (Some(_), ByHand::Gone) => return Ok(end),
            (Some(_), ByHand::Taken { .. }) => "it was not taken, and never will be".to_owned(),
            (None, _) => "it was not taken, and may still be: it is to be retried".to_owned(),
        };
        Err(WordError::Contradicted(says))
    }
}

/// The movement of an authorization is a transaction, written as its chain does.
fn named(open: &OpenPayment, end: ByHand) -> Result<ByHand, ByHandError> {
    match end {
        ByHand::Taken { reference } if Authorization::from_bytes(&open.state).is_ok() => {
            let hash: TxHash = reference.parse().map_err(|_| ByHandError::Reference)?;
            Ok(ByHand::Taken { reference: hash.to_string() })
        }
        end @ (ByHand::Taken { .. } | ByHand::Gone) => Ok(end),
    }
}
