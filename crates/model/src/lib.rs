//! The nouns of execgate, and the two ports that make a run repeatable: [`Clock`] and [`Entropy`].
//!
//! Nothing here does IO, reads a clock or knows a wire format. Read on in `flow`, where these nouns walk
//! through the rooms.

mod caller;
mod digest;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod id;
mod key_purpose;
mod money;
mod outcome;
mod port;
mod proposal;
mod risk;
mod role;
mod stage;
mod watcher;

pub use caller::{Caller, Identity, Labels, NO_LABELS, Scope};
pub use digest::{Digest, DigestError};
pub use id::{
    ActionName, ApprovalId, ApproverName, GrantId, IdError, InstanceId, Nonce, RuleId, RunId, TenantId,
};
pub use key_purpose::KeyPurpose;
pub use money::{Amount, AmountError};
pub use outcome::{ErrorReport, LimitKind, Outcome, Product, Verdict};
pub use port::{BoxFuture, Clock, CrashPoints, Entropy, NoCrash, Space, UnixMs};
pub use proposal::{
    BodyPlace, Credential, Effect, Hearsay, Namespace, Offer, Proposal, Resource, RunOptions, Surface,
};
pub use risk::{RiskClass, Severity};
pub use role::Role;
pub use stage::Stage;
pub use watcher::{Progress, Respondent, Unanswered, Watcher};
