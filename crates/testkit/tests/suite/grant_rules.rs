//! The rules of a grant beside the gateway's, on the way through the rooms; what rules say of price and sandbox; and how
//! often something is simulated for nothing.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use execgate_flow::Refusal;
use execgate_flow::authorise::Rates;
use execgate_model::{Caller, GrantId, Identity, Proposal, TenantId, UnixMs};
use execgate_receipt::{ReceiptFile, digest_json, verify};
use execgate_store::Grant;
use execgate_testkit::{Reply, Walked, World, ask, change, execute, get, holder, post, with};
use execgate_web::ExecuteWords;
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn open_but(tools: &Value) -> Value {
    json!({"version": "1", "default": "allow", "tools": tools})
}

/// At most so many calls of whatever there is in an hour.
fn at_most(max: u64, scope: &str) -> Value {
    let limit = json!({"counter": "calls", "window": "hour", "max": max, "scope": scope});
    json!({"version": "1", "default": "allow", "all_tools": {"limits": [limit]}})
}

fn ruled(id: &str, policy: &Value) -> Grant {
    Grant { policy: Some(policy.to_string()), ..holder(id) }
}

fn keyed_by(request: Request<Body>, key: &str) -> Request<Body> {
    with(request, "authorization", &format!("Bearer {key}"))
}

async fn call(world: &World, key: &str, action: &str, nonce: &str) -> Reply {
    world.http(keyed_by(execute(&json!({"action": action, "nonce": nonce})), key)).await
}

fn rule(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["rule"].as_str().unwrap_or_default().to_owned())
}

/// A proposal by the holder of a grant, as a door makes it.
fn by(id: &str, action: &str) -> Proposal {
    let identity = Identity::Grant { id: GrantId::new(id).unwrap(), internal: false, labels: Arc::default() };
    let caller = Caller { tenant: TenantId::new("default").unwrap(), identity };
    Proposal { caller, ..ask(action).into() }
}

#[tokio::test]
async fn a_call_has_to_pass_both_and_the_receipt_names_both() {
    let gateway = open_but(&json!({"raises": {"action": "deny"}}));
    let own = json!({"version": "1", "default": "deny", "tools": {"gives": {}, "raises": {}}});
    let world = World::builder().policy(gateway.clone()).open();
    let key = world.give(ruled("g1", &own)).await;
    let other = world.give(holder("g2")).await;
    assert_eq!(rule(&call(&world, &key, "echo", "n").await), (403, "grant:/default".to_owned()));
    assert_eq!(rule(&call(&world, &key, "raises", "n").await), (403, "/tools/raises/action".to_owned()));
    assert_eq!(call(&world, &other, "echo", "n").await.status, 200);

    let reply = call(&world, &key, "gives", "n").await;
    let id = reply.header("execgate-run").unwrap().to_owned();
    let receipt = world.http(keyed_by(get(&format!("/receipts/{id}")), &key)).await;
    let file = ReceiptFile::from_json(&receipt.body).unwrap();
    let verified = verify(&file, &[world.key()]).unwrap();
    let said = serde_json::to_value(&verified.statement().predicate).unwrap()["policy"].clone();
    let of_gateway = digest_json(&json!({"allowed_actions": null, "policy": gateway})).unwrap();
    let both = json!({"gateway": of_gateway, "grant": digest_json(&own).unwrap()});
    assert_eq!(said, json!({"digest": digest_json(&both).unwrap(), "rule": "grant:/tools/gives"}));
}

#[tokio::test]
async fn rules_that_are_set_and_taken_away_hold_a_tenth_of_a_second_later() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    assert_eq!(call(&world, &key, "gives", "a").await.status, 200);
    world.rule("g1", Some(open_but(&json!({"gives": {"action": "deny"}})))).await;
    assert_eq!(rule(&call(&world, &key, "gives", "b").await), (403, "grant:/tools/gives/action".to_owned()));
    world.rule("g1", None).await;
    assert_eq!(call(&world, &key, "gives", "b").await.status, 200);
}

#[tokio::test]
async fn a_grant_whose_rules_cannot_be_read_may_do_nothing() {
    let world = World::free();
    let key = world.give(ruled("g1", &json!({"version": "2", "default": "allow"}))).await;
    assert_eq!(rule(&call(&world, &key, "gives", "a").await), (503, "grant-policy".to_owned()));
    let plan = json!({"agent_id": "a", "action": "gives"});
    assert_eq!(world.http(keyed_by(post("/ep/validate", plan.to_string()), &key)).await.status, 503);
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn a_grant_that_ended_while_its_request_came_runs_nothing() {
    let world = World::free();
    world.give(holder("g1")).await;
    let grant = world.store().grants().await.unwrap().remove(0);
    assert_eq!(world.walk(by("g1", "gives")).await.passage().answer.status, 200);
    world.store().revoke_grant(grant.id, UnixMs(9), change()).await.unwrap();
    world.see_grants();
    for id in ["g1", "nobody"] {
        assert_eq!(world.walk(by(id, "gives")).await.rule(), "grant-ended");
    }
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn limits_of_both_are_exact_however_many_call_at_once() {
    let world = World::builder().policy(at_most(9, "global")).open();
    world.give(ruled("g1", &at_most(5, "tool"))).await;
    world.give(ruled("g2", &at_most(50, "global"))).await;
    let gates = [world.gate(), world.another_gate()];
    let mut walks = JoinSet::new();
    for number in 0..40 {
        let gate = gates[number % 2].clone();
        let id = if number < 20 { "g1" } else { "g2" };
        walks.spawn(async move {
            loop {
                match gate.corridor().walk(by(id, "gives"), Arc::new(ExecuteWords)).await {
                    // The other process commits.
                    Err(Refusal::Store(_)) => {}
                    walked => break (id, walked.is_ok()),
                }
            }
        });
    }
    let walked = walks.join_all().await;
    let passed = |id: &str| walked.iter().filter(|(who, passed)| *who == id && *passed).count();
    assert!(passed("g1") <= 5, "the grant's own");
    assert_eq!((passed("g1") + passed("g2"), world.journal().starts()), (9, 9), "the gateway's");
}

#[tokio::test]
async fn a_run_that_never_started_gives_both_counts_back_and_a_refusal_takes_neither() {
    let world = World::builder().policy(at_most(2, "global")).open();
    world.give(ruled("g1", &at_most(1, "global"))).await;
    for _ in 0..3 {
        assert_eq!(world.walk(by("g1", "unstartable")).await.rule(), "not-started");
        assert_eq!(world.walk(by("g1", "full")).await.rule(), "full");
    }
    assert_eq!(world.walk(by("g1", "gives")).await.passage().answer.status, 200);
    for _ in 0..3 {
        assert_eq!(world.walk(by("g1", "gives")).await.rule(), "grant:/all_tools/limits/0");
    }
    assert_eq!(world.walk(ask("gives")).await.passage().answer.status, 200, "what was refused took nothing");
    assert_eq!(world.walk(ask("gives")).await.rule(), "/all_tools/limits/0");
}

#[tokio::test]
async fn a_batch_is_judged_by_the_rules_of_its_caller() {
    let world = World::free();
    let key = world.give(ruled("g1", &open_but(&json!({"raises": {"action": "deny"}})))).await;
    let calls = json!({"calls": [{"tool": {"name": "gives"}}, {"tool": {"name": "raises"}}]});
    let reply = world.http(keyed_by(post("/exec/batch", calls.to_string()), &key)).await;
    assert_eq!((reply.status, &reply.json()["error"]["rule"]), (403, &json!("grant:/tools/raises/action")));
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn what_a_grant_hides_is_hidden_from_its_holder_alone() {
    let world = World::free();
    let own = json!({"version": "1", "default": "allow", "hide": ["math_*"]});
    let key = world.give(ruled("g1", &own)).await;
    let names = |reply: &Reply| -> Vec<String> {
        let allowed = reply.json()["allowed"].as_array().unwrap().clone();
        allowed.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let shown = |names: &[String]| names.iter().any(|name| name == "math_compute");
    assert!(shown(&names(&world.http(get("/exec/tools")).await)));
    assert!(!shown(&names(&world.http(keyed_by(get("/exec/tools"), &key)).await)));
    let wrong = world.http(with(get("/exec/tools"), "x-api-key", "eg_g1_0")).await;
    assert_eq!(wrong.status, 401, "a key that opens nothing is never taken for none");
}

#[tokio::test]
async fn validate_answers_by_the_rules_of_the_holder_and_names_them() {
    let world = World::free();
    let own = open_but(&json!({"raises": {"action": "deny", "reason": "never"}}));
    let (key, plain) = (world.give(ruled("g1", &own)).await, world.give(holder("g2")).await);
    let asked = async |key: &str| {
        let body = json!({"agent_id": "a", "action": "raises"}).to_string();
        world.http(keyed_by(post("/ep/validate", body), key)).await.json()
    };
    let (held, free) = (asked(&key).await, asked(&plain).await);
    assert_eq!(held["violations"], json!(["grant:/tools/raises/action: never"]));
    assert_eq!(free["valid"], true);
    assert_ne!(held["policy_set_id"], free["policy_set_id"]);
}

#[tokio::test]
async fn a_price_of_the_rules_is_asked_where_anything_costs_and_nowhere_else() {
    let rules = open_but(&json!({"gives": {"price": "0.07"}, "echo": {"price": "0.01"}}));
    let free = World::builder().policy(rules.clone()).open();
    assert_eq!(free.walk(ask("gives")).await.passage().answer.status, 200);

    let world = World::priced().policy(rules).open();
    let asked = async |action: &str| match world.walk(ask(action)).await {
        Walked::Refused(Refusal::PaymentRequired { price, .. }) => price.to_string(),
        other @ (Walked::Refused(_) | Walked::Passed(_) | Walked::Died) => format!("{other:?}"),
    };
    assert_eq!((asked("gives").await, asked("raises").await), ("0.07".into(), "0.05".into()));
    assert_eq!(asked("echo").await, "0.01", "what had no price has one");
    world.walk(ask("gives").nonce("n").pays("p")).await.passage();
    assert_eq!(world.only_run().await.price.to_string(), "0.07");

    let key = world
        .give(Grant { internal: true, ..ruled("g1", &open_but(&json!({"gives": {"price": "9"}}))) })
        .await;
    assert_eq!(call(&world, &key, "gives", "n").await.status, 200, "an internal grant pays nothing");
}

#[tokio::test]
async fn a_limit_of_money_counts_what_is_asked() {
    let limit = json!({"counter": "spend", "window": "day", "max": 120_000, "increment_from": "price", "scope": "global"});
    let rules = json!({"version": "1", "default": "allow", "all_tools": {"limits": [limit]}});
    let world = World::priced().policy(rules).open();
    for claim in ["p1", "p2"] {
        world.walk(ask("gives").pays(claim)).await.passage();
    }
    assert_eq!(world.walk(ask("gives").pays("p3")).await.rule(), "/all_tools/limits/0");
    assert!(!world.journal().is_captured("p3"));
}

#[tokio::test]
async fn rules_that_name_a_sandbox_for_what_has_none_refuse_it() {
    let world = World::builder().policy(open_but(&json!({"gives": {"profile": "data"}}))).open();
    assert_eq!(world.walk(ask("gives")).await.rule(), "profile");
    assert_eq!(
        world.walk(ask("gives").payload(json!({"profile": "x"}))).await.rule(),
        "/tools/gives/profile"
    );
    assert_eq!(world.journal().starts(), 0);
}

#[tokio::test]
async fn free_simulations_have_a_rate_and_what_is_paid_or_live_has_none() {
    let world = World::builder().rates(Rates { each: 6, local: 12 }).open();
    let simulate = || post("/exec/simulate", json!({"tool": {"name": "gives"}}).to_string());
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.http(simulate()).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    let refused = world.http(simulate()).await;
    assert_eq!(
        (refused.header("retry-after"), &refused.json()["error"]["rule"]),
        (Some("5"), &json!("simulate-rate"))
    );
    let live = post("/exec/tool", json!({"tool": {"name": "gives"}, "dryRun": false}).to_string());
    assert_eq!(world.http(live).await.status, 200);
    let key = world.give(holder("g1")).await;
    assert_eq!(world.http(keyed_by(simulate(), &key)).await.status, 200, "a bucket of its own");
    assert_eq!(world.http(keyed_by(simulate(), &key)).await.status, 429);
    world.clock().advance_ms(5_000);
    assert_eq!(world.http(simulate()).await.status, 200);

    let paid = World::builder().rates(Rates { each: 1, local: 1 }).tools_at_list_prices().open();
    for claim in ["p1", "p2", "p3"] {
        let proposal = ask("gives").dry_run().pays(claim);
        assert_eq!(paid.walk(proposal).await.passage().answer.status, 200, "who pays waits for nobody");
    }
}
