//! The file itself: its name, its mode, its schema, and what happens when somebody has damaged it.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;

use execgate_model::{Effect, Stage, UnixMs};
use execgate_store::{
    AuditDecision, AuditLine, Claim, Claimed, Finish, OpenError, OpenOptions, StoreError, ToolCall, Undone,
};

use super::folder::{Folder, instance, open};
use crate::contract::{Backend, approval, block_on, claim, created, digest, finish, held, run_id};

fn cause(error: &OpenError) -> String {
    error.source().unwrap().to_string()
}

/// The steps of a schema that earlier releases stopped at.
const STEPS: [&str; 13] = [
    include_str!("../../src/sqlite/migrations/0001_runs.sql"),
    include_str!("../../src/sqlite/migrations/0002_limits.sql"),
    include_str!("../../src/sqlite/migrations/0003_grants.sql"),
    include_str!("../../src/sqlite/migrations/0004_secureexec.sql"),
    include_str!("../../src/sqlite/migrations/0005_audit.sql"),
    include_str!("../../src/sqlite/migrations/0006_change.sql"),
    include_str!("../../src/sqlite/migrations/0007_grant_policy.sql"),
    include_str!("../../src/sqlite/migrations/0008_calls.sql"),
    include_str!("../../src/sqlite/migrations/0009_log.sql"),
    include_str!("../../src/sqlite/migrations/0010_approvals.sql"),
    include_str!("../../src/sqlite/migrations/0011_answers.sql"),
    include_str!("../../src/sqlite/migrations/0012_own_key.sql"),
    include_str!("../../src/sqlite/migrations/0013_parked.sql"),
];

/// What an earlier release has left: a file with the first steps, and with nothing in it.
fn has_steps(folder: &Folder, count: usize) {
    for step in &STEPS[..count] {
        folder.raw().execute_batch(step).unwrap();
    }
    folder.raw().pragma_update(None, "user_version", u32::try_from(count).unwrap()).unwrap();
}

#[test]
fn an_empty_file_gets_the_schema_and_only_the_owner_may_read_it() {
    let folder = Folder::new();
    block_on(async {
        let store = folder.open();
        store.claim(claim(store.instance(), 1)).await.unwrap();
        for side in ["", "-wal", "-shm"] {
            let name = format!("{}{side}", folder.file().display());
            assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        store.close().await;
    });
    let version: i64 = folder.raw().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 23);
    assert!(!folder.path().join("record.db-wal").exists());
}

#[test]
fn a_file_that_is_there_but_empty_is_filled() {
    let folder = Folder::new();
    fs::write(folder.file(), b"").unwrap();
    block_on(async {
        let store = folder.open();
        assert!(store.claim(claim(store.instance(), 1)).await.is_ok());
    });
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.raw().pragma_update(None, "user_version", 99).unwrap();
    let error = folder.try_open().err().unwrap();
    assert_eq!(error.to_string(), "failed to bring the database schema up to date");
    assert_eq!(
        cause(&error),
        "the database has schema version 99, and this release knows 23: use a newer release"
    );
    let tables: i64 =
        folder.raw().query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 0);
}

#[test]
fn a_record_of_the_first_release_is_taken_over_with_its_runs() {
    let folder = Folder::new();
    let raw = folder.raw();
    raw.execute_batch(include_str!("../../src/sqlite/migrations/0001_runs.sql")).unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
    let sql = "INSERT INTO run (run, instance, nonce_key, fingerprint, action, effect, caller, stage, settlement, \
        rail, price, salt, created, intent) VALUES (?1, ?2, ?3, ?3, 'echo', 'live', 'local', 'execute', 'free', \
        'free', 0, ?3, 1, x'00')";
    raw.execute(sql, (run_id(1).as_bytes(), instance(9).as_bytes(), digest(1, 1).as_bytes())).unwrap();
    drop(raw);
    block_on(async {
        let store = folder.open();
        assert_eq!(store.run(run_id(1)).await.unwrap().unwrap().caller, "local");
        assert!(matches!(store.claim(claim(store.instance(), 1)).await, Ok(Claimed::Taken(_))));
        assert_eq!(store.undo(run_id(1), instance(9)).await.unwrap(), Undone::Undone);
        assert_eq!(store.claim(claim(store.instance(), 1)).await.unwrap(), Claimed::Fresh);
        assert_eq!(store.grants().await.unwrap(), []);
    });
}

#[test]
fn a_leaf_that_was_taken_away_is_missed() {
    let folder = Folder::new();
    block_on(async {
        let store = folder.open();
        for number in 1..=3 {
            store.claim(claim(store.instance(), number)).await.unwrap();
        }
        assert_eq!(store.log_leaves(0, 9).await.unwrap().len(), 3);
        folder.raw().execute("DELETE FROM leaf WHERE seq = 2", []).unwrap();
        let missed = store.log_leaves(0, 9).await;
        assert!(matches!(missed, Err(StoreError::Unreadable { column: "leaf.seq" })));
    });
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = Folder::new();
    fs::write(folder.file(), b"not a database, and long enough to be looked at by anybody").unwrap();
    assert_eq!(folder.try_open().err().unwrap().to_string(), "failed to open the database");
}

#[test]
fn urls_name_files_as_documented() {
    let folder = Folder::new();
    let deep = folder.path().join("deep");
    fs::create_dir(&deep).unwrap();
    let absolute = deep.display();
    let cases = [
        ("sqlite://a.db".to_owned(), "a.db"),
        ("sqlite:///b.db".to_owned(), "b.db"),
        ("sqlite:///./c.db".to_owned(), "c.db"),
        (format!("sqlite://{absolute}/d.db"), "deep/d.db"),
        (format!("sqlite:///{absolute}/e.db"), "deep/e.db"),
        ("deep/f.db".to_owned(), "deep/f.db"),
    ];
    for (number, (url, file)) in (0..).zip(cases) {
        let data_dir = folder.path().to_owned();
        let options = OpenOptions { url, data_dir, instance: instance(number), at: UnixMs(1) };
        execgate_store::open(&options).unwrap();
        assert!(folder.path().join(file).exists(), "{}", options.url);
    }
}

#[test]
fn urls_without_a_file_are_refused() {
    let folder = Folder::new();
    for url in
        ["sqlite://", "sqlite://:memory:", "sqlite:///:memory:", "sqlite://a.db?mode=ro", "sqlite:///var/"]
    {
        let (url, data_dir) = (url.to_owned(), folder.path().to_owned());
        let options = OpenOptions { url, data_dir, instance: instance(0), at: UnixMs(1) };
        let error = execgate_store::open(&options).err().unwrap();
        assert_eq!(error.to_string(), "failed to read the database URL", "{}", options.url);
    }
}

#[test]
fn many_can_open_a_new_file_at_once() {
    let folder = Folder::new();
    let opened: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| folder.open())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    block_on(async {
        for (number, store) in (0..).zip(&opened) {
            store.claim(claim(store.instance(), number)).await.unwrap();
        }
    });
}

#[test]
fn an_instance_runs_once_and_its_id_serves_no_second_life_while_runs_are_open() {
    let folder = Folder::new();
    block_on(async {
        let store = open(folder.path(), instance(7)).unwrap();
        let twice = open(folder.path(), instance(7)).err().unwrap();
        assert_eq!(cause(&twice), "this instance is running already");

        store.claim(claim(store.instance(), 1)).await.unwrap();
        store.close().await;
        let again = open(folder.path(), instance(7)).err().unwrap();
        assert_eq!(again.to_string(), "failed to register this instance");
    });
}

#[test]
fn dead_instances_leave_their_locks_only_while_runs_are_open() {
    let folder = Folder::new();
    block_on(async {
        let (idle, busy) = (folder.open(), folder.open());
        busy.claim(claim(busy.instance(), 1)).await.unwrap();
        let names = |stores: &[&Arc<dyn execgate_store::Store>]| {
            let mut names: Vec<_> = stores.iter().map(|store| format!("{}.lock", store.instance())).collect();
            names.sort();
            names
        };
        assert_eq!(folder.locks(), names(&[&idle, &busy]));
        busy.close().await;
        assert_eq!(folder.locks(), names(&[&idle]));

        // The heir makes the lock anew to hold it; when nothing is open any more, the next one sweeps it out.
        assert_eq!(idle.orphans().await.unwrap().len(), 1);
        assert_eq!(folder.locks(), names(&[&idle, &busy]));
        idle.undo(run_id(1), busy.instance()).await.unwrap();
        idle.close().await;
        let last = folder.open();
        assert_eq!(folder.locks(), names(&[&last]));
        let rows: i64 =
            folder.raw().query_row("SELECT count(*) FROM instance", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    });
}

#[test]
fn a_damaged_row_is_unreadable_and_hurts_no_other() {
    let damages = [
        ("stage = 'lost'", "stage"),
        ("settlement = ''", "settlement"),
        ("effect = 'maybe'", "effect"),
        ("action = 'no/name'", "action"),
        ("salt = x'00'", "salt"),
        ("price = -1", "price"),
        ("created = -1", "created"),
        ("instance = x'0011'", "instance"),
        ("fingerprint = x''", "fingerprint"),
    ];
    let folder = Folder::new();
    block_on(async {
        let store = folder.open();
        let healthy = claim(store.instance(), 99);
        store.claim(healthy.clone()).await.unwrap();
        for (number, (damage, damaged)) in (0..).zip(damages) {
            store.claim(claim(store.instance(), number)).await.unwrap();
            let sql = format!("UPDATE run SET {damage} WHERE run = ?1");
            folder.raw().execute(&sql, [run_id(number).as_bytes()]).unwrap();

            let read = store.by_nonce(digest(1, number)).await;
            assert!(matches!(read, Err(StoreError::Unreadable { column }) if column == damaged), "{damage}");
            let replay = store.claim(claim(store.instance(), number)).await;
            assert!(
                matches!(replay, Err(StoreError::Unreadable { column }) if column == damaged),
                "{damage}"
            );
        }
        assert_eq!(store.run(run_id(99)).await.unwrap(), Some(held(&healthy)));
    });
}

#[test]
fn a_record_of_an_earlier_release_is_migrated_and_keeps_its_runs() {
    let folder = Folder::new();
    has_steps(&folder, 1);
    let before = "INSERT INTO run (run, instance, nonce_key, fingerprint, action, effect, caller, stage, settlement, \
        rail, price, salt, created, intent) VALUES (?1, zeroblob(16), ?2, zeroblob(32), 'echo', 'live', 'local', \
        'settled', 'free', 'free', 0, zeroblob(32), 5, x'7b7d')";
    let nonce = digest(1, 1);
    folder.raw().execute(before, (run_id(1).as_bytes(), nonce.as_bytes())).unwrap();
    let used = approval(1);
    folder.raw().execute("UPDATE run SET approval_key = ?1", [used.keys[0].as_bytes()]).unwrap();
    block_on(async {
        let store = folder.open();
        assert_eq!(store.by_nonce(nonce).await.unwrap().unwrap().run, run_id(1));
        store.claim(claim(store.instance(), 2)).await.unwrap();
        let again = Claim { approval: Some(used), ..claim(store.instance(), 3) };
        assert_eq!(store.claim(again).await.unwrap(), Claimed::ApprovalSpent(run_id(1)));
        store.close().await;
    });
    let calls: i64 =
        folder.raw().query_row("SELECT count(*) FROM secureexec_calls", [], |row| row.get(0)).unwrap();
    assert_eq!(calls, 0, "what came in by another surface is no call of a tool");
}

#[test]
fn grants_of_an_earlier_release_are_migrated_and_have_no_rules_of_their_own() {
    let folder = Folder::new();
    has_steps(&folder, 4);
    let before = "INSERT INTO caller_grant (id, name, tenant, labels, roles, internal, wallets, created, key) \
        VALUES ('g1', 'one', 'acme', '{}', 'caller', 0, '[]', 5, zeroblob(32))";
    folder.raw().execute(before, []).unwrap();
    block_on(async {
        let store = folder.open();
        let grant = store.standing_grants().await.unwrap().grants.remove(0);
        assert_eq!((grant.id.as_str(), grant.policy), ("g1", None));
    });
}

#[test]
fn parked_runs_of_an_earlier_release_are_migrated_and_wait_on() {
    let folder = Folder::new();
    has_steps(&folder, 13);
    let run = "INSERT INTO run (id, run, instance, nonce_key, fingerprint, action, effect, caller, stage, settlement, \
        rail, price, salt, created, intent, parked) VALUES (?1, ?2, zeroblob(16), NULL, zeroblob(32), 'echo', 'live', \
        'local', 'parked', 'free', 'free', 0, zeroblob(32), 5, x'7b7d', 1)";
    let parked = "INSERT INTO parked (run, owner, bytes, tenant, expires, request) VALUES (?1, NULL, ?2, 'acme', 9, ?3)";
    // As this release would write them, odd ones among them.
    let payloads =
        [r#"{"b":1.50,"a":"\u0000é\u202e\\","n":12345678901234567890}"#, r#""text""#, "null", "[1e30]"];
    for (number, payload) in (1..).zip(payloads) {
        let whole = format!(r#"{{"v":1,"surface":"execute","payload":{payload},"nonce":null}}"#).into_bytes();
        folder.raw().execute(run, (number, run_id(number).as_bytes())).unwrap();
        folder.raw().execute(parked, (number, 99, &whole)).unwrap();
    }
    block_on(async {
        let store = folder.open();
        for (number, payload) in (1..).zip(payloads) {
            let found = store.parked(run_id(number)).await.unwrap().unwrap();
            let head = String::from_utf8(found.parking.head).unwrap();
            assert_eq!(head, r#"{"v":1,"surface":"execute","nonce":null}"#);
            assert_eq!((found.parking.expires, found.tries), (UnixMs(9), 0));
            let kept = store.parked_payload(run_id(number)).await.unwrap().unwrap();
            assert_eq!(String::from_utf8(kept).unwrap(), payload);
        }
        assert_eq!(store.parked_due(UnixMs(9)).await.unwrap().len(), payloads.len());
        assert_eq!(store.parked_untold(UnixMs(0)).await.unwrap(), []);
    });
}

/// A row of the log of tool calls, as text.
fn call_log(folder: &Folder) -> Vec<Vec<String>> {
    let raw = folder.raw();
    let sql = "SELECT id, timestamp, caller_agent_id, tool_name, CAST(dry_run AS TEXT), status, \
        CAST(iam_approved AS TEXT), proof_hash, CAST(latency_ms AS TEXT), payment_protocol, schema_version \
        FROM secureexec_calls ORDER BY timestamp";
    let mut rows = raw.prepare(sql).unwrap();
    let rows = rows.query_map([], |row| (0..11).map(|at| row.get(at)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_log_of_tool_calls_has_every_call_that_was_answered_and_no_other() {
    let folder = Folder::new();
    let call = |agent: Option<&str>, iam_approved| {
        let alias = agent.filter(|agent| *agent == "ours").map(str::to_owned);
        ToolCall { agent: agent.map(str::to_owned), alias, iam_approved }
    };
    block_on(async {
        let store = folder.open();
        let me = store.instance();
        let claims = [
            (1, "local", Some(call(Some("achilles"), false)), Some("value")),
            (2, "grant:g-1", Some(call(Some("achilles"), true)), Some("exit:3")),
            (3, "local", Some(call(None, false)), Some("unknown")),
            (4, "local", Some(call(None, false)), None),
            (5, "local", None, Some("value")),
            (6, "subject:https://a.example u1", Some(call(Some("achilles"), true)), Some("value")),
            (7, "grant:g-2", Some(call(Some("ours"), true)), Some("value")),
        ];
        for (number, caller, tool_call, outcome) in claims {
            let claim = Claim { caller: caller.to_owned(), tool_call, ..claim(me, number) };
            store.claim(claim).await.unwrap();
            if let Some(outcome) = outcome {
                let stage = if outcome == "unknown" { Stage::Unknown } else { Stage::Settled };
                let at = UnixMs(created(number).0 + 7);
                store
                    .finish(Finish { outcome: outcome.to_owned(), at, ..finish(me, number, stage) })
                    .await
                    .unwrap();
            }
        }
    });
    let proof = |number| format!("0x{}", finish(instance(0), number, Stage::Settled).content);
    let row = |number: u16, time: &str, caller: &str, dry_run: &str, status: &str, iam: &str| {
        let proof = proof(number);
        [&run_id(number).to_string(), time, caller, "python", dry_run, status, iam, &proof, "7", "free", "v1"]
            .map(str::to_owned)
            .to_vec()
    };
    let expected = vec![
        row(1, "2023-11-14T22:13:20.008Z", "claimed:achilles", "1", "completed", "0"),
        row(2, "2023-11-14T22:13:20.009Z", "grant:g-1", "0", "failed", "1"),
        row(3, "2023-11-14T22:13:20.010Z", "local", "1", "failed", "0"),
        row(6, "2023-11-14T22:13:20.013Z", "subject:https://a.example u1", "0", "completed", "1"),
        row(7, "2023-11-14T22:13:20.014Z", "ours", "1", "completed", "1"),
    ];
    assert_eq!(call_log(&folder), expected);
}

#[test]
fn the_log_of_tool_calls_has_those_too_that_were_turned_away_and_each_run_once() {
    let folder = Folder::new();
    let line = |decision, surface: &str, effect, run| AuditLine {
        at: UnixMs(1_000),
        tenant: "default".to_owned(),
        caller: "grant:g1".to_owned(),
        surface: surface.to_owned(),
        action: "http_get".to_owned(),
        effect,
        run,
        has_nonce: false,
        decision,
        room: "authorise".to_owned(),
        rule: "/tools/http_get".to_owned(),
        outcome: None,
        iam: None,
        argument_keys: Vec::new(),
        args_digest: None,
        policy: None,
        rooms: Vec::new(),
        total_us: 7_900,
        omitted: 0,
    };
    block_on(async {
        let store = folder.open();
        let tool_call = Some(ToolCall { agent: None, alias: None, iam_approved: false });
        store.claim(Claim { tool_call, ..claim(store.instance(), 1) }).await.unwrap();
        let lines = vec![
            line(AuditDecision::Refused, "secure-exec", Effect::Live, None),
            line(AuditDecision::Failed, "simulate", Effect::DryRun, None),
            // Of another surface; a run; and one that is in the record.
            line(AuditDecision::Refused, "execute", Effect::Live, None),
            line(AuditDecision::Allowed, "secure-exec", Effect::Live, Some(run_id(9))),
            line(AuditDecision::Failed, "secure-exec", Effect::Live, Some(run_id(1))),
        ];
        store.note_audit(lines, Vec::new()).await.unwrap();
    });
    let sql = "SELECT id, timestamp, caller_agent_id, tool_name, dry_run, status, iam_approved, proof_hash IS NULL, \
        latency_ms FROM secureexec_calls ORDER BY id";
    let raw = folder.raw();
    let mut rows = raw.prepare(sql).unwrap();
    let told =
        |row: &rusqlite::Row<'_>| -> rusqlite::Result<(String, String, String, bool, String, bool, i64)> {
            assert_eq!((row.get::<_, String>(3)?, row.get::<_, bool>(7)?), ("http_get".to_owned(), true));
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(8)?))
        };
    let rows: Vec<_> = rows.query_map([], told).unwrap().map(Result::unwrap).collect();
    let row = |id: &str, dry_run, status: &str| {
        let text = str::to_owned;
        (text(id), text("1970-01-01T00:00:01.000Z"), text("grant:g1"), dry_run, text(status), false, 7)
    };
    assert_eq!(rows, [row("audit-1", false, "refused"), row("audit-2", true, "stub")]);
}
