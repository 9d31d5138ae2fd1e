//! Why something was not administered.

use execgate_model::{GrantId, KeyPurpose, RunId};
use execgate_receipt::KeyId;
use execgate_store::{GRANTS_MAX, OWN_KEYS_MAX, StoreError};

use super::SafeError;
use crate::Refusal;
use crate::log::{LogError, LogFault};

/// Why something was not administered. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum AdministerError {
    /// There is no such grant.
    #[error("there is no grant {0}; `execgate grant list` shows those that there are")]
    NoGrant(GrantId),
    /// Nothing takes a revocation back.
    #[error("grant {0} is revoked, and a revoked grant has no key")]
    Revoked(GrantId),
    /// The id that was drawn is another's.
    #[error("the id {0} is taken; try again")]
    Taken(GrantId),
    /// There are as many as a gateway holds.
    #[error("there are {} grants already; revoke some", GRANTS_MAX)]
    Full,
    /// What a grant is to be cannot be.
    #[error("{what}")]
    BadGrant {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The operator alone may do this: whoever owns the data directory, and not the holder of a key.
    #[error("{what} is for the operator alone: use the command line, or the socket in the data directory")]
    OperatorOnly {
        /// The rule.
        rule: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// Its end is known.
    #[error("the end of run {run} is known ({stage}); there is nothing to resolve")]
    Known {
        /// The run.
        run: RunId,
        /// Where it stands.
        stage: &'static str,
    },
    /// Somebody has said so before.
    #[error("run {0} has been resolved already")]
    Resolved(RunId),
    /// What became of a run is signed, and nobody here can sign.
    #[error("the receipt key is not at hand here")]
    NoKey,
    /// The log key is not at hand here.
    #[error("the log is not at hand here")]
    NoLog,
    /// The record contradicts itself, and no name mends that.
    #[error("a new name does not mend this log, only a sound copy of the record does: {0}")]
    LogDamaged(LogFault),
    /// The log has, or had, that name already, or somebody else was first to give it another.
    #[error("the log has had the name `{0}` already, or was given another just now")]
    LogNamed(String),
    /// Somebody outside of the record knows the log by that name.
    #[error("the name `{origin}` was used before, by what {place} says; take one that nobody has seen")]
    LogNameSeen {
        /// The name.
        origin: String,
        /// Where it was seen.
        place: String,
    },
    /// What is to be a name of the log is none.
    #[error("a name of the log is up to 255 bytes without white space and `+`, such as gateway.example/log")]
    LogName,
    /// The log failed.
    #[error("the log failed")]
    Log(#[source] LogError),
    /// There is no such key of the gateway's own.
    #[error("there is no key {0}; `execgate keys list` shows those that there are")]
    NoOwnKey(KeyId),
    /// What signs is not retired.
    #[error("the key {id} signs; `execgate keys rotate {}` makes one that takes its place", .purpose.as_str())]
    KeySigns {
        /// The key.
        id: KeyId,
        /// What it signs.
        purpose: KeyPurpose,
    },
    /// Another gateway of this record may still sign with it.
    #[error(
        "gateways of this record may still sign with the key {id}, which was replaced just now; try again in {seconds} s"
    )]
    KeyTooNew {
        /// The key.
        id: KeyId,
        /// How long to wait.
        seconds: u64,
    },
    /// Nothing takes a retirement back, or makes it earlier.
    #[error("the key {id} was retired before, at size {size} of the log")]
    KeyRetired {
        /// The key.
        id: KeyId,
        /// How many leaves the log had.
        size: u64,
    },
    /// There are as many as a record holds.
    #[error("there have been {} keys already", OWN_KEYS_MAX)]
    KeysFull,
    /// The secrets are not at hand, or could not be written.
    #[error("the gateway's own keys are not to be had")]
    Safe(#[from] SafeError),
    /// The statement could not be made.
    #[error("what is said of a change could not be written")]
    Statement(#[source] Refusal),
    /// The record failed.
    #[error("the record failed")]
    Store(#[from] StoreError),
}
