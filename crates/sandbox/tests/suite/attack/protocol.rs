//! What a program says in place of its interpreter, and what it leaves unsaid.

use std::time::Duration;

use execgate_sandbox::{Stdin, Verdict};

use super::super::world::{attacked, python, told, with_limits};
use super::list::{PROTOCOL, is_held};

#[test]
fn what_is_forged_is_no_verdict_of_ours() {
    is_held(PROTOCOL, &attacked());
}

#[test]
fn the_first_verdict_is_the_only_one() {
    let sandbox = attacked();
    let value = |text: &str| format!("b'\\x01' + ({}).to_bytes(4, 'little') + b'{text}'", text.len());
    let code = format!(
        "import os\nos.write(4, {} + {})\nos.write(4, {})\nos._exit(9)",
        value("one"),
        value("two"),
        value("three")
    );
    let run = sandbox.run(python(&code)).unwrap();
    assert_eq!((run.verdict, run.value.as_deref()), (Verdict::Value, Some("one")), "{}", told(&run));
    // An exception that is forged after a value, and a value after an exception.
    let field = "(1).to_bytes(4, 'little') + b'x'";
    let code = format!("import os\nos.write(4, b'\\x03' + ({field}) * 3 + {})\nos._exit(0)", value("late"));
    let run = sandbox.run(python(&code)).unwrap();
    assert_eq!((run.verdict, run.value), (Verdict::Exception, None));
    assert_eq!(
        sandbox.run(python("1")).unwrap().value.as_deref(),
        Some("1"),
        "the next one has its own channel"
    );
}

#[test]
fn input_that_nobody_reads_delays_nobody() {
    let sandbox = attacked();
    for code in ["1", "import os; os.close(0); 1", "import time; time.sleep(60)"] {
        let mut request = with_limits(python(code), |limits| limits.wall = Duration::from_secs(1));
        request.stdin = Stdin::Bytes(vec![b'x'; 8 << 20]);
        let run = sandbox.run(request).unwrap();
        let expected = if code.contains("sleep") { Verdict::Timeout } else { Verdict::Value };
        assert_eq!(run.verdict, expected, "{code}");
    }
}

#[test]
fn a_channel_that_others_hold_open_does_not_hold_the_answer() {
    let sandbox = attacked();
    let code =
        "import os, time\nif os.fork() == 0:\n    time.sleep(600)\nos.set_inheritable(4, True)\nos._exit(6)";
    let run = sandbox.run(python(code)).unwrap();
    assert_eq!(run.verdict, Verdict::Exit(6), "{}", told(&run));
}
