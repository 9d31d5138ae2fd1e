//! The languages. Each is a folder: a TOML of how its interpreter is started, a runner script, code that tells its
//! version and packages, a smoke sample. A new one is a folder and a line here.

mod bash;
mod definition;
mod find;
mod javascript;
mod python;
mod r;

use std::sync::LazyLock;

use definition::Scripts;

pub use definition::Definition;
pub use find::{named, present, suited};

/// The TOML and the scripts of each.
const LANGUAGES: &[(&str, Scripts)] =
    &[bash::DEFINITION, javascript::DEFINITION, python::DEFINITION, r::DEFINITION];

/// Every language. The definitions are part of the binary, and a test reads each of them.
#[must_use]
pub fn all() -> &'static [Definition] {
    static ALL: LazyLock<Vec<Definition>> = LazyLock::new(|| {
        LANGUAGES.iter().filter_map(|(toml, scripts)| definition::read(toml, *scripts).ok()).collect()
    });
    &ALL
}
