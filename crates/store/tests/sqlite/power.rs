//! A power cut: whatever was answered by then is there, whatever else of the files has arrived or not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use execgate_model::Stage;
use execgate_powercut::{Disk, watch};
use execgate_store::{Claimed, Finished, Store};
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::folder::{Folder, instance, open};
use crate::contract::{Backend, block_on, claim, finish, run_id};

/// Runs of one history, and how many go on at once.
const RUNS: u16 = 300;
const AT_ONCE: u16 = 12;

/// Cuts in one history. Each is looked at with several kinds of luck.
const CUTS: usize = 20;

/// Of a hundred sectors that were not synced, so many have arrived.
const LUCKS: [u64; 4] = [0, 30, 70, 100];

/// What was answered.
#[derive(Debug, Clone, Default)]
struct Answered {
    claimed: BTreeSet<u16>,
    finished: BTreeSet<u16>,
}

impl Answered {
    fn sum(&self) -> usize {
        self.claimed.len() + self.finished.len()
    }
}

/// A stream of numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn percent(&mut self, times: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % 100 < times
    }
}

async fn live(store: Arc<dyn Store>, answered: Arc<Mutex<Answered>>, first: u16) {
    for number in (first..RUNS).step_by(usize::from(AT_ONCE)) {
        assert_eq!(store.claim(claim(store.instance(), number)).await.unwrap(), Claimed::Fresh);
        answered.lock().unwrap().claimed.insert(number);
        let end = finish(store.instance(), number, Stage::Settled);
        assert_eq!(store.finish(end).await.unwrap(), Finished::Recorded);
        answered.lock().unwrap().finished.insert(number);
    }
}

/// What a store finds in the files of a cut.
async fn judge(folder: &Path, answered: &Answered, what: &str) {
    let store = open(folder, instance(900)).unwrap();
    assert_eq!(store.examiner().file().await.unwrap(), Vec::<String>::new(), "{what}");
    for number in &answered.claimed {
        let run = store.run(run_id(*number)).await.unwrap();
        let run = run.unwrap_or_else(|| panic!("{what}: claim {number} was answered and is lost"));
        let has_end = run.receipt.is_some() && run.answer.is_some();
        assert!(has_end || !answered.finished.contains(number), "{what}: the end of {number} is lost");
        assert_eq!(has_end, run.stage == Stage::Settled, "{what}: {number} is half there");
    }
    store.close().await;
}

/// A cut: its luck, what was answered by then, and the files.
type Cut = (String, Answered, Vec<(PathBuf, Vec<u8>)>);

/// Cuts while runs are claimed and end.
async fn history(folder: &Folder, disk: &Disk) -> Vec<Cut> {
    let answered = Arc::new(Mutex::new(Answered::default()));
    let store = folder.open();
    let mut lanes = JoinSet::new();
    for first in 0..AT_ONCE {
        lanes.spawn(live(Arc::clone(&store), Arc::clone(&answered), first));
    }
    let every = usize::from(RUNS) * 2 / CUTS;
    let mut cuts = Vec::new();
    for cut in 0..CUTS {
        while answered.lock().unwrap().sum() < cut * every {
            tokio::task::yield_now().await;
        }
        for luck in LUCKS {
            // First what was answered: a cut is never judged by what came after it.
            let now = answered.lock().unwrap().clone();
            let mut dice = Dice(u64::try_from(cut).unwrap() << 8 | luck);
            cuts.push((format!("cut {cut}, luck {luck}"), now, disk.cut(|| dice.percent(luck))));
        }
    }
    lanes.join_all().await;
    cuts
}

#[test]
fn whatever_was_answered_survives_a_power_cut() {
    let folder = Folder::new();
    let disk = watch(folder.path());
    block_on(async {
        for (what, answered, files) in history(&folder, &disk).await {
            let found = tempfile::tempdir().unwrap();
            files.iter().for_each(|(name, bytes)| fs::write(found.path().join(name), bytes).unwrap());
            judge(found.path(), &answered, &what).await;
        }
    });
}

#[test]
fn a_record_that_is_not_flushed_is_lost_at_a_power_cut() {
    let folder = Folder::new();
    let disk = watch(folder.path());
    let raw = Connection::open(folder.file()).unwrap();
    raw.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    raw.execute_batch("CREATE TABLE kept (run); PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let kept = || {
        let found = tempfile::tempdir().unwrap();
        for (name, bytes) in disk.cut(|| false) {
            fs::write(found.path().join(name), bytes).unwrap();
        }
        let raw = Connection::open(found.path().join("record.db")).unwrap();
        raw.query_row("SELECT count(*) FROM kept", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    raw.execute_batch("PRAGMA synchronous = OFF; INSERT INTO kept VALUES (1)").unwrap();
    assert_eq!(kept(), 0);
    raw.execute_batch("PRAGMA synchronous = FULL; INSERT INTO kept VALUES (2)").unwrap();
    assert_eq!(kept(), 2);
}
