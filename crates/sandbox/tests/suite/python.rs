//! Python in the jail is Python: what a script may rely on holds in a run too.

use std::collections::BTreeMap;
use std::time::Duration;

use execgate_sandbox::{Exception, LimitKind, Request, Run, Sandbox, Stdin, Verdict};

use super::world::{cold, python, sandbox, told, value_in, value_of, with_limits};

fn exception_in(sandbox: &Sandbox, code: &str) -> Exception {
    let run = sandbox.run(python(code)).unwrap();
    assert_eq!(run.verdict, Verdict::Exception, "{}", told(&run));
    run.exception.unwrap()
}

fn run_in(sandbox: &Sandbox, code: &str) -> Run {
    sandbox.run(python(code)).unwrap()
}

#[test]
fn the_last_expression_is_the_value_however_it_is_written() {
    let sandbox = sandbox();
    let cases = BTreeMap::from([
        ("(1 +\n 2)\n\n# the end\n", "3"),
        ("x = [\n1,\n2]; x  ;  ", "[1, 2]"),
        ("'''only\na docstring'''", r"'only\na docstring'"),
        ("'doc'\n__doc__", "'doc'"),
        (
            "from __future__ import annotations\ndef f(a: Missing): return a\nf.__annotations__",
            "{'a': 'Missing'}",
        ),
        ("import functools\n@functools.lru_cache\ndef f(): return 7\nf()", "7"),
        ("if __name__ == '__main__': y = 5\ny", "5"),
        ("import sys; sys.argv[0], __file__", "('<code>', '<code>')"),
        ("x: int = 1\n__annotations__", "{'x': <class 'int'>}"),
        ("[v for v in (1, 2)]\nsorted(n for n in dir() if not n.startswith('__'))", "[]"),
        (
            "class R(str):\n    def encode(self, *a): 1/0\n    __getitem__ = encode\nclass V:\n    \
          def __repr__(self): return R('mine')\nV()",
            "mine",
        ),
        ("None", ""),
        ("\"\\ud800\"[:1] + 'x'", r"'\ud800x'"),
    ]);
    for (code, expected) in cases {
        assert_eq!(value_in(&sandbox, code), expected, "{code}");
    }
}

#[test]
fn a_whole_program_of_awaits_runs_in_one_loop() {
    let code = "import asyncio\nqueue = asyncio.Queue()\nloop = asyncio.get_running_loop()\n\
                task = asyncio.create_task(asyncio.sleep(.01, 'late'))\nawait queue.put(1)\n\
                async def same(): return asyncio.get_running_loop() is loop\n\
                [x async for x in (await queue.get() for _ in 'a')], await task, await same()";
    assert_eq!(value_of(code), "([1], 'late', True)");
}

#[test]
fn an_error_of_syntax_is_told_as_the_interpreter_tells_it() {
    let sandbox = sandbox();
    let told = exception_in(&sandbox, "x = 1\nif x\n    pass\n");
    let expected = "  File \"<code>\", line 2\n    if x\n        ^\nSyntaxError: expected ':'\n";
    assert_eq!(
        (told.name.as_str(), told.message.as_str(), told.traceback.as_str()),
        ("SyntaxError", "expected ':' (<code>, line 2)", expected)
    );
    assert_eq!(exception_in(&sandbox, "return 1").name, "SyntaxError");
    assert_eq!(exception_in(&sandbox, "x\n  y").name, "IndentationError");
}

#[test]
fn a_traceback_shows_the_users_frames_and_those_of_the_libraries_they_called() {
    let sandbox = sandbox();
    let told = exception_in(&sandbox, "import json\ndef f(): json.loads('{')\nf()");
    let lines: Vec<_> = told.traceback.lines().filter(|line| line.starts_with("  File")).collect();
    assert_eq!(
        (lines[0], lines[1]),
        ("  File \"<code>\", line 3, in <module>", "  File \"<code>\", line 2, in f")
    );
    assert!(lines.len() > 3 && lines[2].contains("/json/__init__.py"), "{}", told.traceback);
    assert_eq!(told.name, "json.decoder.JSONDecodeError");
    let awaited =
        exception_in(&sandbox, "import asyncio\nasync def f(): 1 / 0\nawait asyncio.gather(f())").traceback;
    let lines: Vec<_> = awaited.lines().filter(|line| line.starts_with("  File")).collect();
    assert_eq!(
        lines,
        ["  File \"<code>\", line 3, in <module>", "  File \"<code>\", line 2, in f"],
        "{awaited}"
    );
    // A string that the code runs is the user's, though it has the runner's file name.
    let inner = exception_in(&sandbox, "exec('def g(): 1 / 0')\ng()").traceback;
    assert!(
        inner.contains("File \"<string>\", line 1, in g") && inner.matches("  File").count() == 2,
        "{inner}"
    );
}

#[test]
fn a_traceback_counts_lines_as_the_interpreter_does() {
    let sandbox = sandbox();
    // A form feed and a separator of Unicode end no line, and three spellings of an end do.
    for end in ["\n", "\r\n", "\r"] {
        let code = ["x = '\u{2028}'", "\u{c}y = 1", "z = 1 / 0  # here", "last = 2"].join(end);
        let told = exception_in(&sandbox, &code).traceback;
        assert!(told.contains("line 3, in <module>\n    z = 1 / 0  # here\n"), "{end:?}: {told}");
        let code = format!("import linecache{end}linecache.getlines('<code>'){end}");
        let lines = r#"['import linecache\n', "linecache.getlines('<code>')\n"]"#;
        assert_eq!(value_in(&sandbox, &code), lines, "{end:?}");
    }
}

#[test]
fn causes_contexts_and_groups_are_told_whole() {
    let sandbox = sandbox();
    let chained = exception_in(
        &sandbox,
        "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('outer') from e",
    );
    assert_eq!((chained.name.as_str(), chained.message.as_str()), ("ValueError", "outer"));
    let text = &chained.traceback;
    assert!(text.contains("KeyError: 'k'\n\nThe above exception was the direct cause"), "{text}");
    assert_eq!(text.matches("  File \"<code>\"").count(), 2, "{text}");
    let context = exception_in(&sandbox, "try: 1/0\nexcept Exception: undefined").traceback;
    assert!(context.contains("During handling of the above exception"), "{context}");
    let group = exception_in(&sandbox, "raise ExceptionGroup('g', [ValueError(1), KeyError(2)])");
    assert_eq!(group.name, "ExceptionGroup");
    assert!(group.traceback.contains("ValueError: 1") && group.traceback.contains("KeyError: 2"));
    let own = exception_in(&sandbox, "class Mine(Exception): pass\nraise Mine('x')");
    assert_eq!((own.name.as_str(), own.message.as_str()), ("Mine", "x"));
    assert_eq!(exception_in(&sandbox, "raise KeyboardInterrupt").name, "KeyboardInterrupt");
}

#[test]
fn an_exception_that_fights_back_is_told_all_the_same() {
    let sandbox = sandbox();
    let mute = exception_in(&sandbox, "class E(Exception):\n    def __str__(self): raise TypeError\nraise E");
    assert_eq!((mute.name.as_str(), mute.message.as_str()), ("E", "<no message: TypeError>"));
    let huge = exception_in(&sandbox, "raise ValueError('x' * 30_000_000)");
    assert!(huge.message.len() == (1 << 20) + 4 && huge.traceback.len() <= (1 << 20) + 4);
    let deep = exception_in(&sandbox, "def f(): f()\nf()");
    assert_eq!(deep.name, "RecursionError");
    assert!(deep.traceback.len() < 5000 && deep.traceback.contains("Previous line repeated"));
    let hostile = exception_in(&sandbox, "class V:\n    def __repr__(self): 1/0\nV()");
    assert_eq!(hostile.name, "ZeroDivisionError");
    assert_eq!(exception_in(&sandbox, "class V:\n    def __repr__(self): return 7\nV()").name, "TypeError");
    let circle = "a, b = ValueError(1), ValueError(2)\na.__cause__, b.__cause__ = b, a\nraise a";
    assert_eq!(exception_in(&sandbox, circle).message, "1");
}

#[test]
fn every_way_of_leaving_gives_the_exit_code_of_a_script() {
    let sandbox = sandbox();
    let cases = [
        ("None", 0),
        ("True", 1),
        ("-1", 255),
        ("256 + 7", 7),
        ("2 ** 32 + 3", 3),
        ("2 ** 70", 255),
        ("-2 ** 70", 255),
        ("1.5", 1),
        ("(1, 2)", 1),
        ("''", 1),
    ];
    for (code, expected) in cases {
        let run = run_in(&sandbox, &format!("import sys\nsys.exit({code})"));
        let verdict = if expected == 0 { Verdict::Value } else { Verdict::Exit(expected) };
        assert_eq!(run.verdict, verdict, "{code}: {}", told(&run));
    }
    let late =
        run_in(&sandbox, "import atexit, sys\natexit.register(print, 'bye')\nprint('out')\nsys.exit((1, 2))");
    assert_eq!(
        (late.verdict, late.stdout, late.stderr),
        (Verdict::Exit(1), b"out\nbye\n".to_vec(), b"(1, 2)\n".to_vec())
    );
    assert_eq!(run_in(&sandbox, "import os\nprint('lost')\nos._exit(5)").verdict, Verdict::Exit(5));
}

#[test]
fn what_is_registered_for_the_end_is_done_and_its_output_kept() {
    let sandbox = sandbox();
    let code = "import atexit, sys, threading, time\natexit.register(print, 'registered', flush=False)\n\
                threading.Thread(target=lambda: (time.sleep(.05), print('thread', end=' '))).start()\n\
                print('no newline', end=' ')\nsys.stderr.write('err')\n41 + 1";
    let run = run_in(&sandbox, code);
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    assert_eq!((run.stdout, run.stderr), (b"no newline thread registered\n".to_vec(), b"err".to_vec()));
    assert_eq!(run.value.as_deref(), Some("42"));
    let daemon =
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n1";
    assert_eq!(value_in(&sandbox, daemon), "1");
    let redirected = "import io, sys\nprint('kept')\nsys.stdout = io.StringIO()\nprint('gone')";
    assert_eq!(run_in(&sandbox, redirected).stdout, b"kept\n");
}

#[test]
fn asking_for_input_that_is_not_there_is_the_end_of_a_file() {
    let sandbox = sandbox();
    let told = exception_in(&sandbox, "input('name? ')");
    assert_eq!(
        (told.name.as_str(), told.message.as_str()),
        ("EOFError", "no standard input was given to this run: send it as `stdin`")
    );
    assert_eq!(value_in(&sandbox, "open('/dev/stdin').read()"), "''");
    let mut request = python("open('/dev/stdin').read()");
    request.stdin = Stdin::Bytes(b"given".to_vec());
    assert_eq!(sandbox.run(request).unwrap().value.as_deref(), Some("'given'"));
}

#[test]
fn source_that_is_not_utf8_is_an_error_of_the_source() {
    let sandbox = sandbox();
    let run = sandbox.run(Request::new("python", b"x = '\xff'".to_vec())).unwrap();
    assert_eq!(run.exception.unwrap().name, "SyntaxError");
    let run = sandbox.run(Request::new("python", b"# -*- coding: latin-1 -*-\n'\xe9'".to_vec())).unwrap();
    assert_eq!(run.value.as_deref(), Some("'é'"));
    let run = sandbox.run(Request::new("python", b"1\0".to_vec())).unwrap();
    assert_eq!(run.verdict, Verdict::Exception, "{}", told(&run));
    assert_eq!(sandbox.run(Request::new("python", Vec::new())).unwrap().verdict, Verdict::Value);
}

#[test]
fn what_looks_for_the_main_module_finds_it() {
    let sandbox = sandbox();
    let pickled = "import pickle\nclass C:\n    def __eq__(self, other): return type(other) is C\n\
                   pickle.loads(pickle.dumps(C())) == C()";
    assert_eq!(value_in(&sandbox, pickled), "True");
    let source = "import inspect\ndef f():\n    return 1  # why\nclass C:\n    pass\n\
                  inspect.getsource(f), inspect.getsource(C)";
    assert_eq!(value_in(&sandbox, source), r"('def f():\n    return 1  # why\n', 'class C:\n    pass\n')");
    let data = "from __future__ import annotations\nimport dataclasses, typing\n@dataclasses.dataclass\n\
                class P:\n    x: int = 0\ntyping.get_type_hints(P), P(2)";
    assert_eq!(value_in(&sandbox, data), "({'x': <class 'int'>}, P(x=2))");
    let pool = "import multiprocessing\ndef f(x): return x * x\nwith multiprocessing.get_context('fork').Pool(3) as p: r = p.map(f, range(5))\nr";
    assert_eq!(value_in(&sandbox, pool), "[0, 1, 4, 9, 16]");
}

#[test]
fn a_fork_that_falls_through_tells_nothing_in_the_parents_name() {
    let sandbox = sandbox();
    let code = "import os, time\nif os.fork():\n    os.wait(); print('parent')\nelse: print('child')\nos.getpid() == 2";
    let run = run_in(&sandbox, code);
    assert_eq!((run.value.as_deref(), run.stdout), (Some("True"), b"child\nparent\n".to_vec()));
    let run = run_in(
        &sandbox,
        "import os\nif not os.fork(): raise ValueError('in child')\nos.waitstatus_to_exitcode(os.wait()[1])",
    );
    assert_eq!(run.value.as_deref(), Some("1"));
    assert!(String::from_utf8(run.stderr).unwrap().ends_with("ValueError: in child\n"));
}

#[test]
fn closing_the_channel_loses_the_value_and_nothing_else() {
    let run = run_in(&sandbox(), "import os\nos.closerange(3, 256)\nprint('on')\n7");
    assert_eq!((run.verdict, run.value, run.stdout), (Verdict::Value, None, b"on\n".to_vec()));
    assert!(run.stderr.is_empty());
}

#[test]
fn nothing_is_read_from_files_for_the_code_that_it_did_not_ask_for() {
    let code = "import sys\nmine = dict(sys.modules)\nimport subprocess\n\
                bare = subprocess.run([sys.executable, '-I', '-S', '-X', 'utf8', '-c', 'import sys; print(*sys.modules)'], \
                capture_output=True, text=True).stdout.split()\n\
                [n for n, m in mine.items() if n not in bare and m.__spec__.origin not in ('frozen', 'built-in')]";
    assert_eq!(value_in(&cold(), code), "[]");
}

#[test]
fn what_the_interpreter_sets_up_for_every_script_is_there() {
    let sandbox = sandbox();
    let path = "import subprocess, sys\nbare = subprocess.run([sys.executable, '-I', '-c', 'import sys; print(*sys.path)'], \
                capture_output=True, text=True).stdout.split()\nsys.path[0] == '' and sys.path[1:] == bare or (sys.path, bare)";
    assert_eq!(value_in(&sandbox, path), "True");
    let known = "import subprocess, sys, builtins\nbare = subprocess.run([sys.executable, '-I', '-c', 'import builtins; print(*dir(builtins))'], \
                 capture_output=True, text=True).stdout.split()\nsorted(set(bare) - set(dir(builtins)))";
    assert_eq!(value_in(&sandbox, known), "['copyright', 'credits', 'license']");
    assert_eq!(run_in(&sandbox, "exit(4)").verdict, Verdict::Exit(4));
    let site = "import site, sysconfig\nbool(site.getsitepackages() and sysconfig.get_path('purelib'))";
    assert_eq!(value_in(&sandbox, site), "True");
}

#[test]
fn a_stack_that_overflows_for_real_is_a_kill() {
    let code = "import sys, threading\nsys.setrecursionlimit(1 << 30)\nclass A:\n    __repr__ = lambda self: repr([self])\nrepr(A())";
    let run =
        sandbox().run(with_limits(python(code), |limits| limits.wall = Duration::from_secs(20))).unwrap();
    assert!(
        matches!(
            run.verdict,
            Verdict::Limit(LimitKind::Killed | LimitKind::OutOfMemory) | Verdict::Exception
        ),
        "{}",
        told(&run)
    );
}

#[test]
fn small_objects_may_take_more_room_than_an_interpreter_was_forked_with() {
    // Some 95 MiB of them, given back and asked for again.
    let code = "sizes = []\nfor _ in range(2):\n    kept = [bytes(450) for _ in range(200_000)]\n    \
                sizes.append(sum(map(len, kept)))\n    del kept\nsizes";
    for sandbox in [sandbox(), cold()] {
        assert_eq!(value_in(&sandbox, code), "[90000000, 90000000]");
    }
}
