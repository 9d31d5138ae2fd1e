//! Who may ask: the keys of grants, what they open, and who sees what at every endpoint.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Method, Request};
use execgate_flow::authorise::IamAnswer;
use execgate_model::{Clock as _, Role, TenantId, UnixMs};
use execgate_receipt::digest_json;
use execgate_store::Grant;
use execgate_testkit::mint::{Mint, but, claims, encoded, published};
use execgate_testkit::{Reply, World, ask, change, execute, get, holder, post, with};
use execgate_web::openapi_document;
use insta::assert_snapshot;
use ring::hmac;
use serde_json::{Value, json};
use tokio::task::yield_now;

fn gives(nonce: &str) -> Value {
    json!({"action": "gives", "nonce": nonce})
}

fn keyed_by(request: Request<Body>, key: &str) -> Request<Body> {
    with(request, "authorization", &format!("Bearer {key}"))
}

async fn ask_by(world: &World, key: &str, nonce: &str) -> Reply {
    world.http(keyed_by(execute(&gives(nonce)), key)).await
}

fn rule(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["rule"].as_str().unwrap_or_default().to_owned())
}

fn with_roles<const N: usize>(id: &str, tenant: &str, roles: [Role; N]) -> Grant {
    Grant { tenant: TenantId::new(tenant).unwrap(), roles: BTreeSet::from(roles), ..holder(id) }
}

#[tokio::test]
async fn a_key_opens_by_either_header_and_names_one_caller() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    let first = ask_by(&world, &key, "n").await;
    assert_eq!(first.status, 200);
    for (name, value) in [
        ("x-api-key", key.clone()),
        ("authorization", format!("bearer  {key}")),
        ("authorization", format!("BEARER {key}")),
    ] {
        let again = world.http(with(execute(&gives("n")), name, &value)).await;
        assert_eq!((again.header("execgate-replayed"), &again.body), (Some("true"), &first.body), "{name}");
    }
    let local = world.http(execute(&gives("n"))).await;
    assert_eq!((local.status, local.header("execgate-replayed")), (200, None));
    assert_eq!(world.journal().starts(), 2);
    let callers: Vec<_> = world.runs().await.into_iter().map(|run| run.caller).collect();
    assert_eq!(callers, ["local", "grant:g1"]);
}

#[tokio::test]
async fn a_key_that_is_wrong_by_one_byte_opens_nothing() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    for at in 0..key.len() {
        let mut wrong = key.clone().into_bytes();
        wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_eq!(rule(&ask_by(&world, &wrong, "n").await), (401, "unknown-key".to_owned()), "{at}");
    }
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn one_credential_at_a_time_and_no_other_scheme() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    let bearer = format!("Bearer {key}");
    let mut twice = with(execute(&gives("n")), "x-api-key", &key);
    twice.headers_mut().append("x-api-key", key.parse().unwrap());
    let mut doubled = with(execute(&gives("n")), "authorization", &bearer);
    doubled.headers_mut().append("authorization", bearer.parse().unwrap());
    for (request, expected) in [
        (
            with(with(execute(&gives("n")), "x-api-key", &key), "authorization", &bearer),
            "several-credentials",
        ),
        (with(with(execute(&gives("n")), "x-api-key", &key), "authorization", ""), "several-credentials"),
        (twice, "several-credentials"),
        (doubled, "several-credentials"),
        (with(execute(&gives("n")), "authorization", &key), "unknown-scheme"),
        (with(execute(&gives("n")), "authorization", &format!("Basic {key}")), "unknown-scheme"),
        (with(execute(&gives("n")), "authorization", "Payment abc"), "unknown-scheme"),
        (with(execute(&gives("n")), "authorization", ""), "unknown-scheme"),
        (with(execute(&gives("n")), "authorization", "Bearer "), "unknown-key"),
        (with(execute(&gives("n")), "x-api-key", ""), "unknown-key"),
        (with(execute(&gives("n")), "x-api-key", &bearer), "unknown-key"),
    ] {
        let reply = world.http(request).await;
        assert_eq!(rule(&reply), (401, expected.to_owned()));
        assert!(reply.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer realm=")));
    }
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn a_grant_ends_at_its_time() {
    let world = World::free();
    let expires = UnixMs(world.clock().now().0 + 1_000);
    let key = world.give(Grant { expires: Some(expires), ..holder("g1") }).await;
    assert_eq!(ask_by(&world, &key, "n").await.status, 200);
    world.clock().advance_ms(899);
    assert_eq!(ask_by(&world, &key, "n").await.status, 200);
    world.clock().advance_ms(1);
    assert_eq!(rule(&ask_by(&world, &key, "n").await), (401, "expired-grant".to_owned()));
    let wrong = format!("{}0", &key[..key.len() - 1]);
    let wrong = if wrong == key { format!("{}1", &key[..key.len() - 1]) } else { wrong };
    assert_eq!(rule(&ask_by(&world, &wrong, "n").await), (401, "unknown-key".to_owned()));
}

#[tokio::test]
async fn a_revoked_grant_is_refused_a_tenth_of_a_second_later() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    assert_eq!(ask_by(&world, &key, "n").await.status, 200);
    let grant = world.store().grants().await.unwrap().remove(0);
    world.store().revoke_grant(grant.id, world.clock().now(), change()).await.unwrap();
    assert_eq!(ask_by(&world, &key, "n").await.status, 200, "as it was seen");
    world.clock().advance_ms(100);
    assert_eq!(rule(&ask_by(&world, &key, "n").await), (401, "unknown-key".to_owned()));
}

#[tokio::test]
async fn an_old_key_works_in_the_overlap_and_not_after_and_a_third_ends_it() {
    let world = World::free();
    let old = world.give(holder("g1")).await;
    let new = world.rotate("g1", 10_000).await;
    let first = ask_by(&world, &old, "n").await;
    let again = ask_by(&world, &new, "n").await;
    assert_eq!((first.status, again.header("execgate-replayed")), (200, Some("true")), "one caller");
    world.clock().advance_ms(10_000);
    assert_eq!(rule(&ask_by(&world, &old, "n").await), (401, "replaced-key".to_owned()));
    assert_eq!(ask_by(&world, &new, "n").await.status, 200);
    let newest = world.rotate("g1", 10_000).await;
    assert_eq!(rule(&ask_by(&world, &old, "n").await), (401, "unknown-key".to_owned()));
    assert_eq!(
        (ask_by(&world, &new, "n").await.status, ask_by(&world, &newest, "n").await.status),
        (200, 200)
    );
    let last = world.rotate("g1", 0).await;
    assert_eq!(rule(&ask_by(&world, &newest, "n").await), (401, "replaced-key".to_owned()));
    assert_eq!(ask_by(&world, &last, "n").await.status, 200);
}

#[tokio::test]
async fn only_a_grant_that_is_internal_does_not_pay() {
    let world = World::priced().open();
    let paying = world.give(holder("pays")).await;
    let internal = world.give(Grant { internal: true, ..holder("internal") }).await;
    assert_eq!(ask_by(&world, &paying, "n").await.status, 402);
    assert_eq!(ask_by(&world, &internal, "n").await.status, 200);
    let run = world.only_run().await;
    assert_eq!((run.rail.as_str(), run.price.is_zero()), ("internal", true));
    // What a request says of itself counts for nothing.
    for (name, value) in [("execgate-internal", "true"), ("x-agent-id", "internal")] {
        assert_eq!(world.http(with(keyed_by(execute(&gives("m")), &paying), name, value)).await.status, 402);
    }
    // A probe with an empty body is told a price only where there is one.
    let probe = |key: &str| keyed_by(post("/api/code-run", "{}"), key);
    assert_eq!(world.http(probe(&internal)).await.status, 400);
}

#[tokio::test]
async fn the_rail_of_internal_callers_is_nobodys_to_choose() {
    let world = World::priced().open();
    let call = ask("gives").nonce("n").pays_by("internal", "c");
    assert_eq!(world.walk(call).await.rule(), "payment-refused");
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn with_grants_required_nobody_else_runs_anything_and_a_proxy_may_stand_before() {
    let world = World::builder().require_grant().open();
    let key = world.give(holder("g1")).await;
    let nobody = world.http(execute(&gives("n"))).await;
    assert_eq!(rule(&nobody), (401, "grant-required".to_owned()));
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"execgate\""));
    assert_eq!(nobody.header("execgate-session"), None);
    let session = with(execute(&gives("n")), "execgate-session", &"a".repeat(64));
    assert_eq!(world.http(session).await.status, 401);
    assert_eq!(world.journal().starts(), 0);
    let proxied = with(keyed_by(execute(&gives("n")), &key), "x-forwarded-for", "10.0.0.1");
    assert_eq!(world.http(proxied).await.status, 200);
}

#[tokio::test]
async fn a_flood_of_wrong_keys_reads_the_record_once() {
    let world = World::free();
    let wrong = |number: u32| format!("eg_g{number}_{}", "0".repeat(64));
    assert_eq!(ask_by(&world, &wrong(0), "n").await.status, 401);
    // The record answers nobody any more; what is in memory does, for as long as it is fresh.
    world.store().close().await;
    for number in 0..100 {
        assert_eq!(rule(&ask_by(&world, &wrong(number), "n").await), (401, "unknown-key".to_owned()));
    }
    world.clock().advance_ms(100);
    assert_eq!(rule(&ask_by(&world, &wrong(0), "n").await), (503, "record-failed".to_owned()));
}

#[tokio::test]
async fn when_a_grant_was_used_is_written_once_a_minute() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    let used = async || {
        // The note is on its way once its task has had a turn; what is written later is written after it.
        yield_now().await;
        world.store().set_paused(false, change()).await.unwrap();
        world.store().grants().await.unwrap()[0].last_used
    };
    assert_eq!(used().await, None);
    let first = world.clock().now();
    ask_by(&world, &key, "n").await;
    assert_eq!(used().await, Some(first));
    world.clock().advance_ms(59_999);
    ask_by(&world, &key, "n").await;
    assert_eq!(used().await, Some(first));
    world.clock().advance_ms(1);
    ask_by(&world, &key, "n").await;
    assert_eq!(used().await, Some(UnixMs(first.0 + 60_000)));
}

#[tokio::test]
async fn no_answer_and_no_record_holds_a_key() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    let secret = key.rsplit_once('_').unwrap().1;
    let wrong = format!("eg_g1_{}", "9".repeat(64));
    let answers = [ask_by(&world, &key, "n").await, ask_by(&world, &wrong, "m").await];
    let recorded = format!("{:?} {:?}", world.runs().await, world.store().grants().await.unwrap());
    assert!(!recorded.contains(secret));
    assert!(answers.iter().all(|answer| !answer.show().contains(secret) && !answer.show().contains("9999")));
}

/// Everybody who can come to a door.
const KINDS: [&str; 17] = [
    "local",
    "session",
    "nobody",
    "wrong",
    "owner",
    "colleague",
    "auditor",
    "foreigner",
    "internal",
    "token",
    "expired",
    "audience",
    "issuer",
    "unsigned",
    "confused",
    "unkeyed",
    "reader",
];

/// A token of each kind: two that are good, and between them those that are not.
fn tokens(mint: &Mint, now_s: u64) -> Vec<String> {
    let good = |scope: &str| but(claims(scope, now_s), &json!({ "scope": scope }));
    let wrong = |others: Value| mint.token(&but(good("exec.run"), &others));
    let headed = |others: Value| mint.with_header(&but(mint.header(), &others), &good("exec.run"));
    let shared = headed(json!({"alg": "HS256"}));
    let (message, _) = shared.rsplit_once('.').unwrap();
    // The public key, taken for a shared secret.
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &mint.public());
    let tag = hmac::sign(&secret, message.as_bytes());
    vec![
        mint.token(&good("exec.run")),
        wrong(json!({"exp": now_s})),
        wrong(json!({"aud": "https://other.example"})),
        wrong(json!({"iss": "https://other.example"})),
        headed(json!({"alg": "none"})),
        format!("{message}.{}", encoded(tag.as_ref())),
        headed(json!({"kid": "k9"})),
        mint.token(&good("exec.audit")),
    ]
}

/// A request to an endpoint that is in order, with the id of the owner's run where one is asked for.
fn in_order(method: &str, path: &str, run: &str) -> Request<Body> {
    let path = path.replace("{id}", run);
    if method == "GET" {
        return get(&path);
    }
    if method == "DELETE" {
        let mut request = get(&path);
        *request.method_mut() = Method::DELETE;
        return request;
    }
    let body = match path.as_str() {
        "/execute" => gives("matrix"),
        "/receipts/verify" => json!({"exec_id": run, "receipt": "0".repeat(64), "result": null}),
        "/ep/validate" => json!({"agent_id": "a1", "action": "gives"}),
        "/exec/tool" | "/exec/simulate" => json!({"tool": {"name": "gives"}}),
        "/exec/batch" => json!({"calls": [{"tool": {"name": "gives"}}]}),
        approval if approval.starts_with("/approvals/") => json!({"artifact": {"payloadType": "text/plain"}}),
        _ => json!({"code": "gives"}),
    };
    post(&path, body.to_string())
}

async fn statuses(method: &str, path: &str) -> Vec<u16> {
    let (free, public) = (World::free(), World::builder().public().open());
    let mint = Mint::p256("k1");
    let world = World::priced().price("python", "0.02").tools_at_list_prices().require_grant();
    let waits = json!({"version": "1", "default": "allow", "tools": {"raises": {"require_approval": {}}}});
    let world = world.issued_by(published(&[&mint])).policy(waits).open();
    let owner = world.give(Grant { internal: true, ..with_roles("owner", "default", [Role::Caller]) }).await;
    let keys = [
        format!("eg_owner_{}", "0".repeat(64)),
        owner.clone(),
        world.give(with_roles("colleague", "default", [Role::Caller])).await,
        world.give(with_roles("auditor", "default", [Role::Auditor])).await,
        world.give(with_roles("foreigner", "other", [Role::Caller, Role::Auditor])).await,
        world.give(Grant { internal: true, ..with_roles("internal", "default", [Role::Caller]) }).await,
    ];
    let run = if path.starts_with("/approvals") {
        let asked = execute(&json!({"action": "raises", "nonce": "waits"}));
        world.http(keyed_by(asked, &owner)).await.json()["id"].as_str().unwrap().to_owned()
    } else {
        ask_by(&world, &owner, "first").await.header("execgate-run").unwrap().to_owned()
    };
    let request = || in_order(method, path, &run);
    let mut statuses = vec![
        free.http(request()).await.status,
        public.http(with(request(), "host", "gate.example")).await.status,
        world.http(request()).await.status,
    ];
    for key in keys.into_iter().chain(tokens(&mint, world.clock().now().0 / 1_000)) {
        statuses.push(world.http(keyed_by(request(), &key)).await.status);
    }
    statuses
}

/// Who gets what where. An endpoint that is new is missing here, and fails until somebody has looked at its line.
#[tokio::test]
async fn every_kind_of_caller_at_every_endpoint() {
    let document = openapi_document("0");
    let mut table = format!("{:<44}", "");
    for kind in KINDS {
        write!(table, "{kind:>10}").unwrap();
    }
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for verb in verbs.as_object().unwrap().keys() {
            let method = verb.to_uppercase();
            write!(table, "\n{:<44}", format!("{method} {path}")).unwrap();
            let statuses = statuses(&method, path).await;
            assert_eq!(statuses.len(), KINDS.len());
            for status in statuses {
                write!(table, "{status:>10}").unwrap();
            }
        }
    }
    assert_snapshot!(table);
}

fn plan(body: &Value, key: &str) -> Request<Body> {
    keyed_by(post("/ep/validate", body.to_string()), key)
}

#[tokio::test]
async fn validate_says_what_the_rules_would_say_and_nothing_happens() {
    let world = World::builder().allow(["gives", "nowhere"]).price("gives", "0.05").open();
    let key = world.give(holder("g1")).await;
    let asked = async |action: &str| {
        let body = json!({"agent_id": "a1", "action": action, "payload": {"x": 1}, "chain": "base"});
        let reply = world.http(plan(&body, &key)).await;
        assert_eq!(reply.status, 200);
        reply.json()
    };
    let mut yes = asked("gives").await;
    assert_eq!(
        (&yes["valid"], &yes["risk_score"], &yes["violations"], &yes["plan_summary"], &yes["chain"]),
        (&json!(true), &json!("LOW"), &json!([]), &json!("AGENT:a1 | gives"), &json!("base"))
    );
    let no = asked("raises").await;
    let words = "allow-list: Action 'raises' is not in the execution allow-list";
    assert_eq!(
        (&no["valid"], &no["risk_score"], &no["violations"]),
        (&json!(false), &json!("HIGH"), &json!([words]))
    );
    assert_eq!(asked("nowhere").await["violations"], json!(["unknown-action: unknown action: nowhere"]));
    let proof = yes.as_object_mut().unwrap().remove("proof_hash").unwrap();
    assert_eq!(proof, json!(digest_json(&yes).unwrap()), "anybody can make it again");
    assert_eq!((world.runs().await.len(), world.journal().events().len()), (0, 0));
}

#[tokio::test]
async fn validate_asks_no_identity_service_and_is_for_holders_alone() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    world.iam().says(IamAnswer::Refused("never".to_owned()));
    let body = json!({"agent_id": "a1", "tool": "gives", "amount_usd": 25, "direction": "buy"});
    assert_eq!(world.http(plan(&body, &key)).await.json()["valid"], true);
    let nobody = world.http(post("/ep/validate", body.to_string())).await;
    assert_eq!(rule(&nobody), (401, "grant-required".to_owned()));
    for (bad, pointer) in [
        (json!({"action": "gives"}), "/agent_id"),
        (json!({"agent_id": "a1"}), "/action"),
        (json!({"agent_id": "a1", "action": "gives", "tool": "raises"}), "/tool"),
        (json!({"agent_id": "a1", "action": "g/"}), "/action"),
        (json!({"agent_id": "a1", "action": "gives", "payload": []}), "/payload"),
        (json!({"agent_id": "a1", "action": "gives", "payload": {}, "asset": "x"}), "/payload"),
        (json!({"agent_id": "a1", "action": "gives", "surprise": 1}), "/surprise"),
        (json!({"agent_id": "a".repeat(129), "action": "gives"}), "/agent_id"),
    ] {
        let reply = world.http(plan(&bad, &key)).await;
        assert_eq!((reply.status, &reply.json()["pointer"]), (400, &json!(pointer)), "{bad}");
    }
}

#[tokio::test]
async fn our_own_overload_is_busy_and_never_unreachable() {
    let world = World::free();
    world.iam().says(IamAnswer::Overloaded);
    for call in [ask("gives"), ask("gives").dry_run()] {
        assert_eq!(world.walk(call).await.rule(), "iam-full");
    }
    world.iam().says(IamAnswer::Unreachable);
    assert_eq!(world.walk(ask("gives")).await.rule(), "iam-unreachable");
    assert_eq!(world.journal().starts(), 0);
}
