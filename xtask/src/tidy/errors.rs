//! What error texts look like: they are parts of a longer sentence.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;
use crate::tidy::lex::line_of;

/// Marks the start of an error's text.
const ATTRIBUTE: &str = "#[error(";

/// `#[error("…")]` texts begin in lower case and end without a full stop.
pub(crate) fn texts(file: &SourceFile) -> Vec<Finding> {
    let starts = file.code.match_indices(ATTRIBUTE).map(|(at, found)| (at, at + found.len()));
    starts
        .filter_map(|(at, inside)| Some((line_of(&file.code, at), text_at(file, inside)?)))
        .filter_map(|(line, text)| Some(Finding::error(&file.path, line, "error-text", fault_of(text)?)))
        .collect()
}

/// The string literal right behind the bracket; `None` for `transparent` and the like.
fn text_at(file: &SourceFile, inside: usize) -> Option<&str> {
    let code = file.code.get(inside..)?;
    let open = inside + code.find(|letter: char| !letter.is_whitespace())?;
    if !file.code[open..].starts_with('"') {
        return None;
    }
    let length = file.code[open + 1..].find('"')?;
    file.text.get(open + 1..open + 1 + length)
}

fn fault_of(text: &str) -> Option<String> {
    let mut letters = text.chars();
    let first = letters.next()?;
    let is_abbreviation = letters.next().is_some_and(|second| second.is_uppercase() || second.is_numeric());
    if first.is_uppercase() && !is_abbreviation {
        return Some(format!("begin `{text}` in lower case"));
    }
    let is_open = text.ends_with('.') && !text.ends_with("...");
    is_open.then(|| format!("end `{text}` without a full stop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        texts(&SourceFile::new("a.rs", format!("enum E {{\n    #[error({text})]\n    A,\n}}\n"))).len()
    }

    #[test]
    fn a_sentence_is_caught() {
        assert_eq!(count(r#""Failed to read""#), 1);
        assert_eq!(count(r#""failed to read.""#), 1);
        assert_eq!(count("\n        \"Failed to read {0}\"\n    "), 1);
    }

    #[test]
    fn a_part_of_a_sentence_passes() {
        for text in
            [r#""failed to read `{0}`""#, r#""JSON is not canonical""#, r#""{0} is no id""#, "transparent"]
        {
            assert_eq!(count(text), 0, "{text}");
        }
    }

    #[test]
    fn what_stands_in_a_comment_is_no_error_text() {
        assert!(texts(&SourceFile::new("a.rs", "// #[error(\"Bad.\")]\n")).is_empty());
    }
}
