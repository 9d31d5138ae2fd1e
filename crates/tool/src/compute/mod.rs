//! What only computes: on threads where its bounds are in the code, and in processes that can be killed where they are
//! not.
//!
//! A program that serves the tools calls [`tool_worker_main`] first thing in `main` when it was started with
//! [`TOOL_WORKER_ARGUMENT`].

mod frame;
mod product;
mod tool;
mod wall;
mod worker;
mod workers;

pub(crate) use product::{Ended, Raised, timed_out};
pub(crate) use tool::{Computation, Computer, Place};
pub(crate) use wall::{WALL_DEFAULT, WALL_MAX, wall};
pub use worker::{TOOL_WORKER_ARGUMENT, tool_worker_main};
pub use workers::Workers;
