//! The signature test: a real process over a real record kills itself with `kill -9` at each named point; another
//! one finds what it left.
//!
//! The process is this test binary, started with the name of the test and an order in its environment.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use execgate_flow::{CRASH_POINTS, PARKING_POINTS, Refusal};
use execgate_model::{Clock as _, RunId};
use execgate_receipt::approval::{ApprovalStatement, Decision};
use execgate_testkit::approval::{approver, signed, yes};
use execgate_testkit::{
    Ask, Death, History, Move, RAIL_POINTS, Walked, World, WorldBuilder, ask, books, post, temporary_folder,
};
use serde_json::json;

/// The point at which a started process is to die.
const POINT: &str = "EXECGATE_TEST_DIE_AT";

/// The folder of its record and journal.
const FOLDER: &str = "EXECGATE_TEST_FOLDER";

/// This test's name, as the test binary knows it.
const NAME: &str = "suite::kill::a_process_that_is_killed_at_any_point_breaks_no_promise";

/// What kills at a point, and what comes of it.
struct Case {
    point: &'static str,
    action: &'static str,
    /// Whether the first capture fails, so that a second payment comes.
    fails_first: bool,
}

fn cases() -> Vec<Case> {
    let case = |point: &&'static str| Case {
        point,
        action: if point.starts_with("rail-releas") { "panics" } else { "gives" },
        fails_first: matches!(*point, "repaid" | "late"),
    };
    CRASH_POINTS.iter().chain(RAIL_POINTS).map(case).collect()
}

fn world(folder: &Path) -> WorldBuilder {
    World::priced().in_folder(folder)
}

impl Case {
    /// Whether its payments are taken before the work.
    fn is_prepaid(&self) -> bool {
        matches!(self.point, "taken" | "prepaid")
    }

    fn asked(&self, claim: &str) -> Ask {
        let flow = if self.is_prepaid() { "^" } else { "" };
        ask(self.action).mark("n").nonce("n").pays(&format!("{claim}{flow}"))
    }

    /// What the process does that is to die. It returns only if it does not.
    fn die(&self, folder: &Path) {
        let world = world(folder).seed(1).open();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if self.fails_first {
                world.bank().next_capture("p", Move::Failed);
                assert_eq!(world.walk(self.asked("p")).await.rule(), "done-unpaid");
            }
            world.die_at(self.point, Death::Real);
            if self.point == "late" {
                assert!(world.bank().move_late().is_some());
                world.clock().advance_ms(60_000);
                world.reconcile().await;
            }
            world.walk(self.asked(if self.fails_first { "q" } else { "p" })).await.passage();
        });
    }

    /// Starts a process, sees it die, and takes over.
    async fn check(&self) {
        let folder = temporary_folder();
        #[expect(clippy::disallowed_methods, reason = "it starts itself, to be killed")]
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([NAME, "--exact", "--nocapture"]).env(POINT, self.point).env(FOLDER, folder.path());
        let status = child.stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{}: {status}", self.point);

        let mut world = world(folder.path()).seed(2).open();
        world.sweep().await.unwrap();
        let mut history = History::default();
        for claim in ["r", "s"] {
            assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{}", self.point);
            history.heard("n", &world.walk(self.asked(claim)).await.passage());
        }
        world.restart().await;
        assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{}", self.point);
        world.bank().end_windows();
        world.reconcile().await;
        assert_eq!(books(&world).await, Vec::<String>::new(), "{}", self.point);
        assert_eq!(world.runs().await.len(), 1, "{}", self.point);
        let started = usize::from(!matches!(self.point, "claimed" | "prepaid"));
        assert_eq!(
            world.journal().starts(),
            started,
            "{}: the claim is durable before the start",
            self.point
        );
    }
}

#[test]
fn a_process_that_is_killed_at_any_point_breaks_no_promise() {
    #[expect(clippy::disallowed_methods, reason = "this is how a test binary gives itself an order")]
    let order = env::var_os(POINT).zip(env::var_os(FOLDER));
    if let Some((point, folder)) = order {
        let case = cases().into_iter().find(|case| point == case.point).unwrap();
        return case.die(&PathBuf::from(folder));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for case in cases() {
        runtime.block_on(case.check());
    }
}

/// The name of the test of parked runs.
const PARKING: &str =
    "suite::kill::a_process_that_is_killed_while_a_run_waits_or_leaves_that_breaks_no_promise";

/// Where it is to die.
fn parking_points() -> impl Iterator<Item = &'static str> {
    PARKING_POINTS.iter().copied().chain(["claimed", "ran", "sealed", "recorded"])
}

/// A world in which people are asked, over the record of a folder.
fn asking(folder: &Path, seed: u64) -> World {
    let rules =
        json!({"version": "1", "default": "allow", "tools": {"gives": {"require_approval": {"ttl_s": 600}}}});
    World::builder().policy(rules).approvers([approver("anna", 1)]).in_folder(folder).seed(seed).open()
}

fn waiting() -> Ask {
    ask("gives").mark("n").nonce("n")
}

fn parked(walked: Walked) -> RunId {
    let Walked::Refused(Refusal::Parked(waiting)) = walked else { unreachable!("{walked:?}") };
    waiting.run
}

/// Hands in what Anna says: no where the death is that of an end without a start.
async fn decide(world: &World, run: RunId, point: &str) {
    let decision = if point == "refused" { Decision::Deny } else { Decision::Approve };
    let said = yes("anna", 0, &waiting(), world.clock().now());
    let artifact = signed(&ApprovalStatement { approval_id: run.into(), decision, ..said }, 1);
    let body = json!({ "artifact": artifact }).to_string();
    assert_eq!(world.http(post(&format!("/approvals/{run}"), body)).await.status, 200);
}

/// What the process does that is to die, and returns from only if it does not.
fn die_parked(point: &'static str, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = asking(folder, 1);
        if point == "parked" {
            world.die_at(point, Death::Real);
        }
        let run = parked(world.walk(waiting()).await);
        world.die_at(point, Death::Real);
        decide(&world, run, point).await;
        world.walk(waiting()).await.passage();
    });
}

/// Starts a process, sees it die, and takes over.
async fn check_parked(point: &'static str) {
    let folder = temporary_folder();
    #[expect(clippy::disallowed_methods, reason = "it starts itself, to be killed")]
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([PARKING, "--exact", "--nocapture"]).env(POINT, point).env(FOLDER, folder.path());
    let status = child.stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{point}: {status}");

    let mut world = asking(folder.path(), 2);
    world.sweep().await.unwrap();
    if point == "parked" {
        let run = parked(world.walk(waiting()).await);
        decide(&world, run, point).await;
    }
    world.tend().await;
    let mut history = History::default();
    for _ in 0..2 {
        let passage = world.walk(waiting()).await.passage();
        let expected = match point {
            "refused" => ("denied", 0),
            "claimed" => ("unknown", 0),
            "ran" | "sealed" => ("unknown", 1),
            _ => ("value", 1),
        };
        assert_eq!((passage.outcome.as_str(), world.journal().starts()), expected, "{point}");
        history.heard("n", &passage);
        assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{point}");
        world.restart().await;
        world.tend().await;
    }
    assert_eq!(world.runs().await.len(), 1, "{point}");
}

#[test]
fn a_process_that_is_killed_while_a_run_waits_or_leaves_that_breaks_no_promise() {
    #[expect(clippy::disallowed_methods, reason = "this is how a test binary gives itself an order")]
    let order = env::var_os(POINT).zip(env::var_os(FOLDER));
    if let Some((point, folder)) = order {
        let point = parking_points().find(|known| point == *known).unwrap();
        return die_parked(point, &PathBuf::from(folder));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for point in parking_points() {
        runtime.block_on(check_parked(point));
    }
}
