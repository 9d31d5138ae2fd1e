//! Nothing lies in a registry folder that its registry does not name: lists here are explicit.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;
use crate::tidy::lex::{find_words, line_of};
use crate::tidy::tree::Tree;

/// What of a folder has to be listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    Files,
    Folders,
}

/// A folder and the files that list what is in it.
struct Registry {
    folder: &'static str,
    entries: Entries,
    /// Each entry is in one of these.
    lists: &'static [&'static str],
}

/// Every registry of the house.
const REGISTRIES: &[Registry] = &[
    Registry {
        folder: "crates/tool/src/builtin",
        entries: Entries::Files,
        lists: &["crates/tool/src/builtin/mod.rs"],
    },
    Registry {
        folder: "crates/tool/src/code",
        entries: Entries::Folders,
        lists: &["crates/tool/src/code/mod.rs"],
    },
    Registry {
        folder: "crates/web/src/http",
        entries: Entries::Folders,
        lists: &["crates/web/src/router.rs", "crates/web/src/admin_router.rs"],
    },
    Registry {
        folder: "crates/execgate/src/commands",
        entries: Entries::Files,
        lists: &["crates/execgate/src/commands/mod.rs"],
    },
];

/// Every entry of a registry folder is named in its list, and not only in a `mod` or `use` line of a list
/// that has an `all()`.
pub(crate) fn unlisted(tree: &Tree) -> Vec<Finding> {
    REGISTRIES.iter().flat_map(|registry| unlisted_in(tree, registry)).collect()
}

fn unlisted_in(tree: &Tree, registry: &Registry) -> Vec<Finding> {
    let (files, folders) = tree.entries(registry.folder);
    let entries: Vec<(String, &str)> = match registry.entries {
        Entries::Files => files
            .into_iter()
            .filter(|file| !matches!(file.name(), "mod.rs" | "tests.rs"))
            .map(|file| (file.path.clone(), file.stem()))
            .collect(),
        Entries::Folders => {
            folders.into_iter().map(|name| (format!("{}/{name}", registry.folder), name)).collect()
        }
    };
    let lists: Vec<_> = registry.lists.iter().filter_map(|path| tree.file(path)).collect();
    let place = registry.lists.join(" or ");
    entries
        .into_iter()
        .filter(|(_, name)| !lists.iter().any(|list| names(list, name)))
        .map(|(path, name)| {
            let message = format!("`{name}` is not named in {place}: list it there, or move it out");
            Finding::error(&path, 1, "unlisted", message)
        })
        .collect()
}

/// Whether the list names the entry, as a module or as the type or constant called after it.
fn names(list: &SourceFile, entry: &str) -> bool {
    let code = &list.code[..list.tests_start()];
    let is_registry = code.contains("fn all(");
    [entry.to_owned(), camel_case(entry), entry.to_uppercase()].iter().any(|name| {
        find_words(code, name).any(|at| {
            let line = code.lines().nth(line_of(code, at) - 1).unwrap_or_default().trim_start();
            let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            !is_registry || !(line.starts_with("mod ") || line.starts_with("use "))
        })
    })
}

fn camel_case(name: &str) -> String {
    name.split('_')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect::<String>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(files: &[(&str, &str)]) -> Vec<String> {
        unlisted(&Tree::of(files)).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_tool_that_all_does_not_name_is_caught() {
        let files = [
            ("crates/tool/src/builtin/mod.rs", "mod echo;\nmod json_parse;\nfn all() { [echo::tool()] }"),
            ("crates/tool/src/builtin/echo.rs", ""),
            ("crates/tool/src/builtin/json_parse.rs", ""),
        ];
        assert_eq!(paths(&files), ["crates/tool/src/builtin/json_parse.rs"]);
    }

    #[test]
    fn folders_without_any_list_are_caught() {
        let files = [("crates/tool/src/code/python/mod.rs", ""), ("crates/web/src/http/exec/tool.rs", "")];
        assert_eq!(paths(&files), ["crates/tool/src/code/python", "crates/web/src/http/exec"]);
    }

    #[test]
    fn what_is_listed_by_module_type_or_constant_passes() {
        let files = [
            (
                "crates/tool/src/builtin/mod.rs",
                "mod json_parse;\nuse json_parse::JsonParse;\nfn all() { JsonParse }",
            ),
            ("crates/tool/src/builtin/json_parse.rs", ""),
            ("crates/tool/src/code/mod.rs", "fn all() { [PYTHON] }"),
            ("crates/tool/src/code/python/mod.rs", ""),
            ("crates/tool/src/code/language.rs", ""),
            ("crates/web/src/router.rs", "exec::routes()"),
            ("crates/web/src/http/exec/mod.rs", ""),
            ("crates/web/src/admin_router.rs", "admin::health"),
            ("crates/web/src/http/admin/mod.rs", ""),
            ("crates/execgate/src/commands/mod.rs", "pub mod serve;"),
            ("crates/execgate/src/commands/serve.rs", ""),
        ];
        assert!(paths(&files).is_empty());
    }
}
