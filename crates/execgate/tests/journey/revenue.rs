//! `execgate revenue`: what a gateway has earned on a real chain, while it is served and afterwards.

use serde_json::{Value, json};

use super::payments::{ECHO_UNITS, Till};
use super::server::run;

fn pay(till: &Till, nonce: &str, number: u64) {
    let body = json!({"action": "echo", "payload": {"of": nonce}, "nonce": nonce});
    let payment = till.signed_as(&till.server.post("/execute", &body), number);
    assert_eq!(till.shown("/execute", &body, &payment).status, 200);
}

#[test]
fn what_was_earned_is_what_the_chain_and_the_check_of_the_record_say() {
    let mut till = Till::open("");
    pay(&till, "a", 1);
    pay(&till, "b", 2);
    let folder = till.folder();
    let told = |command: &str, more: &[&str]| {
        let args = [&[command, "--data-dir", folder.to_str().unwrap()], more].concat();
        let output = run(&args, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = |command: &str, more: &[&str]| -> Value {
        serde_json::from_str(&told(command, &[&["--json"], more].concat())).unwrap()
    };
    let while_served = json("revenue", &[]);
    let row = &while_served["rows"][0];
    assert_eq!(
        (&row["action"], &row["rail"], &row["network"]),
        (&json!("echo"), &json!("x402"), &json!("eip155:84532"))
    );
    assert_eq!(
        (&row["payments"], &row["earned"], &row["credited"]),
        (&json!(2), &json!("0.02"), &json!("0.00"))
    );
    assert_eq!(till.paid(), 2 * ECHO_UNITS);

    assert_eq!(till.server.end(), Some(0));
    assert_eq!(json("revenue", &[]), while_served);
    // Whose configuration says who pays can be looked at all the same.
    let config = folder.parent().unwrap().join("execgate.toml");
    assert_eq!(json("revenue", &["--config", config.to_str().unwrap()]), while_served);
    assert_eq!(json("fsck", &[])["captured"], while_served["payments"]);
    let days = json("revenue", &["--by", "day", "--since", "1h"]);
    assert_eq!((&days["earned"], &days["rows"][0]["payments"]), (&json!("0.02"), &json!(2)));
    assert_eq!(json("revenue", &["--until", "2026-01-01"])["payments"], 0);

    let csv = told("revenue", &["--csv"]);
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "a header, two payments, and the end: {csv}");
    assert!(lines[0].starts_with("\"place\",\"at\",\"day\",\"run\",\"action\""), "{csv}");
    assert!(
        lines[1].contains(",\"echo\",\"x402\",\"eip155:84532\",")
            && lines[1].contains(",\"0.01\",\"USD\",\"0x")
    );
    assert!(
        told("revenue", &[])
            .ends_with("2 payments: $0.02 captured, $0.00 of it owed to payers in 0 credits; $0.02 earned\n")
    );
}
