//! Any order of calls gives what the model gives.

use execgate_model::{Digest, InstanceId, RunId, Stage, UnixMs};
use execgate_store::{
    Change, Claim, Finish, Leaf, LeafKind, NewPayment, Page, Resolution, SettlementWord, Settling, Store,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::runs::{Backend, approval, block_on, change, claim, digest, finish, payment, run_id, settling};

/// Walks; each is one record.
const CASES: u32 = 48;

/// Calls on one walk.
const STEPS: usize = 40;

/// Which instance a call is made for.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Mine,
    Foreign,
}

/// A call. Runs are named by the number of the step that claims them.
#[derive(Debug, Clone)]
enum Step {
    Claim {
        whose: Whose,
        nonce: Option<u16>,
        payment: Option<u16>,
        approval: Option<u16>,
    },
    Undo {
        run: u16,
        whose: Whose,
    },
    Finish {
        run: u16,
        whose: Whose,
        stage: Stage,
        charged: bool,
    },
    Settle {
        run: u16,
        from: Option<SettlementWord>,
        to: SettlementWord,
        reference: Option<String>,
        leaf: bool,
    },
    Repay {
        run: u16,
        payment: u16,
    },
    Resolve {
        run: u16,
    },
    Pause {
        paused: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = || 0..16_u16;
    let whose = || prop_oneof![4 => Just(Whose::Mine), 1 => Just(Whose::Foreign)];
    let ends = select(vec![Stage::Witness, Stage::Witness, Stage::Settled, Stage::Unknown]);
    let words = select(SettlementWord::ALL.to_vec());
    let step = prop_oneof![
        6 => (whose(), option::of(0..8_u16), option::of(0..6_u16), option::of(0..4_u16)).prop_map(
            |(whose, nonce, payment, approval)| Step::Claim { whose, nonce, payment, approval }),
        2 => (run(), whose()).prop_map(|(run, whose)| Step::Undo { run, whose }),
        5 => (run(), whose(), ends, any::<bool>()).prop_map(
            |(run, whose, stage, charged)| Step::Finish { run, whose, stage, charged }),
        6 => (run(), option::of(words.clone()), words, option::of("[a-f]{4}"), any::<bool>()).prop_map(
            |(run, from, to, reference, leaf)| Step::Settle { run, from, to, reference, leaf }),
        2 => (run(), 0..6_u16).prop_map(|(run, payment)| Step::Repay { run, payment }),
        2 => run().prop_map(|run| Step::Resolve { run }),
        1 => any::<bool>().prop_map(|paused| Step::Pause { paused }),
    ];
    vec(step, 1..STEPS)
}

/// Tries many walks, each on a record of its own.
pub(crate) fn any_walk_gives_what_the_model_gives<B: Backend>(make: impl Fn() -> B) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            block_on(walk(&make(), &steps));
            Ok(())
        })
        .unwrap();
}

async fn walk(backend: &impl Backend, steps: &[Step]) {
    let (store, mut model) = (backend.open(), Model::default());
    for (number, step) in (0..).zip(steps) {
        take(&*store, &mut model, number, step).await;
    }
    for number in 0..u16::try_from(STEPS).unwrap() {
        let run: RunId = run_id(number);
        assert_eq!(store.run(run).await.unwrap(), model.run(run));
        assert_eq!(backend.leaves(run), model.leaves(run));
        let (nonce, payment): (Digest, Digest) = (digest(1, number), digest(5, number));
        assert_eq!(store.by_nonce(nonce).await.unwrap(), model.by_nonce(nonce));
        assert_eq!(store.by_payment(payment).await.unwrap(), model.by_payment(payment));
    }
    let page = Page { before: None, limit: 1_000, stage: None };
    assert_eq!(store.list(page).await.unwrap(), model.list());
    assert_eq!(store.paused().await.unwrap(), model.paused);
    store.close().await;
}

async fn take(store: &dyn Store, model: &mut Model, number: u16, step: &Step) {
    let instance = |whose: &Whose| match whose {
        Whose::Mine => store.instance(),
        Whose::Foreign => InstanceId::from_entropy([99; 16]),
    };
    match step {
        Step::Claim { whose, nonce, payment: paid, approval: approved } => {
            let claim = Claim {
                nonce_key: nonce.map(|nonce| digest(1, nonce)),
                payment: paid.map(payment),
                approval: approved.map(approval),
                ..claim(instance(whose), number)
            };
            assert_eq!(store.claim(claim.clone()).await.unwrap(), model.claim(&claim));
        }
        Step::Undo { run, whose } => {
            let (run, instance) = (run_id(*run), instance(whose));
            assert_eq!(store.undo(run, instance).await.unwrap(), model.undo(run, instance));
        }
        Step::Finish { run, whose, stage, charged } => {
            let leaf = Leaf { kind: LeafKind::Final, digest: digest(9, number) };
            // Another leaf is that of another receipt.
            let receipt = format!("receipt {number}").into_bytes();
            let finish = Finish { leaf, receipt, charged: *charged, ..finish(instance(whose), *run, *stage) };
            assert_eq!(store.finish(finish.clone()).await.unwrap(), model.finish(&finish));
        }
        Step::Settle { run, from, to, reference, leaf } => {
            let leaf = leaf.then(|| Leaf { kind: LeafKind::Settlement, digest: digest(12, number) });
            let said =
                leaf.map(|leaf| Change { statement: b"said".to_vec(), salt: [3; 32], leaf, at: UnixMs(1) });
            let record = model.run(run_id(*run));
            // Mostly from where it stands, and else from anywhere.
            let from =
                from.or(record.as_ref().map(|record| record.settlement)).unwrap_or(SettlementWord::Held);
            let payment = record.and_then(|record| record.payment_key).unwrap_or(digest(5, 99));
            let settling =
                Settling { payment, reference: reference.clone(), said, ..settling(*run, from, *to) };
            assert_eq!(store.settle(settling.clone()).await.ok(), model.settle(&settling));
        }
        Step::Repay { run, payment: number } => {
            let payment = NewPayment { rail: "mpp".to_owned(), ..payment(*number) };
            let expected = model.repay(run_id(*run), store.instance(), &payment);
            assert_eq!(store.repay(run_id(*run), payment).await.unwrap(), expected);
        }
        Step::Resolve { run } => {
            let resolution = Resolution {
                signer: [0; 32],
                run: run_id(*run),
                note: format!("resolved in step {number}"),
                receipt: b"signed".to_vec(),
                leaf: Leaf { kind: LeafKind::Resolve, digest: digest(11, number) },
                at: UnixMs(1_800_000_000_000),
            };
            let expected = model.resolve(&resolution);
            assert_eq!(store.resolve(resolution, change(9)).await.unwrap(), expected);
        }
        Step::Pause { paused } => {
            model.paused = *paused;
            store.set_paused(*paused, change(1)).await.unwrap();
        }
    }
}
