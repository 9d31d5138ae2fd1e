//! The operator's word on a pending payment, by the administration: taken where nobody can tell, and refused where somebody can.

use execgate_model::Role;
use execgate_store::{Grant, SettlementWord};
use execgate_testkit::{Move, OPERATOR_UID, Reply, World, ask, get, holder, post, with};
use execgate_web::Peer;
use serde_json::{Value, json};

const OPERATOR: Peer = Peer::User { uid: OPERATOR_UID };

/// A world with one payment of which nobody has heard the end.
async fn pending(moved: Move) -> World {
    let world = World::priced().open();
    world.bank().next_capture("p", moved);
    assert_eq!(world.walk(ask("gives").nonce("n").pays("p")).await.rule(), "settlement-pending");
    world
}

async fn say(world: &World, word: Value) -> Reply {
    let path = format!("/payments/{}/end", world.only_run().await.run);
    world.admin(OPERATOR, post(&path, word.to_string())).await
}

async fn refused(world: &World, word: Value) -> String {
    let reply = say(world, word).await;
    assert_eq!((reply.status, &reply.json()["code"]), (409, &json!("contradicted")), "{}", reply.show());
    reply.json()["detail"].as_str().unwrap().to_owned()
}

fn gone() -> Value {
    json!({"word": "gone"})
}

fn taken(transaction: &str) -> Value {
    json!({"word": "taken", "transaction": transaction})
}

#[tokio::test]
async fn what_was_taken_is_not_gone_and_was_taken_by_what_took_it() {
    let world = pending(Move::DoneUnheard).await;
    assert!(refused(&world, gone()).await.contains("it was taken by transfer-of-p"));
    assert!(refused(&world, taken("other")).await.contains("transfer-of-p"));
    let told = say(&world, taken("transfer-of-p")).await.json();
    assert_eq!(
        (&told["state"], &told["credit"], &told["amount"]),
        (&json!("captured"), &json!(false), &json!("0.05"))
    );
    assert_eq!(say(&world, gone()).await.status, 409, "it has ended");
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn what_may_still_be_taken_is_retried_and_what_never_will_be_is_not_taken() {
    let world = pending(Move::LostUnheard).await;
    for word in [gone(), taken("0xabc")] {
        assert!(refused(&world, word).await.contains("may still be"));
    }
    world.bank().give_up("p");
    assert!(refused(&world, taken("0xabc")).await.contains("never will be"));
    assert_eq!(say(&world, gone()).await.json()["state"], "unpaid");
    assert_eq!(world.only_run().await.settlement, SettlementWord::Unpaid);
    assert_eq!(world.fsck().await.0, []);
}

#[tokio::test]
async fn where_nobody_can_tell_the_operators_word_is_taken_and_no_key_has_it() {
    let world = pending(Move::DoneUnheard).await;
    world.bank().close(true);
    let run = world.only_run().await.run;
    let listed = world.admin(OPERATOR, get("/payments")).await.json();
    assert_eq!(
        (&listed[0]["state"], &listed[0]["run"], &listed[1]),
        (&json!("pending"), &json!(run), &Value::Null)
    );
    let key = world.give(Grant { roles: [Role::Admin].into(), ..holder("admin") }).await;
    let request = with(post(&format!("/payments/{run}/end"), gone().to_string()), "x-api-key", &key);
    let network = Peer::Network { address: [127, 0, 0, 1].into() };
    assert_eq!(world.admin(network, request).await.json()["rule"], "operator-only/payments");
    for wrong in [
        json!({}),
        json!({"word": "lost"}),
        json!({"word": "taken"}),
        json!({"word": "gone", "transaction": "x"}),
    ] {
        assert_eq!(say(&world, wrong).await.status, 400);
    }
    let retried = world.admin(OPERATOR, post(&format!("/payments/{run}/retry"), "{}")).await.json();
    assert_eq!(retried, json!({"captured": 0, "unpaid": 0, "released": 0, "left": 1}));
    assert_eq!(say(&world, taken("0xabc")).await.json()["state"], "captured");
    assert_eq!(world.admin(OPERATOR, get("/payments")).await.json(), json!([]));
}
