//! Actions of the operator's own through the whole corridor: once at the service whatever happens, and a secret nowhere.

use std::fs;
use std::path::Path;

use execgate_testkit::{Death, Upstream, World, ask, execute, get, keyed, post, temporary_folder};
use execgate_tool::{Action, ActionEffect, ActionSpec, HttpSpec, KindSpec, Secret, Secrets};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// Duplicates of one nonce at once.
const CROWD: usize = 20;

/// What nobody but the service may see.
const CANARY: &str = "canary-7d1f0c/secret+itself";

fn order(url: String) -> Action {
    let schema = json!({
        "type": "object",
        "required": ["item"],
        "additionalProperties": false,
        "properties": {"item": {"type": "string"}, "count": {"type": "integer", "minimum": 1}}
    });
    let Value::Object(headers) = json!({"authorization": {"secret": "SHOP", "prefix": "Bearer "}}) else {
        unreachable!("headers are an object")
    };
    let http = HttpSpec {
        method: "POST".to_owned(),
        url,
        headers,
        body: Some(json!({"item": "{item}", "count": "{count}", "token": {"secret": "SHOP"}})),
        allow_private: true,
        ..HttpSpec::default()
    };
    let spec = ActionSpec {
        name: "order".to_owned(),
        description: "Orders an item.".to_owned(),
        schema: Some(schema),
        effect: ActionEffect::Write,
        timeout: None,
        is_tool: true,
        kind: KindSpec::Http(http),
    };
    let secret = Secret::new("SHOP", Zeroizing::new(CANARY.to_owned())).unwrap();
    Action::new(spec, &Secrets::from_iter([secret])).unwrap()
}

fn body(nonce: &str) -> Value {
    json!({"action": "order", "payload": {"item": "tea", "count": 2}, "nonce": nonce})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_asked_once_however_many_ask_for_it() {
    let shop = Upstream::of_json(r#"{"order": 7}"#).await;
    let world = World::builder().action(order(shop.url("/orders"))).open();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let gate = world.gate();
        crowd.spawn(async move { gate.http(execute(&body("n"))).await });
    }
    let replies = crowd.join_all().await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    let told = replies[0].json();
    assert_eq!((&told["result"]["status"], &told["result"]["body"]), (&json!(200), &json!({"order": 7})));
    let asked = shop.asked();
    assert_eq!(asked.len(), 1);
    let key = format!("idempotency-key: {}\r\n", told["id"].as_str().unwrap());
    assert!(asked[0].to_ascii_lowercase().contains(&key), "the service knows the run: {}", asked[0]);
    assert!(asked[0].contains(&format!("authorization: Bearer {CANARY}\r\n")));
    assert!(asked[0].ends_with(&format!(r#"{{"count":2,"item":"tea","token":"{CANARY}"}}"#)), "{}", asked[0]);

    let again = world.http(execute(&body("n"))).await;
    assert_eq!((again.header("execgate-replayed"), &again.body), (Some("true"), &replies[0].body));
    let other = json!({"action": "order", "payload": {"item": "coffee"}, "nonce": "n"});
    assert_eq!(world.http(execute(&other)).await.status, 409);
    assert_eq!(shop.asked().len(), 1);
}

#[tokio::test]
async fn a_death_after_the_service_was_asked_asks_it_no_second_time() {
    let shop = Upstream::of_json(r#"{"order": 7}"#).await;
    let mut world = World::builder().action(order(shop.url("/orders"))).open();
    world.die_at("ran", Death::Simulated);
    let asked = ask("order").payload(json!({"item": "tea"})).nonce("n");
    assert!(world.walk(asked.clone()).await.died());
    assert_eq!(shop.asked().len(), 1);
    world.restart().await;
    let told =
        world.http(execute(&json!({"action": "order", "payload": {"item": "tea"}, "nonce": "n"}))).await;
    assert_eq!((told.status, &told.json()["code"]), (409, &json!("run-outcome-unknown")));
    assert_eq!(shop.asked().len(), 1);
}

#[tokio::test]
async fn a_bad_payload_claims_nothing_and_says_how_to_mend_it() {
    let shop = Upstream::of_json("{}").await;
    let world = World::builder().action(order(shop.url("/orders"))).open();
    let bad = json!({"action": "order", "payload": {"item": 7, "count": 0}, "nonce": "n"});
    let told = world.http(execute(&bad)).await;
    assert_eq!(told.status, 400);
    let text = told.json().to_string();
    assert!(text.contains("/item") && text.contains("/count"), "{text}");
    assert_eq!((world.runs().await.len(), shop.asked().len()), (0, 0));
    assert_eq!(world.http(execute(&body("n"))).await.status, 200);
}

#[tokio::test]
async fn a_dry_run_describes_and_asks_nobody() {
    let shop = Upstream::of_json("{}").await;
    let world = World::builder().action(order(shop.url("/orders"))).open();
    let call = json!({"tool": {"name": "order", "args": {"item": "tea"}}});
    for path in ["/exec/tool", "/exec/simulate"] {
        let told = world.http(post(path, call.to_string())).await.json();
        let result = &told["result"];
        assert_eq!((&result["simulated"], &result["exitCode"]), (&json!(true), &json!(0)), "{told}");
        let request = &result["output"]["request"];
        assert_eq!(request["headers"]["authorization"], "Bearer [secret SHOP]");
        assert_eq!(request["body"], json!({"item": "tea", "token": "[secret SHOP]"}));
        assert_eq!(request["url"], shop.url("/orders"));
    }
    assert_eq!(shop.asked().len(), 0);
    let listed = world.http(get("/exec/tools")).await.json();
    let own = listed["allowed"].as_array().unwrap().iter().find(|tool| tool["name"] == "order").unwrap();
    assert_eq!(own["description"], "Orders an item.");
    assert_eq!(own["inputSchema"]["required"], json!(["item"]));
}

/// Every file below a folder that holds the bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_no_answer_no_receipt_and_nowhere_in_the_record() {
    // It echoes all that it was asked, by the status that the item names.
    let shop = Upstream::start(|asked| {
        let mut statuses = ["302 Found", "404 Not Found", "500 Oops"].into_iter();
        let status = statuses.find(|status| asked.contains(status)).unwrap_or("200 OK");
        Upstream::reply(status, "text/plain", asked)
    })
    .await;
    let folder = temporary_folder();
    let world = World::builder().in_folder(folder.path()).action(order(shop.url("/orders"))).open();
    let mut told = Vec::new();
    for status in ["200 OK", "302 Found", "404 Not Found", "500 Oops"] {
        let call = json!({"action": "order", "payload": {"item": status}, "nonce": status});
        let reply = world.http(execute(&call)).await;
        let body = reply.json();
        assert!(body["result"]["body"].as_str().unwrap().contains("Bearer [secret SHOP]"), "{body}");
        assert_eq!(body["result"].get("error").is_none(), status == "200 OK", "{body}");
        let run = reply.header("execgate-run").unwrap();
        told.push(world.http(get(&format!("/receipts/{run}"))).await);
        told.push(world.http(get(&format!("/runs/{run}"))).await);
        told.push(reply);
        let call = json!({"tool": {"name": "order", "args": {"item": status}}, "dryRun": false});
        let reply = world.http(keyed(post("/exec/tool", call.to_string()), &format!("tool {status}"))).await;
        let is_value = status == "200 OK";
        assert_eq!(reply.json()["result"]["exitCode"], json!(u8::from(!is_value)));
        told.push(reply);
    }
    for path in ["/openapi.json", "/exec/tools", "/llms.txt", "/api/pricing", "/api/stats", "/health", "/"] {
        told.push(world.http(get(path)).await);
    }
    for reply in &told {
        assert!(!String::from_utf8_lossy(&reply.body).contains("canary"), "{reply:?}");
        assert!(!format!("{reply:?}").contains("canary-7d1f0c"));
    }
    assert_eq!(shop.asked().len(), 8);
    assert!(shop.asked().iter().all(|asked| asked.contains(CANARY)));
    assert_eq!(holding(folder.path(), b"canary-7d1f0c"), Vec::<String>::new());
    // What is there is found: the search is one.
    assert!(!holding(folder.path(), b"[secret SHOP]").is_empty());
}

#[tokio::test]
async fn the_allow_list_holds_for_own_actions_as_for_all() {
    let shop = Upstream::of_json("{}").await;
    let world = World::builder().allow(["echo"]).action(order(shop.url("/orders"))).open();
    let refused = world.http(execute(&body("n"))).await;
    assert_eq!(refused.status, 403);
    assert_eq!(shop.asked().len(), 0);
}
