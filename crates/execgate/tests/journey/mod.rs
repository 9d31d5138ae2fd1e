//! One file a journey.

mod command_line;
mod crash;
mod gate;
mod help;
mod outcomes;
mod receipts;
mod server;
