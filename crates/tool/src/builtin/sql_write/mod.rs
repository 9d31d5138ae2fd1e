//! `sql_write`: one statement in the operator's own database (CONTRACTS 4). Blocked until an approval unlocks it.
//!
//! ```text
//! prepare: one statement, of those that write rows or tables; its parameters
//! connect: the operator's DSN alone, over TLS unless it is on this machine
//! BEGIN, limits of time, the statement, COMMIT: an end that is lost behind the COMMIT is unknown
//! ```

mod database;
mod parameter;
mod statement;
mod tls;
mod tool;

pub use database::{BadDatabase, Database};
pub use tool::SqlWrite;
