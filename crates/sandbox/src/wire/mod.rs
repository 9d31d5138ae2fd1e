//! The messages between client and helper: fixed size, typed, one direction each, descriptors beside them; and what
//! goes with them in memory files. Whoever reads treats the other side as hostile: a message that does not parse ends
//! the link.

mod message;
mod parcel;
mod sheet;

pub(crate) use message::{
    Counters, End, FromBroker, FromHelper, FromRun, FromSession, Over, ToBroker, ToHelper, ToParent, ToRun,
    ToSession,
};
pub(crate) use parcel::{read_files, write_end, write_file};
pub(crate) use sheet::write_sheet;
