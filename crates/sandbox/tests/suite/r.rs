//! R in the jail is R: what a script may rely on holds in a run too, and nothing of the runner is in its way.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::time::Duration;

use execgate_sandbox::{Collect, Exception, LimitKind, Request, Run, Sandbox, Stdin, Verdict};
use execgate_tool::code;
use serde_json::{Value, json};

use super::world::{SLOWNESS, sandbox, told};

/// Longer than a start of R takes on a loaded machine.
const WALL: Duration = Duration::from_secs(30 * SLOWNESS as u64);

fn r(code: &str) -> Request {
    let mut request = Request::new("r", code);
    request.limits.wall = WALL;
    request
}

fn run_in(sandbox: &Sandbox, code: &str) -> Run {
    sandbox.run(r(code)).unwrap()
}

fn value_in(sandbox: &Sandbox, code: &str) -> Option<String> {
    let run = run_in(sandbox, code);
    assert_eq!(run.verdict, Verdict::Value, "{code}: {}", told(&run));
    run.value
}

fn exception_in(sandbox: &Sandbox, code: &str) -> Exception {
    let run = run_in(sandbox, code);
    assert_eq!(run.verdict, Verdict::Exception, "{code}: {}", told(&run));
    run.exception.unwrap()
}

fn output_in(sandbox: &Sandbox, code: &str) -> (String, String) {
    let run = run_in(sandbox, code);
    assert_eq!(run.verdict, Verdict::Value, "{code}: {}", told(&run));
    (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
}

fn value_given(sandbox: &Sandbox, input: &str, code: &str) -> String {
    let mut request = r(code);
    request.stdin = Stdin::Bytes(input.as_bytes().to_vec());
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{code}: {}", told(&run));
    run.value.unwrap_or_default()
}

fn richly(sandbox: &Sandbox, code: &str) -> (Run, Vec<Value>) {
    let mut request = r(code);
    request.rich = true;
    let run = sandbox.run(request).unwrap();
    let displays = run.displays.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    (run, displays)
}

/// The bytes that a text in base64 stands for.
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |letter: u8| LETTERS.iter().position(|known| *known == letter).unwrap();
    assert_eq!(text.len() % 4, 0);
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let all = four.iter().fold(0, |sum, letter| sum << 6 | bits(*letter)) << (6 * (4 - four.len()));
        bytes.extend(&u32::try_from(all).unwrap().to_be_bytes()[1..four.len()]);
    }
    bytes
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82")
}

fn assert_picture(display: &Value) {
    let png = decoded(display["png"].as_str().unwrap_or_default());
    assert!(is_png(&png), "{display:.300}");
}

#[test]
fn the_last_visible_value_is_the_value_as_r_prints_it() {
    let sandbox = sandbox();
    let cases = BTreeMap::from([
        ("6 * 7", Some("[1] 42")),
        ("x <- 5", None),
        ("(x <- 5)", Some("[1] 5")),
        ("invisible(5)", None),
        ("NULL", Some("NULL")),
        ("", None),
        ("# only this", None),
        ("for (i in 1:2) i", None),
        ("print(3)", None),
        ("f <- function(x) x # why\nf", Some("function(x) x")),
        ("data.frame(a = 1:2, b = c('x', 'y'))", Some("  a b\n1 1 x\n2 2 y")),
        (
            "setClass('P', representation(a = 'numeric'))\nsetMethod('show', 'P', function(object) cat('<P>\\n'))\nnew('P', a = 1)",
            Some("<P>"),
        ),
        ("print.mine <- function(x, ...) cat('<mine>\\n')\nstructure(1, class = 'mine')", Some("<mine>")),
        ("print.data.frame <- function(x, ...) cat('other\\n')\ndata.frame(a = 1)", Some("other")),
        ("library(R6)\nsum(c(1, 2) |> rev())", Some("[1] 3")),
        ("options(width = 20)\n1:9", Some("[1] 1 2 3 4 5 6 7 8\n[9] 9")),
        ("'h\u{e9} \u{4e16}'", Some("[1] \"h\u{e9} \u{4e16}\"")),
        ("\u{feff}x <- 1\r\n\ty <- 'a\r\nb'\r\ny", Some("[1] \"a\\nb\"")),
    ]);
    for (code, expected) in cases {
        assert_eq!(value_in(&sandbox, code).as_deref(), expected, "{code}");
    }
}

#[test]
fn what_comes_before_the_last_expression_is_printed_as_a_script_prints_it() {
    let code = "1:3\nx <- 4\ncat('no newline')\nwarning('top')\nf <- function() warning('inside')\nf()\nmessage('said')\ninvisible(9)\nx";
    let run = run_in(&sandbox(), code);
    assert_eq!(run.value.as_deref(), Some("[1] 4"), "{}", told(&run));
    assert_eq!(String::from_utf8(run.stdout).unwrap(), "[1] 1 2 3\nno newline");
    assert_eq!(
        String::from_utf8(run.stderr).unwrap(),
        "Warning: top\nWarning in f() : inside\nsaid\n",
        "the runner is not named as the caller"
    );
}

#[test]
fn an_error_is_told_in_rs_words_with_the_users_frames() {
    let sandbox = sandbox();
    let error = exception_in(
        &sandbox,
        "f <- function(x) {\n  y <- 1\n  stop('boom ', x)\n}\ng <- function() f(1)\n\ng()",
    );
    assert_eq!((error.name.as_str(), error.message.as_str()), ("Error", "boom 1"));
    let expected =
        "Error in f(1) : boom 1\n3: stop(\"boom \", x) at <code>#3\n2: f(1) at <code>#5\n1: g() at <code>#7";
    assert_eq!(error.traceback, expected);
    let cases = BTreeMap::from([
        ("\n1 + 'a'", "Error in 1 + \"a\" : non-numeric argument to binary operator\nat <code>#2"),
        ("stop('plain')", "Error: plain\n1: stop(\"plain\") at <code>#1"),
        ("nowhere", "Error: object 'nowhere' not found\nat <code>#1"),
        (
            "print.mine <- function(x, ...) stop('no')\nstructure(1, class = 'mine')",
            "Error in print.mine(x) : no\n3: stop(\"no\") at <code>#1\n2: print.mine(x)\n1: print(x)",
        ),
        (
            "readline()",
            "Error: there is no standard input: send `stdin` with the request\n1: readline() at <code>#1",
        ),
        ("break", "Error: no loop for break/next, jumping to top level\nat <code>#1"),
        (
            "low <- structure(class = c('low', 'error', 'condition'), list(message = 'deep', call = quote(h(2))))\n\
             stop(structure(class = c('high', 'error', 'condition'), list(message = 'up', call = NULL, parent = low)))",
            "Error: up\nCaused by error in h(2) : deep\n1: stop(structure(class = c(\"high\", \"error\", \"condition\"), \
             list(message = \"up\", call = NULL, parent = low))) at <code>#2",
        ),
    ]);
    for (code, expected) in cases {
        assert_eq!(exception_in(&sandbox, code).traceback, expected, "{code}");
    }
    let own = exception_in(
        &sandbox,
        "stop(structure(class = c('mine', 'error', 'condition'), list(message = 'm', call = NULL)))",
    );
    assert_eq!((own.name.as_str(), own.message.as_str()), ("mine", "m"));
}

#[test]
fn an_error_of_syntax_names_line_and_column() {
    let sandbox = sandbox();
    let error = exception_in(&sandbox, "cat('never')\nif x > 2");
    let expected = "<code>:2:4: unexpected symbol\n1: cat('never')\n2: if x\n      ^";
    assert_eq!((error.name.as_str(), error.message.as_str()), ("SyntaxError", expected));
    assert_eq!(error.traceback, format!("Error: {expected}"));
    for (bytes, expected) in [
        (&b"x\ny\0"[..], "<code>:2: nul character not allowed"),
        (b"x <- '\xff'", "<code>:1: the line is no valid UTF-8"),
    ] {
        let run = sandbox.run(Request::new("r", bytes.to_vec())).unwrap();
        let error = run.exception.unwrap();
        assert_eq!((error.name.as_str(), error.message.as_str()), ("SyntaxError", expected));
    }
}

#[test]
fn what_the_code_handles_itself_is_no_error() {
    let sandbox = sandbox();
    let cases = BTreeMap::from([
        ("tryCatch(stop('a'), error = function(e) conditionMessage(e), finally = cat('f'))", "[1] \"a\""),
        ("signalCondition(simpleError('nobody asked'))\n7", "[1] 7"),
        ("r <- try(log('a'), silent = TRUE)\nclass(r)", "[1] \"try-error\""),
        ("f <- function() f()\ntryCatch(f(), error = function(e) class(e)[3])", "[1] \"error\""),
        ("try(stop('y'), silent = TRUE)\nnchar(geterrmessage()) > 0", "[1] TRUE"),
        (
            "withCallingHandlers({ warning('w'); 1 }, warning = function(w) invokeRestart('muffleWarning'))",
            "[1] 1",
        ),
    ]);
    for (code, expected) in cases {
        assert_eq!(value_in(&sandbox, code).as_deref(), Some(expected), "{code}");
    }
    let run = run_in(&sandbox, "globalCallingHandlers(error = function(e) cat('seen\\n'))\nstop('z')");
    assert_eq!((run.verdict, run.stdout), (Verdict::Exception, b"seen\n".to_vec()));
    let run = run_in(&sandbox, "f <- function() { on.exit(cat('left\\n')); stop('e') }\nf()");
    assert_eq!((run.verdict, run.stdout), (Verdict::Exception, b"left\n".to_vec()));
}

#[test]
fn an_error_that_fights_back_is_told_all_the_same() {
    let sandbox = sandbox();
    let deep = exception_in(&sandbox, "f <- function(n) f(n + 1)\nf(1)");
    // Which of its two stacks is full first, each R decides by its own frames.
    let told = [
        ("CStackOverflowError", "C stack usage"),
        ("expressionStackOverflowError", "evaluation nested too deeply"),
    ];
    assert!(told.iter().any(|(name, text)| deep.name == *name && deep.message.starts_with(text)), "{deep:?}");
    assert!(deep.traceback.ends_with("at <code>#2"), "{deep:?}");
    let nested = exception_in(&sandbox, "options(expressions = 500)\nf <- function(n) f(n + 1)\nf(1)");
    assert_eq!(nested.name, "expressionStackOverflowError");
    assert!(nested.traceback.contains("more\n") && nested.traceback.lines().count() < 50, "{nested:?}");
    let huge = exception_in(&sandbox, "stop(simpleError(strrep('z', 3e6)))");
    assert!(huge.message.len() == (1 << 20) + 4 && huge.traceback.len() == (1 << 20) + 4);
    let mute = "conditionMessage.bad <- function(c) if (exists('once')) stop('nope') else { once <<- 1; 'first' }\n\
                stop(structure(class = c('bad', 'error', 'condition'), list(message = 'm', call = NULL)))";
    assert_eq!(exception_in(&sandbox, mute).message, "<no message>");
    let no_error = "stop(structure(class = c('odd', 'condition'), list(message = 'odd one', call = NULL)))";
    assert_eq!(exception_in(&sandbox, no_error).message, "odd one");
    assert_eq!(exception_in(&sandbox, "globalCallingHandlers(NULL)\nstop('bare')").message, "bare");
}

#[test]
fn every_way_of_leaving_gives_the_exit_code_of_a_script() {
    let sandbox = sandbox();
    let cases = [
        ("quit(status = 3)", Verdict::Exit(3)),
        ("q('no', 4)", Verdict::Exit(4)),
        ("quit()", Verdict::Value),
        ("f <- function() quit(status = 5)\ntryCatch(f(), error = identity)", Verdict::Exit(5)),
        ("invokeRestart('abort')", Verdict::Exit(1)),
        ("options(error = quote(quit(status = 9)))\nstop('x')", Verdict::Exit(9)),
        ("tools::pskill(Sys.getpid(), 9)", Verdict::Limit(LimitKind::Killed)),
    ];
    for (code, expected) in cases {
        let run = run_in(&sandbox, code);
        assert_eq!((run.verdict, run.value, run.exception), (expected, None, None), "{code}");
    }
    let ends = ".Last <- function() cat('last\\n')\ne <- new.env()\n\
                invisible(reg.finalizer(e, function(x) cat('finalizer\\n'), onexit = TRUE))\n";
    for (code, expected) in [("42", Verdict::Value), ("quit(status = 2)", Verdict::Exit(2))] {
        let run = run_in(&sandbox, &format!("{ends}{code}"));
        assert_eq!((run.verdict, run.stdout), (expected, b"last\nfinalizer\n".to_vec()), "{code}");
    }
    let late = run_in(&sandbox, ".Last <- function() stop('late')\n5");
    assert_eq!((late.verdict, late.value.as_deref()), (Verdict::Value, Some("[1] 5")));
}

#[test]
fn nothing_of_the_runner_is_to_be_seen() {
    let sandbox = sandbox();
    let bare =
        "Rscript --vanilla -e 'cat(search(), .libPaths(), getOption(\"width\"), getwd(), interactive())'";
    let code = format!(
        "mine <- paste(c(search(), .libPaths(), getOption('width'), getwd(), interactive()), collapse = ' ')\n\
         identical(system(\"{}\", intern = TRUE), mine)",
        bare.replace('"', "\\\"")
    );
    assert_eq!(value_in(&sandbox, &code).as_deref(), Some("[1] TRUE"));
    let cases = BTreeMap::from([
        ("ls(all.names = TRUE)", "character(0)"),
        ("length(sys.calls())", "[1] 0"),
        ("identical(parent.frame(), globalenv())", "[1] TRUE"),
        ("exists('.Random.seed')", "[1] FALSE"),
        ("nrow(showConnections())", "[1] 0"),
        ("commandArgs(TRUE)", "character(0)"),
        ("rm(list = ls(all.names = TRUE))\nclear <- ls()\nclear", "character(0)"),
        ("startsWith(tempdir(), '/tmp/')", "[1] TRUE"),
    ]);
    for (code, expected) in cases {
        assert_eq!(value_in(&sandbox, code).as_deref(), Some(expected), "{code}");
    }
    let mut request = r("c(commandArgs(TRUE), length(commandArgs()))");
    request.args = vec!["a b".to_owned(), "--args".to_owned(), "-e".to_owned(), "--version".to_owned()];
    let run = sandbox.run(request).unwrap();
    assert_eq!(
        run.value.as_deref(),
        Some("[1] \"a b\"       \"--args\"    \"-e\"        \"--version\" \"9\"        ")
    );
}

#[test]
fn standard_input_is_read_on_by_whoever_comes_next() {
    let sandbox = sandbox();
    let input = "one\ntwo\r\n3 4\n\n5\nrest\nend\n";
    let code = "a <- readline('a? ')\nb <- readLines('stdin', n = 1)\nc <- scan(quiet = TRUE)\n\
                con <- file('stdin')\nopen(con)\nd <- readLines(con, 1)\nclose(con)\ne <- readLines(stdin())\n\
                paste(c(a, b, c, d, e), collapse = '|')";
    assert_eq!(value_given(&sandbox, input, code), "[1] \"one|two|3|4|5|rest|end\"");
    assert_eq!(value_given(&sandbox, "a,b\n1,2\n", "read.csv(file('stdin'))"), "  a b\n1 1 2");
    assert_eq!(value_given(&sandbox, "a\0", "readBin(file('stdin', 'rb'), 'raw', 9)"), "[1] 61 00");
    assert_eq!(
        value_given(&sandbox, "for the child", "system('cat', intern = TRUE)"),
        "[1] \"for the child\""
    );
    let mut request = r("repeat cat(readline('> '))");
    request.stdin = Stdin::Bytes(b"x\n".to_vec());
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.stdout, b"> x> ");
    assert_eq!(run.exception.unwrap().message, "the standard input is at its end");
}

#[test]
fn asking_for_input_that_was_not_sent_says_so() {
    let sandbox = sandbox();
    for code in ["readline('name? ')", "scan()", "f <- function() scan('')\nf()"] {
        let error = exception_in(&sandbox, code);
        assert_eq!(error.message, "there is no standard input: send `stdin` with the request", "{code}");
    }
    assert_eq!(value_in(&sandbox, "readLines('stdin')").as_deref(), Some("character(0)"));
    assert_eq!(value_in(&sandbox, "scan(text = '1 2', quiet = TRUE)").as_deref(), Some("[1] 1 2"));
}

#[test]
fn programs_that_the_code_starts_write_to_the_same_streams() {
    let sandbox = sandbox();
    let (out, err) =
        output_in(&sandbox, "cat('a\\n')\nsystem('echo b; echo c >&2')\nsystem2('echo', 'd')\ncat('e\\n')");
    assert_eq!((out.as_str(), err.as_str()), ("a\nb\nd\ne\n", "c\n"));
    let left = run_in(&sandbox, "system('sleep 60 &')\n5");
    assert_eq!(left.value.as_deref(), Some("[1] 5"));
    assert!(left.usage.wall < WALL, "a program that is left behind holds nothing open");
}

#[test]
fn a_fork_works_and_tells_nothing_in_its_parents_name() {
    let sandbox = sandbox();
    let code = "sum(unlist(parallel::mclapply(1:60, function(i) i, mc.cores = 30)))";
    assert_eq!(value_in(&sandbox, code).as_deref(), Some("[1] 1830"));
    let fork = "p <- parallel:::mcfork()\nif (inherits(p, 'masterProcess')) { cat('child\\n'); CHILD } else \
                while (is.null(parallel::mccollect(p, wait = FALSE, timeout = 1))) NULL\n";
    for end in ["invisible(1)", "stop('in child')", "parallel:::mcexit(7L)"] {
        let run = run_in(&sandbox, &format!("{}dir.exists(tempdir())", fork.replace("CHILD", end)));
        assert_eq!(run.value.as_deref(), Some("[1] TRUE"), "{end}: {}", told(&run));
        assert_eq!(run.stdout, b"child\n", "{end}");
    }
}

#[test]
fn a_value_is_told_by_code_that_has_used_everything_up() {
    let sandbox = sandbox();
    let processes = "for (i in 1:80) system('sleep 60 &', ignore.stderr = TRUE)\n5";
    assert_eq!(value_in(&sandbox, processes).as_deref(), Some("[1] 5"));
    let connections = "for (i in 1:125) assign(paste0('c', i), textConnection('a'))\nx <- 5";
    assert_eq!(value_in(&sandbox, connections), None);
    let error = exception_in(&sandbox, &connections.replace("x <- 5", "stop('told')"));
    assert_eq!(error.message, "told");
    assert_eq!(
        value_in(&sandbox, "parallel:::closeFD(4L)\n7"),
        None,
        "without its channel the exit code speaks"
    );
}

#[test]
fn what_was_left_open_is_written_and_nothing_else_is_left_behind() {
    let sandbox = sandbox();
    let mut request = r("f <- file('x.txt', 'w')\nwriteLines('kept', f)\npng('own.png')\nplot(1)\n5");
    request.collect = Some(Collect {
        patterns: vec!["**".to_owned()],
        file_bytes_max: 1 << 20,
        total_bytes_max: 2 << 20,
        files_max: 8,
    });
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.value.as_deref(), Some("[1] 5"), "{}", told(&run));
    let files: BTreeMap<_, _> =
        run.files.into_iter().map(|file| (file.path, file.content.unwrap())).collect();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["own.png", "x.txt"]);
    assert_eq!(files["x.txt"], b"kept\n");
    assert!(is_png(&files["own.png"]));
    let plain = "plot(1:3)\nhist(c(1, 2))\nlist.files('.', all.files = TRUE, no.. = TRUE)";
    assert_eq!(value_in(&sandbox, plain).as_deref(), Some("character(0)"));
    let (run, _) = richly(&sandbox, plain);
    assert_eq!(run.value.as_deref(), Some("character(0)"));
}

#[test]
fn pictures_are_told_page_by_page() {
    let sandbox = sandbox();
    let (run, displays) =
        richly(&sandbox, "plot(1:3, main = 'T\u{ef}tle')\nlines(3:1)\nhist(c(1, 2, 2))\ncat('x')");
    assert_eq!((run.verdict, run.value, run.stdout), (Verdict::Value, None, b"x".to_vec()));
    assert_eq!(displays.len(), 2);
    for display in &displays {
        assert_eq!(
            (&display["text"], &display["is_main_result"]),
            (&json!("<plot>"), &json!(false)),
            "{display:.200}"
        );
        assert_picture(display);
    }
    let (run, displays) = richly(&sandbox, "for (i in 1:20) plot(i)\n7");
    assert_eq!((run.value.as_deref(), displays.len()), (Some("[1] 7"), 17), "sixteen pictures and the value");
    for (code, verdict) in [("stop('x')", Verdict::Exception), ("quit(status = 2)", Verdict::Exit(2))] {
        let (run, displays) = richly(&sandbox, &format!("plot(1)\n{code}"));
        assert_eq!((run.verdict, displays.len()), (verdict, 1), "{code}");
        assert_picture(&displays[0]);
    }
}

#[test]
fn a_drawing_as_a_value_is_the_main_result() {
    let sandbox = sandbox();
    let code = "library(ggplot2)\nggplot(mtcars, aes(mpg, wt)) + geom_point()";
    let (run, displays) = richly(&sandbox, code);
    assert_eq!(run.value.as_deref(), Some("<ggplot>"), "{}", told(&run));
    assert_eq!(displays.len(), 1);
    assert_eq!((&displays[0]["text"], &displays[0]["is_main_result"]), (&json!("<ggplot>"), &json!(true)));
    assert_picture(&displays[0]);
    assert_eq!(value_in(&sandbox, code).as_deref(), Some("<ggplot>"), "not drawn where nobody looks");
    let (run, displays) = richly(&sandbox, &code.replace("mpg", "nowhere"));
    let error = run.exception.unwrap();
    assert!(error.message.contains("object 'nowhere' not found") && displays.is_empty(), "{error:?}");
}

#[test]
fn a_table_is_told_as_data_and_as_html() {
    let code = "data.frame(i = c(1L, NA), s = c('a\"\\\\\\n\u{1}', '<&>'), n = c(0.1, Inf), l = c(TRUE, NA),\n\
                d = as.Date('2024-01-02') + 0:1, t = as.POSIXct(c(0, 1.5), origin = '1970-01-01', tz = 'UTC'),\n\
                f = factor(c('u', 'v')), x = 1 / 3)";
    let (run, displays) = richly(&sandbox(), code);
    assert_eq!((run.verdict, displays.len()), (Verdict::Value, 1), "{}", told(&run));
    let display = &displays[0];
    assert_eq!(display["text"].as_str(), run.value.as_deref());
    let expected = json!({
        "i": [1, null], "s": ["a\"\\\n\u{1}", "<&>"], "n": [0.1, null], "l": [true, null],
        "d": ["2024-01-02", "2024-01-03"], "t": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"],
        "f": ["u", "v"], "x": [1.0 / 3.0, 1.0 / 3.0],
    });
    assert_eq!(display["data"], expected);
    let html = display["html"].as_str().unwrap();
    assert!(html.starts_with("<table>") && html.contains("<td>&lt;&amp;&gt;</td>"), "{html}");
}

#[test]
fn plain_values_are_told_as_json() {
    let sandbox = sandbox();
    let cases = [
        ("1:3", json!([1, 2, 3])),
        ("pi", json!(PI)),
        ("c(a = 1.5, b = NA)", json!({"a": 1.5, "b": null})),
        ("list(x = 1, y = list('z', NULL, TRUE))", json!({"x": 1, "y": ["z", null, true]})),
        ("'\u{e9}'", json!("\u{e9}")),
        ("character(0)", json!([])),
    ];
    for (code, expected) in cases {
        let (run, displays) = richly(&sandbox, code);
        assert_eq!(displays.len(), 1, "{code}: {}", told(&run));
        assert_eq!(
            (&displays[0]["json"], &displays[0]["is_main_result"]),
            (&expected, &json!(true)),
            "{code}"
        );
    }
    let (_, displays) = richly(&sandbox, "lm(mpg ~ wt, mtcars)");
    let keys: Vec<_> = displays[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["is_main_result", "text"]);
    let (run, displays) = richly(&sandbox, "x <- 1");
    assert_eq!((run.value, displays.len()), (None, 0));
}

#[test]
fn everything_that_is_told_is_bounded() {
    let sandbox = sandbox();
    let long = value_in(&sandbox, "rep(strrep('\u{e9}', 1000), 700)").unwrap();
    assert!(((1 << 20) + 3..=(1 << 20) + 4).contains(&long.len()), "{}", long.len());
    assert!(!long.contains('\u{fffd}'), "no half of a character");
    let (run, displays) = richly(&sandbox, "as.data.frame(matrix(runif(6e5), ncol = 6))");
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    assert!(displays[0]["data"].is_null() && run.displays[0].len() < 3 << 20);
    let run = run_in(&sandbox, "cat(strrep('0123456789', 1e6))\n1");
    assert_eq!((run.value.as_deref(), run.truncated), (Some("[1] 1"), true));
}

#[test]
fn the_packages_of_an_image_are_told_as_json() {
    let about =
        code::all().iter().find(|known| known.name() == "r").map(|known| known.about().to_owned()).unwrap();
    let (out, _) = output_in(&sandbox(), &about);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(told["version"].as_str().is_some_and(|version| version.split('.').count() == 3), "{out}");
    let names: Vec<_> = told["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted() && names.contains(&"stats"), "{names:?}");
}
