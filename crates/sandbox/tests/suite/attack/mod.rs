//! What a hostile program tries, one file a class: each a program, the kernel's answer, and a host that is as it was.

mod canary;
mod files;
mod host;
mod lifetime;
pub(super) mod list;
mod protocol;
mod reach;
mod resources;
mod surface;
mod template;
