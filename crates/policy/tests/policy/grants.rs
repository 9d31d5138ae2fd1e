//! The rules of a grant beside the gateway's: both have to let a call pass.

use execgate_model::Amount;
use execgate_policy::{Decision, Policy, PolicySet};
use serde_json::{Value, json};

use super::ask::{BOTH, as_holder, ask, own, policy};

fn asked(rules: &PolicySet, own: &Policy, tool: &str, arguments: &Value) -> Decision {
    as_holder(rules, own, "g1", tool, arguments, Amount::ZERO)
}

fn open() -> PolicySet {
    policy(&json!({"version": "1", "default": "allow"}))
}

#[test]
fn what_either_refuses_is_refused_and_the_name_says_whose_rule_it_was() {
    let gateway = policy(&json!({"version": "1", "default": "deny",
        "tools": {"a": {}, "b": {"deny_if": [{"path": "args.x", "op": "exists"}]}}}));
    let mine = own(&json!({"version": "1", "default": "deny", "hide": ["h"],
        "tools": {"a": {"require": [{"path": "args.y", "op": "exists"}]}, "b": {}, "c": {}}}));
    let cases = [
        ("a", json!({"y": 1}), "allow", "grant:/tools/a"),
        ("a", json!({}), "deny", "grant:/tools/a/require/0"),
        ("b", json!({}), "allow", "grant:/tools/b"),
        ("b", json!({"x": 1}), "deny", "/tools/b/deny_if/0"),
        ("c", json!({}), "deny", "/default"),
    ];
    for (tool, arguments, word, rule) in cases {
        let decision = asked(&gateway, &mine, tool, &arguments);
        assert_eq!((decision.word(), decision.rule()), (word, rule), "{tool} {arguments}");
    }
    let decision = asked(&open(), &mine, "h", &json!({}));
    assert_eq!((decision.word(), decision.rule()), ("deny", "grant:/hide/0"));
    assert_eq!(asked(&open(), &mine, "z", &json!({})).rule(), "grant:/default");
    let Decision::Allow(allow) = asked(&open(), &mine, "b", &json!({})) else { panic!("not allowed") };
    assert_eq!(allow.policy(), BOTH, "the digest is over both");
}

#[test]
fn the_limits_of_both_are_reserved_and_no_counter_is_the_others() {
    let limited = |scope: &str| {
        json!({"version": "1", "default": "allow", "all_tools": {
            "limits": [{"counter": "c", "window": "minute", "max": 5, "scope": scope}]}})
    };
    for scope in ["grant", "session", "tenant", "tool", "global"] {
        let (gateway, mine) = (policy(&limited(scope)), own(&limited(scope)));
        let of = |grant: &str| {
            let decision = as_holder(&gateway, &mine, grant, "a", &json!({}), Amount::ZERO);
            let Decision::Allow(allow) = decision else { panic!("{decision:?}") };
            allow.limits().to_vec()
        };
        let (one, two) = (of("g1"), of("g2"));
        let rules: Vec<_> = one.iter().map(|limit| limit.rule.as_str()).collect();
        assert_eq!(rules, ["/all_tools/limits/0", "grant:/all_tools/limits/0"]);
        assert_ne!(one[0].key, one[1].key, "{scope}");
        assert_ne!(one[1].key, two[1].key, "{scope}: a grant's counters are its own");
    }
}

#[test]
fn approvals_of_both_are_demanded() {
    let wants = json!({"version": "1", "default": "allow", "all_tools": {"require_approval": {}}});
    let Decision::RequireApproval(demand) = asked(&policy(&wants), &own(&wants), "a", &json!({})) else {
        panic!("no approval is wanted")
    };
    let rules: Vec<_> = demand.terms.iter().map(|terms| terms.rule.as_str()).collect();
    assert_eq!(rules, ["/all_tools/require_approval", "grant:/all_tools/require_approval"]);
}

#[test]
fn a_grants_file_is_the_same_file_with_the_same_errors_and_examples() {
    let file = json!({"version": "1", "default": "deny", "tools": {"a": {}},
        "examples": [{"tool": "a", "decision": "allow", "rule": "/tools/a"},
                     {"tool": "b", "decision": "deny", "rule": "/default"}]});
    own(&file);
    policy(&file);
    let wrong = b"{\"version\":\"1\",\"default\":\"deny\",\"tols\":{}}";
    assert_eq!(Policy::read_for_grant(wrong).unwrap_err(), Policy::read(wrong).unwrap_err());
}

#[test]
fn code_runs_in_the_profile_of_the_rules_and_in_no_other() {
    let file = |profile: &str| json!({"version": "1", "default": "allow", "tools": {"python": {"profile": profile}}});
    let rules = policy(&file("data"));
    let profile = |decision: Decision| match decision {
        Decision::Allow(allow) => allow.profile().unwrap_or("(none)").to_owned(),
        other @ (Decision::Deny(_) | Decision::RequireApproval(_)) => {
            format!("{} by {}", other.word(), other.rule())
        }
    };
    let denied = "deny by /tools/python/profile";
    for (arguments, wanted) in [
        (json!({}), "data"),
        (json!({"profile": null}), "data"),
        (json!({"profile": "data"}), "data"),
        (json!({"profile": "default"}), denied),
        (json!({"profile": ["data"]}), denied),
    ] {
        assert_eq!(profile(ask(&rules, "python", &arguments)), wanted, "{arguments}");
    }
    assert_eq!(profile(ask(&rules, "bash", &json!({"profile": "x"}))), "(none)");
    assert_eq!(profile(asked(&rules, &own(&file("data")), "python", &json!({}))), "data");
    let other = profile(asked(&rules, &own(&file("bare")), "python", &json!({})));
    assert_eq!(other, "deny by grant:/tools/python/profile");
    let shadow = json!({"version": "1", "default": "allow", "mode": "shadow", "tools": {"python": {"profile": "data"}}});
    assert_eq!(profile(ask(&policy(&shadow), "python", &json!({}))), "(none)");
}

#[test]
fn a_price_is_the_narrowest_entrys_and_a_limit_can_count_it() {
    let rules = own(&json!({"version": "1", "default": "allow", "tools": {
        "http_*": {"price": "0.05"}, "http_get": {"price": {"amount": "1"}}, "*": {"mode": "shadow", "price": "9"}},
        "all_tools": {"limits": [{"counter": "spend", "window": "day", "max": 60_000, "increment_from": "price"}]}}));
    let price = |tool| rules.price(tool).map(Amount::micros);
    assert_eq!((price("http_get"), price("http_put"), price("a")), (Some(1), Some(50_000), None));
    let at = |price| as_holder(&open(), &rules, "g1", "a", &json!({}), Amount::from_micros(price));
    let Decision::Allow(allow) = at(60_000) else { panic!("not allowed") };
    assert_eq!(allow.limits()[0].amount, 60_000);
    assert_eq!(at(60_001).rule(), "grant:/all_tools/limits/0");
    assert_eq!(at(u64::MAX).rule(), "grant:/all_tools/limits/0");
}
