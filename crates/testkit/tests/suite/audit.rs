//! What is taken note of: every decision once, in the trail and in the figures, and no word of what a caller has sent.

use execgate_flow::authorise::IamAnswer;
use execgate_flow::notice::{Notice as _, Seen, Weight, told};
use execgate_model::{Clock as _, Role, Surface};
use execgate_store::{AuditDecision, AuditEntry, AuditLine, AuditOrder, AuditPlace, AuditQuery, Grant};
use execgate_testkit::{
    CODE_ROUTES, Death, Reply, TOOL_ROUTES, World, ask, execute, get, holder, keyed, post, with,
};
use serde_json::{Value, json};

/// What was decided, in which room, by which rule.
fn said(seen: &Seen) -> (&'static str, &'static str, &str) {
    (seen.decision.as_str(), seen.room.as_str(), &seen.rule)
}

/// The only walk that was seen since this was last asked.
fn only(world: &World) -> Seen {
    let mut seen = world.seen();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    seen.remove(0)
}

fn decided(line: &AuditLine) -> (&str, &str, &str) {
    (line.decision.as_str(), &line.room, &line.rule)
}

fn limited() -> Value {
    json!({"version": "1", "default": "allow", "tools": {
        "raises": {"action": "deny", "reason": "no"},
        "exits": {"action": "require_approval"},
        "out-of-memory": {"rate_limit": {"max": 1, "window": "hour"}},
    }})
}

#[tokio::test]
async fn every_walk_is_seen_once_with_what_was_decided() {
    let world = World::builder().policy(limited()).with_trail().open();
    for (action, expected, weight) in [
        ("gives", ("allowed", "authorise", "/default"), Weight::Run),
        ("raises", ("refused", "authorise", "/tools/raises/action"), Weight::Decision),
        ("exits", ("approval-required", "approve", "/tools/exits/action"), Weight::Decision),
        ("out-of-memory", ("allowed", "authorise", "/tools/out-of-memory"), Weight::Run),
        ("out-of-memory", ("refused", "authorise", "/tools/out-of-memory/rate_limit"), Weight::Decision),
        ("shell_exec", ("refused", "approve", "blocked-tool"), Weight::Decision),
        ("nobody", ("refused", "propose", "unknown-action"), Weight::Count),
        ("full", ("refused", "execute", "full"), Weight::Count),
        ("unavailable", ("failed", "execute", "unavailable"), Weight::Count),
        ("unstartable", ("failed", "execute", "not-started"), Weight::Run),
        ("panics", ("allowed", "authorise", "/default"), Weight::Run),
    ] {
        world.walk(ask(action).mark("m")).await;
        let seen = only(&world);
        assert_eq!((said(&seen), seen.weight), (expected, weight), "{action}");
        assert_eq!(seen.argument_keys, ["mark"]);
        // What waits for people has an id, too, and no receipt yet.
        let is_named = weight == Weight::Run || action == "exits";
        assert_eq!((seen.run.is_some(), seen.args_digest.is_some()), (is_named, weight == Weight::Run));
    }
    let kept: Vec<_> = world.audited().await;
    let kept: Vec<_> = kept.iter().map(|line| (line.action.as_str(), decided(line).0)).collect();
    let expected = [
        ("gives", "allowed"),
        ("raises", "refused"),
        ("exits", "approval-required"),
        ("out-of-memory", "allowed"),
        ("out-of-memory", "refused"),
        ("shell_exec", "refused"),
        ("unstartable", "failed"),
        ("panics", "allowed"),
    ];
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn a_run_is_told_with_its_rooms_its_receipt_s_digest_and_its_caller() {
    let world = World::free();
    let key = world.give(holder("g1")).await;
    let call = json!({"tool": {"name": "gives", "args": {"mark": "m", "b": 1}}, "dryRun": false});
    let request = with(keyed(post("/exec/tool", call.to_string()), "n"), "x-api-key", &key);
    let reply = world.http(request).await;
    let seen = only(&world);
    assert_eq!(seen.run.map(|run| run.to_string()).as_deref(), reply.header("execgate-run"));
    assert_eq!((seen.caller.label().as_str(), seen.surface), ("grant:g1", Surface::SecureExec));
    assert_eq!(
        (seen.outcome.as_deref(), seen.iam, seen.has_nonce),
        (Some("value"), Some("not-configured"), true)
    );
    let rooms: Vec<_> = seen.laps.iter().map(|(room, _)| room.as_str()).collect();
    assert_eq!(rooms, ["propose", "pay", "authorise", "approve", "execute", "witness", "settle"]);
    let receipt = with(get(&format!("/receipts/{}", seen.run.unwrap())), "x-api-key", &key);
    let receipt = execgate_receipt::ReceiptFile::from_json(&world.http(receipt).await.body).unwrap();
    let verified = execgate_receipt::verify(&receipt, &[world.key()]).unwrap();
    let statement = serde_json::to_value(&verified.statement().predicate).unwrap().to_string();
    assert!(statement.contains(&seen.args_digest.unwrap().to_hex()), "{statement}");
    assert!(statement.contains(&seen.policy.to_hex()), "{statement}");
}

#[tokio::test]
async fn a_replay_a_changed_replay_and_the_identity_service_s_answers_are_decisions() {
    let world = World::free();
    let call =
        |nonce: &str, mark: &str| json!({"action": "gives", "payload": {"mark": mark}, "nonce": nonce});
    world.http(execute(&call("n", "a"))).await;
    let first = only(&world);
    world.http(execute(&call("n", "a"))).await;
    let again = only(&world);
    assert_eq!((said(&again), again.run), (("replayed", "pay", "replay"), first.run));
    world.http(execute(&call("n", "b"))).await;
    assert_eq!(said(&only(&world)), ("refused", "propose", "nonce-reused"));
    world.iam().says(IamAnswer::Refused("no".to_owned()));
    world.http(execute(&call("m", "a"))).await;
    let refused = only(&world);
    assert_eq!((said(&refused), refused.iam), (("refused", "authorise", "iam"), Some("refused")));
    world.iam().says(IamAnswer::Unreachable);
    world.http(execute(&call("m", "a"))).await;
    let refused = only(&world);
    assert_eq!(
        (said(&refused), refused.iam),
        (("refused", "authorise", "iam-unreachable"), Some("unreachable"))
    );
}

#[tokio::test]
async fn a_rule_in_shadow_is_told_and_counted() {
    let file =
        json!({"version": "1", "default": "allow", "tools": {"gives": {"action": "deny", "mode": "shadow"}}});
    let world = World::builder().policy(file).open();
    world.walk(ask("gives")).await;
    let seen = only(&world);
    assert_eq!((seen.decision, seen.shadow()), (AuditDecision::Allowed, Some("/tools/gives/action")));
    let line = "execgate_shadow_refusals_total{room=\"authorise\",rule=\"/tools/gives/action\"} 1";
    assert!(world.metrics().contains(line), "{}", world.metrics());
}

#[tokio::test]
async fn each_item_of_a_batch_is_seen_and_none_that_was_not_come_to() {
    let world = World::builder().policy(limited()).open();
    let batch = |names: &[&str], stop: bool| {
        let call = |name: &&str| json!({"tool": {"name": name}});
        let calls: Vec<_> = names.iter().map(call).collect();
        post("/exec/batch", json!({"dryRun": false, "stopOnError": stop, "calls": calls}).to_string())
    };
    let words = |seen: Vec<Seen>| -> Vec<_> {
        seen.iter().map(|seen| (seen.action.to_string(), seen.outcome.clone().unwrap_or_default())).collect()
    };
    let told = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(action, outcome)| ((*action).to_owned(), (*outcome).to_owned())).collect()
    };
    world.http(batch(&["gives", "killed", "gives"], true)).await;
    assert_eq!(words(world.seen()), told(&[("gives", "value"), ("killed", "limit:Killed")]));
    world.http(batch(&["gives", "raises"], false)).await;
    assert_eq!(words(world.seen()), told(&[("raises", "")]), "the item that refuses the whole");
    world.http(batch(&["gives", "nobody"], false)).await;
    assert_eq!(words(world.seen()), told(&[("nobody", "")]));
}

#[tokio::test]
async fn who_is_not_known_is_counted_and_fills_no_trail() {
    let world = World::builder().policy(limited()).public().with_trail().open();
    let refused = |key: Option<&str>| {
        let request = execute(&json!({"action": "raises", "nonce": "n"}));
        let request = with(request, "host", "gate.example");
        key.into_iter().fold(request, |request, key| with(request, "x-api-key", key))
    };
    assert_eq!(world.http(refused(None)).await.status, 403);
    assert_eq!(world.audited().await, []);
    let key = world.give(holder("g1")).await;
    assert_eq!(world.http(refused(Some(&key))).await.status, 403);
    let lines = world.audited().await;
    assert_eq!(lines.iter().map(|line| line.caller.as_str()).collect::<Vec<_>>(), ["grant:g1"]);
    let counted = "execgate_refusals_total{room=\"authorise\",rule=\"/tools/raises/action\"} 2";
    assert!(world.metrics().contains(counted), "{}", world.metrics());
}

#[tokio::test]
async fn refusals_beyond_the_quota_of_a_caller_are_one_line_that_says_how_many() {
    let world = World::builder().policy(limited()).with_trail().open();
    for _ in 0..70 {
        world.walk(ask("raises")).await;
    }
    world.walk(ask("gives")).await;
    let lines = world.audited().await;
    assert_eq!(lines.len(), 60 + 1 + 1, "those of the quota, the run, and what was left out");
    let omitted: Vec<_> = lines.iter().filter(|line| line.decision == AuditDecision::Omitted).collect();
    assert_eq!(
        (omitted[0].caller.as_str(), omitted[0].omitted, omitted[0].rule.as_str()),
        ("local", 10, "audit-quota")
    );
    assert_eq!(world.trail().counts().over_quota, 10);
    // A window later there is room again.
    world.clock().advance_ms(60_000);
    world.walk(ask("raises")).await;
    assert_eq!(world.audited().await.len(), 63);
}

#[tokio::test]
async fn what_a_flood_leaves_no_room_for_is_counted_and_told_in_the_trail() {
    let world = World::builder().with_trail().open();
    world.walk(ask("gives")).await;
    let seen = only(&world);
    world.audited().await;
    let trail = world.trail();
    // Nobody writes meanwhile: there is one thread, and it is here.
    for _ in 0..10_000 {
        trail.seen(&seen);
    }
    assert_eq!((trail.counts().waiting, trail.counts().dropped), (8_192, 10_000 - 8_192));
    trail.written().await;
    let query = AuditQuery { decision: Some(AuditDecision::Omitted), limit: 9, ..AuditQuery::default() };
    let omitted = world.store().audit(query).await.unwrap();
    let omitted: Vec<_> =
        omitted.iter().map(|entry| (entry.line.omitted, entry.line.rule.as_str())).collect();
    assert_eq!(omitted, [(10_000 - 8_192, "audit-full")]);
    assert_eq!((trail.counts().written, trail.counts().waiting), (8_192 + 2, 0));
    assert!(world.metrics().contains("execgate_audit_lines_dropped_total 1808"));
}

#[tokio::test]
async fn a_run_whose_process_died_is_told_by_the_one_that_finds_it() {
    let mut world = World::builder().with_trail().open();
    world.gate().die_at("ran", Death::Simulated);
    assert!(world.walk(ask("gives").nonce("n")).await.died());
    drop(world.seen());
    world.restart().await;
    let seen = only(&world);
    assert_eq!((said(&seen), seen.outcome.as_deref()), (("allowed", "authorise", "open"), Some("unknown")));
    let lines = world.audited().await;
    assert_eq!(
        lines.iter().map(|line| (line.run, line.outcome.as_deref())).collect::<Vec<_>>(),
        [(seen.run, Some("unknown"))]
    );
}

/// A secret of a caller, by its place.
fn canary(place: &str) -> String {
    format!("canary-{place}-7f3a")
}

#[tokio::test]
async fn no_value_that_a_caller_sends_comes_into_trail_or_figures() {
    let world = World::builder().policy(limited()).with_trail().open();
    let auditor = Grant { roles: [Role::Caller, Role::Auditor].into(), ..holder("g1") };
    let key = world.give(auditor).await;
    let secret = key.rsplit_once('_').unwrap().1.to_owned();
    let mut requests = Vec::new();
    for action in ["gives", "raises", "exits", "nobody", "unstartable", "python"] {
        let payload = json!({"mark": canary("value"), "code": canary("code"), "inner": {canary("inner"): 1}});
        requests.push(execute(&json!({"action": action, "payload": payload, "nonce": canary("nonce")})));
        for route in TOOL_ROUTES {
            let tool = json!({"name": action, "args": payload});
            let call = if route == "/exec/batch" {
                json!({"agentId": canary("agent"), "context": {"why": canary("context")}, "calls": [{"tool": tool}]})
            } else {
                json!({"agentId": canary("agent"), "context": {"why": canary("context")}, "tool": tool})
            };
            requests.push(keyed(post(route, call.to_string()), &canary("idempotency")));
        }
    }
    for route in CODE_ROUTES {
        let body = json!({"code": canary("code"), "stdin": canary("stdin"), "args": [canary("argv")]});
        requests.push(keyed(post(route, body.to_string()), &canary("idempotency")));
    }
    requests.push(execute(&json!({"action": canary("unregistered"), "payload": {}, "nonce": "x"})));
    requests.push(post("/execute", format!("{{\"{}\": ", canary("broken"))));
    let count = requests.len();
    for request in requests {
        world.http(with(request, "x-api-key", &key)).await;
    }
    for wrong in [canary("key"), format!("eg_g1_{}", "0".repeat(64))] {
        assert_eq!(world.http(with(execute(&json!({})), "x-api-key", &wrong)).await.status, 401);
    }
    let lines = world.audited().await;
    assert!(lines.len() > 10 && count > lines.len(), "{} of {count}", lines.len());
    let place = AuditPlace { at: world.clock().now(), seq: 1 };
    let trail: String = lines.into_iter().map(|line| told(&AuditEntry { place, line }).to_string()).collect();
    let metrics = world.metrics();
    for (text, name) in [(&trail, "trail"), (&metrics, "metrics")] {
        assert!(!text.contains("canary"), "{name}: {text}");
        assert!(!text.contains(&secret) && !text.contains("eg_"), "{name}: {text}");
    }
    // What is there instead: names of arguments in the trail, and none in the figures.
    assert!(trail.contains("[\"code\",\"inner\",\"mark\"]") && !metrics.contains("inner"), "{trail}");
    assert!(
        metrics.contains("execgate_http_answers_total{status=\"401\",code=\"bad-credential\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_query_reads_what_was_decided_in_the_order_that_it_asks_for() {
    let world = World::builder().policy(limited()).with_trail().open();
    for action in ["gives", "raises", "gives"] {
        world.walk(ask(action)).await;
        world.clock().advance_ms(10);
    }
    world.trail().written().await;
    let actions = async |query: AuditQuery| -> Vec<String> {
        let entries = world.store().audit(AuditQuery { limit: 10, ..query }).await.unwrap();
        entries.into_iter().map(|entry| entry.line.action).collect()
    };
    let oldest = AuditQuery { order: AuditOrder::Oldest, ..AuditQuery::default() };
    assert_eq!(actions(oldest).await, ["gives", "raises", "gives"]);
    let refused = AuditQuery { decision: Some(AuditDecision::Refused), ..AuditQuery::default() };
    assert_eq!(actions(refused).await, ["raises"]);
}

#[tokio::test]
async fn figures_have_every_room_and_no_name_that_a_caller_made_up() {
    let world = World::free();
    let reply: Reply = world.http(execute(&json!({"action": "gives", "nonce": "n"}))).await;
    assert_eq!(reply.status, 200);
    for number in 0..50 {
        world.http(execute(&json!({"action": format!("made-up-{number}"), "nonce": "n"}))).await;
    }
    let metrics = world.metrics();
    for room in ["propose", "pay", "authorise", "approve", "execute", "witness", "settle"] {
        assert!(
            metrics.contains(&format!("execgate_room_seconds_count{{room=\"{room}\"}}")),
            "{room}\n{metrics}"
        );
    }
    for line in [
        "execgate_runs_total{action=\"gives\",outcome=\"value\"} 1",
        "execgate_refusals_total{room=\"propose\",rule=\"unknown-action\"} 50",
        "execgate_http_answers_total{status=\"200\",code=\"\"} 1",
        "execgate_policy_sound 1",
        "execgate_walks 0",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("made-up"));
}
