//! The policy file from the outside: what is refused at load, what is decided, and what always holds.

#[cfg(test)]
mod policy;
