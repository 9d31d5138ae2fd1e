//! The rules of a proxy while it serves: an agent that started it itself must not rewrite them.

use std::fs;
use std::io::{BufRead as _, BufReader, PipeReader, pipe};

use serde_json::json;

use super::proxy::{Client, Place};
use super::server::execgate;

const CLOSED: &str = r#"{"version": "1", "default": "allow", "tools": {"delete_note": {"action": "deny"}}}"#;
const OPEN: &str = r#"{"version": "1", "default": "allow"}"#;

const PASSPHRASE: &str = "correct horse battery";

/// A proxy of the notes, and what it logs.
struct Watched {
    client: Client,
    log: BufReader<PipeReader>,
}

impl Watched {
    fn start(place: &Place, more: &[&str]) -> Self {
        let (policy, data, script) = (place.text("policy.json"), place.data(), place.text("plain.py"));
        let mut command = execgate();
        command.args([
            "proxy",
            "--policy",
            &policy,
            "--data-dir",
            &data,
            "--name",
            "notes",
            "--sandbox",
            "off",
        ]);
        command.args(more).args(["--", "/usr/bin/python3", &script, &place.text("mark")]);
        let (log, end) = pipe().unwrap();
        let client = Client::of(command.stderr(end));
        // The command holds an end of the pipe, too.
        drop(command);
        Self { client, log: BufReader::new(log) }
    }

    /// Waits for a line of the log.
    fn logs(&mut self, what: &str) {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the proxy has ended");
        }
    }

    fn may_delete(&mut self) -> bool {
        self.client.call("delete_note", json!({"id": 7}))["isError"] != true
    }
}

#[test]
fn what_the_agents_own_user_writes_into_the_policy_is_not_taken_up() {
    let place = Place::new(CLOSED);
    let mut watched = Watched::start(&place, &[]);
    assert!(!watched.may_delete());
    place.put("policy.json", OPEN);
    watched.logs("not by one whose change counts");
    assert!(!watched.may_delete(), "the old rules are gone");
    // As it was: nothing is wrong any more, and nothing changes.
    place.put("policy.json", CLOSED);
    assert!(!watched.may_delete());
    watched.client.close();
}

#[test]
fn a_signed_policy_is_replaced_by_one_that_is_signed() {
    let place = Place::new(CLOSED);
    let key = place.text("anna.key");
    let anna = |args: &[&str]| {
        let output = execgate().args(args).env("EXECGATE_PASSPHRASE", PASSPHRASE).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let section = anna(&["approver", "keygen", "--out", &key, "--name", "anna"]);
    let public = section.split('"').rfind(|word| word.len() > 40).unwrap().to_owned();
    let sign = || anna(&["policy", "sign", &place.text("policy.json"), "--key", &key]);

    let mut unsigned = execgate();
    unsigned.args(["proxy", "--policy", &place.text("policy.json"), "--data-dir", &place.data()]);
    unsigned.args(["--policy-key", &public, "--name", "notes", "--sandbox", "off", "--", "python3"]);
    let refused = String::from_utf8(unsigned.output().unwrap().stderr).unwrap();
    assert!(refused.contains("there is no signature"), "{refused}");

    sign();
    let first = fs::read_to_string(place.file("policy.json.sig")).unwrap();
    let mut watched = Watched::start(&place, &["--policy-key", &public]);
    assert!(!watched.may_delete());
    place.put("policy.json", OPEN);
    watched.logs("not by one whose change counts");
    assert!(!watched.may_delete());
    assert!(!watched.client.tools().contains(&"delete_note".to_owned()));
    sign();
    watched.logs("a new policy is in force");
    watched.client.is_told("notifications/tools/list_changed");
    assert!(watched.client.tools().contains(&"delete_note".to_owned()));
    assert!(watched.may_delete());
    // What was signed before is not brought back.
    place.put("policy.json", CLOSED);
    place.put("policy.json.sig", &first);
    watched.logs("older than that of the policy in force");
    assert!(watched.may_delete());
    watched.client.close();
}
