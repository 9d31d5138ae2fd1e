//! The promises of the port, kept by each back end, and what is particular to one.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod sqlite;
