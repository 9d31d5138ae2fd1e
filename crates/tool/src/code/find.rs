//! Which languages are there, and which one is meant.

use std::path::Path;

use execgate_sandbox::Language;

use super::all;

/// The languages that an image has the interpreters of.
#[must_use]
pub fn present(root: &Path) -> Vec<Language> {
    all().iter().filter_map(|definition| definition.language_in(root)).collect()
}

/// Which of a language's warm interpreters suits the code best.
#[must_use]
pub fn suited(language: &str, code: &str) -> u16 {
    all().iter().find(|known| known.name() == language).map_or(0, |known| known.suited_to(code))
}

/// The language that a caller means by a name, and the words for its runner.
#[must_use]
pub fn named(asked: &str) -> Option<(String, Vec<String>)> {
    let asked = asked.trim().to_lowercase();
    all().iter().find_map(|known| Some((known.name().to_owned(), known.answers_to(&asked)?)))
}
