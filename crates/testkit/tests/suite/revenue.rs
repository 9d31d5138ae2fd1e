//! What the operator sees of money: payments one by one, and sums in the metrics, as the record has them.

use execgate_testkit::{Move, OPERATOR_UID, World, ask, get};
use execgate_web::Peer;
use serde_json::{Value, json};

const OPERATOR: Peer = Peer::User { uid: OPERATOR_UID };

/// Two payments that were earned, one that is owed, one that nobody has heard the end of, and one that failed.
async fn sold() -> World {
    let world = World::priced().open();
    world.walk(ask("gives").nonce("a").pays("p1")).await.passage();
    world.walk(ask("raises").nonce("b").pays("p2")).await.passage();
    assert_eq!(world.walk(ask("panics").nonce("c").pays("p3^")).await.passage().answer.status, 409);
    world.bank().next_capture("p4", Move::LostUnheard);
    assert_eq!(world.walk(ask("gives").nonce("d").pays("p4")).await.rule(), "settlement-pending");
    world.bank().next_capture("p5", Move::Failed);
    assert_eq!(world.walk(ask("gives").nonce("e").pays("p5")).await.rule(), "done-unpaid");
    world
}

async fn payments(world: &World, after: u64) -> Vec<Value> {
    let reply = world.admin(OPERATOR, get(&format!("/revenue?after={after}"))).await;
    assert_eq!(reply.status, 200, "{}", reply.show());
    reply.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn payments_that_were_taken_are_listed_in_order_and_what_is_owed_is_told_apart() {
    let world = sold().await;
    let listed = payments(&world, 0).await;
    let told: Vec<_> = listed
        .iter()
        .map(|payment| json!([payment["action"], payment["amount"], payment["credit"], payment["network"]]))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["gives", "0.05", false, "account"],
            ["raises", "0.05", false, "account"],
            ["panics", "0.05", true, "account"]
        ])
    );
    assert_eq!(u64::try_from(listed.len()).ok(), Some(world.fsck().await.1.counts.captured));
    let second = listed[1]["place"].as_u64().unwrap();
    assert_eq!(payments(&world, second).await, listed[2..]);
    let last = listed[2]["place"].as_u64().unwrap();
    assert_eq!(payments(&world, last).await, Vec::<Value>::new());
    assert_eq!(world.admin(OPERATOR, get("/revenue?after=x")).await.status, 400);
}

#[tokio::test]
async fn the_metrics_tell_of_money_by_where_it_stands() {
    let world = sold().await;
    let reply = world.admin(OPERATOR, get("/metrics")).await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    for (state, count, usd) in [
        ("captured", 3, "0.15"),
        ("credited", 1, "0.05"),
        ("open", 1, "0.05"),
        ("pending", 1, "0.05"),
        ("unpaid", 1, "0.05"),
        ("unfinal", 0, "0.0"),
        ("reversed", 0, "0.0"),
    ] {
        for line in [
            format!("execgate_payments{{state=\"{state}\"}} {count}"),
            format!("execgate_money_usd{{state=\"{state}\"}} {usd}"),
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
