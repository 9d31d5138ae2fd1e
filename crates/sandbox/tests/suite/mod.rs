//! One file a promise.

mod cost;
mod isolation;
mod leaks;
mod lifetime;
mod limits;
mod outcomes;
mod refusals;
mod tiers;
mod world;
