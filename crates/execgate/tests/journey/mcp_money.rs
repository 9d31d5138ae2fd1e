//! Calls over the Model Context Protocol that are paid by challenge, by the unmodified client of `mppx` around that of the
//! protocol's makers.

use execgate_payment::evm::to_hex;
use execgate_testkit::chain::{PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::mcp::{LIVE_UNITS, call, clients, node, post, told};
use super::mpp::tool;
use super::payments::Till;

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
