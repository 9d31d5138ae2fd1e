//! The table of CONTRACTS 3: for each outcome what `/execute` answers, what is recorded, and what is charged.
//!
//! A new surface is a column here.

use execgate_model::Stage;
use execgate_store::SettlementWord;
use execgate_testkit::{World, ask, execute};
use serde_json::json;

/// One line of the table.
struct Row {
    /// The scripted tool that ends so.
    action: &'static str,
    /// The status of `/execute`.
    status: u16,
    /// The name of the error in `result`, or the code of the problem.
    says: Option<&'static str>,
    /// The recorded outcome; none where nothing is recorded.
    outcome: Option<&'static str>,
    /// Whether it is charged.
    charged: bool,
}

const fn done(action: &'static str, says: Option<&'static str>, outcome: &'static str) -> Row {
    Row { action, status: 200, says, outcome: Some(outcome), charged: true }
}

const fn unknown(action: &'static str) -> Row {
    Row { action, status: 409, says: Some("run-outcome-unknown"), outcome: Some("unknown"), charged: false }
}

const fn refused(action: &'static str, status: u16, says: &'static str) -> Row {
    Row { action, status, says: Some(says), outcome: None, charged: false }
}

const TABLE: &[Row] = &[
    done("gives", None, "value"),
    done("raises", Some("ValueError"), "exception"),
    done("exits", Some("SystemExit"), "exit:3"),
    done("out-of-memory", Some("OutOfMemory"), "limit:OutOfMemory"),
    done("killed", Some("Killed"), "limit:Killed"),
    done("process-limit", Some("ProcessLimit"), "limit:ProcessLimit"),
    done("disk-full", Some("DiskFull"), "limit:DiskFull"),
    done("output-limit", Some("OutputLimit"), "limit:OutputLimit"),
    done("times-out", Some("Timeout"), "timeout"),
    unknown("panics"),
    unknown("loses-its-end"),
    unknown("inexact"),
    refused("unstartable", 503, "not-started"),
    refused("full", 503, "no-slot"),
    refused("unavailable", 503, "no-slot"),
    refused("nowhere", 400, "unknown-action"),
    refused("denied", 403, "denied"),
];

/// Every action of the table but `denied`.
fn allowed() -> Vec<&'static str> {
    TABLE.iter().map(|row| row.action).filter(|action| *action != "denied").collect()
}

#[tokio::test]
async fn each_outcome_has_its_status_and_words() {
    let mut world = World::free();
    world.restart_allowing(Some(&allowed())).await;
    for row in TABLE {
        let reply = world.http(execute(&json!({"action": row.action, "nonce": row.action}))).await;
        assert_eq!(reply.status, row.status, "{}", row.action);
        let body = reply.json();
        let says = if row.status == 200 { &body["result"]["error"]["name"] } else { &body["code"] };
        assert_eq!(says.as_str(), row.says, "{}", row.action);
        let type_of_it = if row.status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(reply.header("content-type"), Some(type_of_it), "{}", row.action);
        let retry = (row.status == 503).then_some("1");
        assert_eq!(reply.header("retry-after"), retry, "{}", row.action);
        let outcome = match reply.header("execgate-run") {
            Some(run) => world.record(run.parse().unwrap()).await.outcome,
            None => None,
        };
        assert_eq!(outcome.as_deref(), row.outcome, "{}", row.action);
    }
}

#[tokio::test]
async fn each_outcome_is_charged_as_the_table_says() {
    let mut world = World::priced().open();
    world.restart_allowing(Some(&allowed())).await;
    for row in TABLE {
        let walked = world.walk(ask(row.action).nonce(row.action).pays(row.action)).await;
        let taken = world.journal().is_captured(row.action);
        assert_eq!(taken, row.charged, "{}", row.action);
        let Some(outcome) = row.outcome else {
            assert!(matches!(walked, execgate_testkit::Walked::Refused(_)), "{}", row.action);
            continue;
        };
        let record = world.record(walked.passage().run).await;
        assert_eq!(record.outcome.as_deref(), Some(outcome), "{}", row.action);
        let (stage, word) = if row.charged {
            (Stage::Settled, SettlementWord::Captured)
        } else {
            (Stage::Unknown, SettlementWord::Released)
        };
        assert_eq!((record.stage, record.settlement), (stage, word), "{}", row.action);
        assert_eq!(world.journal().is_released(row.action), !row.charged, "{}", row.action);
    }
}
