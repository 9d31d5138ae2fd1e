//! Payments that Permit2 moves, on a real gateway: unmodified clients, a settler of its own, and what does not pay. Permit2 is
//! the real one; the proxy of x402 before it is a stand-in, since that of its makers is in no package.

use std::thread;

use execgate_payment::evm::{Address, Authorization, U256};
use execgate_testkit::chain::{Chain, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::json;

use super::payments::{ECHO_UNITS, Till};
use super::shop::{FUNDS, PRICE, Shop, USDC_BY_PERMIT2, work_of};

/// How often a payment is shown at once.
const CROWD: usize = 64;

/// A shop whose payer lets Permit2 move what it has.
fn shop() -> Shop {
    let shop = Shop::by_permit2();
    shop.chain.lets(PAYER.address, FUNDS);
    shop
}

#[test]
fn unmodified_clients_and_a_facilitator_of_its_makers_pay_by_permit2() {
    let chain = Chain::with_permit2();
    let node = format!("rpc = {:?}\n", chain.url());
    let till = Till::over(chain, &node, USDC_BY_PERMIT2);
    let body = |client: &str| json!({"action": "echo", "payload": {"client": client}, "nonce": client});
    let refused = till.pay("fetch", "/execute", &body("early"));
    assert_eq!((&refused["status"], till.paid()), (&json!(412), 0), "it lets nobody yet: {refused}");
    till.chain.lets(PAYER.address, 10 * ECHO_UNITS);
    for (number, client) in (1_u64..).zip(["fetch", "axios", "python"]) {
        let answer = till.pay(client, "/execute", &body(client));
        assert_eq!(
            (&answer["status"], &answer["body"]["result"]["echo"]["client"]),
            (&json!(200), &json!(client)),
            "{answer}"
        );
        let moved = till.chain.transfers();
        assert_eq!((till.paid(), moved.len() as u64), (number * ECHO_UNITS, number), "{client}");
        let told = &answer["two"];
        assert_eq!(
            (&told["success"], &told["transaction"]),
            (&json!(true), &json!(moved.last().unwrap().transaction))
        );
    }
}

#[test]
fn sixty_four_requests_at_once_with_one_permit_buy_one_run_and_one_transfer() {
    let shop = shop();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let form = asked.show_permit(&asked.permitted(&shop.payer(), 1, shop.chain.now_s()));
    shop.work.hold_up();
    let answers: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..CROWD).map(|_| scope.spawn(|| shop.show("/execute", &body, &form))).collect();
        shop.work.until_begun();
        shop.work.let_go();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| (answer.status, &answer.body) == (200, &answers[0].body)));
    assert_eq!((shop.work.starts(), shop.paid(), shop.chain.transfers().len()), (1, PRICE, 1));
    // It is spent, whatever else it is shown for; and the token's own nonce of that number is another.
    assert_eq!(shop.show("/execute", &work_of("n-2"), &form).status, 409);
    let other = work_of("n-3");
    let asked = shop.ask("/execute", &other);
    assert_eq!(shop.show("/execute", &other, &asked.by_two(&asked.drawn(&shop.payer(), 1))).status, 200);
    assert_eq!((shop.work.starts(), shop.paid()), (2, 2 * PRICE));
    assert!(shop.is_sound());
}

#[test]
fn a_payer_who_does_not_let_permit2_is_told_so_and_nothing_is_run() {
    let shop = Shop::by_permit2();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let form = asked.show_permit(&asked.permitted(&shop.payer(), 1, shop.chain.now_s()));
    let heard = shop.show("/execute", &body, &form);
    let told = heard.json();
    assert_eq!((heard.status, &told["error"]), (412, &json!("permit2_allowance_required")), "{told}");
    assert!(heard.header("payment-required").is_some(), "and how to pay");
    shop.chain.lets(PAYER.address, PRICE - 1);
    assert_eq!(shop.show("/execute", &body, &form).status, 412);
    assert_eq!((shop.work.starts(), shop.paid()), (0, 0));
    // None of it has used the payment.
    shop.chain.lets(PAYER.address, PRICE);
    assert_eq!(shop.show("/execute", &body, &form).status, 200);
    assert_eq!((shop.work.starts(), shop.paid()), (1, PRICE));
    assert!(shop.is_sound());
}

/// What is wrong with a permit, and the code by which x402 tells it.
const WRONGS: [(&str, Wrong, &str); 6] = [
    ("expired", |paid, now_s| paid.valid_before = U256::from(now_s - 1), "permit2_deadline_expired"),
    (
        "over before the work",
        |paid, now_s| paid.valid_before = U256::from(now_s + 3),
        "permit2_deadline_expired",
    ),
    ("early", |paid, now_s| paid.valid_after = U256::from(now_s + 600), "permit2_not_yet_valid"),
    ("short", |paid, _| paid.value = U256::from(PRICE - 1), "permit2_amount_mismatch"),
    ("more than the price", |paid, _| paid.value = U256::from(PRICE + 1), "permit2_amount_mismatch"),
    ("to another", |paid, _| paid.to = elsewhere(), "invalid_permit2_recipient_mismatch"),
];

type Wrong = fn(&mut Authorization, u64);

fn elsewhere() -> Address {
    Wallet::number(9).address()
}

#[test]
fn a_permit_that_does_not_pay_is_refused_before_the_work() {
    let shop = shop();
    let body = work_of("n-1");
    let asked = shop.ask("/execute", &body);
    let (wallet, now_s) = (shop.payer(), shop.chain.now_s());
    let good = asked.permitted(&wallet, 1, now_s);
    let refused = |path: &str, body: &_, form: &str, code: &str| {
        let heard = shop.show(path, body, form);
        let error = heard.json()["error"].to_string();
        assert!(heard.status == 402 && error.contains(code), "{code}: {} {error}", heard.status);
    };
    for (_, wrong, code) in WRONGS {
        let mut paid = good.clone();
        wrong(&mut paid, now_s);
        refused("/execute", &body, &asked.show_permit(&wallet.signs(paid)), code);
    }
    refused("/execute", &body, &asked.show_permit(&Wallet::number(9).signs(good.clone())), "signature");
    let mut other = good.clone();
    other.token.contract = elsewhere();
    refused("/execute", &body, &asked.show_permit(&wallet.signs(other)), "permit2_token_mismatch");
    // The same price, and signed for another path.
    let call = json!({"tool": {"name": "math_compute", "args": {"expression": "1"}}});
    let heard = shop.show("/exec/tool", &call, &asked.show_permit(&good));
    assert_eq!(heard.status, 402, "{}", String::from_utf8_lossy(&heard.body));
    assert_eq!((shop.work.starts(), shop.chain.transfers()), (0, Vec::new()));
    assert_eq!(shop.show("/execute", &body, &asked.show_permit(&good)).status, 200);
    assert_eq!((shop.work.starts(), shop.paid()), (1, PRICE));
    assert!(shop.is_sound());
}

#[test]
fn a_payer_who_takes_back_its_nonce_or_what_it_let_gets_nothing() {
    for take_back in [
        (|chain, paid| chain.invalidate(PAYER.address, &paid.nonce)) as fn(&Chain, &Authorization),
        |chain, _| chain.lets(PAYER.address, 0),
    ] {
        let shop = shop();
        let body = work_of("n-1");
        let asked = shop.ask("/execute", &body);
        let paid = asked.permitted(&shop.payer(), 1, shop.chain.now_s());
        shop.work.hold_up();
        let call = shop.background(&body, &asked.show_permit(&paid));
        shop.work.until_begun();
        take_back(&shop.chain, &paid);
        shop.chain.mine(6);
        shop.work.let_go();
        let withheld = call.join().unwrap();
        assert_eq!((withheld.status, withheld.code().as_str()), (402, "done-unpaid"));
        assert!(withheld.json()["result"].is_null());
        // What was done is had for a new payment, without a second run.
        shop.chain.lets(PAYER.address, FUNDS);
        let fresh = shop.ask("/execute", &body);
        let again = fresh.permitted(&shop.payer(), 2, shop.chain.now_s());
        assert_eq!(shop.show("/execute", &body, &fresh.show_permit(&again)).status, 200);
        assert_eq!((shop.work.starts(), shop.chain.balance(SELLER.address)), (1, PRICE));
        assert!(shop.is_sound());
    }
}
