//! Every way in which a program ends by itself.

use std::sync::mpsc;

use execgate_sandbox::{Cancel, LimitKind, Request, RunError, Stdin, Stream, Verdict};

use super::world::{NO_CHECKS, bash, python, sandbox, told, value_in, value_of, without_marks};

#[test]
fn a_value_is_the_repr_of_the_last_expression() {
    // What took the kernel no tick may be told as no time at all.
    let run = sandbox()
        .run(python("print('hi')\nx = len(range(6)) + sum(range(3_000_000)) * 0\n'a' * 2, x * 7"))
        .unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    assert_eq!(run.value.as_deref(), Some("('aa', 42)"));
    assert_eq!((run.stdout.as_slice(), run.stderr.as_slice()), (&b"hi\n"[..], &b""[..]));
    assert!(!run.truncated && run.exception.is_none());
    assert!(run.usage.wall.as_micros() > 0 && run.usage.cpu.unwrap().as_micros() > 0);
    assert!(run.usage.memory_peak_bytes.unwrap() > 1 << 20);
}

#[test]
fn a_program_without_a_last_expression_has_no_value() {
    let run = sandbox().run(python("x = 1")).unwrap();
    assert_eq!((run.verdict, run.value), (Verdict::Value, None));
}

#[test]
fn an_exception_tells_name_message_and_user_frames_only() {
    let run = sandbox().run(python("def f():\n    raise ValueError('no')\nf()")).unwrap();
    assert_eq!(run.verdict, Verdict::Exception, "{}", told(&run));
    let exception = run.exception.unwrap();
    assert_eq!((exception.name.as_str(), exception.message.as_str()), ("ValueError", "no"));
    let expected = "Traceback (most recent call last):\n  File \"<code>\", line 3, in <module>\n    f()\n  \
                    File \"<code>\", line 2, in f\n    raise ValueError('no')\nValueError: no\n";
    assert_eq!(without_marks(&exception.traceback), expected);
}

#[test]
fn a_syntax_error_is_an_exception() {
    let run = sandbox().run(python("1 +")).unwrap();
    assert_eq!(run.verdict, Verdict::Exception);
    assert_eq!(run.exception.unwrap().name, "SyntaxError");
}

#[test]
fn an_exit_code_is_told_as_it_was() {
    let sandbox = sandbox();
    let cases =
        [("import sys; sys.exit(3)", 3), ("raise SystemExit(255)", 255), ("import os; os._exit(9)", 9)];
    for (code, expected) in cases {
        assert_eq!(sandbox.run(python(code)).unwrap().verdict, Verdict::Exit(expected), "{code}");
    }
    let run = sandbox.run(python("print('out'); raise SystemExit('why')")).unwrap();
    assert_eq!(
        (run.verdict, run.stdout, run.stderr),
        (Verdict::Exit(1), b"out\n".to_vec(), b"why\n".to_vec())
    );
    assert_eq!(sandbox.run(python("raise SystemExit")).unwrap().verdict, Verdict::Value);
}

#[test]
fn a_shell_tells_its_status_and_where_it_failed() {
    let sandbox = sandbox();
    let mut request = bash("echo $1-$2; echo to-err >&2\nexit 7");
    request.args = vec!["a b".to_owned(), "c".to_owned()];
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Exit(7));
    assert_eq!((run.stdout, run.stderr), (b"a b-c\n".to_vec(), b"to-err\n".to_vec()));
    let run = sandbox.run(bash("true\nno-such-command")).unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.verdict, Verdict::Exit(127));
    assert!(stderr.starts_with("bash: line ") && stderr.contains("no-such-command"), "{stderr}");
    assert_eq!(sandbox.run(bash("echo hello | tr h j")).unwrap().stdout, b"jello\n");
}

#[test]
fn output_of_subprocesses_is_captured_too() {
    let code = "import subprocess, os\nsubprocess.run(['sh', '-c', 'echo child; echo err >&2'])\nos.write(1, b'raw\\n')";
    let run = sandbox().run(python(code)).unwrap();
    assert_eq!((run.stdout, run.stderr), (b"child\nraw\n".to_vec(), b"err\n".to_vec()));
}

#[test]
fn output_need_not_be_text() {
    let run = sandbox().run(python("import sys; sys.stdout.buffer.write(bytes(range(256)))")).unwrap();
    assert_eq!(run.stdout, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn standard_input_is_what_was_given_or_nothing() {
    let sandbox = sandbox();
    let mut request = python("import sys; input(), sys.stdin.read()");
    request.stdin = Stdin::Bytes(b"first\nrest\n".to_vec());
    assert_eq!(sandbox.run(request).unwrap().value.as_deref(), Some(r"('first', 'rest\n')"));
    let run = sandbox.run(python("input()")).unwrap();
    assert_eq!(run.exception.unwrap().name, "EOFError");
}

#[test]
fn arguments_reach_the_program() {
    let sandbox = sandbox();
    let mut request = python("import sys; sys.argv[1:]");
    request.args = vec![String::new(), "ü x".to_owned()];
    assert_eq!(sandbox.run(request).unwrap().value.as_deref(), Some("['', 'ü x']"));
    let mut request = python("1");
    request.args = vec!["a\0b".to_owned()];
    assert!(matches!(sandbox.run(request), Err(RunError::Arguments { .. })));
}

#[test]
fn top_level_await_and_left_over_threads_are_waited_for() {
    let sandbox = sandbox();
    assert_eq!(value_in(&sandbox, "import asyncio\nawait asyncio.sleep(0, 'done')"), "'done'");
    let late =
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print('late'))).start()";
    assert_eq!(sandbox.run(python(late)).unwrap().stdout, b"late\n");
}

#[test]
fn what_a_guest_forges_on_the_frame_channel_is_no_verdict_of_ours() {
    let sandbox = sandbox();
    let run = sandbox.run(python("import os; os.write(4, b'\\xff' * 64); os._exit(3)")).unwrap();
    assert_eq!((run.verdict, run.value), (Verdict::Exit(3), None));
    let run =
        sandbox.run(python("import os; os.write(4, b'\\x01\\xff\\xff\\xff\\xff'); os._exit(4)")).unwrap();
    assert_eq!((run.verdict, run.value), (Verdict::Exit(4), None));
    let run = sandbox.run(python("import os; os.close(4); os.kill(os.getpid(), 9)")).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::Killed));
}

#[test]
fn a_hostile_value_cannot_grow_without_bound() {
    let run = sandbox().run(python("'x' * 50_000_000")).unwrap();
    assert_eq!(run.verdict, Verdict::Value);
    assert!(run.value.unwrap().len() <= 4 << 20);
}

#[test]
fn a_caller_that_pulls_the_cord_ends_the_run() {
    let sandbox = sandbox();
    let cancel = Cancel::new().unwrap();
    let (seen, sees) = mpsc::channel();
    let mut request = python("import time; print('here', flush=True); time.sleep(60)");
    request.cancel = Some(cancel.clone());
    request.sink = Some(Box::new(move |stream, bytes| seen.send((stream, bytes.to_vec())).unwrap()));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request).unwrap());
        assert_eq!(sees.recv().unwrap(), (Stream::Stdout, b"here\n".to_vec()));
        cancel.cancel();
        assert_eq!(running.join().unwrap().verdict, Verdict::Cancelled);
    });
}

#[test]
fn an_unknown_language_is_refused_and_a_full_house_too() {
    let sandbox = sandbox();
    assert!(matches!(sandbox.run(Request::new("cobol", "")), Err(RunError::UnknownLanguage(_))));
    let taken: Vec<_> = (0..16).map(|_| sandbox.reserve().unwrap()).collect();
    assert!(matches!(sandbox.run(python("1")), Err(RunError::Full { slots: 16 })));
    drop(taken);
    assert_eq!(value_in(&sandbox, "1"), "1");
}

#[test]
fn an_interpreter_that_is_not_there_never_starts() {
    use execgate_sandbox::{Config, Rotation, Sandbox, Step, Tier, TierChoice, spawn_helper_of};
    let image = super::world::image();
    let mut languages = execgate_tool::code::present(&image.path);
    let absent = languages.iter_mut().find(|language| language.name == "python").unwrap();
    absent.argv[0] = "/usr/bin/no-such-interpreter".to_owned();
    let tier = TierChoice::Exactly(Tier::Jail);
    let config = Config {
        image,
        languages,
        slots: 1,
        tier,
        residents: 0,
        id_block: 0,
        egress: None,
        image_checks: NO_CHECKS,
        rotation: Rotation::default(),
    };
    let helper = spawn_helper_of(std::path::Path::new(env!("CARGO_BIN_EXE_sandbox-helper"))).unwrap();
    let sandbox = Sandbox::start(helper, config).unwrap();
    let refused = sandbox.run(python("1"));
    assert!(matches!(refused, Err(RunError::Spawn { step: Step::Exec, .. })), "{refused:?}");
    assert_eq!(sandbox.run(bash("echo on")).unwrap().stdout, b"on\n");
}

#[test]
fn the_interpreter_and_its_library_are_the_images() {
    assert_eq!(value_of("import os, json; os.__file__.startswith('/usr/lib/python3')"), "True");
}
