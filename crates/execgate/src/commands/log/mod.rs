//! `execgate log tail|export|new-origin`: the transparency log, for the operator.

mod command;
mod export;
mod new_origin;
mod tail;

pub(crate) use command::LogCommand;
