//! The command line: exit codes of CONTRACTS 3, help, doctor, demo.

use super::server::run;

fn code(args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let output = run(args, stdin);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn run_maps_every_end_to_the_exit_code_of_a_shell() {
    let cases: [(&[&str], i32); 7] = [
        (&["run", "-e", "print('hi')"], 0),
        (&["run", "-e", "1 / 0"], 1),
        (&["run", "-e", "import sys; sys.exit(5)"], 5),
        (&["run", "-l", "bash", "-e", "exit 6"], 6),
        (&["run", "--timeout", "1", "-e", "while True: pass"], 124),
        (
            &[
                "run",
                "--memory",
                "64",
                "-e",
                "b = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): b[i] = 1",
            ],
            137,
        ),
        (&["run", "-l", "cobol", "-e", "x"], 2),
    ];
    for (args, expected) in cases {
        let (code, out, err) = code(args, "");
        assert_eq!(code, Some(expected), "{args:?}\n{out}\n{err}");
    }
}

#[test]
fn run_passes_input_output_and_arguments_through() {
    let (status, out, err) = code(
        &[
            "run",
            "-e",
            "import sys\nprint(sys.stdin.read() + sys.argv[1])\nprint('e', file=sys.stderr)",
            "--",
            "arg",
        ],
        "typed ",
    );
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "typed arg\n", "e\n"));
    let (status, out, _) = code(&["run", "-l", "bash", "-"], "echo from stdin");
    assert_eq!((status, out.as_str()), (Some(0), "from stdin\n"));
}

#[test]
fn a_traceback_shows_the_callers_own_frames_only() {
    let (_, _, err) = code(&["run", "-e", "def f():\n    raise ValueError('no')\nf()"], "");
    assert!(err.contains("ValueError: no") && err.contains("in f"), "{err}");
    assert!(!err.contains("runner") && !err.contains("exec("), "{err}");
}

#[test]
fn doctor_says_that_this_host_can_enforce_the_jail_and_what_nobody_here_sees() {
    // A remote facilitator is believed where no node of one's own shows more.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("execgate.toml");
    std::fs::write(&path, "[payment]\nwallet = \"0x209693Bc6afc0C5328bA36FaF03C514EF312287C\"\n").unwrap();
    let (status, out, err) = code(&["doctor", "--json", "--config", path.to_str().unwrap()], "");
    assert_eq!(status, Some(0), "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["report"].is_object());
    assert_eq!(report["payment_unseen"], serde_json::json!(["eip155:8453"]));
}

#[test]
fn the_demo_holds() {
    let (status, out, err) = code(&["demo"], "");
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.ends_with("everything held\n"), "{out}");
}

#[test]
fn an_unreadable_configuration_is_an_error_that_names_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("execgate.toml");
    std::fs::write(&path, "[server]\nlisen = \"x\"\n").unwrap();
    let (status, _, err) = code(&["serve", "--config", path.to_str().unwrap()], "");
    assert_eq!(status, Some(2));
    assert!(err.contains("unknown field `lisen`"), "{err}");
}
