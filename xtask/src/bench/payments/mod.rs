//! What a paid call costs: `POST /api/code-run`, beside the server of x402's makers, which runs the same code by a Python of
//! its own. Payments are signed before they are needed; both are settled by the same services; contenders take turns.
//!
//! The first two are asked about by a facilitator that answers at once and moves nothing: what is left is the servers
//! themselves. The next two share the facilitator of x402's makers, on a node; there that is what is waited for. The last
//! moves its money by a settler of its own, on that node.

mod case;
mod chain;
mod prompt;
mod shop;

pub(crate) use case::measure;
