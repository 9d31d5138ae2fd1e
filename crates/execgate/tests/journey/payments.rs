//! Money on a real gateway: a chain, a facilitator of x402's own makers, and unmodified clients that pay.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_payment::evm::{Authorization, U256, to_hex};
use execgate_testkit::chain::{Chain, GAS, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::server::{Data, Reply, Server, execgate, reply, run};

/// Where `cargo xtask setup` puts the clients.
const CLIENTS: &str = "tools/x402-clients-2";

/// The programs of this test. They are handed over as texts, so that they find the packages of the folder they run in.
const FACILITATOR: &str = include_str!("../clients/facilitator.mjs");
const NODE: &str = include_str!("../clients/pay.mjs");
const PYTHON: &str = include_str!("../clients/pay.py");

/// How Node takes a module as a text.
const MODULE: [&str; 2] = ["--input-type=module", "--eval"];

/// What one call of `echo` costs, in units of USDC.
pub(super) const ECHO_UNITS: u64 = 10_000;

/// A gateway that is paid.
pub(super) struct Till {
    pub(super) server: Server,
    pub(super) chain: Chain,
    facilitator: Child,
    data: Data,
}

impl Drop for Till {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.facilitator.kill());
        drop(self.facilitator.wait());
    }
}

/// The folder of the clients, above the folder of whichever test this is.
fn clients() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join(CLIENTS)).find(|folder| folder.is_dir());
    found.expect("the clients are not there; run `cargo xtask setup`")
}

fn program(name: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "clients are programs")]
    let mut command = Command::new(name);
    #[expect(clippy::disallowed_methods, reason = "Node lies wherever its installer put it")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", std::env::temp_dir()).current_dir(clients());
    command
}

impl Till {
    pub(super) fn open(more: &str) -> Self {
        Self::over(Chain::start(), "networks = [\"eip155:84532\"]\n", more)
    }

    /// On that chain, paid in these networks.
    pub(super) fn over(chain: Chain, networks: &str, more: &str) -> Self {
        chain.fund(PAYER.address, 1_000_000);
        let mut facilitator = program("node")
            .args(MODULE)
            .args([FACILITATOR, &chain.url(), GAS.key])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(facilitator.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let data = Data::new();
        let folder = data.path();
        let config = folder.parent().unwrap().join("execgate.toml");
        let text = format!(
            "[surfaces]\ncode = \"off\"\n[payment]\n{networks}facilitator = \"{}\"\n{more}",
            url.trim()
        );
        fs::write(&config, text).unwrap();
        let args = ["--config", config.to_str().unwrap()];
        let server = Server::start_with(&folder, &args, &[("PAYMENT_WALLET", SELLER.address)]);
        Self { server, chain, facilitator, data }
    }

    /// What one of the clients was answered.
    pub(super) fn pay(&self, client: &str, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.server.address());
        let body = body.to_string();
        let mut command = match client {
            "python" => {
                let mut command = program(clients().join("venv/bin/python").to_str().unwrap());
                command.args(["-c", PYTHON, &url, &body, PAYER.key]);
                command
            }
            other => {
                let mut command = program("node");
                command.args(MODULE).args([NODE, other, &url, &body, PAYER.key]);
                command
            }
        };
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{client}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The gateway's folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.data.path()
    }

    pub(super) fn paid(&self) -> u64 {
        self.chain.balance(SELLER.address)
    }
}

#[test]
fn unmodified_clients_of_both_versions_pay_and_are_served_once() {
    let till = Till::open("");
    for (number, client) in (1_u64..).zip(["fetch", "axios", "legacy", "python"]) {
        let body = json!({"action": "echo", "payload": {"client": client}, "nonce": client});
        let answer = till.pay(client, "/execute", &body);
        assert_eq!(
            (&answer["status"], &answer["body"]["result"]["echo"]["client"]),
            (&json!(200), &json!(client)),
            "{answer}"
        );
        assert_eq!(till.paid(), number * ECHO_UNITS, "{client}");
        let told = if client == "legacy" { &answer["one"] } else { &answer["two"] };
        let moved = till.chain.transfers();
        assert_eq!(
            (&told["success"], &told["transaction"]),
            (&json!(true), &json!(moved.last().unwrap().transaction))
        );
        assert!(answer["cache"].as_str().unwrap().contains("private"), "{answer}");
    }
}

#[test]
fn a_batch_is_paid_for_as_one_before_it_starts_by_a_client_that_knows_nothing_of_it() {
    let till = Till::open("");
    let call = |text: &str| json!({"tool": {"name": "json_parse", "args": {"data": text}}});
    let body = json!({"dryRun": false, "calls": [call("[1]"), call("[2]"), call("{}")]});
    let answer = till.pay("fetch", "/exec/batch", &body);
    assert_eq!(answer["status"], 200, "{answer}");
    // Three calls for real, at $0.05.
    assert_eq!((till.paid(), till.chain.transfers().len()), (150_000, 1));
    let asked = till.server.post("/exec/batch", &body);
    assert_eq!((asked.status, &asked.json()["amount"]), (402, &json!("0.15")));
    assert!(asked.json().get("accepts").is_none(), "version 1 knows of no payment before the work");
}

#[test]
fn what_was_paid_is_answered_again_for_nothing_and_buys_nothing_else() {
    let till = Till::open("");
    let body = json!({"action": "echo", "payload": {"n": 1}, "nonce": "n-1"});
    let asked = till.server.post("/execute", &body);
    assert_eq!(asked.status, 402);
    let payment = till.signed(&asked);
    let first = till.shown("/execute", &body, &payment);
    assert_eq!(first.status, 200, "{}", String::from_utf8_lossy(&first.body));
    let again = till.shown("/execute", &body, &payment);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert!(again.head.contains("execgate-replayed: true") && again.head.contains("payment-response: "));
    let other = json!({"action": "echo", "payload": {"n": 2}, "nonce": "n-2"});
    assert_eq!(till.shown("/execute", &other, &payment).status, 409);
    assert_eq!(till.paid(), ECHO_UNITS);
}

#[test]
fn a_call_without_a_payment_is_told_the_price_in_the_words_of_its_surface() {
    let till = Till::open("");
    let (network, amount) = ("base-sepolia", "0.01");
    for (path, body) in [
        ("/execute", json!({})),
        ("/execute", json!({"action": "echo", "nonce": "n"})),
        ("/exec/tool", json!({})),
    ] {
        let asked = till.server.post(path, &body);
        let told = asked.json();
        assert_eq!(
            (asked.status, &told["amount"], &told["network"]),
            (402, &json!(amount), &json!(network)),
            "{path} {told}"
        );
        assert_eq!((&told["payTo"], &told["currency"]), (&json!(SELLER.address), &json!("USDC")));
        assert_eq!(
            (&told["x402Version"], &told["accepts"][0]["network"]),
            (&json!(1), &json!("base-sepolia"))
        );
        assert!(asked.head.contains("payment-required: ") && asked.head.contains("cache-control: no-store"));
    }
    let batch = till.server.post("/exec/batch", &json!({}));
    assert_eq!((batch.status, &batch.json()["amount"]), (402, &json!("0.10")));
    let bad = till.shown("/execute", &json!({}), "e30=");
    assert_eq!(bad.status, 400, "a credential and a body that is none");
    let simulated = json!({"tool": {"name": "math_compute", "args": {"expression": "6 * 7"}}});
    assert_eq!(till.server.post("/exec/simulate", &simulated).status, 200);
    assert_eq!(till.paid(), 0);
}

#[test]
fn a_wallet_is_enough_to_be_paid_and_a_wrong_one_does_not_start() {
    let data = Data::new();
    let serve = |wallet: &str, more: &[&str]| {
        let folder = data.path();
        let mut args = vec!["pricing", "--json"];
        args.extend(more);
        let mut command = execgate();
        command.args(&args).env("PAYMENT_WALLET", wallet).current_dir(folder.parent().unwrap());
        command.output().unwrap()
    };
    let told: Value = serde_json::from_slice(&serve(SELLER.address, &[]).stdout).unwrap();
    assert_eq!((&told["testnet"], &told["accounts"][0]["network"]), (&json!(false), &json!("eip155:8453")));
    assert_eq!(told["accounts"][0]["payTo"], SELLER.address);
    let wrong = serve(&SELLER.address.replace('F', "f"), &[]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("EIP-55"));
    assert!(!run(&["pricing"], "").status.success(), "nobody pays without a wallet");
}

impl Till {
    /// The payment of version 1 that the payer's wallet makes of a 402.
    fn signed(&self, asked: &Reply) -> String {
        self.signed_as(asked, 1)
    }

    /// The same with another nonce of the payer's.
    pub(super) fn signed_as(&self, asked: &Reply, number: u64) -> String {
        let told = asked.json();
        let wanted = &told["accepts"][0];
        let units = wanted["maxAmountRequired"].as_str().unwrap().parse().unwrap();
        let to = wanted["payTo"].as_str().unwrap().parse().unwrap();
        let (wallet, now_s) = (Wallet::of(PAYER), self.chain.now_s());
        let ends_s = now_s + wanted["maxTimeoutSeconds"].as_u64().unwrap();
        let signed = wallet.pays(to, units, number, now_s);
        let signed = wallet.signs(Authorization { valid_before: U256::from(ends_s), ..signed });
        let payment = json!({
            "x402Version": 1, "scheme": "exact", "network": wanted["network"],
            "payload": {
                "signature": to_hex(signed.signature.as_bytes()),
                "authorization": {
                    "from": signed.from, "to": signed.to, "value": signed.value, "validAfter": signed.valid_after,
                    "validBefore": signed.valid_before, "nonce": to_hex(&signed.nonce),
                },
            },
        });
        STANDARD.encode(payment.to_string())
    }

    /// A call that shows a payment.
    pub(super) fn shown(&self, path: &str, body: &Value, payment: &str) -> Reply {
        let body = body.to_string();
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nX-PAYMENT: {payment}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.server.address(),
            body.len()
        );
        reply(&self.server.raw(bytes.as_bytes()))
    }
}
