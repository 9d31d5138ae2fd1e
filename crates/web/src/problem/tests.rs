//! What a problem tells, and what it never does.

use execgate_flow::Refusal;
use execgate_tool::{BadCall, NotStarted};
use serde_json::{Value, json};

use super::{Problem, Shape};

fn told(refusal: Refusal, shape: Shape) -> (u16, String, Value) {
    let answer = Problem::from(refusal).shaped(shape);
    (answer.status, answer.content_type, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn what_the_services_answer_has_one_member_and_everything_else_says_all() {
    let refused = || Refusal::BadCall(BadCall::at("/code", "so not"));
    let plain = (400, "application/json".to_owned(), json!({"error": "so not"}));
    assert_eq!(told(refused(), Shape::CodeRun), plain);
    assert_eq!(told(refused(), Shape::Problem).2["pointer"], "/payload/code");
    let (status, kind, body) = told(Refusal::WatchedUnpaid, Shape::CodeRun);
    assert_eq!((status, kind.as_str()), (406, "application/problem+json"));
    assert_eq!((&body["code"], &body["error"]), (&json!("stream-needs-upfront"), &body["detail"]));
}

#[test]
fn one_of_many_is_named() {
    let bad = Refusal::BadCall(BadCall::at("/files/3", "no base64"));
    assert_eq!(told(bad, Shape::CodeRun).2, json!({"error": "files/3: no base64"}));
}

#[test]
fn a_full_house_is_the_same_before_and_after_the_claim() {
    for shape in [Shape::Problem, Shape::CodeRun] {
        let before = told(Refusal::NoSlot(NotStarted::Full), shape);
        assert_eq!(told(Refusal::NotStarted(NotStarted::Full), shape), before);
        assert_eq!(before.0, 503);
    }
    assert_eq!(
        Problem::from(Refusal::NotStarted(NotStarted::Full)).told(Shape::CodeRun).headers()["retry-after"],
        "1"
    );
}

#[test]
fn a_limit_that_is_reached_says_which_and_when_there_is_room() {
    let refused = || Refusal::LimitReached { rule: "/tools/echo/limits/0".to_owned(), retry_after_s: 42 };
    for shape in [Shape::Problem, Shape::CodeRun] {
        let (status, kind, body) = told(refused(), shape);
        assert_eq!((status, kind.as_str()), (429, "application/problem+json"));
        assert_eq!((&body["rule"], &body["code"]), (&json!("/tools/echo/limits/0"), &json!("limit-reached")));
        assert_eq!(Problem::from(refused()).told(shape).headers()["retry-after"], "42");
    }
}

#[test]
fn why_nothing_can_start_is_for_the_operator() {
    for fault in [Refusal::NoSlot, Refusal::NotStarted] {
        for shape in [Shape::Problem, Shape::CodeRun] {
            let (_, _, body) = told(fault(NotStarted::Fault("/run/helper.sock: gone".to_owned())), shape);
            assert!(!body.to_string().contains("helper.sock"), "{body}");
        }
    }
    let off = Refusal::NoSlot(NotStarted::Unavailable("no user namespaces here".to_owned()));
    assert_eq!(told(off, Shape::CodeRun).2, json!({"error": "no user namespaces here"}));
}
