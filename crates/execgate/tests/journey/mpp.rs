//! The `Payment` scheme on a real gateway: `mppx` and `pympp`, unmodified, pay on a chain; and one authorization that is
//! shown in the forms of two rails at once buys one run.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use execgate_payment::evm::{Authorization, U256, to_hex};
use execgate_payment::mpp::{Challenge, charge, read};
use execgate_testkit::chain::{PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::payments::{ECHO_UNITS, Till};
use super::server::{Reply, post_bytes, reply};

const MPPX: &str = include_str!("../payers/mppx/pay.mjs");
const PYMPP: &str = include_str!("../payers/pympp/pay.py");

/// How many times each form of a payment is shown at once.
const CROWD: usize = 32;

/// A folder that `cargo xtask setup` has installed.
pub(super) fn tool(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let mut found = test.ancestors().map(|folder| folder.join("tools").join(name));
    found.find(|folder| folder.join("whole").is_file()).expect("not installed; run `cargo xtask setup`")
}

fn program(name: &str, folder: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "clients are programs")]
    let mut command = Command::new(name);
    #[expect(clippy::disallowed_methods, reason = "Node lies wherever its installer put it")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", std::env::temp_dir()).current_dir(tool(folder));
    command
}

fn said(mut command: Command) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)))
}

fn node(till: &Till, nonce: &str, order: &str) -> Value {
    let mut node = program("node", "mppx-0.11.0");
    node.args(["--input-type=module", "--eval", MPPX]).env("ORDER", order);
    pay(node, till, nonce)
}

fn pay(mut command: Command, till: &Till, nonce: &str) -> Value {
    let body = json!({"action": "echo", "payload": {"client": nonce}, "nonce": nonce});
    command.env("URL_TO_PAY", format!("http://{}/execute", till.server.address()));
    command.env("KEY", PAYER.key).env("BODY", body.to_string());
    said(command)
}

#[test]
fn mppx_pays_natively_and_by_x402_and_pympp_pays_with_its_own_nonce() {
    let till = Till::open("");
    let native = node(&till, "native", "");
    assert_eq!(
        (&native["status"], &native["seen"][1]["paidBy"]),
        (&json!(200), &json!(["authorization"])),
        "{native}"
    );
    let x402 = node(&till, "x402", "x402");
    assert_eq!(
        (&x402["status"], &x402["seen"][1]["paidBy"]),
        (&json!(200), &json!(["payment-signature"])),
        "{x402}"
    );
    let python = tool("pympp-0.16.0").join("bin/python");
    let mut python = program(python.to_str().unwrap(), "pympp-0.16.0");
    python.args(["-c", PYMPP]);
    let python = pay(python, &till, "python");
    assert_eq!(python["status"], 200, "{python}");
    for told in [&native, &python] {
        let receipt = URL_SAFE_NO_PAD.decode(told["headers"]["payment-receipt"].as_str().unwrap()).unwrap();
        let receipt: Value = serde_json::from_slice(&receipt).unwrap();
        assert_eq!((&receipt["status"], &receipt["method"]), (&json!("success"), &json!("evm")));
        let moved = till.chain.transfers();
        assert!(moved.iter().any(|transfer| receipt["reference"] == transfer.transaction), "{receipt}");
    }
    assert_eq!(till.paid(), 3 * ECHO_UNITS);
}

#[test]
fn the_conformance_test_of_mppx_finds_nothing_wrong() {
    let till = Till::open("");
    let mut node = program("node", "mppx-0.11.0");
    let url = format!("http://{}", till.server.address());
    node.args(["node_modules/mppx/dist/bin.js", "validate", &url, "--outputJson"]);
    let said = said(node);
    assert_eq!(
        (&said["summary"]["failed"], &said["summary"]["warnings"]),
        (&json!(0), &json!(0)),
        "{said:#}"
    );
    assert!(said["summary"]["passed"].as_u64() > Some(10), "{said:#}");
    assert_eq!(till.paid(), 0);
}

#[test]
fn one_authorization_in_the_forms_of_two_rails_at_once_buys_one_run() {
    let till = Till::open("");
    let body = json!({"action": "echo", "payload": {"n": 1}, "nonce": "n-1"});
    let asked = till.server.raw(&post_bytes("/execute", &body));
    let asked = String::from_utf8(asked).unwrap();
    let line = asked.lines().find_map(|line| line.strip_prefix("www-authenticate: ")).unwrap();
    let (id, challenge) = Challenge::read_all(line).unwrap().remove(0);
    let (wallet, now_s) = (Wallet::of(PAYER), till.chain.now_s());
    let signed = wallet.pays(SELLER.address.parse().unwrap(), ECHO_UNITS, 1, now_s);
    let ends_s = read(challenge.expires.as_ref().unwrap()).unwrap().0 / 1000;
    let signed = wallet.signs(Authorization {
        nonce: charge::nonces(&id, &challenge.realm)[1],
        valid_after: U256::ZERO,
        valid_before: U256::from(ends_s),
        ..signed
    });
    let authorization = json!({
        "from": signed.from, "to": signed.to, "value": signed.value, "validAfter": signed.valid_after,
        "validBefore": signed.valid_before, "nonce": to_hex(&signed.nonce),
    });
    let signature = to_hex(signed.signature.as_bytes());
    let x402 = json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia",
        "payload": {"signature": signature, "authorization": authorization},
    });
    let mut payload = authorization.clone();
    payload["type"] = json!("authorization");
    payload["signature"] = json!(signature);
    let echo = json!({
        "id": id, "realm": challenge.realm, "method": challenge.method, "intent": challenge.intent,
        "request": challenge.request, "expires": challenge.expires, "digest": challenge.digest,
        "opaque": challenge.opaque, "description": challenge.description,
    });
    let mpp = json!({"challenge": echo, "payload": payload});
    let forms = [
        format!("X-PAYMENT: {}", STANDARD.encode(x402.to_string())),
        format!("Payment-Authorization: Payment {}", URL_SAFE_NO_PAD.encode(mpp.to_string())),
    ];
    let in_form = |at: usize| shown(&till, &body, &forms[at % 2]);
    let answers: Vec<Reply> = thread::scope(|scope| {
        let calls: Vec<_> = (0..2 * CROWD).map(|at| scope.spawn(move || in_form(at))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.body),
            (200, &answers[0].body),
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    assert_eq!((till.paid(), till.chain.transfers().len()), (ECHO_UNITS, 1));
    // Whoever keeps its session needs no payment for its own answer; nobody else has it.
    let first =
        answers.iter().find(|answer| !answer.head.contains("execgate-replayed")).expect("one that paid");
    let session = first.head.lines().find_map(|line| line.strip_prefix("execgate-session: "));
    let session = session.expect("a session");
    let own = shown(&till, &body, &format!("Execgate-Session: {session}"));
    assert_eq!((own.status, &own.body), (200, &answers[0].body));
    assert_eq!(shown(&till, &body, &format!("Execgate-Session: {}", "a".repeat(64))).status, 402);
    let other = json!({"action": "echo", "payload": {"n": 2}, "nonce": "n-2"});
    let cheated = till.server.raw(&post_bytes("/execute", &other));
    assert_eq!(reply(&cheated).status, 402);
}

fn shown(till: &Till, body: &Value, form: &str) -> Reply {
    let body = body.to_string();
    let bytes = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{form}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    reply(&till.server.raw(bytes.as_bytes()))
}
