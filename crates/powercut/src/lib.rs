//! A disk under SQLite that loses, at a power cut, what was not synced: in any order, and torn at its sectors.
//!
//! [`watch`] puts itself between SQLite and its files, for the whole process; nothing else changes, so that the real store
//! is what is tested. [`Disk::cut`] gives the files as they could be found after a cut at this moment. Nobody imports
//! this but tests.
//!
//! What it covers: bytes of files that SQLite writes, truncates and syncs. What it does not: names (a file that was made
//! is there, and one that was deleted is not), and a disk that acknowledges flushes that it has not done.
//!
//! `sys` has the only `unsafe` of the tests: a VFS is a C interface, and every crate that offers one for Rust leaves out
//! the shared memory that a WAL needs.

mod disk;
mod sys;

pub use disk::Disk;
pub use sys::watch;
