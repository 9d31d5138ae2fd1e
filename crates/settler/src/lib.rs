//! Back ends of [`execgate_payment::Facilitator`]: a remote service that speaks x402 ([`Remote`]), and one's own key
//! ([`Desk`]), which stands in a process of its own ([`serve`]) and is asked through a socket ([`Counter`]).
//!
//! [`Service`] is the way to services by which methods of the scheme `Payment` take money.
//!
//! `line` speaks HTTP, `rpc` asks a node, `ledger` reads what a chain says of an authorization (`permit2`
//! of one that Permit2 moves; `logs` seeks backwards), `contract` what a token says of itself, and
//! `finality` whether that stays so. `transaction` signs, `journal`
//! keeps what was signed before it is sent, and `work` sends, for a `desk` that has one key. Every change in `desk`, `work`, `journal` and
//! `transaction` needs a second reader.

mod abi;
mod contract;
mod counter;
mod desk;
mod finality;
mod journal;
mod ledger;
mod line;
mod logs;
mod pace;
mod permit2;
mod reason;
mod remote;
mod rpc;
mod service;
mod transaction;
mod work;

pub use contract::TokenError;
pub use counter::{Counter, SocketError, serve};
pub use desk::{Desk, DeskError, Manners};
pub use journal::JournalError;
pub use ledger::{FINAL_AFTER, Ledger};
pub use line::{Line, LineError};
pub use remote::Remote;
pub use rpc::{Rpc, RpcError};
pub use service::Service;
pub use transaction::{GasKey, KeyError};
