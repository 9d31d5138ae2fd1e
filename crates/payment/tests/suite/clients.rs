//! The clients of others, unchanged, against the rail `mpp` behind a small server of this test: they read its challenges,
//! their credentials pay, once, and they read its receipts. What no chain is needed for is shown here; `cargo xtask setup`
//! installs them.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use execgate_model::{ActionName, Amount, BoxFuture, Clock, Credential, Digest, Resource, UnixMs};
use execgate_payment::evm::{Address, Authorization, ChainId, KnownToken, Token, U256};
use execgate_payment::mpp::{
    CredentialHeader, EvmCharge, InForce, Mpp, Price, Secret, Secrets, find, payment_info,
};
use execgate_payment::{
    Asked, Facilitator, Flow, HoldError, LookError, Paid, Rail as _, SettleError, Settled, SettlementState,
    Terms, TxHash, Unreachable, Whereabouts,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An account of every development chain.
const KEY: &str = "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";
const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

/// What a call costs.
const PRICE: Amount = Amount::from_micros(20_000);

/// For how long an authorization has to live, in seconds.
const LIVES_S: u64 = 90;

struct Now;

impl Clock for Now {
    fn now(&self) -> UnixMs {
        #[expect(clippy::disallowed_methods, reason = "clients have the machine's clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        UnixMs(u64::try_from(since.as_millis()).unwrap())
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

/// Takes every nonce once.
#[derive(Default)]
struct Settler(Mutex<BTreeSet<Digest>>);

impl Facilitator for Settler {
    fn name(&self) -> &'static str {
        "test"
    }

    fn settle<'a>(&'a self, paid: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        let is_new = self.0.lock().unwrap().insert(paid.claim_key());
        let used = || SettleError::Refused("used".to_owned());
        Box::pin(async move { is_new.then_some(TxHash::from_bytes([7; 32])).ok_or_else(used) })
    }

    fn whereabouts<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Whereabouts, Unreachable>> {
        Box::pin(async { Ok(Whereabouts::Unused) })
    }

    fn verify<'a>(&'a self, _: &'a Authorization) -> BoxFuture<'a, Result<Option<U256>, LookError>> {
        Box::pin(async { Ok(None) })
    }

    fn balance<'a>(&'a self, _: &'a Token, _: Address) -> BoxFuture<'a, Result<U256, Unreachable>> {
        Box::pin(async { Ok(U256::ZERO) })
    }
}

fn now<T>(mut future: BoxFuture<'_, T>) -> T {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// A server of one priced path.
struct Shop {
    rail: Mpp,
    settler: Arc<Settler>,
    address: SocketAddr,
}

struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Shop {
    fn open(header: CredentialHeader) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let usdc = KnownToken::find("USDC", ChainId::BASE_SEPOLIA).unwrap();
        let settler = Arc::new(Settler::default());
        let charge = EvmCharge::new(usdc, SELLER.parse().unwrap(), Arc::clone(&settler) as _);
        let secrets = Secrets::new(vec![Secret::new([1; 32]).unwrap()]).unwrap();
        let secrets = Arc::new(InForce::new(secrets));
        let rail = Mpp::new(vec![Arc::new(charge)], header, secrets, Arc::new(Now));
        let shop = Arc::new(Self { rail, settler, address: listener.local_addr().unwrap() });
        let keeper = Arc::clone(&shop);
        // It ends with the test's process.
        thread::spawn(move || listener.incoming().for_each(|stream| keeper.serve(&stream.unwrap())));
        shop
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn sales(&self) -> usize {
        self.settler.0.lock().unwrap().len()
    }

    fn serve(&self, stream: &TcpStream) {
        let request = read(stream);
        let (status, headers, body) = match request.line.as_str() {
            line if line.starts_with("GET /openapi.json") => (200, Vec::new(), self.description()),
            line if line.starts_with("GET /llms.txt") => (200, Vec::new(), json!("a shop")),
            line if line.starts_with("POST /paid") => self.sell(&request),
            _ => (404, Vec::new(), json!({})),
        };
        let body = body.to_string();
        let kind = if request.line.contains("llms") { "text/plain" } else { "application/json" };
        let mut answer = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\n");
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let mut stream = stream;
        stream.write_all(answer.as_bytes()).unwrap();
    }

    fn resource(&self, body: &[u8]) -> Resource {
        Resource {
            url: format!("{}/paid", self.url()),
            description: "one \"call\" — of a test".to_owned(),
            mime: "application/json".to_owned(),
            method: "POST".to_owned(),
            body_digest: (!body.is_empty()).then(|| Digest::from_bytes(Sha256::digest(body).into())),
            ..Resource::default()
        }
    }

    fn asked(refused: Option<String>) -> Asked {
        Asked { amount: PRICE, flow: Flow::Authorization, lives_at_least_s: LIVES_S, refused, accepts: None }
    }

    fn verify(&self, request: &Request) -> Result<Paid, HoldError> {
        let values = ["authorization", "payment-authorization"].into_iter();
        let values = values.filter_map(|name| request.headers.get(name)).map(String::as_str);
        let credential = find(values).unwrap().map(|text| Credential {
            rail: Mpp::NAME.to_owned(),
            bytes: text.as_bytes().to_vec(),
            resource: self.resource(&request.body),
        });
        let terms = Terms {
            amount: PRICE,
            action: ActionName::new("echo").unwrap(),
            fingerprint: Digest::from_bytes([0; 32]),
            flow: Flow::Authorization,
            lives_at_least_s: LIVES_S,
        };
        now(self.rail.verify(&terms, credential.as_ref()))
    }

    fn sell(&self, request: &Request) -> (u16, Vec<(&'static str, String)>, Value) {
        let refused = match self.verify(request) {
            Ok(Paid { lapsed: None, state, .. }) => {
                let reference = now(self.rail.capture(PRICE, &state)).unwrap();
                let settled = Settled {
                    amount: PRICE,
                    state: SettlementState::Captured,
                    reference: Some(&reference),
                    kept: &state,
                    at: Now.now(),
                };
                let headers = self.rail.tell(&settled).into_iter().map(|header| (header.name, header.value));
                return (200, headers.collect(), json!({"sold": true}));
            }
            Ok(Paid { lapsed, .. }) => lapsed,
            Err(HoldError::Refused(reason)) => Some(reason),
            Err(_) => None,
        };
        let offer = self.rail.offer(&Self::asked(refused), &self.resource(&request.body));
        let headers = offer.headers.into_iter().map(|header| (header.name, header.value)).collect();
        (402, headers, Value::Object(offer.members))
    }

    fn description(&self) -> Value {
        let offer = self.rail.offer(&Self::asked(None), &self.resource(b""));
        let example = json!({"application/json": {"example": {"code": "1"}}});
        json!({
            "openapi": "3.1.0",
            "info": {"title": "shop", "version": "1"},
            "paths": {"/paid": {"post": {
                "x-payment-info": payment_info(&[offer], Price::Fixed),
                "requestBody": {"content": example},
                "responses": {"200": {"description": "sold"}, "402": {"description": "to be paid"}},
            }}},
        })
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let headers: BTreeMap<_, _> = lines.iter().skip(1).filter_map(|line| line.split_once(": ")).collect();
    let headers: BTreeMap<_, _> =
        headers.into_iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { line: lines.first().cloned().unwrap_or_default(), headers, body }
}

/// A folder of the tools' folder.
fn tool(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let mut found = test.ancestors().map(|folder| folder.join("tools").join(name));
    found.find(|folder| folder.join("whole").is_file()).expect("not installed; run `cargo xtask setup`")
}

fn say(mut command: Command, input: &str) -> Value {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    serde_json::from_slice(&said.stdout).expect("the client says what it saw")
}

#[expect(clippy::disallowed_methods, reason = "the clients of others are programs")]
fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", std::env::temp_dir());
    command
}

fn pays(mut command: Command, shop: &Shop, script: &str) -> Value {
    command.env("URL_TO_PAY", format!("{}/paid", shop.url())).env("KEY", KEY).env("BODY", r#"{"code":"1"}"#);
    say(command, script)
}

fn mppx(shop: &Shop) -> Value {
    let mut node = program(&node());
    node.current_dir(tool("mppx-0.11.0")).args(["--input-type=module", "-"]);
    pays(node, shop, include_str!("../../../execgate/tests/payers/mppx/pay.mjs"))
}

/// What a version manager has put in the place of the distribution's is as good.
fn node() -> String {
    ["/usr/bin/node", "/usr/local/bin/node"]
        .into_iter()
        .find(|path| PathBuf::from(path).exists())
        .map_or_else(|| "node".to_owned(), str::to_owned)
}

#[test]
fn mppx_pays_in_the_header_that_is_asked_for_and_reads_the_receipt() {
    for (header, name) in [
        (CredentialHeader::Authorization, "authorization"),
        (CredentialHeader::PaymentAuthorization, "payment-authorization"),
    ] {
        let shop = Shop::open(header);
        let said = mppx(&shop);
        assert_eq!((said["status"].as_u64(), shop.sales()), (Some(200), 1), "{said}");
        assert_eq!(said["seen"][1]["paidBy"], json!([name]));
        assert_eq!(said["seen"][0]["acceptPayment"], "evm/charge");
        assert!(said["headers"]["payment-receipt"].is_string());
    }
}

#[test]
fn pympp_pays_with_its_own_nonce() {
    let shop = Shop::open(CredentialHeader::Authorization);
    let folder = tool("pympp-0.16.0");
    let mut python = program(folder.join("bin/python").to_str().unwrap());
    python.arg("-");
    let said = pays(python, &shop, include_str!("../../../execgate/tests/payers/pympp/pay.py"));
    assert_eq!((said["status"].as_u64(), shop.sales()), (Some(200), 1), "{said}");
    assert!(said["headers"]["payment-receipt"].is_string());
}

#[test]
fn the_conformance_test_of_mppx_finds_nothing_wrong() {
    let shop = Shop::open(CredentialHeader::Authorization);
    let mut node = program(&node());
    node.current_dir(tool("mppx-0.11.0"));
    node.args(["node_modules/mppx/dist/bin.js", "validate", &shop.url(), "--outputJson"]);
    let said = say(node, "");
    assert_eq!(
        (&said["summary"]["failed"], &said["summary"]["warnings"]),
        (&json!(0), &json!(0)),
        "{said:#}"
    );
    assert!(said["summary"]["passed"].as_u64() > Some(10), "{said:#}");
    assert_eq!(shop.sales(), 0);
}
