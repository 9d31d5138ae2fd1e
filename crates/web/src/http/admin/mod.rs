//! The administration door: what the operator asks of a gateway that runs, and of a record that none has open.

mod about;
mod answer;
mod audit;
mod changes;
mod fsck;
mod grants;
mod keys;
mod log;
mod metrics;
mod payments;
mod policy;
mod revenue;
mod runs;
mod switch;

pub(crate) use about::{health, openapi};
use answer::{answer, asked};
pub(crate) use audit::audit;
pub(crate) use changes::list as changes;
pub(crate) use fsck::fsck;
pub(crate) use grants::{
    create as create_grant, list as grants, revoke as revoke_grant, rotate as rotate_grant,
    set_policy as set_grant_policy, show as grant,
};
pub(crate) use keys::{list as keys, retire as retire_key, rotate as rotate_key};
pub(crate) use log::{checkpoint as log_checkpoint, list as log, new_origin, tile as log_tile};
pub(crate) use metrics::metrics;
pub(crate) use payments::{end as end_payment, list as payments, retry as retry_payments};
pub(crate) use policy::{reload as reload_policy, show as policy};
pub(crate) use revenue::list as revenue;
pub(crate) use runs::{list as runs, receipt, resolve, show as run};
pub(crate) use switch::{pause, resume};
