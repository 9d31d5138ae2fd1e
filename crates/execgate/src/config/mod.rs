//! What the operator has set: flag > environment > file > default, one file per concern.
//!
//! Only this folder reads the environment.

mod actions;
mod approvals;
mod environment;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod identity;
mod issuers;
mod mpp;
mod network;
mod nodes;
mod paths;
mod payment;
mod secrets;
mod settings;
mod sql;
mod transparency;
mod upstreams;
mod upto;
mod webhook;
mod witnesses;

pub(crate) use actions::Actions;
pub(crate) use approvals::approver_names;
pub(crate) use environment::Environment;
pub(crate) use file::{DEFAULT, EgressSection, LogFormat, NetworkSetting, Switch, TierSetting};
pub(crate) use identity::Guarding;
pub(crate) use mpp::{ChallengeMethod, Challenges, TempoSettings};
pub(crate) use network::Outward;
pub(crate) use paths::{image_cache, sqlite_url};
pub(crate) use payment::Payment;
pub(crate) use secrets::of_file as secret_of_file;
pub(crate) use settings::{AnswersKept, AuditKept, Flags, Settings};
pub(crate) use sql::SqlSetting;
pub(crate) use transparency::Transparency;
pub(crate) use upstreams::{Declared, folders};
pub(crate) use webhook::{Webhook, WebhookSetting};
pub(crate) use witnesses::WitnessPlace;
