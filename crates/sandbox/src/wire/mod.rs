//! The messages between client, helper, stem and init: fixed size, typed, one direction each, descriptors
//! beside them. Whoever reads treats the other side as hostile: a message that does not parse ends the link.

mod codec;
mod message;
mod packet;
mod parcel;
mod sheet;

pub(crate) use codec::{Malformed, Reader, Writer};
pub(crate) use message::{
    Counters, End, FromHelper, FromRun, FromStem, Message, Report, Spawn, ToHelper, ToRun, ToStem,
};
pub(crate) use packet::{PACKET_BYTES, Received, pair, read_record, receive, send, text_memfd, text_of};
pub(crate) use parcel::{read_files, write_end, write_file};
pub(crate) use sheet::{Sheet, write_sheet};
