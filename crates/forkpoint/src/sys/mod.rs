//! Thin safe wrappers, one kernel call each, for what `rustix` does not offer or marks unsafe.
//!
//! This folder is the only place in the crate where `unsafe` is allowed. It holds no decision: it never
//! chooses an order, a path or a limit. The order of the calls lives in [`crate::jail`] and [`crate::stem`].

mod bpf;
mod descriptor;
mod large;
mod memory;
mod mount;
mod network;
mod process;
mod symbols;
mod threads;

pub use bpf::{SockFilter, install_filter, landlock_abi};
pub(crate) use descriptor::place_close_on_exec;
pub use descriptor::{
    arrange, borrow, close_below, close_from, close_on_exec_below, duplicate_inheritable, own_again, replace,
    take_inherited,
};
pub(crate) use large::{LARGE_PAGE, join, keep_small, map, open_reserved, replace_by_large, reserve, unmap};
pub use memory::cached_pages;
pub(crate) use memory::{OwnMemory, fill_gaps, fork_also, join_pages, make_own, make_room};
pub use mount::{AttrChange, mount_setattr};
pub use network::raise_loopback;
pub(crate) use process::before_forks;
pub use process::{
    CloneFlags, Cloned, clone_flags, clone_within, clone3, close_on_exec_from, execute, execve, exit_now,
    fork, hold_children, ignore_children, ignore_requests_to_end, reset_signals, restore_children,
    set_hostname, unshare, wait_any, wait_for_children,
};
pub(crate) use process::{flush_streams, without_pipe_signal};
pub(crate) use symbols::{find_function, keep_library, next_function, own_function, reseed};
pub(crate) use threads::{all_sleep, end_threads, other_threads};
