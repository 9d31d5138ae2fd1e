//! What can be run: built-in tools, languages in the jail, one static registry.
//!
//! Must never load code at run time, and never decides whether something may run.

mod action;
mod arguments;
pub mod builtin;
mod cancel;
mod catalogue;
pub mod code;
mod compute;
mod guest_json;
mod interpreter;
mod json_schema;
mod names;
mod outbound;
mod own_thread;
mod port;
mod pure;
mod registry;
mod unlocked;
pub mod upstream;
mod workspace;

#[cfg(any(test, fuzzing))]
pub use interpreter::fuzz;

pub use action::{
    Action, ActionEffect, ActionParts, ActionSpec, BadAction, BadSecret, CommandSpec, HttpSpec, KindSpec,
    Secret, Secrets,
};
pub use cancel::{Cancel, Knot};
pub use catalogue::{Catalogue, Languages};
pub use compute::{TOOL_WORKER_ARGUMENT, Workers, tool_worker_main};
pub use interpreter::{Interpreter, Profiles, file_json, rich_results, spoken};
pub use names::{BLOCKED, Behind, Blocked, TOOLS, ToolNames};
pub use outbound::{Courier, CourierError, Delivery, Message, Reach};
pub use own_thread::on_own_thread;
pub use port::{BadCall, Call, Description, NotStarted, Prepared, RunContext, RunFault, Tool};
pub use registry::{Registry, RegistryError, Toolbox};
pub use unlocked::Unlocked;
pub use workspace::{BadPath, Copied, WorkspaceError, WorkspaceFile, WorkspacePath, Workspaces, copied};
