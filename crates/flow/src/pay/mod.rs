//! **Pay**: verifies the credential and holds the money; takes none.
//!
//! Only behind this door, once identity or payment is proven, is an earlier run of the same nonce looked up.

mod bought;
mod duplicates;
mod earlier;
mod hold;

pub use bought::Bought;
pub(crate) use bought::{Known, only_its_own};
pub(crate) use duplicates::Places;
pub use duplicates::{Duplicates, Guard, Place};
pub use earlier::Earlier;
pub use hold::Pay;
pub(crate) use hold::unless_lapsed;
