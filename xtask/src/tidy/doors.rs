//! `mod.rs` and `lib.rs` are door signs: they say what is behind them and hold no logic.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;
use crate::tidy::lex::{find_words, line_of, name_at};
use crate::tidy::tree::Tree;

/// Functions that a door sign may hold: the explicit list of what is behind it, and the choice from it.
const REGISTRIES: [&str; 2] = ["all", "open"];

/// No function with a body stands in a door sign, except a registry. The `lib.rs` of a crate that has no
/// other file is not a door, and a trait's methods without a body are no logic.
pub(crate) fn logic(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().filter(|file| is_door(tree, file)).flat_map(logic_in).collect()
}

fn is_door(tree: &Tree, file: &SourceFile) -> bool {
    match file.name() {
        "mod.rs" => true,
        "lib.rs" => {
            let folder = file.path.trim_end_matches("/lib.rs");
            let (files, folders) = tree.entries(folder);
            files.len() > 1 || !folders.is_empty()
        }
        _ => false,
    }
}

fn logic_in(file: &SourceFile) -> Vec<Finding> {
    let code = &file.code[..file.tests_start()];
    find_words(code, "fn")
        .map(|at| (at, name_at(code, at + 2)))
        .filter(|(at, name)| !name.is_empty() && !REGISTRIES.contains(name) && has_body(&code[*at..]))
        .map(|(at, name)| {
            let message = format!("`{}` is a door sign: move `fn {name}` to a file of its own", file.name());
            Finding::error(&file.path, line_of(code, at), "door", message)
        })
        .collect()
}

/// Whether a signature ends in `{`: a `;` within brackets belongs to an array type.
fn has_body(signature: &str) -> bool {
    let mut depth = 0_usize;
    for letter in signature.chars() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return true,
            ';' if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(files: &[(&str, &str)]) -> usize {
        logic(&Tree::of(files)).len()
    }

    #[test]
    fn a_function_in_a_door_sign_is_caught() {
        assert_eq!(count(&[("a/mod.rs", "mod b;\nfn walk(a: [u8; 2]) -> u8 { 0 }")]), 1);
        assert_eq!(count(&[("a/src/lib.rs", "impl A { pub fn b(&self) {} }"), ("a/src/b.rs", "")]), 1);
    }

    #[test]
    fn registries_declarations_and_tests_are_no_logic() {
        let door = "//! fn said() {}\npub fn all() -> &'static [u8] { &[] }\nfn open(url: &str) {}\n\
                    trait T { fn a(&self, b: [u8; 4]) -> u8; }\ntype F = fn(u8) -> u8;\n\
                    #[cfg(test)]\nmod tests { fn helper() {} }\n";
        assert_eq!(count(&[("a/mod.rs", door)]), 0);
    }

    #[test]
    fn a_crate_of_one_file_has_no_door() {
        assert_eq!(count(&[("a/src/lib.rs", "fn b() {}"), ("a/tests/c.rs", "")]), 0);
        assert_eq!(count(&[("a/src/main.rs", "fn main() {}")]), 0);
    }
}
