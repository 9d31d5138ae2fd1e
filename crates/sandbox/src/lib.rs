//! The jail and the interpreters in it: a library of its own, with no idea of agents, money or HTTP.
//!
//! ```text
//! client (unprivileged) ⇄ helper (no network, no keys) → stem (pivoted, own user namespace) → one init a run → interpreter
//! ```
//!
//! A program that uses it calls [`helper_main`] first thing in `main` when it was started with
//! [`HELPER_ARGUMENT`]; otherwise it calls [`spawn_helper`] before it starts a thread or opens a socket, and hands
//! the link to [`Sandbox::start`]. [`Sandbox::run`] blocks until the verdict; many threads may call it at once.
//!
//! A [`Session`] is an interpreter that lives on: one run after the other, each with a verdict of its own, in one jail and
//! one set of limits, until it is closed, idles, is there for too long, or a run meets a limit.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use execgate_sandbox::{Cell, Config, RunError, Sandbox, SessionRequest, spawn_helper};
//!
//! # fn example(config: Config) -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::start(spawn_helper()?, config)?;
//! let mut session = sandbox.open_session(SessionRequest {
//!     idle: Duration::from_secs(60),
//!     ..SessionRequest::new("python")
//! })?;
//! session.run(Cell::new("data = [3, 1, 2]"))?;
//! let before = session.checkpoint()?;
//! session.run(Cell::new("data.clear()"))?;
//! // Memory goes back; files and what was started do not.
//! session.restore(&before)?;
//! assert_eq!(session.run(Cell::new("sorted(data)"))?.value.as_deref(), Some("[1, 2, 3]"));
//! match session.run(Cell::new("while True: pass")) {
//!     // Its deadline, and with it the session.
//!     Ok(run) => println!("{:?}, {:?}", run.verdict, session.info().end),
//!     Err(RunError::SessionEnded { end }) => println!("{end}"),
//!     Err(error) => return Err(error.into()),
//! }
//! session.close();
//! # Ok(())
//! # }
//! ```
//!
//! It must never run guest code outside a jail, weaken a layer in silence, or let a run outlive its verdict.
//!
//! Read on in `client` (what the caller's side does), `helper` and `stem` (what the privileged side does),
//! [`execgate_forkpoint`] (what makes a jail, and waits in it), `seccomp` and `cgroup`, and [`image`] (the guest's root).

mod cgroup;
mod client;
mod config;
mod egress;
mod enforced;
mod error;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod helper;
pub mod image;
mod keeper;
mod limits;
mod network;
mod offspring;
mod outcome;
mod probe;
mod request;
mod seccomp;
mod session;
mod stem;
mod wire;

pub use client::{
    Checkpoint, Depth, HelperLink, Sandbox, Session, Slot, Waiting, spawn_helper, spawn_helper_of,
};
pub use config::{
    Config, EgressMeans, ImageChecks, ImageRoot, Language, Rotation, SessionStart, Source, Tier, TierChoice,
    VerdictBy, Warm,
};
pub use egress::{
    BadRule, Decision, Egress, EgressRules, NetworkReport, NetworkSight, Outcome, Special, special,
};
pub use enforced::{Enforced, InterpreterStart};
pub use error::{RunError, SandboxError};
pub use execgate_forkpoint::jail::Step;
pub use files::{BadPath, Collect, CollectedFile, NotCollected, PlacedFile};
pub use helper::{HELPER_ARGUMENT, helper_main};
pub use keeper::{KEEPER_ARGUMENT, Kept, keeper_main};
pub use limits::Limits;
pub use network::Network;
pub use outcome::{Exception, LimitKind, Run, Usage, Verdict};
pub use probe::{Check, Report, TierReport, probe};
pub use request::{Cancel, Keep, Request, Sink, Stdin, Stream};
pub use session::{Cell, SessionEnd, SessionInfo, SessionRequest};
