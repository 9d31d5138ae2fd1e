//! Arguments that would loop for ever or take all memory, in real workers: each must end within its limits, and the
//! gateway must go on.

use std::mem::replace;

use execgate_model::{BodyPlace, Effect, LimitKind, Product, RunId, RunOptions, Verdict};
use execgate_tool::builtin::{HttpClient, Parts, all};
use execgate_tool::{Call, Cancel, NotStarted, Registry, RunContext, RunFault, Workers};
use num_bigint::BigInt;
use serde_json::{Value, json};

/// The deadline of calls that must meet it. What ends by itself takes less, in a debug build too.
const SHORT_MS: u64 = 1_000;

/// The deadline of calls that must not meet it, for they end by another limit.
const LONG_MS: u64 = 30_000;

/// As many bits as 3,000 digits have.
const BITS: u64 = 9_960;

fn registry() -> Registry {
    let workers = Workers::of_program(env!("CARGO_BIN_EXE_tool-worker"));
    Registry::new(all(&Parts { workers, client: HttpClient::new() })).unwrap()
}

async fn run(registry: &Registry, tool: &str, payload: Value, timeout_ms: u64, cancel: Cancel) -> Product {
    try_to_run(registry, tool, payload, timeout_ms, cancel).await.unwrap()
}

async fn try_to_run(
    registry: &Registry,
    tool: &str,
    payload: Value,
    timeout_ms: u64,
    cancel: Cancel,
) -> Result<Product, RunFault> {
    let options = RunOptions { timeout_ms: Some(timeout_ms), ..RunOptions::default() };
    let tool = registry.find(tool).unwrap();
    let mut prepared =
        tool.prepare(&Call { payload: &payload, options: &options, effect: Effect::Live }).unwrap();
    prepared.reserve().unwrap();
    let context =
        RunContext { run: RunId::from_entropy([0; 16]), cancel, watcher: None, place: BodyPlace::default() };
    prepared.run(context).await
}

async fn ended(registry: &Registry, tool: &str, payload: Value, timeout_ms: u64) -> Verdict {
    run(registry, tool, payload, timeout_ms, Cancel::default()).await.verdict
}

fn filter(filter: &str) -> Value {
    json!({"data": [1, 2, 3], "filter": filter})
}

async fn works(registry: &Registry) {
    let product = run(registry, "data_filter", filter("map(. * 2)"), LONG_MS, Cancel::default()).await;
    assert_eq!(product.result, json!({"items": [2, 4, 6], "count": 3, "total": 3}));
}

#[tokio::test]
async fn filters_that_loop_are_killed_at_their_deadline() {
    let registry = registry();
    for bomb in [
        "def f: f; f",
        "[limit(1e18; repeat(1)) | empty]",
        "last(range(1e18))",
        "reduce range(1e18) as $i (0; . + $i)",
        "until(false; .)",
    ] {
        let verdict = ended(&registry, "data_filter", filter(bomb), SHORT_MS).await;
        assert_eq!(verdict, Verdict::Timeout { after_ms: SHORT_MS }, "{bomb}");
    }
    works(&registry).await;
}

#[tokio::test]
async fn filters_that_grow_are_ended_by_their_memory() {
    let registry = registry();
    for bomb in
        ["\"x\" * 1e9", "reduce range(64) as $i (\"x\"; . + .)", "def f: 1 + f; f", "until(false; . + .)"]
    {
        let verdict = ended(&registry, "data_filter", filter(bomb), LONG_MS).await;
        let limit = Verdict::Limit { limit: LimitKind::OutOfMemory };
        assert!(verdict == limit || verdict == Verdict::Exception, "{bomb}: {verdict:?}");
    }
    // Which of its two limits a slow growth meets first is the machine's business.
    for bomb in ["[range(1e18)]", "[recurse([.])]", "[limit(1e9; repeat(1))]"] {
        let verdict = ended(&registry, "data_filter", filter(bomb), SHORT_MS).await;
        assert!(matches!(verdict, Verdict::Limit { .. } | Verdict::Timeout { .. }), "{bomb}: {verdict:?}");
    }
    works(&registry).await;
}

#[tokio::test]
async fn a_result_that_is_too_large_is_an_outcome() {
    let payload = filter("\"x\" * 5000000");
    let verdict = ended(&registry(), "data_filter", payload, LONG_MS).await;
    assert_eq!(verdict, Verdict::Limit { limit: LimitKind::OutputLimit });
}

#[tokio::test]
async fn schemas_that_explode_are_ended() {
    let registry = registry();
    // Each definition asks for the next twice: 2^40 visits.
    let mut definitions = json!({"d40": {"type": "integer"}});
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions[format!("d{level}")] = json!({"allOf": [next.clone(), next]});
    }
    let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let verdict = ended(&registry, "schema_validate", json!({"schema": schema, "data": 1}), SHORT_MS).await;
    assert_ne!(verdict, Verdict::Value);
    let endless =
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    let verdict = ended(&registry, "schema_validate", json!({"schema": endless, "data": 1}), SHORT_MS).await;
    assert!(
        !matches!(verdict, Verdict::Timeout { .. }),
        "a circle of references ends by itself: {verdict:?}"
    );
    let sound = json!({"schema": {"type": "integer"}, "data": 1});
    assert_eq!(ended(&registry, "schema_validate", sound, LONG_MS).await, Verdict::Value);
}

#[tokio::test]
async fn patterns_that_need_the_square_of_the_input_are_ended() {
    let registry = registry();
    // At every place the search runs to the end of the input, and finds nothing but the one letter.
    let payload = json!({"pattern": ".*[^A-Z]|[A-Z]", "input": "A".repeat(4 << 20)});
    let verdict = ended(&registry, "regex_match", payload, SHORT_MS).await;
    assert_eq!(verdict, Verdict::Timeout { after_ms: SHORT_MS });
    let payload = json!({"pattern": "(a*)*b", "input": "a".repeat(100_000)});
    assert_eq!(ended(&registry, "regex_match", payload, LONG_MS).await, Verdict::Value);
    let payload = json!({"pattern": "((a{1000}){1000}){1000}", "input": ""});
    assert_eq!(ended(&registry, "regex_match", payload, LONG_MS).await, Verdict::Exception);
}

#[tokio::test]
async fn a_call_that_is_cancelled_kills_its_worker() {
    let cancel = Cancel::default();
    let asked = cancel.clone();
    let registry = registry();
    let running =
        tokio::spawn(
            async move { run(&registry, "data_filter", filter("def f: f; f"), LONG_MS, cancel).await },
        );
    asked.cancel();
    let verdict = running.await.unwrap().verdict;
    assert_eq!(verdict, Verdict::Limit { limit: LimitKind::Killed });
}

#[tokio::test]
async fn a_full_house_refuses_before_anything_starts() {
    let registry = registry();
    let tool = registry.find("regex_match").unwrap();
    let (payload, options) = (json!({"pattern": "a", "input": "a"}), RunOptions::default());
    let call = Call { payload: &payload, options: &options, effect: Effect::Live };
    let mut taken = Vec::new();
    let refused = loop {
        let mut prepared = tool.prepare(&call).unwrap();
        match prepared.reserve() {
            Ok(()) => taken.push(prepared),
            Err(refused) => break refused,
        }
        assert!(taken.len() < 1000);
    };
    assert_eq!(refused, NotStarted::Full);
    drop(taken);
    tool.prepare(&call).unwrap().reserve().unwrap();
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_an_error_and_no_answer() {
    let workers = Workers::of_program("/bin/true");
    let registry = Registry::new(all(&Parts { workers, client: HttpClient::new() })).unwrap();
    let payload = json!({"pattern": "a", "input": "a"});
    let ran = try_to_run(&registry, "regex_match", payload, LONG_MS, Cancel::default()).await;
    assert!(matches!(ran, Err(RunFault::Lost(_))), "{ran:?}");
}

#[tokio::test]
async fn every_tool_has_a_closed_schema_that_accepts_its_own_examples() {
    let registry = registry();
    let ten = [
        "http_get",
        "json_parse",
        "schema_validate",
        "math_compute",
        "string_transform",
        "data_filter",
        "mock_api_call",
        "hash_generate",
        "timestamp_parse",
        "regex_match",
    ];
    for name in ten {
        let tool = registry.find(name).unwrap();
        let schema = tool.describe().schema;
        assert_eq!(schema["additionalProperties"], false, "{name}");
        for example in schema["examples"].as_array().unwrap() {
            let options = RunOptions::default();
            let call = Call { payload: example, options: &options, effect: Effect::DryRun };
            assert!(tool.prepare(&call).is_ok(), "{name}");
            let payload = json!({"schema": schema, "data": example});
            let checked = run(&registry, "schema_validate", payload, LONG_MS, Cancel::default()).await;
            assert_eq!(checked.result, json!({"valid": true, "errors": []}), "{name}");
        }
        let unknown = json!({"no_such_argument": 1});
        let options = RunOptions::default();
        let call = Call { payload: &unknown, options: &options, effect: Effect::DryRun };
        assert_eq!(tool.prepare(&call).err().unwrap().pointer, "/no_such_argument", "{name}");
    }
}

/// Numbers of 3,000 digits whose quotients are alike for as long as there are any: neighbours of Fibonacci, in thirds.
fn neighbours() -> Value {
    let (mut one, mut next) = (BigInt::from(0), BigInt::from(1));
    while next.bits() < BITS {
        let sum = &one + &next;
        one = replace(&mut next, sum);
    }
    let thirds = |number: &BigInt| {
        let digits = format!("{:0>3000}", number.to_string());
        [digits[..1_000].to_owned(), digits[1_000..2_000].to_owned(), digits[2_000..].to_owned()]
    };
    let ([a, b, c], [d, g, f]) = (thirds(&next), thirds(&one));
    let (large, small) = ("((a*t+b)*t+c)", "((d*t+g)*t+f)");
    json!({
        "expression": format!("floor(max({large}/{small}, {small}/({large}-{small})))"),
        "variables": {"a": a, "b": b, "c": c, "d": d, "g": g, "f": f, "t": "1e1000"}
    })
}

#[tokio::test]
async fn numbers_that_are_alike_for_long_are_compared_at_once() {
    // The whole quotient of two neighbours is 1, whichever is the greater.
    let call = neighbours();
    let product = run(&registry(), "math_compute", call, LONG_MS, Cancel::default()).await;
    assert_eq!((product.verdict, &product.result["value"]), (Verdict::Value, &json!(1)));
}
