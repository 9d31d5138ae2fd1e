//! Services that are to settle and do not do what they should: they hang, hang up, lie, or answer twice. What nobody can
//! tell withholds the result; nothing is done twice, and nothing is asked for twice by itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use execgate_testkit::chain::{Chain, GAS, SELLER};
use execgate_testkit::wallet::usdc;
use serde_json::{Value, json};

use super::server::run;
use super::shop::{Says, Service, Shop, work_of};

/// A transaction.
const HASH: &str = "0xabababababababababababababababababababababababababababababababab";

fn settled() -> Value {
    json!({"success": true, "transaction": HASH, "network": "eip155:84532"})
}

fn failed(reason: &str) -> Value {
    json!({"success": false, "errorReason": reason, "transaction": "", "network": "eip155:84532"})
}

/// How a payment for a call under a nonce is shown; another for each number.
fn pays(shop: &Shop, nonce: &str, number: u64) -> String {
    let asked = shop.ask("/execute", &work_of(nonce));
    asked.by_two(&asked.drawn(&shop.payer(), number))
}

#[test]
fn an_end_that_nobody_has_heard_withholds_the_result_and_is_asked_for_once() {
    let service = Service::start();
    let shop = Shop::with(&service);
    let unheard = [
        ("says nothing", Says::Nothing),
        ("hangs up", Says::HangsUp),
        ("fails", Says::Told(500, json!({"error": "no"}))),
        ("says nonsense", Says::Told(200, json!([1]))),
        ("names no transaction", Says::Told(200, json!({"success": true, "transaction": ""}))),
        ("says that it waits", Says::Told(200, failed("settlement_pending"))),
        ("says that it was used", Says::Told(200, failed("invalid_exact_evm_nonce_already_used"))),
    ];
    for (times, (name, says)) in (1..).zip(unheard) {
        service.says(says);
        let nonce = format!("n-{times}");
        let form = pays(&shop, &nonce, u64::try_from(times).unwrap());
        for _ in 0..2 {
            let heard = shop.show("/execute", &work_of(&nonce), &form);
            assert_eq!((heard.status, heard.code().as_str()), (402, "settlement-pending"), "{name}");
            assert!(heard.json()["result"].is_null(), "{name}");
        }
        assert_eq!((shop.work.starts(), service.asked()), (times, times), "{name}");
    }
    assert!(shop.is_sound());
}

#[test]
fn a_service_that_answers_twice_is_heard_once() {
    let service = Service::start();
    let shop = Shop::with(&service);
    for (number, nonce, both, status) in [
        (1, "n-1", Says::Both(settled(), failed("insufficient_funds")), 200),
        (2, "n-2", Says::Both(failed("insufficient_funds"), settled()), 402),
    ] {
        service.says(both);
        let form = pays(&shop, nonce, number);
        let heard = shop.show("/execute", &work_of(nonce), &form);
        assert_eq!(heard.status, status, "{}", String::from_utf8_lossy(&heard.body));
    }
    assert_eq!((shop.work.starts(), service.asked()), (2, 2));
    assert!(shop.is_sound());
}

#[test]
fn one_that_says_that_it_did_not_settle_leaves_the_work_to_a_new_payment() {
    let service = Service::start();
    let shop = Shop::with(&service);
    service.says(Says::Told(200, failed("insufficient_funds")));
    let body = work_of("n-1");
    let form = pays(&shop, "n-1", 1);
    let heard = shop.show("/execute", &body, &form);
    assert_eq!((heard.status, heard.code().as_str()), (402, "done-unpaid"));
    service.says(Says::Told(200, settled()));
    let fresh = pays(&shop, "n-1", 2);
    let heard = shop.show("/execute", &body, &fresh);
    assert_eq!(heard.status, 200, "{}", String::from_utf8_lossy(&heard.body));
    assert_eq!((shop.work.starts(), service.asked()), (1, 2));
    // What it answers is answered again for either payment, and moves nothing.
    for form in [form, fresh] {
        assert_eq!(shop.show("/execute", &body, &form).body, heard.body);
    }
    assert_eq!(service.asked(), 2);
    assert!(shop.is_sound());
}

#[test]
fn what_a_settler_has_for_gas_is_in_the_metrics_and_where_its_node_is_among_no_processes() {
    let shop = Shop::with_a_settler();
    let told = shop.metrics();
    let gas = format!("execgate_settler_gas_gwei{{account=\"{}\"}} ", GAS.address);
    let nonce = format!("execgate_settler_nonce{{account=\"{}\"}} 0", GAS.address);
    let has = told.lines().find_map(|line| line.strip_prefix(&gas)).expect("what it has");
    assert!(has.parse::<f64>().unwrap() > 1.0 && told.lines().any(|line| line == nonce), "{told}");
    let line = shop.settlers_command_line();
    assert!(line.contains("--chain") && !line.contains("http"), "{line}");
}

#[test]
fn a_settler_reads_where_its_node_is_from_a_file_that_nobody_else_reads() {
    let folder = tempfile::tempdir().unwrap();
    let beside = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (key, node) = (beside("gas.key", GAS.key), beside("node", "http://127.0.0.1:9/canary\n"));
    let dir = folder.path().join("settler");
    let told = |args: &[&str]| {
        let usual = ["--chain", "eip155:84532", "--key-file", key.to_str().unwrap(), "--dir"];
        let output = run(&[&["settler"][..], &usual, &[dir.to_str().unwrap()], args].concat(), "");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let named = told(&["--rpc-file", node.to_str().unwrap()]);
    assert!(named.contains("the node is not reached") && !named.contains("canary"), "{named}");
    assert!(told(&[]).contains("the settler has no node"));
    fs::write(&node, "ftp://canary").unwrap();
    let wrong = told(&["--rpc-file", node.to_str().unwrap()]);
    assert!(wrong.contains("--rpc-file is wrong") && !wrong.contains("canary"), "{wrong}");
    fs::set_permissions(&node, Permissions::from_mode(0o644)).unwrap();
    assert!(told(&["--rpc-file", node.to_str().unwrap()]).contains("read by others"));
}

#[test]
fn a_token_that_its_contract_says_is_another_keeps_the_gateway_from_starting() {
    let (chain, folder) = (Chain::start(), tempfile::tempdir().unwrap());
    let config = folder.path().join("execgate.toml");
    let data = folder.path().join("data");
    let told = |token: &str| {
        let money = format!(
            "[payment]\nwallet = {:?}\nrpc = {:?}\n[[payment.token]]\n{token}",
            SELLER.address,
            chain.url()
        );
        fs::write(&config, money).unwrap();
        let (data, config) = (data.to_str().unwrap(), config.to_str().unwrap());
        let output = run(&["serve", "--data-dir", data, "--config", config, "--listen", "127.0.0.1:0"], "");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let token = |contract: &str, decimals: u8, version: &str| {
        format!(
            "network = \"eip155:84532\"\ncontract = {contract:?}\nname = \"USDC\"\nversion = {version:?}\ndecimals = {decimals}\n"
        )
    };
    let (usdc, nobody) = (usdc().contract.to_string(), "0x00000000000000000000000000000000000000aa");
    let decimals = told(&token(&usdc, 18, "2"));
    assert!(decimals.contains("has 6 decimals by its own contract, and 18 are configured"), "{decimals}");
    let version = told(&token(&usdc, 6, "1"));
    assert!(version.contains("another name or version in its domain"), "{version}");
    let missing = told(&token(nobody, 6, "2"));
    assert!(missing.contains("there is no contract at"), "{missing}");
}
