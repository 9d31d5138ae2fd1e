//! The hostile calls, and an internet of their own.

mod hostile;
mod internet;
mod sql;
