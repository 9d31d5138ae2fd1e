//! `ClawShield` artifacts that Python minted, and the canonical form of Python's own `json`.
//!
//! `data/clawshield.json` was signed by the package `cryptography` 38 under Python 3.11, with the seed of 32 bytes of 5.

use std::io::Write as _;
use std::process::{Command, Stdio};

use execgate_model::UnixMs;
use execgate_receipt::approval::{Artifact, ClawShield, ClawShieldError, public_key, python_json};
use execgate_receipt::parse_strict;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// 2026-11-20T10:04:59.999Z, a millisecond before the first artifacts end.
const NOW: UnixMs = UnixMs(1_795_169_099_999);

/// How many values Python is asked about.
const VALUES: usize = 2_000;

#[test]
fn artifacts_of_pythons_making_clear_their_requests_until_they_expire() {
    let minted = parse_strict(include_bytes!("../data/clawshield.json")).unwrap();
    let key = public_key(minted["public_key"].as_str().unwrap()).unwrap();
    let shield = ClawShield { key: Some(key), tenant: Some("tenant-001".to_owned()) };
    let requests = minted["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 5);
    for request in requests {
        let Artifact::ClawShield(artifact) = Artifact::read(&request["approval_artifact"]).unwrap() else {
            panic!("{request}")
        };
        let action = request["action"].as_str().unwrap();
        let check = |now| shield.check(&artifact, action, &request["payload"], now);
        assert!(check(NOW).is_ok(), "{request}");
        assert_eq!(check(UnixMs(NOW.0 + 1_000)), Err(ClawShieldError::Expired));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991..=9_007_199_254_740_991_i64).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(Value::from),
        (any::<i32>(), -12..12).prop_map(|(digits, power)| json!(f64::from(digits) * 10_f64.powi(power))),
        ".{0,12}".prop_map(Value::from),
        any::<char>().prop_map(|c| Value::from(c.to_string())),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((".{0,3}", inner), 0..6).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
fn pythons_json_writes_the_same_bytes() {
    const PROGRAM: &str = "import json, sys\nfor line in sys.stdin:\n    \
        print(json.dumps(json.loads(line), sort_keys=True, separators=(',', ':')))";
    let mut runner = TestRunner::default();
    let values: Vec<Value> = (0..VALUES).map(|_| value().new_tree(&mut runner).unwrap().current()).collect();
    let mut python = Command::new("/usr/bin/python3")
        .args(["-I", "-c", PROGRAM])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let written = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    writer.join().unwrap();
    let theirs: Vec<&str> = written.lines().collect();
    assert_eq!(theirs.len(), VALUES);
    for (value, theirs) in values.iter().zip(theirs) {
        assert_eq!(python_json(value).unwrap(), theirs, "{value}");
    }
}
