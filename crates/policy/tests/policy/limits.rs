//! What a call counts for, and whose counter it is.

use execgate_model::{ActionName, Amount, Caller, Effect, Identity, NO_LABELS, TenantId};
use execgate_policy::{Decision, Kept, PolicySet, Request, Reservation, Spent, decide};
use serde_json::{Value, json};

use super::ask::{as_caller, caller, policy, said};

fn limited(limit: &Value) -> PolicySet {
    policy(&json!({"version": "1", "default": "allow", "tools": {"t*": {"limits": [limit]}}}))
}

#[track_caller]
fn one(rules: &PolicySet, caller: &Caller, tool: &str, arguments: &Value) -> Reservation {
    let decision = as_caller(rules, caller, tool, arguments, &NO_LABELS);
    let Decision::Allow(allow) = decision else { panic!("{decision:?}") };
    allow.limits()[0].clone()
}

#[test]
fn a_scope_says_who_shares_a_counter() {
    let other_tenant = Caller { tenant: TenantId::new("umbrella").unwrap(), ..caller("g1") };
    let nobody = Caller { identity: Identity::Anonymous, ..caller("g1") };
    let mine = (caller("g1"), "t1");
    // Whether the counter is the same as mine: another tool, grant, tenant, or nobody.
    let cases = [
        ("grant", [true, false, false, false]),
        ("session", [true, false, false, false]),
        ("tenant", [true, true, false, true]),
        ("tool", [false, true, true, true]),
        ("global", [true, true, true, true]),
    ];
    for (scope, same) in cases {
        let rules = limited(&json!({"counter": "c", "window": "minute", "max": 5, "scope": scope}));
        let key = |caller: &Caller, tool| one(&rules, caller, tool, &json!({})).key;
        let keys = [
            key(&caller("g1"), "t2"),
            key(&caller("g2"), "t1"),
            key(&other_tenant, "t1"),
            key(&nobody, "t1"),
        ];
        let mine = key(&mine.0, mine.1);
        assert_eq!(keys.map(|key| key == mine), same, "{scope}");
    }
}

#[test]
fn a_new_session_is_no_way_around_a_limit() {
    let session = |id: &str| Caller {
        identity: Identity::Session { id: id.to_owned(), is_new: false },
        ..caller("g1")
    };
    let nobody = Caller { identity: Identity::Anonymous, ..caller("g1") };
    let keys = |scope: &str| {
        let rules = limited(&json!({"counter": "c", "window": "minute", "max": 5, "scope": scope}));
        [session("a"), session("b"), nobody.clone()].map(|caller| one(&rules, &caller, "t", &json!({})).key)
    };
    let [first, second, none] = keys("grant");
    assert!(first == second && second == none);
    let [first, second, none] = keys("session");
    assert!(first != second && second != none && first != none);
}

#[test]
fn what_is_counted_is_one_or_a_number_or_an_argument() {
    let base = json!({"counter": "c", "window": 90, "max": 100});
    let with = |name: &str, value: Value| {
        let mut limit = base.clone();
        limit[name] = value;
        limited(&limit)
    };
    let amount = |rules: &PolicySet| one(rules, &caller("g1"), "t", &json!({"n": 7})).amount;
    assert_eq!(amount(&limited(&base)), 1);
    assert_eq!(amount(&with("increment", json!(5))), 5);
    let by_argument = with("increment_from", json!("args.n"));
    assert_eq!(amount(&by_argument), 7);
    for odd in [json!({}), json!({"n": -1}), json!({"n": 1.5}), json!({"n": "7"}), json!({"n": 101})] {
        assert_eq!(said(&by_argument, "t", &odd), ("deny", "/tools/t*/limits/0".to_owned()), "{odd}");
    }
}

#[test]
fn windows_start_at_multiples_of_their_length() {
    let rules = limited(&json!({"counter": "c", "window": "day", "max": 1}));
    let window = one(&rules, &caller("g1"), "t", &json!({})).window;
    // 2024-06-01T12:00:00Z is in the day that starts at midnight UTC.
    assert_eq!(window.start(1_717_243_200_000), 1_717_200_000_000);
    assert_eq!(window.end(1_717_243_200_000), 1_717_286_400_000);
}

#[test]
fn the_short_form_is_a_limit_of_each_grant() {
    let short =
        json!({"version": "1", "default": "allow", "tools": {"t": {"rate_limit": {"max": 3, "window": 10}}}});
    let reservation = one(&policy(&short), &caller("g1"), "t", &json!({}));
    assert_eq!((reservation.rule.as_str(), reservation.max), ("/tools/t/rate_limit", 3));
    assert_eq!((reservation.window.length_ms(), reservation.kept), (10_000, Kept::Enforced));
}

#[test]
fn what_was_spent_refuses_early() {
    let rules = limited(&json!({"counter": "c", "window": "minute", "max": 2}));
    let (caller, action) = (caller("g1"), ActionName::new("t").unwrap());
    let key = one(&rules, &caller, "t", &json!({})).key;
    let arguments = json!({});
    let (effect, labels) = (Effect::Live, &NO_LABELS);
    let (price, own, arguments) = (Amount::ZERO, None, &arguments);
    let request = Request { caller: &caller, action: &action, effect, arguments, labels, price, own };
    let word = |used| decide(&request, &rules, &Spent::default().with(key.clone(), used)).word();
    assert_eq!([word(0), word(1), word(2), word(u64::MAX)], ["allow", "allow", "deny", "deny"]);
}

#[test]
fn a_limit_in_shadow_is_counted_and_not_kept() {
    let rules = policy(&json!({"version": "1", "default": "allow", "mode": "shadow",
        "all_tools": {"rate_limit": {"max": 0, "window": "hour"}}}));
    let reservation = one(&rules, &caller("g1"), "t", &json!({}));
    assert_eq!((reservation.kept, reservation.max), (Kept::Shadow, 0));
}
