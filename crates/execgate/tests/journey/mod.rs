//! One file a journey.

mod actions;
mod admin;
mod audit;
mod bad_input;
mod code;
mod command_line;
mod crash;
mod docs;
mod framing;
mod gate;
mod grants;
mod help;
mod keys;
mod log;
mod network;
mod outcomes;
mod packages;
mod policy;
mod profiles;
mod receipts;
mod recipes;
mod server;
mod tokens;
mod witness;
