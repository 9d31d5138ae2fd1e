//! Death in process: at every named point of the rooms and of the rail, and again at every point of the recovery.
//!
//! `kill` does the same with real processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use execgate_flow::{CRASH_POINTS, PARKING_POINTS, Refusal};
use execgate_model::{Offer, Proposal, RunOptions, Surface};
use execgate_testkit::{
    Ask, Bank, Death, History, Look, Move, RAIL_POINTS, Walked, World, ask, books, execute, keyed, post,
};
use serde_json::json;

/// What the world is like in which a process dies.
struct Scene {
    name: &'static str,
    action: &'static str,
    /// What payments end with: `^` where they are taken before the work.
    flow: &'static str,
    bank: fn(&Bank),
}

/// Scenes by how the work ends.
const WORK: &[Scene] = &[
    Scene { name: "a value", action: "gives", flow: "", bank: |_| {} },
    Scene { name: "an exception", action: "raises", flow: "", bank: |_| {} },
    Scene { name: "a panic", action: "panics", flow: "", bank: |_| {} },
    Scene { name: "a result without digest", action: "inexact", flow: "", bank: |_| {} },
    Scene { name: "a start that fails", action: "unstartable", flow: "", bank: |_| {} },
];

/// Scenes by how the bank behaves.
const PAYMENTS: &[Scene] = &[
    Scene {
        name: "a refused payment",
        action: "gives",
        flow: "",
        bank: |bank| bank.next_look("p", Look::Refused),
    },
    Scene {
        name: "a capture that fails",
        action: "gives",
        flow: "",
        bank: |bank| bank.next_capture("p", Move::Failed),
    },
    Scene {
        name: "a capture that is not heard of",
        action: "gives",
        flow: "",
        bank: |bank| bank.next_capture("p", Move::DoneUnheard),
    },
    Scene {
        name: "a capture that is lost",
        action: "gives",
        flow: "",
        bank: |bank| bank.next_capture("p", Move::LostUnheard),
    },
];

/// Scenes of payments that are taken before the work.
const UPFRONT: &[Scene] = &[
    Scene { name: "a value, prepaid", action: "gives", flow: "^", bank: |_| {} },
    Scene { name: "a panic, prepaid", action: "panics", flow: "^", bank: |_| {} },
    Scene { name: "a start that fails, prepaid", action: "unstartable", flow: "^", bank: |_| {} },
    Scene {
        name: "a capture that fails before the work",
        action: "gives",
        flow: "^",
        bank: |bank| bank.next_capture("p^", Move::Failed),
    },
    Scene {
        name: "a capture that is not heard of before the work",
        action: "gives",
        flow: "^",
        bank: |bank| bank.next_capture("p^", Move::DoneUnheard),
    },
    Scene {
        name: "a capture that is lost before the work",
        action: "gives",
        flow: "^",
        bank: |bank| bank.next_capture("p^", Move::LostUnheard),
    },
];

fn points() -> impl Iterator<Item = &'static str> {
    CRASH_POINTS.iter().chain(RAIL_POINTS).copied()
}

impl Scene {
    fn asked(&self, claim: &str) -> Ask {
        ask(self.action).mark("n").nonce("n").pays(&format!("{claim}{}", self.flow))
    }

    /// One history: a first death at `first`, a second one of the recovery at `second`, then peace.
    async fn play(&self, first: &'static str, second: Option<&'static str>) -> BTreeSet<&'static str> {
        let mut world = World::priced().open();
        world.bank().forgetful(true);
        (self.bank)(world.bank());
        let mut history = History::default();
        let mut reached = BTreeSet::new();
        world.die_at(first, Death::Simulated);
        for claim in ["p", "q"] {
            if let Walked::Passed(passage) = world.walk(self.asked(claim)).await {
                history.heard("n", &passage);
            }
        }
        let is_late = world.bank().move_late().is_some();
        if is_late {
            world.clock().advance_ms(60_000);
            world.reconcile().await;
        }
        reached.extend(world.points());
        world.reopen().await;
        if let Some(second) = second {
            world.die_at(second, Death::Simulated);
            world.sweep().await;
            reached.extend(world.points());
        }
        world.bank().forget_script();
        world.restart().await;
        if is_late {
            world.clock().advance_ms(60_000);
            world.reconcile().await;
        }
        let scene = format!("{}, dead at {first} and {second:?}", self.name);
        assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{scene}");

        // Afterwards the nonce has an answer or can be had anew, and then it stays that answer.
        for claim in ["r", "s"] {
            match world.walk(self.asked(claim)).await {
                Walked::Passed(passage) => history.heard("n", &passage),
                Walked::Refused(
                    Refusal::NotStarted(_) | Refusal::NotStartedPaid(_) | Refusal::SettlementPending { .. },
                ) => {}
                walked @ (Walked::Refused(_) | Walked::Died) => panic!("{scene}: {walked:?}"),
            }
            assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{scene}");
        }
        world.restart().await;
        assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{scene}");
        world.bank().end_windows();
        world.clock().advance_ms(3_600_000);
        world.reconcile().await;
        assert_eq!(books(&world).await, Vec::<String>::new(), "{scene}");
        assert_eq!(history.faults(&world).await, Vec::<String>::new(), "{scene}");
        reached
    }
}

#[tokio::test]
async fn a_death_at_any_point_breaks_no_promise() {
    let mut reached = BTreeSet::new();
    for scene in WORK.iter().chain(PAYMENTS).chain(UPFRONT) {
        for first in points() {
            reached.extend(scene.play(first, None).await);
        }
    }
    // A point that no test reaches proves nothing.
    assert_eq!(reached, points().collect());
}

/// Points that recovery never comes to: it claims, starts and redeems nothing.
const NOT_IN_RECOVERY: [&str; 6] = ["claimed", "taken", "prepaid", "ran", "repaid", "late"];

/// Dies at each point that a scene comes to, and again at each point of the recovery.
async fn die_twice(scenes: &[Scene]) {
    let mut reached = BTreeSet::new();
    for scene in scenes {
        for first in points() {
            if !scene.play(first, None).await.contains(first) {
                continue;
            }
            for second in points().filter(|point| !NOT_IN_RECOVERY.contains(point)) {
                reached.extend(scene.play(first, Some(second)).await);
            }
        }
    }
    let elsewhere = ["repaid", "taken", "prepaid", "late"];
    for point in points().filter(|point| !point.starts_with("rail-releas") && !elsewhere.contains(point)) {
        assert!(reached.contains(point), "{point} is not reached");
    }
}

#[tokio::test]
async fn a_second_death_during_recovery_of_work_breaks_no_promise() {
    die_twice(WORK).await;
}

#[tokio::test]
async fn a_second_death_during_recovery_of_payments_breaks_no_promise() {
    die_twice(PAYMENTS).await;
}

#[tokio::test]
async fn a_second_death_during_recovery_of_prepaid_work_breaks_no_promise() {
    for scene in UPFRONT {
        for first in points() {
            if !scene.play(first, None).await.contains(first) {
                continue;
            }
            for second in points() {
                scene.play(first, Some(second)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_recovery_ends_is_told_in_the_words_of_its_surface() {
    let mut world = World::free();
    let options = RunOptions { offer: Some(Offer::CodeRun), ..RunOptions::default() };
    let asked = ask("python").payload(json!({"code": "dies"})).nonce("k").into();
    let asked = Proposal { surface: Surface::CodeRun, options, ..asked };
    assert!(world.walk(asked).await.died());
    world.restart().await;
    let told = world.http(keyed(post("/api/code-run", r#"{"code": "dies"}"#), "k")).await;
    let problem = told.json();
    assert_eq!((told.status, &problem["code"]), (409, &json!("run-outcome-unknown")));
    assert!(problem["error"].is_string() && problem["error"] == problem["detail"], "{problem}");

    assert!(world.walk(ask("dies").nonce("n")).await.died());
    world.restart().await;
    let told = world.http(execute(&json!({"action": "dies", "nonce": "n"}))).await;
    assert_eq!((told.status, told.json().get("error")), (409, None));
}

/// Every `….reached("…")` in the sources of a crate.
fn points_in(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(points_in(&path));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split(".reached(").skip(1);
            found.extend(calls.map(|call| {
                let name = call.strip_prefix('"').and_then(|call| call.split_once('"'));
                name.unwrap_or_else(|| panic!("a crash point has no name in {}", path.display())).0.to_owned()
            }));
        }
    }
    found
}

#[test]
fn every_crash_point_in_the_rooms_is_listed_and_every_listed_one_is_there() {
    let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flow/src");
    let all = CRASH_POINTS.iter().chain(PARKING_POINTS);
    let listed: BTreeSet<String> = all.map(|point| (*point).to_owned()).collect();
    assert_eq!(listed.len(), CRASH_POINTS.len() + PARKING_POINTS.len(), "a point is listed twice");
    assert_eq!(points_in(&rooms), listed);
}
