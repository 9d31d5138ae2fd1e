//! The administration: who is let in, what each may ask, and what every change leaves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::http::Request;
use execgate_model::{Role, TenantId};
use execgate_receipt::{parse_strict, salted};
use execgate_store::Grant;
use execgate_testkit::{OPERATOR_UID, Reply, World, ask, execute, get, holder, post, with};
use execgate_web::{Peer, admin_document};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// Somebody at the listener.
const NETWORK: Peer = Peer::Network { address: IpAddr::V4(Ipv4Addr::LOCALHOST) };

const OPERATOR: Peer = Peer::User { uid: OPERATOR_UID };
const ROOT: Peer = Peer::User { uid: 0 };
const STRANGER: Peer = Peer::User { uid: OPERATOR_UID + 1 };

fn keyed(request: Request<Body>, key: &str) -> Request<Body> {
    with(request, "x-api-key", key)
}

fn rule(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["rule"].as_str().unwrap_or_default().to_owned())
}

fn with_role(id: &str, tenant: &str, role: Role) -> Grant {
    Grant { tenant: TenantId::new(tenant).unwrap(), roles: BTreeSet::from([role]), ..holder(id) }
}

async fn run_by(world: &World, key: &str) -> u16 {
    world.http(keyed(execute(&json!({"action": "gives", "nonce": "n"})), key)).await.status
}

async fn made(world: &World, body: Value) -> (String, String) {
    let reply = world.admin(OPERATOR, post("/grants", body.to_string())).await;
    assert_eq!(reply.status, 201, "{}", reply.show());
    let told = reply.json();
    (told["grant"]["id"].as_str().unwrap().to_owned(), told["key"].as_str().unwrap().to_owned())
}

async fn changes(world: &World) -> Vec<Value> {
    let reply = world.admin(OPERATOR, get("/changes?limit=1000")).await;
    let mut changes = Vec::new();
    for change in reply.json().as_array().unwrap() {
        changes.push(parse_strict(change["statement"].as_str().unwrap().as_bytes()).unwrap());
    }
    changes.reverse();
    changes
}

#[tokio::test]
async fn a_grant_that_is_made_here_opens_at_once_and_one_that_is_revoked_opens_nothing() {
    let world = World::builder().require_grant().open();
    // What was read before is fresh: the clock stands still from here on.
    assert_eq!(run_by(&world, "x").await, 401);
    let (id, key) = made(&world, json!({"name": "ci"})).await;
    assert_eq!(run_by(&world, &key).await, 200);
    let rotated = world.admin(OPERATOR, post(&format!("/grants/{id}/rotate"), "{\"overlap\": \"0s\"}")).await;
    let newer = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_eq!((run_by(&world, &newer).await, run_by(&world, &key).await), (200, 401));
    let revoked = world.admin(OPERATOR, post(&format!("/grants/{id}/revoke"), "{}")).await;
    assert_eq!(
        (revoked.header("execgate-changed"), &revoked.json()["state"]),
        (Some("true"), &json!("revoked"))
    );
    assert_eq!(run_by(&world, &newer).await, 401);
    let again = world.admin(OPERATOR, post(&format!("/grants/{id}/revoke"), "{}")).await;
    assert_eq!((again.status, again.header("execgate-changed")), (200, Some("false")));
}

#[tokio::test]
async fn every_change_leaves_a_leaf_that_commits_to_what_was_said_and_tells_no_key() {
    let world = World::free();
    let admin = world.give(with_role("boss", "default", Role::Admin)).await;
    let (id, key) = made(&world, json!({"name": "ci", "labels": {"team": "red"}})).await;
    world.admin(OPERATOR, post(&format!("/grants/{id}/rotate"), "{}")).await;
    world.admin(NETWORK, keyed(post(&format!("/grants/{id}/revoke"), "{}"), &admin)).await;
    world.admin(OPERATOR, post(&format!("/grants/{id}/revoke"), "{}")).await;
    for path in ["/pause", "/pause", "/resume"] {
        assert_eq!(world.admin(ROOT, post(path, "{}")).await.status, 200);
    }
    let said: Vec<_> = changes(&world).await;
    let words: Vec<_> = said
        .iter()
        .skip(1)
        .map(|said| (said["change"].as_str().unwrap(), said["by"].as_str().unwrap()))
        .collect();
    assert_eq!(
        words,
        [
            ("grant-created", "operator:1000"),
            ("grant-rotated", "operator:1000"),
            ("grant-revoked", "grant:boss"),
            ("paused", "operator:0"),
            ("resumed", "operator:0"),
        ]
    );
    assert_eq!(said[1]["about"]["grant"], json!(id));
    assert_eq!(said[1]["about"]["labels"], json!({"team": "red"}));
    let listed = world.admin(OPERATOR, get("/changes")).await;
    assert!(!listed.show().contains(key.rsplit_once('_').unwrap().1));
    for change in listed.json().as_array().unwrap().iter().rev().skip(1) {
        let salt: execgate_model::Digest = change["salt"].as_str().unwrap().parse().unwrap();
        let leaf = salted(salt.as_bytes(), change["statement"].as_str().unwrap().as_bytes());
        assert_eq!(change["leaf"], json!(leaf));
    }
    let pages = world.admin(OPERATOR, get("/changes?limit=1&before=2")).await.json();
    assert_eq!((pages[0]["seq"].as_u64(), pages.as_array().unwrap().len()), (Some(1), 1));
}

#[tokio::test]
async fn a_key_of_the_administration_does_not_give_what_only_the_operator_gives() {
    let world = World::free();
    let admin = world.give(with_role("boss", "default", Role::Admin)).await;
    let by_key = async |path: &str, body: Value| {
        rule(&world.admin(NETWORK, keyed(post(path, body.to_string()), &admin)).await)
    };
    let internal = json!({"name": "x", "internal": true});
    let approver = json!({"name": "x", "roles": ["caller", "approver"]});
    assert_eq!(by_key("/grants", internal.clone()).await, (403, "operator-only/internal".to_owned()));
    assert_eq!(by_key("/grants", approver.clone()).await, (403, "operator-only/approver".to_owned()));
    let (id, _) = made(&world, internal).await;
    let (other, _) = made(&world, approver).await;
    let rotate = |id: &str| format!("/grants/{id}/rotate");
    assert_eq!(by_key(&rotate(&id), json!({})).await, (403, "operator-only/internal".to_owned()));
    assert_eq!(by_key(&rotate(&other), json!({})).await, (403, "operator-only/approver".to_owned()));
    let rules =
        |entry: Value| json!({"version": "1", "default": "allow", "tools": {"echo": entry}}).to_string();
    let mine = (403, "operator-only/rules".to_owned());
    for entry in [json!({"action": "require_approval"}), json!({"price": "0"})] {
        let new = json!({"name": "x", "policy": rules(entry.clone())});
        assert_eq!(by_key("/grants", new.clone()).await, mine);
        let (ruled, _) = made(&world, new).await;
        let path = format!("/grants/{ruled}/policy");
        assert_eq!(by_key(&path, json!({"none": true})).await, mine);
        assert_eq!(by_key(&path, json!({"policy": rules(json!({"action": "deny"}))})).await, mine);
    }
    let free = json!({"none": true});
    assert_eq!(
        by_key(&format!("/grants/{id}/policy"), free).await,
        (403, "operator-only/internal".to_owned())
    );
    let (plain, _) = made(&world, json!({"name": "x"})).await;
    let path = format!("/grants/{plain}/policy");
    assert_eq!(by_key(&path, json!({"policy": rules(json!({"action": "deny"}))})).await.0, 200);
    assert_eq!(by_key(&path, json!({"policy": rules(json!({"price": "0"}))})).await, mine);
    // Taking away is another thing.
    assert_eq!(by_key(&format!("/grants/{id}/revoke"), json!({})).await.0, 200);
    assert_eq!(by_key("/grants", json!({"name": "x"})).await.0, 201);
}

#[tokio::test]
async fn what_a_grant_cannot_be_is_told_by_its_field() {
    let world = World::free();
    for (body, pointer) in [
        (json!({}), "/name"),
        (json!({"name": " "}), "/name"),
        (json!({"name": "x", "tenant": "a b"}), "/tenant"),
        (json!({"name": "x", "roles": ["king"]}), "/roles/0"),
        (json!({"name": "x", "roles": "caller"}), "/roles"),
        (json!({"name": "x", "labels": {"a=b": "c"}}), "/labels"),
        (json!({"name": "x", "labels": {"a": 1}}), "/labels"),
        (json!({"name": "x", "wallets": ["0xab"]}), "/wallets"),
        (json!({"name": "x", "isolation": "a\nb"}), "/isolation"),
        (json!({"name": "x", "expires": "soon"}), "/expires"),
        (json!({"name": "x", "expires": "0s"}), "/expires"),
        (json!({"name": "x", "internal": "yes"}), "/internal"),
        (json!({"name": "x", "surprise": 1}), "/surprise"),
    ] {
        let reply = world.admin(OPERATOR, post("/grants", body.to_string())).await;
        assert_eq!((reply.status, &reply.json()["pointer"]), (400, &json!(pointer)), "{body}");
    }
    assert_eq!(world.admin(OPERATOR, get("/grants?all=true")).await.json(), json!([]));
    for path in
        ["/grants?all=1", "/grants?al=true", "/runs?limit=0", "/runs?limit=1001", "/runs?stage=x", "/runs/x"]
    {
        assert_eq!(world.admin(OPERATOR, get(path)).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn the_kill_switch_holds_for_the_public_door() {
    let world = World::free();
    let paused = world.admin(OPERATOR, post("/pause", "{}")).await;
    assert_eq!(paused.json(), json!({"paused": true, "changed": true}));
    assert_eq!(world.walk(ask("gives")).await.rule(), "paused");
    let resumed = world.admin(OPERATOR, post("/resume", "{}")).await;
    assert_eq!(resumed.json(), json!({"paused": false, "changed": true}));
    world.walk(ask("gives")).await.passage();
}

#[tokio::test]
async fn a_run_is_listed_shown_with_its_receipt_and_not_resolved_while_its_end_is_known() {
    let world = World::free();
    let run = world.walk(ask("gives").nonce("n")).await.passage().run;
    let listed = world.admin(OPERATOR, get("/runs?stage=settled&limit=1")).await.json();
    assert_eq!(listed[0]["id"], json!(run));
    assert_eq!(world.admin(OPERATOR, get(&format!("/runs/{run}"))).await.json(), listed[0]);
    let receipt = world.admin(OPERATOR, get(&format!("/runs/{run}/receipt"))).await;
    assert_eq!(receipt.json()["exec_id"], json!(run));
    let known = world.admin(OPERATOR, post(&format!("/runs/{run}/resolve"), "{\"note\": \"x\"}")).await;
    assert_eq!((known.status, &known.json()["code"]), (409, &json!("outcome-known")));
}

#[tokio::test]
async fn the_socket_asks_for_no_key_and_the_listener_for_one() {
    let world = World::free();
    let admin = world.give(with_role("boss", "default", Role::Admin)).await;
    let on_socket = world.admin(OPERATOR, keyed(get("/health"), &admin)).await;
    assert_eq!(rule(&on_socket), (401, "key-on-socket".to_owned()));
    assert_eq!(rule(&world.admin(NETWORK, get("/health")).await), (401, "grant-required".to_owned()));
    assert_eq!(rule(&world.admin(STRANGER, get("/health")).await), (403, "peer".to_owned()));
    for (name, value, status) in [("host", "evil.example", 421), ("origin", "http://evil.example", 403)] {
        for peer in [OPERATOR, NETWORK] {
            assert_eq!(world.admin(peer, with(get("/health"), name, value)).await.status, status);
        }
    }
    assert_eq!(world.admin(OPERATOR, post("/health", "{}")).await.status, 405);
    assert_eq!(world.admin(STRANGER, get("/nowhere")).await.status, 403);
    assert_eq!(world.admin(OPERATOR, get("/nowhere")).await.status, 404);
    assert_eq!(world.http(get("/grants")).await.status, 404);
}

/// Everybody who can come to the door.
const KINDS: [&str; 11] = [
    "operator", "root", "stranger", "nobody", "wrong", "caller", "approver", "auditor", "rules", "admin",
    "foreign",
];

fn in_order(method: &str, path: &str, run: &str) -> Request<Body> {
    let id = if path.starts_with("/runs") || path.starts_with("/payments") { run } else { "subject" };
    let path = path.replace("{id}", id);
    if method == "GET" {
        return get(&path);
    }
    let body = match path.rsplit('/').next().unwrap() {
        "grants" => json!({"name": "new"}),
        "end" => json!({"word": "gone"}),
        "resolve" => json!({"note": "it was done"}),
        _ => json!({}),
    };
    post(&path, body.to_string())
}

async fn statuses(method: &str, path: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    let roles = [Role::Caller, Role::Approver, Role::Auditor, Role::PolicyManager, Role::Admin];
    for kind in 0..KINDS.len() {
        let world = World::free();
        world.give(holder("subject")).await;
        let run = world.walk(ask("gives").nonce("n")).await.passage().run.to_string();
        let request = in_order(method, path, &run);
        let reply = match kind {
            0 => world.admin(OPERATOR, request).await,
            1 => world.admin(ROOT, request).await,
            2 => world.admin(STRANGER, request).await,
            3 => world.admin(NETWORK, request).await,
            4 => world.admin(NETWORK, keyed(request, &format!("eg_subject_{}", "0".repeat(64)))).await,
            _ => {
                let (tenant, role) = match roles.get(kind - 5) {
                    Some(role) => ("default", *role),
                    None => ("other", Role::Admin),
                };
                let key = world.give(with_role("asks", tenant, role)).await;
                world.admin(NETWORK, keyed(request, &key)).await
            }
        };
        statuses.push(reply.status);
    }
    statuses
}

/// Who gets what where. An endpoint that is new is missing here, and fails until somebody has looked at its line.
#[tokio::test]
async fn every_kind_of_caller_at_every_endpoint_of_the_administration() {
    let document = admin_document("0");
    let mut table = format!("{:<28}", "");
    for kind in KINDS {
        write!(table, "{kind:>9}").unwrap();
    }
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for verb in verbs.as_object().unwrap().keys() {
            let method = verb.to_uppercase();
            write!(table, "\n{:<28}", format!("{method} {path}")).unwrap();
            for status in statuses(&method, path).await {
                write!(table, "{status:>9}").unwrap();
            }
        }
    }
    assert_snapshot!(table);
}
