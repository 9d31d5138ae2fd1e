//! All files of the project: what git tracks and what it would track.
//!
//! The walk is git's own, so that build output and what `.gitignore` names are never looked at.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use crate::shell;
use crate::tidy::file::SourceFile;

/// Files that other programs or other people write: their words are not ours.
const NOT_OURS: [&str; 3] = ["Cargo.lock", "package-lock.json", "LICENSE"];

/// Every file of the project.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Those that are text and ours, by path.
    pub(crate) files: Vec<SourceFile>,
    /// The paths of all, pictures and the like too.
    pub(crate) paths: BTreeSet<String>,
}

impl Tree {
    /// Reads the work tree.
    pub(crate) fn read() -> Result<Self> {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = shell::captures(&mut shell::command("git", &list))?;
        let root = shell::root();
        let mut tree = Self::default();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let Ok(bytes) = fs::read(root.join(path)) else { continue }; // deleted, or a link to a folder
            if !tree.paths.insert(path.to_owned()) {
                continue;
            }
            let name = path.rsplit('/').next().unwrap_or(path);
            if NOT_OURS.iter().any(|other| name.starts_with(other)) {
                continue;
            }
            if let Ok(text) = String::from_utf8(bytes) {
                tree.files.push(SourceFile::new(path, text));
            }
        }
        Ok(tree)
    }

    /// A tree of these files, for the rules' own tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files.iter().map(|(path, text)| SourceFile::new(*path, *text)).collect(),
            paths: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
        }
    }

    /// The text file at this path.
    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether this path is a file of the project, or a folder that holds one.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self.paths.contains(path)
            || self.paths.range(folder.clone()..).next().is_some_and(|next| next.starts_with(&folder))
    }

    /// The Rust files directly in a folder, and the names of the folders directly in it.
    pub(crate) fn entries(&self, folder: &str) -> (Vec<&SourceFile>, BTreeSet<&str>) {
        let folder = format!("{folder}/");
        let is_direct = |path: &str| path.strip_prefix(&folder).is_some_and(|name| !name.contains('/'));
        let files = self.files.iter().filter(|file| file.is_rust() && is_direct(&file.path)).collect();
        let inside = self.paths.iter().filter_map(|path| path.strip_prefix(&folder));
        (files, inside.filter_map(|rest| rest.split_once('/')).map(|(name, _)| name).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_tree_holds_this_file_and_no_build_output() {
        let tree = Tree::read().unwrap();
        assert!(tree.file("xtask/src/tidy/tree.rs").is_some());
        assert!(tree.holds("xtask/src"));
        assert!(!tree.holds("target"));
        assert!(tree.file("Cargo.lock").is_none(), "the lock file is cargo's");
    }

    #[test]
    fn entries_are_the_direct_ones() {
        let tree =
            Tree::of(&[("a/b.rs", ""), ("a/c/d.rs", ""), ("a/c/e.txt", ""), ("ab/f.rs", ""), ("a/g.md", "")]);
        let (files, folders) = tree.entries("a");
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a/b.rs"]);
        assert_eq!(folders.into_iter().collect::<Vec<_>>(), ["c"]);
        assert!(tree.holds("a/c") && tree.holds("a/g.md") && !tree.holds("a/x"));
    }
}
