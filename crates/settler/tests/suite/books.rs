//! Whole runs that a remote facilitator is to settle, which lies, hangs, or answers twice: what the books say of them.

use std::sync::Arc;
use std::time::Duration;

use execgate_flow::settle::{ByHand, Reconciled};
use execgate_payment::evm::{Authorization, ChainId};
use execgate_settler::{Ledger, Remote, Rpc};
use execgate_store::SettlementWord;
use execgate_testkit::chain::{Chain, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use execgate_testkit::{AuthorizedRail, Upstream, World, ask};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::paying::{PRICE, paying, signed};

/// How long a service of a test may take.
const PATIENCE: Duration = Duration::from_millis(500);

const GOOD: &str = r#"{"isValid":true}"#;

/// Whether the gateway has a node of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Node,
    Nothing,
}

async fn world(chain: &Chain, url: &str, own: Own) -> World {
    let ledger =
        async { Ledger::open(Rpc::new(&chain.url()).unwrap(), ChainId::BASE_SEPOLIA).await.unwrap() };
    let ledger = if own == Own::Node { Some(ledger.await) } else { None };
    let remote = Remote::new(url, ledger).unwrap().within(PATIENCE);
    World::priced().rail(Arc::new(AuthorizedRail(Arc::new(remote)))).open()
}

fn funded(chain: &Chain) -> Authorization {
    chain.fund(PAYER.address, 10 * PRICE);
    signed(chain, 1)
}

/// A service that says these two things.
async fn service(verify: &'static str, settle: impl Fn() -> String + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request| {
        let is_verify = request.starts_with("POST /verify ");
        let body = if is_verify { verify.to_owned() } else { settle() };
        Upstream::reply("200 OK", "application/json", &body)
    })
    .await
}

fn settles(service: &Upstream) -> usize {
    service.asked().iter().filter(|asked| asked.starts_with("POST /settle ")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_is_refused_or_cannot_be_asked_about_has_no_work_done() {
    let chain = Chain::start();
    let paid = funded(&chain);
    let empty = r#"{"isValid":false,"invalidReason":"insufficient_funds"}"#;
    for (says, rule) in [(empty, "payment-refused"), ("{}", "rail-unavailable"), ("what", "rail-unavailable")]
    {
        let service = service(says, || unreachable!("nothing is settled")).await;
        let world = world(&chain, &service.url(""), Own::Nothing).await;
        assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.rule(), rule, "{says}");
        assert_eq!((world.journal().starts(), world.runs().await.len()), (0, 0), "{says}");
        assert_eq!(settles(&service), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_names_a_foreign_transaction_is_not_believed() {
    let chain = Chain::start();
    let paid = funded(&chain);
    let other = Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 7, 2, chain.now_s());
    chain.submit(&other);
    let foreign = chain.transfers()[0].transaction.clone();
    let lie = format!(r#"{{"success":true,"transaction":"{foreign}"}}"#);
    let service = service(GOOD, move || lie.clone()).await;
    let world = world(&chain, &service.url(""), Own::Node).await;
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.rule(), "settlement-pending");
    assert_eq!(world.only_run().await.settlement, SettlementWord::Pending);
    assert_eq!(world.reconcile().await.unwrap(), Reconciled { left: 1, ..Reconciled::default() });
    // What was signed can come to nothing now.
    chain.advance(3_600);
    assert_eq!(world.reconcile().await.unwrap(), Reconciled { unpaid: 1, ..Reconciled::default() });
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.rule(), "done-unpaid");
    assert_eq!((world.journal().starts(), chain.balance(SELLER.address)), (1, 7));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_leaves_it_pending_until_our_node_shows_where_it_is() {
    let chain = Chain::start();
    let paid = funded(&chain);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let hanging = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).await.unwrap();
            if begin == *b"POST /verify" {
                // The rest is not needed.
                stream.write_all(&Upstream::reply("200 OK", "application/json", GOOD)).await.unwrap();
            }
            kept.push(stream);
        }
    });
    let world = world(&chain, &url, Own::Node).await;
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.rule(), "settlement-pending");
    assert_eq!(world.reconcile().await.unwrap(), Reconciled { left: 1, ..Reconciled::default() });
    chain.submit(&paid);
    assert_eq!(world.reconcile().await.unwrap(), Reconciled { captured: 1, ..Reconciled::default() });
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), chain.transfers().len()), (1, 1));
    assert_eq!(world.fsck().await.0, []);
    hanging.abort();
}

/// A service that settles, and whose first answer makes no sense.
async fn settles_unheard(chain: &Arc<Chain>, paid: &Authorization) -> Upstream {
    let (chain, paid) = (Arc::clone(chain), paid.clone());
    service(GOOD, move || {
        chain.submit(&paid);
        "what".to_owned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_unheard_is_found_and_not_asked_for_twice() {
    let chain = Arc::new(Chain::start());
    let paid = funded(&chain);
    let service = settles_unheard(&chain, &paid).await;
    let world = world(&chain, &service.url(""), Own::Node).await;
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.rule(), "settlement-pending");
    assert_eq!(world.reconcile().await.unwrap(), Reconciled { captured: 1, ..Reconciled::default() });
    let transfers = chain.transfers();
    assert_eq!((transfers.len(), settles(&service)), (1, 1));
    assert_eq!(world.only_run().await.settlement_reference.as_ref(), Some(&transfers[0].transaction));
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_node_the_operator_says_what_became_of_it_and_nobody_is_asked_again() {
    let chain = Arc::new(Chain::start());
    let paid = funded(&chain);
    let service = settles_unheard(&chain, &paid).await;
    let world = world(&chain, &service.url(""), Own::Nothing).await;
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.rule(), "settlement-pending");
    assert_eq!(world.reconcile().await.unwrap(), Reconciled { left: 1, ..Reconciled::default() });
    assert_eq!(settles(&service), 1);
    let run = world.only_run().await.run;
    let reference = chain.transfers()[0].transaction.clone();
    world.gate().end_by_hand(run, None, ByHand::Taken { reference }).await.unwrap();
    assert_eq!(world.walk(paying(ask("gives").nonce("n"), &paid)).await.passage().answer.status, 200);
    assert_eq!((world.journal().starts(), chain.transfers().len(), settles(&service)), (1, 1, 1));
    assert_eq!(world.fsck().await.0, []);
}
