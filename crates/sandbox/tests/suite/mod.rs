//! One file a promise.

mod attack;
mod census;
mod checkpoints;
mod egress;
mod escape;
mod files;
mod hostile_sessions;
mod image_checks;
mod internet;
mod isolation;
mod javascript;
mod leaks;
mod lifetime;
mod limits;
mod network;
mod node_fork;
mod outcomes;
mod parts;
mod python;
mod r;
mod refusals;
mod rich;
mod sessions;
mod tiers;
mod tongues;
mod world;
