//! What shows that a record does not hold together: every kind of damage is named, with its run, and nothing else is.

use std::collections::BTreeSet;

use execgate_flow::Refusal;
use execgate_flow::examine::Rule;
use execgate_model::Clock as _;
use execgate_receipt::approval::ApprovalStatement;
use execgate_testkit::approval::{approver, signed, yes};
use execgate_testkit::{Death, OPERATOR_UID, Walked, World, ask, get, temporary_folder};
use execgate_web::Peer;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

const OPERATOR: Peer = Peer::User { uid: OPERATOR_UID };

/// A world that has seen everything that leaves something in the record, and the folder of it.
async fn lived() -> (World, TempDir) {
    let folder = temporary_folder();
    let limits = json!([{"counter": "calls", "window": "hour", "max": 90, "scope": "global"}]);
    let rules = json!({"version": "1", "default": "allow", "all_tools": {"limits": limits}});
    let mut world = World::priced().policy(rules).in_folder(folder.path()).open();
    world.walk(ask("gives").nonce("value").pays("p1")).await.passage();
    world.walk(ask("gives").pays("p2")).await.passage();
    world.walk(ask("raises").nonce("exception").pays("p3")).await.passage();
    assert_eq!(world.walk(ask("unstartable").nonce("undone").pays("p4")).await.rule(), "not-started");
    world.die_at("claimed", Death::Simulated);
    assert!(world.walk(ask("gives").nonce("lost").pays("p5")).await.died());
    world.restart().await;
    let unknown = world.runs().await.into_iter().find(|run| run.outcome.as_deref() == Some("unknown"));
    let resolved = json!({"note": "it had done nothing"}).to_string();
    let path = format!("/runs/{}/resolve", unknown.unwrap().run);
    assert_eq!(world.admin(OPERATOR, execgate_testkit::post(&path, resolved)).await.status, 200);
    (world, folder)
}

#[tokio::test]
async fn a_record_that_has_seen_everything_is_sound() {
    let (world, _folder) = lived().await;
    let (findings, report) = world.fsck().await;
    assert_eq!(findings, []);
    let counts = report.counts;
    assert_eq!((counts.runs, counts.open, counts.unknown, counts.receipts, counts.answers), (4, 0, 1, 4, 4));
    // Four intents and finals, three settlements, an intent that was taken back, a resolution, and the change that says who
    // resolved it.
    assert_eq!((counts.leaves, counts.undone), (14, 1));
    assert_eq!((counts.payments, counts.captured, counts.released, counts.held), (4, 3, 1, 0));
}

#[tokio::test]
async fn a_run_under_way_is_no_finding() {
    let world = World::free();
    let gate = world.gate();
    let running = tokio::spawn(async move { gate.walk(ask("blocks").nonce("n")).await.passage() });
    world.journal().until_started(1).await;
    let (findings, report) = world.fsck().await;
    assert_eq!((findings, report.counts.open), (vec![], 1));
    world.bench().let_go();
    running.await.unwrap();
    assert_eq!(world.fsck().await.0, []);
}

/// Damages by what they do to a record, and what is found.
const DAMAGES: &[(&str, &[Rule])] = &[
    ("DELETE FROM leaf WHERE seq = 2", &[Rule::LeafGap, Rule::LeafMissing]),
    ("DELETE FROM leaf WHERE seq = 14", &[Rule::Change]),
    ("DELETE FROM leaf WHERE seq = 1", &[Rule::LeafGap, Rule::LeafMissing]),
    // A signer that nobody has added (the key of RFC 8032, section 7.1, test 1).
    (
        "INSERT INTO own_key (purpose, public, added) VALUES \
         ('receipt', x'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 1)",
        &[Rule::Change],
    ),
    // The end of the key that signed, before some of what it signed.
    (
        "INSERT INTO own_key (purpose, public, added, retired, retired_size) VALUES \
         ('receipt', x'ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c', 1, 1, 2)",
        &[Rule::Change, Rule::ReceiptKey],
    ),
    ("UPDATE leaf SET digest = zeroblob(32) WHERE seq = 1", &[Rule::LeafMissing]),
    ("UPDATE leaf SET digest = zeroblob(32) WHERE seq = 2", &[Rule::LeafDiffers]),
    ("UPDATE leaf SET digest = zeroblob(32) WHERE kind = 'resolve'", &[Rule::LeafDiffers]),
    ("UPDATE leaf SET digest = zeroblob(32) WHERE kind = 'change'", &[Rule::LeafDiffers]),
    ("UPDATE leaf SET digest = zeroblob(32) WHERE kind = 'settlement'", &[Rule::LeafDiffers, Rule::Money]),
    ("UPDATE leaf SET kind = 'late' WHERE kind = 'settlement'", &[Rule::Change, Rule::Money]),
    ("UPDATE leaf SET digest = x'00' WHERE seq = 2", &[Rule::LeafDiffers, Rule::LeafMissing]),
    ("UPDATE leaf SET kind = 'late' WHERE seq = 2", &[Rule::LeafMissing]),
    ("UPDATE leaf SET kind = 'none' WHERE seq = 2", &[Rule::LeafStray, Rule::LeafMissing]),
    (
        "INSERT INTO leaf (run, kind, digest) SELECT run, kind, digest FROM leaf WHERE seq = 2",
        &[Rule::LeafTwice],
    ),
    (
        "INSERT INTO leaf (run, kind, digest) SELECT run, kind, digest FROM leaf WHERE seq = 1",
        &[Rule::LeafTwice],
    ),
    ("INSERT INTO leaf (run, kind, digest) VALUES (zeroblob(16), 'final', zeroblob(32))", &[Rule::LeafStray]),
    ("DELETE FROM ending WHERE run = 1", &[Rule::Stage, Rule::LeafDiffers]),
    ("DELETE FROM run WHERE id = 2", &[Rule::LeafStray, Rule::Money, Rule::Limit]),
    (
        "UPDATE ending SET receipt = (SELECT receipt FROM ending WHERE run = 2) WHERE run = 1",
        &[Rule::ReceiptDiffers, Rule::LeafDiffers],
    ),
    (
        "UPDATE ending SET receipt = CAST(replace(CAST(receipt AS TEXT), '\"sig\": \"', '\"sig\": \"AAAA') AS BLOB) WHERE run = 1",
        &[Rule::ReceiptInvalid],
    ),
    ("UPDATE ending SET receipt = x'00' WHERE run = 1", &[Rule::ReceiptInvalid, Rule::LeafDiffers]),
    ("UPDATE ending SET content = zeroblob(32) WHERE run = 1", &[Rule::ReceiptDiffers, Rule::Answer]),
    ("UPDATE ending SET outcome = 'timeout' WHERE run = 1", &[Rule::ReceiptDiffers, Rule::Answer]),
    ("UPDATE ending SET outcome = 'unknown' WHERE run = 1", &[Rule::Stage, Rule::ReceiptDiffers]),
    (
        "UPDATE ending SET body = CAST(replace(CAST(body AS TEXT), '\"result\":', '\"result\":1,\"other\":') AS BLOB) WHERE run = 1",
        &[Rule::Answer],
    ),
    (
        "UPDATE run SET salt = zeroblob(32) WHERE id = 1",
        &[Rule::ReceiptDiffers, Rule::LeafMissing, Rule::LeafDiffers],
    ),
    (
        "UPDATE run SET intent = (SELECT intent FROM run WHERE id = 2) WHERE id = 1",
        &[Rule::Claim, Rule::Name, Rule::ReceiptDiffers, Rule::LeafMissing, Rule::Answer],
    ),
    ("UPDATE run SET intent = x'00' WHERE id = 1", &[Rule::Unreadable, Rule::LeafMissing]),
    ("UPDATE run SET caller = 'grant:x' WHERE id = 1", &[Rule::Claim]),
    ("UPDATE run SET action = 'echo' WHERE id = 1", &[Rule::Claim, Rule::ReceiptDiffers]),
    ("UPDATE run SET created = created + 1 WHERE id = 1", &[Rule::Claim]),
    ("UPDATE run SET nonce_key = NULL WHERE id = 1", &[Rule::Name]),
    ("UPDATE run SET nonce_key = zeroblob(32) WHERE id = 1", &[Rule::Name]),
    ("UPDATE run SET nonce_key = NULL WHERE id = 2", &[Rule::Name]),
    ("UPDATE run SET fingerprint = zeroblob(32) WHERE id = 1", &[Rule::Name]),
    ("UPDATE run SET stage = 'lost' WHERE id = 1", &[Rule::Unreadable]),
    ("UPDATE run SET stage = 'execute' WHERE id = 1", &[Rule::Stage, Rule::Money]),
    ("UPDATE run SET stage = 'unknown' WHERE id = 1", &[Rule::Stage, Rule::Money]),
    ("UPDATE run SET settlement = 'released' WHERE id = 1", &[Rule::ReceiptDiffers, Rule::Money]),
    ("UPDATE run SET settlement = 'held' WHERE id = 1", &[Rule::Money]),
    ("UPDATE run SET settlement = 'free' WHERE id = 1", &[Rule::Money]),
    ("UPDATE run SET settlement = 'captured' WHERE stage = 'unknown'", &[Rule::Money, Rule::ReceiptDiffers]),
    ("DELETE FROM payment WHERE id = 1", &[Rule::Money]),
    ("UPDATE payment SET amount = 1 WHERE id = 1", &[Rule::Money]),
    ("UPDATE payment SET reference = 'transfer-of-another' WHERE id = 1", &[Rule::Money]),
    (
        "UPDATE payment SET reference = 'x' WHERE id = 1; UPDATE run SET reference = 'x' WHERE id = 1",
        &[Rule::Money],
    ),
    ("UPDATE payment SET rail = 'x' WHERE id = 1; UPDATE run SET rail = 'x' WHERE id = 1", &[Rule::Money]),
    ("UPDATE run SET rail = 'x' WHERE id = 1", &[Rule::Money]),
    ("UPDATE run SET reference = NULL WHERE id = 1", &[Rule::Money]),
    ("UPDATE payment SET word = 'released' WHERE id = 1", &[Rule::Money]),
    ("UPDATE payment SET word = NULL WHERE id = 1", &[Rule::Money]),
    ("UPDATE payment SET run = zeroblob(16) WHERE id = 1", &[Rule::Money]),
    ("UPDATE resolution SET note = 'it had done it all'", &[Rule::Resolution]),
    ("DELETE FROM resolution", &[Rule::LeafDiffers]),
    ("UPDATE change SET statement = x'7b7d'", &[Rule::LeafDiffers, Rule::Money]),
    ("DELETE FROM change", &[Rule::LeafDiffers, Rule::Money]),
    ("UPDATE spent SET used = used - 1", &[Rule::Limit]),
    ("UPDATE run SET reserved = NULL WHERE id = 1", &[Rule::Limit]),
];

#[tokio::test]
async fn every_damage_is_found_and_named() {
    let (world, folder) = lived().await;
    world.store().close().await;
    world.kill().await;
    let file = folder.path().join("record.db");
    let sound = std::fs::read(&file).unwrap();
    let mut wrong = Vec::new();
    for (damage, expected) in DAMAGES {
        for side in ["record.db-wal", "record.db-shm"] {
            std::fs::remove_file(folder.path().join(side)).ok();
        }
        std::fs::write(&file, &sound).unwrap();
        let raw = Connection::open(&file).unwrap();
        raw.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        raw.execute_batch(damage).unwrap();
        drop(raw);
        let gate = world.another_gate();
        let (findings, report) = gate.fsck().await;
        let rules: BTreeSet<Rule> = findings.iter().map(|finding| finding.rule).collect();
        if rules != expected.iter().copied().collect() {
            wrong.push((damage, findings.iter().map(ToString::to_string).collect::<Vec<_>>()));
        }
        assert_eq!(report.findings, u64::try_from(findings.len()).unwrap());
        gate.store().close().await;
        gate.kill().await;
    }
    assert_eq!(wrong, []);
}

#[tokio::test]
async fn a_damaged_file_is_a_finding() {
    let (world, folder) = lived().await;
    world.store().close().await;
    world.kill().await;
    let file = folder.path().join("record.db");
    let raw = Connection::open(&file).unwrap();
    // Where the index of nonces is rooted: of what it leads to nothing is left.
    let root: u32 = raw
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'run_by_created'", [], |row| row.get(0))
        .unwrap();
    let size: u32 = raw.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    drop(raw);
    let mut bytes = std::fs::read(&file).unwrap();
    let start = usize::try_from((root - 1) * size).unwrap();
    // An empty leaf page of an index (SQLite file format, 1.6).
    let content = u16::try_from(size).unwrap().to_be_bytes();
    bytes[start..start + 8].copy_from_slice(&[0x0a, 0, 0, 0, 0, content[0], content[1], 0]);
    std::fs::write(&file, bytes).unwrap();
    let (findings, _) = world.another_gate().fsck().await;
    assert!(
        findings.iter().all(|finding| finding.rule == Rule::File) && !findings.is_empty(),
        "{findings:#?}"
    );
}

#[tokio::test]
async fn the_door_tells_progress_findings_and_an_end() {
    let (world, folder) = lived().await;
    let lines = |body: &[u8]| -> Vec<Value> {
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let reply = world.admin(OPERATOR, get("/fsck")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-ndjson")));
    let told = lines(&reply.body);
    assert_eq!(told[0], json!({"progress": {"step": "file", "done": 0, "of": 1}}));
    assert_eq!(told.last().unwrap()["end"]["sound"], true);

    let raw = Connection::open(folder.path().join("record.db")).unwrap();
    raw.execute_batch("UPDATE run SET caller = 'grant:x' WHERE id = 1").unwrap();
    let told = lines(&world.admin(OPERATOR, get("/fsck")).await.body);
    let findings: Vec<_> = told.iter().filter(|line| line["finding"].is_object()).collect();
    assert_eq!(findings.len(), 1);
    let run = world.runs().await.into_iter().find(|run| run.caller == "grant:x").unwrap().run;
    assert_eq!(
        (&findings[0]["finding"]["rule"], &findings[0]["finding"]["run"]),
        (&json!("claim"), &json!(run))
    );
    let end = &told.last().unwrap()["end"];
    assert_eq!((&end["sound"], &end["findings"]), (&json!(false), &json!(1)));
}

#[tokio::test]
async fn a_clock_that_is_set_back_loses_nothing_and_gives_no_limit_back() {
    let hour_ms = 3_600_000;
    let limits = json!([{"counter": "calls", "window": "hour", "max": 2, "scope": "global"}]);
    let rules = json!({"version": "1", "default": "allow", "all_tools": {"limits": limits}});
    let mut world = World::priced().policy(rules).open();
    world.clock().advance_ms(10 * hour_ms);
    let first = world.walk(ask("gives").nonce("a").pays("p1")).await.passage();
    world.clock().set_back_ms(5 * hour_ms);
    let second = world.walk(ask("gives").nonce("b").pays("p2")).await.passage();
    assert_eq!(world.walk(ask("gives").nonce("c").pays("p3")).await.rule(), "/all_tools/limits/0");
    world.restart().await;
    assert_eq!(world.walk(ask("gives").nonce("a").pays("p1")).await.passage().answer, first.answer);
    assert_eq!(world.walk(ask("gives").nonce("b").pays("p2")).await.passage().answer, second.answer);
    assert_eq!((world.journal().starts(), world.fsck().await.0), (2, vec![]));
    world.clock().advance_ms(6 * hour_ms);
    assert_eq!(world.walk(ask("gives").nonce("c").pays("p3")).await.passage().answer.status, 200);
    assert_eq!(world.fsck().await.0, []);
}

/// A world in which a run waits for two people, and one of them has said yes.
async fn waiting() -> (World, TempDir) {
    let folder = temporary_folder();
    let terms = json!({"require_approval": {"approvers": [], "min": 2, "ttl_s": 600}});
    let rules = json!({"version": "1", "default": "allow", "tools": {"gives": terms}});
    let people = [approver("anna", 1), approver("bob", 2)];
    let world = World::builder().policy(rules).approvers(people).in_folder(folder.path()).open();
    let call = ask("gives").mark("n").nonce("n");
    let Walked::Refused(Refusal::Parked(waiting)) = world.walk(call.clone()).await else { unreachable!() };
    let said = yes("anna", 0, &call, world.clock().now());
    let said = ApprovalStatement { approval_id: waiting.run.into(), ..said };
    let body = json!({"artifact": signed(&said, 1)}).to_string();
    let reply = world.http(execgate_testkit::post(&format!("/approvals/{}", waiting.run), body)).await;
    assert!(reply.status < 300, "{}", reply.json());
    (world, folder)
}

#[tokio::test]
async fn what_waits_for_people_is_held_against_what_was_claimed_and_what_they_signed() {
    let (world, folder) = waiting().await;
    assert_eq!(world.fsck().await.0, []);
    world.store().close().await;
    world.kill().await;
    let file = folder.path().join("record.db");
    let sound = std::fs::read(&file).unwrap();
    for (damage, rule) in [
        ("DELETE FROM parked", Rule::Parked),
        (
            "UPDATE parked_payload SET payload = CAST(replace(CAST(payload AS TEXT), '\"mark\":\"n\"', '\"mark\":\"x\"') AS BLOB)",
            Rule::Parked,
        ),
        ("UPDATE parked SET bytes = 1", Rule::Parked),
        ("UPDATE parked SET head = x'00', bytes = 1", Rule::Parked),
        ("DELETE FROM parked_payload", Rule::Parked),
        ("UPDATE parked SET run = 77", Rule::Parked),
        ("DELETE FROM vote", Rule::Vote),
        ("UPDATE vote SET word = 'deny'", Rule::Vote),
        ("UPDATE vote SET person = 'mallory'", Rule::Vote),
        ("UPDATE vote SET at = at + 1", Rule::Vote),
        ("UPDATE vote SET artifact = x'7b7d'", Rule::Vote),
        ("UPDATE vote SET run = zeroblob(16)", Rule::Vote),
    ] {
        for side in ["record.db-wal", "record.db-shm"] {
            std::fs::remove_file(folder.path().join(side)).ok();
        }
        std::fs::write(&file, &sound).unwrap();
        let raw = Connection::open(&file).unwrap();
        assert!(raw.execute(damage, []).unwrap() > 0, "{damage}");
        drop(raw);
        let gate = world.another_gate();
        let rules: BTreeSet<Rule> = gate.fsck().await.0.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, BTreeSet::from([rule]), "{damage}");
        gate.store().close().await;
        gate.kill().await;
    }
}
