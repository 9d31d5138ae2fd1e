//! Rich results of Python are those of a notebook, and whatever shows itself does not break the end of its run.

use std::slice::from_ref;

use execgate_sandbox::{Exception, Limits, Request, Run, Sandbox, Verdict};
use serde_json::{Value, json};

use super::world::{PATIENCE, SLOWNESS, python, sandbox, told, value_in, with_limits, without_marks};

/// How a picture in PNG begins, as base64.
const PNG: &str = "iVBORw0KGgo";

/// The libraries take their time to be imported, and what they draw takes memory.
fn asked(code: &str) -> Request {
    let mut request = with_limits(python(code), |limits| {
        limits.wall = 3 * PATIENCE;
        limits.memory_bytes = 2 * Limits::default().memory_bytes;
    });
    request.rich = true;
    request
}

fn run_in(sandbox: &Sandbox, code: &str) -> Run {
    sandbox.run(asked(code)).unwrap()
}

/// What a run displayed; `verdict` is how it must end.
fn displays_in(sandbox: &Sandbox, code: &str, verdict: Verdict) -> Vec<Value> {
    let run = run_in(sandbox, code);
    assert_eq!(run.verdict, verdict, "{code}: {}", told(&run));
    run.displays.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn shown(sandbox: &Sandbox, code: &str) -> Vec<Value> {
    displays_in(sandbox, code, Verdict::Value)
}

fn exception_in(sandbox: &Sandbox, code: &str) -> Exception {
    let run = run_in(sandbox, code);
    assert_eq!(run.verdict, Verdict::Exception, "{code}: {}", told(&run));
    run.exception.unwrap()
}

/// The displays with `png` in the place of every whole picture.
fn without_pixels(displays: Vec<Value>) -> Vec<Value> {
    let mark = |mut display: Value| {
        if let Some(picture) = display.get_mut("png") {
            assert!(picture.as_str().unwrap().starts_with(PNG), "{picture:.40}");
            *picture = json!("png");
        }
        display
    };
    displays.into_iter().map(mark).collect()
}

#[test]
fn the_value_is_told_as_text_both_as_a_result_and_at_the_end() {
    let sandbox = sandbox();
    let run = run_in(&sandbox, "print('out')\n\"it's\"");
    assert_eq!((run.value.as_deref(), run.stdout), (Some("\"it's\""), b"out\n".to_vec()));
    assert_eq!(run.displays, [r#"{"text":"\"it's\"","is_main_result":true}"#]);
    for code in ["", "# only", "a = 5", "None", "print('hi')"] {
        assert_eq!(shown(&sandbox, code), Vec::<Value>::new(), "{code}");
    }
}

#[test]
fn lists_and_dicts_are_json_too_where_json_can_carry_them() {
    let sandbox = sandbox();
    let carried = [
        ("[1, 2.5, None, True, 'é\\n', (2, [])]", json!([1, 2.5, null, true, "é\n", [2, []]])),
        ("import collections\ncollections.Counter('aab')", json!({"a": 2, "b": 1})),
        ("[float('nan'), float('-inf'), 2 ** 64 - 1]", json!([null, null, u64::MAX])),
        ("import datetime\n[datetime.date(2024, 1, 2)]", json!(["2024-01-02"])),
        ("['\\ud800']", json!(["\\ud800"])),
    ];
    for (code, expected) in carried {
        assert_eq!(shown(&sandbox, code)[0]["json"], expected, "{code}");
    }
    let circle = "a = [1]\na.append(a)\na";
    let deep = "a = []\nfor _ in range(40): a = [a]\na";
    for code in ["(1, 2)", "{1}", "{1: 2}", "[2 ** 64]", "[object]", "list(range(2_000_000))", circle, deep] {
        assert_eq!(shown(&sandbox, code)[0].get("json"), None, "{code}");
    }
}

#[test]
fn a_value_shows_what_its_class_shows_of_it() {
    let code = "class V:\n    def __repr__(self): return 'V'\n    def _repr_html_(self): return '<b>'\n    \
                def _repr_markdown_(self): return '**b**', {'metadata': 1}\n    \
                def _repr_latex_(self): return '$b$'\n    def _repr_svg_(self): return '<svg/>'\n    \
                def _repr_png_(self): return b'png'\n    def _repr_jpeg_(self): return 'anBlZw=='\n    \
                def _repr_pdf_(self): return bytearray(b'pdf')\n    def _repr_json_(self): return {'a': 1}\n    \
                def _repr_javascript_(self): return 'b()'\nV()";
    let expected = json!({
        "text": "V", "html": "<b>", "markdown": "**b**", "latex": "$b$", "svg": "<svg/>", "png": "cG5n",
        "jpeg": "anBlZw==", "pdf": "cGRm", "json": {"a": 1}, "javascript": "b()", "is_main_result": true,
    });
    let sandbox = sandbox();
    assert_eq!(shown(&sandbox, code), [expected]);
    let bundle = "class V:\n    def __repr__(self): return 'V'\n    def _repr_html_(self): return 'not this'\n    \
                  def _repr_mimebundle_(self, include, exclude):\n        \
                  return {'text/html': '<i>', 'text/plain': 'v', 'x/y': 'z'}, {}\nV()";
    assert_eq!(shown(&sandbox, bundle), [json!({"text": "v", "html": "<i>", "is_main_result": true})]);
    assert_eq!(run_in(&sandbox, bundle).value.as_deref(), Some("V"));
}

#[test]
fn only_a_class_says_what_its_values_show() {
    let sandbox = sandbox();
    let any = "def __getattr__(self, name): return lambda *a, **k: 'boo'";
    let cases = [
        "class V:\n    def _repr_html_(self): return 'no'\nV".to_owned(),
        format!("class V:\n    {any}\n    def __repr__(self): return 'V'\nV()"),
        format!("class T(type):\n    {any}\nclass V(metaclass=T):\n    def __repr__(self): return 'V'\nV()"),
        "class V:\n    def __repr__(self): return 'V'\nv = V()\nv._repr_html_ = lambda: 'no'\nv".to_owned(),
    ];
    for code in cases {
        let displays = shown(&sandbox, &code);
        let keys: Vec<_> = displays[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["is_main_result", "text"], "{code}");
    }
}

#[test]
fn what_fails_to_show_itself_is_left_out_and_nothing_else_is() {
    let code = "import sys\nclass V:\n    def __repr__(self): return 'V'\n    \
                def _repr_html_(self): sys.exit(5)\n    def _repr_png_(self): raise KeyboardInterrupt\n    \
                def _repr_svg_(self): return 7\n    def _repr_json_(self): return {1: 2}\n    \
                def _repr_pdf_(self): return [b'x']\n    _repr_jpeg_ = None\n    \
                def _repr_mimebundle_(self, include, exclude): return {'text/html': 5, 7: 8, 'application/json': object}\n    \
                def _repr_javascript_(self): return self._repr_javascript_()\n    \
                def _repr_latex_(self): return 'x' * (4 << 20)\n    \
                def _repr_markdown_(self): return 'kept'\nV()";
    let sandbox = sandbox();
    assert_eq!(shown(&sandbox, code), [json!({"text": "V", "markdown": "kept", "is_main_result": true})]);
    let own = "class S(str):\n    def __len__(self): return -5\n    def encode(self, *a): 1/0\n    \
               __getitem__ = __iter__ = encode\nclass V:\n    def __repr__(self): return S('mine')\n    \
               def _repr_html_(self): return S('<b>')\nV()";
    assert_eq!(shown(&sandbox, own), [json!({"text": "mine", "html": "<b>", "is_main_result": true})]);
    let fake = "import sys\nclass T(type):\n    def __subclasscheck__(self, other): sys.exit(6)\n\
                class DataFrame(metaclass=T): pass\nclass M: pass\nM.DataFrame = DataFrame\nsys.modules['pandas'] = M\n7";
    assert_eq!(shown(&sandbox, fake), [json!({"text": "7", "is_main_result": true})]);
    let large = shown(&sandbox, "class V:\n    def __repr__(self): return '\\0' * (2 << 20)\nV()");
    let length = large[0]["text"].as_str().unwrap().len();
    assert!((100_000..1 << 20).contains(&length), "{length}");
}

#[test]
fn a_repr_that_raises_is_an_exception_of_the_code_as_without_rich_results() {
    let sandbox = sandbox();
    let told =
        exception_in(&sandbox, "display(1)\nclass V:\n    def __repr__(self): raise ValueError('no')\nV()");
    assert_eq!((told.name.as_str(), told.message.as_str()), ("ValueError", "no"));
    let leaves = "class V:\n    def __repr__(self): raise SystemExit(4)\n";
    for code in [format!("{leaves}V()"), format!("{leaves}display(V())")] {
        assert_eq!(run_in(&sandbox, &code).verdict, Verdict::Exit(4), "{code}");
    }
    let unshown = exception_in(&sandbox, "class V:\n    def __repr__(self): return 7\ndisplay(V())");
    let lines: Vec<_> = unshown.traceback.lines().filter(|line| line.starts_with("  File")).collect();
    assert_eq!((unshown.name.as_str(), lines), ("TypeError", vec!["  File \"<code>\", line 3, in <module>"]));
}

#[test]
fn displays_come_in_their_order_and_before_the_value() {
    let sandbox = sandbox();
    let code = "display(1, 'two', display_id='x')\ndisplay()\n\
                display({'text/latex': r'\\text{C}', 'x/y': 'z'}, raw=True)\ndisplay({'x/y': 'z'}, raw=True)\n\
                import atexit\natexit.register(display, 'late')\n[3]";
    let expected = [
        json!({"text": "1", "is_main_result": false}),
        json!({"text": "'two'", "is_main_result": false}),
        json!({"latex": r"\text{C}", "is_main_result": false}),
        json!({"text": "[3]", "json": [3], "is_main_result": true}),
        json!({"text": "'late'", "is_main_result": false}),
    ];
    assert_eq!(shown(&sandbox, code), expected);
    let first = json!({"text": "1", "is_main_result": false});
    for (end, verdict) in [("1 / 0", Verdict::Exception), ("exit(3)", Verdict::Exit(3))] {
        assert_eq!(displays_in(&sandbox, &format!("display(1)\n{end}"), verdict), from_ref(&first), "{end}");
    }
    assert_eq!(value_in(&sandbox, "import builtins\nhasattr(builtins, 'display')"), "False");
}

#[test]
fn a_table_is_html_and_the_values_of_its_columns() {
    let sandbox = sandbox();
    let code =
        "import pandas as pd\npd.DataFrame({'a': [1, 2], 't': pd.to_datetime(['2024-01-01', '2024-01-02'])})";
    let table = shown(&sandbox, code).remove(0);
    assert_eq!(table["text"], "   a          t\n0  1 2024-01-01\n1  2 2024-01-02");
    assert!(table["html"].as_str().unwrap().starts_with("<div>"), "{table}");
    let days = json!(["2024-01-01T00:00:00", "2024-01-02T00:00:00"]);
    assert_eq!(table["data"], json!({"a": [1, 2], "t": days}));
    let mixed = "import numpy as np, pandas as pd, decimal\npd.DataFrame({'f': [1.5, np.nan], \
                 'i': np.array([1, 2], dtype='int8'), 't': [pd.Timestamp('2024-01-01', tz='UTC'), pd.NaT], \
                 'n': pd.array([1, None], dtype='Int64'), 'o': [decimal.Decimal('1.1'), 2 ** 70], 3: ['é', None]})";
    let expected = json!({
        "f": [1.5, null], "i": [1, 2], "t": ["2024-01-01T00:00:00+00:00", null], "n": [1, null],
        "o": ["1.1", "1180591620717411303424"], "3": ["é", null],
    });
    assert_eq!(shown(&sandbox, mixed)[0]["data"], expected);
    let large = "import numpy as np, pandas as pd\npd.DataFrame(np.zeros((200_000, 2)))";
    assert_eq!(shown(&sandbox, large)[0].get("data"), None);
    let series = "import pandas as pd\npd.Series([1])";
    assert_eq!(shown(&sandbox, series), [json!({"text": "0    1\ndtype: int64", "is_main_result": true})]);
    assert_eq!(
        shown(&sandbox, "import numpy as np\n[np.int64(3), np.bool_(True)]")[0]["json"],
        json!([3, true])
    );
}

#[test]
fn figures_are_pictures_when_they_are_shown_and_those_left_open_at_the_end() {
    let sandbox = sandbox();
    let pictured = |is_main| json!({"text": "<Figure size 640x480 with 1 Axes>", "png": "png", "is_main_result": is_main});
    let figure = pictured(false);
    let plot = |code: &str| {
        format!("import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\n{code}")
    };
    let text = |text: &str| json!({"text": text, "is_main_result": true});
    let cases = [
        ("plt.show()\nplt.show()\nplt.get_fignums() == []", vec![figure.clone(), text("True")]),
        ("from pylab import *\nshow(block=True)", vec![figure.clone()]),
        ("'open'", vec![text("'open'"), figure.clone()]),
        ("fig", vec![pictured(true)]),
        ("display(fig)", vec![figure.clone()]),
        ("display(fig)\nax.set_title('changed'); 'x'", vec![figure.clone(), text("'x'"), figure.clone()]),
        ("import importlib\nimportlib.reload(plt).show()", vec![figure.clone()]),
    ];
    for (code, expected) in cases {
        assert_eq!(without_pixels(shown(&sandbox, &plot(code))), expected, "{code}");
    }
    let failed = displays_in(&sandbox, &plot("plt.show()\nplt.plot([1])\n1 / 0"), Verdict::Exception);
    assert_eq!(without_pixels(failed), [figure.clone(), figure.clone()]);
    let left = displays_in(&sandbox, &plot("exit(3)"), Verdict::Exit(3));
    assert_eq!(without_pixels(left), [figure]);
}

#[test]
fn a_figure_that_cannot_be_drawn_is_text_and_says_why() {
    let code =
        "import matplotlib.pyplot as plt\nplt.figure(figsize=(1000, 1000)).add_subplot()\nplt.show()\n5";
    let run = run_in(&sandbox(), code);
    let figure = r#"{"text":"<Figure size 100000x100000 with 1 Axes>","is_main_result":false}"#;
    assert_eq!(run.displays, [figure, r#"{"text":"5","is_main_result":true}"#], "{}", told(&run));
    // The reason is in the words of the library, or of the memory that it asked for.
    assert!(String::from_utf8_lossy(&run.stderr).contains("A figure could not be drawn: "), "{}", told(&run));
}

#[test]
fn many_and_large_results_stay_within_their_bounds_and_the_value_keeps_its_place() {
    let sandbox = sandbox();
    let note = "Some rich results are left out";
    let run = run_in(&sandbox, "for i in range(100): display(i)\n'main'");
    let main = r#"{"text":"'main'","is_main_result":true}"#;
    assert_eq!((run.displays.len(), run.displays.last().map(String::as_str)), (64, Some(main)));
    assert_eq!(String::from_utf8(run.stderr).unwrap().matches(note).count(), 1);
    let large = "class V:\n    def __repr__(self): return 'V'\n    def _repr_html_(self): return 'x' * (2 << 20)\n    \
                 def _repr_markdown_(self): return 'y' * (1 << 19)\nfor i in range(20): display(V())\n'main'";
    let run = run_in(&sandbox, large);
    assert_eq!((run.displays.len(), run.displays.last().map(String::as_str)), (21, Some(main)));
    assert!(run.displays.iter().map(String::len).sum::<usize>() <= 4 << 20);
    assert_eq!(run.displays[19], r#"{"text":"V","is_main_result":false}"#);
    let pictures = "class V:\n    def __repr__(self): return 'V'\n    def _repr_png_(self): return b'p'\n\
                    for i in range(20): display(V())";
    let shown = shown(&sandbox, pictures);
    assert_eq!(shown.iter().filter(|display| display.get("png").is_some()).count(), 16);
    assert_eq!(shown.len(), 20);
}

#[test]
fn only_the_first_process_tells_results() {
    let sandbox = sandbox();
    let forked = "import os\nif os.fork():\n    os.wait()\nelse:\n    display('child')\nos.getpid() == 2";
    assert_eq!(shown(&sandbox, forked), [json!({"text": "True", "is_main_result": true})]);
    let pool = "import multiprocessing\ndef f(x):\n    display(x)\n    return x\n\
                with multiprocessing.get_context('fork').Pool(3) as p: r = p.map(f, range(3))\nr";
    let expected = json!({"text": "[0, 1, 2]", "json": [0, 1, 2], "is_main_result": true});
    assert_eq!(shown(&sandbox, pool), [expected]);
}

#[test]
fn frames_stay_whole_whoever_shows_at_the_same_time() {
    let sandbox = sandbox();
    let threads = "import threading\nfor i in range(8): threading.Thread(target=display, args=('x' * 200_000,)).start()\n1";
    assert_eq!(shown(&sandbox, threads).len(), 9);
    // Each alarm comes once, at another moment of a display, and raises nowhere else.
    let signals = "import signal\nis_shown, heard = False, 0\ndef handler(*_):\n    global is_shown, heard\n    \
                   heard += 1\n    display('signal')\n    if is_shown:\n        is_shown = False\n        \
                   raise TimeoutError\nsignal.signal(signal.SIGALRM, handler)\nfor i in range(1, 51):\n    try:\n        \
                   is_shown = True\n        signal.setitimer(signal.ITIMER_REAL, i * STEP)\n        \
                   display('x' * 60_000)\n        is_shown = False\n    except TimeoutError: pass\n\
                   signal.setitimer(signal.ITIMER_REAL, 0)\nheard > 0";
    let run = run_in(&sandbox, &signals.replace("STEP", &format!("{SLOWNESS} * .00002")));
    assert_eq!(run.value.as_deref(), Some("True"), "{}", told(&run));
    assert!(run.displays.iter().all(|text| serde_json::from_str::<Value>(text).is_ok()));
    let daemon = "import threading\ndef f():\n    while True: display('x' * 1000)\n\
                  threading.Thread(target=f, daemon=True).start()\n'end'";
    assert_eq!(run_in(&sandbox, daemon).value.as_deref(), Some("'end'"));
    let closed = run_in(&sandbox, "import os\nos.closerange(3, 256)\ndisplay(1)\nprint('on')\n7");
    assert_eq!((closed.verdict, closed.value, closed.stdout), (Verdict::Value, None, b"on\n".to_vec()));
}

#[test]
fn code_that_is_indented_as_a_whole_runs_as_in_a_notebook() {
    let sandbox = sandbox();
    assert_eq!(value_in(&sandbox, "    y=3\n    y"), "3");
    assert_eq!(
        value_in(&sandbox, "\u{feff}  # why\n\n    y = 3\r\n    if y:\r\n        y += 1\r\n    y"),
        "4"
    );
    let told = exception_in(&sandbox, "\n    def f():\n        1 / 0\n    f()");
    assert!(told.traceback.contains("\n    1 / 0\n    ~~^~~\n"), "{}", told.traceback);
    let unmarked = without_marks(&told.traceback);
    let lines: Vec<_> = unmarked.lines().skip(1).collect();
    let expected = [
        "  File \"<code>\", line 4, in <module>",
        "    f()",
        "  File \"<code>\", line 3, in f",
        "    1 / 0",
        "ZeroDivisionError: division by zero",
    ];
    assert_eq!(lines, expected);
    let wrong = exception_in(&sandbox, "x = 1\n    y = 2").traceback;
    assert_eq!(wrong, "  File \"<code>\", line 2\n    y = 2\nIndentationError: unexpected indent\n");
    let within = exception_in(&sandbox, "    x = 1\n    x +").traceback;
    assert_eq!(within, "  File \"<code>\", line 2\n    x +\n       ^\nSyntaxError: invalid syntax\n");
    let null = exception_in(&sandbox, "x = 1\ny\0z");
    assert_eq!(
        (null.name.as_str(), null.message.as_str()),
        ("SyntaxError", "source code cannot contain null bytes (<code>, line 2)")
    );
}
