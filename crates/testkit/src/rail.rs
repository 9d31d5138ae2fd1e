//! A rail that does what a test tells it, and the bank behind it that keeps the books.
//!
//! A credential is the text `claim`, or `claim@payer`; a claim that ends with `^` is taken before the work, and one that ends
//! with `^~` is the same claim, agreed to be taken after it. The bank is honest where nothing else is scripted. It is
//! outside of every process: what it took stays taken whoever dies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{Amount, BoxFuture, CrashPoints as _, Credential};
use execgate_payment::evm::{Authorization, U256};
use execgate_payment::{
    CaptureError, Endurance, Facilitator, Flow, Found, HoldError, LookError, Paid, PaymentClaim, Rail, Taken,
    Terms, Unreachable, authorized_may_go_back, capture_authorized, endurance_of_authorized, find_authorized,
    funds_of_payer,
};
use execgate_receipt::sha256;

use crate::{Event, Journal, Life};

/// What moves late is of the price of every world that is priced.
const PRICE_MICROS: u64 = 50_000;

/// The name of the rail.
pub const SCRIPTED: &str = "scripted";

/// Where the rail may let its process die.
pub const RAIL_POINTS: &[&str] = &["rail-capturing", "rail-captured", "rail-releasing", "rail-released"];

/// What the bank says to a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is good.
    Good,
    /// It does not pay for this.
    Refused,
    /// The bank cannot tell now.
    Unavailable,
    /// The bank never answers.
    Silent,
}

/// What the bank does when it is asked to move money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It moves it.
    Done,
    /// It surely does not.
    Failed,
    /// Nobody reaches it.
    Unasked,
    /// The same, and it is to be asked again.
    Postponed,
    /// It moves it, and its answer is lost.
    DoneUnheard,
    /// It does not move it, and its answer is lost.
    LostUnheard,
    /// It never answers.
    Silent,
}

#[derive(Debug, Default)]
struct Script {
    looks: BTreeMap<String, VecDeque<Look>>,
    captures: BTreeMap<String, VecDeque<Move>>,
    releases: BTreeMap<String, VecDeque<Move>>,
    /// Claims that buy nothing new.
    lapsed: BTreeSet<String>,
    /// Claims that were never taken, and never will be.
    gone: BTreeSet<String>,
    /// Those of them whose time alone is over.
    expired: BTreeSet<String>,
    funds: Option<Amount>,
    is_closed: bool,
}

/// What a bank is like, whatever a test scripts.
#[derive(Debug, Default)]
struct Ways {
    is_forgetful: bool,
    /// Claims of which it has said that it did not take them.
    refused: BTreeSet<String>,
    /// Claims that it never takes, whatever becomes of a script.
    gone: BTreeSet<String>,
}

/// The bank: its script and its books, which are the journal.
#[derive(Debug)]
pub struct Bank {
    journal: Arc<Journal>,
    script: Mutex<Script>,
    ways: Mutex<Ways>,
}

impl Bank {
    /// A bank that writes its books into this journal.
    #[must_use]
    pub fn new(journal: Arc<Journal>) -> Self {
        Self { journal, script: Mutex::default(), ways: Mutex::default() }
    }

    /// Says what the bank will say to the next credential of this claim.
    pub fn next_look(&self, claim: &str, look: Look) {
        self.with(|script| script.looks.entry(claim.to_owned()).or_default().push_back(look));
    }

    /// Says what the bank will do at the next capture of this claim.
    pub fn next_capture(&self, claim: &str, answer: Move) {
        self.with(|script| script.captures.entry(claim.to_owned()).or_default().push_back(answer));
    }

    /// Says what the bank will do at the next release of this claim.
    pub fn next_release(&self, claim: &str, answer: Move) {
        self.with(|script| script.releases.entry(claim.to_owned()).or_default().push_back(answer));
    }

    /// A claim's time is over: it buys nothing new.
    pub fn lapse(&self, claim: &str) {
        self.with(|script| script.lapsed.insert(claim.to_owned()));
    }

    /// A claim is never to be taken any more.
    pub fn give_up(&self, claim: &str) {
        self.with(|script| script.gone.insert(claim.to_owned()));
    }

    /// The same, since its time is over.
    pub fn expire(&self, claim: &str) {
        self.give_up(claim);
        self.with(|script| script.expired.insert(claim.to_owned()));
    }

    /// Whether the bank refuses a claim that it has taken already, as whoever only reads "its nonce is used" does.
    pub fn forgetful(&self, is_forgetful: bool) {
        self.ways().is_forgetful = is_forgetful;
    }

    /// Takes the first claim that it has said that it did not, where it may still: somebody who had seen it has had it happen.
    pub fn move_late(&self) -> Option<String> {
        let refused: Vec<_> = self.ways().refused.iter().cloned().collect();
        let is_open = |claim: &String| {
            !self.journal.is_captured(claim) && !self.journal.is_released(claim) && !self.is_gone(claim)
        };
        let claim = refused.into_iter().find(is_open)?;
        self.journal.write(Event::Captured { claim: claim.clone(), micros: PRICE_MICROS });
        Some(claim)
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim is never to be taken from now on, whatever a test scripts.
    pub fn give_up_for_good(&self, claim: &str) {
        self.ways().gone.insert(claim.to_owned());
    }

    /// The windows of all claims so far are over: what was not taken never will be.
    pub fn end_windows(&self) {
        for event in self.journal.events() {
            if let Event::Verified { claim } = event {
                self.give_up_for_good(&claim);
            }
        }
    }

    fn is_gone(&self, claim: &str) -> bool {
        self.ways().gone.contains(claim) || self.with(|script| script.gone.contains(claim))
    }

    /// How much every payer has; none: the bank does not tell.
    pub fn funds(&self, funds: Option<Amount>) {
        self.with(|script| script.funds = funds);
    }

    /// Whether nobody can ask the bank about anything.
    pub fn close(&self, is_closed: bool) {
        self.with(|script| script.is_closed = is_closed);
    }

    fn lapsed(&self, claim: &str) -> Option<String> {
        let is_lapsed = self.with(|script| script.lapsed.contains(claim));
        is_lapsed.then(|| "its time is over".to_owned())
    }

    fn asked(&self) -> Result<(), Unreachable> {
        let is_closed = self.with(|script| script.is_closed);
        if is_closed { Err(Unreachable("the bank is closed".to_owned())) } else { Ok(()) }
    }

    fn find(&self, claim: &str) -> Found {
        if self.journal.is_captured(claim) {
            Found::Taken { reference: Some(format!("transfer-of-{claim}")) }
        } else if self.with(|script| script.expired.contains(claim)) {
            Found::Lapsed
        } else if self.journal.is_released(claim) || self.is_gone(claim) {
            Found::Gone
        } else {
            Found::Open
        }
    }

    /// Makes the bank honest from now on.
    pub fn forget_script(&self) {
        self.with(|script| *script = Script::default());
    }

    fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, claim: &str) -> Look {
        self.with(|script| script.looks.get_mut(claim).and_then(VecDeque::pop_front)).unwrap_or(Look::Good)
    }

    /// Takes money at most once for one claim, whatever the script says.
    fn capture(&self, claim: &str, amount: Amount) -> Result<(), Option<CaptureError>> {
        let scripted = self.with(|script| script.captures.get_mut(claim).and_then(VecDeque::pop_front));
        let answer = scripted.unwrap_or(Move::Done);
        let taken = self.journal.is_captured(claim);
        let free = self.journal.is_released(claim) || self.is_gone(claim);
        if answer == Move::Failed && !taken {
            self.ways().refused.insert(claim.to_owned());
        }
        if taken && self.ways().is_forgetful && matches!(answer, Move::Done | Move::Failed) {
            return Err(Some(CaptureError::Failed("its nonce is used".to_owned())));
        }
        if !taken && !free && matches!(answer, Move::Done | Move::DoneUnheard) {
            self.journal.write(Event::Captured { claim: claim.to_owned(), micros: amount.micros() });
        }
        match answer {
            Move::Silent => Err(None),
            Move::DoneUnheard | Move::LostUnheard => Err(Some(CaptureError::Unknown { reference: None })),
            Move::Done | Move::Failed if taken => Ok(()),
            Move::Done if !free => Ok(()),
            Move::Done => Err(Some(CaptureError::Failed("the hold was let go of".to_owned()))),
            Move::Failed => Err(Some(CaptureError::Failed("the bank said no".to_owned()))),
            Move::Postponed => Err(Some(CaptureError::Postponed("the bank is shut".to_owned()))),
            Move::Unasked => Err(Some(CaptureError::Unasked("the bank is shut".to_owned()))),
        }
    }

    /// Lets go at most once. False if the bank never answers.
    fn release(&self, claim: &str) -> bool {
        let scripted = self.with(|script| script.releases.get_mut(claim).and_then(VecDeque::pop_front));
        let answer = scripted.unwrap_or(Move::Done);
        if matches!(answer, Move::Done | Move::DoneUnheard) {
            self.journal.write_once(Event::Released { claim: claim.to_owned() });
        }
        answer != Move::Silent
    }
}

/// The rail of one process.
pub(crate) struct ScriptedRail {
    pub(crate) bank: Arc<Bank>,
    pub(crate) life: Arc<Life>,
}

impl Rail for ScriptedRail {
    fn name(&self) -> &'static str {
        SCRIPTED
    }

    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async move {
            if terms.amount.is_zero() {
                return Ok(Paid::nothing());
            }
            let Some(credential) = credential else { return Err(HoldError::Required) };
            self.life.step("verify").await;
            let text = text(&credential.bytes);
            let (claim, payer) = text.split_once('@').unwrap_or((&text, "account:1"));
            let (claim, is_after) = claim.strip_suffix('~').map_or((claim, false), |claim| (claim, true));
            match self.bank.look(claim) {
                Look::Good => {}
                Look::Refused => return Err(HoldError::Refused("the bank does not know it".to_owned())),
                Look::Unavailable => return Err(HoldError::Unavailable { rail: SCRIPTED }),
                Look::Silent => core::future::pending().await,
            }
            self.bank.journal.write(Event::Verified { claim: claim.to_owned() });
            let named = PaymentClaim { key: sha256(claim.as_bytes()), payer: payer.to_owned() };
            let paid = Paid::by(named, claim.as_bytes().to_vec());
            let flow = if claim.ends_with('^') && !is_after { Flow::Upfront } else { Flow::Authorization };
            Ok(Paid { flow, lapsed: self.bank.lapsed(claim), ..paid })
        })
    }

    fn capture<'a>(&'a self, amount: Amount, state: &'a [u8]) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(async move {
            self.life.step("capture").await;
            self.life.reached("rail-capturing");
            let claim = text(state);
            let moved = self.bank.capture(&claim, amount);
            self.life.reached("rail-captured");
            match moved {
                Ok(()) => Ok(format!("transfer-of-{claim}")),
                Err(Some(error)) => Err(error),
                Err(None) => core::future::pending().await,
            }
        })
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(async move {
            self.life.step("whereabouts").await;
            self.bank.asked()?;
            Ok(self.bank.find(&text(state)))
        })
    }

    fn funds<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(async move {
            self.bank.asked()?;
            Ok(self.bank.with(|script| script.funds))
        })
    }

    fn release<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.life.step("release").await;
            self.life.reached("rail-releasing");
            let heard = self.bank.release(&text(state));
            self.life.reached("rail-released");
            if !heard {
                core::future::pending().await
            }
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name of [`AuthorizedRail`].
pub const AUTHORIZED: &str = "authorized";

/// A rail whose credential is a whole authorization, as [`Authorization::to_bytes`] writes it. It moves money where its
/// facilitator does.
pub struct AuthorizedRail(pub Arc<dyn Facilitator>);

impl Rail for AuthorizedRail {
    fn name(&self) -> &'static str {
        AUTHORIZED
    }

    fn verify<'a>(
        &'a self,
        terms: &'a Terms,
        credential: Option<&'a Credential>,
    ) -> BoxFuture<'a, Result<Paid, HoldError>> {
        Box::pin(async move {
            if terms.amount.is_zero() {
                return Ok(Paid::nothing());
            }
            let Some(credential) = credential else { return Err(HoldError::Required) };
            let read = Authorization::from_bytes(&credential.bytes);
            let authorization = read.map_err(|error| HoldError::Refused(error.to_string()))?;
            authorization.verify().map_err(|error| HoldError::Refused(error.to_string()))?;
            if authorization.value != U256::from(terms.amount.micros()) {
                return Err(HoldError::Refused("it is of another amount".to_owned()));
            }
            let claim = PaymentClaim { key: authorization.claim_key(), payer: authorization.payer() };
            Ok(Paid::by(claim, credential.bytes.clone()))
        })
    }

    fn capture<'a>(
        &'a self,
        _amount: Amount,
        state: &'a [u8],
    ) -> BoxFuture<'a, Result<String, CaptureError>> {
        Box::pin(capture_authorized(self.0.as_ref(), state))
    }

    fn release<'a>(&'a self, _state: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn whereabouts<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Found, Unreachable>> {
        Box::pin(find_authorized(self.0.as_ref(), state))
    }

    fn funds<'a>(&'a self, state: &'a [u8]) -> BoxFuture<'a, Result<Option<Amount>, LookError>> {
        Box::pin(funds_of_payer(self.0.as_ref(), state))
    }

    fn may_go_back(&self, state: &[u8]) -> bool {
        authorized_may_go_back(self.0.as_ref(), state)
    }

    fn endurance<'a>(&'a self, taken: &'a [Taken<'a>]) -> BoxFuture<'a, Result<Vec<Endurance>, Unreachable>> {
        Box::pin(endurance_of_authorized(self.0.as_ref(), taken))
    }
}
