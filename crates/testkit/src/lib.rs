//! The worlds that tests are run in.
