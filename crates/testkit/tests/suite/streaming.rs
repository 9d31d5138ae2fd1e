//! Runs that are told as they go: which events come, in which order, and what hanging up does.

use axum::body::Body;
use axum::http::Request;
use execgate_model::{Proposal, Watcher};
use execgate_testkit::{CODE_ROUTES, Event, Live, LiveEvent, World, ask, keyed, live, post, until_idle};
use serde_json::json;
use tokio::time::{Instant, resume};

fn code_run(tool: &str) -> Request<Body> {
    post("/api/code-run", json!({ "code": tool }).to_string())
}

fn names(events: &[LiveEvent]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn was_cancelled(event: &Event) -> bool {
    matches!(event, Event::Cancelled { .. })
}

#[tokio::test]
async fn output_comes_first_then_the_receipt_then_the_result() {
    for route in CODE_ROUTES {
        let world = World::free();
        let request = || keyed(post(route, json!({"code": "gives"}).to_string()), "k");
        let reply = world.http(live(request())).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let events = reply.events();
        assert_eq!(names(&events), ["stdout", "receipt", "result"]);
        assert_eq!(events[0].json(), json!({"text": "seen"}));
        let plain = world.http(request()).await;
        assert_eq!(plain.header("execgate-replayed"), Some("true"));
        let (run, receipt) = (plain.header("execgate-run"), plain.header("execgate-receipt"));
        assert_eq!(events[1].json(), json!({"run": run, "receipt": receipt, "replayed": false}));
        assert_eq!(events[2].data.as_bytes(), plain.body);
        assert_eq!(world.journal().starts(), 1);
    }
}

#[tokio::test]
async fn output_is_told_while_the_run_goes_on() {
    let world = World::free();
    let mut live = Live::open(world.router(), code_run("blocks")).await;
    assert_eq!(live.next().await.unwrap().json(), json!({"text": "seen"}));
    assert_eq!(world.runs().await[0].outcome, None);
    world.bench().let_go();
    assert_eq!(names(&live.rest().await), ["receipt", "result"]);
}

#[tokio::test]
async fn a_replay_is_told_at_once_and_without_its_output() {
    let world = World::free();
    let plain = world.http(keyed(code_run("gives"), "k")).await;
    let events = world.http(live(keyed(code_run("gives"), "k"))).await.events();
    assert_eq!(names(&events), ["receipt", "result"]);
    let (run, receipt) = (plain.header("execgate-run"), plain.header("execgate-receipt"));
    assert_eq!(events[0].json(), json!({"run": run, "receipt": receipt, "replayed": true}));
    assert_eq!(events[1].data.as_bytes(), plain.body);
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn a_refusal_before_the_start_is_an_ordinary_answer() {
    let world = World::free();
    world.http(keyed(code_run("gives"), "taken")).await;
    let cases = [
        (code_run("full"), 503),
        (code_run("unavailable"), 503),
        (keyed(code_run("raises"), "taken"), 409),
        (keyed(code_run("gives"), ""), 400),
        (code_run("no such tool"), 400),
        (post("/api/code-run", "{"), 400),
        (post("/api/code-run", json!({"language": "ruby"}).to_string()), 400),
    ];
    for (request, status) in cases {
        let reply = world.http(live(request)).await;
        assert_eq!(reply.status, status);
        assert_ne!(reply.header("content-type"), Some("text/event-stream"));
        assert!(reply.json()["error"].is_string());
        assert_eq!(reply.header("retry-after"), (status == 503).then_some("1"));
    }
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn what_would_not_have_been_200_is_an_error_with_its_status() {
    let world = World::free();
    let timeout = world.http(live(keyed(code_run("times-out"), "timeout"))).await.events();
    assert_eq!(names(&timeout), ["stdout", "receipt", "error"]);
    assert_eq!(timeout[2].json(), json!({"error": "Execution timed out after 10s", "status": 504}));

    let unknown = world.http(live(keyed(code_run("panics"), "unknown"))).await.events();
    assert_eq!(names(&unknown), ["stdout", "receipt", "error"]);
    let plain = world.http(keyed(code_run("panics"), "unknown")).await;
    assert_eq!((plain.status, plain.json()), (409, unknown[2].json()));
    assert_eq!(unknown[2].json()["code"], "run-outcome-unknown");

    let unstarted = world.http(live(keyed(code_run("unstartable"), "unstarted"))).await.events();
    assert_eq!(names(&unstarted), ["error"]);
    let plain = world.http(keyed(code_run("unstartable"), "unstarted")).await;
    let mut told = plain.json();
    told["status"] = json!(502);
    assert_eq!((plain.status, told), (502, unstarted[0].json()));

    let raised = world.http(live(code_run("raises"))).await.events();
    assert_eq!(names(&raised), ["stdout", "receipt", "result"]);
    assert_eq!(raised[2].json()["error"]["name"], "ValueError");
}

#[tokio::test]
async fn a_stream_that_joins_a_run_under_way_hears_its_end() {
    let world = World::free();
    let mut first = Live::open(world.router(), keyed(code_run("blocks"), "k")).await;
    first.next().await.unwrap();
    let (router, joins) = (world.router(), keyed(code_run("blocks"), "k"));
    let second = tokio::spawn(async move { Live::open(router, joins).await.rest().await });
    world.bench().let_go();
    let (first, second) = (first.rest().await, second.await.unwrap());
    assert_eq!(names(&second), ["receipt", "result"]);
    assert_eq!(second[1], first[1]);
    assert_eq!(second[0].json()["replayed"], true);
    assert_eq!(world.journal().starts(), 1);
}

/// Calls what blocks, hangs up amid the events, and waits until whatever comes of it has come.
async fn hang_up(world: &World, request: Request<Body>) {
    let mut live = Live::open(world.router(), request).await;
    assert_eq!(live.next().await.unwrap().name, "stdout");
    drop(live);
    until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_amid_the_events_ends_its_run() {
    let world = World::free();
    hang_up(&world, code_run("blocks")).await;
    assert_eq!(world.journal().count(was_cancelled), 1);
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_amid_the_events_hears_the_end_later_under_its_key() {
    let world = World::free();
    hang_up(&world, keyed(code_run("blocks"), "k")).await;
    // The record takes its time in a thread that no paused clock knows of.
    resume();
    world.bench().let_go();
    let again = world.http(keyed(code_run("blocks"), "k")).await;
    assert_eq!((again.status, again.header("execgate-replayed")), (200, Some("true")));
    assert_eq!((world.journal().starts(), world.journal().count(was_cancelled)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_silent_run_is_heard_from_all_the_same() {
    let world = World::free();
    let mut live = Live::open(world.router(), code_run("blocks")).await;
    assert_eq!(live.next().await.unwrap().name, "stdout");
    for _ in 0..3 {
        let before = Instant::now();
        let comment = live.next().await.unwrap();
        assert_eq!((comment.name.as_str(), before.elapsed().as_secs()), (":", 15));
    }
    resume();
    world.bench().let_go();
    assert_eq!(names(&live.rest().await), ["receipt", "result"]);
}

/// CONTRACTS 3: output must not be given away before it is paid.
#[tokio::test]
async fn a_priced_run_is_never_told_as_it_goes() {
    let world = World::builder().price("python", "0.05").open();
    assert_eq!(world.http(live(code_run("gives"))).await.status, 402);
    let mut proposal: Proposal = ask("python").payload(json!({"code": "gives"})).pays("p").into();
    proposal.watcher = Some(Watcher::new(|_| unreachable!("nothing is told")));
    assert_eq!(world.walk(proposal).await.rule(), "stream-needs-upfront");
    assert_eq!(world.journal().events(), []);
}
