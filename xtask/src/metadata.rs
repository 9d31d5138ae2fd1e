//! What cargo knows of the packages: names, dependencies, targets.
//!
//! Only the fields that a rule or a count reads. Format: `cargo metadata --format-version 1`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::shell;

/// The answer of `cargo metadata`.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The packages: the workspace's own with `--no-deps`, all of them without.
    pub(crate) packages: Vec<Package>,
    /// The root of the workspace; every member's manifest lies below it.
    pub(crate) workspace_root: PathBuf,
    /// Where cargo builds.
    pub(crate) target_directory: PathBuf,
    /// The resolved graph; `None` with `--no-deps`.
    resolve: Option<Resolve>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Unique within one answer.
    id: String,
    /// The name in its manifest.
    pub(crate) name: String,
    /// The absolute path of its manifest.
    pub(crate) manifest_path: PathBuf,
    /// What the manifest asks for.
    pub(crate) dependencies: Vec<Dependency>,
    /// Libraries, binaries and tests that cargo found.
    pub(crate) targets: Vec<Target>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package's name, not its alias.
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

/// One thing that cargo can build from a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// `lib`, `bin`, `test`, `custom-build`, …
    pub(crate) kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// The workspace's own packages, without resolving anything.
pub(crate) fn workspace() -> Result<Metadata> {
    load(&["metadata", "--format-version", "1", "--no-deps"])
}

/// All packages and the resolved graph, for the platform that this runs on.
pub(crate) fn resolved() -> Result<Metadata> {
    let version = shell::captures(shell::command("rustc", &["-vV"]).env_remove("RUSTC_WRAPPER"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    load(&["metadata", "--format-version", "1", "--filter-platform", host])
}

fn load(args: &[&str]) -> Result<Metadata> {
    let text = shell::captures(&mut shell::cargo(args))?;
    serde_json::from_str(&text).context("failed to read the answer of cargo metadata")
}

impl Metadata {
    /// How many packages are compiled for `name`: itself, its normal and its build dependencies.
    pub(crate) fn compiled_for(&self, name: &str) -> Result<usize> {
        let start = self.packages.iter().find(|package| package.name == name).context("no such package")?;
        let resolve = self.resolve.as_ref().context("this metadata was read with --no-deps")?;
        let edges: BTreeMap<&str, &[Edge]> =
            resolve.nodes.iter().map(|node| (node.id.as_str(), node.deps.as_slice())).collect();
        let mut seen = BTreeSet::from([start.id.as_str()]);
        let mut open = vec![start.id.as_str()];
        while let Some(id) = open.pop() {
            for edge in edges.get(id).copied().unwrap_or_default() {
                let compiled = edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
                if compiled && seen.insert(edge.pkg.as_str()) {
                    open.push(edge.pkg.as_str());
                }
            }
        }
        Ok(seen.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_knows_its_own_tools() {
        let metadata = workspace().unwrap();
        let xtask = metadata.packages.iter().find(|package| package.name == "xtask").unwrap();
        assert!(xtask.targets.iter().any(|target| target.kind == ["bin"]));
        assert!(xtask.dependencies.iter().any(|dependency| dependency.name == "serde_json"));
        assert!(metadata.compiled_for("xtask").is_err(), "there is no graph without resolving");
    }

    #[test]
    fn development_dependencies_are_not_compiled_for_a_package() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"workspace_root": "/", "target_directory": "/t",
            "packages": [
                {"id": "a", "name": "a", "manifest_path": "/a", "dependencies": [], "targets": []},
                {"id": "b", "name": "b", "manifest_path": "/b", "dependencies": [], "targets": []},
                {"id": "c", "name": "c", "manifest_path": "/c", "dependencies": [], "targets": []}],
            "resolve": {"nodes": [
                {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": null}]},
                                     {"pkg": "c", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "b", "deps": [{"pkg": "a", "dep_kinds": [{"kind": "build"}]}]},
                {"id": "c", "deps": []}]}}"#,
        )
        .unwrap();
        assert_eq!(metadata.compiled_for("a").unwrap(), 2);
        assert_eq!(metadata.compiled_for("c").unwrap(), 1);
    }
}
