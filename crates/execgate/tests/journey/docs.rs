//! The examples of docs/CODE.md and docs/TOOLS.md, run as they stand: each `sh` block by bash, in one folder, against a
//! gateway of the test, and held against the block that follows it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::server::{Data, Server};

/// Where the examples say that the gateway is.
const WRITTEN_ADDRESS: &str = "localhost:5091";

/// Stands for anything in what an example prints.
const ANYTHING: char = '…';

/// One example: what is run, and in what kind of block what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    line: usize,
    script: String,
    kind: String,
    expected: String,
}

/// The examples of a page: every `sh` block, with the block after it.
fn examples(page: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut open: Option<(String, usize, String)> = None;
    let mut script: Option<(usize, String)> = None;
    for (at, line) in (1..).zip(page.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.to_owned(), at, String::new())),
            (Some(_), Some("")) => {
                let (kind, from, text) = open.take().unwrap();
                match (kind.split(' ').next().unwrap(), script.take()) {
                    ("sh", None) => script = Some((from, text)),
                    ("sh", Some((line, _))) => panic!("the example in line {line} has no output"),
                    (_, Some((line, script))) => {
                        examples.push(Example { line, script, kind, expected: text })
                    }
                    (_, None) => {}
                }
            }
            (Some((_, _, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(script, None, "the last example has no output");
    examples
}

/// Whether a text is what is expected of it, with `…` for anything.
fn fits(text: &str, expected: &str) -> bool {
    let parts: Vec<&str> = expected.split(ANYTHING).collect();
    let [first, middle @ .., last] = &parts[..] else { return text == expected };
    let rest = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let found =
        rest.and_then(|rest| middle.iter().try_fold(rest, |rest, part| Some(rest.split_once(part)?.1)));
    found.is_some()
}

/// The same for JSON, whose keys may come in any order.
fn fits_json(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::String(text), Value::String(expected)) => fits(text, expected),
        (Value::Array(items), Value::Array(expected)) => {
            items.len() == expected.len() && items.iter().zip(expected).all(|(a, b)| fits_json(a, b))
        }
        (Value::Object(fields), Value::Object(expected)) => {
            fields.len() == expected.len()
                && expected.iter().all(|(key, b)| fields.get(key).is_some_and(|a| fits_json(a, b)))
        }
        (value, expected) => value == expected,
    }
}

/// Runs a script of bash in a folder and gives what it printed.
fn run(script: &str, folder: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "the examples are for a shell")]
    let output = Command::new("/bin/bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}/bin:/usr/bin:/bin", folder.display()))
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{script}\nprinted: {out}\nand: {err}", output.status);
    out.into_owned()
}

#[test]
fn every_example_of_the_page_on_code_prints_what_it_says() {
    prints_what_it_says("CODE.md", 15);
}

#[test]
fn every_example_of_the_page_on_tools_prints_what_it_says() {
    prints_what_it_says("TOOLS.md", 4);
}

/// Runs the examples of a page, of which there are so many at the least.
fn prints_what_it_says(page: &str, least: usize) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let examples = examples(&fs::read_to_string(docs.join(page)).unwrap());
    assert!(examples.len() >= least, "{} examples", examples.len());
    let data = Data::new();
    let server = Server::start(&data.path());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_execgate"), folder.path().join("bin/execgate")).unwrap();
    for example in examples {
        let script = example.script.replace(WRITTEN_ADDRESS, &server.address().to_string());
        let printed = run(&script, folder.path());
        let right = if example.kind == "json" {
            let (value, expected) = (printed.parse::<Value>(), example.expected.parse::<Value>());
            fits_json(&value.unwrap(), &expected.unwrap())
        } else {
            let lines: Vec<_> = printed.trim_end().lines().map(str::trim_end).collect();
            let expected: Vec<_> = example.expected.trim_end().lines().map(str::trim_end).collect();
            lines.len() == expected.len() && lines.iter().zip(&expected).all(|(a, b)| fits(a, b))
        };
        assert!(right, "line {}:\n{}\nprinted:\n{printed}", example.line, example.script);
    }
}

#[test]
fn a_wrong_output_does_not_fit() {
    assert!(
        fits("abc", "abc") && fits("abc", "a…") && fits("abc", "…c") && fits("abc", "a…c") && fits("x", "…")
    );
    assert!(!fits("abc", "ab") && !fits("abc", "b…") && !fits("abc", "a…d") && !fits("abcd", "a…c"));
    let page = "```sh\none\n```\n\n```text\n1\n```\n```sh\ntwo\n```\ntext\n```json\n2\n```\n";
    let found: Vec<_> = examples(page).into_iter().map(|one| (one.script, one.kind, one.expected)).collect();
    let example = |script: &str, kind: &str, out: &str| (script.to_owned(), kind.to_owned(), out.to_owned());
    assert_eq!(found, [example("one\n", "text", "1\n"), example("two\n", "json", "2\n")]);
}
