//! The record of runs: what was claimed, what came of it, and the receipt.
//!
//! [`Store`] is the port, in the words of the domain. SQL never leaves this crate. A back end is a folder.

mod audit;
mod change;
mod examine;
mod grant;
mod log;
mod money;
mod open;
mod own_key;
mod parking;
mod port;
mod record;
mod sqlite;

pub use audit::{
    AUDIT_PAGE_MAX, AuditDecision, AuditEntry, AuditLine, AuditOrder, AuditPlace, AuditQuery, NoPlace,
};
pub use change::{Change, Recorded};
pub use examine::{
    ExaminedLeaf, ExaminedParked, ExaminedPayment, ExaminedRun, ExaminedVote, Examiner, Extent, LimitDrift,
};
pub use grant::{Changed, GRANT_POLICY_BYTES_MAX, GRANTS_MAX, Grant, Granted, NewKey, OldKey, Standing};
pub use log::{
    LOG_LEAVES_MAX, LogCheckpoint, LogCosigned, LogEpoch, LogHead, LogLeaf, LogNode, LogStanding, LogStep,
    LogStore,
};
pub use money::{
    Earned, FAILED_FOR_MS, Late, LeftPayment, MovedLate, OpenPayment, OpenPlace, REDEEMED_BY, Revised,
    Revision, SPARED_ALL_MAX, SPARED_MAX, SPARED_PAID_MAX, SPARED_WINDOW_MS, Settled, Settling, Sums,
    Unfinal, Watched,
};
pub use open::{OpenError, OpenOptions, open, open_to_read};
pub use own_key::{KeyAdded, KeyRetired, OWN_KEYS_MAX, OwnKey, Retirement};
pub use parking::{
    Due, PARKED_BYTES_MAX, PARKED_BYTES_OF_ONE_MAX, PARKED_BYTES_OF_TENANT_MAX, PARKED_MAX,
    PARKED_OF_ONE_MAX, PARKED_OF_TENANT_MAX, Parked, ParkedPage, Parking, Refused, Untold, VOTES_OF_ONE_MAX,
    Vote, VoteWord, Voted, WITHDRAWN_KEEPS_MS,
};
pub use port::{Reply, Store, StoreError};
pub use record::{
    Answer, ApprovalClaim, Claim, Claimed, Finish, Finished, Leaf, LeafKind, LimitClaim, LimitReached,
    Metered, NewPayment, Page, Record, Repaid, Resolution, SettlementWord, ToolCall, Undone,
};
