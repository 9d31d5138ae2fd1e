//! Runs that wait for people: parked once, approved by those who are asked, started once, or never.

use execgate_flow::approve::{Holder, Person};
use execgate_flow::{PARKING_POINTS, Refusal};
use execgate_model::{Clock as _, Role, RunId, Stage, UnixMs};
use execgate_receipt::approval::{ActionDigest, ApprovalStatement, Decision};
use execgate_receipt::{ReceiptFile, Timestamp, digest_json, verify};
use execgate_store::{Grant, LeafKind, PARKED_OF_ONE_MAX};
use execgate_testkit::approval::{approver, signed, yes};
use execgate_testkit::{
    Ask, Death, Gate, History, Reply, Walked, World, WorldBuilder, ask, change, execute, get, holder, keyed,
    post, with,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How long a call of these tests waits for people, in seconds.
pub(super) const TTL_S: u64 = 600;

/// Longer than a run rests whose start has failed once.
pub(super) const RESTS_MS: u64 = 10_000;

/// Anna and Bob may approve; Carol, too, and she asks by a grant of her own.
pub(super) fn people() -> Vec<Person> {
    let mut carol = approver("carol", 3);
    carol.asks_as = vec![Holder::Grant("hers".parse().unwrap())];
    vec![approver("anna", 1), approver("bob", 2), carol]
}

/// A file that wants so many of these people for `gives`.
pub(super) fn wants(approvers: &[&str], min: u64) -> Value {
    json!({"version": "1", "default": "allow", "tools": {
        "gives": {"require_approval": {"approvers": approvers, "min": min, "ttl_s": TTL_S}},
        "dies": {"require_approval": {"ttl_s": TTL_S}},
        "unstartable": {"require_approval": {"ttl_s": TTL_S}},
        "unstartable-later": {"require_approval": {"ttl_s": TTL_S}},
        "blocks": {"require_approval": {"ttl_s": TTL_S}},
        "unready-yet": {"require_approval": {"ttl_s": TTL_S}},
    }})
}

pub(super) fn builder() -> WorldBuilder {
    World::builder().policy(wants(&[], 1)).approvers(people())
}

pub(super) fn call(nonce: &str) -> Ask {
    ask("gives").mark("n").nonce(nonce)
}

/// The run that a walk has parked.
#[track_caller]
pub(super) fn parked(walked: Walked) -> RunId {
    let Walked::Refused(Refusal::Parked(waiting)) = walked else { unreachable!("{walked:?}") };
    waiting.run
}

/// What a person says of a parked run.
pub(super) fn says(world: &World, run: RunId, name: &str, decision: Decision) -> ApprovalStatement {
    said_of(world, run, name, decision, &call("n"))
}

pub(super) fn said_of(
    world: &World,
    run: RunId,
    name: &str,
    decision: Decision,
    ask: &Ask,
) -> ApprovalStatement {
    let said = yes(name, 0, ask, world.clock().now());
    ApprovalStatement { approval_id: run.into(), decision, ..said }
}

fn key_of(name: &str) -> u8 {
    match name {
        "anna" => 1,
        "bob" => 2,
        _ => 3,
    }
}

/// What a person says, signed.
pub(super) fn by_hand(said: &ApprovalStatement) -> Value {
    signed(said, key_of(said.approver.as_str()))
}

/// Hands in what a person says.
pub(super) async fn hand_in(gate: &Gate, run: RunId, said: &ApprovalStatement) -> Reply {
    let artifact = by_hand(said);
    let body = json!({ "artifact": artifact }).to_string();
    gate.http(post(&format!("/approvals/{run}"), body)).await
}

/// The code and rule of a problem.
pub(super) fn problem(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// What the log says of approvals, oldest first.
async fn said(world: &World) -> Vec<LeafKind> {
    let said = world.store().changes(None, 100).await.expect("the record can be read");
    said.iter().rev().map(|said| said.change.leaf.kind).collect()
}

#[tokio::test]
async fn a_call_waits_for_a_person_and_then_runs_once_under_its_nonce() {
    let world = builder().open();
    let body = json!({"action": "gives", "payload": {"mark": "n"}, "nonce": "n"});
    let first = world.http(execute(&body)).await;
    let told = first.json();
    assert_eq!((first.status, &told["status"], &told["approved"]), (202, &json!("parked"), &json!(false)));
    let run: RunId = told["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(told["approval_id"], told["id"]);
    assert_eq!(told["action_digest"], json!(ActionDigest(call("n").digest()).to_string()));
    assert_eq!(told["approve_url"], json!(format!("/approvals/{run}")));
    // The same again is the same run, and nothing has started.
    assert_eq!(world.http(execute(&body)).await.json(), told);
    assert_eq!((world.journal().starts(), world.only_run().await.stage), (0, Stage::Parked));
    let other = json!({"action": "gives", "payload": {"mark": "o"}, "nonce": "n"});
    assert_eq!(problem(&world.http(execute(&other)).await), (409, "nonce-reused".to_owned()));

    world.clock().advance_ms(1_000);
    let taken = hand_in(&world, run, &says(&world, run, "anna", Decision::Approve)).await;
    assert_eq!((taken.status, &taken.json()["status"]), (200, &json!("taken")), "{}", taken.show());
    let answer = world.http(execute(&body)).await;
    assert_eq!((answer.status, &answer.json()["approved"]), (200, &json!(true)), "{}", answer.show());
    assert_eq!(world.http(execute(&body)).await.body, answer.body);
    assert_eq!(world.journal().starts(), 1);

    // The receipt names the approval, and the log has every step of it.
    let file = ReceiptFile::from_json(&world.http(get(&format!("/receipts/{run}"))).await.body).unwrap();
    let verified = verify(&file, &[world.key()]).unwrap();
    let predicate = serde_json::to_value(&verified.statement().predicate).unwrap();
    assert_eq!(predicate["approval"], json!({"artifact": run.to_string()}));
    assert_eq!(said(&world).await, [LeafKind::Parked, LeafKind::Vote, LeafKind::Approval]);
    assert_eq!(world.fsck().await.0, []);
    let late = hand_in(&world, run, &says(&world, run, "bob", Decision::Approve)).await;
    assert_eq!(problem(&late), (409, "approval-settled".to_owned()));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn everything_that_is_signed_is_shown_and_its_digest_is_that_of_what_is_shown() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let shown = world.http(get(&format!("/approvals/{run}"))).await.json();
    let digest = ActionDigest(digest_json(&shown["request"]).unwrap()).to_string();
    assert_eq!(
        (shown["action_digest"].as_str(), &shown["status"]),
        (Some(digest.as_str()), &json!("pending"))
    );
    assert_eq!(shown["request"]["payload"], json!({"mark": "n"}));
    assert_eq!(shown["scope"], json!("default\nlocal"));
    let listed = world.http(get("/approvals")).await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &shown["id"]));
    assert_eq!(world.http(get("/approvals?limit=0")).await.status, 400);
    assert_eq!(world.http(get(&format!("/approvals/{}", RunId::from_entropy([9; 16])))).await.status, 404);
    // A run that never waited is no approval.
    let plain = world.walk(ask("echo")).await.passage();
    assert_eq!(world.http(get(&format!("/approvals/{}", plain.run))).await.status, 404);
}

#[tokio::test]
async fn a_no_ends_it_for_ever_and_says_why() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let no = ApprovalStatement {
        reason: Some("not on a Friday".to_owned()),
        ..says(&world, run, "bob", Decision::Deny)
    };
    let taken = hand_in(&world, run, &no).await;
    assert_eq!((taken.status, &taken.json()["status"]), (200, &json!("denied")));
    let mut history = History::default();
    for _ in 0..2 {
        let answer = world.walk(call("n")).await.passage();
        assert_eq!((answer.answer.status, answer.outcome.as_str()), (403, "denied"));
        assert!(String::from_utf8_lossy(&answer.answer.body).contains("not on a Friday"));
        history.heard("n", &answer);
    }
    for said in [no, says(&world, run, "anna", Decision::Approve)] {
        assert_eq!(problem(&hand_in(&world, run, &said).await), (409, "approval-settled".to_owned()));
    }
    assert_eq!(world.journal().starts(), 0);
    assert_eq!(said(&world).await, [LeafKind::Parked, LeafKind::Vote]);
    let over = world.http(get(&format!("/approvals/{run}"))).await.json();
    assert_eq!((&over["status"], &over["approvals"][0]["decision"]), (&json!("denied"), &json!("deny")));
    assert_eq!(history.faults(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_nobody_approves_in_time_is_over() {
    let world = builder().open();
    let run = parked(world.walk(call("swept")).await);
    let asked = parked(world.walk(call("asked")).await);
    let late = parked(world.walk(call("late")).await);
    let word = said_of(&world, late, "anna", Decision::Approve, &call("late"));
    world.clock().advance_ms(TTL_S * 1_000);
    let word = ApprovalStatement { expires_at: far(&world), ..word };
    assert_eq!(problem(&hand_in(&world, late, &word).await), (410, "approval-expired".to_owned()));
    assert_eq!(world.walk(call("asked")).await.passage().outcome, "expired");
    world.tend().await;
    for (run, nonce) in [(run, "swept"), (asked, "asked"), (late, "late")] {
        assert_eq!(world.record(run).await.outcome.as_deref(), Some("expired"), "{nonce}");
        assert_eq!(world.walk(call(nonce)).await.passage().answer.status, 403, "{nonce}");
    }
    assert_eq!((world.journal().starts(), said(&world).await), (0, vec![LeafKind::Parked; 3]));
}

/// Long after anything here is over.
fn far(world: &World) -> Timestamp {
    Timestamp::new(UnixMs(world.clock().now().0 + 86_400_000)).unwrap()
}

#[tokio::test]
async fn people_count_and_only_those_who_are_asked() {
    let world = World::builder().policy(wants(&["anna", "bob"], 2)).approvers(people()).open();
    let run = parked(world.walk(call("n")).await);
    let not_asked = hand_in(&world, run, &says(&world, run, "carol", Decision::Approve)).await;
    assert_eq!(problem(&not_asked), (403, "not-an-approver".to_owned()));
    let forged = signed(&says(&world, run, "anna", Decision::Approve), 9);
    let body = json!({ "artifact": forged }).to_string();
    let forged = world.http(post(&format!("/approvals/{run}"), body)).await;
    assert_eq!(problem(&forged), (403, "approval-invalid".to_owned()));
    let other = ApprovalStatement {
        approval_id: RunId::from_entropy([8; 16]).into(),
        ..says(&world, run, "anna", Decision::Approve)
    };
    assert_eq!(problem(&hand_in(&world, run, &other).await), (409, "approval-of-another-run".to_owned()));

    // Twice the same person is one.
    for _ in 0..2 {
        let said = says(&world, run, "anna", Decision::Approve);
        assert_eq!(hand_in(&world, run, &said).await.status, 200);
        world.clock().advance_ms(1);
        world.tend().await;
        assert_eq!(world.record(run).await.stage, Stage::Parked);
    }
    let again =
        world.http(execute(&json!({"action": "gives", "payload": {"mark": "n"}, "nonce": "n"}))).await;
    assert_eq!((again.status, &again.json()["approved_by"]), (202, &json!(1)));
    assert_eq!(hand_in(&world, run, &says(&world, run, "bob", Decision::Approve)).await.status, 200);
    assert_eq!(world.walk(call("n")).await.passage().answer.status, 200);
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn nobody_approves_their_own_request_and_strangers_see_nothing() {
    let world = builder().require_grant().open();
    let hers = world.give(Grant { id: "hers".parse().unwrap(), ..holder("hers") }).await;
    let stranger = world.give(holder("stranger")).await;
    let roles = [Role::Approver].into();
    let approving = world.give(Grant { roles, ..holder("approving") }).await;
    let bearing = |request, key: &str| with(request, "authorization", &format!("Bearer {key}"));
    let body = json!({"action": "gives", "payload": {"mark": "n"}, "nonce": "n"});
    let told = world.http(bearing(execute(&body), &hers)).await.json();
    let run: RunId = told["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/approvals/{run}");

    for (key, status, seen) in [(&hers, 200, 1), (&approving, 200, 1), (&stranger, 404, 0)] {
        assert_eq!(world.http(bearing(get(&path), key)).await.status, status);
        let listed = world.http(bearing(get("/approvals"), key)).await.json();
        assert_eq!(listed.as_array().unwrap().len(), seen);
    }
    assert_eq!(world.http(get(&path)).await.status, 401);
    let handed = |name: &'static str, key: &str| {
        let artifact = signed(&says(&world, run, name, Decision::Approve), key_of(name));
        bearing(post(&path, json!({ "artifact": artifact }).to_string()), key)
    };
    assert_eq!(world.http(handed("anna", &stranger)).await.status, 404);
    let own = world.http(handed("carol", &approving)).await;
    assert_eq!(problem(&own), (403, "own-request".to_owned()));
    // Whoever hands it in, the signature is what counts.
    assert_eq!(world.http(handed("anna", &hers)).await.status, 200);
    assert_eq!(world.http(bearing(execute(&body), &hers)).await.status, 200);
}

#[tokio::test]
async fn the_rules_of_the_day_decide_again_when_it_is_approved() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let said = says(&world, run, "anna", Decision::Approve);
    world.obey(json!({"version": "1", "default": "allow", "tools": {"gives": {"action": "deny", "reason": "frozen"}}}));
    assert_eq!(hand_in(&world, run, &said).await.status, 200);
    world.tend().await;
    let record = world.record(run).await;
    assert_eq!((record.stage, record.outcome.as_deref()), (Stage::Settled, Some("refused")));
    assert_eq!(world.journal().starts(), 0);
    // A rule that is mended later does not wake it up.
    world.obey(wants(&[], 1));
    let answer = world.walk(call("n")).await.passage().answer;
    assert_eq!(answer.status, 403);
    assert!(String::from_utf8_lossy(&answer.body).contains("frozen"));
}

#[tokio::test]
async fn an_approval_of_other_rules_does_not_count_and_a_new_one_does() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let shown = async || world.http(get(&format!("/approvals/{run}"))).await.json();
    let bound = |shown: &Value| ApprovalStatement {
        policy_digest: Some(shown["policy_digest"].as_str().unwrap().parse().unwrap()),
        ..says(&world, run, "anna", Decision::Approve)
    };
    let before = bound(&shown().await);
    world.obey(wants(&["anna"], 1));
    assert_eq!(problem(&hand_in(&world, run, &before).await), (403, "approval-invalid".to_owned()));
    assert_eq!(hand_in(&world, run, &bound(&shown().await)).await.status, 200);
    assert_eq!(world.walk(call("n")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn two_processes_and_many_callers_start_it_once() {
    let world = builder().open();
    let other = world.another_gate();
    for round in 0..5 {
        let nonce = format!("n{round}");
        let asked = ask("gives").mark(&nonce).nonce(&nonce);
        let run = parked(world.walk(asked.clone()).await);
        let mut tasks = JoinSet::new();
        for (at, name) in ["anna", "bob", "anna", "bob"].into_iter().enumerate() {
            let gate = if at % 2 == 0 { world.gate() } else { other.clone() };
            let said = said_of(&world, run, name, Decision::Approve, &asked);
            tasks.spawn(async move { drop(hand_in(&gate, run, &said).await) });
        }
        for gate in [world.gate(), other.clone()] {
            let (again, asked) = (gate.clone(), asked.clone());
            tasks.spawn(async move { gate.tend().await });
            tasks.spawn(async move { drop(again.walk(asked).await) });
        }
        tasks.join_all().await;
        let answers =
            [world.walk(asked.clone()).await, other.walk(asked).await].map(|walked| walked.passage());
        assert_eq!(answers[0].answer, answers[1].answer);
        assert_eq!(world.journal().starts(), round + 1);
    }
    assert_eq!(History::default().faults(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn it_survives_every_death_and_starts_at_most_once() {
    for point in PARKING_POINTS.iter().chain(&["claimed", "ran", "sealed", "recorded"]) {
        let mut world = builder().open();
        let mut history = History::default();
        if *point == "parked" {
            world.die_at(point, Death::Simulated);
            assert!(world.walk(call("n")).await.died());
            world.restart().await;
        }
        let run = parked(world.walk(call("n")).await);
        let deny = *point == "refused";
        if *point != "parked" {
            world.die_at(point, Death::Simulated);
            let decision = if deny { Decision::Deny } else { Decision::Approve };
            let gate = world.gate();
            let said = says(&world, run, "anna", decision);
            let handed = tokio::spawn(async move { drop(hand_in(&gate, run, &said).await) });
            // Beside the answer that is heard, or with it.
            world.died().await;
            drop(handed.await);
            world.restart().await;
        } else {
            assert_eq!(hand_in(&world, run, &says(&world, run, "anna", Decision::Approve)).await.status, 200);
        }
        world.tend().await;
        let passage = world.walk(call("n")).await.passage();
        history.heard("n", &passage);
        let (outcome, starts) = match *point {
            "refused" => ("denied", 0),
            "claimed" => ("unknown", 0),
            "ran" | "sealed" => ("unknown", 1),
            _ => ("value", 1),
        };
        assert_eq!((passage.outcome.as_str(), world.journal().starts()), (outcome, starts), "{point}");
        world.restart().await;
        world.tend().await;
        history.heard("n", &world.walk(call("n")).await.passage());
        assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{point}");
        assert_eq!(world.runs().await.len(), 1, "{point}");
    }
}

#[tokio::test]
async fn the_kill_switch_holds_it_and_a_start_that_fails_lets_it_wait_on() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let asked = ask("unstartable").mark("u").nonce("u");
    let unstartable = parked(world.walk(asked.clone()).await);
    assert!(world.store().set_paused(true, change()).await.unwrap());
    assert_eq!(hand_in(&world, run, &says(&world, run, "anna", Decision::Approve)).await.status, 200);
    world.tend().await;
    assert_eq!((world.record(run).await.stage, world.journal().starts()), (Stage::Parked, 0));
    let busy = world.walk(ask("gives").nonce("other")).await;
    assert_eq!(busy.rule(), "paused");
    assert!(world.store().set_paused(false, change()).await.unwrap());
    world.clock().advance_ms(RESTS_MS);
    world.tend().await;
    assert_eq!(world.walk(call("n")).await.passage().outcome, "value");

    let said = said_of(&world, unstartable, "anna", Decision::Approve, &asked);
    assert_eq!(hand_in(&world, unstartable, &said).await.status, 200);
    world.tend().await;
    world.tend().await;
    // The first start goes on beside the answer to what was handed in.
    while world.record(unstartable).await.stage != Stage::Parked {
        tokio::task::yield_now().await;
    }
    world.clock().advance_ms(TTL_S * 1_000);
    world.tend().await;
    assert_eq!(world.walk(asked).await.passage().outcome, "expired");
}

#[tokio::test]
async fn a_caller_may_bring_the_approval_itself_or_wait_at_the_door() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let bad = signed(&says(&world, run, "anna", Decision::Approve), 9);
    assert_eq!(world.walk(call("n").approved_by(&bad)).await.refused_by(), Some("approval-signature"));
    assert_eq!(world.record(run).await.stage, Stage::Parked);
    let good = signed(&says(&world, run, "anna", Decision::Approve), 1);
    assert_eq!(world.walk(call("n").approved_by(&good)).await.passage().outcome, "value");

    let body = r#"{"action": "gives", "payload": {"mark": "n"}, "nonce": "m"}"#;
    let gate = world.gate();
    let patient = with(post("/execute", body), "prefer", "wait=60");
    let waiting = tokio::spawn(async move { gate.http(patient).await });
    let run = loop {
        let listed = world.http(get("/approvals")).await.json();
        match listed[0]["id"].as_str() {
            Some(id) => break id.parse::<RunId>().unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    let said = said_of(&world, run, "bob", Decision::Approve, &call("m"));
    assert_eq!(hand_in(&world, run, &said).await.status, 200);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.header("execgate-replayed")), (200, None), "{}", answer.show());
}

#[tokio::test]
async fn each_surface_says_that_it_waits_in_its_own_words_and_a_batch_does_not() {
    let file =
        json!({"version": "1", "default": "allow", "tools": {"*": {"require_approval": {"ttl_s": TTL_S}}}});
    let world = World::builder().policy(file).approvers(people()).open();
    let tool = json!({"tool": {"name": "gives", "args": {"mark": "t"}}, "agentId": "a", "dryRun": false});
    let told = world.http(post("/exec/tool", tool.to_string())).await;
    let body = told.json();
    assert_eq!(
        (told.status, &body["status"], &body["result"]),
        (202, &json!("parked"), &Value::Null),
        "{}",
        told.show()
    );
    assert_eq!(body["jobId"], body["approval"]["approval_id"]);
    assert!(body["proofHash"].as_str().unwrap().starts_with("0x"));
    // Without a nonce it has an id all the same.
    let run = world.http(get(&format!("/runs/{}", body["jobId"].as_str().unwrap()))).await.json();
    assert_eq!(run["stage"], json!("parked"));

    let code = world.http(keyed(post("/api/code-run", r#"{"code": "gives"}"#), "k")).await;
    assert_eq!((code.status, &code.json()["status"]), (202, &json!("parked")), "{}", code.show());

    let before = world.runs().await.len();
    let batch = json!({"calls": [{"tool": tool["tool"]}]});
    let refused = world.http(post("/exec/batch", batch.to_string())).await;
    assert_eq!(refused.status, 403, "{}", refused.show());
    assert_eq!(world.runs().await.len(), before);
}

#[tokio::test]
async fn one_caller_cannot_fill_the_house_with_what_waits() {
    let world = builder().open();
    for number in 0..PARKED_OF_ONE_MAX {
        parked(world.walk(ask("gives").nonce(&format!("n{number}"))).await);
    }
    assert_eq!(world.walk(ask("gives").nonce("more")).await.rule(), "parked-full");
    assert_eq!(world.walk(ask("echo").nonce("more")).await.passage().answer.status, 200);
}

#[tokio::test]
async fn what_is_shown_is_what_a_word_is_held_against_and_what_the_start_asks_for() {
    let world = World::builder().policy(wants(&["anna"], 1)).approvers(people()).open();
    let run = parked(world.walk(call("n")).await);
    let shown = async || world.http(get(&format!("/approvals/{run}"))).await.json();
    let terms = |shown: &Value| (shown["terms"][0]["approvers"].clone(), shown["terms"][0]["min"].clone());
    assert_eq!(terms(&shown().await), (json!(["anna"]), json!(1)));
    // Others are asked from now on, and more of them: by every place that says so.
    world.obey(wants(&["bob", "carol"], 2));
    let today = shown().await;
    assert_eq!(terms(&today), (json!(["bob", "carol"]), json!(2)));
    let bound = |name| ApprovalStatement {
        policy_digest: Some(today["policy_digest"].as_str().unwrap().parse().unwrap()),
        ..says(&world, run, name, Decision::Approve)
    };
    let overtaken = hand_in(&world, run, &bound("anna")).await;
    assert_eq!(problem(&overtaken), (403, "not-an-approver".to_owned()));
    assert_eq!(hand_in(&world, run, &bound("bob")).await.status, 200);
    world.tend().await;
    let body = json!({"action": "gives", "payload": {"mark": "n"}, "nonce": "n"});
    let told = world.http(execute(&body)).await.json();
    assert_eq!((&told["terms"][0]["min"], &told["approved_by"]), (&json!(2), &json!(1)));
    // One of the two is enough again, and what he has said was said under other rules: it counts for these no more.
    world.obey(wants(&["bob"], 1));
    world.tend().await;
    assert_eq!(world.record(run).await.stage, Stage::Parked);
    let today = shown().await;
    let bound = ApprovalStatement {
        policy_digest: Some(today["policy_digest"].as_str().unwrap().parse().unwrap()),
        ..says(&world, run, "bob", Decision::Approve)
    };
    assert_eq!(hand_in(&world, run, &bound).await.status, 200);
    assert_eq!(world.walk(call("n")).await.passage().outcome, "value");
}

#[tokio::test]
async fn rules_that_would_refuse_it_are_shown_before_anybody_signs() {
    let world = builder().open();
    let run = parked(world.walk(call("n")).await);
    let shown = async || world.http(get(&format!("/approvals/{run}"))).await.json();
    assert_eq!(shown().await["refused"], Value::Null);
    world.obey(json!({"version": "1", "default": "allow", "tools": {"gives": {"action": "deny", "reason": "frozen"}}}));
    let today = shown().await;
    assert_eq!((&today["status"], &today["refused"]["reason"]), (&json!("pending"), &json!("frozen")));
}
