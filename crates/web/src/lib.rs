//! The doors: from a wire request to a `Proposal`, from an outcome to a wire answer.
//!
//! A door holds no decision: it reads, asks the corridor, and writes. Errors become HTTP in [`problem`] alone.

mod admin_router;
mod admit;
mod body;
mod body_seen;
mod caller;
mod doors;
mod figures;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod headers;
mod house;
mod http;
mod mcp;
mod metrics;
mod office;
mod openapi;
mod patient;
mod payment;
mod peer;
mod problem;
mod query;
mod render;
mod router;
mod server;
mod shape;
mod upload;
mod witness;

pub use admin_router::admin_router;
pub use doors::DoorRules;
pub use house::{ExecMode, House, HouseParts, Pulse, Resource, ServiceInfo, TokenDoor, ToolSurface};
pub use mcp::{PipeError, serve_pipe, serve_upstream_pipe};
pub use metrics::{Looker, Metrics, Reading, ReadingKind};
pub use office::{Office, OfficeParts, Published, RuleDesk, RuleFault, RuleStanding};
pub use openapi::{admin_document, document as openapi_document};
pub use peer::Peer;
pub use render::{ExecWords, ExecuteWords, OwnWords};
pub use router::router;
pub use server::{OpenConnections, ServerError, ServerLimits, serve, serve_admin, serve_one};
pub use witness::{WitnessDesk, WitnessError, witness_router};
