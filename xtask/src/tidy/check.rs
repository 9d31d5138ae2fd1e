//! Runs every rule over the work tree and prints what they found.

use anyhow::Result;

use crate::metadata;
use crate::tidy::file::SourceFile;
use crate::tidy::finding::{Finding, Weight};
use crate::tidy::tree::Tree;
use crate::tidy::{doors, errors, forbidden, imports, layout, links, registry, words};

/// Rules that look at one file.
const FILE_RULES: &[fn(&SourceFile) -> Vec<Finding>] = &[
    layout::purpose,
    layout::length,
    errors::texts,
    forbidden::undone,
    forbidden::unsafe_code,
    forbidden::sleeps,
    words::names,
    words::prose,
    words::machine_paths,
];

/// Rules that look at the whole tree.
const TREE_RULES: &[fn(&Tree) -> Vec<Finding>] = &[doors::logic, registry::unlisted, links::dead];

/// Prints all findings; `true` if none of them is an error.
pub(crate) fn run() -> Result<bool> {
    let tree = Tree::read()?;
    let mut findings = apply(&tree);
    findings.extend(imports::direction(&metadata::workspace()?, &tree));
    findings.sort_by(|a, b| {
        (a.weight == Weight::Error, &a.path, a.line).cmp(&(b.weight == Weight::Error, &b.path, b.line))
    });
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    let notes = findings.len() - errors;
    println!("tidy: {} files, {errors} errors, {notes} notes", tree.files.len());
    Ok(errors == 0)
}

fn apply(tree: &Tree) -> Vec<Finding> {
    let of_files = tree.files.iter().flat_map(|file| FILE_RULES.iter().flat_map(|rule| rule(file)));
    of_files.chain(TREE_RULES.iter().flat_map(|rule| rule(tree))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_rule_is_applied() {
        let bad =
            "enum E {\n#[error(\"Bad.\")]\nA }\nstruct AManager;\nfn a() { unsafe { todo!() } sleep(1) }\n";
        let tree = Tree::of(&[
            ("crates/testkit/src/a.rs", bad),
            ("crates/testkit/src/mod.rs", "//! A.\nfn a() {}\n"),
            ("crates/tool/src/code/r/run.R", concat!("# /wo", "rk/ white", "list\n")),
            ("a.sql", &"\n".repeat(601)),
            ("a.md", "[a](b.md)"),
        ]);
        let mut rules: Vec<&str> = apply(&tree).into_iter().map(|finding| finding.rule).collect();
        rules.sort_unstable();
        assert_eq!(
            rules,
            [
                "dead-link",
                "door",
                "error-text",
                "length",
                "machine-path",
                "name",
                "purpose",
                "sleep",
                "undone",
                "unlisted",
                "unsafe",
                "word",
            ]
        );
    }
}
