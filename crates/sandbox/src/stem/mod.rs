//! How the helper's clone becomes a stem: it enters its jail, and then serves by itself or executes an interpreter
//! that does. What a stem is from then on is the fork-point library's.

mod become_stem;
mod enter;

pub(crate) use become_stem::{Birth, Interpreter, become_stem};
