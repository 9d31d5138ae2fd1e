//! Rails on which no money moves: free mode, and internal callers.

mod free;
mod unpaid;

pub use free::Free;
pub use unpaid::Internal;
