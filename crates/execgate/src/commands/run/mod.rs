//! `execgate run`: code in the jail, without a server.
//!
//! Exit codes (CONTRACTS 3): 0 a value, 1 an exception, n the code's own, 124 timeout, 137 a limit or a kill,
//! 2 a wrong use of the command line or a fault of ours.

mod command;
mod outcome;
mod request;
mod save;

pub(crate) use command::Run;
