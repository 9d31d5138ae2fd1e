//! What is decided, and by which rule.

use execgate_model::Labels;
use execgate_policy::{Decision, Policy, PolicySet};
use serde_json::{Value, json};

use super::ask::{DIGEST, as_caller, ask, caller, policy, said};

#[track_caller]
fn all(rules: &PolicySet, cases: &[(&str, Value, &str, &str)]) {
    for (tool, arguments, word, rule) in cases {
        assert_eq!(said(rules, tool, arguments), (*word, (*rule).to_owned()), "{tool} {arguments}");
    }
}

fn code() -> PolicySet {
    policy(&json!({
        "version": "1", "default": "deny", "hide": ["secret_*"],
        "tools": {
            "code_run": {
                "require": [{"path": "args.language", "op": "in", "value": ["python"], "on_deny": "python only"}],
                "deny_if": [{"path": "args.amount", "op": "gt", "value": 100}],
                "require_approval": {"when": [{"path": "args.network", "op": "eq", "value": true}],
                                     "approvers": ["ops"], "min": 2, "ttl_s": 60}
            },
            "list": {},
            "git_*": {"action": "allow"},
            "git_push": {"action": "deny", "reason": "nobody pushes"},
            "fs_*": {"deny_if": [{"path": "args.path", "op": "contains", "value": ".."}]},
            "fs_read": {},
            "wire": {"action": "require_approval"},
        }
    }))
}

#[test]
fn every_kind_of_rule_decides_under_its_own_name() {
    all(
        &code(),
        &[
            ("list", json!({}), "allow", "/tools/list"),
            ("unlisted", json!({}), "deny", "/default"),
            ("secret_key", json!({}), "deny", "/hide/0"),
            ("code_run", json!({"language": "python"}), "allow", "/tools/code_run"),
            ("code_run", json!({"language": "ruby"}), "deny", "/tools/code_run/require/0"),
            ("code_run", json!({}), "deny", "/tools/code_run/require/0"),
            ("code_run", json!({"language": "python", "amount": 101}), "deny", "/tools/code_run/deny_if/0"),
            ("code_run", json!({"language": "python", "amount": "9"}), "deny", "/tools/code_run/deny_if/0"),
            (
                "code_run",
                json!({"language": "python", "network": true}),
                "require_approval",
                "/tools/code_run/require_approval",
            ),
            ("wire", json!({}), "require_approval", "/tools/wire/action"),
        ],
    );
}

#[test]
fn arguments_of_another_form_are_refused_before_conditions_are_asked() {
    let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
    let entry = json!({"schema": schema, "deny_if": [{"path": "args.a", "op": "eq", "value": "x"}]});
    let rules = policy(&json!({"version": "1", "default": "deny", "tools": {"t": entry}}));
    all(
        &rules,
        &[
            ("t", json!({"a": "y"}), "allow", "/tools/t"),
            ("t", json!({"a": "x"}), "deny", "/tools/t/deny_if/0"),
            ("t", json!({"a": 7}), "deny", "/tools/t/schema"),
            ("t", json!({}), "deny", "/tools/t/schema"),
        ],
    );
    let Decision::Deny(denial) = ask(&rules, "t", &json!({"a": 7})) else { panic!("not denied") };
    assert_eq!(denial.reason, "the arguments break the schema of the policy at `/a`: must be of type string");
}

#[test]
fn a_star_adds_rules_and_lists_tools_only_by_its_own_action() {
    all(
        &code(),
        &[
            ("git_log", json!({}), "allow", "/tools/git_*"),
            ("git_push", json!({}), "deny", "/tools/git_push/action"),
            ("fs_read", json!({"path": "a"}), "allow", "/tools/fs_read"),
            ("fs_read", json!({"path": "../a"}), "deny", "/tools/fs_*/deny_if/0"),
            ("fs_write", json!({"path": "a"}), "deny", "/default"),
        ],
    );
}

#[test]
fn the_caller_is_told_what_the_file_says() {
    let reason = |tool, arguments: Value| {
        let Decision::Deny(denial) = ask(&code(), tool, &arguments) else { panic!("{tool} is not denied") };
        denial.reason
    };
    assert_eq!(reason("code_run", json!({"language": "x"})), "python only");
    assert_eq!(reason("git_push", json!({})), "nobody pushes");
    assert_eq!(reason("secret_key", json!({})), "Tool `secret_key` is hidden by policy");
    assert_eq!(
        reason("fs_read", json!({"path": "../etc/shadow"})),
        "policy refuses by a condition on args.path (contains)"
    );
}

#[test]
fn an_approval_says_who_how_many_and_for_how_long() {
    let Decision::RequireApproval(demand) =
        ask(&code(), "code_run", &json!({"language": "python", "network": true}))
    else {
        panic!("no approval is wanted")
    };
    let terms = &demand.terms[0];
    assert_eq!((terms.approvers.as_slice(), terms.min, terms.ttl_s), (["ops".to_owned()].as_slice(), 2, 60));
    assert_eq!(demand.allow.policy(), DIGEST);
}

#[test]
fn a_shadow_refuses_nothing_and_says_what_it_would_have_refused() {
    let rules = policy(&json!({
        "version": "1", "default": "allow",
        "tools": {
            "a": {"mode": "shadow", "action": "deny"},
            "b": {"mode": "shadow", "deny_if": [{"path": "args.x", "op": "exists"}], "require_approval": {}},
        }
    }));
    all(
        &rules,
        &[
            ("a", json!({}), "allow", "shadow:/tools/a/action"),
            ("b", json!({"x": 1}), "allow", "shadow:/tools/b/deny_if/0"),
            ("b", json!({}), "allow", "shadow:/tools/b/require_approval"),
        ],
    );
    let rules = policy(&json!({"version": "1", "default": "deny", "mode": "shadow", "hide": ["x"]}));
    all(&rules, &[("x", json!({}), "allow", "shadow:/hide/0"), ("y", json!({}), "allow", "shadow:/default")]);
    assert!(!rules.policy().unwrap().hides("x"));
}

#[test]
fn a_refusal_in_shadow_lists_no_tools() {
    for action in ["deny", "require_approval"] {
        let tools =
            json!({"a*": {"mode": "shadow", "action": action}, "b*": {"mode": "shadow", "action": "allow"}});
        let rules = policy(&json!({"version": "1", "default": "deny", "tools": tools}));
        all(&rules, &[("ab", json!({}), "deny", "/default"), ("bc", json!({}), "allow", "/tools/b*")]);
        let tools = json!({"a": {"mode": "shadow", "action": action}, "b": {"mode": "shadow"}});
        let rules = policy(&json!({"version": "1", "default": "deny", "tools": tools}));
        all(&rules, &[("a", json!({}), "deny", "/default"), ("b", json!({}), "allow", "/tools/b")]);
    }
}

#[test]
fn a_rule_in_force_refuses_whatever_a_shadow_says() {
    let rules = policy(&json!({
        "version": "1", "default": "allow",
        "tools": {"a": {"mode": "shadow", "action": "deny"}, "*": {"deny_if": [{"path": "args.x", "op": "exists"}]}}
    }));
    all(&rules, &[("a", json!({"x": 1}), "deny", "/tools/*/deny_if/0")]);
}

#[test]
fn labels_of_the_caller_can_be_asked_for() {
    let rules = policy(&json!({
        "version": "1", "default": "allow",
        "all_tools": {"require": [{"path": "labels.env", "op": "eq", "value": "ci"}]}
    }));
    let with = |labels: &Labels| as_caller(&rules, &caller("g1"), "a", &json!({}), labels).word();
    assert_eq!(with(&Labels::from([("env".to_owned(), "ci".to_owned())])), "allow");
    assert_eq!(with(&Labels::from([("env".to_owned(), "prod".to_owned())])), "deny");
    assert_eq!(with(&Labels::new()), "deny");
}

#[test]
fn what_a_tool_may_is_told_in_a_few_words() {
    let rules = code();
    let standing = |tool| rules.policy().unwrap().standing(tool);
    assert_eq!(standing("list"), "allow");
    assert_eq!(standing("unlisted"), "deny");
    assert_eq!(standing("secret_x"), "hidden");
    assert_eq!(standing("code_run"), "allow, on conditions, with approval");
}

#[test]
fn a_file_for_one_server_names_its_tools_as_the_server_does() {
    let file = json!({
        "version": "1", "default": "deny", "hide": ["secret"],
        "tools": {
            "read": {"limits": [{"counter": "calls", "window": "minute", "max": 1}]},
            "notes.read": {"action": "deny"},
            "write": {"action": "deny"}
        }
    });
    let policy = Policy::read(file.to_string().as_bytes()).unwrap().for_server("notes");
    assert!(policy.hides("notes.secret") && policy.bars("notes.write") && !policy.bars("notes.read"));
    let rules = PolicySet::new(None, DIGEST).with_policy(policy);
    all(
        &rules,
        &[
            ("notes.read", json!({}), "allow", "/tools/read"),
            ("notes.write", json!({}), "deny", "/tools/write/action"),
            ("notes.secret", json!({}), "deny", "/hide/0"),
            ("notes.other", json!({}), "deny", "/default"),
            // Its own prefix is taken off once.
            ("notes.notes.read", json!({}), "deny", "/tools/notes.read/action"),
            ("other.read", json!({}), "deny", "/default"),
            ("notes:resources.read", json!({}), "deny", "/default"),
        ],
    );
    let Decision::Allow(allow) = ask(&rules, "notes.read", &json!({})) else { panic!("not allowed") };
    assert!(allow.limits()[0].key.starts_with("notes.read\n"), "{}", allow.limits()[0].key);
}

#[test]
fn a_star_for_tools_opens_nothing_that_a_server_has_beside_them() {
    let file = |tools: Value| json!({"version": "1", "default": "deny", "tools": tools}).to_string();
    let rules = |tools: Value| {
        PolicySet::new(None, DIGEST).with_policy(Policy::read(file(tools).as_bytes()).unwrap())
    };
    all(
        &rules(json!({"notes.*": {"action": "allow"}})),
        &[
            ("notes.read", json!({}), "allow", "/tools/notes.*"),
            ("notes.resources:read", json!({}), "deny", "/default"),
            ("notes.prompts:get", json!({}), "deny", "/default"),
            ("notes.sampling:create", json!({}), "deny", "/default"),
        ],
    );
    let asked = json!({"version": "1", "default": "deny", "sampling": {"deny_if": [
        {"path": "args.maxTokens", "op": "gt", "value": 10}
    ]}});
    let asked = Policy::read(asked.to_string().as_bytes()).unwrap();
    all(
        &PolicySet::new(None, DIGEST).with_policy(asked),
        &[
            ("notes.sampling:create", json!({"maxTokens": 10}), "allow", "/sampling"),
            ("notes.sampling:create", json!({"maxTokens": 11}), "deny", "/sampling/deny_if/0"),
            ("notes.elicitation:create", json!({}), "deny", "/default"),
        ],
    );
    all(
        &rules(json!({"notes.resources:read": {"action": "allow"}})),
        &[("notes.resources:read", json!({}), "allow", "/tools/notes.resources:read")],
    );
}
