//! The hostile calls.

mod hostile;
