//! Who is who at the doors, and which headers every answer carries.

use execgate_testkit::{Reply, World, change, execute, get, post, with};
use serde_json::{Value, json};

const HOST: &str = "gate.example";

fn body() -> Value {
    json!({"action": "gives", "nonce": "n"})
}

/// Asks from elsewhere, with the secret of a session or without.
async fn ask_as(world: &World, secret: Option<&str>) -> Reply {
    let request = with(execute(&body()), "host", HOST);
    let request = match secret {
        Some(secret) => with(request, "execgate-session", secret),
        None => request,
    };
    world.http(request).await
}

fn names(reply: &Reply) -> Vec<&str> {
    reply.headers.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn an_answer_names_its_run_its_receipt_and_its_rooms() {
    let world = World::free();
    let first = world.http(execute(&body())).await;
    let again = world.http(execute(&body())).await;
    let said = first.json();
    let common = [
        ("cache-control", "no-store"),
        ("content-type", "application/json"),
        ("execgate-receipt", said["receipt"].as_str().unwrap()),
        ("execgate-run", said["id"].as_str().unwrap()),
        ("x-content-type-options", "nosniff"),
    ];
    for reply in [&first, &again] {
        for (name, value) in common {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
    }
    let rooms = "propose;dur=0.000, pay;dur=0.000, authorise;dur=0.000, approve;dur=0.000, \
                 execute;dur=0.000, witness;dur=0.000, settle;dur=0.000";
    assert_eq!((first.header("server-timing"), first.header("execgate-replayed")), (Some(rooms), None));
    assert_eq!((again.header("server-timing"), again.header("execgate-replayed")), (None, Some("true")));
    let length = first.body.len().to_string();
    for reply in [&first, &again] {
        assert_eq!(reply.header("content-length"), Some(length.as_str()));
        assert_eq!(reply.headers.len(), common.len() + 2, "{reply:?}");
    }
}

#[tokio::test]
async fn a_problem_is_never_cached_and_names_no_run() {
    let world = World::free();
    let problem = world.http(post("/execute", "{")).await;
    let common = ["cache-control", "content-length", "content-type", "x-content-type-options"];
    assert_eq!(names(&problem), common);
    let full = world.http(execute(&json!({"action": "full", "nonce": "n"}))).await;
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_eq!(full.headers.len(), common.len() + 1, "{full:?}");
    let method = world.http(get("/execute")).await;
    assert_eq!(method.header("allow"), Some("POST"));
}

#[tokio::test]
async fn no_door_gives_leave_to_pages_from_elsewhere() {
    let world = World::free();
    for reply in [
        world.http(execute(&body())).await,
        world.http(get("/health")).await,
        world.http(with(execute(&body()), "origin", "https://evil.example")).await,
        world.http(with(post("/execute", "{}"), "access-control-request-method", "POST")).await,
    ] {
        assert!(!names(&reply).iter().any(|name| name.starts_with("access-control")), "{reply:?}");
    }
}

#[tokio::test]
async fn a_refusal_at_the_door_reaches_no_room() {
    let world = World::free();
    for (name, value, status) in [
        ("host", "evil.example", 421),
        ("host", "localhost.evil.example", 421),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://evil.example:5091", 403),
        ("forwarded", "for=10.0.0.1", 403),
        ("via", "1.1 elsewhere", 403),
        ("x-forwarded-for", "10.0.0.1", 403),
        ("authorization", "Bearer secret", 401),
        ("x-api-key", "secret", 401),
        ("content-type", "text/plain", 415),
        ("content-type", "application/jsonp", 415),
    ] {
        assert_eq!(world.http(with(execute(&body()), name, value)).await.status, status, "{name}: {value}");
    }
    assert_eq!((world.runs().await.len(), world.journal().events().len()), (0, 0));
    for (name, value) in [
        ("origin", "http://localhost:5091"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-type", "Application/JSON"),
    ] {
        assert_eq!(world.http(with(execute(&body()), name, value)).await.status, 200, "{name}: {value}");
    }
}

#[tokio::test]
async fn off_loopback_a_caller_is_known_by_the_secret_of_its_first_answer() {
    let world = World::builder().public().open();
    let first = ask_as(&world, None).await;
    let secret = first.header("execgate-session").unwrap();
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");

    let again = ask_as(&world, Some(secret)).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!((again.header("execgate-replayed"), again.header("execgate-session")), (Some("true"), None));

    let stranger = ask_as(&world, None).await;
    assert_eq!((stranger.status, stranger.header("execgate-replayed")), (200, None));
    assert_ne!(stranger.header("execgate-session"), Some(secret));
    assert_ne!(stranger.header("execgate-run"), first.header("execgate-run"));
    assert_eq!(world.journal().starts(), 2);
}

#[tokio::test]
async fn a_run_is_shown_to_its_own_session_and_is_missing_for_all_others() {
    let world = World::builder().public().open();
    let (mine, theirs) = (ask_as(&world, None).await, ask_as(&world, None).await);
    let id = mine.header("execgate-run").unwrap();
    for path in [format!("/runs/{id}"), format!("/receipts/{id}")] {
        let ask = || with(get(&path), "host", HOST);
        let own = with(ask(), "execgate-session", mine.header("execgate-session").unwrap());
        assert_eq!(world.http(own).await.status, 200, "{path}");
        let foreign = with(ask(), "execgate-session", theirs.header("execgate-session").unwrap());
        let foreign = world.http(foreign).await;
        let nobody = world.http(ask()).await;
        let missing = get(&path.replace(id, "00000000-0000-8000-8000-000000000000"));
        let missing = world.http(with(missing, "host", HOST)).await;
        assert_eq!((foreign.status, &foreign.body), (404, &missing.body), "{path}");
        assert_eq!((nobody.status, &nobody.body), (404, &missing.body), "{path}");
    }
}

#[tokio::test]
async fn a_secret_that_no_answer_gave_is_refused_by_its_form() {
    let world = World::builder().public().open();
    for secret in ["", "short", &"g".repeat(64), &"a".repeat(65)] {
        assert_eq!(ask_as(&world, Some(secret)).await.status, 401, "{secret}");
    }
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn a_proxy_may_stand_before_a_gateway_that_is_not_free() {
    for (world, status) in [
        (World::builder().public().open(), 403),
        (World::builder().public().price("raises", "0.05").open(), 200),
    ] {
        let request = with(with(execute(&body()), "host", HOST), "x-forwarded-for", "10.0.0.1");
        assert_eq!(world.http(request).await.status, status);
    }
}

#[tokio::test]
async fn readiness_follows_the_pause_switch() {
    let world = World::free();
    assert_eq!(world.http(get("/ready")).await.json(), json!({"ready": true}));
    world.store().set_paused(true, change()).await.unwrap();
    let paused = world.http(get("/ready")).await;
    assert_eq!((paused.status, paused.json()), (503, json!({"ready": false, "reason": "paused"})));
}

#[tokio::test]
async fn health_says_whether_actions_are_restricted() {
    let open = World::free().http(get("/health")).await.json();
    assert_eq!(
        open,
        json!({
            "status": "ok", "service": "execgate", "version": "0.0.0-test", "exec_mode": "demo",
            "signature_verification": "disabled", "restriction": "open", "sandbox": "off",
            "warning": "No execution allow-list configured",
        })
    );
    let restricted = World::builder().allow(["echo"]).open().http(get("/health")).await.json();
    assert_eq!(
        (&restricted["restriction"], &restricted["allow_list"]),
        (&json!("restricted"), &json!(["echo"]))
    );
}
