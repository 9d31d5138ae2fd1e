//! What helper, stem and init say to each other: fixed size, typed, one direction each, descriptors beside them.
//! Whoever reads treats the other side as hostile: a message that does not parse ends the link.

mod codec;
mod message;
mod packet;
mod sheet;

pub use codec::{Malformed, Reader, Writer};
pub use message::{
    FromProxy, FromResident, FromStem, Message, NetworkProfile, Report, Spawn, ToProxy, ToResident, ToStem,
    take_step,
};
pub use packet::{
    PACKET_BYTES, Received, pair, program_memfd, read_record, receive, send, text_memfd, text_of, write_at,
};
pub use sheet::Sheet;
