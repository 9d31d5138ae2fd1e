//! What an agent proposes, after a door has read it and before any room has judged it.

use core::any::Any;
use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ActionName, Caller, Digest, Nonce, Watcher};

/// Whether something may happen outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// For real.
    Live,
    /// Simulated: nothing outside changes.
    DryRun,
}

/// The contract under which a caller came in; what is charged and answered can differ by it (CONTRACTS 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surface {
    /// `POST /execute`.
    Execute,
    /// `POST /api/code-run`, `/api/code-run-pro` and `/api/code/run`.
    CodeRun,
    /// `POST /exec/tool` and `/exec/batch`.
    SecureExec,
    /// `POST /exec/simulate`: as [`Self::SecureExec`], never for real and never for money.
    Simulate,
    /// `tools/call` of the Model Context Protocol, by `/mcp` or a pipe.
    Mcp,
}

impl Surface {
    /// The word, as receipts have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::CodeRun => "code-run",
            Self::SecureExec => "secure-exec",
            Self::Simulate => "simulate",
            Self::Mcp => "mcp",
        }
    }

    /// Whether a run that met its deadline is paid work here.
    #[must_use]
    pub const fn charges_timeouts(self) -> bool {
        match self {
            Self::Execute | Self::SecureExec | Self::Simulate | Self::Mcp => true,
            Self::CodeRun => false,
        }
    }

    /// Whether nothing is ever asked for a run here, whatever its action costs elsewhere.
    #[must_use]
    pub const fn is_free(self) -> bool {
        match self {
            Self::Simulate => true,
            Self::Execute | Self::CodeRun | Self::SecureExec | Self::Mcp => false,
        }
    }

    /// Which names mean what here.
    #[must_use]
    pub const fn namespace(self) -> Namespace {
        match self {
            Self::Execute | Self::CodeRun | Self::Mcp => Namespace::Actions,
            Self::SecureExec | Self::Simulate => Namespace::Tools,
        }
    }
}

/// What a name can stand for (CONTRACTS 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Every registered action; the name of a language is code in the jail.
    Actions,
    /// The tools of `/exec/*` alone; `bash` is a blocked tool there.
    Tools,
}

/// What is sold under a name of its own: code with its own bounds and price (PRODUCT B).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Offer {
    /// `/api/code-run`.
    #[serde(rename = "code-run")]
    CodeRun,
    /// `/api/code-run-pro`.
    #[serde(rename = "code-run-pro")]
    CodeRunPro,
    /// `/api/code/run`.
    #[serde(rename = "code/run")]
    CodeRunBasic,
}

impl Offer {
    /// Every offer.
    pub const ALL: [Self; 3] = [Self::CodeRun, Self::CodeRunPro, Self::CodeRunBasic];

    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeRun => "code-run",
            Self::CodeRunPro => "code-run-pro",
            Self::CodeRunBasic => "code/run",
        }
    }
}

/// What a caller may ask of a run beside its payload. Part of the fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// The wanted deadline in milliseconds; the action's own bound still holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Under which offer it was asked for, where it was under one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Whether the receipt comes with the answer.
    #[serde(skip_serializing_if = "is_off")]
    pub receipt: bool,
    /// Of which batch it is a part: a digest over all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Digest>,
    /// The profile of the sandbox that the rules have it run in. Set by them and never by a caller, and so no part of the
    /// fingerprint.
    #[serde(skip)]
    pub profile: Option<String>,
}

/// What a caller says of itself and of its reasons. It is recorded, and nothing follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hearsay {
    /// The name that the caller gives itself; nobody has checked it.
    pub agent: Option<String>,
    /// SHA-256 over the JCS of the context that it gives.
    pub context: Option<Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_off(switch: &bool) -> bool {
    !switch
}

/// A payment credential as it came in, still unread: which rail it is for, and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The rail's name.
    pub rail: String,
    /// The credential as the header or body field held it.
    pub bytes: Vec<u8>,
    /// What it was shown for.
    pub resource: Resource,
}

/// What is sold, in the words of HTTP: what an offer names, and what a credential may be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource {
    /// Its URL, as callers reach it.
    pub url: String,
    /// What it is, in a sentence.
    pub description: String,
    /// The media type of its answers.
    pub mime: String,
    /// The method.
    pub method: String,
    /// SHA-256 over the body of the request, where that was read.
    pub body_digest: Option<Digest>,
    /// A body that it takes.
    pub example: Value,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("rail", &self.rail).finish_non_exhaustive()
    }
}

/// The place that a large request takes up for as long as its body is in memory. Dropping it gives it back.
#[derive(Clone, Default)]
pub struct BodyPlace(Option<Arc<dyn Any + Send + Sync>>);

impl BodyPlace {
    /// Keeps what gives the place back when it is dropped.
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(place)))
    }
}

impl fmt::Debug for BodyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "BodyPlace(large)" } else { "BodyPlace(small)" })
    }
}

/// A tool call or a piece of source code that somebody wants to happen.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The contract under which it came in.
    pub surface: Surface,
    /// What to run.
    pub action: ActionName,
    /// The arguments, parsed.
    pub payload: Value,
    /// For real, or simulated.
    pub effect: Effect,
    /// What else the caller asks of the run.
    pub options: RunOptions,
    /// The caller's name for this execution.
    pub nonce: Option<Nonce>,
    /// Who asks.
    pub caller: Caller,
    /// An approval artifact, unread: its JSON text.
    pub approval: Option<String>,
    /// A payment credential, unread.
    pub credential: Option<Credential>,
    /// Who sees the output as it comes, if anybody.
    pub watcher: Option<Watcher>,
    /// What it takes up in memory.
    pub place: BodyPlace,
    /// What the caller says of itself.
    pub hearsay: Hearsay,
    /// The address that it comes from, where the door knows it: another machine's, or that of a proxy.
    pub peer: Option<IpAddr>,
}
