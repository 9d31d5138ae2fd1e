//! What people and programs are told of the surface, held still: a change shows in a review.

use insta::assert_snapshot;

use super::server::run;

fn told(args: &[&str]) -> String {
    let output = run(args, "");
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_says_what_there_is() {
    let commands = [
        "serve", "run", "mcp", "demo", "doctor", "verify", "runs", "audit", "image", "policy", "settle",
        "openapi", "pause", "resume",
    ];
    let mut pages = told(&["--help"]);
    for command in commands {
        pages.push_str(&format!("\n# {command}\n"));
        pages.push_str(&told(&[command, "--help"]));
    }
    assert_snapshot!(pages);
}

#[test]
fn the_openapi_description_is_what_it_was() {
    assert_snapshot!(told(&["openapi"]));
}
