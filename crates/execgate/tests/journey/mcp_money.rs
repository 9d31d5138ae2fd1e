//! Calls over the Model Context Protocol that are paid by challenge, by the unmodified client of `mppx` around that of the
//! protocol's makers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use execgate_payment::evm::to_hex;
use execgate_testkit::chain::{PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::mcp::{LIVE_UNITS, call, clients, node, payment, post, post_at, told};
use super::mpp::tool;
use super::payments::Till;

/// A server of others with one resource and one prompt.
const LIBRARY: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    result = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
                       "serverInfo": {"name": "library", "version": "1"}},
        "tools/list": {"tools": [{"name": "look", "inputSchema": {"type": "object"}}]},
        "resources/list": {"resources": [{"uri": "book://1", "name": "one"}]},
        "resources/read": {"contents": [{"uri": "book://1", "text": "once upon a time"}],
                           "_meta": {"x402/payment-response": {"success": False}, "shelf": 7}},
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "tell"}}]},
    }.get(message["method"], {})
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

const MPPX: &str = include_str!("../payers/mppx/mcp.mjs");

#[test]
fn mppx_pays_a_call_as_a_result_says_and_by_the_scheme_s_own_errors_where_it_asks_for_them() {
    let till = Till::open("");
    for (asks, heard) in [("", json!(["result", "paid"])), ("yes", json!([-32042, "paid"]))] {
        let mut client = node();
        client.current_dir(tool("mppx-0.11.0")).args(["--input-type=module", "--eval", MPPX]);
        let package = clients().join("node_modules/@modelcontextprotocol/client/dist/index.mjs");
        client.env("CLIENT", package).env("KEY", PAYER.key).env("ASKS", asks);
        client.env("URL_TO_PAY", format!("http://{}/mcp", till.server.address()));
        let answer = told(client);
        assert_eq!((&answer["seen"], &answer["value"]), (&heard, &json!(42)), "{answer}");
        let receipt = &answer["receipt"];
        assert_eq!((&receipt["status"], &receipt["method"]), (&json!("success"), &json!("evm")), "{answer}");
        assert!(receipt["challengeId"].is_string());
        let moved = till.chain.transfers();
        assert_eq!(receipt["reference"], json!(moved.last().unwrap().transaction));
    }
    assert_eq!(till.paid(), 2 * LIVE_UNITS);
}

#[test]
fn what_pays_nothing_is_told_so_in_the_words_of_who_asked() {
    let till = Till::open("");
    let methods = post(&till.server, "", "server/discover", &json!({})).json();
    let offered = &methods["result"]["capabilities"]["experimental"]["payment"];
    assert_eq!(offered, &json!({"methods": {"evm": {"intents": ["charge"]}}}), "{methods}");
    let compute =
        |meta: &Value| json!({"name": "math_compute", "arguments": {"expression": "1"}, "_meta": meta});
    // Both forms in one answer, and none of the codes that are not MCP's to give.
    let bare = call(&till.server, "", &compute(&json!({})));
    let challenge = &bare["_meta"]["org.paymentauth/payment-required"]["challenges"][0];
    assert_eq!((&bare["isError"], &bare["structuredContent"]["x402Version"]), (&json!(true), &json!(2)));
    assert_eq!(challenge["method"], "evm", "{bare}");
    let shows = |meta: Value| post(&till.server, "", "tools/call", &compute(&meta)).json();
    // What is signed is good; the challenge that it answers was never given.
    let (wallet, now_s) = (Wallet::of(PAYER), till.chain.now_s());
    let signed = wallet.pays(SELLER.address.parse().unwrap(), LIVE_UNITS, 1, now_s);
    let payload = json!({
        "type": "authorization", "signature": to_hex(signed.signature.as_bytes()),
        "from": signed.from, "to": signed.to, "value": signed.value, "validAfter": signed.valid_after,
        "validBefore": signed.valid_before, "nonce": to_hex(&signed.nonce),
    });
    let mut forged = challenge.clone();
    forged["id"] = json!("AAAA");
    let shown = json!({"challenge": forged, "payload": payload});
    let refused = shows(json!({"org.paymentauth/credential": shown}));
    assert_eq!(refused["error"]["code"], -32043, "{refused}");
    assert!(refused["error"]["data"]["challenges"][0]["id"].is_string());
    assert_eq!(refused["error"]["data"]["failure"]["reason"], "invalid-challenge", "{refused}");
    // One of a form that is not taken, one that is none, and two payments at once.
    let other = json!({"challenge": challenge, "payload": {"type": "hash", "hash": "0x00"}});
    let other = shows(json!({"org.paymentauth/credential": other}));
    assert_eq!(other["error"]["code"], -32602, "{other}");
    let broken = shows(json!({"org.paymentauth/credential": {"challenge": 1}}));
    assert_eq!(broken["result"]["structuredContent"]["code"], "bad-payment", "{broken}");
    let both = shows(json!({"org.paymentauth/credential": shown, "x402/payment": {}}));
    assert_eq!(both["result"]["structuredContent"]["code"], "bad-payment", "{both}");
    assert_eq!(till.paid(), 0);
}

#[test]
fn resources_and_prompts_are_bought_as_tools_are() {
    let folder = tempfile::tempdir().unwrap();
    // Read by the gateway, which drops root.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let (script, policy) = (folder.path().join("library.py"), folder.path().join("policy.json"));
    fs::write(&script, LIBRARY).unwrap();
    let price = json!({"price": "0.05"});
    let rules = json!({"version": "1", "default": "allow", "resources": price, "prompts": price});
    fs::write(&policy, rules.to_string()).unwrap();
    let till = Till::open(&format!(
        "[policy]\nfile = \"{}\"\n[[upstream]]\nname = \"library\"\nsandbox = false\nshareable = true\n\
         command = [\"/usr/bin/python3\", \"{}\"]\nfirst = \"accept\"\n",
        policy.display(),
        script.display()
    ));
    let had = |method: &str, what: &Value, meta: Value| {
        let mut params = what.clone();
        params["_meta"] = meta;
        post_at(&till.server, "/mcp/library", method, &params)
    };
    let readings = [("resources/read", json!({"uri": "book://1"})), ("prompts/get", json!({"name": "one"}))];
    for (bought, (method, what)) in (1_u64..).zip(readings) {
        // It is connected beside the first requests.
        let asked = loop {
            let asked = had(method, &what, json!({}));
            if asked["error"]["code"] != -32601 {
                break asked;
            }
        };
        let required = &asked["error"]["data"];
        assert_eq!((&asked["error"]["code"], &required["x402Version"]), (&json!(402), &json!(2)), "{asked}");
        let challenges = &required["_meta"]["org.paymentauth/payment-required"]["challenges"];
        assert_eq!(challenges[0]["method"], "evm", "{asked}");
        let by_challenge = had(method, &what, json!({"org.paymentauth/credential": {"challenge": {}}}));
        assert!([-32602, -32043].map(Value::from).contains(&by_challenge["error"]["code"]), "{by_challenge}");
        let pays = json!({"x402/payment": payment(&till, required, bought)});
        let paid = had(method, &what, pays.clone());
        let response = &paid["result"]["_meta"]["x402/payment-response"];
        let moved = till.chain.transfers();
        assert_eq!(response["transaction"], json!(moved.last().unwrap().transaction), "{paid}");
        assert_eq!(had(method, &what, pays)["result"], paid["result"], "the same payment is the same answer");
        assert_eq!(till.paid(), bought * LIVE_UNITS);
    }
    let read = json!({"uri": "book://1"});
    let required = had("resources/read", &read, json!({}))["error"]["data"].take();
    let paid = had("resources/read", &read, json!({"x402/payment": payment(&till, &required, 3)}));
    assert_eq!(paid["result"]["contents"][0]["text"], "once upon a time");
    // What its server says of money stands for nothing; what else it says stays.
    let meta = &paid["result"]["_meta"];
    assert_eq!(
        (&meta["shelf"], &meta["x402/payment-response"]["success"]),
        (&json!(7), &json!(true)),
        "{paid}"
    );
}
