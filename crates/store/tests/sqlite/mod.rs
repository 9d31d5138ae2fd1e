//! SQLite: the shared contract, and what only a file can break.

mod child;
mod contract;
mod disk;
mod file;
mod folder;
mod power;
mod processes;
