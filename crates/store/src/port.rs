//! The port: what the rooms ask of a store, and what it promises.

use std::path::PathBuf;
use std::sync::Arc;

use execgate_model::{BoxFuture, Digest, GrantId, InstanceId, KeyPurpose, RunId, UnixMs};

use crate::{
    AuditEntry, AuditLine, AuditQuery, Change, Changed, Claim, Claimed, Due, Earned, Examiner, Finish,
    Finished, Grant, Granted, KeyAdded, KeyRetired, Late, LeftPayment, LogStore, MovedLate, NewKey,
    NewPayment, OpenPayment, OpenPlace, OwnKey, Page, Parked, ParkedPage, Parking, Record, Recorded, Refused,
    Repaid, Resolution, Revised, Settled, Settling, Standing, Sums, Undone, Unfinal, Untold, Vote, Voted,
    Watched,
};

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The back end refused or failed; nothing is known to have been written.
    #[error("failed to {doing}")]
    Backend {
        /// What we were doing.
        doing: &'static str,
        /// The back end's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is not what this version writes.
    #[error("the record holds something unreadable in `{column}`")]
    Unreadable {
        /// Where.
        column: &'static str,
    },
    /// The key that signed a receipt was retired meanwhile: nothing is written, and it is to be signed with the one that
    /// signs now.
    #[error("the key that signed the receipt has been retired")]
    KeyRetired,
    /// Too much is waiting to be written.
    #[error("the record is busy")]
    Busy,
    /// The store is closed, or its writer died.
    #[error("the record is closed")]
    Closed,
}

/// The answer of a store.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The record of runs.
///
/// A write that has been answered is durable (CONTRACTS 5: `synchronous=FULL`, directory synced). Each
/// method is one transaction; concurrent ones may share one flush. A write whose future is dropped after its
/// first poll is not taken back.
pub trait Store: LogStore {
    /// Claims a run: all of it, or nothing. A nonce, in the caller's scope or its session's, a payment or approval that is taken is an answer, and so is a
    /// limit that has no room. Limits are exact, however many claim at once.
    fn claim(&self, claim: Claim) -> Reply<'_, Claimed>;

    /// The same for whoever may block the thread that it polls this on: no other thread need do it.
    fn claim_here(&self, claim: Claim) -> Reply<'_, Claimed> {
        self.claim(claim)
    }

    /// Claims a run that people have to answer first, as [`Self::claim`] does, keeps what it needs to run later, and leaves
    /// what is said of that, with its leaf. Parked runs are bounded, of each owner, of each tenant and in all: one more
    /// is `ParkedFull`.
    fn park(&self, claim: Claim, parking: Parking, payload: Vec<u8>, said: Change) -> Reply<'_, Claimed>;

    /// Claims a parked run to be started now, as of today: `parked → execute`, once, whoever asks. Its nonce, salt and
    /// time stay; what it had reserved of limits is given back and counted anew. `Taken` where it does not wait any more, or
    /// somebody has said no while it was being started before.
    fn unpark(&self, claim: Claim) -> Reply<'_, Claimed>;

    /// Records what a person says of a parked run, and what is said of that. A no to one that is being started is kept, too.
    fn vote(&self, run: RunId, vote: Vote, change: Change) -> Reply<'_, Voted>;

    /// Ends a parked run that is never to start: `parked → settled`, once. Gives back its limits and its place; with `keeps`
    /// neither its limits nor, until then, its place. `tries` is [`Parked::tries`]
    /// of what its end was made from: a start in between has put another intent in force, and nothing is recorded then.
    fn refuse(
        &self,
        finish: Finish,
        tries: u32,
        spent: Digest,
        denial: Option<(Vote, Change)>,
        keeps: Option<UnixMs>,
    ) -> Reply<'_, Refused>;

    /// A run that waits, without its payload.
    fn parked(&self, run: RunId) -> Reply<'_, Option<Parked>>;

    /// The same of one that waited and is being started, or runs: its claim may be taken back.
    fn starting(&self, run: RunId) -> Reply<'_, Option<Parked>>;

    /// The payload of a run that waits or is being started, which may be as large as a body.
    fn parked_payload(&self, run: RunId) -> Reply<'_, Option<Vec<u8>>>;

    /// What people have said of a run, whether it waits or not, in the order of the log.
    fn votes(&self, run: RunId) -> Reply<'_, Vec<Vote>>;

    /// A page of runs that wait, newest first, each with its votes. A `before` that is not there gives an empty page.
    fn parked_page(&self, page: ParkedPage) -> Reply<'_, Vec<Parked>>;

    /// Runs that wait whose time is over by then, or of which somebody has said something.
    fn parked_due(&self, now: UnixMs) -> Reply<'_, Vec<Due>>;

    /// Runs that still wait then and of which the operator's own service has not been told, oldest first.
    fn parked_untold(&self, now: UnixMs) -> Reply<'_, Vec<Untold>>;

    /// Notes that it has been told of a run. One that waits no more is none.
    fn note_told(&self, run: RunId) -> Reply<'_, ()>;

    /// Takes a claim back where no handler has started.
    fn undo(&self, run: RunId, instance: InstanceId) -> Reply<'_, Undone>;

    /// Records an outcome, `WHERE stage = execute AND instance = mine`; a late one leaves a `late` leaf. Here, and wherever
    /// else a receipt is recorded, one under a retired key is [`StoreError::KeyRetired`].
    fn finish(&self, finish: Finish) -> Reply<'_, Finished>;

    /// The same for whoever may block the thread that it polls this on.
    fn finish_here(&self, finish: Finish) -> Reply<'_, Finished> {
        self.finish(finish)
    }

    /// Moves the money of a run from one word to another, by compare-and-swap: nothing moves twice, and an end is never
    /// overwritten. Closes a run in `witness` where that is an end. A run for which no money is held, and a movement that
    /// there is none of ([`crate::SettlementWord::may_become`]), is a fault.
    fn settle(&self, settling: Settling) -> Reply<'_, Settled>;

    /// Payments whose capture nobody has heard the end of: `pending`, and those whose run was taken back while it was
    /// asked for. A page of them, behind a place, in an order of its own that stands; at most 1,000.
    fn open_payments(&self, after: Option<OpenPlace>) -> Reply<'_, Vec<OpenPayment>>;

    /// Those of one run, also such as its run came again without.
    fn open_payments_of(&self, run: RunId) -> Reply<'_, Vec<OpenPayment>>;

    /// The payment that an earlier try of this very run has left, which was asked for before the work.
    fn left_payment(&self, run: RunId, key: Digest) -> Reply<'_, Option<LeftPayment>>;

    /// Payments that failed, may still move, and are to be looked for by now; the longest due first. At most so many.
    fn watched(&self, now: UnixMs, limit: u32) -> Reply<'_, Vec<Watched>>;

    /// Looks for one of them again then, or never again.
    fn watch_again(&self, key: Digest, due: Option<UnixMs>) -> Reply<'_, ()>;

    /// Records that one of them has moved after all: it pays for its run where the result of that waits for a payment, and is
    /// a credit else.
    fn moved_late(&self, late: Late) -> Reply<'_, MovedLate>;

    /// Payments that were taken, that their chain may still take back, and that are to be looked at by now; the longest due
    /// first. At most so many.
    fn unfinal(&self, now: UnixMs, limit: u32) -> Reply<'_, Vec<Unfinal>>;

    /// Looks at each of these again then; at those without a time never again: they are final.
    fn look_again(&self, due: Vec<(Digest, Option<UnixMs>)>) -> Reply<'_, ()>;

    /// Records what its chain has made of a payment that was taken; it is looked at no more. One that was taken back for good
    /// is no credit any more, and its payer pays before the work for a while. False, and nothing is recorded, where no such
    /// payment was taken.
    fn revise(&self, revised: Revised) -> Reply<'_, bool>;

    /// Payments that were taken, and that their chain has taken back for good, newest first. At most 1,000.
    fn reversed(&self) -> Reply<'_, Vec<OpenPayment>>;

    /// A page of payments that were taken, behind a place, in their order. At most 1,000.
    fn earned(&self, after: u64) -> Reply<'_, Vec<Earned>>;

    /// Money, summed up. Reads what was ever taken.
    fn sums(&self) -> Reply<'_, Sums>;

    /// Claims a new payment for a run whose first one could not be captured. The run becomes this instance's, so
    /// that no other takes it for an orphan, and its rail becomes the payment's.
    fn repay(&self, run: RunId, payment: NewPayment) -> Reply<'_, Repaid>;

    /// The run that holds a nonce.
    fn by_nonce(&self, nonce_key: Digest) -> Reply<'_, Option<Record>>;

    /// What a session has asked for under a nonce and its payer's wallet has: the newest run of that content, or where there is
    /// none, of any other.
    fn by_session_nonce(&self, session_nonce: Digest, fingerprint: Digest) -> Reply<'_, Option<Record>>;

    /// The run that a payment has bought.
    fn by_payment(&self, payment_key: Digest) -> Reply<'_, Option<RunId>>;

    /// One run.
    fn run(&self, run: RunId) -> Reply<'_, Option<Record>>;

    /// Runs, newest first, without answers and receipts. A `before` that is not there gives an empty page.
    fn list(&self, page: Page) -> Reply<'_, Vec<Record>>;

    /// The runs of dead instances that stand in `execute`, or whose money is still held, and of this instance's
    /// own the unknown ones whose money is still held; oldest first. An instance is dead when
    /// its lock can be taken; this instance never is. The answer adopts these instances: while this store is
    /// open, no other one is told of their runs, so that two processes never recover the same run.
    fn orphans(&self) -> Reply<'_, Vec<Record>>;

    /// The runs of this instance, claimed before then, that stand in `execute` or whose money is still held or asked for,
    /// oldest first. Those that walk are among them.
    fn own_unended(&self, before: UnixMs) -> Reply<'_, Vec<Record>>;

    /// Says what became of an unknown run. False if the run is not unknown or is resolved already.
    fn resolve(&self, resolution: Resolution, change: Change) -> Reply<'_, bool>;

    /// Pauses or resumes all claims. False, and nothing is recorded, where that is so already.
    fn set_paused(&self, paused: bool, change: Change) -> Reply<'_, bool>;

    /// Whether claims are paused.
    fn paused(&self) -> Reply<'_, bool>;

    /// Forgets the answers of runs that ended before then; nonces, claims and receipts stay. Returns how many.
    /// Many small transactions, so that claims do not wait for it; a second call goes on where a fault stopped it.
    fn forget_answers(&self, before: UnixMs) -> Reply<'_, u64>;

    /// Forgets the oldest answers until those that are kept have no more bytes together; nonces, claims and receipts stay.
    /// Returns how many. Small transactions, likewise.
    fn forget_answers_beyond(&self, bytes: u64) -> Reply<'_, u64>;

    /// Forgets what was used up of limits in windows that were over before then. Returns how many counters.
    fn forget_limits(&self, before: UnixMs) -> Reply<'_, u64>;

    /// Records a grant, and what is said of it.
    fn add_grant(&self, grant: Grant, change: Change) -> Reply<'_, Granted>;

    /// One grant, revoked or not.
    fn grant(&self, id: GrantId) -> Reply<'_, Option<Grant>>;

    /// Every grant that there ever was, oldest first.
    fn grants(&self) -> Reply<'_, Vec<Grant>>;

    /// How many changes of grants there were: as long as this number stands, so does [`Self::standing_grants`].
    fn grant_changes(&self) -> Reply<'_, u64>;

    /// The grants that are not revoked.
    fn standing_grants(&self) -> Reply<'_, Standing>;

    /// Gives a grant a new key. The key before is taken for a while; one that was before that, no more.
    fn rotate_grant(&self, id: GrantId, key: NewKey, change: Change) -> Reply<'_, Changed>;

    /// Gives a grant rules of its own, in the place of those that it had; none takes them away.
    fn set_grant_policy(&self, id: GrantId, policy: Option<String>, change: Change) -> Reply<'_, Changed>;

    /// Revokes a grant for ever.
    fn revoke_grant(&self, id: GrantId, at: UnixMs, change: Change) -> Reply<'_, Changed>;

    /// Every key of the gateway's own that there ever was, in the order of their making.
    fn own_keys(&self) -> Reply<'_, Vec<OwnKey>>;

    /// Records a key of the gateway's own, which signs from then on. One that is there stays as it is.
    fn add_own_key(&self, key: OwnKey, change: Change) -> Reply<'_, KeyAdded>;

    /// Retires a key of the gateway's own for ever, unless it is the one that signs.
    fn retire_own_key(&self, purpose: KeyPurpose, public: [u8; 32], change: Change) -> Reply<'_, KeyRetired>;

    /// Administrative changes whose leaves stand before one, newest first; a back end caps them at 1,000.
    fn changes(&self, before: Option<u64>, limit: u32) -> Reply<'_, Vec<Recorded>>;

    /// Notes when grants were last used. Turned away first of all when the record is busy.
    fn note_grant_uses(&self, uses: Vec<(GrantId, UnixMs)>) -> Reply<'_, ()>;

    /// Appends to the audit trail, and to the log what is said of refusals. Turned away first of all when the record is
    /// busy.
    fn note_audit(&self, lines: Vec<AuditLine>, said: Vec<Change>) -> Reply<'_, ()>;

    /// A page of the audit trail.
    fn audit(&self, query: AuditQuery) -> Reply<'_, Vec<AuditEntry>>;

    /// Forgets lines of the audit trail from before then, and of the others all but `keep`: of those that were written first,
    /// the lines of runs before all others. Returns how many.
    fn forget_audit(&self, before: UnixMs, keep: u64) -> Reply<'_, u64>;

    /// Copies all of it, as of one moment, into a file that is not there yet: durable, and for the owner alone. Claims do
    /// not wait for it.
    fn copy_to(&self, file: PathBuf) -> Reply<'_, ()>;

    /// All of it, for whoever checks it.
    fn examiner(&self) -> Arc<dyn Examiner>;

    /// How many writes wait for their turn.
    fn waiting(&self) -> usize;

    /// This process's own row.
    fn instance(&self) -> InstanceId;

    /// Waits until everything is written and closes the files. Later calls answer [`StoreError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
