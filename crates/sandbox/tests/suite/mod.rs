//! One file a promise.

mod attack;
mod census;
mod checkpoints;
mod escape;
mod files;
mod hostile_sessions;
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
mod sessions;
mod tiers;
mod world;
