//! One file a journey.

mod actions;
mod admin;
mod audit;
mod backup;
mod bad_input;
mod code;
mod command_line;
mod crash;
mod docs;
mod framing;
mod fsck;
mod full_disk;
mod gate;
mod grants;
mod help;
mod kills;
mod network;
mod outcomes;
mod packages;
mod policy;
mod profiles;
mod receipts;
mod server;
mod tokens;
