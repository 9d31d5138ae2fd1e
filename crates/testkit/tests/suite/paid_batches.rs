//! Batches that cost something: one payment for all of it, taken before the first call starts and once, whatever dies.

use execgate_flow::{AfterFailure, Batch, BatchRefusal, Batched, Refusal};
use execgate_model::{Amount, Credential, Nonce, Proposal, Resource, Stage};
use execgate_payment::Flow;
use execgate_store::SettlementWord;
use execgate_testkit::{Death, Event, Move, SCRIPTED, World, ask};
use tokio::task::JoinSet;

/// What a batch of three costs in a world where every action costs five cents.
const PRICE: Amount = Amount::from_micros(150_000);

fn batch(names: &[&str], nonce: Option<&str>, claim: Option<&str>) -> Batch {
    let credential = claim.map(|claim| Credential {
        rail: SCRIPTED.to_owned(),
        bytes: claim.as_bytes().to_vec(),
        resource: Resource::default(),
    });
    let item = |(at, name): (usize, &&str)| Proposal::from(ask(name).mark(&at.to_string()).as_tool());
    Batch {
        nonce: nonce.map(|nonce| Nonce::new(nonce).unwrap()),
        items: names.iter().enumerate().map(item).collect(),
        after_failure: AfterFailure::GoOn,
        credential,
    }
}

/// A batch of the nonce `n`, by whoever has kept the secret of a session.
fn in_session(session: &str, names: &[&str], claim: Option<&str>) -> Batch {
    let mut batch = batch(names, Some("n"), claim);
    for item in &mut batch.items {
        item.caller = Proposal::from(ask("gives").by_session(session)).caller;
    }
    batch
}

async fn walked(world: &World, batch: Batch) -> Result<Batched, BatchRefusal> {
    world.gate().walk_batch(batch).await.expect("the process lives")
}

fn outcomes(batched: &Batched) -> Vec<&str> {
    batched
        .items
        .iter()
        .map(|item| item.as_ref().map_or_else(Refusal::rule, |passage| &passage.outcome))
        .collect()
}

fn rule(refused: Result<Batched, BatchRefusal>) -> (Option<usize>, String) {
    let refused = refused.unwrap_err();
    (refused.item, refused.refusal.rule().to_owned())
}

#[tokio::test]
async fn a_batch_is_paid_for_as_one_before_any_of_it_starts_and_is_answered_again_for_nothing() {
    for nonce in [Some("n"), None] {
        let world = World::priced().open();
        let names = ["gives", "raises", "gives"];
        let batched = walked(&world, batch(&names, nonce, Some("p^"))).await.unwrap();
        assert_eq!(outcomes(&batched), ["value", "exception", "value"]);
        let events = world.journal().events();
        let place = |wanted: fn(&Event) -> bool| events.iter().position(wanted).unwrap();
        let taken = place(|event| matches!(event, Event::Captured { .. }));
        assert!(taken < place(|event| matches!(event, Event::Started { .. })), "{events:?}");
        assert_eq!(world.store().sums().await.unwrap().captured_micros, PRICE.micros());
        let mut runs = world.runs().await;
        runs.reverse();
        let paid: Vec<_> = runs.iter().map(|run| (run.rail.as_str(), run.price, run.settlement)).collect();
        let covered = (SCRIPTED, Amount::ZERO, SettlementWord::Free);
        assert_eq!(paid, [(SCRIPTED, PRICE, SettlementWord::Captured), covered, covered]);

        let again = walked(&world, batch(&names, nonce, Some("p^"))).await.unwrap();
        assert_eq!(again.id, batched.id);
        for (first, again) in batched.items.iter().zip(&again.items) {
            let (first, again) = (first.as_ref().unwrap(), again.as_ref().unwrap());
            assert!(again.replayed && first.answer == again.answer);
        }
        assert_eq!((world.journal().starts(), world.journal().captures()), (3, 1));
        assert_eq!(world.fsck().await.0, []);
    }
}

#[tokio::test]
async fn what_is_not_paid_for_in_full_and_beforehand_claims_nothing() {
    let world = World::priced().open();
    let names = ["gives", "raises", "gives"];
    let refused = walked(&world, batch(&names, Some("n"), None)).await.unwrap_err();
    let Refusal::PaymentRequired { price, flow } = refused.refusal else { panic!("{refused:?}") };
    assert_eq!((refused.item, price, flow), (None, PRICE, Flow::Upfront));
    // The payer has not agreed to pay before the work.
    let later = walked(&world, batch(&names, Some("n"), Some("p"))).await;
    assert_eq!(rule(later), (None, "payment-refused".to_owned()));
    world.bank().next_capture("q^", Move::Failed);
    let failed = walked(&world, batch(&names, Some("n"), Some("q^"))).await;
    assert_eq!(rule(failed), (None, "payment-refused".to_owned()));
    assert_eq!(world.journal().starts(), 0);
    let least = World::builder().tools_at_list_prices().open();
    let refused = walked(&least, batch(&["gives"], None, None)).await.unwrap_err();
    let Refusal::PaymentRequired { price, .. } = refused.refusal else { panic!("{refused:?}") };
    assert_eq!(price, Amount::from_micros(100_000), "the least that a batch costs");
    assert_eq!(outcomes(&walked(&world, batch(&names, Some("n"), Some("q^"))).await.unwrap()).len(), 3);
}

#[tokio::test]
async fn a_payment_buys_one_batch_and_nothing_else() {
    let world = World::priced().open();
    let names = ["gives", "gives"];
    walked(&world, batch(&names, Some("n"), Some("p^"))).await.unwrap();
    let others = [
        batch(&["gives", "raises"], Some("m"), Some("p^")),
        batch(&names, Some("m"), Some("p^")),
        batch(&names, None, Some("p^")),
    ];
    for other in others {
        assert_eq!(rule(walked(&world, other).await).1, "payment-reused");
    }
    let single = world.walk(ask("gives").nonce("s").pays("p^")).await;
    assert_eq!(single.rule(), "payment-reused");
    let changed = walked(&world, batch(&["gives", "raises"], Some("n"), Some("q^"))).await;
    assert_eq!(rule(changed), (Some(0), "nonce-reused".to_owned()));
    // A payment that bought a call buys no batch.
    world.walk(ask("gives").nonce("t").pays("r^")).await.passage();
    assert_eq!(rule(walked(&world, batch(&names, None, Some("r^"))).await).1, "payment-reused");
    assert_eq!((world.journal().starts(), world.journal().captures()), (3, 2));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn a_first_call_that_is_lost_leaves_a_credit_and_starts_nothing_behind_it() {
    let world = World::priced().open();
    let names = ["panics", "gives"];
    for _ in 0..2 {
        let batched = walked(&world, batch(&names, Some("n"), Some("p^"))).await.unwrap();
        assert_eq!(outcomes(&batched), ["unknown"]);
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (1, 1));
    assert_eq!(world.store().sums().await.unwrap().credited_micros, 100_000);
    let world = World::priced().open();
    let never = walked(&world, batch(&["unstartable", "gives"], Some("n"), Some("p^"))).await;
    assert_eq!(rule(never), (Some(0), "not-started-paid".to_owned()));
    assert_eq!((world.journal().starts(), world.store().sums().await.unwrap().credited_micros), (0, 100_000));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_paid_batch_many_times_at_once_is_taken_and_run_once() {
    let world = World::priced().open();
    let mut crowd = JoinSet::new();
    for _ in 0..16 {
        let gate = world.gate();
        crowd.spawn(async move { gate.walk_batch(batch(&["gives", "raises"], None, Some("p^"))).await });
    }
    for walked in crowd.join_all().await {
        assert_eq!(outcomes(&walked.unwrap().unwrap()), ["value", "exception"]);
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 1));
}

#[tokio::test]
async fn a_process_that_dies_in_a_later_call_keeps_what_is_done_and_what_was_taken() {
    let mut world = World::priced().open();
    let names = ["gives", "dies", "gives"];
    assert!(world.gate().walk_batch(batch(&names, None, Some("p^"))).await.is_none(), "the process died");
    assert_eq!(world.restart().await.unknown, 1);
    for _ in 0..2 {
        let batched = walked(&world, batch(&names, None, Some("p^"))).await.unwrap();
        assert_eq!(outcomes(&batched), ["value", "unknown"]);
    }
    let sums = world.store().sums().await.unwrap();
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 1));
    assert_eq!((sums.captured_micros, sums.credited_micros), (PRICE.micros(), 0), "one call ran");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn wherever_the_process_dies_a_batch_is_taken_once_and_each_call_starts_at_most_once() {
    for point in
        ["claimed", "rail-capturing", "rail-captured", "taken", "prepaid", "ran", "sealed", "recorded"]
    {
        let mut world = World::priced().open();
        let names = ["gives", "gives", "gives"];
        world.gate().die_at(point, Death::Simulated);
        let died = world.gate().walk_batch(batch(&names, Some("n"), Some("p^"))).await;
        assert!(died.is_none(), "{point} lies on this way");
        world.restart().await;
        assert!(world.reconcile().await.is_some(), "{point}");
        let batched = walked(&world, batch(&names, Some("n"), Some("p^"))).await.unwrap();
        let sums = world.store().sums().await.unwrap();
        assert_eq!((world.journal().captures(), sums.captured_micros), (1, PRICE.micros()), "{point}");
        if outcomes(&batched) == ["unknown"] {
            assert_eq!(sums.credited_micros, PRICE.micros(), "{point}");
            assert!(world.journal().starts() <= 1, "{point}");
        } else {
            assert_eq!(outcomes(&batched), ["value"; 3], "{point}");
            assert_eq!((world.journal().starts(), sums.credited_micros), (3, 0), "{point}");
        }
        let open = world.runs().await.iter().filter(|run| run.stage == Stage::Execute).count();
        assert_eq!((open, world.fsck().await.0), (0, vec![]), "{point}");
    }
}

#[tokio::test]
async fn a_caller_that_is_known_has_what_its_batch_was_answered_without_a_payment() {
    let world = World::priced().open();
    let names = ["gives", "raises", "gives"];
    let bought = walked(&world, batch(&names, Some("n"), Some("p^"))).await.unwrap();
    let again = walked(&world, batch(&names, Some("n"), None)).await.unwrap();
    assert_eq!((again.id, outcomes(&again)), (bought.id, outcomes(&bought)));
    for (first, again) in bought.items.iter().zip(&again.items) {
        let (first, again) = (first.as_ref().unwrap(), again.as_ref().unwrap());
        assert!(again.replayed && first.answer == again.answer);
    }
    let mut nobody = batch(&names, Some("n"), None);
    for item in &mut nobody.items {
        item.caller = Proposal::from(ask("gives").anonymously()).caller;
    }
    for (case, other) in [
        ("other content", batch(&["gives", "gives", "gives"], Some("n"), None)),
        ("another nonce", batch(&names, Some("m"), None)),
        ("no nonce", batch(&names, None, None)),
        ("nobody", nobody),
    ] {
        assert_eq!(rule(walked(&world, other).await), (None, "payment-required".to_owned()), "{case}");
    }
    assert_eq!((world.journal().starts(), world.journal().captures()), (3, 1));
}

#[tokio::test]
async fn a_session_has_what_its_batch_was_answered_without_a_payment_and_with_any() {
    let world = World::priced().open();
    let names = ["gives", "raises", "gives"];
    let bought = walked(&world, in_session("s", &names, Some("p^@w1"))).await.unwrap();
    for claim in [None, Some("q^@w2"), Some("p^@w1")] {
        let again = walked(&world, in_session("s", &names, claim)).await.unwrap();
        assert_eq!((again.id, outcomes(&again)), (bought.id, outcomes(&bought)), "{claim:?}");
        for (first, again) in bought.items.iter().zip(&again.items) {
            let (first, again) = (first.as_ref().unwrap(), again.as_ref().unwrap());
            assert!(again.replayed && first.answer == again.answer, "{claim:?}");
        }
    }
    // Of its wallet, in whichever session that comes.
    let by_wallet = walked(&world, in_session("t", &names, Some("p^@w1"))).await.unwrap();
    assert_eq!((by_wallet.id, outcomes(&by_wallet)), (bought.id, outcomes(&bought)));
    let changed = walked(&world, in_session("s", &["gives", "gives", "gives"], Some("q^@w2"))).await;
    assert_eq!(rule(changed).1, "nonce-reused");
    assert_eq!((world.journal().starts(), world.journal().captures()), (3, 1));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_of_a_batch_was_never_started_its_payment_starts_and_an_end_that_is_lost_is_told_without_one() {
    let mut world = World::priced().open();
    let names = ["gives", "gives"];
    world.gate().die_at("recorded", Death::Simulated);
    assert!(world.gate().walk_batch(batch(&names, Some("n"), Some("p^"))).await.is_none());
    world.restart().await;
    assert_eq!(rule(walked(&world, batch(&names, Some("n"), None)).await).1, "payment-required");
    assert_eq!(outcomes(&walked(&world, batch(&names, Some("n"), Some("p^"))).await.unwrap()), ["value"; 2]);
    let names = ["gives", "dies", "gives"];
    assert!(world.gate().walk_batch(batch(&names, Some("m"), Some("q^"))).await.is_none());
    world.restart().await;
    let told = walked(&world, batch(&names, Some("m"), None)).await.unwrap();
    assert_eq!(outcomes(&told), ["value", "unknown"]);
    assert_eq!((world.journal().starts(), world.journal().captures()), (4, 2));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_was_paid_for_a_batch_is_told_as_a_batch() {
    let world = World::priced().open();
    walked(&world, batch(&["gives", "raises"], Some("n"), Some("p^"))).await.unwrap();
    world.walk(ask("gives").nonce("s").pays("q")).await.passage();
    let earned = world.store().earned(0).await.unwrap();
    let told: Vec<_> = earned.iter().map(|earned| (earned.is_batch, earned.amount.micros())).collect();
    assert_eq!(told, [(true, 100_000), (false, 50_000)]);
}
