//! The signature test: a real process over a real record kills itself with `kill -9` at each named point; another
//! one finds what it left.
//!
//! The process is this test binary, started with the name of the test and an order in its environment.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use execgate_flow::CRASH_POINTS;
use execgate_testkit::{Ask, Death, History, Move, RAIL_POINTS, World, WorldBuilder, ask, temporary_folder};

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
        fails_first: *point == "repaid",
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
