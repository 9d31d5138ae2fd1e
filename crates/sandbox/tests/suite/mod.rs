//! One file a promise.

mod attack;
mod census;
mod escape;
mod files;
mod isolation;
mod javascript;
mod leaks;
mod lifetime;
mod limits;
mod outcomes;
mod parts;
mod python;
mod r;
mod refusals;
mod rich;
mod tiers;
mod world;
