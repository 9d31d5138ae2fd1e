//! Networks of runs, by the operator's choice; here, of what leaves no machine: a loopback, and refusals.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::server::{Data, Server, run};

/// Asks for what no rule names.
const ASK: &str = "import urllib.request\ntry: urllib.request.urlopen('http://example.com/')\nexcept OSError as e: print(e)";

#[test]
fn a_run_of_the_command_line_has_the_network_that_it_is_given() {
    let told = |args: &[&str]| -> Value {
        let output = run(&[&["run", "--json"], args].concat(), "");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let code = "import socket\ns = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()).getpeername()[0]";
    let loopback = told(&["--network", "loopback", "-e", code]);
    assert_eq!(
        (&loopback["result"], &loopback["enforced"]["network"]),
        (&json!("'127.0.0.1'"), &json!("loopback"))
    );
    let egress = told(&["--allow-domain", "example.org", "-e", ASK]);
    assert_eq!(egress["stdout"], "HTTP Error 403: not on the allow-list\n");
    assert_eq!(egress["enforced"]["network"], "egress");
    let decided = &egress["network"]["decisions"][0];
    assert_eq!((&decided["host"], &decided["outcome"]), (&json!("example.com"), &json!("refused")));
    let none = told(&["-e", "1"]);
    assert_eq!((&none["enforced"]["network"], &none["network"]), (&json!("none"), &Value::Null));
}

#[test]
fn rules_that_cannot_be_kept_are_said_before_anything_runs() {
    for (args, why) in [
        (&["--allow-domain", "*.org"][..], "`*.org` is no domain"),
        (&["--allow-cidr", "10.0.0.1/8"], "`10.0.0.1/8` is no network"),
        (&["--network", "none", "--allow-domain", "a.org"], "the network is not `egress`"),
        (&["--network", "egress"], "no rule says what may be reached"),
    ] {
        let refused = run(&[&["run", "-e", "1"], args].concat(), "");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains(why), "{args:?}: {said}");
    }
}

#[test]
fn a_gateway_gives_every_run_the_operators_network_and_says_so_in_the_receipt() {
    let data = Data::new();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    fs::write(&config, "[sandbox]\nnetwork = \"egress\"\n[sandbox.egress]\ndomains = [\"example.org\"]\n")
        .unwrap();
    let server = Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    let answer = server.post("/api/code-run", &json!({"code": ASK, "receipt": true})).json();
    assert_eq!(answer["stdout"], "HTTP Error 403: not on the allow-list\n");
    let statement = STANDARD.decode(answer["receipt"]["envelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    let enforced = &statement["predicate"]["enforced"];
    assert_eq!(enforced["network"], "egress");
    let expected = json!({
        "decisions": [{
            "host": "example.com", "port": 80, "outcome": "refused", "why": "not on the allow-list",
            "address": null, "connections": 1, "bytes_up": 0, "bytes_down": 0,
        }],
        "left_out": 0,
        "allowed": 0,
        "bytes_up": 0,
        "bytes_down": 0,
        "is_whole": true,
    });
    assert_eq!(enforced["egress"], expected);
}
