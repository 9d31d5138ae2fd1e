//! **Administer**: who may ask, whether anything runs at all, and what became of what is unknown.
//!
//! No room of the corridor: no run comes through here. Every change leaves a leaf in its own transaction.

mod error;
mod grant;
mod keyring;
mod office;
mod said;
mod words;

pub use error::AdministerError;
pub use grant::NewGrant;
pub use keyring::{KeySafe, Keyring, SafeError, log_names, ring};
pub use office::{Administer, Keyed, Revoked};
pub use said::By;
pub use words::{End, label, length, role, text, wallet};
