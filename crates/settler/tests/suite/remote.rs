//! A remote facilitator that hangs up, lies, or says nothing: what nobody can tell is never told.

use std::future::{Future as _, poll_fn};
use std::net::TcpListener;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use execgate_payment::evm::{Authorization, ChainId, U256};
use execgate_payment::{Facilitator, LookError, SettleError, Whereabouts};
use execgate_settler::{Ledger, Line, Remote, Rpc};
use execgate_testkit::Upstream;
use execgate_testkit::chain::{Chain, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A transaction that is none.
const BOGUS: &str = "0xabababababababababababababababababababababababababababababababab";

fn paid(chain: &Chain) -> Authorization {
    chain.fund(PAYER.address, 50_000);
    Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 50_000, 1, chain.now_s())
}

async fn ledger(chain: &Chain) -> Ledger {
    Ledger::open(Rpc::new(&chain.url()).unwrap(), ChainId::BASE_SEPOLIA).await.unwrap()
}

async fn says(status: &'static str, body: String) -> Upstream {
    Upstream::start(move |_| Upstream::reply(status, "application/json", &body)).await
}

fn failed(reason: &str, transaction: &str) -> String {
    format!(r#"{{"success":false,"errorReason":"{reason}","transaction":"{transaction}"}}"#)
}

#[tokio::test]
async fn what_a_facilitator_may_have_done_is_unknown() {
    let chain = Chain::start();
    let paid = paid(&chain);
    let pending =
        format!(r#"{{"success":false,"errorReason":"settlement_pending","transaction":"{BOGUS}"}}"#);
    let unknown = |transaction: Option<&str>| {
        Err(SettleError::Unknown { transaction: transaction.map(|hash| hash.parse().unwrap()) })
    };
    for (status, body, expected) in [
        ("200 OK", pending, unknown(Some(BOGUS))),
        ("200 OK", "{}".to_owned(), unknown(None)),
        // It may have been sent before, by whomever.
        ("200 OK", failed("unexpected_settle_error", ""), unknown(None)),
        ("200 OK", failed("invalid_transaction_state", ""), unknown(None)),
        ("200 OK", failed("invalid_exact_evm_nonce_already_used", ""), unknown(None)),
        ("200 OK", failed("insufficient_funds", BOGUS), unknown(Some(BOGUS))),
        (
            "200 OK",
            failed("insufficient_funds", ""),
            Err(SettleError::Refused("insufficient_funds".to_owned())),
        ),
        ("200 OK", r#"{"success":true,"transaction":""}"#.to_owned(), unknown(None)),
        ("200 OK", "no JSON".to_owned(), unknown(None)),
        ("500 Internal Server Error", r#"{"success":false,"errorReason":"x"}"#.to_owned(), unknown(None)),
        ("502 Bad Gateway", "{}".to_owned(), unknown(None)),
    ] {
        let service = says(status, body.clone()).await;
        let remote = Remote::new(&service.url(""), []).unwrap();
        assert_eq!(remote.settle(&paid).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn one_that_is_not_reached_has_nothing_to_move_and_one_that_comes_back_is_asked_once() {
    let chain = Chain::start();
    let paid = paid(&chain);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let remote = |ledgers: Vec<Ledger>| Remote::new(&format!("http://{address}"), ledgers).unwrap();
    let soon = Duration::from_secs(2);
    let alone = remote(Vec::new()).within(soon);
    let unasked = Err(SettleError::Unasked("facilitator_unreachable".to_owned()));
    assert_eq!(alone.settle(&paid).await, unasked, "it surely has not moved");
    // Where our own node can be asked it is left to that, which says that it is unused.
    let shown = remote(vec![ledger(&chain).await]).within(soon);
    let postponed = Err(SettleError::Postponed("facilitator_unreachable".to_owned()));
    assert_eq!(shown.settle(&paid).await, postponed);
    assert_eq!(shown.whereabouts(&paid).await, Ok(Whereabouts::Unused));

    let back = async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let body = format!(r#"{{"success":true,"transaction":"{BOGUS}"}}"#);
        let mut question = [0; 12];
        stream.read_exact(&mut question).await.unwrap();
        assert_eq!(&question, b"POST /settle");
        stream.write_all(&Upstream::reply("200 OK", "application/json", &body)).await.unwrap();
        // Until it has been read to its end.
        stream.read_to_end(&mut Vec::new()).await.ok();
    };
    let patient = remote(Vec::new()).within(Duration::from_secs(100));
    let mut settling = pin!(patient.settle(&paid));
    // Once it was dialled in vain, it comes back.
    assert!(poll_fn(|context| Poll::Ready(settling.as_mut().poll(context).is_pending())).await);
    let (settled, ()) = tokio::join!(settling, back);
    assert_eq!(settled, Ok(BOGUS.parse().unwrap()));
}

#[tokio::test]
async fn a_facilitator_is_believed_as_far_as_our_own_node_shows() {
    let chain = Chain::start();
    let paid = paid(&chain);
    let refuses = says("200 OK", r#"{"success":false,"errorReason":"insufficient_funds"}"#.to_owned()).await;
    let remote = Remote::new(&refuses.url(""), [ledger(&chain).await]).unwrap();
    assert_eq!(remote.settle(&paid).await, Err(SettleError::Refused("insufficient_funds".to_owned())));
    // It has settled, and says that it has not.
    chain.submit(&paid);
    let transaction = chain.transfers()[0].transaction.parse().unwrap();
    assert_eq!(remote.settle(&paid).await, Ok(transaction));

    // It has settled nothing of this, and names what paid for something else.
    let other = Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 40_000, 2, chain.now_s());
    let lie = says("200 OK", format!(r#"{{"success":true,"transaction":"{transaction}"}}"#)).await;
    let remote = Remote::new(&lie.url(""), [ledger(&chain).await]).unwrap();
    // It has what was signed: it may still send it, until nothing can come of it any more.
    let unknown = Err(SettleError::Unknown { transaction: None });
    assert_eq!(remote.settle(&other).await, unknown);
    // Nor does it pay twice for the same.
    let twin = Wallet::of(PAYER).pays(SELLER.address.parse().unwrap(), 50_000, 3, chain.now_s());
    assert_eq!(remote.settle(&twin).await, unknown);
    assert_eq!(remote.settle(&paid).await, Ok(transaction));
    chain.advance(3_600);
    assert!(matches!(remote.settle(&other).await, Err(SettleError::Refused(_))));
}

#[tokio::test]
async fn before_the_work_a_facilitator_is_asked_and_only_its_word_is_taken() {
    let chain = Chain::start();
    let paid = paid(&chain);
    let refused = |reason: &str| Some(Err(LookError::Refused(reason.to_owned())));
    let other = r#"{"isValid":true,"payer":"0x90F79bf6EB2c4f870365E785982E1f101E93b906"}"#;
    let long = format!(r#"{{"isValid":false,"invalidReason":"{}"}}"#, "x".repeat(5_000));
    for (status, body, expected) in [
        ("200 OK", r#"{"isValid":true}"#, Some(Ok(None))),
        (
            "200 OK",
            r#"{"isValid":false,"invalidReason":"insufficient_funds"}"#,
            refused("insufficient_funds"),
        ),
        (
            "400 Bad Request",
            r#"{"isValid":false,"invalidReason":"invalid_payload"}"#,
            refused("invalid_payload"),
        ),
        ("200 OK", r#"{"isValid":false,"invalidReason":"a\u0000\u202e\r\nb c"}"#, refused("ab c")),
        ("200 OK", &long, refused(&"x".repeat(100))),
        ("200 OK", r#"{"isValid":false}"#, refused("invalid_payment")),
        // Nobody can tell.
        ("200 OK", r#"{"isValid":false,"invalidReason":"unexpected_verify_error"}"#, None),
        ("200 OK", other, None),
        ("200 OK", "{}", None),
        ("200 OK", r#"{"isValid":"true"}"#, None),
        ("200 OK", "no JSON", None),
        ("402 Payment Required", r#"{"isValid":true}"#, None),
        ("500 Internal Server Error", r#"{"isValid":false,"invalidReason":"x"}"#, None),
    ] {
        let service = says(status, body.to_owned()).await;
        let remote = Remote::new(&service.url(""), []).unwrap();
        let looked = remote.verify(&paid).await;
        match expected {
            Some(expected) => assert_eq!(looked, expected, "{status} {body}"),
            None => assert!(matches!(looked, Err(LookError::Unreachable(_))), "{status} {body}: {looked:?}"),
        }
        assert!(service.asked()[0].starts_with("POST /verify "));
    }
    let nobody = Remote::new("http://127.0.0.1:9/", []).unwrap();
    assert!(matches!(nobody.verify(&paid).await, Err(LookError::Unreachable(_))), "nobody listens");
}

#[tokio::test]
async fn our_own_node_is_asked_before_the_work_too() {
    let chain = Chain::start();
    let paid = paid(&chain);
    let service = says("200 OK", r#"{"isValid":true}"#.to_owned()).await;
    let remote = Remote::new(&service.url(""), [ledger(&chain).await]).unwrap();
    assert_eq!(remote.verify(&paid).await, Ok(Some(U256::from(50_000))));
    chain.empty(PAYER.address);
    assert_eq!(remote.verify(&paid).await, Err(LookError::Refused("insufficient_funds".to_owned())));
    drop(chain);
    assert!(matches!(remote.verify(&paid).await, Err(LookError::Unreachable(_))));
}

#[tokio::test]
async fn what_it_supports_is_asked_for() {
    let kinds = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"}]}"#;
    let service = says("200 OK", kinds.to_owned()).await;
    let remote = Remote::new(&service.url(""), []).unwrap();
    assert_eq!(remote.supports(ChainId::BASE_SEPOLIA).await, Ok(true));
    assert_eq!(remote.supports(ChainId::BASE).await, Ok(false));
    assert!(service.asked()[0].starts_with("GET /supported "));
}

#[test]
fn a_service_beyond_this_machine_is_asked_by_https_alone() {
    let may = |address: &str| Line::new(address, Duration::from_secs(1)).is_ok();
    for address in ["http://127.0.0.1:8545", "http://localhost:1/x", "http://[::1]:1"] {
        assert!(may(address), "{address}");
    }
    for address in
        ["http://example.com", "ftp://127.0.0.1", "http://u:p@127.0.0.1", "127.0.0.1:1", "http://10.0.0.1"]
    {
        assert!(!may(address), "{address}");
    }
}
