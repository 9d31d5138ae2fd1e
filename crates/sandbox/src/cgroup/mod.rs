//! Control groups behind one port with three back ends: v2, v1, none. One group a slot, kept between runs.
//!
//! Never freezes (a kill to a frozen v1 task hangs), never touches a group that it did not make.

mod discover;
mod files;
mod port;
mod v1;
mod v2;

pub(crate) use port::Cgroups;
