//! `cargo xtask soak vm`: the suite of the sandbox on kernels and userlands that this machine does not have.
//!
//! Debian's cloud kernels are booted under QEMU's software emulation, over a disk that `mmdebstrap` has filled, with a
//! second disk that holds the tests. [`command`] is the order of things, [`machine`] the list of what is booted,
//! `guest/` what runs inside.

mod boot;
mod command;
mod disk;
mod kernel;
mod machine;
mod programs;
mod told;
mod userland;

pub(crate) use command::{Args, run};
