//! Who may import whom: the floors of the house, as ARCHITECTURE.md draws them.
//!
//! Checked on the manifests: `model ← {policy, receipt, store, payment, sandbox, tool} ← flow ← web ←
//! execgate`. Development dependencies are free, except that nobody takes the test kit but the crate that
//! holds the integration tests.

use std::path::Path;

use crate::metadata::{Dependency, Metadata, Package};
use crate::tidy::finding::Finding;
use crate::tidy::tree::Tree;

/// Each room's floor; a room imports from lower floors only.
const FLOORS: &[(&str, u8)] = &[
    ("execgate-model", 0),
    ("execgate-forkpoint", 0),
    ("execgate-line", 0),
    ("execgate-policy", 1),
    ("execgate-receipt", 1),
    ("execgate-store", 1),
    ("execgate-payment", 1),
    ("execgate-payment-evm", 1),
    ("execgate-sandbox", 1),
    ("execgate-tool", 1),
    ("execgate-flow", 2),
    ("execgate-web", 3),
    ("execgate-iam", 3),
    ("execgate-settler", 3),
    ("execgate", 4),
];

/// Imports between siblings that the design asks for.
const SIBLINGS: [(&str, &str); 2] =
    [("execgate-tool", "execgate-sandbox"), ("execgate-payment-evm", "execgate-payment")];

/// May import anything; nobody imports them.
const OUTSIDE: [&str; 3] = ["execgate-testkit", "execgate-powercut", "xtask"];

/// Crates of asynchronous IO and HTTP.
const ASYNC: &[&str] =
    &["tokio", "axum", "hyper", "hyper-util", "http-body-util", "tower", "reqwest", "async-std"];

/// What some rooms must never know of the world outside: the room, the crates, the reason.
const NEVER: &[(&str, &[&str], &str)] = &[
    ("execgate-model", ASYNC, "the nouns do no IO"),
    ("execgate-policy", ASYNC, "a decision is a pure function"),
    ("execgate-receipt", ASYNC, "receipts verify offline"),
    ("execgate-sandbox", ASYNC, "the jail forks, and knows no HTTP"),
    ("execgate-forkpoint", ASYNC, "it is loaded into every interpreter"),
    ("execgate-payment", &["axum", "hyper", "hyper-util", "tower"], "a rail knows no HTTP framework"),
];

/// Every import goes down, and no room knows what it must not.
pub(crate) fn direction(metadata: &Metadata, tree: &Tree) -> Vec<Finding> {
    let is_ours = |name: &str| metadata.packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let manifest = manifest_path(metadata, package);
        if floor(&package.name).is_none() && !OUTSIDE.contains(&package.name.as_str()) {
            let message = format!("`{}` has no floor: give it one in xtask's imports.rs", package.name);
            findings.push(Finding::error(&manifest, 1, "imports", message));
        }
        for dependency in &package.dependencies {
            let ours = is_ours(&dependency.name);
            if let Some(message) = fault_of(package, dependency, ours) {
                let line = line_naming(tree, &manifest, &dependency.name);
                findings.push(Finding::error(&manifest, line, "imports", message));
            }
        }
    }
    findings
}

fn fault_of(package: &Package, dependency: &Dependency, is_ours: bool) -> Option<String> {
    let (from, to) = (package.name.as_str(), dependency.name.as_str());
    let is_development = dependency.kind.as_deref() == Some("dev");
    if OUTSIDE.contains(&from) {
        return None;
    }
    if OUTSIDE.contains(&to) {
        let is_welcome = is_development && holds_integration_tests(package);
        return (!is_welcome).then(|| {
            format!("`{to}` does not ship: only the crate with the integration tests may take it, as a dev-dependency")
        });
    }
    if is_development {
        return None;
    }
    if is_ours {
        return (!may_import(from, to))
            .then(|| format!("`{from}` must not import `{to}`: imports go down only"));
    }
    let (_, _, reason) = NEVER.iter().find(|(room, crates, _)| *room == from && crates.contains(&to))?;
    Some(format!("`{from}` must not depend on `{to}`: {reason}"))
}

fn may_import(from: &str, to: &str) -> bool {
    let is_down = floor(to).zip(floor(from)).is_some_and(|(to, from)| to < from);
    is_down || SIBLINGS.contains(&(from, to))
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor)
}

/// The integration tests are the one test binary called `all`.
fn holds_integration_tests(package: &Package) -> bool {
    package.targets.iter().any(|target| target.name == "all" && target.kind.iter().any(|kind| kind == "test"))
}

fn manifest_path(metadata: &Metadata, package: &Package) -> String {
    let path: &Path =
        package.manifest_path.strip_prefix(&metadata.workspace_root).unwrap_or(&package.manifest_path);
    path.to_string_lossy().into_owned()
}

fn line_naming(tree: &Tree, manifest: &str, dependency: &str) -> usize {
    let lines = tree.file(manifest).map(|file| file.text.lines());
    let at = lines.and_then(|mut lines| {
        lines.position(|line| {
            line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        })
    });
    at.map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A workspace of one package with one dependency beside `execgate-testkit` and a few others.
    fn messages(from: &str, to: &str, kind: Option<&str>, test: &str) -> Vec<String> {
        let package = |name: &str, dependencies: serde_json::Value, test: &str| {
            json!({"id": name, "name": name, "manifest_path": format!("/w/crates/{name}/Cargo.toml"),
                "dependencies": dependencies, "targets": [{"name": test, "kind": ["test"]}]})
        };
        let mut packages = vec![package(from, json!([{"name": to, "kind": kind}]), test)];
        if to.starts_with("execgate") {
            packages.push(package(to, json!([]), ""));
        }
        let metadata = serde_json::from_value(
            json!({"workspace_root": "/w", "target_directory": "/w/target", "packages": packages}),
        )
        .unwrap();
        let manifest = format!("crates/{from}/Cargo.toml");
        let tree = Tree::of(&[(&manifest, &format!("[dependencies]\n{to}.workspace = true\n"))]);
        let findings = direction(&metadata, &tree);
        assert!(findings.iter().all(|finding| finding.path == manifest), "{findings:?}");
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn imports_that_go_up_or_sideways_are_caught() {
        for (from, to) in [
            ("execgate-model", "execgate-policy"),
            ("execgate-flow", "execgate-web"),
            ("execgate-receipt", "execgate-store"),
            ("execgate-sandbox", "execgate-tool"),
            ("execgate-payment", "execgate-payment-evm"),
        ] {
            let expected = format!("2: `{from}` must not import `{to}`: imports go down only");
            assert_eq!(messages(from, to, None, ""), [expected]);
            assert_eq!(messages(from, to, Some("build"), "").len(), 1);
        }
    }

    #[test]
    fn imports_that_go_down_pass() {
        for (from, to) in [
            ("execgate-policy", "execgate-model"),
            ("execgate-tool", "execgate-sandbox"),
            ("execgate-payment-evm", "execgate-payment"),
            ("execgate-web", "execgate-receipt"),
            ("execgate", "execgate-sandbox"),
            ("execgate-testkit", "execgate-flow"),
            ("execgate-web", "tokio"),
        ] {
            assert!(messages(from, to, None, "").is_empty(), "{from} → {to}");
        }
    }

    #[test]
    fn the_quiet_rooms_know_no_http() {
        for (from, to) in
            [("execgate-sandbox", "tokio"), ("execgate-receipt", "hyper"), ("execgate-payment", "axum")]
        {
            assert_eq!(messages(from, to, None, "").len(), 1, "{from} → {to}");
            assert!(messages(from, to, Some("dev"), "").is_empty());
        }
    }

    #[test]
    fn only_the_integration_tests_take_the_test_kit() {
        assert_eq!(messages("execgate", "execgate-testkit", None, "all").len(), 1);
        assert_eq!(messages("execgate-store", "execgate-testkit", Some("dev"), "contract").len(), 1);
        assert!(messages("execgate", "execgate-testkit", Some("dev"), "all").is_empty());
    }

    #[test]
    fn a_crate_without_a_floor_is_caught() {
        assert_eq!(messages("execgate-new", "serde", None, "").len(), 1);
    }
}
