//! Tools behind the gates (the SecureExec surface): `POST /exec/tool`, `/exec/simulate`, `/exec/batch`,
//! `GET /exec/tools`.

mod batch;
mod call;
mod list;
mod run;

pub(crate) use batch::batch;
#[cfg(any(test, fuzzing))]
pub(crate) use call::{Common, read_batch, read_call};
pub(crate) use list::tools;
pub(crate) use run::{simulate, tool};
