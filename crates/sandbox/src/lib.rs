//! The jail and the interpreters in it, usable as a library of its own.

pub mod image;
