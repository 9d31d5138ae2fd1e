//! What is asked of people for a parked run as the rules are now. The one place that says so: for those who look, for the
//! word of an approver, and for the start.
//!
//! Every change here needs a second reader.

use execgate_model::{Amount, BodyPlace, Caller, Digest, Proposal};
use execgate_store::Parked;
use serde_json::Value;

use super::request::term;
use super::yard::Yard;
use super::{ParkedRequest, Term};
use crate::corridor::Rooms;
use crate::{Corridor, Refusal};

/// What holds for a parked run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Today {
    /// What names the rules.
    pub policy: Digest,
    /// What they ask of people; where they would not let it pass, what was asked when it was parked.
    pub terms: Vec<Term>,
    /// What it costs.
    pub price: Amount,
    /// The rule that would not let it pass, and why.
    pub refused: Option<(String, String)>,
}

impl Today {
    /// Whether an approver is asked. Where nobody is, anybody who may approve can say something.
    pub(super) fn asks(&self, approver: &str) -> bool {
        self.terms.is_empty() || self.terms.iter().any(|term| term.asks(approver))
    }
}

/// What the rules of a day asked for, so that a payload is not read again for it.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    policy: Digest,
    price: Amount,
    caller: Caller,
    asked: Result<Vec<Term>, (String, String)>,
}

impl Yard {
    /// What holds for a parked run now. Its payload is read only where something has changed since it was parked.
    ///
    /// # Errors
    /// Rules that cannot be read, a record that failed, and no room for the payload.
    pub(super) async fn today(
        &self,
        rooms: &Rooms,
        parked: &Parked,
        request: &ParkedRequest,
    ) -> Result<Today, Refusal> {
        let ended = |rule: String, reason: String| Today {
            policy: request.policy,
            terms: request.terms.clone(),
            price: request.price,
            refused: Some((rule, reason)),
        };
        let standing = async {
            let caller = rooms.authorise.as_of_now(&request.caller).await?;
            let rules = rooms.authorise.rules_for(&caller).await?;
            Ok((caller, rules))
        };
        let (caller, rules) = match standing.await {
            Ok(standing) => standing,
            Err(Refusal::Denied { rule, reason }) => return Ok(ended(rule, reason)),
            Err(refusal) => return Err(refusal),
        };
        let policy = rules.digest();
        let bare = request.clone().into_proposal(caller.clone(), Value::Null, BodyPlace::default());
        let price = rooms.propose.prices.asked(&bare, rules.price(request.action.as_str()));

        let is_as_parked = (policy, price, &caller) == (request.policy, request.price, &request.caller);
        let known = self
            .recall(parked.record.run)
            .filter(|known| (known.policy, known.price, &known.caller) == (policy, price, &caller));
        let asked = match known {
            _ if is_as_parked => Ok(request.terms.clone()),
            Some(known) => known.asked,
            None => {
                let (payload, _place) = self.payload(rooms.execute.store.as_ref(), parked).await?;
                let asked = match rules.judge(&Proposal { payload, ..bare.clone() }, price) {
                    Ok(judged) => {
                        let terms = judged.demand.iter().flat_map(|demand| &demand.terms);
                        Ok(terms.map(term).collect())
                    }
                    Err(Refusal::Denied { rule, reason }) => Err((rule, reason)),
                    Err(refusal) => return Err(refusal),
                };
                let known = Remembered { policy, price, caller, asked: asked.clone() };
                self.remember(parked.record.run, known);
                asked
            }
        };
        let (mut terms, refused) = match asked {
            Ok(terms) => (terms, None),
            Err(refused) => (request.terms.clone(), Some(refused)),
        };
        // What the gateway itself asks may have come since.
        let own = rooms.approve.own_wish(&bare)?;
        let own = own.iter().flat_map(|wanted| &wanted.terms).map(term);
        terms.splice(0..0, own);
        Ok(Today { policy, terms, price, refused })
    }
}

impl Corridor {
    /// What holds for a parked run now: what is shown of it, and what the word of an approver is held against.
    ///
    /// # Errors
    /// Rules that cannot be read, a record that failed, and no room for its payload.
    pub async fn today(&self, parked: &Parked, request: &ParkedRequest) -> Result<Today, Refusal> {
        self.yard().today(self.rooms(), parked, request).await
    }

    /// What a parked run is to be given, as JSON text, and the place that it takes up in memory: to be kept for as long as the
    /// text is.
    ///
    /// # Errors
    /// No room for it now, or a run that waits no more.
    pub async fn payload_of(&self, parked: &Parked) -> Result<(Vec<u8>, BodyPlace), Refusal> {
        self.yard().raw_payload(self.rooms().execute.store.as_ref(), parked).await
    }
}
