//! The languages. Each is a folder: a TOML of how its interpreter is started, a runner script, a smoke sample.
//! A new one is a folder and a line here.

mod definition;

use execgate_sandbox::Language;

/// Every language.
///
/// # Panics
/// Never: the definitions are part of the binary, and a test reads each of them.
#[must_use]
pub fn all() -> Vec<Language> {
    [
        definition::read(include_str!("bash/language.toml"), include_str!("bash/runner.sh")),
        definition::read(include_str!("python/language.toml"), include_str!("python/runner.py")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
