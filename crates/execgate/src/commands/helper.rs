//! The hidden start of this binary as the sandbox's helper. Must not parse arguments, read the environment or
//! open anything: it is called before all that.

use std::process::ExitCode;

/// Becomes the helper, if that is how this process was started.
pub(crate) fn if_called() -> Option<ExitCode> {
    let called = std::env::args_os().nth(1).is_some_and(|first| first == execgate_sandbox::HELPER_ARGUMENT);
    called.then(execgate_sandbox::helper_main)
}
