//! Rails on which no money moves: free mode.

mod free;

pub use free::Free;
