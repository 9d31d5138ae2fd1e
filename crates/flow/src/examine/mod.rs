//! **Examine**: whether the record holds together, told by whoever reads all of it.
//!
//! No room of the corridor, and it changes nothing. It believes what is signed and what is hashed, and holds every other
//! column against it. Memory does not grow with history but by some bits for each run; a record that is written to
//! meanwhile is no finding: what changed between two looks is looked at again.
//!
//! What is checked, in this order: the file, runs with their receipts (`run`), leaves (`leaves`), changes, what waits for people
//! (`waiting`), payments, limits, the tree of the log. Read on in `walk`, which is that list.

mod finding;
mod leaves;
mod marks;
mod money;
mod own_keys;
mod run;
mod waiting;
mod walk;

pub use finding::{Counts, Finding, Report, Rule, Step, Told};
pub use walk::{Examination, ExamineError};
