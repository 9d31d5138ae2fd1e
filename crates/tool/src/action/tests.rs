//! Actions against servers of the loopback.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use execgate_model::{BodyPlace, Effect, Product, RunId, RunOptions, Verdict};
use execgate_sandbox::Network;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zeroize::Zeroizing;

use super::{Action, ActionEffect, ActionParts, ActionSpec, BadAction, HttpSpec, KindSpec, Secret, Secrets};
use crate::builtin::HttpClient;
use crate::{BadCall, Call, Cancel, RunContext};

/// What nobody but the service may see.
const CANARY: &str = "cAnary/0 \"of\"+the=test&more";

/// The id of every run here.
const RUN: [u8; 16] = [9; 16];

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("{value} is no object") };
    members
}

fn spec(url: String) -> HttpSpec {
    HttpSpec { method: "GET".to_owned(), url, allow_private: true, ..HttpSpec::default() }
}

fn declared(http: HttpSpec) -> Result<Action, BadAction> {
    let schema = json!({
        "type": "object",
        "required": ["city"],
        "additionalProperties": false,
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}
    });
    let spec = ActionSpec {
        name: "weather".to_owned(),
        description: "Tells the weather.".to_owned(),
        schema: Some(schema),
        effect: ActionEffect::Read,
        timeout: None,
        is_tool: false,
        kind: KindSpec::Http(http),
    };
    let secret = Secret::new("KEY", Zeroizing::new(CANARY.to_owned())).unwrap();
    Action::new(spec, &Secrets::from_iter([secret]))
}

async fn call(http: HttpSpec, effect: Effect, timeout_ms: Option<u64>) -> Result<Product, BadCall> {
    let parts = ActionParts { client: HttpClient::new(), profiles: None, network: Network::None };
    let tool = declared(http).unwrap().to_tool(&parts).unwrap();
    let options = RunOptions { timeout_ms, ..RunOptions::default() };
    let payload = json!({"city": "São Paulo", "days": 2});
    let mut prepared = tool.prepare(&Call { payload: &payload, options: &options, effect })?;
    prepared.reserve().unwrap();
    let context = RunContext {
        run: RunId::from_entropy(RUN),
        cancel: Cancel::default(),
        watcher: None,
        place: BodyPlace::default(),
    };
    Ok(prepared.run(context).await.unwrap())
}

async fn live(http: HttpSpec) -> Product {
    call(http, Effect::Live, None).await.unwrap()
}

/// A service that answers one request with these bytes, and tells what it was asked; without bytes it is silent.
async fn service(answer: Option<Vec<u8>>) -> (String, UnboundedReceiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, tell) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            let is_whole = |asked: &[u8]| {
                let text = String::from_utf8_lossy(asked);
                // Who begins by TLS gets its answer at once.
                let is_http = text.is_empty() || text.starts_with(['G', 'P']);
                !is_http || text.contains("\r\n\r\n") && (text.starts_with("GET") || text.ends_with('}'))
            };
            while !is_whole(&asked) && stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
            told.send(String::from_utf8_lossy(&asked).into_owned()).unwrap();
            match &answer {
                // A client that has enough hangs up.
                Some(answer) => drop(stream.write_all(answer).await),
                None => drop(stream.read_u8().await),
            }
        }
    });
    (url, tell)
}

fn answer(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn error(product: &Product) -> &str {
    assert_eq!(product.verdict, Verdict::Exception, "{:?}", product.result);
    product.error.as_ref().unwrap().name.as_str()
}

/// With the secret in a header and in the query.
fn with_secrets(url: &str) -> HttpSpec {
    let secret = json!({"secret": "KEY"});
    HttpSpec {
        query: members(json!({"key": secret, "days": "{days}"})),
        headers: members(json!({"authorization": {"secret": "KEY", "prefix": "Bearer "}, "x-fixed": "yes"})),
        ..spec(format!("{url}/v1/{{city}}"))
    }
}

#[tokio::test]
async fn a_service_is_sent_what_is_declared_and_the_secret_alone_where_it_belongs() {
    let (url, mut tell) = service(Some(answer("200 OK", "application/json", r#"{"high": 31}"#))).await;
    let product = live(with_secrets(&url)).await;
    assert_eq!(product.verdict, Verdict::Value);
    assert_eq!(
        (&product.result["body"], &product.result["body_format"]),
        (&json!({"high": 31}), &json!("json"))
    );
    assert_eq!(product.enforced["action"]["kind"], "http");
    let asked = tell.recv().await.unwrap();
    let line = "GET /v1/S%C3%A3o%20Paulo?days=2&key=cAnary%2F0%20%22of%22%2Bthe%3Dtest%26more HTTP/1.1\r\n";
    assert!(asked.starts_with(line), "{asked}");
    for header in [
        &format!("authorization: Bearer {CANARY}"),
        "x-fixed: yes",
        &format!("idempotency-key: {}", RunId::from_entropy(RUN)),
    ] {
        assert!(asked.contains(&format!("\r\n{header}\r\n")), "{header}: {asked}");
    }
}

#[tokio::test]
async fn a_body_is_made_of_values() {
    let (url, mut tell) = service(Some(answer("204 No Content", "text/plain", ""))).await;
    let body = json!({"place": {"name": "{city}"}, "token": {"secret": "KEY"}});
    let http = HttpSpec { method: "POST".to_owned(), body: Some(body), ..spec(format!("{url}/")) };
    assert_eq!(live(http).await.verdict, Verdict::Value);
    let asked = tell.recv().await.unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, json!({"place": {"name": "São Paulo"}, "token": CANARY}));
}

/// How a service could spell what it was sent.
fn spellings() -> Vec<String> {
    let percent = CANARY.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02x}").unwrap();
        text
    });
    let unicode = CANARY.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "\\u{byte:04X}").unwrap();
        text
    });
    let hex = CANARY.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let basic = ["", "u:", "us:"].map(|user| STANDARD.encode(format!("{user}{CANARY}")));
    let quoted = json!(CANARY).to_string();
    let bare = quoted.trim_matches('"').to_owned();
    let all = [CANARY.to_owned(), percent, unicode, hex, bare, URL_SAFE_NO_PAD.encode(CANARY)];
    all.into_iter().chain(basic).collect()
}

/// No spelling of the secret is in a product, nor any longer part of one.
fn assert_clean(product: &Product) {
    let told = format!("{product:?}");
    for spelled in spellings() {
        for part in [&spelled[..], &spelled[2..12], &spelled[spelled.len() - 12..spelled.len() - 2]] {
            assert!(!told.contains(part), "{part} is in {told}");
        }
    }
}

#[tokio::test]
async fn an_echo_of_the_secret_in_any_spelling_is_taken_out() {
    for spelled in spellings() {
        for status in ["200 OK", "302 Found", "500 Oops"] {
            let in_json = json!({"you sent": format!("<{spelled}>"), spelled.clone(): 1}).to_string();
            let quoted = format!("{{\"you sent\": \"{}\"}}", spelled.replace('"', "\\\""));
            for (kind, body) in [
                ("application/json", in_json),
                ("application/problem+json", quoted),
                ("text/html", format!("<p>{spelled}</p>")),
                ("application/octet-stream", format!("\u{0}\u{1}\u{2}{spelled}")),
            ] {
                let mut bytes = answer(status, kind, &body);
                let header = format!("HTTP/1.1 {status}\r\nLocation: https://a.example/?{spelled}\r\n");
                let rest = bytes.split_off(format!("HTTP/1.1 {status}\r\n").len());
                let (url, _tell) = service(Some([header.into_bytes(), rest].concat())).await;
                let product = live(with_secrets(&url)).await;
                assert_clean(&product);
                let told = product.result.to_string();
                assert!(told.contains("[secret KEY]"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_cut_holds_no_part_of_a_secret() {
    for before in 0..40 {
        let body = format!("{}{CANARY}{}", "x".repeat(before), "y".repeat(2000));
        let (url, _tell) = service(Some(answer("200 OK", "text/plain", &body))).await;
        let http = HttpSpec { bytes_max: Some(20), ..with_secrets(&url) };
        let product = live(http).await;
        assert_eq!(product.result["truncated"], true);
        let body = product.result["body"].as_str().unwrap();
        assert!(!body.contains('c') || body.contains("[secret KEY]"), "{body}");
    }
}

#[tokio::test]
async fn a_status_that_is_no_success_is_an_exception_that_shows_the_answer() {
    for (status, code) in [("302 Found", 302), ("404 Not Found", 404), ("500 Oops", 500)] {
        let bytes = answer(status, "application/json", r#"{"detail": "no"}"#);
        let (url, mut tell) = service(Some(bytes)).await;
        let product = live(with_secrets(&url)).await;
        assert_eq!(error(&product), "UpstreamStatus");
        assert_eq!(
            (&product.result["status"], &product.result["body"]),
            (&json!(code), &json!({"detail": "no"}))
        );
        // Nobody follows it.
        tell.recv().await.unwrap();
        assert!(tell.try_recv().is_err());
    }
}

#[tokio::test]
async fn no_failure_tells_the_secret() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let product = live(with_secrets(&url)).await;
    assert_eq!(error(&product), "ConnectFailed");
    assert_clean(&product);

    let (url, _tell) = service(Some(b"220 smtp.example\r\n".to_vec())).await;
    let product = live(with_secrets(&url)).await;
    assert_eq!(error(&product), "BadAnswer");
    assert_clean(&product);
    let product = live(with_secrets(&url.replace("http:", "https:"))).await;
    assert_eq!(error(&product), "TlsFailed");
    assert_clean(&product);

    let (url, _tell) = service(None).await;
    let product = call(with_secrets(&url), Effect::Live, Some(50)).await.unwrap();
    assert_eq!(product.verdict, Verdict::Timeout { after_ms: 50 });
    assert_clean(&product);
}

#[tokio::test]
async fn a_dry_run_describes_the_request_with_references() {
    let (url, mut tell) = service(None).await;
    let product = call(with_secrets(&url), Effect::DryRun, None).await.unwrap();
    let expected = json!({
        "method": "GET",
        "url": format!("{url}/v1/S%C3%A3o%20Paulo?days=2&key=[secret KEY]"),
        "headers": {
            "accept": "application/json, */*;q=0.5",
            "authorization": "Bearer [secret KEY]",
            "idempotency-key": "[id of the run]",
            "user-agent": "execgate",
            "x-fixed": "yes"
        },
        "body": null
    });
    assert_eq!(product.result, json!({"simulated": true, "effect": "read", "request": expected}));
    assert!(tell.try_recv().is_err());
}

#[tokio::test]
async fn without_the_operators_word_nothing_private_is_reached() {
    let (url, mut tell) = service(Some(answer("200 OK", "text/plain", "private"))).await;
    let http = HttpSpec { allow_private: false, ..spec(format!("{url}/")) };
    assert_eq!(error(&live(http).await), "AddressRefused");
    let metadata = spec("http://169.254.169.254/latest/".to_owned());
    assert_eq!(error(&live(metadata).await), "AddressRefused");
    assert!(tell.try_recv().is_err());
}

#[tokio::test]
async fn a_caller_may_shorten_the_deadline_and_not_lengthen_it() {
    let (url, _tell) = service(Some(answer("200 OK", "text/plain", ""))).await;
    for (timeout_ms, is_good) in [(None, true), (Some(10_000), true), (Some(10_001), false), (Some(0), false)]
    {
        assert_eq!(call(spec(format!("{url}/")), Effect::Live, timeout_ms).await.is_ok(), is_good);
    }
}

/// What a declaration is made wrong by.
type Change = fn(&mut HttpSpec);

#[test]
fn declarations_that_could_leak_or_mislead_are_refused() {
    let plain = |change: Change| {
        let mut http = with_secrets("https://api.example");
        http.allow_private = false;
        change(&mut http);
        declared(http).map(|_| ()).map_err(|bad| bad.to_string())
    };
    assert_eq!(plain(|_| ()), Ok(()));
    let cases: [(Change, &str); 8] = [
        (|http| http.url = "http://api.example/".to_owned(), "in the clear"),
        (|http| http.method = "BREW".to_owned(), "must be one of"),
        (|http| http.body = Some(json!("payload")), "does not go with GET"),
        (|http| http.bytes_max = Some(2 << 20), "max_bytes"),
        (|http| http.headers = members(json!({"Host": "other"})), "gateway's own"),
        (|http| http.headers = members(json!({"Idempotency-Key": "x"})), "gateway's own"),
        (|http| http.headers = members(json!({"x-city": "{city}"})), "without places"),
        (|http| http.headers = members(json!({"x": "a\r\nb: c"})), "one line"),
    ];
    for (change, why) in cases {
        let told = plain(change).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    assert!(!format!("{:?}", declared(with_secrets("https://a.example")).unwrap()).contains("cAnary"));
}
