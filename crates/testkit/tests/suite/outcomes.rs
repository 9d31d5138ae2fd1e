//! The table of CONTRACTS 3: for each outcome and each surface what is answered, what is recorded, what is charged.
//!
//! A new surface is a column here.

use axum::body::Body;
use axum::http::Request;
use execgate_model::{Offer, Proposal, Stage, Surface};
use execgate_store::SettlementWord;
use execgate_testkit::{Ask, Reply, Walked, World, ask, execute, keyed, post};
use serde_json::{Value, json};

/// What one surface answers.
#[derive(Debug)]
enum Says {
    /// 200 with a result, and no error in it.
    Result,
    /// 200 with a result whose error has this name.
    Error(&'static str),
    /// This status and exactly `{"error": …}`.
    Plain(u16, &'static str),
    /// This status and a problem with this code.
    Problem(u16, &'static str),
}

/// One line of the table.
struct Row {
    /// The scripted tool that ends so.
    action: &'static str,
    /// What `/execute` answers.
    execute: Says,
    /// What each code-run surface answers.
    code: Says,
    /// The recorded outcome; none where nothing is recorded.
    outcome: Option<&'static str>,
    /// Whether it is charged on `/execute`, and on the code-run surfaces.
    charged: [bool; 2],
}

const fn done(action: &'static str, error: &'static str, outcome: &'static str) -> Row {
    let (execute, code) = (Says::Error(error), Says::Error(error));
    Row { action, execute, code, outcome: Some(outcome), charged: [true, true] }
}

const fn unknown(action: &'static str) -> Row {
    Row {
        action,
        execute: Says::Problem(409, "run-outcome-unknown"),
        code: Says::Problem(409, "run-outcome-unknown"),
        outcome: Some("unknown"),
        charged: [false, false],
    }
}

const fn refused(action: &'static str, execute: Says, code: Says) -> Row {
    Row { action, execute, code, outcome: None, charged: [false, false] }
}

const TABLE: &[Row] = &[
    Row {
        action: "gives",
        execute: Says::Result,
        code: Says::Result,
        outcome: Some("value"),
        charged: [true, true],
    },
    done("raises", "ValueError", "exception"),
    done("exits", "SystemExit", "exit:3"),
    done("out-of-memory", "OutOfMemory", "limit:OutOfMemory"),
    done("killed", "Killed", "limit:Killed"),
    done("process-limit", "ProcessLimit", "limit:ProcessLimit"),
    done("disk-full", "DiskFull", "limit:DiskFull"),
    done("output-limit", "OutputLimit", "limit:OutputLimit"),
    Row {
        action: "times-out",
        execute: Says::Error("Timeout"),
        code: Says::Plain(504, "Execution timed out after 10s"),
        outcome: Some("timeout"),
        charged: [true, false],
    },
    unknown("panics"),
    unknown("loses-its-end"),
    unknown("inexact"),
    refused(
        "unstartable",
        Says::Problem(503, "not-started"),
        Says::Plain(
            502,
            "Sandbox creation failed: the run could not be started; nothing is charged, try again",
        ),
    ),
    refused(
        "full",
        Says::Problem(503, "no-slot"),
        Says::Plain(503, "code execution is at capacity - retry shortly"),
    ),
    refused("unavailable", Says::Problem(503, "no-slot"), Says::Plain(503, "it is switched off")),
    refused(
        "nowhere",
        Says::Problem(400, "unknown-action"),
        Says::Plain(400, r#"Unsupported language "nowhere". Supported: javascript, python"#),
    ),
    refused("denied", Says::Problem(403, "denied"), Says::Problem(403, "denied")),
];

/// The surfaces, each a column.
const SURFACES: [Option<(Offer, &str)>; 4] = [
    None,
    Some((Offer::CodeRun, "/api/code-run")),
    Some((Offer::CodeRunPro, "/api/code-run-pro")),
    Some((Offer::CodeRunBasic, "/api/code/run")),
];

impl Row {
    fn says(&self, offer: Option<Offer>) -> &Says {
        if offer.is_none() { &self.execute } else { &self.code }
    }

    fn is_charged(&self, offer: Option<Offer>) -> bool {
        self.charged[usize::from(offer.is_some())]
    }

    /// The language whose call ends so; the allow-list of the table leaves out javascript.
    fn language(&self) -> &'static str {
        match self.action {
            "nowhere" => "nowhere",
            "denied" => "javascript",
            _ => "python",
        }
    }

    fn request(&self, route: Option<&str>) -> Request<Body> {
        let Some(route) = route else {
            return execute(&json!({"action": self.action, "nonce": self.action}));
        };
        let body = json!({"language": self.language(), "code": self.action});
        keyed(post(route, body.to_string()), self.action)
    }

    /// The same with a payment, which no door takes yet.
    fn paid(&self, offer: Option<Offer>) -> Proposal {
        let pays = |ask: Ask| -> Proposal { ask.nonce(self.action).pays(self.action).into() };
        let Some(offer) = offer else { return pays(ask(self.action)) };
        let mut proposal = pays(ask(self.language()).payload(json!({"code": self.action})));
        proposal.surface = Surface::CodeRun;
        proposal.options.offer = Some(offer);
        proposal
    }
}

/// Every action of the table but `denied`, and the language that runs them.
fn allowed() -> Vec<&'static str> {
    let actions = TABLE.iter().map(|row| row.action).filter(|action| *action != "denied");
    actions.chain(["python"]).collect()
}

fn assert_says(reply: &Reply, says: &Says, in_result: bool, case: &str) {
    let body = reply.json();
    let result = if in_result { &body["result"] } else { &body };
    let (status, kind) = match says {
        Says::Result => {
            assert_eq!(result["error"], Value::Null, "{case}");
            (200, "application/json")
        }
        Says::Error(name) => {
            assert_eq!(result["error"]["name"], *name, "{case}");
            (200, "application/json")
        }
        Says::Plain(status, error) => {
            assert_eq!(body, json!({ "error": error }), "{case}");
            (*status, "application/json")
        }
        Says::Problem(status, code) => {
            assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{case}");
            assert_eq!(body["error"].is_string(), !in_result, "{case}: {body}");
            (*status, "application/problem+json")
        }
    };
    assert_eq!((reply.status, reply.header("content-type")), (status, Some(kind)), "{case}");
    let retry = matches!(status, 502 | 503).then_some("1");
    assert_eq!(reply.header("retry-after"), retry, "{case}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{case}");
}

#[tokio::test]
async fn each_outcome_has_its_status_and_words_on_each_surface() {
    for surface in SURFACES {
        let mut world = World::free();
        world.restart_allowing(Some(&allowed())).await;
        let (offer, route) = surface.unzip();
        for row in TABLE {
            let case = format!("{} on {route:?}", row.action);
            let recorded = world.runs().await.len();
            let reply = world.http(row.request(route)).await;
            assert_says(&reply, row.says(offer), route.is_none(), &case);
            let Some(outcome) = row.outcome else {
                assert_eq!(reply.header("execgate-run"), None, "{case}");
                assert_eq!(reply.header("execgate-receipt"), None, "{case}");
                assert_eq!(world.runs().await.len(), recorded, "{case}");
                continue;
            };
            let record = world.record(reply.header("execgate-run").unwrap().parse().unwrap()).await;
            assert_eq!(record.outcome.as_deref(), Some(outcome), "{case}");
            let receipt = reply.header("execgate-receipt").map(str::to_owned);
            assert_eq!(receipt, record.content.map(|digest| digest.to_hex()), "{case}");
            assert_eq!(record.answer.unwrap().body, reply.body, "{case}");
        }
    }
}

#[tokio::test]
async fn each_outcome_is_charged_on_each_surface_as_the_table_says() {
    for surface in SURFACES {
        let mut world = World::priced().prices(["python", "javascript"], "0.05").open();
        world.restart_allowing(Some(&allowed())).await;
        let (offer, route) = surface.unzip();
        for row in TABLE {
            let case = format!("{} on {route:?}", row.action);
            let walked = world.walk(row.paid(offer)).await;
            let charged = row.is_charged(offer);
            assert_eq!(world.journal().is_captured(row.action), charged, "{case}");
            let Some(outcome) = row.outcome else {
                assert!(matches!(walked, Walked::Refused(_)), "{case}");
                continue;
            };
            let record = world.record(walked.passage().run).await;
            assert_eq!(record.outcome.as_deref(), Some(outcome), "{case}");
            let word = if charged { SettlementWord::Captured } else { SettlementWord::Released };
            let stage = if outcome == "unknown" { Stage::Unknown } else { Stage::Settled };
            assert_eq!((record.stage, record.settlement), (stage, word), "{case}");
            assert_eq!(world.journal().is_released(row.action), !charged, "{case}");
        }
    }
}
