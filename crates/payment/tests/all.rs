//! Tests of the rails with programs of others.

#[cfg(test)]
mod suite;
