//! Money that nobody has heard the end of, and the operator who looks after it: `execgate settle`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::{fs, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_payment::evm::{Authorization, U256, to_hex};
use execgate_testkit::chain::{Chain, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::server::{Data, Reply, Server, execgate, reply};

/// A facilitator that finds every payment good, and whose word on settling makes no sense.
fn mumbling() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the test's process.
    thread::spawn(move || listener.incoming().for_each(|stream| mumble(stream.unwrap())));
    format!("http://{address}")
}

fn mumble(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 4_096];
    while !is_whole(&request) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&piece[..count]),
        }
    }
    let body = if request.starts_with(b"POST /verify ") { r#"{"isValid":true}"# } else { "well" };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // Who has enough hangs up.
    drop(stream.write_all(answer.as_bytes()));
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

/// A gateway that is paid by way of that facilitator.
struct Shop {
    chain: Chain,
    folder: PathBuf,
    config: PathBuf,
    _data: Data,
}

impl Shop {
    fn new(has_node: bool) -> Self {
        let chain = Chain::start();
        chain.fund(PAYER.address, 1_000_000);
        let data = Data::new();
        let folder = data.path();
        let config = folder.parent().unwrap().join("execgate.toml");
        let node = if has_node { format!("rpc = \"{}\"\n", chain.url()) } else { String::new() };
        let text = format!(
            "[surfaces]\ncode = \"off\"\n[payment]\nwallet = \"{}\"\nnetworks = [\"eip155:84532\"]\nfacilitator = \"{}\"\n{node}",
            SELLER.address,
            mumbling()
        );
        fs::write(&config, text).unwrap();
        Self { chain, folder, config, _data: data }
    }

    fn serve(&self) -> Server {
        Server::start_with(&self.folder, &["--config", self.config.to_str().unwrap()], &[])
    }

    fn settle(&self, args: &[&str]) -> Output {
        let place = ["--data-dir", self.folder.to_str().unwrap(), "--config", self.config.to_str().unwrap()];
        execgate().arg("settle").args(args).args(place).output().unwrap()
    }

    fn open(&self) -> Value {
        let listed = self.settle(&["status", "--json"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        serde_json::from_slice(&listed.stdout).unwrap()
    }

    /// What a command of the operator is refused for.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.settle(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// One call, with a payment of version 1 for what a 402 asks.
fn bought(shop: &Shop, server: &Server, payment: &Authorization) -> Reply {
    let payload = json!({
        "signature": to_hex(payment.signature.as_bytes()),
        "authorization": {
            "from": payment.from, "to": payment.to, "value": payment.value, "validAfter": payment.valid_after,
            "validBefore": payment.valid_before, "nonce": to_hex(&payment.nonce),
        },
    });
    let shown = json!({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload});
    let body = json!({"action": "echo", "payload": {"n": 1}, "nonce": "n-1"}).to_string();
    let request = format!(
        "POST /execute HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nX-PAYMENT: {}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        server.address(),
        STANDARD.encode(shown.to_string()),
        body.len()
    );
    assert!(shop.folder.is_dir());
    reply(&server.raw(request.as_bytes()))
}

fn signed(shop: &Shop) -> Authorization {
    let now_s = shop.chain.now_s();
    let wallet = Wallet::of(PAYER);
    let signed = wallet.pays(SELLER.address.parse().unwrap(), 10_000, 1, now_s);
    wallet.signs(Authorization { valid_before: U256::from(now_s + 3_000), ..signed })
}

#[test]
fn where_nobody_can_tell_the_operator_says_what_became_of_a_payment() {
    let shop = Shop::new(false);
    let server = shop.serve();
    let payment = signed(&shop);
    let answer = bought(&shop, &server, &payment);
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 402 && told.contains("pending"), "{told}");
    let open = shop.open();
    let run = open[0]["run"].as_str().unwrap().to_owned();
    assert_eq!(
        (&open[0]["state"], &open[0]["amount"], &open[0]["rail"]),
        (&json!("pending"), &json!("0.01"), &json!("x402"))
    );
    let payer = open[0]["payer"].as_str().unwrap().to_lowercase();
    assert!(payer.ends_with(&PAYER.address.to_lowercase()), "{payer}");
    let retried = shop.settle(&["retry", "--all"]);
    assert_eq!(retried.status.code(), Some(1), "nobody can tell");
    let nobody = "00000000-0000-4000-8000-000000000000";
    let missing = shop.refused(&["retry", nobody]);
    assert!(missing.contains(nobody) && missing.contains("execgate settle status"), "{missing}");
    shop.chain.submit(&payment);
    let transaction = shop.chain.transfers()[0].transaction.clone();
    let wrong = shop.refused(&["taken", &run, "--transaction", "0x12", "--yes"]);
    assert!(wrong.contains("reference"), "{wrong}");
    let taken = shop.settle(&["taken", &run, "--transaction", &transaction, "--yes"]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(shop.open(), json!([]));
    assert_eq!(bought(&shop, &server, &payment).status, 200);
    assert!(shop.refused(&["gone", &run, "--yes"]).contains("pending"), "it has ended");
    let retried = shop.settle(&["retry", &run]);
    assert!(retried.status.success() && String::from_utf8_lossy(&retried.stdout).contains("nothing pending"));
    drop(server);
    assert!(shop.refused(&["retry", nobody]).contains(nobody), "the record alone says the same");
    // The record alone says the same.
    assert_eq!(shop.open(), json!([]));
}

#[test]
fn a_node_of_our_own_has_the_last_word_and_ends_what_is_pending() {
    let shop = Shop::new(true);
    let server = shop.serve();
    let payment = signed(&shop);
    assert_eq!(bought(&shop, &server, &payment).status, 402);
    drop(server);
    let open = shop.open();
    let run = open[0]["run"].as_str().unwrap().to_owned();
    for word in [&["gone", &run, "--yes"][..], &["taken", &run, "--transaction", &to_hex(&[7; 32]), "--yes"]]
    {
        assert!(shop.refused(word).contains("may still be"), "{word:?}");
    }
    assert_eq!(shop.settle(&["retry", &run]).status.code(), Some(1));
    shop.chain.submit(&payment);
    assert!(shop.refused(&["gone", &run, "--yes"]).contains("it was taken by 0x"));
    let retried = shop.settle(&["retry", &run]);
    assert!(retried.status.success() && String::from_utf8_lossy(&retried.stdout).contains("1 captured"));
    assert_eq!((shop.open(), shop.chain.transfers().len()), (json!([]), 1));
    assert_eq!(bought(&shop, &shop.serve(), &payment).status, 200);
}

#[test]
fn where_the_node_is_down_the_record_is_looked_after_all_the_same() {
    let shop = Shop::new(true);
    let server = shop.serve();
    assert_eq!(bought(&shop, &server, &signed(&shop)).status, 402);
    drop(server);
    let text = fs::read_to_string(&shop.config).unwrap();
    let text = text.replace(&shop.chain.url(), "http://127.0.0.1:9");
    let tempo = "[payment.mpp]\nmethods = [\"tempo\"]\n[payment.mpp.tempo]\nrpc = \"http://127.0.0.1:9/canary\"\n\
                 contract = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\n";
    fs::write(&shop.config, format!("{text}{tempo}")).unwrap();
    let open = shop.open();
    let run = open[0]["run"].as_str().unwrap().to_owned();
    let said = |args: &[&str]| {
        let output = shop.settle(args);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = said(&["retry", &run]);
    assert_eq!(code, Some(1), "{told}");
    for chain in [84_532, 42_431] {
        assert!(told.contains(&format!("nobody can be asked about payments on eip155:{chain}")), "{told}");
    }
    assert!(!told.contains("canary"), "{told}");
    let (code, told) = said(&["gone", &run]);
    assert!(code == Some(2) && told.contains("--yes"), "{told}");
    let (code, told) = said(&["taken", &run, "--transaction", &to_hex(&[7; 32]), "--yes"]);
    assert!(code == Some(0) && told.contains("nobody could be asked what became of it"), "{told}");
    assert_eq!(shop.open(), json!([]));
}

#[test]
fn a_node_that_is_of_another_chain_or_not_there_keeps_a_gateway_from_starting() {
    let shop = Shop::new(true);
    let text = fs::read_to_string(&shop.config).unwrap();
    let url = shop.chain.url();
    let foreign = text.replace("eip155:84532", "eip155:80002").replace(
        "[payment]\n",
        "[[payment.token]]\nnetwork = \"eip155:80002\"\ncontract = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\nname = \"a\"\n\
         version = \"2\"\ndecimals = 6\n[payment]\n",
    );
    let foreign = foreign.replace("networks = [\"eip155:80002\"]\n", "");
    let tempo = |node: &str| {
        format!(
            "{text}[payment.mpp]\nmethods = [\"tempo\"]\n[payment.mpp.tempo]\nrpc = \"{node}\"\n\
             contract = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\n"
        )
    };
    for (text, word) in [
        (tempo(&url), "chain 84532"),
        (tempo("http://127.0.0.1:9"), "not reached"),
        (foreign, "chain 84532"),
        (text.replace(&url, "http://127.0.0.1:9"), "not reached"),
        (text.replace(&url, "http://node.example"), "https"),
    ] {
        fs::write(&shop.config, text).unwrap();
        let folder = shop.folder.to_str().unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder, "--config"];
        let output = execgate().args(args).arg(&shop.config).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(word), "{word}: {told}");
    }
}

#[test]
fn a_wallet_alone_is_served_on_a_main_network() {
    let data = Data::new();
    let server = Server::start_with(&data.path(), &[], &[("PAYMENT_WALLET", SELLER.address)]);
    let asked = server.post("/execute", &json!({"action": "echo", "payload": {}, "nonce": "n"}));
    let told = asked.json();
    assert_eq!(
        (asked.status, &told["network"], &told["payTo"]),
        (402, &json!("base"), &json!(SELLER.address))
    );
}
