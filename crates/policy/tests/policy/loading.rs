//! What is refused when a file is read, and where the error points.

use execgate_policy::Policy;

fn error(text: &str) -> String {
    Policy::read(text.as_bytes()).err().map_or_else(String::new, |error| error.to_string())
}

/// A file with this as the tool `t`, on line 2, after `"t": ` of 12 characters.
fn tool(text: &str) -> String {
    error(&format!("{{\"version\":\"1\",\"default\":\"deny\",\n\"tools\":{{\"t\":{text}}}}}"))
}

#[test]
fn an_unknown_field_is_told_with_line_column_and_pointer() {
    assert_eq!(
        error("{\"version\": \"1\",\n  \"default\": \"deny\",\n  \"tols\": {}}"),
        "unknown field `tols`, expected one of: version, description, default, mode, hide, all_tools, tools, \
         resources, prompts, sampling, elicitation, roots, examples, at line 3 column 3 (/tols)"
    );
    let found = tool("{\"deny_if\": [{\"path\": \"args.a\", \"op\": \"eq\", \"vale\": 1}]}");
    assert!(
        found.ends_with("the field `value` is missing, at line 2 column 27 (/tools/t/deny_if/0)"),
        "{found}"
    );
    let found = tool("{\"rat\\\"e_limit\" : {}}");
    assert!(found.contains("unknown field `rat\"e_limit`") && found.contains("line 2 column 15"), "{found}");
}

#[test]
fn what_a_schema_cannot_say_here_is_refused_by_name_and_place() {
    let found = tool("{\"schema\": {\"properties\": {\"a\": {\"$ref\": \"http://x/\"}}}}");
    let wanted = "the field `$ref` of JSON Schema is not judged by policies: leave it out";
    assert!(found.starts_with(wanted) && found.contains("(/tools/t/schema/properties/a/$ref)"), "{found}");
}

#[test]
fn a_profile_and_a_price_are_said_in_one_way_each() {
    for good in [
        r#"{"profile": "data"}"#,
        r#"{"sandbox": {"profile": "data"}}"#,
        r#"{"price": "0.02"}"#,
        r#"{"price": {"amount": "20000", "asset": "USDC"}}"#,
        r#"{"limits": [{"counter": "c", "window": "day", "max": 1, "increment_from": "price"}]}"#,
    ] {
        assert_eq!(tool(good), "", "{good}");
    }
    let starred = error(r#"{"version":"1","default":"deny","tools":{"py*":{"profile":"data"}}}"#);
    let cases = [
        (starred, "a profile stands with the name of one action"),
        (tool(r#"{"profile": ""}"#), "a profile has a name"),
        (tool(r#"{"profile": "a", "sandbox": {"profile": "a"}}"#), "`profile` and `sandbox` say the same"),
        (tool(r#"{"sandbox": {"memory_mb": 256}}"#), "the field `profile` is missing"),
        (tool(r#"{"sandbox": {"profile": "a", "network": "none"}}"#), "unknown field `network`"),
        (tool(r#"{"price": "2 cents"}"#), "an amount is digits"),
        (tool(r#"{"price": 0.02}"#), "this must be an object"),
        (tool(r#"{"price": {"amount": "1.5"}}"#), "this must be millionths"),
        (tool(r#"{"price": {"amount": "1", "asset": "EUR"}}"#), "this must be one of: USDC, USD"),
    ];
    for (found, wanted) in cases {
        assert!(found.starts_with(wanted), "{wanted}: {found}");
    }
}

#[test]
fn wrong_files_are_refused_each_for_its_reason() {
    let cases = [
        ("", "the file is not JSON"),
        ("[]", "this must be an object"),
        ("{}", "the field `version` is missing"),
        (r#"{"version":"2","default":"deny"}"#, "this must be one of: 1"),
        (r#"{"version":"1"}"#, "the field `default` is missing"),
        (r#"{"version":"1","default":"maybe"}"#, "this must be one of: allow, deny"),
        (r#"{"version":"1","version":"1","default":"deny"}"#, "the key `version` is here twice"),
        (r#"{"version":"1","default":"deny","tools":{"a":{},"a":{}}}"#, "the key `a` is here twice"),
        (r#"{"version":"1","default":"deny","tools":{"a*b":{}}}"#, "a tool is named by letters"),
        (
            r#"{"version":"1","default":"deny","tools":{"*":{"action":"allow"}}}"#,
            "`*` allows nothing by itself",
        ),
        (r#"{"version":"1","default":"deny","mode":"log"}"#, "this must be one of: enforce, shadow"),
    ];
    for (text, wanted) in cases {
        assert!(error(text).starts_with(wanted), "{text}: {}", error(text));
    }
    assert!(error(&format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000))).contains("missing"));
    let invalid = Policy::read(b"{\n\xff}").unwrap_err();
    assert_eq!((invalid.what.as_str(), invalid.line), ("the file is not UTF-8", 2));
}

#[test]
fn wrong_rules_are_refused_each_for_its_reason() {
    let condition = |text: &str| tool(&format!("{{\"require\": [{{\"path\": \"args.a\", {text}}}]}}"));
    let cases = [
        (condition(r#""op": "like", "value": 1"#), "this must be one of: eq, neq, in"),
        (condition(r#""op": "eq", "value": {}"#), "this must be a text, a number, true, false or null"),
        (condition(r#""op": "in", "value": "x""#), "this must be an array"),
        (condition(r#""op": "gt", "value": "10""#), "this must be a number"),
        (condition(r#""op": "exists", "value": "yes""#), "this must be true or false"),
        (condition(r#""op": "regex", "value": "(""#), "this is not a regular expression"),
        (condition(r#""op": "regex", "value": "(a{1000}){1000}""#), "this is not a regular expression"),
        (condition(r#""op": "regex", "value": "(?=a)""#), "this is not a regular expression"),
        (tool(r#"{"require": [{"path": "state.x", "op": "exists"}]}"#), "a path is `args.NAME`"),
        (tool(r#"{"require": [{"path": "args.a..b", "op": "exists"}]}"#), "a segment of this path is empty"),
        (tool(r#"{"rate_limit": {"max": 1, "window": 0}}"#), "this must be a whole number from 1"),
        (tool(r#"{"rate_limit": {"max": 1, "window": "week"}}"#), "this must be one of: second"),
        (tool(r#"{"rate_limit": {"max": -1, "window": 1}}"#), "this must be a whole number from 0"),
        (tool(r#"{"limits": [{"counter": "_c", "window": 1, "max": 1}]}"#), "a counter's name is letters"),
        (
            tool(
                r#"{"limits": [{"counter": "c", "window": 60, "max": 1}, {"counter": "c", "window": "minute", "max": 2}]}"#,
            ),
            "this counter is here twice",
        ),
        (tool(r#"{"require_approval": {"min": 0}}"#), "this must be a whole number from 1"),
        (tool(r#"{"require_approval": {"ttl": 5}}"#), "unknown field `ttl`"),
    ];
    for (found, wanted) in cases {
        assert!(found.starts_with(wanted), "{wanted}: {found}");
    }
}

#[test]
fn examples_that_are_wrong_keep_the_file_from_loading() {
    let deny = |examples: &str| {
        tool(&format!(
            "{{\"deny_if\": [{{\"path\": \"args.c\", \"op\": \"regex\", \"value\": \"rm -rf\", {examples}}}]}}"
        ))
    };
    assert_eq!(deny(r#""match": [{"c": "rm -rf /"}], "not_match": [{"c": "rm x"}, {}]"#), "");
    assert!(
        deny(r#""match": [{"c": "rm -fr /"}]"#).contains("should be met by this example, and does not hold")
    );
    assert!(deny(r#""not_match": [{"c": "rm -rf"}]"#).contains("(/tools/t/deny_if/0/not_match/0)"));

    let named = |examples: &str| {
        error(&format!("{{\"version\":\"1\",\"default\":\"deny\",\"tools\":{{\"git_*\":{{{examples}}}}}}}"))
    };
    assert_eq!(named(r#""match": ["git_push"], "not_match": ["github"]"#), "");
    assert!(named(r#""match": ["github"]"#).starts_with("`git_*` does not fit this name"));

    let call = |rest: &str| {
        error(&format!(
            "{{\"version\":\"1\",\"default\":\"deny\",\"tools\":{{\"a\":{{}}}},\n\"examples\":[{{\"tool\":{rest}}}]}}"
        ))
    };
    assert_eq!(call(r#""a", "decision": "allow", "rule": "/tools/a""#), "");
    assert_eq!(
        call(r#""b", "decision": "allow""#),
        "this call of `b` should be `allow`, and is `deny` by /default, at line 2 column 13 (/examples/0)"
    );
}

#[test]
fn what_a_server_asks_is_allowed_or_denied_and_nothing_else() {
    let section =
        |entry: &str| error(&format!("{{\"version\":\"1\",\"default\":\"deny\",\n\"sampling\":{entry}}}"));
    for good in [
        r"{}",
        r#"{"action": "deny"}"#,
        r#"{"deny_if": [{"path": "args.maxTokens", "op": "gt", "value": 10}]}"#,
    ] {
        assert_eq!(section(good), "", "{good}");
    }
    for bad in [
        r#"{"rate_limit": {"max": 1, "window": "minute"}}"#,
        r#"{"action": "require_approval"}"#,
        r#"{"price": "1"}"#,
    ] {
        assert!(section(bad).contains("no run of its own"), "{bad}: {}", section(bad));
        for name in ["notes.sampling:create", "sampling:create"] {
            let entry =
                format!("{{\"version\":\"1\",\"default\":\"deny\",\n\"tools\":{{\"{name}\":{bad}}}}}");
            assert!(error(&entry).contains("no run of its own"), "{entry}: {}", error(&entry));
        }
    }
}
