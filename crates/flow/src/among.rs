//! What a request finds that was here before it: requests of its nonce that walk, an earlier run, the payment that one has
//! left. Nothing is looked up for anybody who has not shown who they are, or a payment.

use core::time::Duration;

use execgate_model::{Amount, Proposal, Stage};
use execgate_payment::Hold;
use execgate_store::{Parked, Record};
use tokio::time::{Instant, sleep};

use crate::corridor::Walk;
use crate::parking::Found;
use crate::pay::{Earlier, Guard, Known, Place, Places, unless_lapsed};
use crate::propose::{NonceKey, Quote, fingerprint};
use crate::{Passage, Refusal};

/// How long a duplicate waits for the first: the longest run and a margin.
const DUPLICATE_WAIT: Duration = Duration::from_secs(330);

/// How often a run in another process is looked at. That is rare: one nonce sent to two processes at once.
const FOREIGN_POLL: Duration = Duration::from_millis(25);

impl Walk {
    /// What a caller that is known was answered under its nonce already, though it brings no payment now (CONTRACTS 2). What
    /// is still to be paid is asked for as of anybody, and so is what has other content: clients ask for a price with an
    /// empty body.
    pub(crate) async fn answered(
        &self,
        proposal: &Proposal,
        price: Amount,
    ) -> Result<Option<Passage>, Refusal> {
        if price.is_zero() || proposal.credential.is_some() {
            return Ok(None);
        }
        let named = proposal.nonce.as_ref().zip(proposal.caller.scope());
        let Some((nonce, scope)) = named else { return Ok(None) };
        let key = NonceKey::new(&scope, nonce).digest();
        let Ok(fingerprint) = fingerprint(proposal) else { return Ok(None) };
        let store = &self.rooms.execute.store;
        let record = match store.by_nonce(key).await? {
            // What a session has paid for is its wallet's, and has the nonce there.
            None if !proposal.caller.is_identified() => store.by_session_nonce(key, fingerprint).await?,
            found => found,
        };
        let Some(record) = record else { return Ok(None) };
        let run = record.run;
        match Earlier::read(record, fingerprint) {
            Earlier::Answered(passage) => Ok(Some(passage)),
            Earlier::Running => Err(Refusal::StillRunning { run }),
            Earlier::Refused(Refusal::NonceReused { .. }) | Earlier::Parked | Earlier::Unpaid(_) => Ok(None),
            Earlier::Refused(refusal) => Err(refusal),
        }
    }

    /// A payment that buys a new run is looked at. One that an earlier try of this very run has left was, and stands as it
    /// was held then: it may be over by now, and used, since it was asked for.
    pub(crate) async fn looked(&self, quote: &Quote, hold: Hold, known: Known) -> Result<Hold, Refusal> {
        let key = hold.paid().claim.as_ref().map(|claim| claim.key).filter(|_| known == Known::Perhaps);
        let Some(key) = key else { return self.rooms.pay.look(hold).await };
        let store = &self.rooms.execute.store;
        match store.left_payment(quote.run(), key).await? {
            // What has bought another run is used: whoever looked would say no more of it than that.
            None if store.by_payment(key).await?.is_some_and(|run| run != quote.run()) => {
                Err(Refusal::PaymentReused)
            }
            None => self.rooms.pay.look(hold).await,
            Some(left) => {
                let rail = self.rooms.pay.rails.named(&left.rail);
                let rail = rail.ok_or_else(|| Refusal::RailUnavailable { rail: left.rail.clone() })?;
                Ok(hold.as_first_held(rail, left.amount, left.state))
            }
        }
    }

    /// Takes a place among requests of the same nonce, or the answer of an earlier one.
    pub(crate) async fn among_duplicates(
        &self,
        quote: &Quote,
        hold: &Hold,
        waits: Option<Box<Parked>>,
    ) -> Result<Among, Refusal> {
        let Some(key) = quote.nonce_key() else {
            return Ok(Among::First(Places::default(), waits));
        };
        let patience = Instant::now() + DUPLICATE_WAIT;
        // That of the session always first, so that no two wait for each other.
        let in_session = match quote.session_nonce() {
            Some(session) => Some(self.place(session, quote, patience).await?),
            None => None,
        };
        let places = Places { in_session, own: Some(self.place(key, quote, patience).await?) };
        match self.named(quote).await? {
            None => Ok(Among::First(places, None)),
            Some(record)
                if record.stage == Stage::Parked && record.fingerprint == quote.terms().fingerprint =>
            {
                // It may have run, or ended, after this copy of the record was made.
                self.rooms.log.ask(quote.proposal().effect)?;
                match self.found(&record, quote.proposal()).await? {
                    Found::Ended(passage) => Ok(Among::Answered(passage)),
                    Found::Waiting(_) if record.run != quote.run() && hold.amount().is_zero() => {
                        Err(self.still_parked(record.run).await?)
                    }
                    Found::Waiting(_) if record.run != quote.run() => Err(another_payers(hold)),
                    Found::Waiting(waits) => Ok(Among::First(places, Some(waits))),
                }
            }
            Some(record) => self.earlier(record, quote, hold).await.map(Among::Answered),
        }
    }

    /// A place among requests of one nonce, as soon as none of them walks before this one.
    async fn place(&self, key: NonceKey, quote: &Quote, patience: Instant) -> Result<Guard, Refusal> {
        loop {
            match self.duplicates.place(key, quote.terms().fingerprint, quote.run()) {
                Place::First(guard) => return Ok(guard),
                Place::Other(run) => return Err(quote.name_is_taken(run)),
                Place::Crowded(run) => return Err(Refusal::StillRunning { run }),
                Place::Same(mut landed) => {
                    if tokio::time::timeout_at(patience, landed.changed()).await.is_err() {
                        return Err(Refusal::StillRunning { run: quote.run() });
                    }
                }
            }
        }
    }

    /// The run that has the name of a request: in its session, whichever wallet or card has paid for it, or else among those
    /// of its own caller.
    async fn named(&self, quote: &Quote) -> Result<Option<Record>, Refusal> {
        let store = &self.rooms.execute.store;
        let own = quote.nonce_key();
        if let Some(session) = quote.in_session() {
            let paid = store.by_session_nonce(session.digest(), quote.terms().fingerprint).await?;
            if paid.is_some() {
                return Ok(paid);
            }
            // What was free then is its session's own; what waits of that is not for a wallet to start.
            if own != Some(session)
                && let Some(free) = store.by_nonce(session.digest()).await?
                && free.stage != Stage::Parked
            {
                return Ok(Some(free));
            }
        }
        let Some(own) = own else { return Ok(None) };
        Ok(store.by_nonce(own.digest()).await?)
    }

    /// Answers from the record of an earlier run; waits for one that goes on in another process. What is answered from the
    /// record starts nothing, whatever is wrong with the log; all else waits until it is mended.
    pub(crate) async fn earlier(
        &self,
        mut record: Record,
        quote: &Quote,
        hold: &Hold,
    ) -> Result<Passage, Refusal> {
        let patience = Instant::now() + DUPLICATE_WAIT;
        loop {
            let run = record.run;
            match Earlier::read(record, quote.terms().fingerprint) {
                Earlier::Answered(passage) => return Ok(passage),
                Earlier::Refused(Refusal::NonceReused { run }) => return Err(quote.name_is_taken(run)),
                Earlier::Refused(refusal) => return Err(refusal),
                Earlier::Unpaid(unpaid) => {
                    unless_lapsed(hold)?;
                    self.rooms.log.ask(quote.proposal().effect)?;
                    self.rooms.settle.again(&unpaid, hold).await?;
                }
                Earlier::Parked => return Err(self.still_parked(run).await?),
                Earlier::Running if Instant::now() >= patience => return Err(Refusal::StillRunning { run }),
                Earlier::Running => {
                    self.rooms.log.ask(quote.proposal().effect)?;
                    sleep(FOREIGN_POLL).await;
                }
            }
            let now = self.rooms.execute.store.run(run).await?;
            record = now.ok_or(Refusal::StillRunning { run })?;
        }
    }
}

/// What waits for an approval under one payer's name, by the session that both have, is not started by another's payment.
fn another_payers(hold: &Hold) -> Refusal {
    let reason = "this call waits under the payer that it first came with; pay it from that one".to_owned();
    Refusal::PaymentRefused { price: hold.amount(), flow: hold.paid().flow, reason }
}

/// Where a request stands among its duplicates.
pub(crate) enum Among {
    /// It goes on; its places keep its nonce. It may be parked already.
    First(Places, Option<Box<Parked>>),
    /// It is answered already.
    Answered(Passage),
}
