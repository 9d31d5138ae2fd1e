//! The surfaces that sell code: their names, their keys, the order of their refusals.
//!
//! The code of a scripted language is the name of the tool that runs: see `languages` in the test kit.

use axum::body::Body;
use axum::http::{Method, Request};
use execgate_receipt::{ReceiptFile, verify};
use execgate_testkit::{CODE_ROUTES, Event, Reply, World, execute, get, keyed, live, post, until_idle, with};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::resume;

/// Duplicates at once.
const CROWD: usize = 64;

/// A call of a scripted tool. The mark is how the journal names its start.
fn call(tool: &str, mark: &str) -> Value {
    json!({"code": tool, "mark": mark})
}

fn code_run(body: &Value) -> Request<Body> {
    post("/api/code-run", body.to_string())
}

fn assert_plain(reply: &Reply, status: u16, error: &str) {
    assert_eq!((reply.status, reply.json()), (status, json!({ "error": error })));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

fn was_cancelled(event: &Event) -> bool {
    matches!(event, Event::Cancelled { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_duplicates_of_one_key_run_once_and_hear_one_answer() {
    for route in CODE_ROUTES {
        let world = World::free();
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            let gate = world.gate();
            let request = keyed(post(route, call("blocks", "n").to_string()), "k");
            crowd.spawn(async move { gate.http(request).await });
        }
        world.journal().until_started(1).await;
        world.bench().let_go();
        let replies = crowd.join_all().await;
        let first = &replies[0];
        assert_eq!((replies.len(), first.status), (CROWD, 200));
        for reply in &replies {
            assert_eq!(reply.body, first.body);
            for name in ["execgate-run", "execgate-receipt"] {
                assert!(reply.header(name).is_some_and(|value| Some(value) == first.header(name)), "{name}");
            }
        }
        assert_eq!(replies.iter().filter(|reply| reply.header("execgate-replayed").is_none()).count(), 1);
        assert_eq!(world.journal().starts(), 1);
    }
}

#[tokio::test]
async fn a_replay_after_a_restart_is_the_first_answer_byte_for_byte() {
    let mut world = World::free();
    for (at, tool) in ["gives", "raises", "times-out", "panics"].into_iter().enumerate() {
        let mut body = call(tool, tool);
        body["receipt"] = json!(true);
        let request = || keyed(code_run(&body), tool);
        let first = world.http(request()).await;
        world.restart().await;
        let again = world.http(request()).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{tool}");
        for name in ["execgate-run", "execgate-receipt", "content-type"] {
            assert_eq!(again.header(name), first.header(name), "{tool}: {name}");
        }
        assert_eq!(again.header("execgate-replayed"), Some("true"), "{tool}");
        assert_eq!(world.journal().starts(), at + 1, "{tool}");
    }
}

#[tokio::test]
async fn a_key_is_refused_for_another_body_or_another_offer() {
    let world = World::free();
    let first = world.http(keyed(code_run(&call("gives", "a")), "k")).await;
    let others = [
        keyed(code_run(&call("gives", "b")), "k"),
        keyed(code_run(&json!({"code": "gives", "mark": "a", "language": "js"})), "k"),
        keyed(code_run(&json!({"code": "gives", "mark": "a", "receipt": true})), "k"),
        keyed(post("/api/code-run-pro", call("gives", "a").to_string()), "k"),
        keyed(post("/api/code/run", call("gives", "a").to_string()), "k"),
        execute(&json!({"action": "python", "payload": call("gives", "a"), "nonce": "k"})),
    ];
    for other in others {
        let refused = world.http(other).await;
        let problem = refused.json();
        assert_eq!((refused.status, &problem["code"]), (409, &json!("nonce-reused")), "{problem}");
        assert_eq!(problem["exec_id"].as_str(), first.header("execgate-run"));
    }
    assert_eq!(world.journal().starts(), 1);
    assert_eq!(world.http(keyed(code_run(&call("gives", "a")), "k")).await.body, first.body);
}

#[tokio::test]
async fn what_is_no_part_of_the_request_may_change_under_a_key() {
    let world = World::free();
    let first = world.http(keyed(code_run(&call("gives", "a")), "k")).await;
    let mut spelt_out = call("gives", "a");
    spelt_out["language"] = json!(" Python");
    spelt_out["receipt"] = json!(false);
    spelt_out["approval_artifact"] = json!({"any": "thing"});
    let again = world.http(with(keyed(code_run(&spelt_out), "k"), "approval-artifact", "e30=")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("execgate-replayed"), Some("true"));
}

#[tokio::test]
async fn a_key_of_bad_form_is_400_and_nothing_runs() {
    let world = World::free();
    for key in ["", "a\tb", &"k".repeat(256)] {
        let reply = world.http(keyed(code_run(&call("gives", "a")), key)).await;
        assert_eq!(reply.status, 400, "{key:?}");
        assert!(reply.json()["error"].as_str().unwrap().contains("Idempotency-Key"), "{key:?}");
    }
    let mut twice = keyed(code_run(&call("gives", "a")), "k");
    twice.headers_mut().append("idempotency-key", "k".parse().unwrap());
    assert_plain(&world.http(twice).await, 400, "the header idempotency-key may come once");
    let mut no_text = code_run(&call("gives", "a"));
    no_text.headers_mut().insert("idempotency-key", vec![0xff].try_into().unwrap());
    let told = "the header idempotency-key has bytes that are no text";
    assert_plain(&world.http(no_text).await, 400, told);
    assert_eq!(world.journal().starts(), 0);
    assert_eq!(world.http(keyed(code_run(&call("gives", "a")), &"k".repeat(255))).await.status, 200);
}

#[tokio::test]
async fn two_calls_without_a_key_are_two_runs() {
    let world = World::free();
    let first = world.http(code_run(&call("gives", "a"))).await;
    let second = world.http(code_run(&call("gives", "a"))).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_ne!(first.header("execgate-run"), second.header("execgate-run"));
    assert_eq!((world.journal().starts(), world.runs().await.len()), (2, 2));
}

/// Calls what blocks, hangs up, and waits until whatever comes of it has come.
async fn hang_up(world: &World, request: Request<Body>) {
    let gate = world.gate();
    let caller = tokio::spawn(async move { gate.http(request).await });
    world.journal().until_started(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_ends_its_run() {
    let world = World::free();
    hang_up(&world, code_run(&call("blocks", "m"))).await;
    assert_eq!(world.journal().count(was_cancelled), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_hears_the_end_later_under_its_key() {
    let world = World::free();
    hang_up(&world, keyed(code_run(&call("blocks", "m")), "k")).await;
    // The record takes its time in a thread that no paused clock knows of.
    resume();
    world.bench().let_go();
    let again = world.http(keyed(code_run(&call("blocks", "m")), "k")).await;
    assert_eq!((again.status, world.journal().starts()), (200, 1));
    assert_eq!(world.journal().count(was_cancelled), 0);
}

#[tokio::test]
async fn a_full_house_is_told_before_anything_is_claimed_and_the_key_works_later() {
    for route in CODE_ROUTES {
        let world = World::free();
        let gate = world.gate();
        let request = |key| keyed(post(route, call("one-slot", key).to_string()), key);
        let holds = request("first");
        let first = tokio::spawn(async move { gate.http(holds).await });
        world.journal().until_started(1).await;
        for _ in 0..2 {
            let refused = world.http(request("second")).await;
            assert_plain(&refused, 503, "code execution is at capacity - retry shortly");
            assert_eq!(refused.header("retry-after"), Some("1"));
            assert_eq!(world.runs().await.len(), 1);
        }
        world.bench().let_go();
        assert_eq!(first.await.unwrap().status, 200);
        let second = world.http(request("second")).await;
        assert_eq!((second.status, second.header("execgate-replayed")), (200, None));
        assert_eq!(world.journal().starts(), 2);
    }
}

#[tokio::test]
async fn a_language_has_several_names() {
    let world = World::free();
    for (name, action) in [
        (json!(null), "python"),
        (json!("py"), "python"),
        (json!(" PYTHON\n"), "python"),
        (json!("js"), "javascript"),
        (json!("JavaScript"), "javascript"),
        (json!("ts"), "javascript"),
    ] {
        let reply = world.http(code_run(&json!({"code": "gives", "language": name}))).await;
        assert_eq!(reply.status, 200, "{name}");
        let run = reply.header("execgate-run").unwrap().parse().unwrap();
        assert_eq!(world.record(run).await.action.as_str(), action, "{name}");
        let dialect = (name == "ts").then_some("typescript");
        assert_eq!(reply.json()["gave"]["dialect"].as_str(), dialect, "{name}");
    }
}

#[tokio::test]
async fn a_language_that_is_not_here_is_told_in_the_words_of_the_service() {
    let world = World::free();
    let long = "x".repeat(65);
    for (name, shown) in [
        (json!("ruby"), "ruby"),
        (json!("bash"), "bash"),
        (json!(""), ""),
        (json!("a\u{0}\u{1b}[2Jb"), "a[2jb"),
        (json!(5), "5"),
        (json!(["python"]), "[\"python\"]"),
        (json!(long), &long[..64]),
    ] {
        let reply = world.http(code_run(&json!({"code": "gives", "language": name}))).await;
        let told = format!("Unsupported language \"{shown}\". Supported: javascript, python");
        assert_plain(&reply, 400, &told);
    }
    assert_eq!(world.runs().await.len(), 0);
}

/// The services check the request before they look whether they can run it.
#[tokio::test]
async fn a_bad_request_is_400_even_where_the_house_is_full() {
    let world = World::free();
    let full = json!({"code": "full", "mark": 5});
    assert_plain(&world.http(code_run(&full)).await, 400, "`mark` must be a string");
    assert_eq!(world.http(keyed(code_run(&call("full", "m")), "")).await.status, 400);
    assert_eq!(world.http(code_run(&call("full", "m"))).await.status, 503);
}

#[tokio::test]
async fn a_receipt_that_was_asked_for_is_one_that_anybody_can_verify() {
    let world = World::free();
    for tool in ["gives", "raises"] {
        let mut body = call(tool, "m");
        assert!(world.http(code_run(&body)).await.json().get("receipt").is_none());
        body["receipt"] = json!(true);
        let reply = world.http(code_run(&body)).await;
        let told = reply.json()["receipt"].to_string();
        let file = ReceiptFile::from_json(told.as_bytes()).unwrap();
        verify(&file, &[world.key()]).unwrap();
        let run = reply.header("execgate-run").unwrap();
        let kept = world.http(get(&format!("/receipts/{run}"))).await;
        assert_eq!(reply.json()["receipt"], kept.json());
    }
    let reply = world.http(code_run(&json!({"code": "gives", "receipt": "yes"}))).await;
    assert_plain(&reply, 400, "`receipt` must be true or false");
}

#[tokio::test]
async fn an_approval_passes_in_the_body_or_a_header_and_never_reaches_the_code() {
    let world = World::free();
    let mut body = call("gives", "m");
    body["approval_artifact"] = json!({"v": 1});
    for request in [code_run(&body), with(code_run(&call("gives", "m")), "approval-artifact", "eyJ2IjoxfQ==")]
    {
        let reply = world.http(request).await;
        assert_eq!((reply.status, &reply.json()["gave"]), (200, &call("gives", "m")));
    }
    for wrong in ["no", "e30", "", "eyJhIjoxLCJhIjoyfQ=="] {
        let reply = world.http(with(code_run(&call("gives", "m")), "approval-artifact", wrong)).await;
        assert_plain(&reply, 400, "the Approval-Artifact header is not base64 of JSON");
    }
}

#[tokio::test]
async fn another_method_is_405_and_the_right_one_is_named() {
    let world = World::free();
    for route in CODE_ROUTES {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            let mut request = post(route, call("gives", "m").to_string());
            *request.method_mut() = method.clone();
            let reply = world.http(request).await;
            assert_plain(&reply, 405, "this path does not take this method; see /openapi.json");
            assert_eq!(reply.header("allow"), Some("POST"), "{method} {route}");
        }
    }
    let mut request = get("/api/pricing");
    *request.method_mut() = Method::POST;
    assert_eq!(world.http(request).await.header("allow"), Some("GET,HEAD"));
    assert_eq!(world.http(get("/execute")).await.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_path_that_is_not_there_is_404_in_the_shape_of_its_neighbours() {
    let world = World::free();
    for path in ["/api/nowhere", "/api/code-run/", "/api/code", "/api/%2e%2e/execute", "/api/"] {
        assert_plain(&world.http(get(path)).await, 404, "there is no such path; see /openapi.json");
    }
    assert_eq!(world.http(get("/nowhere")).await.json()["code"], "not-found");
}

#[tokio::test]
async fn a_priced_route_asks_for_payment_whatever_the_body() {
    let world = World::builder().prices(["python", "javascript"], "0.05").open();
    let good = call("gives", "m").to_string();
    for route in CODE_ROUTES {
        let untyped = Request::builder().method("POST").uri(route).header("host", "localhost");
        let cases = [
            ("good", post(route, good.clone())),
            ("a stream", live(post(route, good.clone()))),
            ("empty", post(route, "")),
            ("no type", untyped.body(Body::empty()).unwrap()),
            ("no JSON", post(route, "{")),
            ("no object", post(route, "[]")),
            ("no code", post(route, "{}")),
            ("no such language", post(route, json!({"language": "ruby"}).to_string())),
            ("a bad key", keyed(post(route, good.clone()), "")),
        ];
        for (case, request) in cases {
            let reply = world.http(request).await;
            let problem = reply.json();
            assert_eq!((reply.status, &problem["code"]), (402, &json!("payment-required")), "{case}");
            assert_eq!(problem["error"], "payment is required", "{case}");
        }
    }
    assert_eq!((world.runs().await.len(), world.journal().events()), (0, vec![]));
}

#[tokio::test]
async fn a_price_does_not_hide_what_is_wrong_otherwise() {
    let world = World::builder().prices(["python", "javascript"], "0.05").open();
    for route in CODE_ROUTES {
        let cases = [
            ("another type", with(post(route, "{}"), "content-type", "text/plain"), 415),
            ("too large", post(route, " ".repeat(9 << 20)), 413),
            ("paid and no JSON", with(post(route, "{"), "x-payment", "p"), 400),
            ("paid and no body", with(post(route, ""), "payment-signature", "p"), 400),
        ];
        for (case, request, status) in cases {
            assert_eq!(world.http(request).await.status, status, "{case}");
        }
    }
}

#[tokio::test]
async fn figures_show_how_a_stream_ended_and_a_full_house_as_a_refusal() {
    let world = World::free();
    for (tool, status) in
        [("gives", 200), ("times-out", 200), ("panics", 200), ("unstartable", 200), ("full", 503)]
    {
        assert_eq!(world.http(live(code_run(&call(tool, tool)))).await.status, status, "{tool}");
    }
    let stats = world.http(get("/api/stats")).await.json();
    let expected = json!({"calls": 5, "ok": 2, "refused": 2, "failed": 1});
    assert_eq!(stats["services"]["code-run"], expected);
    for _ in 0..2 {
        assert_eq!(world.http(code_run(&call("full", "full"))).await.status, 503);
        assert_eq!(world.http(execute(&json!({"action": "full", "nonce": "n"}))).await.status, 503);
    }
    let stats = world.http(get("/api/stats")).await.json();
    assert_eq!(stats["services"]["code-run"], json!({"calls": 7, "ok": 2, "refused": 4, "failed": 1}));
    assert_eq!(world.http(get("/api/health/services")).await.json()["services"]["execute"]["status"], "ok");
}

#[tokio::test]
async fn who_is_refused_anyway_is_not_asked_to_pay() {
    let world = World::builder().prices(["python", "javascript"], "0.05").allow(["javascript"]).open();
    let refused = world.http(code_run(&call("gives", "m"))).await;
    assert_eq!((refused.status, &refused.json()["rule"]), (403, &json!("allow-list")));
    assert_eq!(refused.json()["error"], "Action 'python' is not in the execution allow-list");
    let js = json!({"code": "gives", "language": "js"});
    assert_eq!(world.http(code_run(&js)).await.status, 402);
}

#[tokio::test]
async fn a_stranger_is_given_a_session_with_every_answer_and_keys_are_its_own() {
    let world = World::builder().public().open();
    let from = |request| with(request, "host", "gate.example");
    let first = world.http(from(keyed(code_run(&call("gives", "m")), "k"))).await;
    let other = world.http(from(keyed(code_run(&call("gives", "m")), "k"))).await;
    assert_ne!(first.header("execgate-run"), other.header("execgate-run"));
    let session = first.header("execgate-session").unwrap();
    let again = from(keyed(code_run(&call("gives", "m")), "k"));
    let again = world.http(with(again, "execgate-session", session)).await;
    assert_eq!((again.header("execgate-run"), &again.body), (first.header("execgate-run"), &first.body));
    let refused = world.http(from(code_run(&json!({"language": "ruby"})))).await;
    assert_eq!((refused.status, refused.header("execgate-session").map(str::len)), (400, Some(64)));
}
