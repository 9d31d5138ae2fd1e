//! The client against a real server on loopback, which does what a test says.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

use execgate_flow::authorise::{Iam as _, IamAnswer, Question};
use execgate_model::{ActionName, Caller, Clock, Digest, Effect, Identity, TenantId, UnixMs};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{ANSWER_TIME, Guard, GuardParts, QUESTIONS, Unreached};
use crate::ServiceUrl;
use crate::breaker::{FAILURES, OPEN_US};
use crate::cache::KEEP_US;
use crate::exchange::ANSWER_MAX;

/// A clock that a test turns.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixMs {
        UnixMs(self.monotonic_us() / 1_000)
    }

    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the server does with a question.
#[derive(Clone)]
enum Does {
    Says(Vec<u8>),
    Hangs,
    Closes,
}

fn ok(body: &str) -> Does {
    says("200 OK", "", body)
}

fn says(status: &str, headers: &str, body: &str) -> Does {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    Does::Says(text.into_bytes())
}

fn yes() -> Does {
    ok(r#"{"valid":true,"risk_score":"LOW","violations":[]}"#)
}

struct Service {
    does: watch::Sender<Does>,
    asked: Arc<AtomicUsize>,
    last: watch::Receiver<String>,
    clock: Arc<Hands>,
    guard: Arc<Guard>,
}

impl Service {
    async fn that(does: Does) -> Self {
        Self::open(does, Unreached::Refuse).await
    }

    async fn open(does: Does, unreached: Unreached) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (does, doing) = watch::channel(does);
        let (heard, last) = watch::channel(String::new());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let does = doing.borrow().clone();
                tokio::spawn(serve(stream, does, heard.clone()));
            }
        });
        let clock = Arc::new(Hands::default());
        let url = ServiceUrl::new(&format!("http://{address}/ep/validate?key=k")).unwrap();
        let guard = Arc::new(Guard::new(GuardParts { url, unreached, clock: clock.clone() }).unwrap());
        Self { does, asked, last, clock, guard }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn check(&self, action: &str, effect: Effect) -> IamAnswer {
        check(&self.guard, action, effect, 1).await
    }

    async fn live(&self) -> IamAnswer {
        self.check("echo", Effect::Live).await
    }
}

async fn check(guard: &Guard, action: &str, effect: Effect, args: u8) -> IamAnswer {
    let caller = Caller { tenant: TenantId::new("acme").unwrap(), identity: Identity::Local };
    let action = ActionName::new(action).unwrap();
    let payload = json!({"amount_usd": 25});
    let question = Question {
        caller: &caller,
        action: &action,
        effect,
        payload: &payload,
        args_digest: Digest::from_bytes([args; 32]),
        policy: Digest::from_bytes([2; 32]),
    };
    guard.check(&question).await
}

async fn serve(mut stream: TcpStream, does: Does, heard: watch::Sender<String>) {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let Ok(read @ 1..) = stream.read(&mut piece).await else { return };
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('}')) {
            heard.send_replace(text);
            break;
        }
    }
    match does {
        Does::Says(bytes) => {
            // A client that has read enough hangs up.
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Does::Hangs => core::future::pending().await,
        Does::Closes => {}
    }
}

#[tokio::test]
async fn a_yes_is_a_yes_and_the_question_has_the_shape_of_the_service() {
    let service = Service::that(yes()).await;
    assert_eq!(service.live().await, IamAnswer::Approved);
    let heard = service.last.borrow().clone();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /ep/validate?key=k HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["agent_id"], &body["amount_usd"], &body["dry_run"]),
        (&json!("local"), &json!(25), &json!(false))
    );
}

#[tokio::test]
async fn a_no_says_why() {
    let service =
        Service::that(ok(r#"{"valid":false,"violations":["Leverage exceeds 3x policy limit"]}"#)).await;
    let reason = "the identity service says no: Leverage exceeds 3x policy limit".to_owned();
    assert_eq!(service.live().await, IamAnswer::Refused(reason));
    service.does.send_replace(says("400 Bad Request", "", r#"{"error":"Missing agent_id"}"#));
    let reason = "the identity service says no: Missing agent_id".to_owned();
    assert_eq!(service.check("add", Effect::Live).await, IamAnswer::Refused(reason));
}

#[tokio::test]
async fn what_is_no_answer_is_unreachable_and_never_a_yes() {
    let huge = format!(r#"{{"valid":true,"pad":"{}"}}"#, "x".repeat(ANSWER_MAX));
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    let other = Service::that(yes()).await;
    let elsewhere = format!("Location: http://{}/\r\n", other.guard_address());
    for (name, does) in [
        ("garbage", ok("what?")),
        ("no HTTP", Does::Says(b"SSH-2.0-x\r\n".to_vec())),
        ("half", Does::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"valid\":true}".to_vec())),
        ("closes", Does::Closes),
        ("huge", ok(&huge)),
        ("an endless head", Does::Says(endless.into_bytes())),
        ("a redirect", says("302 Found", &elsewhere, r#"{"valid":true}"#)),
        ("a redirect that keeps the method", says("307 Temporary Redirect", &elsewhere, "")),
        ("broken", says("500 Internal Server Error", "", r#"{"valid":true}"#)),
        ("busy", says("429 Too Many Requests", "", r#"{"valid":false}"#)),
    ] {
        let service = Service::that(does).await;
        let is_read =
            ["garbage", "broken", "busy", "a redirect", "a redirect that keeps the method"].contains(&name);
        let expected = if is_read { IamAnswer::Unreadable } else { IamAnswer::Unreachable };
        assert_eq!(service.live().await, expected, "{name}");
        assert_eq!(service.asked(), 1, "{name}");
    }
    assert_eq!(other.asked(), 0, "no redirect is followed");
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_waited_for_three_seconds_and_no_longer() {
    let service = Service::that(Does::Hangs).await;
    let start = Instant::now();
    assert_eq!(service.live().await, IamAnswer::Unreachable);
    assert_eq!(start.elapsed().as_secs(), ANSWER_TIME.as_secs());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ServiceUrl::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let clock = Arc::new(Hands::default());
    let guard = Guard::new(GuardParts { url, unreached: Unreached::Refuse, clock }).unwrap();
    assert_eq!(check(&guard, "echo", Effect::Live, 1).await, IamAnswer::Unreachable);
}

#[tokio::test]
async fn an_answer_holds_for_five_seconds_and_for_its_own_question_alone() {
    let service = Service::that(yes()).await;
    for _ in 0..3 {
        assert_eq!(service.live().await, IamAnswer::Approved);
    }
    assert_eq!(service.asked(), 1);
    service.check("echo", Effect::DryRun).await;
    service.check("add", Effect::Live).await;
    check(&service.guard, "echo", Effect::Live, 2).await;
    assert_eq!(service.asked(), 4);
    service.does.send_replace(ok(r#"{"valid":false}"#));
    service.clock.0.store(KEEP_US - 1, Ordering::Relaxed);
    assert_eq!(service.live().await, IamAnswer::Approved);
    service.clock.0.store(KEEP_US, Ordering::Relaxed);
    assert!(matches!(service.live().await, IamAnswer::Refused(_)));
    assert_eq!(service.asked(), 5);
}

#[tokio::test]
async fn the_breaker_opens_leaves_the_service_alone_and_closes_by_its_answer() {
    let service = Service::that(Does::Closes).await;
    let failures = usize::try_from(FAILURES).unwrap();
    for _ in 0..failures + 3 {
        assert_eq!(service.live().await, IamAnswer::Unreachable);
    }
    assert_eq!(service.asked(), failures);
    service.does.send_replace(yes());
    service.clock.0.store(OPEN_US - 1, Ordering::Relaxed);
    assert_eq!(service.live().await, IamAnswer::Unreachable);
    service.clock.0.store(OPEN_US, Ordering::Relaxed);
    assert_eq!(service.live().await, IamAnswer::Approved);
    assert_eq!(service.check("add", Effect::Live).await, IamAnswer::Approved);
    assert_eq!(service.asked(), failures + 2);
}

#[tokio::test]
async fn a_caller_s_own_fault_opens_no_breaker() {
    let service =
        Service::that(says("400 Bad Request", "", r#"{"error":"amount_usd must be positive"}"#)).await;
    for args in 0..20 {
        assert!(matches!(check(&service.guard, "echo", Effect::Live, args).await, IamAnswer::Refused(_)));
    }
    assert_eq!(service.asked(), 20);
}

#[tokio::test]
async fn one_question_too_many_is_our_own_overload() {
    let service = Service::that(Does::Hangs).await;
    let mut waiting = JoinSet::new();
    for args in 0..u8::try_from(QUESTIONS).unwrap() {
        let guard = Arc::clone(&service.guard);
        waiting.spawn(async move { check(&guard, "echo", Effect::Live, args).await });
    }
    while service.asked() < QUESTIONS {
        tokio::task::yield_now().await;
    }
    assert_eq!(check(&service.guard, "echo", Effect::Live, 200).await, IamAnswer::Overloaded);
    assert_eq!(check(&service.guard, "echo", Effect::DryRun, 200).await, IamAnswer::Overloaded);
    waiting.shutdown().await;
    service.does.send_replace(yes());
    assert_eq!(check(&service.guard, "echo", Effect::Live, 200).await, IamAnswer::Approved);
}

#[tokio::test(start_paused = true)]
async fn a_plain_server_is_no_service_by_https() {
    let service = Service::that(yes()).await;
    let url = ServiceUrl::new(&format!("https://{}", service.guard_address())).unwrap();
    let clock = Arc::new(Hands::default());
    // A host without certificates refuses earlier still.
    if let Ok(guard) = Guard::new(GuardParts { url, unreached: Unreached::Open, clock }) {
        assert!(guard.is_open_unreached());
        assert_eq!(check(&guard, "echo", Effect::Live, 1).await, IamAnswer::Unreachable);
    }
}

impl Service {
    fn guard_address(&self) -> String {
        self.guard.line.address()
    }
}
