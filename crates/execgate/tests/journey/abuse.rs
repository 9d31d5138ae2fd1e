//! Payments that cheat, and payers who do: what is refused before the work, and what becomes of work whose payment is gone
//! when it is done. All of it against the real binary, a settler of its own and a chain.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_payment::evm::{Address, Authorization, ChainId, KnownToken, Token, U256};
use execgate_testkit::chain::{Chain, Coin, PAYER, SELLER};
use execgate_testkit::wallet::{Wallet, usdc};
use serde_json::{Value, json};

use super::purse::{Asked, by_one};
use super::shop::{FUNDS, PRICE, Shop, work_of};

/// How many times each form of a payment is shown at once.
const CROWD: usize = 22;

/// What is wrong with a payment, and the codes by which x402 and the scheme `Payment` tell it.
const WRONGS: [(&str, Wrong, &str, &str); 8] = [
    ("expired", |paid, now_s| paid.valid_before = U256::from(now_s - 1), "valid_before", "payment-expired"),
    (
        "over before the work",
        |paid, now_s| paid.valid_before = U256::from(now_s + 3),
        "valid_before",
        "payment-expired",
    ),
    ("early", |paid, now_s| paid.valid_after = U256::from(now_s + 600), "valid_after", "verification-failed"),
    ("short", |paid, _| paid.value = U256::from(PRICE - 1), "value_mismatch", "payment-insufficient"),
    (
        "more than the price",
        |paid, _| paid.value = U256::from(PRICE + 1),
        "value_mismatch",
        "verification-failed",
    ),
    ("to another", |paid, _| paid.to = elsewhere(), "recipient_mismatch", "verification-failed"),
    ("of another chain", |paid, _| paid.token = on(ChainId::BASE), "signature", "verification-failed"),
    ("of another token", |paid, _| paid.token.contract = elsewhere(), "signature", "verification-failed"),
];

type Wrong = fn(&mut Authorization, u64);

fn elsewhere() -> Address {
    Wallet::number(9).address()
}

fn on(chain: ChainId) -> Token {
    KnownToken::find("USDC", chain).unwrap()
}

#[test]
fn what_does_not_pay_is_refused_before_the_work_in_every_form() {
    let shop = Shop::with_a_settler();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let (wallet, now_s) = (shop.payer(), shop.chain.now_s());
    let good = asked.signed(&wallet);
    for (name, wrong, code, problem) in WRONGS {
        let mut paid = good.clone();
        wrong(&mut paid, now_s);
        let paid = wallet.signs(paid);
        for form in [asked.by_two(&paid), by_one(&paid)] {
            let heard = shop.show("/execute", &body, &form);
            let error = heard.json()["error"].to_string();
            assert!(heard.status == 402 && error.contains(code), "{name}: {} {error}", heard.status);
        }
        let heard = shop.show("/execute", &body, &asked.by_challenge(&paid));
        let told = heard.json()["type"].to_string();
        assert!(heard.status == 402 && told.contains(problem), "{name}: {} {told}", heard.status);
    }
    // What says that it is of another network or token is refused as that.
    for (member, value) in
        [("network", "eip155:8453"), ("asset", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")]
    {
        let mut other = asked.clone();
        other.two["accepts"][0][member] = json!(value);
        let heard = shop.show("/execute", &body, &other.by_two(&good));
        assert_eq!(heard.status, 402, "{member}: {}", String::from_utf8_lossy(&heard.body));
    }
    let forged = Wallet::number(9).signs(good.clone());
    for form in asked.forms(&forged) {
        assert_eq!(shop.show("/execute", &body, &form).status, 402, "signed by another");
    }
    assert_eq!((shop.work.starts(), shop.chain.transfers()), (0, Vec::new()));
    // None of it has used the nonce, nor the payment.
    assert_eq!(shop.show("/execute", &body, &asked.by_two(&good)).status, 200);
    assert_eq!((shop.work.starts(), shop.paid()), (1, PRICE));
    assert!(shop.is_sound());
}

#[test]
fn a_payment_of_one_route_or_body_buys_nothing_on_another() {
    let shop = Shop::with_a_settler();
    let (one, other) = (work_of("n-1"), work_of("n-2"));
    let call = json!({"tool": {"name": "math_compute", "args": {"expression": "1"}}});
    let asked = shop.ask("/execute", &one);
    let paid = asked.signed(&shop.payer());
    // The same price, and signed for something else: by its address, and by the bytes of its body.
    assert_eq!(shop.ask("/exec/tool", &call).wanted()["amount"], asked.wanted()["amount"]);
    let heard = shop.show("/exec/tool", &call, &asked.by_two(&paid));
    assert_eq!(heard.status, 402, "{}", String::from_utf8_lossy(&heard.body));
    for (path, body) in [("/exec/tool", &call), ("/execute", &other)] {
        let heard = shop.show(path, body, &asked.by_challenge(&paid));
        assert_eq!(heard.status, 402, "{path} {}", String::from_utf8_lossy(&heard.body));
    }
    assert_eq!((shop.work.starts(), shop.paid()), (0, 0));
    assert_eq!(shop.show("/execute", &one, &asked.by_two(&paid)).status, 200);
    // It is spent, in whatever form it comes, wherever it is shown.
    for (path, body) in [("/exec/tool", &call), ("/execute", &other)] {
        for form in asked.forms(&paid) {
            let heard = shop.show(path, body, &form);
            assert!(matches!(heard.status, 402 | 409), "{path} {}", heard.status);
        }
    }
    assert_eq!((shop.work.starts(), shop.paid(), shop.chain.transfers().len()), (1, PRICE, 1));
    assert!(shop.is_sound());
}

#[test]
fn sixty_six_requests_in_three_forms_at_once_buy_one_run_and_one_transfer() {
    let shop = Shop::with_a_settler();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let forms = asked.forms(&asked.signed(&shop.payer()));
    assert_eq!(forms.len(), 3);
    shop.work.hold_up();
    let answers: Vec<_> = thread::scope(|scope| {
        let shown = |at: usize| shop.show("/execute", &body, &forms[at % forms.len()]);
        let calls: Vec<_> = (0..forms.len() * CROWD).map(|at| scope.spawn(move || shown(at))).collect();
        shop.work.until_begun();
        shop.work.let_go();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| (answer.status, &answer.body) == (200, &answers[0].body)));
    assert_eq!((shop.work.starts(), shop.paid(), shop.chain.transfers().len()), (1, PRICE, 1));
    assert!(shop.is_sound());
}

/// A payer whose payment is gone when the work is done: it gets nothing of it, pays before the work from then on, and has
/// what was done for a new payment, without a second run.
fn whoever_spoils_its_payment(spoils: impl FnOnce(&Chain, &Authorization), mends: impl FnOnce(&Chain)) {
    let shop = Shop::with_a_settler();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let paid = asked.signed(&shop.payer());
    shop.work.hold_up();
    let call = shop.background(&body, &asked.by_two(&paid));
    shop.work.until_begun();
    spoils(&shop.chain, &paid);
    shop.work.let_go();
    let withheld = call.join().unwrap();
    let text = String::from_utf8_lossy(&withheld.body).into_owned();
    assert_eq!((withheld.status, withheld.code().as_str()), (402, "done-unpaid"), "{text}");
    assert!(withheld.json()["result"].is_null() && !text.contains("\"ok\""), "{text}");
    assert_eq!((shop.work.starts(), shop.paid()), (1, 0));
    assert_eq!(shop.show("/execute", &body, &asked.by_two(&paid)).code(), "done-unpaid", "shown again");
    mends(&shop.chain);

    let next = work_of("n-2");
    let first = shop.ask("/execute", &next);
    let told = shop.show("/execute", &next, &first.by_two(&first.drawn(&shop.payer(), 2)));
    assert_eq!(told.status, 402);
    let before = Asked::read(&told).unwrap();
    assert!(before.is_upfront(), "{}", before.two);

    let fresh = shop.ask("/execute", &body);
    let again = shop.show("/execute", &body, &fresh.by_two(&fresh.drawn(&shop.payer(), 3)));
    assert_eq!(again.status, 200, "{}", String::from_utf8_lossy(&again.body));
    assert_eq!((shop.work.starts(), shop.paid()), (1, PRICE));
    assert!(shop.is_sound());
}

#[test]
fn a_payment_that_is_cancelled_while_the_work_runs_buys_nothing() {
    whoever_spoils_its_payment(
        |chain, paid| {
            chain.cancel(PAYER.address, &paid.nonce, &Wallet::of(PAYER).cancels(&usdc(), paid.nonce))
        },
        |_| {},
    );
}

#[test]
fn a_wallet_that_is_emptied_while_the_work_runs_buys_nothing() {
    whoever_spoils_its_payment(
        |chain, _| chain.empty(PAYER.address),
        |chain| chain.fund(PAYER.address, FUNDS),
    );
}

#[test]
fn a_nonce_that_is_used_elsewhere_while_the_work_runs_buys_nothing_of_a_token_that_does_not_revert() {
    whoever_spoils_its_payment(
        |chain, paid| {
            let spent = Wallet::of(PAYER).signs(Authorization { to: elsewhere(), ..paid.clone() });
            chain.submit(&spent);
            assert_eq!(chain.balance(&elsewhere().to_string()), PRICE);
            chain.put(Coin::Lenient);
        },
        |chain| chain.put(Coin::Usdc),
    );
}

#[test]
fn a_transfer_that_somebody_else_sends_is_the_payment_that_it_is() {
    let shop = Shop::with_a_settler();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let paid = asked.signed(&shop.payer());
    shop.work.hold_up();
    let call = shop.background(&body, &asked.by_challenge(&paid));
    shop.work.until_begun();
    shop.chain.submit(&paid);
    shop.work.let_go();
    let heard = call.join().unwrap();
    assert_eq!(heard.status, 200, "{}", String::from_utf8_lossy(&heard.body));
    let moved = shop.chain.transfers();
    assert_eq!((moved.len(), shop.paid()), (1, PRICE));
    let receipt = heard.header("payment-receipt").expect("a receipt of the payment");
    let receipt: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(receipt).unwrap()).unwrap();
    assert_eq!(receipt["reference"], moved[0].transaction);
    assert_eq!(shop.chain.balance(SELLER.address), PRICE);
    assert!(shop.is_sound());
}

#[test]
fn two_payments_or_one_that_is_too_long_are_none() {
    let shop = Shop::with_a_settler();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let paid = asked.signed(&shop.payer());
    let [two, challenge, one] = asked.forms(&paid).try_into().unwrap();
    let long = format!("PAYMENT-SIGNATURE: {}\r\n", "A".repeat((16 << 10) + 1));
    for lines in [format!("{two}{two}"), format!("{two}{one}"), format!("{one}{challenge}"), long] {
        let heard = shop.show("/execute", &body, &lines);
        assert_eq!((heard.status, heard.code().as_str()), (400, "bad-payment"));
    }
    assert_eq!((shop.work.starts(), shop.paid()), (0, 0));
    assert_eq!(shop.show("/execute", &body, &one).status, 200);
}

#[test]
fn a_name_that_a_client_gives_its_payment_is_of_one_call() {
    let shop = Shop::with_a_settler();
    let call = |payload: &str| json!({"tool": {"name": "hash_generate", "args": {"data": payload}}});
    let named = |body: &Value, number: u64| {
        let mut asked = shop.ask("/exec/tool", body);
        asked.two["extensions"]["payment-identifier"]["info"]["id"] = json!("order-0000-0000-0001");
        asked.by_two(&asked.drawn(&shop.payer(), number))
    };
    let first = shop.show("/exec/tool", &call("a"), &named(&call("a"), 1));
    assert_eq!(first.status, 200, "{}", String::from_utf8_lossy(&first.body));
    // A retry signs anew, as clients do; it is the same order, and costs nothing.
    let again = shop.show("/exec/tool", &call("a"), &named(&call("a"), 2));
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(shop.show("/exec/tool", &call("b"), &named(&call("b"), 3)).status, 409);
    assert_eq!((shop.paid(), shop.chain.transfers().len()), (PRICE, 1));
    assert!(shop.is_sound());
}
