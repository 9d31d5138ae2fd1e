//! Who may approve, and what one of them has signed.
//!
//! Sole place where a statement's signature is judged. Every change here needs a second reader.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use execgate_model::{ApprovalId, ApproverName, Digest, TenantId};

use crate::approval::error::ApprovalError;
use crate::approval::statement::{APPROVAL_PAYLOAD_TYPE, ApprovalStatement, MAX_APPROVAL_BYTES};
use crate::digest::sha256;
use crate::envelope::Envelope;
use crate::key::{KeyError, KeyId, VerifyingKey};

/// How many approvers a gateway may have: people, who fit in a list that a person reads.
pub const MAX_APPROVERS: usize = 256;

/// How many keys one approver may have: one for each machine, and those that are on their way out.
pub const MAX_KEYS: usize = 8;

/// The longest payload of an envelope, in characters of base64.
const MAX_PAYLOAD_CHARS: usize = MAX_APPROVAL_BYTES.div_ceil(3) * 4;

/// Parts this use of SHA-256 from all others.
const ARTIFACT_DOMAIN: &str = "execgate approval v1";

/// Somebody who may approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// The name that statements have.
    pub name: ApproverName,
    /// Who that is: two names of one person are one person.
    pub person: String,
    /// The tenant whose requests they may approve; nothing for all.
    pub tenant: Option<TenantId>,
    /// The keys that speak for them.
    pub keys: Vec<VerifyingKey>,
}

/// Why a list of approvers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApproversError {
    /// There are too many.
    #[error("there are more than {max} approvers")]
    TooMany {
        /// The bound, [`MAX_APPROVERS`].
        max: usize,
    },
    /// A name stands twice.
    #[error("the approver `{name}` is there twice")]
    Twice {
        /// The name.
        name: ApproverName,
    },
    /// An approver cannot sign, or with too many keys.
    #[error("the approver `{name}` must have 1 to {max} keys")]
    Keys {
        /// The name.
        name: ApproverName,
        /// The bound, [`MAX_KEYS`].
        max: usize,
    },
    /// A key speaks for two, or stands twice.
    #[error("the key {key_id} of the approver `{name}` is there twice")]
    SharedKey {
        /// The second name that has it.
        name: ApproverName,
        /// The key.
        key_id: KeyId,
    },
}

/// All who may approve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvers {
    list: Vec<Approver>,
    keys: Vec<VerifyingKey>,
}

impl Approvers {
    /// Checks a list: each name once, each key once.
    ///
    /// # Errors
    /// [`ApproversError`] names the approver.
    pub fn new(list: Vec<Approver>) -> Result<Self, ApproversError> {
        if list.len() > MAX_APPROVERS {
            return Err(ApproversError::TooMany { max: MAX_APPROVERS });
        }
        let mut keys: Vec<VerifyingKey> = Vec::new();
        for (at, approver) in list.iter().enumerate() {
            let name = || approver.name.clone();
            if list[..at].iter().any(|earlier| earlier.name == approver.name) {
                return Err(ApproversError::Twice { name: name() });
            }
            if approver.keys.is_empty() || approver.keys.len() > MAX_KEYS {
                return Err(ApproversError::Keys { name: name(), max: MAX_KEYS });
            }
            for key in &approver.keys {
                // A key of two people would let one of them count as both.
                if keys.contains(key) {
                    return Err(ApproversError::SharedKey { name: name(), key_id: key.key_id() });
                }
                keys.push(key.clone());
            }
        }
        Ok(Self { list, keys })
    }

    /// Everybody on the list.
    #[must_use]
    pub fn list(&self) -> &[Approver] {
        &self.list
    }

    /// True where nobody may approve.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The approver of a name.
    #[must_use]
    pub fn find(&self, name: &ApproverName) -> Option<&Approver> {
        self.list.iter().find(|approver| &approver.name == name)
    }

    /// Opens an envelope: one good signature, by a key of the approver that the statement names.
    ///
    /// # Errors
    /// [`ApprovalError`] names the check that failed. What the statement says is not judged here.
    pub fn open(&self, envelope: &Envelope) -> Result<Verified<'_>, ApprovalError> {
        if envelope.payload.len() > MAX_PAYLOAD_CHARS {
            return Err(ApprovalError::TooLong { max: MAX_APPROVAL_BYTES });
        }
        if envelope.signatures.len() > 1 {
            return Err(ApprovalError::Signatures);
        }
        let opened = envelope.open(APPROVAL_PAYLOAD_TYPE, &self.keys).map_err(ApprovalError::Envelope)?;
        let (payload, key) = opened;
        let statement = ApprovalStatement::from_bytes(&payload)?;
        let approver = self.find(&statement.approver).filter(|approver| approver.keys.contains(key));
        let Some(approver) = approver else {
            return Err(ApprovalError::ForeignKey { named: statement.approver });
        };
        Ok(Verified { statement, approver, key_id: key.key_id(), digest: sha256(&payload) })
    }
}

/// A statement that an approver has signed. Only [`Approvers::open`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    statement: ApprovalStatement,
    approver: &'a Approver,
    key_id: KeyId,
    digest: Digest,
}

impl<'a> Verified<'a> {
    /// What was signed.
    #[must_use]
    pub const fn statement(&self) -> &ApprovalStatement {
        &self.statement
    }

    /// Who signed it.
    #[must_use]
    pub const fn approver(&self) -> &'a Approver {
        self.approver
    }

    /// With which key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The SHA-256 of the signed bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What a run uses up. It is the same for all who name the same `approval_id` within a tenant.
    #[must_use]
    pub fn artifact(&self) -> Digest {
        same_artifact(&self.statement.tenant, self.statement.approval_id)
    }
}

/// What a run uses up that is approved under this id.
#[must_use]
pub fn same_artifact(tenant: &TenantId, id: ApprovalId) -> Digest {
    // A tenant holds no line break.
    sha256(format!("{ARTIFACT_DOMAIN}\n{tenant}\n{id}").as_bytes())
}

/// Reads a public key as configurations have it: an SPKI PEM file, with its line breaks or with `\n` for them, or the 32
/// raw bytes in base64.
///
/// # Errors
/// [`KeyError`]: for a text of neither form that of PEM.
pub fn public_key(text: &str) -> Result<VerifyingKey, KeyError> {
    let raw = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match raw {
        Some(bytes) => VerifyingKey::from_bytes(&bytes),
        None => VerifyingKey::from_spki_pem(&text.replace("\\n", "\n")),
    }
}
