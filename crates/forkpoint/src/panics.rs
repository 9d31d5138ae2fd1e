//! Makes a panic the end of a process. Unwinding could lead a stem or an init back into code that is not its own.

use std::panic;

use crate::sys;

/// Whether a panic may say where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// The helper's standard error is the operator's.
    OnStderr,
    /// A stem's or an init's standard error may be the guest's.
    Nobody,
}

/// Makes a panic the end of this process and of whatever it forks, at once.
pub fn die_of_panics(tell: Tell) {
    const EXIT_PANIC: i32 = 101;
    panic::set_hook(Box::new(move |info| {
        if tell == Tell::OnStderr {
            let text = format!("the sandbox helper has a fault: {info}\n");
            // There is nobody left to tell that this failed.
            let _told = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
        }
        sys::exit_now(EXIT_PANIC)
    }));
}
