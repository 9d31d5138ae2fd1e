//! Approvals: what a person signs before a run, and what it is held against.
//!
//! Two kinds come in. An *approval statement* (`approval/v1`) is signed by an approver of the operator's, in a DSSE
//! envelope, and bound to one action digest. A *`ClawShield` artifact* is what `OpenExec` takes: an Ed25519 signature over
//! its fields in a row. Nothing here reads a clock, keeps what was used, or says who needs an approval.
//!
//! Read on in `artifact` (what a request may carry), `statement` and `approver` (the first kind), `bind` (what it must
//! match), `clawshield`, `python_json` and `naive_time` (the second kind).

mod approver;
mod artifact;
mod bind;
mod clawshield;
mod error;
mod naive_time;
mod python_json;
mod statement;

pub use approver::{
    Approver, Approvers, ApproversError, MAX_APPROVERS, MAX_KEYS, Verified, public_key, same_artifact,
};
pub use artifact::{Artifact, ArtifactError, MAX_STATEMENTS};
pub use bind::Demand;
pub use clawshield::{ClawShield, ClawShieldArtifact, ClawShieldError, Cleared, MAX_FIELD_BYTES};
pub use error::ApprovalError;
pub use python_json::{action_hash, python_json};
pub use statement::{
    APPROVAL_PAYLOAD_TYPE, APPROVAL_TYPE, ActionDigest, ApprovalStatement, Decision, MAX_APPROVAL_BYTES,
};
