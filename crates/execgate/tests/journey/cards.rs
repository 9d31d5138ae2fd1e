//! Cards by challenge on a real gateway, against a double of Stripe: charged once, refused as Stripe refuses, and the key of
//! the account in nothing that anybody reads.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use execgate_payment::mpp::{Challenge, Receipt};
use execgate_testkit::Upstream;
use execgate_testkit::chain::SELLER;
use serde_json::{Value, json};

use super::server::{Data, Reply, Server, post_bytes, reply, run};

const KEY: &str = "sk_test_canary0123456789";

/// A double of Stripe: it takes each idempotency key once, and declines one card.
async fn stripe(charges: Arc<Mutex<BTreeSet<String>>>) -> Upstream {
    Upstream::start(move |request| {
        let line = |name: &str| {
            let found = request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            found.unwrap_or_default().to_owned()
        };
        let said = |status: &str, body: Value| Upstream::reply(status, "application/json", &body.to_string());
        if line("authorization").starts_with("Basic ")
            && let Some(spt) = request.strip_prefix("GET /v1/shared_payment/granted_tokens/")
        {
            if spt.starts_with("spt_invented") {
                return said("404 Not Found", json!({"error": {"code": "resource_missing"}}));
            }
            let limits = json!({"currency": "usd", "max_amount": 100});
            return said("200 OK", json!({"deactivated_at": null, "usage_limits": limits}));
        }
        if !line("authorization").starts_with("Basic ") || !request.starts_with("POST /v1/payment_intents ") {
            return said("401 Unauthorized", json!({"error": {"code": "invalid_api_key"}}));
        }
        if request.contains("shared_payment_granted_token=spt_declined") {
            return said("402 Payment Required", json!({"error": {"code": "card_declined"}}));
        }
        charges.lock().unwrap().insert(line("idempotency-key"));
        said("200 OK", json!({"id": "pi_1", "status": "succeeded"}))
    })
    .await
}

/// An answer, and its head as it was sent: ids are not to be lowered.
fn told(bytes: &[u8]) -> (Reply, String) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (reply(bytes), String::from_utf8(bytes[..end].to_vec()).unwrap())
}

fn shown(server: &Server, body: &Value, credential: &str) -> (Reply, String) {
    let body = body.to_string();
    let bytes = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Payment-Authorization: Payment {credential}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    told(&server.raw(bytes.as_bytes()))
}

/// The challenge of Stripe's in a 402, and a credential that answers it with a token.
fn answered(head: &str, spt: &str) -> (String, String) {
    let lines = head.lines().filter_map(|line| line.strip_prefix("www-authenticate: "));
    let challenges = lines.flat_map(|line| Challenge::read_all(line).unwrap());
    let (id, challenge) = challenges.into_iter().find(|(_, challenge)| challenge.method == "stripe").unwrap();
    assert_eq!(
        (challenge.realm.as_str(), challenge.header.as_deref()),
        ("pay.example", Some("Payment-Authorization"))
    );
    let credential = json!({
        "challenge": {
            "id": id, "realm": challenge.realm, "method": challenge.method, "intent": challenge.intent,
            "request": challenge.request, "expires": challenge.expires, "digest": challenge.digest,
            "header": challenge.header, "opaque": challenge.opaque
        },
        "payload": {"spt": spt}
    });
    (id, URL_SAFE_NO_PAD.encode(credential.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_charged_once_a_declined_one_runs_nothing_and_the_key_is_told_to_nobody() {
    let charges = Arc::new(Mutex::new(BTreeSet::new()));
    let stripe = stripe(Arc::clone(&charges)).await;
    let data = Data::new();
    let folder = data.path();
    let beside = |name: &str| folder.parent().unwrap().join(name);
    let (key, config, log) = (beside("stripe.key"), beside("execgate.toml"), beside("log"));
    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    // The server appends to it once it has dropped root.
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[payment]\nwallet = \"{}\"\nnetworks = [\"eip155:84532\"]\n\
         facilitator = \"http://127.0.0.1:1\"\n[payment.prices]\necho = \"0.50\"\n\
         [payment.mpp]\nmethods = [\"stripe\", \"evm\"]\nrealm = \"pay.example\"\nheader = \"payment-authorization\"\n\
         [payment.mpp.stripe]\nkey_file = \"{}\"\nprofile = \"profile_test\"\nurl = \"{}\"\n",
        SELLER.address,
        key.display(),
        stripe.url("")
    );
    fs::write(&config, text).unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let listed = run(&["pricing", "--config", config.to_str().unwrap()], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("UNPROVEN: `stripe`")
            && listed.contains("stripe/charge, evm/charge; realm pay.example"),
        "{listed}"
    );

    let mut server = Server::start_with(&folder, &args, &[("LOG_FILE", log.to_str().unwrap())]);
    let body = json!({"action": "echo", "payload": {"n": 1}, "nonce": "n-1"});
    let (asked, head) = told(&server.raw(&post_bytes("/execute", &body)));
    assert_eq!(asked.status, 402);
    let (id, credential) = answered(&head, "spt_good");
    assert_eq!(asked.json()["challengeId"], json!(id), "the first of the methods");
    let (first, head) = shown(&server, &body, &credential);
    assert_eq!(first.status, 200, "{}", String::from_utf8_lossy(&first.body));
    let receipt = head.lines().find_map(|line| line.strip_prefix("payment-receipt: ")).unwrap();
    let receipt = Receipt::read(receipt).unwrap();
    assert_eq!(
        (receipt.method.as_str(), receipt.reference.as_str(), receipt.challenge_id),
        ("stripe", "pi_1", Some(id))
    );
    let (again, _) = shown(&server, &body, &credential);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!((charges.lock().unwrap().len(), stripe.asked().len()), (1, 2), "looked at, and charged");

    let other = json!({"action": "echo", "payload": {"n": 2}, "nonce": "n-2"});
    assert_eq!(shown(&server, &other, &credential).0.status, 409, "it has bought something else");
    let (_, declined) = answered(&told(&server.raw(&post_bytes("/execute", &other))).1, "spt_declined");
    let (refused, _) = shown(&server, &other, &declined);
    assert_eq!(refused.status, 402, "{}", String::from_utf8_lossy(&refused.body));
    assert_eq!(charges.lock().unwrap().len(), 1);
    // What anybody can invent leaves nothing in the record.
    let (_, invented) = answered(&told(&server.raw(&post_bytes("/execute", &other))).1, "spt_invented");
    let (refused, _) = shown(&server, &other, &invented);
    assert_eq!(refused.status, 402, "{}", String::from_utf8_lossy(&refused.body));
    let checked = run(&["fsck", "--json", "--data-dir", folder.to_str().unwrap()], "");
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["payments"], 2, "the one that was taken, and the one that was declined: {checked}");

    assert_eq!(server.end(), Some(0));
    let revenue = run(&["revenue", "--json", "--data-dir", folder.to_str().unwrap()], "");
    let revenue: Value = serde_json::from_slice(&revenue.stdout).unwrap();
    let row = &revenue["rows"][0];
    assert_eq!(
        (&row["rail"], &row["network"], &row["earned"]),
        (&json!("mpp"), &json!("stripe"), &json!("0.50")),
        "{revenue}"
    );
    let record = fs::read(folder.join("execgate.db")).unwrap();
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("decided") && !log.contains("canary") && !log.contains("spt_"), "{log}");
    assert!(!String::from_utf8_lossy(&record).contains("canary"));
}

/// A double of Stripe that charges and does not say so, and, once it tells, finds it again for whoever shows the key.
async fn silent_stripe(tells: Arc<AtomicBool>) -> Upstream {
    let login = format!("authorization: Basic {}", STANDARD.encode(format!("{KEY}:")));
    Upstream::start(move |request| {
        let (status, body) = if !request.contains(&login) {
            ("401 Unauthorized", json!({"error": {"code": "invalid_api_key"}}))
        } else if request.starts_with("GET /v1/shared_payment/granted_tokens/") {
            let limits = json!({"currency": "usd", "max_amount": 100});
            ("200 OK", json!({"deactivated_at": null, "usage_limits": limits}))
        } else if request.starts_with("GET ") && !tells.load(Ordering::SeqCst) {
            ("503 Service Unavailable", json!({}))
        } else if request.starts_with("GET /v1/payment_intents/search?") {
            ("200 OK", json!({"data": [{"id": "pi_1", "status": "succeeded"}]}))
        } else {
            ("409 Conflict", json!({"error": {"code": "idempotency_key_in_use"}}))
        };
        Upstream::reply(status, "application/json", &body.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_of_which_nobody_has_heard_is_found_by_the_operator_alone() {
    let tells = Arc::new(AtomicBool::new(false));
    let stripe = silent_stripe(Arc::clone(&tells)).await;
    let data = Data::new();
    let folder = data.path();
    let beside = |name: &str| folder.parent().unwrap().join(name);
    let (key, config) = (beside("stripe.key"), beside("execgate.toml"));
    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[payment]\nwallet = \"{}\"\nnetworks = [\"eip155:84532\"]\n\
         facilitator = \"http://127.0.0.1:1\"\n[payment.prices]\necho = \"0.50\"\n\
         [payment.mpp]\nmethods = [\"stripe\"]\nrealm = \"pay.example\"\nheader = \"payment-authorization\"\n\
         [payment.mpp.stripe]\nkey_file = \"{}\"\nprofile = \"profile_test\"\nurl = \"{}\"\n",
        SELLER.address,
        key.display(),
        stripe.url("")
    );
    fs::write(&config, text).unwrap();
    let mut server = Server::start_with(&folder, &["--config", config.to_str().unwrap()], &[]);
    let body = json!({"action": "echo", "payload": {"n": 1}, "nonce": "n-1"});
    let (_, credential) = answered(&told(&server.raw(&post_bytes("/execute", &body))).1, "spt_good");
    let (unheard, _) = shown(&server, &body, &credential);
    let told = String::from_utf8_lossy(&unheard.body).into_owned();
    assert!(unheard.status == 402 && told.contains("settlement-pending"), "{told}");
    assert_eq!(server.end(), Some(0));
    tells.store(true, Ordering::SeqCst);

    let place = ["--data-dir", folder.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let settle = |args: &[&str]| {
        let output = run(&[&["settle"][..], args, &place].concat(), "");
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let (_, listed) = settle(&["status"]);
    assert!(listed.contains("loose") && listed.contains("stripe:"), "{listed}");
    let id = listed.split_whitespace().next().unwrap().to_owned();
    let (code, told) = settle(&["taken", &id, "--transaction", "0x12", "--yes"]);
    assert!(code == Some(2) && told.contains("pi_"), "{told}");
    let (code, told) = settle(&["gone", &id, "--yes"]);
    assert!(code == Some(2) && told.contains("it was taken by pi_1"), "{told}");
    let (code, told) = settle(&["retry", &id]);
    assert!(code == Some(0) && told.contains("1 captured") && !told.contains("canary"), "{told}");
}
