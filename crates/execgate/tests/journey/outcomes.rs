//! The outcomes of CONTRACTS 3 on `/execute`, each made by a real program in the real jail.

use serde_json::{Value, json};

use super::server::{Data, Reply, Server};

/// What a case must answer: the name in `error`, and where it matters the value.
struct Case {
    what: &'static str,
    action: &'static str,
    payload: Value,
    error: Option<&'static str>,
    result: Option<&'static str>,
}

fn case(
    what: &'static str,
    action: &'static str,
    payload: Value,
    error: Option<&'static str>,
    result: Option<&'static str>,
) -> Case {
    Case { what, action, payload, error, result }
}

fn cases() -> Vec<Case> {
    vec![
        case("a value", "python", json!({"code": "x = 6\nx * 7"}), None, Some("42")),
        case("no value", "python", json!({"code": "x = 1"}), None, None),
        case("an exception", "python", json!({"code": "1 / 0"}), Some("ZeroDivisionError"), None),
        case("a syntax error", "python", json!({"code": "def"}), Some("SyntaxError"), None),
        case("an exit code", "python", json!({"code": "import sys; sys.exit(3)"}), Some("SystemExit"), None),
        case("an exit code of bash", "bash", json!({"code": "exit 4"}), Some("ExitCode"), None),
        case(
            "a memory bomb",
            "python",
            json!({"code": "b = []\nwhile True: b.append(bytearray(16 << 20))", "timeout": 30}),
            Some("OutOfMemory"),
            None,
        ),
        case(
            "a fork bomb",
            "python",
            json!({"code": "import os, time\nfor _ in range(1000):\n    if os.fork() == 0:\n        time.sleep(60)", "timeout": 30}),
            Some("ProcessLimit"),
            None,
        ),
        case(
            "a full disk",
            "python",
            json!({"code": "f = open('/tmp/big', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()", "timeout": 30}),
            Some("DiskFull"),
            None,
        ),
        case(
            "300 MB of output",
            "bash",
            json!({"code": "head -c 300000000 /dev/zero | tr '\\0' x", "timeout": 60}),
            Some("OutputLimit"),
            None,
        ),
        case("a timeout", "python", json!({"code": "while True: pass", "timeout": 1}), Some("Timeout"), None),
        case("a timeout of bash", "bash", json!({"code": "sleep 60", "timeout": 1}), Some("Timeout"), None),
        case("killed", "python", json!({"code": "import os; os.kill(os.getpid(), 9)"}), Some("Killed"), None),
    ]
}

#[test]
fn every_outcome_of_a_program_is_answered_as_the_contract_says() {
    let data = Data::new();
    let server = Server::start(&data.path());
    for (at, case) in cases().into_iter().enumerate() {
        let reply = server.execute(case.action, case.payload, &format!("outcome-{at}"));
        let body = reply.json();
        assert_eq!(reply.status, 200, "{}: {body}", case.what);
        assert_eq!(body["result"]["error"]["name"].as_str(), case.error, "{}: {body}", case.what);
        assert_eq!(body["result"]["result"].as_str(), case.result, "{}: {body}", case.what);
        assert_eq!(body["approved"], true);
    }
    assert_eq!(server.execute("echo", json!({"still": "here"}), "after").status, 200);
}

#[test]
fn output_is_captured_of_subprocesses_too_and_cut_to_its_cap() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let code = "import subprocess, sys\nsubprocess.run(['sh', '-c', 'echo out; echo err >&2'])\nprint('own')";
    let body = server.execute("python", json!({ "code": code }), "sub").json();
    assert_eq!(body["result"]["stdout"], "out\nown\n");
    assert_eq!(body["result"]["stderr"], "err\n");
    let body =
        server.execute("bash", json!({"code": "head -c 1000000 /dev/zero | tr '\\0' x"}), "cut").json();
    assert_eq!(body["result"]["truncated"], true);
    assert!(body["result"]["stdout"].as_str().unwrap().len() < 300_000);
    assert_eq!(body["result"]["error"], Value::Null);
}

#[test]
fn input_and_arguments_reach_the_code_and_nothing_else_does() {
    let data = Data::new();
    let server = Server::start_with(&data.path(), &[], &[("SECRET_TOKEN", "hunter2")]);
    let body = server
        .execute(
            "python",
            json!({"code": "import sys\n(input(), sys.argv[1:])", "stdin": "typed\n", "args": ["a b", "c"]}),
            "in",
        )
        .json();
    assert_eq!(body["result"]["result"], "('typed', ['a b', 'c'])");
    let body = server
        .execute("bash", json!({"code": "env; cat /proc/1/environ /proc/1/cmdline 2>&1; id -u"}), "env")
        .json();
    assert!(!body.to_string().contains("hunter2"), "{body}");
}

#[test]
fn an_allow_list_refuses_what_it_does_not_name() {
    let data = Data::new();
    let server = Server::start_with(&data.path(), &[], &[("OPENEXEC_ALLOWED_ACTIONS", "add")]);
    let refused = server.execute("echo", json!({}), "n");
    assert_eq!((refused.status, refused.json()["rule"].as_str()), (403, Some("allow-list")));
    assert_eq!(refused.json()["detail"], "Action 'echo' is not in the execution allow-list");
    assert_eq!(server.execute("add", json!({"a": 1, "b": 2}), "n").json()["result"]["sum"], 3);
    assert_eq!(server.get("/health").json()["restriction"], "restricted");
}

#[test]
fn two_runs_at_once_do_not_see_each_other() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let code = "import os, time\nopen('/tmp/mark', 'w').write('mine')\ntime.sleep(1)\n\
                sorted(os.listdir('/tmp')), [p for p in os.listdir('/proc') if p.isdigit()].__len__()";
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|at| {
                let server = &server;
                scope.spawn(move || server.execute("python", json!({ "code": code }), &format!("twin-{at}")))
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for reply in replies {
        assert_eq!(reply.json()["result"]["result"], "(['mark'], 1)", "{}", reply.json());
    }
}
