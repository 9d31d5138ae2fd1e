//! What every handler of one gateway shares.

use std::sync::{Arc, OnceLock};

use axum::http::HeaderMap;
use execgate_flow::authorise::{Grants, Tokens};
use execgate_flow::log::Log;
use execgate_flow::notice::Trail;
use execgate_flow::witness::Render;
use execgate_flow::{Corridor, Passage, Refusal};
use execgate_model::{Clock, Entropy, Proposal, Space, TenantId, UnixMs};
use execgate_store::Store;
use execgate_tool::upstream::Upstreams;
use execgate_tool::{Languages, Workspaces};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::body::Bodies;
use crate::doors::DoorRules;
use crate::figures::Figures;
use crate::headers::patience;
use crate::mcp::{Calls, Listeners, ParkedCalls, Questions};
use crate::metrics::Metrics;
use crate::render::{ExecuteWords, OwnWords};
use crate::server::OpenConnections;

/// Whether `/execute` asks for a signed artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecMode {
    /// No artifact is needed.
    Demo,
    /// Every run needs one.
    Clawshield,
}

/// Whether the tools of `/exec/*` are served (`surfaces.tools`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolSurface {
    /// They are.
    #[default]
    On,
    /// They are not; the same tools can still be actions of `/execute`.
    Off,
}

/// What the gateway says of itself.
#[derive(Debug, Clone)]
pub struct ServiceInfo {
    /// The version of the binary.
    pub version: &'static str,
    /// The mode of `/execute`.
    pub mode: ExecMode,
    /// Whether there is a key to verify artifacts with.
    pub verifies: bool,
    /// The allow-list, where there is one.
    pub allow_list: Option<Vec<String>>,
    /// The sandbox tier that code runs in, or why there is none.
    pub sandbox: String,
}

/// How tokens of an operator's authorization servers come in.
#[derive(Clone)]
pub struct TokenDoor {
    /// Who recognises them.
    pub tokens: Arc<dyn Tokens>,
    /// What is published of it; none where nobody has said under which URL this gateway is reached.
    pub resource: Option<Resource>,
}

/// This gateway as a protected resource (RFC 9728, 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// The URL under which it is reached, without a path.
    pub resource: String,
    /// Whose tokens are taken.
    pub authorization_servers: Vec<String>,
    /// The scopes that stand for a role, where scopes do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// The scope that calling something takes, where scopes stand for roles.
    #[serde(skip)]
    pub caller_scope: Option<String>,
}

/// Whether something that the gateway needs is still there.
pub type Pulse = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a gateway is made of.
pub struct HouseParts {
    /// The corridor.
    pub corridor: Corridor,
    /// The record, for reading.
    pub store: Arc<dyn Store>,
    /// The transparency log; none where it is not served.
    pub log: Option<Arc<Log>>,
    /// Who may come in, and how.
    pub doors: DoorRules,
    /// What the gateway says of itself.
    pub info: ServiceInfo,
    /// Whether the sandbox still answers, and runs what it is asked to; none where code is off.
    pub sandbox_pulse: Option<Pulse>,
    /// Whether what runs come from is what its digest names; none where code is off.
    pub image_pulse: Option<Pulse>,
    /// Whether the rules are those of the operator's file as it is; none where there is no file.
    pub policy_pulse: Option<Pulse>,
    /// Whether there is space for more runs.
    pub space: Arc<dyn Space>,
    /// The languages that are served; none where code is off.
    pub catalogue: Option<Arc<dyn Languages>>,
    /// The files that callers have had written.
    pub workspaces: Workspaces,
    /// Whether `/exec/*` is served.
    pub tools: ToolSurface,
    /// How tokens come in; none where no issuer is configured.
    pub tokens: Option<TokenDoor>,
    /// Scheme, name and port under which others reach this gateway, where the operator has said it.
    pub public_url: Option<String>,
    /// Servers of others, each with a path of its own.
    pub upstreams: Upstreams,
    /// The tenant of callers without a grant.
    pub tenant: TenantId,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The audit trail.
    pub trail: Trail,
    /// The connections of its listener.
    pub connections: OpenConnections,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Session secrets.
    pub entropy: Arc<dyn Entropy>,
}

/// One gateway, as its handlers see it.
pub struct House {
    pub(crate) parts: HouseParts,
    pub(crate) execute_words: Arc<ExecuteWords>,
    pub(crate) figures: Figures,
    pub(crate) bodies: Arc<Bodies>,
    /// Calls of the Model Context Protocol that are under way.
    pub(crate) calls: Calls,
    /// Those without a key that wait for people.
    pub(crate) parked_calls: ParkedCalls,
    /// What servers of others ask of their clients.
    pub(crate) questions: Arc<Questions>,
    /// Those who want to know of other lists of tools.
    pub(crate) listeners: Listeners,
    /// How a call of it is paid by challenge: said once, since nothing of it changes.
    pub(crate) challenge_methods: OnceLock<Option<Map<String, Value>>>,
    /// When this process started.
    pub(crate) started: UnixMs,
    pub(crate) grants: Arc<Grants>,
}

impl House {
    /// A gateway of these parts.
    #[must_use]
    pub fn new(parts: HouseParts) -> Self {
        let grants = parts.corridor.grants();
        let started = parts.clock.now();
        let bodies = Arc::new(Bodies::default());
        // What a parked run asks for takes the same places as what a caller sends.
        let corridor = parts.corridor.lodging(Arc::<Bodies>::clone(&bodies));
        let parts = HouseParts { corridor, ..parts };
        Self {
            parts,
            started,
            grants,
            execute_words: Arc::new(ExecuteWords),
            figures: Figures::new(),
            bodies,
            calls: Calls::default(),
            parked_calls: ParkedCalls::default(),
            questions: Arc::default(),
            listeners: Listeners::default(),
            challenge_methods: OnceLock::new(),
        }
    }

    /// The grants as this process sees them.
    #[must_use]
    pub fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.grants)
    }

    /// Walks a proposal. Where it waits for people, for as long as its caller would wait too.
    pub(crate) async fn walk(
        &self,
        headers: &HeaderMap,
        proposal: Proposal,
        words: Arc<dyn Render>,
    ) -> Result<Passage, Refusal> {
        match self.parts.corridor.walk(proposal, words).await {
            Err(Refusal::Parked(waiting)) => self.parts.corridor.wait_out(waiting, patience(headers)).await,
            walked => walked,
        }
    }

    /// Looks after the runs that wait for people: ends those whose time is over, and starts those that are approved.
    ///
    /// # Errors
    /// [`Refusal::Store`] if the record cannot be read.
    pub async fn tend_parked(&self) -> Result<(), Refusal> {
        let words: Arc<dyn Render> = Arc::new(OwnWords);
        // Each goes on by itself.
        self.parts.corridor.tend(&words).await.map(drop)
    }

    /// Turns new runs away from now on.
    pub fn close(&self) {
        self.parts.corridor.close();
    }

    /// Waits until every run that walks has come to its end.
    pub async fn drained(&self) {
        self.parts.corridor.drained().await;
    }
}
