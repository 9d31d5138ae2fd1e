//! The suite that the makers of MCP test clients with, on the side of this program that is one: it stands between a client and
//! the server of the suite.

use std::fs;

use super::mcp::node;

/// What is asked of the suite, and what a client of this kind fails.
const EXPECTED: [(&str, &[&str], &str); 2] = [
    ("2026-07-28", &["--requirements", "2026-07-28"], include_str!("../mcp/expected-client-2026-07-28.yaml")),
    (
        "2025-11-25",
        &["--suite", "core", "--spec-version", "2025-11-25"],
        include_str!("../mcp/expected-client-2025-11-25.yaml"),
    ),
];

/// What is timed by the suite: how long this client waits before it asks for a stream again, and which of its requests is the first.
/// A machine under load fails it now and then; the order and the header are shown by tests of `tool` that nothing times.
const TIMED: &str = "sse-retry";

/// The client, between the suite and the program.
const CLIENT: &str = include_str!("../mcp/upstream.mjs");

/// Scenarios that fail and are not in the list; none where the suite did not come to its end, or one of the list passes.
fn unexpected(told: &str) -> Vec<&str> {
    if told.contains("Stale baseline entries") {
        return Vec::new();
    }
    let listed = told.split_once("Unexpected failures (not in baseline):").map_or("", |(_, rest)| rest);
    let marked = listed.lines().skip(1).map_while(|line| line.split_once("✗ "));
    // Behind a name its colour ends.
    marked.map(|(_, name)| name.split('\u{1b}').next().unwrap_or_default().trim()).collect()
}

#[test]
fn the_conformance_suite_of_clients_passes_but_for_what_is_not_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("upstream.mjs");
    fs::write(&client, CLIENT).unwrap();
    let execgate = env!("CARGO_BIN_EXE_execgate");
    for (revision, what, expected) in EXPECTED {
        let baseline = folder.path().join(format!("{revision}.yaml"));
        fs::write(&baseline, expected).unwrap();
        let mut suite = node();
        // The suite takes its command apart at each blank.
        let command =
            format!("{} {} {execgate}", node().get_program().to_str().unwrap(), client.to_str().unwrap());
        suite.args([
            "node_modules/@modelcontextprotocol/conformance/dist/index.js",
            "client",
            "--command",
            &command,
        ]);
        suite.args(what).arg("--expected-failures").arg(&baseline).arg("-o").arg(folder.path().join("out"));
        let output = suite.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let is_as_expected = output.status.success() || unexpected(&told) == [TIMED];
        assert!(is_as_expected, "{revision}: {told}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
