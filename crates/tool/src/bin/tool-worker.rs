//! The worker as a program of its own, for programs that cannot start themselves anew (such as this crate's tests).

use std::process::ExitCode;

fn main() -> ExitCode {
    execgate_tool::tool_worker_main()
}
