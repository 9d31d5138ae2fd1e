//! What every handler of the administration door shares.

use std::sync::Arc;

use execgate_flow::administer::{Administer, Keyring};
use execgate_flow::authorise::Grants;
use execgate_flow::log::Log;
use execgate_flow::settle::Settle;
use execgate_flow::witness::Witness;
use execgate_model::{Clock, Digest, Entropy, TenantId};
use execgate_receipt::VerifyingKey;
use execgate_store::Store;
use tokio::sync::Semaphore;

use crate::body::Bodies;
use crate::doors::DoorRules;
use crate::metrics::{Metrics, Money};

/// The keys under which receipts of the record are published, read anew at each call; none where none can be read.
pub type Published = Arc<dyn Fn() -> Vec<VerifyingKey> + Send + Sync>;

/// What is wrong with the operator's rules. The file is not quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleFault {
    /// It cannot be read.
    Unreadable,
    /// It is no policy.
    Wrong {
        /// Where: line and column from 1, where they are known.
        place: Option<(usize, usize)>,
    },
    /// It was changed, and not by one whose change counts.
    NotVouched,
}

/// Which rules are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStanding {
    /// What names them.
    pub digest: Digest,
    /// Where they come from, where that is a file.
    pub file: Option<String>,
    /// Why they are not those of the file, where they are not.
    pub fault: Option<RuleFault>,
}

/// Where the operator's rules lie.
pub trait RuleDesk: Send + Sync {
    /// The rules in force.
    fn standing(&self) -> RuleStanding;

    /// Looks at the file, and puts it in force if it has changed and is right. May wait for a disk.
    fn look(&self);
}

/// What the administration of a gateway is made of.
pub struct OfficeParts {
    /// The version of the binary.
    pub version: &'static str,
    /// The record.
    pub store: Arc<dyn Store>,
    /// Which record it is, for whoever means another: a digest of its URL.
    pub record: Digest,
    /// The grants as this process sees them.
    pub grants: Arc<Grants>,
    /// What is counted; none where no gateway runs.
    pub metrics: Option<Arc<Metrics>>,
    /// The tenant of the gateway itself.
    pub tenant: TenantId,
    /// Whose process this is: with root the only one that the socket lets in.
    pub operator_uid: u32,
    /// Host names beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Who signs what became of a run; none where the receipt key is not at hand.
    pub witness: Option<Witness>,
    /// The keys under which receipts of this record are published now.
    pub published: Published,
    /// The gateway's own keys; none where they are not at hand.
    pub keyring: Option<Keyring>,
    /// The transparency log; none where its key is not at hand.
    pub log: Option<Arc<Log>>,
    /// The operator's rules; none where no gateway runs.
    pub rules: Option<Arc<dyn RuleDesk>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Keys, ids and salts.
    pub entropy: Arc<dyn Entropy>,
}

/// The administration of one gateway, as its handlers see it.
pub struct Office {
    pub(crate) parts: OfficeParts,
    pub(crate) administer: Administer,
    pub(crate) doors: DoorRules,
    pub(crate) bodies: Bodies,
    /// What moves money; none where no rail is at hand.
    pub(crate) settle: Option<Settle>,
    /// Whoever reads the audit trail: one at a time.
    pub(crate) audit_turn: Arc<Semaphore>,
    /// Whoever checks the record: one at a time.
    pub(crate) fsck_turn: Arc<Semaphore>,
    /// What the metrics tell of money.
    pub(crate) money: Arc<Money>,
}

impl Office {
    /// An administration of these parts.
    #[must_use]
    pub fn new(parts: OfficeParts) -> Self {
        let doors = DoorRules { hosts: parts.hosts.clone(), ..DoorRules::default() };
        let administer = Administer {
            store: Arc::clone(&parts.store),
            grants: Arc::clone(&parts.grants),
            tenant: parts.tenant.clone(),
            witness: parts.witness.clone(),
            keyring: parts.keyring.clone(),
            log: parts.log.clone(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        };
        let turn = || Arc::new(Semaphore::new(1));
        let (audit_turn, fsck_turn) = (turn(), turn());
        let money = Arc::new(Money::new(Arc::clone(&parts.store)));
        if let Some(metrics) = &parts.metrics {
            // Weakly: whoever reads the metrics longer than there is an administration keeps no record open.
            let money = Arc::downgrade(&money);
            metrics.probe(move || money.upgrade().map(|money| money.readings()).unwrap_or_default());
        }
        Self {
            parts,
            administer,
            doors,
            bodies: Bodies::default(),
            settle: None,
            audit_turn,
            fsck_turn,
            money,
        }
    }

    /// The same, by which money can be looked for, and its end be said.
    #[must_use]
    pub fn settling(self, settle: Settle) -> Self {
        Self { settle: Some(settle), ..self }
    }
}
