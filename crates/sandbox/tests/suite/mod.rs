//! One file a promise.

mod escape;
mod isolation;
mod leaks;
mod lifetime;
mod limits;
mod outcomes;
mod python;
mod refusals;
mod tiers;
mod world;
