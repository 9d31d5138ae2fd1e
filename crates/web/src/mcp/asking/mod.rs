//! What servers of others ask of the clients that call them (sampling, elicitation, roots), handed on where the operator has
//! allowed it for the server and the rules for the caller.
//!
//! ```text
//! revisions before 2026-07-28   a request in the answer's stream, or on the pipe → an answer by its name
//! 2026-07-28                    the call is answered by `input_required`, held, and goes on when it is made again
//! ```
//!
//! A question goes to whoever has made the call that it belongs to and to nobody else; its answer comes from that client, in
//! that session, by a name that nobody can guess. Every change here needs a second reader.

mod book;
mod held;
mod line;
mod respondent;
mod stream;

pub(crate) use book::Questions;
pub(super) use book::{Said, Takes, takes};
pub(super) use held::{begin, is_held, resume};
pub(super) use line::{filtered, merged};
pub(super) use respondent::{AskLine, Client, QUESTIONS_MAX};
pub(super) use stream::answered;
