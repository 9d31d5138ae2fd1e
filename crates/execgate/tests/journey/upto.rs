//! Work that is paid by its usage, on a real gateway: what it comes to is in its receipt, in the books and on the chain, once,
//! and is never more than what was signed.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_payment::evm::{Address, Authorization, Means, U256};
use execgate_testkit::chain::{Chain, PAYER};
use execgate_testkit::wallet::Wallet;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::payments::{ECHO_UNITS, Till};
use super::purse::Heard;
use super::shop::{FUNDS, PRICE, Shop, USDC_BY_PERMIT2, upto, work_of};

/// How often a payment is shown at once.
const CROWD: usize = 64;

/// What a run comes to, however long it took.
const BASE: u64 = 2_000;

fn shop() -> Shop {
    let shop = Shop::metered();
    shop.chain.lets(PAYER.address, FUNDS);
    shop
}

fn told(heard: &Heard) -> Value {
    let header = heard.header("payment-response").expect("how its payment has ended");
    serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap()
}

/// The form that pays for a call, after a change to what is signed.
fn form(shop: &Shop, body: &Value, number: u64, change: impl FnOnce(&mut Authorization)) -> String {
    let (asked, wallet) = (shop.ask("/execute", body), shop.payer());
    let mut paid = asked.permitted(&wallet, number, shop.chain.now_s());
    change(&mut paid);
    asked.show_permit(&wallet.signs(paid))
}

#[test]
fn unmodified_clients_and_a_facilitator_of_its_makers_pay_by_usage() {
    let chain = Chain::with_permit2();
    let node = format!("rpc = {:?}\n", chain.url());
    let meter = upto("echo").replace("0.1", "0");
    let till = Till::over(chain, &node, &format!("{USDC_BY_PERMIT2}{meter}"));
    till.chain.lets(PAYER.address, 10 * ECHO_UNITS);
    for (number, client) in (1_u64..).zip(["fetch", "python"]) {
        let body = json!({"action": "echo", "payload": {"client": client}, "nonce": client});
        let answer = till.pay(client, "/execute", &body);
        assert_eq!(
            (&answer["status"], &answer["body"]["result"]["echo"]["client"]),
            (&json!(200), &json!(client)),
            "{answer}"
        );
        assert_eq!((till.paid(), till.chain.transfers().len() as u64), (number * BASE, number), "{client}");
        let transaction = &till.chain.transfers().last().unwrap().transaction.clone();
        let two = &answer["two"];
        assert_eq!((&two["amount"], &two["transaction"]), (&json!("2000"), &json!(transaction)));
    }
}

#[test]
fn sixty_four_requests_at_once_buy_one_run_and_one_transfer_of_what_it_came_to() {
    let shop = shop();
    let body = work_of("n-1");
    let form = form(&shop, &body, 1, |_| ());
    shop.work.hold_up();
    let answers: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..CROWD).map(|_| scope.spawn(|| shop.show("/execute", &body, &form))).collect();
        shop.work.until_begun();
        shop.work.let_go();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| (answer.status, &answer.body) == (200, &answers[0].body)));
    let moved = shop.chain.transfers();
    assert_eq!((shop.work.starts(), moved.len()), (1, 1));
    let amount = moved[0].value;
    assert!((BASE..=PRICE).contains(&amount), "{amount}");
    for answer in &answers {
        let told = told(answer);
        assert_eq!((&told["success"], &told["amount"]), (&json!(true), &json!(amount.to_string())));
    }
    // The receipt says as much: `fsck` makes it again from the times in it, and holds it against the books.
    assert!(shop.is_sound());
    assert_eq!(shop.show("/execute", &work_of("n-2"), &form).status, 409);
    assert_eq!((shop.work.starts(), shop.paid()), (1, amount));
    // And a unit less is found.
    let record = Connection::open(shop.folder().join("execgate.db")).unwrap();
    record.execute("UPDATE payment SET amount = amount - 1 WHERE most IS NOT NULL", []).unwrap();
    assert!(!shop.is_sound());
}

#[test]
fn what_does_not_pay_for_what_is_metered_is_refused_before_the_work() {
    let shop = shop();
    let body = work_of("n-1");
    let elsewhere: Address = Wallet::number(9).address();
    type Change = Box<dyn FnOnce(&mut Authorization)>;
    let now_s = shop.chain.now_s();
    let cases: [(&str, Change); 5] = [
        (
            "upto_facilitator_mismatch",
            Box::new(move |paid| paid.by = Means::UpTo { facilitator: elsewhere, taken: None }),
        ),
        ("permit2_amount_mismatch", Box::new(|paid| paid.value = U256::from(PRICE - 1))),
        ("permit2_amount_mismatch", Box::new(|paid| paid.value = U256::from(PRICE + 1))),
        ("permit2_deadline_expired", Box::new(move |paid| paid.valid_before = U256::from(now_s - 1))),
        ("invalid_permit2_recipient_mismatch", Box::new(move |paid| paid.to = elsewhere)),
    ];
    for (number, (code, change)) in (1..).zip(cases) {
        let heard = shop.show("/execute", &body, &form(&shop, &body, number, change));
        let error = heard.json()["error"].to_string();
        assert!(heard.status == 402 && error.contains(code), "{code}: {} {error}", heard.status);
    }
    assert_eq!((shop.work.starts(), shop.chain.transfers().len()), (0, 0));
    assert_eq!(shop.show("/execute", &body, &form(&shop, &body, 9, |_| ())).status, 200);
    assert!(shop.is_sound());
}

#[test]
fn what_usage_came_to_stands_when_its_payment_fails_and_another_is_taken_for_as_much() {
    let shop = shop();
    let body = work_of("n-1");
    let first = form(&shop, &body, 1, |_| ());
    shop.work.hold_up();
    let call = shop.background(&body, &first);
    shop.work.until_begun();
    shop.chain.lets(PAYER.address, 0);
    shop.work.let_go();
    let withheld = call.join().unwrap();
    assert_eq!((withheld.status, withheld.code().as_str()), (402, "done-unpaid"));
    assert_eq!((shop.work.starts(), shop.paid()), (1, 0));
    shop.chain.lets(PAYER.address, FUNDS);
    // A payment of which no part can be taken is not taken whole.
    let mut asked = shop.ask("/execute", &body);
    let offer = asked.two.pointer_mut("/accepts/0").unwrap();
    offer["scheme"] = json!("exact");
    offer["extra"] = json!({
        "name": offer["extra"]["name"], "version": offer["extra"]["version"],
        "assetTransferMethod": "permit2", "paymentFlow": "upfront",
    });
    let whole = asked.permitted(&shop.payer(), 9, shop.chain.now_s());
    let refused = shop.show("/execute", &body, &asked.show_permit(&whole));
    assert_eq!((refused.status, refused.code().as_str(), shop.paid()), (402, "done-unpaid", 0));
    let heard = shop.show("/execute", &body, &form(&shop, &body, 2, |_| ()));
    assert_eq!(heard.status, 200, "{}", String::from_utf8_lossy(&heard.body));
    let amount = shop.paid();
    assert!((BASE..=PRICE).contains(&amount), "{amount}");
    assert_eq!((shop.work.starts(), told(&heard)["amount"].clone()), (1, json!(amount.to_string())));
    assert!(shop.is_sound());
}
