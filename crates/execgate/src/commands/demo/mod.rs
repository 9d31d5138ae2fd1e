//! `execgate demo`: a gateway of its own, one real thing on every surface, and a check that everything held.

mod client;
mod command;
mod steps;

pub(crate) use command::Demo;
