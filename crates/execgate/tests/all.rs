//! Journeys through the real binary: a real gateway, a real jail, a real record, real signals.
//!
//! They need what `execgate doctor` calls the `jail` tier, and fail where it cannot be had.

#[cfg(test)]
mod journey;
