//! The languages. Each is a folder: a TOML of how its interpreter is started, a runner script, a smoke sample.
//! A new one is a folder and a line here.

mod bash;
mod definition;
mod python;

use execgate_sandbox::Language;

/// Every language. The definitions are part of the binary, and a test reads each of them.
#[must_use]
pub fn all() -> Vec<Language> {
    [bash::DEFINITION, python::DEFINITION]
        .into_iter()
        .filter_map(|(toml, scripts)| definition::read(toml, &scripts).ok())
        .collect()
}
