//! `file_write`: writes a file of its caller, once an approval has unlocked it.

mod tool;

pub use tool::FileWrite;
