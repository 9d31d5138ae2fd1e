//! Fetches from servers on the loopback, with a guard that lets these through and nothing else.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use execgate_model::{BodyPlace, BoxFuture, Effect, Product, RunId, RunOptions, Verdict};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::HttpGet;
use crate::outbound::{HttpClient, Resolve, judge};
use crate::{BadCall, Call, Cancel, RunContext, Tool};

/// The only address that the guard of these tests lets through, beside none.
const HERE: &str = "127.0.0.1";

/// What a name resolves to, one answer after the other; the last for ever.
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let address = |text: &&str| text.parse().unwrap();
        let answers = answers.iter().map(|answer| answer.iter().map(address).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        Box::pin(async move { Ok(self.answers[at].clone()) })
    }
}

fn only_here(address: IpAddr) -> Option<&'static str> {
    if address == IpAddr::from([127, 0, 0, 1]) { None } else { judge(address) }
}

/// A server that answers each connection with the next text, and tells what it was asked.
async fn server(answers: Vec<Vec<u8>>) -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, tell) = unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => asked.push(byte),
                    Err(_) => break,
                }
            }
            told.send(String::from_utf8(asked).unwrap()).unwrap();
            // A client that has enough hangs up.
            drop(stream.write_all(&answer).await);
        }
    });
    (port, tell)
}

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn moved(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

async fn run(resolver: Arc<Scripted>, payload: Value, effect: Effect) -> Result<Product, BadCall> {
    let tool = HttpGet { client: HttpClient::with(resolver, only_here) };
    let options = RunOptions { timeout_ms: Some(5_000), ..RunOptions::default() };
    let mut prepared = tool.prepare(&Call { payload: &payload, options: &options, effect })?;
    prepared.reserve().unwrap();
    let context = RunContext {
        run: RunId::from_entropy([0; 16]),
        cancel: Cancel::default(),
        watcher: None,
        place: BodyPlace::default(),
    };
    Ok(prepared.run(context).await.unwrap())
}

async fn live(resolver: &Arc<Scripted>, payload: Value) -> Product {
    run(Arc::clone(resolver), payload, Effect::Live).await.unwrap()
}

fn error(product: &Product) -> &str {
    assert_eq!(product.verdict, Verdict::Exception, "{:?}", product.result);
    product.error.as_ref().unwrap().name.as_str()
}

#[tokio::test]
async fn a_dry_run_answers_exactly_this_and_asks_nobody() {
    let resolver = Scripted::new(&[&[HERE]]);
    let url = "https://example.com/a?b#c";
    let product = run(Arc::clone(&resolver), json!({ "url": url }), Effect::DryRun).await.unwrap();
    let expected = json!({"status": 200, "body": "Simulated GET https://example.com/a?b#c", "headers": {}});
    assert_eq!(product.result, expected);
    assert_eq!(resolver.asked(), 0);
}

#[tokio::test]
async fn a_fetch_sends_what_is_allowed_and_shows_what_came() {
    let (port, mut tell) = server(vec![ok("hello")]).await;
    let resolver = Scripted::new(&[&[HERE]]);
    let url = format!("http://name.test:{port}/a?b=c#d");
    let product = live(&resolver, json!({"url": url, "headers": {"x-api-key": "k"}})).await;
    let expected = json!({
        "status": 200,
        "headers": {"content-type": "text/plain", "content-length": "5"},
        "body": "hello",
        "url": format!("http://name.test:{port}/a?b=c"),
    });
    assert_eq!(product.result, expected);
    let asked = tell.recv().await.unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /a?b=c http/1.1\r\n"), "{asked}");
    for line in [
        &format!("host: name.test:{port}"),
        "x-api-key: k",
        "accept-encoding: identity",
        "user-agent: execgate",
    ] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
    }
    assert!(!asked.contains("referer") && !asked.contains("cookie"));
}

#[tokio::test]
async fn headers_that_steer_a_request_are_refused() {
    for name in [
        "Host",
        "Connection",
        "Proxy-Authorization",
        "Transfer-Encoding",
        "Cookie",
        "X-Forwarded-For",
        "Metadata-Flavor",
    ] {
        let payload = json!({"url": "http://name.test/", "headers": {name: "x"}});
        let bad = run(Scripted::new(&[&[HERE]]), payload, Effect::Live).await.unwrap_err();
        assert_eq!(bad.pointer, "/headers");
    }
    let payload = json!({"url": "http://name.test/", "headers": {"accept": "a\r\nHost: b"}});
    assert!(run(Scripted::new(&[&[HERE]]), payload, Effect::Live).await.is_err());
}

#[tokio::test]
async fn addresses_that_are_written_out_are_refused_before_anything_is_claimed() {
    for host in [
        "127.0.0.2",
        "0x7f000002",
        "2130706434",
        "0177.0.0.2",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "169.254.169.254",
        "10.1",
    ] {
        for effect in [Effect::Live, Effect::DryRun] {
            let payload = json!({"url": format!("http://{host}/")});
            let bad = run(Scripted::new(&[&[HERE]]), payload, effect).await.unwrap_err();
            assert_eq!(bad.pointer, "/url");
            let is_named = ["may not be reached", "normal form"].iter().any(|why| bad.message.contains(why));
            assert!(is_named, "{}", bad.message);
        }
    }
}

#[tokio::test]
async fn a_name_with_any_address_that_is_refused_is_refused() {
    let (port, mut tell) = server(vec![ok("secret")]).await;
    for addresses in
        [&["10.0.0.1"][..], &[HERE, "169.254.169.254"], &["::ffff:127.0.0.1"], &["64:ff9b::7f00:1"]]
    {
        let url = json!({"url": format!("http://name.test:{port}/")});
        let product = live(&Scripted::new(&[addresses]), url.clone()).await;
        assert_eq!(error(&product), "AddressRefused");
        let missing = live(&Scripted::new(&[&[]]), url).await;
        assert_eq!(missing.error, product.error, "which names there are inside is not told");
    }
    assert!(tell.try_recv().is_err());
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_dialled_where_it_was_checked() {
    let (port, _tell) = server(vec![ok("first")]).await;
    // Would the name be asked again for the dial, it would lead elsewhere.
    let resolver = Scripted::new(&[&[HERE], &["127.0.0.2"]]);
    let product = live(&resolver, json!({"url": format!("http://name.test:{port}/")})).await;
    assert_eq!(product.result["body"], "first");
    assert_eq!(resolver.asked(), 1);
}

#[tokio::test]
async fn a_redirect_is_resolved_and_checked_anew() {
    let (port, _tell) = server(vec![moved("/next"), ok("never")]).await;
    let resolver = Scripted::new(&[&[HERE], &["127.0.0.2"]]);
    let product = live(&resolver, json!({"url": format!("http://name.test:{port}/")})).await;
    assert_eq!(error(&product), "AddressRefused");
    assert_eq!(resolver.asked(), 2);
}

#[tokio::test]
async fn a_redirect_to_what_is_private_is_refused() {
    for location in [
        "http://127.0.0.2/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://0x7f.2/",
        "//10.0.0.1/",
        "file:///etc/passwd",
        "http://user@name.test/",
        "gopher://name.test/",
    ] {
        let (port, _tell) = server(vec![moved(location)]).await;
        let product =
            live(&Scripted::new(&[&[HERE]]), json!({"url": format!("http://name.test:{port}/")})).await;
        assert_eq!(error(&product), "AddressRefused", "{location}");
    }
}

#[tokio::test]
async fn redirects_are_few_and_credentials_stay_at_their_origin() {
    let (port, _tell) = server(vec![moved("/"); 10]).await;
    let resolver = Scripted::new(&[&[HERE]]);
    let product = live(&resolver, json!({"url": format!("http://name.test:{port}/")})).await;
    assert_eq!(error(&product), "TooManyRedirects");
    let (other, mut told_other) = server(vec![ok("there")]).await;
    let (port, mut told) = server(vec![moved("/again"), moved(&format!("http://other.test:{other}/"))]).await;
    let payload =
        json!({"url": format!("http://name.test:{port}/"), "headers": {"authorization": "Bearer x"}});
    assert_eq!(live(&resolver, payload).await.result["body"], "there");
    for _ in 0..2 {
        assert!(told.recv().await.unwrap().contains("Bearer x"));
    }
    assert!(!told_other.recv().await.unwrap().contains("Bearer"));
}

#[tokio::test]
async fn an_answer_is_bounded_in_every_way() {
    let fetch = async |answer: Vec<u8>, max: usize| {
        let (port, _tell) = server(vec![answer]).await;
        let payload = json!({"url": format!("http://name.test:{port}/"), "max_bytes": max});
        live(&Scripted::new(&[&[HERE]]), payload).await
    };
    let cut = fetch(ok(&"x".repeat(1000)), 10).await;
    assert_eq!((&cut.result["body"], &cut.result["truncated"]), (&json!("xxxxxxxxxx"), &json!(true)));
    let whole = fetch(ok("0123456789"), 10).await;
    assert_eq!(whole.result.get("truncated"), None);
    let binary = fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\0".to_vec(), 10).await;
    assert_eq!((&binary.result["body"], &binary.result["body_encoding"]), (&json!("/wA="), &json!("base64")));
    let endless = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200)).into_bytes();
    let zipped = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx".to_vec();
    for bad in [endless, many, zipped, b"SSH-2.0-OpenSSH\r\n".to_vec(), Vec::new()] {
        assert_eq!(error(&fetch(bad, 10).await), "BadAnswer");
    }
    let broken = fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec(), 10).await;
    assert_eq!(error(&broken), "BadAnswer");
}

#[tokio::test]
async fn a_server_that_never_answers_meets_the_deadline() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let url = format!("http://name.test:{}/", listener.local_addr().unwrap().port());
    let tool = HttpGet { client: HttpClient::with(Scripted::new(&[&[HERE]]), only_here) };
    let options = RunOptions { timeout_ms: Some(50), ..RunOptions::default() };
    let payload = json!({ "url": url });
    let prepared =
        tool.prepare(&Call { payload: &payload, options: &options, effect: Effect::Live }).unwrap();
    let context = RunContext {
        run: RunId::from_entropy([0; 16]),
        cancel: Cancel::default(),
        watcher: None,
        place: BodyPlace::default(),
    };
    let product = prepared.run(context).await.unwrap();
    assert_eq!(product.verdict, Verdict::Timeout { after_ms: 50 });
}
