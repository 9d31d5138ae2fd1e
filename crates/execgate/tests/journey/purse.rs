//! What a 402 asks for, read as it was sent, and what pays it: one authorization in the forms of every rail. A test may sign
//! something else than it was asked for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use execgate_payment::evm::{Address, Authorization, Means, U256, to_hex};
use execgate_payment::mpp::{Challenge, charge, read};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

/// The longest answer: a duplicate waits for a run of a process that is recovered first.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, its head as it came: what is encoded in it has capitals.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Heard {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The answer to a POST with these lines in its head, if all of it came.
pub(super) fn post(address: SocketAddr, path: &str, body: &Value, lines: &str) -> Option<Heard> {
    let body = body.to_string();
    let bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lines}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let heard =
        Heard { status: head.split(' ').nth(1)?.parse().ok()?, head, body: answer[end + 4..].to_vec() };
    let length: usize = heard.header("content-length")?.parse().ok()?;
    (heard.body.len() == length).then_some(heard)
}

/// What a 402 asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Its header of version 2 of x402.
    pub(super) two: Value,
    /// What it asks for by challenge: nothing where that is not how it is paid.
    asked: Option<(String, Challenge)>,
}

impl Asked {
    /// Reads a 402; none where it is none.
    pub(super) fn read(heard: &Heard) -> Option<Self> {
        if heard.status != 402 {
            return None;
        }
        let two = STANDARD.decode(heard.header("payment-required")?).ok()?;
        let read = |line| Challenge::read_all(line).ok()?.into_iter().next();
        let asked = heard.header("www-authenticate").and_then(read);
        Some(Self { two: serde_json::from_slice(&two).ok()?, asked })
    }

    fn challenge(&self) -> &(String, Challenge) {
        self.asked.as_ref().expect("it asks by challenge")
    }

    /// The first thing that it takes, in the words of version 2.
    pub(super) fn wanted(&self) -> &Value {
        &self.two["accepts"][0]
    }

    /// Whether it wants to be paid before the work.
    pub(super) fn is_upfront(&self) -> bool {
        self.wanted()["extra"]["paymentFlow"] == "upfront"
    }

    /// What pays it, signed by a wallet: by the nonce of the challenge, so that every rail takes it.
    pub(super) fn signed(&self, wallet: &Wallet) -> Authorization {
        let (id, challenge) = self.challenge();
        let nonce = charge::nonces(id, &challenge.realm)[0];
        wallet.signs(Authorization { nonce, ..self.drawn(wallet, 0) })
    }

    /// The same by a nonce that the wallet has drawn, another for each number: x402 takes it.
    pub(super) fn drawn(&self, wallet: &Wallet, number: u64) -> Authorization {
        let units = self.wanted()["amount"].as_str().unwrap().parse().unwrap();
        let to: Address = self.wanted()["payTo"].as_str().unwrap().parse().unwrap();
        let ends_s = read(self.challenge().1.expires.as_ref().unwrap()).unwrap().0 / 1000;
        let drawn = wallet.pays(to, units, number, 0);
        wallet.signs(Authorization { valid_before: U256::from(ends_s), ..drawn })
    }

    /// What it takes by Permit2, in the words of version 2.
    pub(super) fn by_permit2(&self) -> &Value {
        let offers = self.two["accepts"].as_array().unwrap();
        let is_it = |offer: &&Value| offer["extra"]["assetTransferMethod"] == "permit2";
        offers.iter().find(is_it).expect("it takes Permit2")
    }

    /// What pays it by Permit2, under a nonce of the wallet's: another for each number.
    pub(super) fn permitted(&self, wallet: &Wallet, number: u64, now_s: u64) -> Authorization {
        let wanted = self.by_permit2();
        let units = wanted["amount"].as_str().unwrap().parse().unwrap();
        let to: Address = wanted["payTo"].as_str().unwrap().parse().unwrap();
        let ends_s = now_s + wanted["maxTimeoutSeconds"].as_u64().unwrap();
        let permit = wallet.permits(to, units, number, now_s);
        let facilitator = wanted["extra"]["facilitatorAddress"].as_str();
        let by = facilitator
            .map_or(permit.by, |who| Means::UpTo { facilitator: who.parse().unwrap(), taken: None });
        wallet.signs(Authorization { valid_before: U256::from(ends_s), by, ..permit })
    }

    /// The line of the head that shows what Permit2 is to move.
    pub(super) fn show_permit(&self, paid: &Authorization) -> String {
        let mut witness = json!({"to": paid.to, "validAfter": paid.valid_after});
        if let Means::UpTo { facilitator, .. } = paid.by {
            witness["facilitator"] = json!(facilitator);
        }
        let payment = json!({
            "x402Version": 2, "accepted": self.by_permit2(), "resource": self.two["resource"],
            "payload": {
                "signature": to_hex(paid.signature.as_bytes()),
                "permit2Authorization": {
                    "from": paid.from, "permitted": {"token": paid.token.contract, "amount": paid.value},
                    "spender": paid.by.proxy(), "nonce": U256::from_bytes(paid.nonce),
                    "deadline": paid.valid_before,
                    "witness": witness,
                },
            },
        });
        format!("PAYMENT-SIGNATURE: {}\r\n", STANDARD.encode(payment.to_string()))
    }

    /// The line of the head that shows a payment by version 2 of x402.
    pub(super) fn by_two(&self, paid: &Authorization) -> String {
        let payment = json!({
            "x402Version": 2, "accepted": self.wanted(), "resource": self.two["resource"],
            "extensions": self.two["extensions"],
            "payload": {"signature": to_hex(paid.signature.as_bytes()), "authorization": members(paid)},
        });
        format!("PAYMENT-SIGNATURE: {}\r\n", STANDARD.encode(payment.to_string()))
    }

    /// The same by the scheme `Payment`.
    pub(super) fn by_challenge(&self, paid: &Authorization) -> String {
        let (id, challenge) = self.challenge();
        let Challenge { realm, method, intent, request, expires, digest, opaque, description, .. } =
            challenge;
        let mut payload = members(paid);
        payload["type"] = json!("authorization");
        payload["signature"] = json!(to_hex(paid.signature.as_bytes()));
        let echo = json!({
            "id": id, "realm": realm, "method": method, "intent": intent, "request": request,
            "expires": expires, "digest": digest, "opaque": opaque, "description": description,
        });
        let credential = json!({"challenge": echo, "payload": payload});
        format!("Payment-Authorization: Payment {}\r\n", URL_SAFE_NO_PAD.encode(credential.to_string()))
    }

    /// Every form in which a payment may be shown; version 1 knows of no payment before the work.
    pub(super) fn forms(&self, paid: &Authorization) -> Vec<String> {
        let mut forms = vec![self.by_two(paid), self.by_challenge(paid)];
        if !self.is_upfront() {
            forms.push(by_one(paid));
        }
        forms
    }
}

/// The line that shows a payment by version 1 of x402.
pub(super) fn by_one(paid: &Authorization) -> String {
    let payment = json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia",
        "payload": {"signature": to_hex(paid.signature.as_bytes()), "authorization": members(paid)},
    });
    format!("X-PAYMENT: {}\r\n", STANDARD.encode(payment.to_string()))
}

fn members(paid: &Authorization) -> Value {
    json!({
        "from": paid.from, "to": paid.to, "value": paid.value, "validAfter": paid.valid_after,
        "validBefore": paid.valid_before, "nonce": to_hex(&paid.nonce),
    })
}
