//! What can be run: built-in tools, languages in the jail, one static registry.
//!
//! Must never load code at run time, and never decides whether something may run.

pub mod builtin;
pub mod code;
mod envelope;
mod interpreter;
mod port;
mod pure;
mod registry;

pub use interpreter::Interpreter;
pub use port::{BadCall, Call, Cancel, Description, NotStarted, Prepared, RunContext, RunFault, Tool};
pub use registry::{Registry, RegistryError};
