//! What an offline check found: which checks were made, and which could not be.
//!
//! It must never call something checked that was not. Read on in `verify`, the only place that makes one.

use core::fmt;

use execgate_model::Digest;

use crate::key::KeyId;
use crate::statement::Statement;

/// One thing that is checked about a receipt file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// The signature is a trusted key's, over this payload.
    Signature,
    /// The public key in the file is the trusted one.
    EmbeddedKey,
    /// The payload is canonical JSON.
    CanonicalPayload,
    /// The payload is an execution receipt, version 1, in an in-toto Statement v1.
    StatementType,
    /// File, statement and subject name one run.
    ExecId,
    /// The statement commits to the content receipt in the file.
    Receipt,
    /// The statement commits to the arguments in the file.
    Args,
    /// The statement commits to the result in the file.
    Result,
    /// The statement commits to the nonce in the file.
    Nonce,
    /// Arguments, result, nonce, action and outcome give the content receipt again.
    ContentReceipt,
}

impl Check {
    /// The check in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::EmbeddedKey => "embedded public key",
            Self::CanonicalPayload => "canonical payload",
            Self::StatementType => "statement type",
            Self::ExecId => "exec_id",
            Self::Receipt => "receipt",
            Self::Args => "args",
            Self::Result => "result",
            Self::Nonce => "nonce",
            Self::ContentReceipt => "receipt made again",
        }
    }
}

/// How a check came out. One that fails is a [`crate::VerifyError`] and stands in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The check was made, and it holds.
    Holds,
    /// The check was not made, because the file leaves out what it needs.
    NotSupplied,
    /// The statement says that there was nothing, and the file has nothing.
    NoneCommitted,
}

impl Finding {
    /// The finding in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::NotSupplied => "not supplied",
            Self::NoneCommitted => "none, as the statement says",
        }
    }
}

/// A receipt that passed every check that its file allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub(crate) statement: Statement,
    pub(crate) payload: Vec<u8>,
    pub(crate) key_id: KeyId,
    pub(crate) receipt: Digest,
    pub(crate) digest: Digest,
    pub(crate) leaf: Digest,
    pub(crate) findings: Vec<(Check, Finding)>,
}

impl Verified {
    /// The statement, without fields that this version does not know.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The trusted key that signed.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The content receipt.
    #[must_use]
    pub const fn receipt(&self) -> Digest {
        self.receipt
    }

    /// The SHA-256 of the payload.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The leaf that an inclusion proof must be about: SHA-256(salt ‖ payload).
    #[must_use]
    pub const fn leaf(&self) -> Digest {
        self.leaf
    }

    /// Every check in the order in which it was made or passed over.
    #[must_use]
    pub fn findings(&self) -> &[(Check, Finding)] {
        &self.findings
    }

    /// How one check came out.
    #[must_use]
    pub fn finding(&self, check: Check) -> Option<Finding> {
        self.findings.iter().find(|(made, _)| *made == check).map(|(_, finding)| *finding)
    }

    /// True where arguments, result and nonce were all there and gave the content receipt again.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.finding(Check::ContentReceipt) == Some(Finding::Holds)
    }
}

impl fmt::Display for Verified {
    /// One line for each check: `result: not supplied`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, finding) in &self.findings {
            writeln!(f, "{}: {}", check.as_str(), finding.as_str())?;
        }
        Ok(())
    }
}
