//! The tools over their port, with real workers.

#[cfg(test)]
mod suite;
