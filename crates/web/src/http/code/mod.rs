//! Code for sale (the Agent402 and X402engine surfaces): `POST /api/code-run`, `/api/code-run-pro`, `/api/code/run`.

mod accept;
mod live;
mod proposal;
mod run;
mod text;

pub(crate) use proposal::language;
#[cfg(any(test, fuzzing))]
pub(crate) use proposal::read;
pub(crate) use run::{basic, is_on, plain, pro};
#[cfg(any(test, fuzzing))]
pub(crate) use text::joined;
