//! The transparency log, for anybody: its entries are salted digests, which say nothing by themselves. Laid out as C2SP
//! tlog-tiles says, so that clients and mirrors of others read it.

mod public;
mod write;

pub(crate) use public::{checkpoint, consistency, named_checkpoint, named_tile, tile};
pub(crate) use write::{Named, ask_name, write_checkpoint, write_consistency, write_tile};
