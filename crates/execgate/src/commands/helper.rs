//! The hidden starts of this binary: as the sandbox's helper, as the keeper of a program, and as a worker of the tools. Must not parse arguments, read
//! the environment or open anything: it is called before all that.

use std::process::ExitCode;

/// Becomes the helper, a keeper or a worker, if that is how this process was started.
pub(crate) fn if_called() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if first == execgate_sandbox::HELPER_ARGUMENT {
        return Some(execgate_sandbox::helper_main());
    }
    if first == execgate_sandbox::KEEPER_ARGUMENT {
        return Some(execgate_sandbox::keeper_main());
    }
    (first == execgate_tool::TOOL_WORKER_ARGUMENT).then(execgate_tool::tool_worker_main)
}
