//! A language as a tool: from a payload to a run in the jail, and from what the supervisor saw to a product.

mod bounds;
mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod payload;
mod product;
mod profiles;
mod rich;
mod tool;

pub use envelope::file_json;
pub(crate) use product::{ending, enforced};
pub use profiles::{Profiles, spoken};
pub use rich::results as rich_results;
pub use tool::Interpreter;
pub(crate) use tool::{run_in_jail, take_slot};
