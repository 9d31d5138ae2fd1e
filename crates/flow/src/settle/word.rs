//! The operator's word on a pending payment, held against whoever can tell: what a rail knows better is not recorded.

use execgate_model::{Digest, RunId};
use execgate_payment::{SettlementState, Unreachable, look, movement};
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
    /// Nobody could be asked, and the word is not to be taken so.
    #[error("nobody can be asked what became of it: {0}")]
    Unasked(String),
    /// Nothing could be ended by hand.
    #[error(transparent)]
    ByHand(#[from] ByHandError),
}

/// What an operator's word is worth where nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// It is taken: that is what it is for.
    Taken,
    /// It is not: the operator wants to know first.
    Refused,
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
        unasked: Unasked,
    ) -> Result<EndedByHand, WordError> {
        let mut open =
            self.store.open_payments_of(run).await.map_err(|error| ByHandError::Record(error.into()))?;
        open.retain(|open| payment.is_none_or(|payment| payment == open.key));
        let [only] = open.as_slice() else { return Ok(self.end_by_hand(run, payment, end).await?) };
        let end = named(only, end)?;
        let why = match self.unless_contradicted(only, &end).await {
            Ok(()) => None,
            Err(WordError::Unasked(why)) if unasked == Unasked::Taken => Some(why),
            Err(error) => return Err(error),
        };
        let ended = self.end_by_hand(run, payment, end).await?;
        Ok(EndedByHand { unasked: why, ..ended })
    }

    async fn unless_contradicted(&self, open: &OpenPayment, end: &ByHand) -> Result<(), WordError> {
        let unasked = |why: String| Err(WordError::Unasked(why));
        let Ok(rail) = self.rail(&open.rail) else {
            return unasked(format!("the rail `{}` is not served here", open.rail));
        };
        let looked = match tokio::time::timeout(LOOK_TIME, look(rail, open.amount, &open.state)).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(Unreachable(why))) => return unasked(why),
            Err(_) => return unasked("whoever could tell did not answer in time".to_owned()),
        };
        let found = looked.as_ref().map(|found| (found.state(), found.reference()));
        let says = match (found, end) {
            (Some((SettlementState::Captured, reference)), ByHand::Taken { reference: said }) => {
                match reference {
                    Some(reference) if reference != said.as_str() => format!("it was taken by {reference}"),
                    Some(_) | None => return Ok(()),
                }
            }
            (Some((SettlementState::Captured, reference)), ByHand::Gone) => {
                format!("it was taken by {}", reference.unwrap_or("a movement that is not named"))
            }
            (Some(_), ByHand::Gone) => return Ok(()),
            // Its rail tells no end, and nobody asks for it again: nothing but this word ends it.
            (None, ByHand::Gone) if open.stage.is_none() && rail.ends(&open.state).is_none() => return Ok(()),
            (Some(_), ByHand::Taken { .. }) => "it was not taken, and never will be".to_owned(),
            (None, _) if open.stage.is_none() => {
                "it was not taken, and may still be until its time is over".to_owned()
            }
            (None, _) => "it was not taken, and may still be: it is to be retried".to_owned(),
        };
        Err(WordError::Contradicted(says))
    }
}

/// A movement is named as its rail does, so that it is held against what that says.
fn named(open: &OpenPayment, end: ByHand) -> Result<ByHand, ByHandError> {
    match end {
        ByHand::Taken { reference } => {
            let reference = movement(&open.state, &reference).ok_or(ByHandError::Reference)?;
            Ok(ByHand::Taken { reference })
        }
        ByHand::Gone => Ok(ByHand::Gone),
    }
}
