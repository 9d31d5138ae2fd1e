//! Approvals: who may say yes, to what, and once. OpenExec's own behaviours in its strict mode are here too, over HTTP and with
//! what of them was wrong mended.

use axum::body::Body;
use axum::http::Request;
use execgate_flow::approve::{Holder, Person};
use execgate_model::{Clock as _, TenantId, UnixMs};
use execgate_receipt::approval::{ApprovalStatement, ClawShield, Decision};
use execgate_receipt::{
    ApprovalBasis, ApprovalFact, ReceiptFile, SigningKey, salted, salted_digest, sha256, verify,
};
use execgate_store::LeafKind;
use execgate_testkit::approval::{Minted, SHIELD_TENANT, approver, shield, signed, yes};
use execgate_testkit::{Ask, Death, Reply, World, WorldBuilder, ask, execute, get, holder, keyed, post};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn strict() -> World {
    World::builder().strict().shield(shield()).approvers(people()).open()
}

/// Alice with two names, Bob, and Carol, who asks by a grant of her own.
fn people() -> Vec<Person> {
    let mut other = approver("alice-phone", 11);
    "alice".clone_into(&mut other.approver.person);
    let mut carol = approver("carol", 3);
    carol.asks_as = vec![Holder::Grant("hers".parse().unwrap())];
    let mut dave = approver("dave", 4);
    dave.approver.tenant = TenantId::new("elsewhere").ok();
    vec![approver("alice", 1), other, approver("bob", 2), carol, dave]
}

fn now(world: &World) -> UnixMs {
    world.clock().now()
}

fn minted(world: &World, id: &str, payload: &Value) -> Minted {
    Minted::of(id, "echo", payload, now(world))
}

fn hello() -> Value {
    json!({"msg": "hello"})
}

fn call(payload: &Value, nonce: &str, artifact: &Value) -> Request<Body> {
    execute(&json!({"action": "echo", "payload": payload, "nonce": nonce, "approval_artifact": artifact}))
}

/// Status, code and text of a refusal.
fn refusal(reply: &Reply) -> (u16, String, String) {
    let problem = reply.json();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (reply.status, text("code"), text("detail"))
}

#[tokio::test]
async fn a_valid_artifact_executes_once_and_its_replay_needs_none() {
    let world = strict();
    let artifact = minted(&world, "a1", &hello()).signed();
    let first = world.http(call(&hello(), "n1", &artifact)).await;
    assert_eq!(first.status, 200, "{}", first.show());
    assert_eq!(first.json()["approved"], json!(true));
    assert_eq!(first.json()["result"], json!({"echo": {"msg": "hello"}}));

    let used = world.http(call(&hello(), "n2", &artifact)).await;
    assert_eq!((used.status, &used.json()["code"]), (403, &json!("approval-reused")));
    let none = execute(&json!({"action": "echo", "payload": hello(), "nonce": "n1"}));
    let bad = call(&hello(), "n1", &json!({"signature": "AAAA"}));
    world.clock().advance_ms(86_400_000);
    for request in [none, bad, call(&hello(), "n1", &artifact)] {
        let again = world.http(request).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
    }
    let other = call(&json!({"msg": "other"}), "n1", &artifact);
    let reused = world.http(other).await;
    assert_eq!((reused.status, &reused.json()["code"]), (409, &json!("nonce-reused")));
}

#[tokio::test]
async fn what_openexec_refuses_is_refused_in_its_words() {
    let world = strict();
    let good = || minted(&world, "a1", &hello());
    let without = |field: &str| {
        let mut artifact = good().signed();
        artifact.as_object_mut().unwrap().remove(field);
        artifact
    };
    let forged = {
        let mut artifact = good().signed();
        artifact["signature"] = minted(&world, "a2", &hello()).signed()["signature"].clone();
        artifact
    };
    let past = UnixMs(now(&world).0 - 600_000);
    let mismatch = "Action hash mismatch: approval does not match this request";
    let unsigned = "Invalid signature: approval artifact is not authentic";
    let elsewhere = format!("Tenant mismatch: expected {SHIELD_TENANT}, got tenant-002");
    let table = [
        (json!(null), "ClawShield mode requires an approval artifact"),
        (minted(&world, "a1", &json!({"msg": "original"})).signed(), mismatch),
        (without("action_hash"), mismatch),
        (Minted::of("a1", "echo", &hello(), past).signed(), "Approval artifact expired"),
        (without("expires_at"), "Missing expires_at in approval artifact"),
        (good().with("expires_at", "tomorrow").signed(), "Invalid expires_at timestamp"),
        (forged, unsigned),
        (without("signature"), unsigned),
        (without("approval_id"), unsigned),
        (good().with("tenant_id", "tenant-002").signed(), &elsewhere),
    ];
    for (artifact, detail) in table {
        let reply = world.http(call(&hello(), "n", &artifact)).await;
        assert_eq!((reply.status, refusal(&reply).2.as_str()), (403, detail), "{artifact}");
    }
    let unknown = world.http(execute(&json!({"action": "nothing", "nonce": "n"}))).await;
    assert_eq!((unknown.status, refusal(&unknown).2.as_str()), (400, "Unknown action: nothing"));
    assert_eq!(world.runs().await.len(), 0);
    // None of these has burnt the nonce.
    assert_eq!(world.http(call(&hello(), "n", &good().signed())).await.status, 200);
}

#[tokio::test]
async fn without_a_key_every_run_is_refused_and_health_says_so() {
    let world = World::builder().strict().open();
    let artifact = minted(&world, "a1", &hello()).signed();
    let reply = world.http(call(&hello(), "n", &artifact)).await;
    assert_eq!((reply.status, refusal(&reply).2.as_str()), (403, "CLAWSHIELD_PUBLIC_KEY not configured"));
    let mode = |health: Value| (health["exec_mode"].clone(), health["signature_verification"].clone());
    assert_eq!(mode(world.http(get("/health")).await.json()), (json!("clawshield"), json!("disabled")));
    assert_eq!(mode(strict().http(get("/health")).await.json()), (json!("clawshield"), json!("enabled")));
    let key_alone = World::builder().strict().shield(ClawShield { tenant: None, ..shield() }).open();
    let elsewhere = minted(&key_alone, "a1", &hello()).with("tenant_id", "tenant-002").signed();
    assert_eq!(key_alone.http(call(&hello(), "n", &elsewhere)).await.status, 200);
}

#[tokio::test]
async fn each_field_of_an_artifact_that_is_changed_is_refused_by_its_name() {
    let world = strict();
    let good = minted(&world, "a1", &hello()).signed();
    let table = [
        ("approval_id", json!("a2"), "approval-signature"),
        ("tenant_id", json!("tenant-002"), "approval-signature"),
        ("action_hash", json!("00".repeat(32)), "approval-other-request"),
        ("issued_at", json!("2026-11-20T10:00:00"), "approval-signature"),
        ("expires_at", json!("2026-11-20T10:05:01"), "approval-signature"),
        ("expires_at", json!("2026-11-20T10:05:00Z"), "approval-expiry"),
        ("signature", json!("AAAA"), "approval-signature"),
        ("signature", json!(good["signature"].as_str().unwrap().replace('=', "")), "approval-signature"),
        ("max_uses", json!("9"), "approval-unreadable"),
        ("approval_id", json!(1), "approval-unreadable"),
        ("approval_id", json!("a".repeat(513)), "approval-unreadable"),
    ];
    for (field, value, rule) in table {
        let mut changed = good.clone();
        changed[field] = value;
        let reply = world.http(call(&hello(), "n", &changed)).await;
        let status = if rule == "approval-unreadable" { 400 } else { 403 };
        assert_eq!((reply.status, &reply.json()["rule"]), (status, &json!(rule)), "{field}");
    }
    for (artifact, rule) in [
        (json!("a text"), "approval-unreadable"),
        (json!([]), "approval-unreadable"),
        (json!({"payloadType": "x"}), "approval-unreadable"),
        (json!({}), "approval-other-request"),
    ] {
        let reply = world.http(call(&hello(), "n", &artifact)).await;
        assert_eq!(reply.json()["rule"], json!(rule), "{artifact}");
    }
    assert_eq!(world.http(call(&hello(), "n", &good)).await.status, 200);
}

#[tokio::test]
async fn the_same_signature_split_otherwise_is_the_same_artifact() {
    let world = World::builder().strict().shield(ClawShield { tenant: None, ..shield() }).open();
    let good = minted(&world, "a1", &hello()).signed();
    let mut split = good.clone();
    split["approval_id"] = json!("a1tenant");
    split["tenant_id"] = json!("-001");
    assert_eq!(world.http(call(&hello(), "n1", &good)).await.status, 200);
    let again = world.http(call(&hello(), "n2", &split)).await;
    assert_eq!((again.status, &again.json()["code"]), (403, &json!("approval-reused")));
    let newer = minted(&world, "a1", &hello()).with("issued_at", "2026-11-20T09:59:59").signed();
    let again = world.http(call(&hello(), "n3", &newer)).await;
    assert_eq!((again.status, &again.json()["code"]), (403, &json!("approval-reused")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_artifact_and_many_nonces_at_once_are_one_run() {
    let world = strict();
    let artifact = Minted::of("a1", "gives", &json!({"mark": "m"}), now(&world)).signed();
    let mut crowd = JoinSet::new();
    for at in 0..64 {
        let gate = if at % 2 == 0 { world.gate() } else { world.another_gate() };
        let asked = ask("gives").mark("m").nonce(&format!("n{at}")).approved_by(&artifact);
        crowd.spawn(async move { gate.walk(asked).await });
    }
    let walked = crowd.join_all().await;
    let refused = walked.iter().filter(|walked| walked.refused_by() == Some("approval-reused")).count();
    assert_eq!((refused, world.journal().starts()), (63, 1));
}

#[tokio::test]
async fn what_an_approver_signs_is_as_good_and_bound_to_the_request() {
    let world = strict();
    let asked = ask("gives").mark("m").nonce("n");
    let said = yes("alice", 1, &asked, now(&world));
    let other = [asked.clone().dry_run(), asked.clone().mark("other"), ask("raises").mark("m").nonce("n")];
    for other in other {
        let rule = world.walk(other.approved_by(&signed(&said, 1))).await.rule();
        assert!(["approval-other-request", "approval-action"].contains(&rule.as_str()), "{rule}");
    }
    let refused = async |change: fn(&mut ApprovalStatement)| {
        let mut said = said.clone();
        change(&mut said);
        world.walk(asked.clone().approved_by(&signed(&said, 1))).await.rule()
    };
    assert_eq!(refused(|said| said.decision = Decision::Deny).await, "approval-denied");
    assert_eq!(refused(|said| said.tenant = "other".parse().unwrap()).await, "approval-tenant");
    assert_eq!(refused(|said| said.scope = Some("default\ngrant\ng".to_owned())).await, "approval-scope");
    assert_eq!(refused(|said| said.policy_digest = Some(said.action_digest)).await, "approval-policy");
    assert_eq!(refused(|said| said.expires_at = said.issued_at).await, "approval-expiry");
    assert_eq!(refused(|said| said.approver = "bob".parse().unwrap()).await, "approval-foreign-key");
    assert_eq!(world.walk(asked.clone().approved_by(&signed(&said, 9))).await.rule(), "approval-signature");
    let dave = ApprovalStatement { approver: "dave".parse().unwrap(), ..said.clone() };
    assert_eq!(
        world.walk(asked.clone().approved_by(&signed(&dave, 4))).await.rule(),
        "approval-approver-tenant"
    );
    let twice = json!([signed(&said, 1), {"payload": ""}]);
    assert_eq!(world.walk(asked.clone().approved_by(&twice)).await.rule(), "approval-unreadable");
    assert_eq!(world.journal().starts(), 0);

    let scoped = ApprovalStatement { scope: Some("default\nlocal".to_owned()), ..said.clone() };
    let passage = world.walk(asked.clone().approved_by(&signed(&scoped, 1))).await.passage();
    assert_eq!(passage.answer.status, 200);
    let again = asked.clone().nonce("m").approved_by(&signed(&said, 1));
    assert_eq!(world.walk(again).await.rule(), "approval-reused");
    world.clock().advance_ms(300_000);
    assert_eq!(world.walk(asked.nonce("o").approved_by(&signed(&said, 1))).await.rule(), "approval-expired");
}

#[tokio::test]
async fn an_approval_covers_a_price_and_no_higher_one() {
    let world = World::builder().strict().approvers(people()).price("gives", "0.05").open();
    let asked = ask("gives").nonce("n").pays("p");
    let mut said = yes("alice", 1, &asked, now(&world));
    said.max_price = "0.049999".parse().ok();
    assert_eq!(world.walk(asked.clone().approved_by(&signed(&said, 1))).await.rule(), "approval-price");
    assert!(!world.journal().is_captured("p"));
    said.max_price = "0.05".parse().ok();
    world.walk(asked.approved_by(&signed(&said, 1))).await.passage();
    assert!(world.journal().is_captured("p"));
    // Nobody is asked to pay for what cannot pass.
    assert_eq!(world.walk(ask("gives")).await.rule(), "clawshield-mode");
}

fn two_of(names: &[&str]) -> WorldBuilder {
    let rule = json!({"min": 2, "approvers": names});
    let file = json!({"version": "1", "default": "allow", "tools": {"gives": {"require_approval": rule}}});
    World::builder().policy(file).shield(shield()).approvers(people())
}

const RULE: &str = "/tools/gives/require_approval";

fn by(world: &World, asked: &Ask, who: &[(&str, u8)]) -> Ask {
    let all: Vec<_> =
        who.iter().map(|(name, number)| signed(&yes(name, 1, asked, now(world)), *number)).collect();
    asked.clone().approved_by(&Value::Array(all))
}

#[tokio::test]
async fn a_rule_asks_for_people_and_not_for_their_keys() {
    let world = two_of(&["alice", "alice-phone", "bob"]).open();
    let asked = ask("gives").mark("m").nonce("n");
    assert_eq!(world.walk(asked.clone()).await.rule(), RULE);
    for too_few in [
        &[("alice", 1)][..],
        &[("alice", 1), ("alice", 1)],
        &[("alice", 1), ("alice-phone", 11)],
        &[("alice", 1), ("carol", 3)],
    ] {
        assert_eq!(world.walk(by(&world, &asked, too_few)).await.rule(), RULE, "{too_few:?}");
    }
    let shielded = Minted::of("a1", "gives", &json!({"mark": "m"}), now(&world)).signed();
    assert_eq!(world.walk(asked.clone().approved_by(&shielded)).await.rule(), RULE);
    assert_eq!(world.journal().starts(), 0);
    let passage = world.walk(by(&world, &asked, &[("alice", 1), ("bob", 2)])).await.passage();
    assert_eq!(passage.answer.status, 200);
    // Both are used up, under whatever nonce and beside whomever.
    let other = asked.nonce("o");
    for spent in [&[("alice", 1), ("bob", 2)][..], &[("bob", 2), ("alice-phone", 11)]] {
        assert_eq!(world.walk(by(&world, &other, spent)).await.rule(), "approval-reused");
    }
    assert_eq!(world.walk(ask("raises")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn nobody_approves_their_own_request() {
    let world = two_of(&[]).open();
    world.give(holder("hers")).await;
    let hers = ask("gives").mark("m").nonce("n").by_grant("hers");
    let own = by(&world, &hers, &[("carol", 3), ("bob", 2)]);
    assert_eq!(world.walk(own).await.rule(), "approval-own-request");
    assert_eq!(world.walk(by(&world, &hers, &[("alice", 1), ("bob", 2)])).await.passage().answer.status, 200);
    // What others ask she may approve.
    let others = ask("gives").mark("other").nonce("n");
    let said = by(&world, &others, &[("alice", 1), ("bob", 2)]);
    assert_eq!(world.walk(said).await.rule(), "approval-reused");
    let mut of_carol = yes("carol", 2, &others, now(&world));
    of_carol.scope = Some("default\nlocal".to_owned());
    let both = json!([signed(&of_carol, 3), signed(&yes("bob", 2, &others, now(&world)), 2)]);
    assert_eq!(world.walk(others.approved_by(&both)).await.passage().answer.status, 200);
}

#[tokio::test]
async fn a_changed_policy_is_asked_again_and_ends_what_was_approved_under_the_old_one() {
    let world = two_of(&["alice", "bob"]).open();
    let asked = ask("gives").mark("m").nonce("n");
    let mut said = yes("alice", 1, &asked, now(&world));
    let store = world.store();
    assert_eq!(store.changes(None, 10).await.unwrap(), []);
    let passage = world.walk(by(&world, &asked, &[("alice", 1), ("bob", 2)])).await.passage();
    // What was used is kept, with its leaf.
    let [used] = &store.changes(None, 10).await.unwrap()[..] else { panic!("one approval was used") };
    let told: Value = serde_json::from_slice(&used.change.statement).unwrap();
    assert_eq!((&told["approval"], &told["run"]), (&json!("used"), &json!(passage.run.to_string())));
    assert_eq!(told["artifact"].as_array().unwrap().len(), 2);

    world.obey(json!({"version": "1", "default": "allow", "tools": {"gives": {"action": "deny"}}}));
    said.policy_digest = None;
    let again = asked.nonce("o").approved_by(&signed(&said, 1));
    assert_eq!(world.walk(again).await.rule(), "/tools/gives/action");
}

#[tokio::test]
async fn after_a_death_behind_the_claim_the_artifact_is_used_up() {
    for point in ["claimed", "ran", "sealed", "recorded"] {
        let mut world = strict();
        let artifact = Minted::of("a1", "gives", &json!({"mark": "m"}), now(&world)).signed();
        let asked = |nonce: &str| ask("gives").mark("m").nonce(nonce).approved_by(&artifact);
        world.gate().die_at(point, Death::Simulated);
        assert!(world.walk(asked("n")).await.died(), "{point}");
        world.restart().await;
        assert_eq!(world.walk(asked("o")).await.refused_by(), Some("approval-reused"), "{point}");
        // Its own nonce is answered, and runs nothing again.
        assert!(world.walk(asked("n")).await.passage().replayed, "{point}");
        assert!(world.journal().starts() <= 1, "{point}");
    }
}

#[tokio::test]
async fn a_run_that_could_not_start_gives_the_artifact_back() {
    let world = strict();
    let payload = json!({"mark": "m"});
    let artifact = Minted::of("a1", "unstartable", &payload, now(&world)).signed();
    let asked = |nonce: &str| ask("unstartable").mark("m").nonce(nonce).approved_by(&artifact);
    for nonce in ["n", "o"] {
        assert_eq!(world.walk(asked(nonce)).await.rule(), "not-started");
    }
}

#[tokio::test]
async fn who_is_known_and_refused_leaves_a_leaf_and_others_do_not() {
    let file = json!({"version": "1", "default": "allow", "tools": {
        "raises": {"action": "deny"}, "exits": {"rate_limit": {"max": 1, "window": "hour"}},
    }});
    let world = World::builder().strict().shield(shield()).policy(file).with_trail().open();
    let refused = [
        ask("raises").nonce("a"),
        ask("gives").nonce("b"),
        ask("gives").nonce("c").approved_by(&Minted::of("a1", "echo", &hello(), now(&world)).signed()),
        ask("raises").nonce("d").anonymously(),
        ask("nothing").nonce("e"),
        ask("gives").nonce("f").approved_by(&json!([])),
    ];
    for asked in refused {
        drop(world.walk(asked).await.rule());
    }
    for nonce in ["g", "h"] {
        let minted = Minted::of(nonce, "exits", &json!({}), now(&world)).signed();
        drop(world.walk(ask("exits").nonce(nonce).approved_by(&minted)).await);
    }
    world.gate().trail().written().await;
    let said = world.store().changes(None, 100).await.unwrap();
    let rules: Vec<_> = said
        .iter()
        .rev()
        .filter(|said| said.change.leaf.kind == LeafKind::Refusal)
        .map(|said| {
            let statement: Value = serde_json::from_slice(&said.change.statement).unwrap();
            assert_eq!((&statement["caller"], &statement["tenant"]), (&json!("local"), &json!("default")));
            assert_eq!(said.change.leaf.digest, salted(&said.change.salt, &said.change.statement));
            statement["refusal"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(rules, ["/tools/raises/action", "clawshield-mode", "approval-other-request"]);
}

#[tokio::test]
async fn a_receipt_names_the_artifact_and_the_key_that_signed_it() {
    let world = strict();
    let asked = ask("gives").mark("m").nonce("n");
    let said = yes("alice", 1, &asked, now(&world));
    let passage = world.walk(asked.approved_by(&signed(&said, 1))).await.passage();
    let record = world.store().run(passage.run).await.unwrap().unwrap();
    let file = ReceiptFile::from_json(&record.receipt.unwrap()).unwrap();
    let verified = verify(&file, &[world.key()]).unwrap();
    let predicate = &verified.statement().predicate;
    assert_eq!(predicate.approval, ApprovalBasis::Artifact(said.approval_id.to_string()));
    let digest = salted_digest(&file.salt, sha256(&said.to_bytes().unwrap()));
    let key_id = SigningKey::from_seed(&[1; 32]).key_id();
    assert_eq!(predicate.approvals, [ApprovalFact { digest, key_id }]);
}

#[tokio::test]
async fn an_approval_that_ends_while_its_request_waits_for_another_is_worth_nothing() {
    let world = strict();
    let calls = ["blocks", "gives"].map(|name| {
        let artifact = Minted::of(name, name, &json!({"mark": name}), now(&world)).signed();
        json!({"tool": {"name": name, "args": {"mark": name}}, "approval_artifact": artifact})
    });
    let body = json!({"dryRun": false, "calls": calls}).to_string();
    let gate = world.gate();
    let batch = tokio::spawn(async move { gate.http(keyed(post("/exec/batch", body), "b")).await });
    world.journal().until_started(1).await;
    world.clock().advance_ms(300_000);
    world.bench().let_go();
    let told = batch.await.unwrap().json();
    assert_eq!(told["results"][0]["status"], json!("completed"), "{told}");
    assert_eq!(told["results"][1]["error"]["rule"], json!("approval-expired"), "{told}");
    assert_eq!(world.journal().starts(), 1);
}
