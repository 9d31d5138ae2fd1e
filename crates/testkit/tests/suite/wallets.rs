//! Whoever shows a payment is its wallet, where nothing else says who asks; and no more than that.

use execgate_testkit::{World, ask};
use serde_json::json;

const PAYER: &str = "eip155:8453:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";

/// The claim of a payment by that payer.
fn by_payer(claim: &str) -> String {
    format!("{claim}@{PAYER}")
}

#[tokio::test]
async fn a_payer_that_nobody_knows_is_its_wallet() {
    let world = World::priced().open();
    world.walk(ask("gives").anonymously().nonce("n").pays(&by_payer("p"))).await.passage();
    assert_eq!(world.only_run().await.caller, format!("wallet:{PAYER}"));
}

#[tokio::test]
async fn a_caller_that_is_known_stays_who_it_is_whoever_pays() {
    let world = World::priced().open();
    world.walk(ask("gives").by_wallet("w").nonce("n").pays(&by_payer("p"))).await.passage();
    assert_eq!(world.only_run().await.caller, "wallet:w");
}

#[tokio::test]
async fn a_nonce_is_its_wallets_and_a_second_payment_for_the_same_call_takes_nothing() {
    let world = World::priced().open();
    let call = || ask("gives").anonymously().nonce("n");
    let first = world.walk(call().pays(&by_payer("p"))).await.passage();
    let again = world.walk(call().pays(&by_payer("q"))).await.passage();
    assert_eq!((again.replayed, again.run), (true, first.run));
    // The same nonce of another wallet is another run.
    let other = world.walk(call().pays("r@eip155:8453:0x0000000000000000000000000000000000000001")).await;
    assert_ne!(other.passage().run, first.run);
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 2));
}

#[tokio::test]
async fn a_payment_that_has_bought_one_run_opens_no_other_of_its_wallet() {
    let world = World::priced().open();
    let call = |nonce: &str| ask("gives").anonymously().payload(json!({"n": nonce})).nonce(nonce);
    world.walk(call("one").pays(&by_payer("p"))).await.passage();
    world.walk(call("two").pays(&by_payer("q"))).await.passage();
    // What moved a token is for everybody to read on its chain.
    assert_eq!(world.walk(call("two").pays(&by_payer("p"))).await.rule(), "payment-reused");
    assert_eq!(world.walk(call("three").pays(&by_payer("p"))).await.rule(), "payment-reused");
    assert!(world.walk(call("one").pays(&by_payer("p"))).await.passage().replayed);
    assert_eq!((world.journal().starts(), world.journal().captures()), (2, 2));
}

#[tokio::test]
async fn a_payment_whose_time_is_over_is_answered_what_it_has_bought_and_buys_nothing() {
    let world = World::priced().open();
    let call = |nonce: &str, claim: &str| ask("gives").anonymously().nonce(nonce).pays(&by_payer(claim));
    let first = world.walk(call("one", "p")).await.passage();
    for claim in ["p", "q"] {
        world.bank().lapse(claim);
    }
    let again = world.walk(call("one", "p")).await.passage();
    assert_eq!((again.replayed, again.answer), (true, first.answer));
    assert_eq!(world.walk(call("two", "q")).await.rule(), "payment-refused");
    assert_eq!(world.walk(call("two", "p")).await.rule(), "payment-reused");
    assert_eq!(world.journal().starts(), 1);
}

#[tokio::test]
async fn an_answer_tells_of_its_payment_and_a_replay_tells_the_same() {
    let world = World::priced().open();
    let call = || ask("gives").anonymously().nonce("n").pays(&by_payer("p"));
    let first = world.walk(call()).await.passage();
    let again = world.walk(call()).await.passage();
    assert!(first.bought.is_some());
    assert_eq!((again.replayed, again.bought), (true, first.bought));
    let free = World::free();
    assert_eq!(free.walk(ask("gives").nonce("n")).await.passage().bought, None);
}

#[tokio::test]
async fn what_is_free_takes_no_payment_that_comes_along() {
    let world = World::builder().price("fails", "0.05").open();
    let passage = world.walk(ask("gives").anonymously().pays(&by_payer("p"))).await.passage();
    assert_eq!((passage.bought, world.only_run().await.rail.as_str()), (None, "free"));
    assert_eq!(world.journal().captures(), 0);
}
