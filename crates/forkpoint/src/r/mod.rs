//! R: what it calls of this library, and what of R's own this library stands before.

mod random;
mod routines;
