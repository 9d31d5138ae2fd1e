//! The record in one SQLite file, for one machine.
//!
//! `open` makes the file and its threads, `store` is the port over them. One `writer` thread per process runs
//! the writes of `claim` (with `holds` and `payers`), `finish`, `settle`, `parking`, `grants`, `own_keys`, `audit`, `log` and `forget` and flushes many with
//! one commit; `readers` never wait for it, and `checkpoint` tidies up in pauses. `rows` turns rows into records, `instances`
//! says which process is alive, `money` lists it, `examine` shows everything to whoever checks it, `copy` makes a copy.

mod audit;
mod changes;
mod checkpoint;
mod claim;
mod copy;
mod cosigned;
mod examine;
mod fault;
mod finality;
mod finish;
mod forget;
mod grants;
mod holds;
mod instances;
mod limits;
mod list;
mod log;
mod migrate;
mod money;
mod open;
mod own_keys;
mod parking;
mod payers;
mod readers;
mod rows;
mod settle;
mod store;
mod watch;
mod writer;

pub(crate) use open::{open, open_to_read};
