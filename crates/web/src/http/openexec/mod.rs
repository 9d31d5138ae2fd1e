//! The execution boundary (the OpenExec surface): `POST /execute`.

mod execute;

pub(crate) use execute::execute;
#[cfg(any(test, fuzzing))]
pub(crate) use execute::proposal;
