//! What makes a jail, and what runs in it before the guest does. Twice in the product: linked into the helper, whose
//! clone is the native stem; and as a shared library that the sandbox embeds and every warm interpreter loads.
//!
//! ```text
//! stem (native, or a warm interpreter) → one init a run → the interpreter: executed, or a resident fork of the stem
//! ```
//!
//! It never sees a byte of a request before the jail stands, decides no policy, and knows no client. Its parts are for
//! the sandbox alone: nothing here is an interface to anyone else.

mod bash;
#[doc(hidden)]
pub mod jail;
mod node;
#[doc(hidden)]
pub mod panics;
mod python;
mod r;
#[doc(hidden)]
pub mod stem;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod wire;
