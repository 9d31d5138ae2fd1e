//! Words that this house does not use, each with the one to use instead.
//!
//! Those that would be found in this file itself are written in halves.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;
use crate::tidy::lex::{find_words, is_word_char, line_of, name_at};

/// Ends of type names that say nothing of what the type is.
const EMPTY_SUFFIXES: [(&str, &str); 4] = [
    ("Manager", "name what it does: `Pool`, `Registry`, `Supervisor`"),
    ("Helper", "name the noun that it is"),
    ("Utils", "put each function where its noun lives"),
    ("Util", "put each function where its noun lives"),
];

/// Names that address the sandbox's privileged process, which is called the helper.
const ROLE_NAMES: [&str; 3] = ["Helper", "ToHelper", "FromHelper"];

/// Where that process lives.
const ROLE_HOME: &str = "crates/sandbox/";

/// Words that declare a type.
const DECLARATIONS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

/// Names of files that collect what belongs elsewhere.
const EMPTY_FILES: [&str; 5] = ["helpers.rs", "utils.rs", "util.rs", "misc.rs", "common.rs"];

/// Words of prose and code, in lower case.
const BANNED: [(&str, &str); 2] =
    [(concat!("white", "list"), "allow-list"), (concat!("black", "list"), "block list")];

/// Folders of one developer's machine.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/fa", "rm/")];

/// Names say what a thing is.
pub(crate) fn names(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if EMPTY_FILES.contains(&file.name()) {
        findings.push(Finding::error(
            &file.path,
            1,
            "name",
            "name the file by the noun or verb that it holds",
        ));
    }
    for declaration in DECLARATIONS {
        for at in find_words(&file.code, declaration) {
            let name = name_at(&file.code, at + declaration.len());
            if ROLE_NAMES.contains(&name) && file.path.starts_with(ROLE_HOME) {
                continue;
            }
            if let Some((suffix, instead)) = EMPTY_SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix))
            {
                let message = format!("`{name}` ends in `{suffix}`: {instead}");
                findings.push(Finding::error(&file.path, line_of(&file.code, at), "name", message));
            }
        }
    }
    for at in find_words(&file.code, "fn").filter(|at| name_at(&file.code, at + 2) == "process") {
        let message = "`process` says nothing: name the verb";
        findings.push(Finding::error(&file.path, line_of(&file.code, at), "name", message));
    }
    findings
}

/// One word for each idea, and no words that exclude people.
pub(crate) fn prose(file: &SourceFile) -> Vec<Finding> {
    let lower = file.text.to_ascii_lowercase();
    let mut findings = Vec::new();
    for (word, instead) in BANNED {
        for (at, _) in lower.match_indices(word) {
            let message = format!("say `{instead}` instead of `{word}`");
            findings.push(Finding::error(&file.path, line_of(&lower, at), "word", message));
        }
    }
    findings
}

/// No path of the machine that the project happened to be written on.
pub(crate) fn machine_paths(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in MACHINE_PATHS {
        for (at, _) in file.text.match_indices(path) {
            let is_inside = file.text[..at]
                .chars()
                .next_back()
                .is_some_and(|before| is_word_char(before) || ".-}".contains(before));
            if !is_inside {
                let message = format!("`{path}` is a folder of one machine: name the place by what it is");
                findings.push(Finding::error(&file.path, line_of(&file.text, at), "machine-path", message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> SourceFile {
        SourceFile::new("crates/a/src/b.rs", text)
    }

    #[test]
    fn empty_names_are_caught() {
        for code in
            ["pub struct JailManager {", "enum RunHelper {}", "trait StringUtils {}", "pub fn process() {}"]
        {
            assert_eq!(names(&rust(code)).len(), 1, "{code}");
        }
        assert_eq!(names(&SourceFile::new("a/src/helpers.rs", "")).len(), 1);
    }

    #[test]
    fn names_that_say_something_pass() {
        let code = "struct HelperLink; mod helper; fn process_id() {} use std::process; // struct Manager";
        assert!(names(&rust(code)).is_empty());
        assert!(names(&SourceFile::new("a/src/helper.rs", "")).is_empty());
    }

    #[test]
    fn the_helper_is_a_role_in_the_sandbox_only() {
        let count = |path: &str, code: &str| names(&SourceFile::new(path, code)).len();
        assert_eq!(count("crates/sandbox/src/wire.rs", "pub enum ToHelper {}"), 0);
        assert_eq!(count("crates/web/src/wire.rs", "pub enum ToHelper {}"), 1);
        assert_eq!(count("crates/sandbox/src/wire.rs", "struct MountHelper;"), 1);
    }

    #[test]
    fn banned_words_are_caught_wherever_they_stand() {
        for (word, _) in BANNED {
            assert_eq!(prose(&SourceFile::new("a.md", format!("a\nthe {word}ed ones"))).len(), 1);
            assert_eq!(prose(&rust(&format!("let {} = 1;", word.to_uppercase()))).len(), 1);
        }
        assert!(prose(&rust("let allow_list = 1; // block list")).is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_caught() {
        for path in MACHINE_PATHS {
            assert_eq!(machine_paths(&rust(&format!("//! see `{path}main`"))).len(), 1);
            assert!(machine_paths(&rust(&format!("let a = \"home{path}x\";"))).is_empty());
        }
    }
}
