//! The log of a gateway: what anybody reads of it, what a hand in the record cannot hide, and what a restored record may
//! not do.

use std::net::Ipv4Addr;
use std::path::Path;
use std::{fs, slice};

use execgate_flow::log::{Audited, Log, LogFault, audit};
use execgate_model::{Digest, Role};
use execgate_receipt::{
    Checkpoint, Consistency, Frontier, LogProof, ReceiptFile, SignedNote, Tile, VerifierKey, entry_bundle,
    leaf_hash, verify,
};
use execgate_store::{Grant, LOG_LEAVES_MAX};
use execgate_testkit::{
    Gate, LOG_ORIGIN, OPERATOR_UID, Reply, World, ask, change, execute, get, holder, post, with,
};
use execgate_web::Peer;
use rusqlite::Connection;
use serde_json::{Value, json};

const OPERATOR: Peer = Peer::User { uid: OPERATOR_UID };

/// A world whose log is kept.
async fn kept() -> World {
    let world = World::free();
    world.log().open().await.unwrap();
    assert_eq!(world.log().fault(), None);
    world
}

/// Runs something under a name, and gives the id of its run.
async fn run(gate: &Gate, nonce: &str) -> String {
    gate.walk(ask("gives").nonce(nonce)).await.passage().run.to_string()
}

async fn key(gate: &Gate) -> VerifierKey {
    gate.log().key().await.unwrap().unwrap()
}

async fn note(gate: &Gate) -> SignedNote {
    let reply = gate.http(get("/log/checkpoint")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    SignedNote::parse(&reply.body).unwrap()
}

async fn head(gate: &Gate) -> Checkpoint {
    Checkpoint::open(&note(gate).await, &[key(gate).await]).unwrap().0
}

async fn tile(gate: &Gate, tile: &str) -> Reply {
    gate.http(get(&format!("/log/tile/{tile}"))).await
}

/// A hand in the record.
fn tamper(world: &World, sql: &str) {
    let raw = Connection::open(world.record_file()).unwrap();
    assert!(raw.execute(sql, []).unwrap() > 0, "{sql}");
}

async fn audited(gate: &Gate) -> Audited {
    audit(&*gate.store()).await.unwrap()
}

#[tokio::test]
async fn anybody_reads_the_whole_log_as_tiles_and_comes_to_the_signed_root() {
    let world = kept().await;
    for number in 0..140 {
        run(&world, &format!("n{number}")).await;
        if number % 50 == 0 {
            world.log().sequence().await.unwrap();
        }
    }
    world.log().sequence().await.unwrap();
    let head = head(&world).await;
    assert_eq!((head.origin.as_str(), head.size), (LOG_ORIGIN, 280));

    let mut frontier = Frontier::EMPTY;
    let mut hashes = Vec::new();
    for tile_of in Tile::all(head.size) {
        let reply = tile(&world, &tile_of.to_string()).await;
        assert_eq!(reply.status, 200, "{tile_of}");
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=31536000, immutable"));
        match tile_of.to_string() {
            path if path.starts_with("entries/") => {
                for entry in reply.body.chunks(34) {
                    assert_eq!(entry[..2], [0, 32]);
                    frontier.append(&entry[2..]);
                }
            }
            path if path.starts_with("0/") => hashes.extend(reply.body.chunks(32).map(<[u8]>::to_vec)),
            _ => assert_eq!(reply.body.len(), 32),
        }
    }
    assert_eq!((frontier.size(), frontier.root(), hashes.len()), (280, head.root, 280));
    let leaves = world.store().log_leaves(0, 3).await.unwrap();
    let entries: Vec<_> = leaves.iter().map(|leaf| leaf.digest).collect();
    assert_eq!(hashes[2], leaf_hash(entries[2].as_bytes()).as_bytes());
    assert_eq!(tile(&world, "entries/000.p/3").await.body, entry_bundle(&entries));
    for beyond in
        ["0/001", "0/001.p/25", "1/000", "1/000.p/2", "entries/001", "7/000.p/1", "8/000.p/1", "x", "0/1"]
    {
        assert_eq!(tile(&world, beyond).await.status, 404, "{beyond}");
    }
    assert_eq!(audited(&world).await, Audited::Sound { entries: 280 });
}

#[tokio::test]
async fn a_receipt_comes_with_the_proof_that_it_is_in_the_log() {
    let world = kept().await;
    let first = run(&world, "first").await;
    let early = world.http(get(&format!("/receipts/{first}"))).await;
    assert_eq!(ReceiptFile::from_json(&early.body).unwrap().log_proof, None, "nothing is signed yet");
    for number in 0..20 {
        run(&world, &format!("n{number}")).await;
    }
    world.log().sequence().await.unwrap();
    let known = [key(&world).await];
    for run in world.runs().await {
        let reply = world.http(get(&format!("/receipts/{}", run.run))).await;
        let file = ReceiptFile::from_json(&reply.body).unwrap();
        let leaf = verify(&file, &[world.key()]).unwrap().leaf();
        let proof: LogProof = file.log_proof.as_deref().unwrap().parse().unwrap();
        let (head, _) = proof.verify(leaf.as_bytes(), &known).unwrap();
        assert_eq!(head.size, 42);
        assert_eq!(file.log_key, Some(known[0].to_string()));
        assert!(proof.verify(Digest::from_bytes([1; 32]).as_bytes(), &known).is_err());
    }
}

#[tokio::test]
async fn whoever_asks_for_a_receipt_at_once_waits_for_its_proof() {
    let world = kept().await;
    run(&world, "first").await;
    world.log().sequence().await.unwrap();
    let id = run(&world, "second").await;
    let (gate, log) = (world.gate(), world.log());
    let asked = tokio::spawn(async move { gate.http(get(&format!("/receipts/{id}"))).await });
    tokio::task::yield_now().await;
    log.sequence().await.unwrap();
    assert!(ReceiptFile::from_json(&asked.await.unwrap().body).unwrap().log_proof.is_some());
}

#[tokio::test]
async fn two_gateways_over_one_record_keep_one_log() {
    let world = kept().await;
    let other = world.another_gate();
    other.log().open().await.unwrap();
    assert_eq!(other.log().fault(), None);
    let (mine, theirs) = (world.log(), other.log());
    let mut notes = vec![];
    for number in 0..30 {
        let (gate, log) = if number % 2 == 0 { (&*world, &mine) } else { (&other, &theirs) };
        run(gate, &format!("n{number}")).await;
        let both = tokio::join!(mine.sequence(), theirs.sequence());
        assert!(both.0.is_ok() && both.1.is_ok());
        log.sequence().await.unwrap();
        notes.push(note(gate).await);
    }
    let known = [key(&world).await];
    let newest = head(&other).await;
    assert_eq!(newest.size, 60);
    for (number, note) in (1..).zip(&notes) {
        let (older, _) = Checkpoint::open(note, &known).unwrap();
        assert_eq!(older.size, 2 * number);
        let proof = world.http(get(&format!("/log/consistency/{}", older.size))).await;
        let proof = Consistency::parse(&proof.body).unwrap();
        assert_eq!(proof.verify(note, &known).map(|(_, newer)| newer), Ok(newest.clone()));
    }
    assert_eq!(world.http(get("/log/consistency/61")).await.status, 404);
    assert_eq!(world.http(get("/log/consistency/x")).await.status, 400);
    assert_eq!((world.log().fault(), other.log().fault()), (None, None));
}

#[tokio::test]
async fn leaves_from_before_the_log_are_taken_in_bounded_steps() {
    let world = World::free();
    let id = run(&world, "before").await;
    let leaves = u64::from(LOG_LEAVES_MAX) * 2 + 3;
    for number in 2..leaves {
        world.store().set_paused(number % 2 == 0, change()).await.unwrap();
    }
    world.log().open().await.unwrap();
    assert_eq!(world.http(get("/log/checkpoint")).await.status, 404);
    world.log().sequence().await.unwrap();
    assert_eq!(head(&world).await.size, leaves);
    let reply = world.http(get(&format!("/receipts/{id}"))).await;
    assert!(ReceiptFile::from_json(&reply.body).unwrap().log_proof.is_some());
    assert_eq!(audited(&world).await, Audited::Sound { entries: leaves });
}

#[tokio::test]
async fn a_log_without_an_entry_has_a_checkpoint_too() {
    let world = kept().await;
    world.log().sequence().await.unwrap();
    assert_eq!(head(&world).await.size, 0);
}

#[tokio::test]
async fn a_head_that_was_committed_and_not_signed_is_signed_after_the_restart() {
    let mut world = kept().await;
    run(&world, "n").await;
    world.log().sequence().await.unwrap();
    world.log().keep().await.unwrap();
    let before = note(&world).await;
    tamper(&world, "UPDATE log_checkpoint SET note = NULL");
    world.reopen().await;
    world.log().open().await.unwrap();
    world.log().sequence().await.unwrap();
    assert_eq!(note(&world).await, before, "the same bytes, whoever signs");
    assert_eq!(world.log().fault(), None);
}

/// Four runs, a log of eight leaves, and its checkpoint outside.
async fn eight() -> World {
    let world = kept().await;
    for number in 0..4 {
        run(&world, &format!("n{number}")).await;
    }
    world.log().sequence().await.unwrap();
    world.log().keep().await.unwrap();
    world
}

/// What a process that starts says of the record.
async fn fault_at_start(world: &mut World) -> Option<LogFault> {
    world.reopen().await;
    let log = world.log();
    log.open().await.unwrap();
    log.sequence().await.unwrap();
    log.fault()
}

#[tokio::test]
async fn a_leaf_that_was_changed_swapped_or_taken_away_is_found() {
    let changes: [(&str, Audited); 4] = [
        (
            "UPDATE leaf SET digest = CAST(x'00' || substr(digest, 2) AS BLOB) WHERE seq = 4",
            Audited::Changed { index: 3 },
        ),
        (
            "UPDATE leaf SET digest = (SELECT digest FROM leaf AS other WHERE other.seq = 7 - leaf.seq) \
                WHERE seq IN (3, 4)",
            Audited::Changed { index: 2 },
        ),
        ("DELETE FROM leaf WHERE seq = 5", Audited::Faulty(LogFault::Damaged { column: "leaf.seq" })),
        ("DELETE FROM leaf WHERE seq > 6", Audited::Faulty(LogFault::EndGone { leaves: 6, hashed: 8 })),
    ];
    for (sql, found) in changes {
        let world = eight().await;
        tamper(&world, sql);
        assert_eq!(audited(&world).await, found, "{sql}");
        run(&world, "later").await;
        assert!(matches!(audited(&world).await, Audited::Changed { .. } | Audited::Faulty(_)), "{sql}");
    }
}

#[tokio::test]
async fn hashes_that_were_changed_are_not_signed() {
    // The hashes of leaf 4 (index 3) go up to the root of the first four.
    let sql =
        "UPDATE log_hash SET hashes = CAST(substr(hashes, 1, 64) || zeroblob(32) AS BLOB) WHERE leaf = 3";
    let mut world = eight().await;
    tamper(&world, sql);
    assert_eq!(audited(&world).await, Audited::Changed { index: 3 });
    // At eight the root itself is stored; the next size needs what was changed.
    let fault = fault_at_start(&mut world).await;
    assert_eq!(fault, None);
    tamper(
        &world,
        "UPDATE log_hash SET hashes = CAST(substr(hashes, 1, 96) || zeroblob(32) AS BLOB) WHERE leaf = 7",
    );
    assert_eq!(
        fault_at_start(&mut world).await,
        Some(LogFault::Forked { place: "the shelf".to_owned(), size: 8 })
    );
    tamper(&world, "DELETE FROM log_hash WHERE leaf = 7");
    tamper(&world, "DELETE FROM log_checkpoint");
    let fault = fault_at_start(&mut world).await;
    assert_eq!(fault, Some(LogFault::Forked { place: "the shelf".to_owned(), size: 8 }));
}

#[tokio::test]
async fn a_record_whose_leaves_and_hashes_were_rewritten_together_is_not_the_one_that_was_seen() {
    let mut world = eight().await;
    tamper(&world, "UPDATE leaf SET digest = zeroblob(32) WHERE seq = 4");
    tamper(&world, "DELETE FROM log_hash");
    tamper(&world, "DELETE FROM log_checkpoint");
    let fault = fault_at_start(&mut world).await;
    assert_eq!(fault, Some(LogFault::Forked { place: "the shelf".to_owned(), size: 8 }));
    let refused = world.walk(ask("gives").nonce("more")).await;
    assert_eq!(refused.rule(), "log");
}

#[tokio::test]
async fn a_record_that_changes_below_a_living_process_is_noticed_before_the_next_signature() {
    let world = eight().await;
    // Another history of the same length, and its own checkpoint: what a fork would show.
    tamper(&world, "UPDATE leaf SET digest = zeroblob(32) WHERE seq = 4");
    tamper(&world, "DELETE FROM log_hash");
    tamper(&world, "DELETE FROM log_checkpoint");
    world.log().sequence().await.unwrap();
    assert_eq!(world.log().fault(), Some(LogFault::Rewritten { size: 8 }));
    assert_eq!(world.http(get("/log/checkpoint")).await.status, 404, "the fork is not signed");
}

#[tokio::test]
async fn what_lies_outside_and_is_no_checkpoint_of_ours_stops_live_runs() {
    let place = || "the shelf".to_owned();
    let mut world = eight().await;
    let good = world.shelf().note().unwrap();
    let flipped = good.replace("\n8\n", "\n7\n");
    for (found, fault) in [
        (None, Some(LogFault::Missing { place: place() })),
        (Some("nonsense".to_owned()), Some(LogFault::Unsigned { place: place() })),
        (Some(flipped), Some(LogFault::Unsigned { place: place() })),
        (Some(good), None),
    ] {
        world.shelf().put(found);
        assert_eq!(fault_at_start(&mut world).await, fault);
    }
}

/// What the gateway answers while the log stops it.
async fn answers(world: &World, nonce: &str) -> (u16, Value) {
    let reply = world.http(execute(&json!({"action": "gives", "nonce": nonce}))).await;
    (reply.status, reply.json()["rule"].clone())
}

#[tokio::test]
async fn a_restored_record_runs_nothing_for_real_until_its_log_has_a_new_name() {
    let mut world = eight().await;
    let copy = world.record_file().with_extension("copy");
    copy_record(&world, &copy);
    for number in 10..13 {
        run(&world, &format!("n{number}")).await;
    }
    world.log().sequence().await.unwrap();
    world.log().keep().await.unwrap();
    let (seen, known) = (note(&world).await, key(&world).await);
    world.gate().kill().await;
    for side in ["db-wal", "db-shm"] {
        drop(fs::remove_file(world.record_file().with_extension(side)));
    }
    fs::rename(&copy, world.record_file()).unwrap();

    let behind = LogFault::Behind { place: "the shelf".to_owned(), seen: 14, leaves: 8 };
    assert_eq!(fault_at_start(&mut world).await, Some(behind));
    assert_eq!(answers(&world, "n11").await, (503, json!("log")), "this nonce was used once");
    assert!(!world.walk(ask("gives").nonce("dry").dry_run()).await.passage().replayed);
    let ready = world.http(get("/ready")).await;
    assert_eq!((ready.status, &ready.json()["reason"]), (503, &json!("log")));

    let boss = Grant { roles: [Role::Admin].into(), tenant: "default".parse().unwrap(), ..holder("boss") };
    let boss = world.give(boss).await;
    let network = Peer::Network { address: Ipv4Addr::LOCALHOST.into() };
    let by_key = world.admin(network, with(post("/log/new-origin", "{}"), "x-api-key", &boss)).await;
    assert_eq!((by_key.status, &by_key.json()["rule"]), (403, &json!("operator-only/log")));
    for bad in [json!({"origin": "two words"}), json!({"origin": LOG_ORIGIN})] {
        let refused = world.admin(OPERATOR, post("/log/new-origin", bad.to_string())).await;
        assert!([400, 409].contains(&refused.status), "{}", refused.show());
    }
    let told = world.admin(OPERATOR, post("/log/new-origin", "{}")).await;
    assert_eq!((told.status, &told.json()["fault"]), (200, &json!(null)), "{}", told.show());
    assert_eq!(answers(&world, "n11").await.0, 200);
    world.log().sequence().await.unwrap();

    let now = head(&world).await;
    assert!(now.origin.starts_with(&format!("{LOG_ORIGIN}/")), "{}", now.origin);
    assert!(
        Checkpoint::open(&note(&world).await, slice::from_ref(&known)).is_err(),
        "under its old name it says nothing"
    );
    assert!(Checkpoint::open(&seen, &[known]).is_ok(), "and what it said is not taken back");
    let log: Value = world.admin(OPERATOR, get("/log?after=0&limit=1000")).await.json();
    assert_eq!(log["epoch"], json!(2));
    let kinds: Vec<_> =
        log["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].clone()).collect();
    assert!(kinds.contains(&json!("change")));
    assert_eq!(fault_at_start(&mut world).await, None);
}

fn copy_record(world: &World, copy: &Path) {
    let raw = Connection::open(world.record_file()).unwrap();
    raw.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
}

#[tokio::test]
async fn a_record_without_a_log_does_not_take_the_place_of_one_that_had_one() {
    let mut world = eight().await;
    for table in ["log_hash", "log_checkpoint", "log_epoch"] {
        tamper(&world, &format!("DELETE FROM {table}"));
    }
    let fault = fault_at_start(&mut world).await;
    assert_eq!(
        fault,
        Some(LogFault::Foreign { place: "the shelf".to_owned(), origin: LOG_ORIGIN.to_owned() })
    );
}

#[tokio::test]
async fn a_new_name_given_by_one_gateway_is_taken_up_by_the_others() {
    let world = eight().await;
    let other = world.another_gate();
    let good = world.shelf().note();
    world.shelf().put(None);
    other.log().open().await.unwrap();
    assert_eq!(other.log().fault(), Some(LogFault::Missing { place: "the shelf".to_owned() }));
    world.shelf().put(good);
    assert_eq!(world.admin(OPERATOR, post("/log/new-origin", "{}")).await.status, 200);
    other.log().sequence().await.unwrap();
    assert_eq!(other.log().fault(), None);
    run(&other, "again").await;
    let log: &Log = &other.log();
    log.sequence().await.unwrap();
    assert_eq!(head(&world).await.size, 11);
}
