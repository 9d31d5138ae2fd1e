//! Witnesses that are asked at once, and what one says while the log is being named anew.

use core::error::Error;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use execgate_flow::log::{
    Log, LogGate, LogKeys, LogParts, LogSigners, WitnessAnswer, WitnessLine, Witnesses,
};
use execgate_model::{BoxFuture, Digest};
use execgate_receipt::{CosignerKey, SignedNote, SigningKey, Submission, VerifierKey, WitnessRefusal};
use execgate_testkit::{ManualClock, Shelf, World, ask, change};
use tokio::sync::{Barrier, Notify};

/// How many entries of which root a witness has cosigned, by the name of the log.
type Cosigned = BTreeMap<String, (u64, Digest)>;

/// A witness that judges as ours does, beside this process.
struct Scripted {
    key: CosignerKey,
    logs: Mutex<Vec<VerifierKey>>,
    last: Mutex<Cosigned>,
    /// Whom it waits for before it answers a checkpoint with entries.
    meets: Option<Arc<Barrier>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(number: u8, meets: Option<Arc<Barrier>>) -> Arc<Self> {
        let name = format!("witness.example/w{number}").parse().unwrap();
        Arc::new(Self {
            key: CosignerKey::new(name, SigningKey::from_seed(&[number; 32])),
            logs: Mutex::default(),
            last: Mutex::default(),
            meets,
            asked: AtomicUsize::new(0),
        })
    }

    fn judge(&self, request: &str) -> WitnessAnswer {
        let (logs, mut last) = (self.logs.lock().unwrap().clone(), self.last.lock().unwrap());
        match Submission::judge(request.as_bytes(), &logs, |origin| last.get(origin).copied()) {
            Ok(Submission { head, text, .. }) => {
                last.insert(head.origin.clone(), (head.size, head.root));
                WitnessAnswer::Cosigned(self.key.cosign(&text, 1_000).unwrap().to_string() + "\n")
            }
            Err(WitnessRefusal::Stale { size }) => WitnessAnswer::Stale(size),
            Err(WitnessRefusal::Forked { .. }) => WitnessAnswer::Refused(409),
            Err(refusal) => unreachable!("{refusal}: {request}"),
        }
    }
}

impl WitnessLine for Scripted {
    fn key(&self) -> &VerifierKey {
        self.key.verifier()
    }

    fn submit(&self, request: String) -> BoxFuture<'_, Result<WitnessAnswer, Box<dyn Error + Send + Sync>>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.judge(&request);
            if let (Some(meets), WitnessAnswer::Cosigned(_)) = (&self.meets, &answer) {
                meets.wait().await;
            }
            Ok(answer)
        })
    }
}

fn log_of(world: &World, witnesses: Vec<Arc<dyn WitnessLine>>, required: usize) -> Arc<Log> {
    let signers = LogSigners::new(Arc::new(SigningKey::from_seed(&[77; 32])), Vec::new());
    Arc::new(Log::new(LogParts {
        store: world.store(),
        keys: Arc::new(LogKeys::new(signers)),
        origin: "log.example/cosigned".parse().unwrap(),
        outside: Arc::new(Shelf::default()),
        clock: Arc::new(ManualClock::default()),
        gate: LogGate::default(),
        witnesses,
        required,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_are_asked_at_once_and_what_enough_have_cosigned_stays() {
    let world = World::free();
    // Asked one behind the other, the first would wait for ever.
    let meets = Arc::new(Barrier::new(2));
    let both = [1, 2].map(|number| Scripted::new(number, Some(Arc::clone(&meets))));
    let lines = both.iter().map(|one| Arc::clone(one) as Arc<dyn WitnessLine>).collect();
    let log = log_of(&world, lines, 2);
    log.open().await.unwrap();
    log.sequence().await.unwrap();
    let key = log.key().await.unwrap().unwrap();
    for one in &both {
        one.logs.lock().unwrap().push(key.clone());
    }
    let known: Vec<_> = both.iter().map(|one| one.key.verifier().clone()).collect();
    let tending = tokio::spawn(Arc::new(Witnesses::new(Arc::clone(&log))).tend());
    let mut proven = Vec::new();
    for round in 0..3 {
        let run = world.walk(ask("gives").nonce(&format!("n{round}"))).await.passage().run;
        log.sequence().await.unwrap();
        proven.push(run);
        // Until the newest has a proof, those before it keep theirs.
        while log.proof(run).await.unwrap().is_none() {
            for before in &proven[..round] {
                assert!(log.proof(*before).await.unwrap().is_some(), "a proof that was there is gone");
            }
            tokio::task::yield_now().await;
        }
        let note: SignedNote = log.proof(run).await.unwrap().unwrap().checkpoint;
        for key in &known {
            let (_, attested) = note.verify(core::slice::from_ref(key)).unwrap();
            assert_eq!(attested.len(), 1);
        }
    }
    assert_eq!(log.fault(), None);
    tending.abort();
}

/// A witness that knows more than it is shown, and says so once it is let go.
struct Accuser {
    key: CosignerKey,
    asked: Notify,
    go: Notify,
}

impl WitnessLine for Accuser {
    fn key(&self) -> &VerifierKey {
        self.key.verifier()
    }

    fn submit(&self, request: String) -> BoxFuture<'_, Result<WitnessAnswer, Box<dyn Error + Send + Sync>>> {
        Box::pin(async move {
            if request.starts_with("old 0\n") {
                return Ok(WitnessAnswer::Stale(1));
            }
            self.asked.notify_one();
            self.go.notified().await;
            Ok(WitnessAnswer::Refused(409))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_witness_has_seen_before_the_new_name_says_nothing_against_it() {
    for renamed in [false, true] {
        let world = World::free();
        world.walk(ask("gives")).await.passage();
        let name = "witness.example/a".parse().unwrap();
        let key = CosignerKey::new(name, SigningKey::from_seed(&[3; 32]));
        let accuser = Arc::new(Accuser { key, asked: Notify::new(), go: Notify::new() });
        let log = log_of(&world, vec![Arc::clone(&accuser) as Arc<dyn WitnessLine>], 0);
        log.open().await.unwrap();
        log.sequence().await.unwrap();
        let witnesses = Arc::new(Witnesses::new(Arc::clone(&log)));
        let comparing = tokio::spawn(async move { witnesses.compare().await });
        accuser.asked.notified().await;
        if renamed {
            assert!(log.rename(1, "log.example/anew", change()).await.unwrap());
        }
        accuser.go.notify_one();
        comparing.await.unwrap().unwrap();
        assert_eq!(log.fault().is_none(), renamed, "{:?}", log.fault());
    }
}
