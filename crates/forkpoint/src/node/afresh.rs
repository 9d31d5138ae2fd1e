//! What a fork of a Node is given before its guest's code runs.

use std::io;

use super::module::Handle;
use super::{event_loop, random};
use crate::sys;

/// In the stem: finds what its forks will need.
pub(super) fn prepare(env: Handle) -> io::Result<()> {
    event_loop::prepare(env)?;
    random::prepare(env)
}

/// In a fork. One that cannot be given all of it is nobody's.
pub(super) fn begin() {
    if event_loop::begin().and_then(|()| random::begin()).is_err() {
        sys::exit_now(1);
    }
}
