//! One single-use jail: what the init process does between its clone and the interpreter's exec.
//!
//! The order of the layers is fixed ([`layers::build`]) and asserted by a recorder. The init runs no guest
//! code; of the request it reads the arguments that it passes on and the files that it puts in place, as the guest's
//! user and behind every layer.
//!
//! Sole boundary between guest code and the host. Every change here needs a second reader.

mod cell;
mod init;
mod kernel;
mod landlock;
mod layers;
mod placing;
mod proxied;
mod resident;
mod session;
mod step;

pub(crate) use cell::write_frames;
pub use cell::{Cell, hush};
pub use init::{Network, Plan, Program, Start, become_init};
pub use kernel::{Kernel, Real};
pub use landlock::{TCP_SINCE, Tcp};
pub use resident::{WITH_FRAMES, WITHOUT_FRAMES, has_files, take_request};
pub(crate) use session::socket;
pub use session::{Around, Copies, Kind, is_session, look_for_run};
pub use step::{At, Step, StepError};

/// Where the init finds what it was handed, after it has arranged its descriptors.
pub mod place {
    use std::os::fd::RawFd;

    // The code is at 3, where the languages' definitions look for it.
    /// Of a resident, until it is handed its run: then the code is there.
    pub const HAND_OUT: RawFd = 3;
    /// Of an interpreter that waits: this library. Its frames are there later.
    pub const LIBRARY: RawFd = 4;
    pub const FRAMES: RawFd = 4;
    pub const SHEET: RawFd = 5;
    /// Of a resident's jail, whose sheet comes later: what its init becomes.
    pub const REAPER: RawFd = 5;
    pub const SCRATCH: RawFd = 6;
    pub const REPORT: RawFd = 7;
    /// Index of the report pipe in the message.
    pub const REPORT_INDEX: usize = 7;
    /// How many descriptors of the message come from the client.
    pub const SCRATCH_INDEX: usize = 6;
    /// No library that is in an interpreter when it becomes a stem has one with this number or above; a pool's limit of
    /// descriptors leaves room above it.
    pub const ABOVE_LIBRARIES: RawFd = 48;
    /// How many descriptors are arranged; cgroups follow them in the message.
    pub const COUNT: usize = 8;
}

/// The first user and group id of guests, inside; each slot has the next one.
pub const GUEST_ID_FIRST: u32 = 1000;

/// Where the guest of a run with a proxy finds it, on its own loopback.
pub const PROXY_PORT: u16 = 3128;

#[cfg(test)]
mod tests;
