//! The record in one SQLite file, for one machine.
//!
//! `open` makes the file and its threads, `store` is the port over them. One `writer` connection per process, which has a thread
//! and lends itself to whoever may block, runs the writes of `claim` (with `holds` and `payers`), `finish`, `settle`, `parking`, `grants`, `own_keys`, `audit`, `log` and `forget` and flushes a `batch` of them with
//! one commit; `readers` never wait for it, `checkpoint` tidies up in pauses, and keeps the WAL `ahead` of them. `rows` turns rows into records, `instances`
//! says which process is alive, `money` lists it, `examine` shows everything to whoever checks it, `copy` makes a copy.

mod ahead;
mod audit;
mod batch;
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
