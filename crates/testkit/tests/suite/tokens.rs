//! Tokens of an authorization server at the doors: who they make of a caller, and what is said of those that are refused.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use execgate_flow::witness::Facts;
use execgate_model::Clock as _;
use execgate_testkit::mint::{AUDIENCE, ISSUER, Mint, but, claims, published};
use execgate_testkit::{Reply, World, execute, get, holder, post, with};
use serde_json::{Value, json};

const METADATA: &str = "/.well-known/oauth-protected-resource";

fn gives(nonce: &str) -> Value {
    json!({"action": "gives", "nonce": nonce})
}

fn by(request: Request<Body>, token: &str) -> Request<Body> {
    with(request, "authorization", &format!("Bearer {token}"))
}

fn rule(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["rule"].as_str().unwrap_or_default().to_owned())
}

/// A world that takes tokens, and the key of their issuer.
fn world() -> (World, Mint) {
    let mint = Mint::p256("k1");
    (World::builder().issued_by(published(&[&mint])).open(), mint)
}

/// A good token of a subject for runs.
fn token(world: &World, mint: &Mint, others: &Value) -> String {
    let good = claims("u1", world.clock().now().0 / 1_000);
    mint.token(&but(but(good, &json!({"scope": "exec.run"})), others))
}

#[tokio::test]
async fn a_refreshed_token_is_the_same_caller_and_its_run_is_a_replay() {
    let (world, mint) = world();
    let first = world.http(by(execute(&gives("n")), &token(&world, &mint, &json!({})))).await;
    assert_eq!(first.status, 200);
    let refreshed = token(&world, &mint, &json!({"jti": "t2"}));
    let again = world.http(by(execute(&gives("n")), &refreshed)).await;
    assert_eq!((again.header("execgate-replayed"), &again.body), (Some("true"), &first.body));
    let other = token(&world, &mint, &json!({"sub": "u2"}));
    assert_eq!(world.http(by(execute(&gives("n")), &other)).await.header("execgate-replayed"), None);
    let run = first.header("execgate-run").unwrap();
    let seen = async |token: &str| world.http(by(get(&format!("/runs/{run}")), token)).await.status;
    assert_eq!((seen(&refreshed).await, seen(&other).await), (200, 404));
    let callers: BTreeSet<_> = world.runs().await.into_iter().map(|run| run.caller).collect();
    assert_eq!(Vec::from_iter(callers), [format!("subject:{ISSUER} u1"), format!("subject:{ISSUER} u2")]);
}

#[tokio::test]
async fn a_token_s_caller_pays_and_is_no_grant_of_the_same_name() {
    let mint = Mint::p256("k1");
    let world = World::priced().issued_by(published(&[&mint])).open();
    let internal = token(&world, &mint, &json!({"internal": true, "sub": "g1"}));
    assert_eq!(world.http(by(execute(&gives("n")), &internal)).await.status, 402);
    let free = World::builder().issued_by(published(&[&mint])).open();
    let key = free.give(holder("g1")).await;
    assert_eq!(free.http(by(execute(&gives("n")), &key)).await.status, 200);
    let token = token(&free, &mint, &json!({"sub": "g1"}));
    assert_eq!(free.http(by(execute(&gives("n")), &token)).await.header("execgate-replayed"), None);
}

#[tokio::test]
async fn the_receipt_of_a_token_s_run_names_nobody_and_its_record_no_token() {
    let (world, mint) = world();
    let token = token(&world, &mint, &json!({"department": "red"}));
    assert_eq!(world.http(by(execute(&gives("n")), &token)).await.status, 200);
    let run = world.only_run().await;
    let facts = Facts::from_bytes(&run.intent).unwrap();
    assert!(facts.is_iam_approved());
    assert!(facts.caller.labels().is_empty(), "what the record keeps is who it was");
    let receipt = world.http(by(get(&format!("/receipts/{}", run.run)), &token)).await;
    assert_eq!(receipt.status, 200);
    let signature = token.rsplit_once('.').unwrap().1;
    for kept in [receipt.show(), format!("{run:?}")] {
        assert!(!kept.contains(signature));
    }
    assert!(!receipt.show().contains("\"u1\""));
}

#[tokio::test]
async fn rules_see_the_labels_of_a_token_and_count_each_subject() {
    let mint = Mint::p256("k1");
    let policy = json!({"version": "1", "default": "deny", "tools": {"gives": {
        "require": [{"path": "labels.team", "op": "eq", "value": "red"}],
        "limits": [{"counter": "c", "window": "day", "max": 1, "scope": "grant"}],
    }}});
    let world = World::builder().policy(policy).issued_by(published(&[&mint])).open();
    let asked = async |nonce: &str, others: Value| {
        rule(&world.http(by(execute(&gives(nonce)), &token(&world, &mint, &others))).await)
    };
    let red = json!({"department": "red"});
    assert_eq!(asked("a", json!({})).await, (403, "/tools/gives/require/0".to_owned()));
    assert_eq!(asked("a", red.clone()).await.0, 200);
    assert_eq!(asked("b", red).await, (429, "/tools/gives/limits/0".to_owned()));
    assert_eq!(asked("a", json!({"department": "red", "sub": "u2"})).await.0, 200);
    // A label that cannot be taken over is not left out.
    assert_eq!(asked("c", json!({"department": ["red"]})).await, (401, "token-claim".to_owned()));
}

#[tokio::test]
async fn every_wrong_token_is_refused_by_its_rule_and_told_where_to_get_another() {
    let (world, mint) = world();
    let refused = |others: Value| token(&world, &mint, &others);
    let stranger = Mint::p256("k1");
    let unknown = Mint::p256("k9");
    let unsigned = json!({"alg": "none", "typ": "JWT"});
    let unsigned = mint.with_header(&unsigned, &claims("u1", world.clock().now().0 / 1_000));
    let now_s = world.clock().now().0 / 1_000;
    for (token, rules) in [
        (refused(json!({"exp": now_s - 1})), "expired-token"),
        (refused(json!({"nbf": now_s + 1})), "early-token"),
        (refused(json!({"aud": "https://other.example"})), "token-audience"),
        (refused(json!({"iss": "https://other.example"})), "unknown-issuer"),
        (refused(json!({"sub": null})), "token-claim"),
        (refused(json!({"nonce": "n"})), "token-kind"),
        (refused(json!({"cnf": {}})), "bound-token"),
        (unsigned, "token-algorithm"),
        (token(&world, &stranger, &json!({})), "token-signature"),
        (token(&world, &unknown, &json!({})), "unknown-token-key"),
        ("a.b.c".to_owned(), "token-form"),
        ("nothing-of-ours".to_owned(), "unknown-key"),
    ] {
        for path in ["/execute", "/api/code-run", "/exec/tool"] {
            let reply = world.http(by(post(path, gives("n").to_string()), &token)).await;
            assert_eq!(reply.status, 401, "{rules} {path}");
            let challenge = reply.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer realm=\"execgate\", error=\"invalid_token\", error_desc"));
            let metadata = format!(", resource_metadata=\"{AUDIENCE}{METADATA}\"");
            assert!(challenge.ends_with(&metadata), "{challenge}");
        }
        assert_eq!(rule(&world.http(by(execute(&gives("n")), &token)).await), (401, rules.to_owned()));
    }
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn one_credential_at_a_time_and_a_token_by_one_header_alone() {
    let (world, mint) = world();
    let token = token(&world, &mint, &json!({}));
    let by_key = with(execute(&gives("n")), "x-api-key", &token);
    assert_eq!(rule(&world.http(by_key).await), (401, "unknown-key".to_owned()));
    let both = with(by(execute(&gives("n")), &token), "x-api-key", "eg_x");
    assert_eq!(rule(&world.http(both).await), (401, "several-credentials".to_owned()));
    let mut twice = by(execute(&gives("n")), &token);
    twice.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(rule(&world.http(twice).await), (401, "several-credentials".to_owned()));
    let without = World::free();
    assert_eq!(
        rule(&without.http(by(execute(&gives("n")), &token)).await),
        (401, "unknown-key".to_owned()),
        "where no issuer is configured"
    );
}

#[tokio::test]
async fn a_token_without_the_role_is_told_which_scope_it_lacks_and_an_auditor_s_reads_all() {
    let mint = Mint::p256("k1");
    let world = World::builder().require_grant().issued_by(published(&[&mint])).open();
    let caller = token(&world, &mint, &json!({}));
    let ran = world.http(by(execute(&gives("n")), &caller)).await;
    let run = ran.header("execgate-run").unwrap().to_owned();
    let auditor = token(&world, &mint, &json!({"sub": "a1", "scope": "exec.audit"}));
    let nothing = token(&world, &mint, &json!({"sub": "a2", "scope": "openid"}));
    for token in [&auditor, &nothing] {
        let reply = world.http(by(execute(&gives("m")), token)).await;
        assert_eq!(rule(&reply), (403, "role/caller".to_owned()));
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    }
    let seen = async |token: &str| world.http(by(get(&format!("/runs/{run}")), token)).await.status;
    assert_eq!((seen(&auditor).await, seen(&nothing).await), (200, 404));
    let nobody = world.http(execute(&gives("n"))).await;
    let expected = format!("Bearer realm=\"execgate\", resource_metadata=\"{AUDIENCE}{METADATA}\"");
    assert_eq!(rule(&nobody), (401, "grant-required".to_owned()));
    assert_eq!(nobody.header("www-authenticate"), Some(expected.as_str()));
}

#[tokio::test]
async fn the_gateway_says_whose_tokens_it_takes_under_the_operator_s_url_alone() {
    let (world, _) = world();
    for host in ["localhost:5091", "10.0.0.7"] {
        let told = world.http(with(get(METADATA), "host", host)).await;
        assert_eq!(
            told.json(),
            json!({
                "resource": AUDIENCE, "authorization_servers": [ISSUER], "bearer_methods_supported": ["header"],
                "scopes_supported": ["exec.audit", "exec.run"], "resource_name": "execgate",
            })
        );
    }
    assert_eq!(World::free().http(get(METADATA)).await.status, 404);
}

#[tokio::test]
async fn the_doors_of_mcp_are_resources_of_their_own_and_their_challenges_lead_there() {
    let mint = Mint::p256("k1");
    let world = World::builder().require_grant().issued_by(published(&[&mint])).open();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let greet = || with(post("/mcp", hello.to_string()), "accept", "application/json, text/event-stream");
    let nobody = world.http(greet()).await;
    let place = format!("{AUDIENCE}{METADATA}/mcp");
    let expected = format!("Bearer realm=\"execgate\", scope=\"exec.run\", resource_metadata=\"{place}\"");
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some(expected.as_str())));
    // The same at the door of a server of others, there or not: who asks is told first.
    let other = world.http(with(post("/mcp/files", hello.to_string()), "accept", "application/json")).await;
    assert!(other.header("www-authenticate").unwrap().ends_with(&format!("{METADATA}/mcp/files\"")));
    let told = world.http(get(&format!("{METADATA}/mcp"))).await.json();
    assert_eq!(told["resource"], format!("{AUDIENCE}/mcp"));
    assert_eq!(world.http(get(&format!("{METADATA}/mcp/files"))).await.status, 404);
    // A token for that resource (RFC 8707) opens it and nothing else; one for the gateway opens every door.
    let files = || with(post("/mcp/files", hello.to_string()), "accept", "application/json");
    let door = |path: &str| json!(format!("{AUDIENCE}{path}"));
    for (audience, statuses) in [
        (json!(AUDIENCE), [200, 404, 200, 200]),
        (door("/mcp"), [200, 401, 401, 401]),
        // There is no such server: its token goes as far as to be told so.
        (door("/mcp/files"), [401, 404, 401, 401]),
        (door("/mcp/other"), [401; 4]),
        (json!([door("/mcp"), door("/mcp/files"), "https://other.example"]), [200, 404, 401, 401]),
        (json!([door("/mcp"), AUDIENCE]), [200, 404, 200, 200]),
        (door("/mcp-evil"), [401; 4]),
        (door(".evil.example/mcp"), [401; 4]),
        (door("/execute"), [401; 4]),
    ] {
        let token = token(&world, &mint, &json!({"aud": audience}));
        let mut told = Vec::new();
        for asked in [greet(), files(), execute(&gives("n")), get("/approvals")] {
            let reply = world.http(by(asked, &token)).await;
            if reply.status == 401 {
                assert_eq!(rule(&reply), (401, "token-audience".to_owned()), "{audience}");
            }
            told.push(reply.status);
        }
        assert_eq!(told, statuses, "{audience}");
    }
}
