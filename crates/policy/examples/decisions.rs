//! Measures one decision under a policy of a thousand rules: `cargo run --release -p execgate-policy --example decisions`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use execgate_model::{ActionName, Amount, Caller, Digest, Effect, Identity, NO_LABELS, TenantId};
use execgate_policy::{Policy, PolicySet, Request, Spent, decide};
use serde_json::{Map, Value, json};

/// Decisions of one series: long enough to be read off a clock.
const DECISIONS: u32 = 200_000;

/// Tools with rules of their own.
const TOOLS: usize = 1_000;

#[expect(clippy::print_stdout, reason = "an example tells what it measured")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut tools = Map::new();
    for number in 0..TOOLS {
        let entry = json!({
            "action": "allow",
            "require": [{"path": "args.language", "op": "in", "value": ["python", "javascript"]}],
            "deny_if": [{"path": "args.code", "op": "regex", "value": "os\\.system"},
                        {"path": "args.amount", "op": "gt", "value": 10_000}],
            "limits": [{"counter": "rate", "window": "minute", "max": 10}],
        });
        tools.insert(
            if number % 10 == 9 { format!("tool_{number}_*") } else { format!("tool_{number}") },
            entry,
        );
    }
    let file = json!({"version": "1", "default": "deny", "tools": tools,
        "all_tools": {"rate_limit": {"max": 60, "window": "minute"}}});
    let text = file.to_string();
    let started = Instant::now();
    let policy = Policy::read(text.as_bytes())?;
    println!("{TOOLS} tools, {} KiB, read and compiled in {:?}", text.len() / 1_024, started.elapsed());

    let rules = PolicySet::new(None, Digest::from_bytes([0; 32])).with_policy(policy);
    let caller = Caller { tenant: TenantId::new("default")?, identity: Identity::Local };
    let arguments = json!({"language": "python", "amount": 7, "code": "print(1)\n".repeat(31)});
    for tool in ["tool_500", "tool_499_x", "unlisted"] {
        measure(&rules, &caller, &ActionName::new(tool)?, &arguments);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example tells what it measured")]
fn measure(rules: &PolicySet, caller: &Caller, action: &ActionName, arguments: &Value) {
    let (effect, labels) = (Effect::Live, &NO_LABELS);
    let (price, own) = (Amount::ZERO, None);
    let request = Request { caller, action, effect, arguments, labels, price, own };
    let spent = Spent::default();
    let word = decide(&request, rules, &spent).word();
    let started = Instant::now();
    for _ in 0..DECISIONS {
        black_box(decide(black_box(&request), rules, &spent));
    }
    println!("{:>8} ns  {action} ({word})", (started.elapsed() / DECISIONS).as_nanos());
}
