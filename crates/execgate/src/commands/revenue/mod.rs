//! `execgate revenue`: what was earned, from the record.

mod book;
mod command;
mod csv;

pub(crate) use command::Revenue;
