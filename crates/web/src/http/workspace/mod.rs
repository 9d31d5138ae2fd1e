//! `/workspace`: the files that a caller has had written by `file_write`. For their owner alone.

mod file;
mod list;
mod owner;

pub(crate) use file::{delete, show};
pub(crate) use list::list;
