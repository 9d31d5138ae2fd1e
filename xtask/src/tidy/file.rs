//! One text file of the project, as the rules see it.

use crate::tidy::lex;

/// A text file of the project.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root of the work tree, with `/` between parts.
    pub(crate) path: String,
    /// Its whole text.
    pub(crate) text: String,
    /// For Rust, [`lex::code_only`] of the text; empty for everything else.
    pub(crate) code: String,
}

impl SourceFile {
    /// A file with this path and text.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with(".rs") { lex::code_only(&text) } else { String::new() };
        Self { path, text, code }
    }

    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The name without its extension.
    pub(crate) fn stem(&self) -> &str {
        self.name().rsplit_once('.').map_or(self.name(), |(stem, _)| stem)
    }

    /// Where the unit tests at the end of a Rust file start, as an offset; the file's end if there are none.
    pub(crate) fn tests_start(&self) -> usize {
        self.code
            .match_indices("#[cfg(test)]")
            .map(|(at, found)| (at, self.code[at + found.len()..].trim_start()))
            .find(|(_, rest)| rest.starts_with("mod ") && rest.contains('{'))
            .map_or(self.text.len(), |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_name_and_a_stem() {
        let file = SourceFile::new("a/b/capture.rs", "");
        assert_eq!((file.name(), file.stem(), file.is_rust()), ("capture.rs", "capture", true));
        assert!(!SourceFile::new(".ci/run", "").is_rust());
    }

    #[test]
    fn unit_tests_are_found_only_where_they_are_code() {
        let file =
            SourceFile::new("a.rs", "// #[cfg(test)] mod x {\nfn a() {}\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(&file.text[file.tests_start()..], "#[cfg(test)]\nmod tests {}\n");
        let none = SourceFile::new("a.rs", "#[cfg(test)]\nmod tests;\n");
        assert_eq!(none.tests_start(), none.text.len());
    }
}
