//! The shared contract: what every back end promises. A back end implements [`Backend`] and names itself in
//! `promises::every_promise!`.

pub(crate) mod audit;
pub(crate) mod claiming;
pub(crate) mod ending;
pub(crate) mod grants;
pub(crate) mod limits;
pub(crate) mod living;
pub(crate) mod log;
mod model;
pub(crate) mod money;
pub(crate) mod own_keys;
pub(crate) mod parking;
pub(crate) mod payers;
pub(crate) mod promises;
pub(crate) mod reading;
mod runs;
pub(crate) mod walk;

pub(crate) use promises::every_promise;
pub(crate) use runs::{Backend, approval, block_on, claim, created, digest, finish, held, run_id};
