//! The SecureExec surface: the column `/exec/tool` of CONTRACTS 3, blocked tools, what is recorded and what is believed.

use execgate_flow::authorise::IamAnswer;
use execgate_receipt::ReceiptFile;
use execgate_testkit::{Bench, Reply, TOOL_ROUTES, World, execute, get, keyed, post};
use execgate_tool::{BLOCKED, TOOLS};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::shapes::proof_of;

/// Duplicates of one key at once.
const CROWD: usize = 64;

fn tool(name: &str) -> Value {
    json!({"tool": {"name": name}, "dryRun": false})
}

fn simulated(name: &str) -> Value {
    json!({"tool": {"name": name}})
}

async fn ask(world: &World, body: &Value) -> Reply {
    world.http(post("/exec/tool", body.to_string())).await
}

/// How a call of a scripted tool is answered: status, word, exit code; and the recorded outcome.
type Row = (&'static str, u16, &'static str, Option<i32>, Option<&'static str>);

const LIVE: [Row; 15] = [
    ("gives", 200, "completed", Some(0), Some("value")),
    ("raises", 200, "failed", Some(1), Some("exception")),
    ("exits", 200, "failed", Some(3), Some("exit:3")),
    ("out-of-memory", 200, "failed", Some(137), Some("limit:OutOfMemory")),
    ("killed", 200, "failed", Some(137), Some("limit:Killed")),
    ("process-limit", 200, "failed", Some(137), Some("limit:ProcessLimit")),
    ("disk-full", 200, "failed", Some(137), Some("limit:DiskFull")),
    ("output-limit", 200, "failed", Some(137), Some("limit:OutputLimit")),
    ("times-out", 200, "failed", Some(124), Some("timeout")),
    ("panics", 409, "failed", None, Some("unknown")),
    ("loses-its-end", 409, "failed", None, Some("unknown")),
    ("unstartable", 503, "failed", None, None),
    ("unavailable", 503, "failed", None, None),
    ("full", 503, "refused", None, None),
    ("nowhere", 400, "refused", None, None),
];

/// Holds one answer against its line.
async fn assert_row(world: &World, reply: &Reply, row: Row, simulated: bool) {
    let (name, status, word, exit_code, outcome) = row;
    let mut body = reply.json();
    let case = format!("{name}, simulated {simulated}: {}", reply.show());
    assert_eq!((reply.status, &body["status"]), (status, &json!(word)), "{case}");
    assert_eq!((&body["tool"], &body["dryRun"]), (&json!(name), &json!(simulated)), "{case}");
    assert_eq!((&body["schemaVersion"], &body["paymentProtocol"]), (&json!("v1"), &json!("free")), "{case}");
    assert!(body["latencyMs"].is_u64() && body["timestamp"].is_string(), "{case}");
    assert_eq!(body["iamApproved"], false, "{case}");
    match exit_code {
        None => assert_eq!(body["result"], Value::Null, "{case}"),
        Some(code) => {
            let told = (&body["result"]["exitCode"], &body["result"]["simulated"]);
            assert_eq!(told, (&json!(code), &json!(simulated)), "{case}");
        }
    }
    let retry = (status == 503).then_some("1");
    assert_eq!(reply.header("retry-after"), retry, "{case}");
    let Some(outcome) = outcome else {
        let proof = body.as_object_mut().unwrap().remove("proofHash").unwrap();
        assert_eq!((proof, &body["durable"]), (json!(proof_of(&body)), &json!(false)), "{case}");
        return;
    };
    let record = world.record(body["jobId"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(record.outcome.as_deref(), Some(outcome), "{case}");
    let content = record.content.unwrap();
    assert_eq!((&body["proofHash"], body.get("durable")), (&json!(format!("0x{content}")), None), "{case}");
    assert_eq!(record.answer.unwrap().body, reply.body, "{case}");
}

#[tokio::test]
async fn each_outcome_has_its_status_word_and_exit_code() {
    for simulated in [false, true] {
        let world = World::free();
        for row in LIVE {
            let (name, ..) = row;
            let stub = simulated && matches!(name, "unstartable" | "unavailable");
            let row = if stub { (name, 200, "stub", Some(0), None) } else { row };
            let body = json!({"tool": {"name": name}, "dryRun": simulated});
            let reply = world.http(keyed(post("/exec/tool", body.to_string()), name)).await;
            assert_row(&world, &reply, row, simulated).await;
        }
    }
}

#[tokio::test]
async fn each_outcome_of_a_live_call_is_charged_as_on_execute() {
    use execgate_model::{Proposal, Surface};
    for (name, _, _, exit_code, outcome) in LIVE {
        let world = World::builder().tools_at_list_prices().open();
        let mut proposal: Proposal = execgate_testkit::ask(name).nonce("n").pays("p").into();
        proposal.surface = Surface::SecureExec;
        let walked = world.walk(proposal).await;
        assert_eq!(world.journal().is_captured("p"), exit_code.is_some(), "{name}: {walked:?}");
        let unknown = outcome == Some("unknown");
        assert_eq!(world.journal().is_released("p"), unknown, "{name}");
    }
}

#[tokio::test]
async fn a_blocked_tool_is_refused_in_every_mode_and_has_no_effect() {
    let world = World::free();
    for blocked in BLOCKED {
        for route in ["/exec/tool", "/exec/simulate"] {
            for dry_run in [true, false] {
                let artifact = json!({"signature": "00"});
                let body = json!({
                    "tool": {"name": blocked.name, "args": {"command": "id"}}, "dryRun": dry_run,
                    "approval_artifact": artifact
                });
                let reply = world.http(keyed(post(route, body.to_string()), "n")).await;
                let body = reply.json();
                let error = &body["error"];
                assert_eq!((reply.status, &body["status"]), (403, &json!("refused")), "{}", reply.show());
                assert_eq!((&error["room"], &error["rule"]), (&json!("approve"), &json!("blocked-tool")));
                assert!(error["detail"].as_str().unwrap().contains(blocked.name), "{body}");
            }
        }
        let batch = json!({"calls": [tool("gives"), {"tool": {"name": blocked.name}}]});
        let reply = world.http(post("/exec/batch", batch.to_string())).await;
        assert_eq!((reply.status, &reply.json()["tool"]), (403, &json!(blocked.name)));
    }
    assert_eq!((world.runs().await.len(), world.journal().events()), (0, vec![]));
}

#[tokio::test]
async fn on_execute_blocked_names_are_blocked_too_but_for_the_language() {
    let world = World::free();
    for blocked in BLOCKED {
        let reply = world.http(execute(&json!({"action": blocked.name, "nonce": "n"}))).await;
        let code = reply.json()["code"].clone();
        // No world has the language bash; where there is one, it runs.
        let expected =
            if blocked.name == "bash" { (400, "unknown-action") } else { (403, "approval-missing") };
        assert_eq!((reply.status, code), (expected.0, json!(expected.1)), "{}", blocked.name);
    }
}

#[tokio::test]
async fn a_blocked_tool_is_refused_before_anybody_is_asked_to_pay() {
    let world = World::builder().tools_at_list_prices().price("bash", "1.00").open();
    assert_eq!(ask(&world, &tool("bash")).await.status, 403);
}

#[tokio::test]
async fn languages_and_what_else_is_registered_are_no_tools_here() {
    let world = World::free();
    for name in ["python", "javascript", "echo", "add"] {
        let reply = ask(&world, &tool(name)).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("unknown-action")), "{name}");
    }
    let listed = world.http(get("/exec/tools")).await.json();
    let names = |list: &str| -> Vec<String> {
        let names =
            listed[list].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    let allowed = names("allowed");
    assert!(allowed.iter().all(|name| TOOLS.contains(&name.as_str()) || Bench::actions().any(|a| a == name)));
    assert!(allowed.contains(&"gives".to_owned()) && !allowed.contains(&"python".to_owned()));
    assert_eq!(names("blocked"), BLOCKED.map(|blocked| blocked.name));
    assert!(listed["blocked"].as_array().unwrap().iter().all(|tool| tool["inputSchema"]["type"] == "object"));
}

#[tokio::test]
async fn what_is_off_is_off_on_every_route() {
    let world = World::builder().without_tools().open();
    for route in TOOL_ROUTES {
        let reply = world.http(post(route, tool("gives").to_string())).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("tools-off")), "{route}");
    }
    assert_eq!(world.http(get("/exec/tools")).await.status, 503);
    assert_eq!(world.http(execute(&json!({"action": "gives", "nonce": "n"}))).await.status, 200);
    assert!(!String::from_utf8(world.http(get("/llms.txt")).await.body).unwrap().contains("/exec/tool"));
}

#[tokio::test]
async fn a_replay_is_the_same_bytes_and_other_content_is_409() {
    let world = World::free();
    let call = |body: &Value| keyed(post("/exec/tool", body.to_string()), "k");
    let first = world.http(call(&simulated("gives"))).await;
    let again = world.http(call(&simulated("gives"))).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("execgate-replayed"), Some("true"));
    // As text, and with what is no part of the fingerprint.
    let as_text = json!({"tool": {"name": "gives", "args": "{}"}, "context": 1, "agentId": "x"});
    assert_eq!(world.http(call(&as_text)).await.body, first.body);
    for other in [tool("gives"), json!({"tool": {"name": "gives", "timeout_s": 5}}), simulated("raises")] {
        let reply = world.http(call(&other)).await;
        let body = reply.json();
        assert_eq!((reply.status, &body["error"]["code"]), (409, &json!("nonce-reused")), "{other}");
        assert_eq!(body["jobId"], first.json()["jobId"]);
    }
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_duplicates_of_one_key_run_once() {
    let world = World::free();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let gate = world.gate();
        crowd.spawn(
            async move { gate.http(keyed(post("/exec/tool", tool("blocks").to_string()), "k")).await },
        );
    }
    world.journal().until_started(1).await;
    world.bench().let_go();
    let replies = crowd.join_all().await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    assert_eq!((world.journal().starts(), world.runs().await.len()), (1, 1));
}

#[tokio::test]
async fn what_a_caller_says_of_itself_is_recorded_and_gives_it_nothing() {
    let world = World::builder().tools_at_list_prices().open();
    let said = json!({"agentId": "achilles", "tool": {"name": "gives"}});
    assert_eq!(ask(&world, &said).await.status, 402);

    let world = World::free();
    let said = json!({"agentId": "achilles", "context": {"why": "so"}, "tool": {"name": "gives"}});
    let reply = ask(&world, &said).await;
    let record = world.only_run().await;
    let intent: Value = serde_json::from_slice(&record.intent).unwrap();
    assert_eq!(
        (&intent["claimed_agent"], &intent["caller"]["identity"]["kind"]),
        (&json!("achilles"), &json!("local"))
    );
    let digest = execgate_receipt::digest_json(&json!({"why": "so"})).unwrap();
    assert_eq!(intent["context"], json!(digest));
    assert_eq!(reply.json()["iamApproved"], false);
    let file = ReceiptFile::from_json(&record.receipt.unwrap()).unwrap();
    let statement = execgate_receipt::verify(&file, &[world.key()]);
    assert!(statement.is_ok());
    assert!(!String::from_utf8(reply.body).unwrap().contains("achilles"));
}

#[tokio::test]
async fn iam_is_told_as_it_was() {
    let world = World::free();
    world.iam().says(IamAnswer::Approved);
    let body = ask(&world, &tool("gives")).await.json();
    assert_eq!((&body["iamApproved"], body.get("iam")), (&json!(true), None));
    world.iam().says(IamAnswer::Unreachable);
    let body = ask(&world, &simulated("gives")).await.json();
    assert_eq!((&body["iamApproved"], &body["iam"]), (&json!(false), &json!("unreachable-open")));
    let reply = ask(&world, &tool("gives")).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("iam-unreachable")));
    world.iam().says(IamAnswer::Refused("not you".to_owned()));
    let reply = ask(&world, &simulated("gives")).await;
    assert_eq!((reply.status, &reply.json()["error"]["rule"]), (403, &json!("iam")));
}

#[tokio::test]
async fn prices_follow_the_effect_and_a_simulation_is_free() {
    let world = World::builder().tools_at_list_prices().open();
    for (body, amount) in [(simulated("gives"), "0.01"), (tool("gives"), "0.05")] {
        let reply = ask(&world, &body).await;
        let told = reply.json();
        assert_eq!((reply.status, &told["amount"]), (402, &json!(amount)), "{told}");
        assert_eq!(told["type"], "https://paymentauth.org/problems/payment-required");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    let reply = world.http(post("/exec/simulate", simulated("gives").to_string())).await;
    assert_eq!((reply.status, &reply.json()["paymentProtocol"]), (200, &json!("free")));
    let batch = |count: usize| json!({"calls": vec![tool("gives"); count]}).to_string();
    for (count, amount) in [(1, "0.10"), (3, "0.15")] {
        let reply = world.http(post("/exec/batch", batch(count))).await;
        assert_eq!((reply.status, &reply.json()["amount"]), (402, &json!(amount)));
    }
    assert_eq!(world.http(post("/exec/batch", "{}")).await.json()["amount"], "0.10");
    assert_eq!(world.journal().starts(), 1);
}
