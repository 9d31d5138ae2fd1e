//! The administration door: what the operator asks of a gateway that runs, and of a record that none has open.

mod about;

pub(crate) use about::{health, openapi};
