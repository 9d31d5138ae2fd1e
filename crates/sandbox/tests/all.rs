//! The sandbox as a library, against the real kernel: real namespaces, real limits, real kills.
//!
//! They need root and what `execgate doctor` calls the `jail` tier, and fail where it cannot be had. Bombs are
//! small, and every run has limits.

/// How many interpreters of a language wait for runs.
#[cfg(test)]
const RESIDENTS: usize = 0;

#[cfg(test)]
mod suite;
