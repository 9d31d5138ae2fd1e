//! Files in and out of a run: what is placed is there, what is asked for comes back, and nothing else does,
//! whatever the guest has planted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;

use execgate_sandbox::{
    Cancel, Collect, CollectedFile, NotCollected, PlacedFile, Request, RunError, Verdict,
};

use rustix::process::getpid;

use super::world::{PATIENCE, SLOWNESS, bash, comes_true, descendants, python, sandbox, told, with_limits};

fn collect(patterns: &[&str]) -> Collect {
    Collect {
        patterns: patterns.iter().map(|text| (*text).to_owned()).collect(),
        file_bytes_max: 1 << 20,
        total_bytes_max: 2 << 20,
        files_max: 8,
    }
}

/// Runs a request and gives what it brought back.
fn brought_back(mut request: Request, wanted: Collect) -> BTreeMap<String, Result<Vec<u8>, NotCollected>> {
    request.collect = Some(wanted);
    let run = sandbox().run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    run.files.into_iter().map(|CollectedFile { path, content }| (path, content)).collect()
}

fn names(files: &BTreeMap<String, Result<Vec<u8>, NotCollected>>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

#[test]
fn placed_files_are_there_and_are_the_guests_own() {
    let mut request = bash(
        "cat in/deep/a.txt /tmp/b.bin; stat -c '%U %a %h' in/deep/a.txt /tmp/b.bin; echo more >> in/deep/a.txt; ls -A",
    );
    request.files = vec![
        PlacedFile::new("in/deep/a.txt", b"one\n".to_vec()).unwrap(),
        PlacedFile::new("/tmp/b.bin", b"two\n".to_vec()).unwrap(),
        PlacedFile::new("/home/user/empty", Vec::new()).unwrap(),
    ];
    let run = sandbox().run(request).unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(text, "one\ntwo\nuser 644 1\nuser 644 1\nempty\nin\n", "{}", told(&run));
}

#[test]
fn files_that_cannot_both_be_placed_start_nothing() {
    let sandbox = sandbox();
    let mut request = python("1");
    request.files =
        vec![PlacedFile::new("a", Vec::new()).unwrap(), PlacedFile::new("a/b", Vec::new()).unwrap()];
    assert!(matches!(sandbox.run(request), Err(RunError::Spawn { .. })));
    assert_eq!(sandbox.run(python("1")).unwrap().value.as_deref(), Some("1"));
}

#[test]
fn what_is_asked_for_comes_back_and_nothing_else() {
    let code = "mkdir -p out/deep .hidden; printf a > a.png; printf b > out/b.png; printf c > out/deep/c.png; \
                printf no > a.txt; printf t > /tmp/t.csv; printf h > .hidden/x; printf '\\377' > 'raw é'";
    let files = brought_back(
        bash(code),
        collect(&["*.png", "out/**/c.*", "/tmp/*.csv", "raw*", "/home/user/out/b.png"]),
    );
    let expected = [
        ("/tmp/t.csv", &b"t"[..]),
        ("a.png", b"a"),
        ("out/b.png", b"b"),
        ("out/deep/c.png", b"c"),
        ("raw é", b"\xff"),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(path, bytes)| (path.to_owned(), Ok(bytes.to_vec()))).into();
    assert_eq!(files, expected);
    assert_eq!(names(&brought_back(bash("printf 1 > x; printf 2 > .y"), collect(&["**"]))), [".y", "x"]);
    assert!(brought_back(bash("true"), collect(&["*", "/tmp/**"])).is_empty());
}

#[test]
fn nothing_that_is_planted_leads_out_of_the_tmpfs() {
    let code = r#"
import os, socket
os.symlink('/etc/passwd', 'link')
os.symlink('../../../../../../etc/passwd', 'climb')
os.symlink('/proc/self/environ', 'magic')
os.symlink('/', 'root')
os.mkfifo('fifo')
open('two', 'w').write('x'); os.link('two', 'names')
s = socket.socket(socket.AF_UNIX); s.bind('socket')
os.mkdir('folder')
open('secret', 'w').write('x'); os.chmod('secret', 0)
open('fine', 'w').write('fine')
open('line\nbreak', 'w').write('nl')
os.symlink('/etc', '/tmp/etc')
open(b'\xff\xfe', 'w').write('not text')
"#;
    let mut wanted = collect(&["**", "/tmp/**", "root/etc/passwd", "/tmp/etc/passwd"]);
    wanted.files_max = 100;
    let files = brought_back(python(code), wanted);
    let kind = Err(NotCollected::Kind);
    for name in ["link", "climb", "magic", "root", "fifo", "two", "names", "socket", "/tmp/etc"] {
        assert_eq!(files.get(name), Some(&kind), "{name}");
    }
    assert_eq!(files.get("secret"), Some(&Err(NotCollected::Unreadable)));
    assert_eq!(files.get("fine"), Some(&Ok(b"fine".to_vec())));
    assert_eq!(files.get("line\nbreak"), Some(&Ok(b"nl".to_vec())));
    assert_eq!(files.len(), 12, "{:?}", names(&files));
}

#[test]
fn files_are_bounded_one_by_one_and_together() {
    let code = "for n in a b c; do head -c 900000 /dev/zero > $n.zero; done; truncate -s 200M sparse; \
                for n in {1..20}; do : > many$n; done";
    let files = brought_back(bash(code), collect(&["*.zero", "sparse"]));
    assert_eq!(files.get("a.zero").map(|content| content.as_ref().map(Vec::len)), Some(Ok(900_000)));
    assert_eq!(files.get("c.zero"), Some(&Err(NotCollected::Total)));
    assert_eq!(files.get("sparse"), Some(&Err(NotCollected::Large)));
    let many = brought_back(bash(code), collect(&["many*"]));
    assert_eq!(many.len(), 9);
    assert_eq!(many.values().filter(|content| **content == Err(NotCollected::Many)).count(), 1);
}

#[test]
fn a_pattern_that_makes_others_search_for_ever_is_answered_at_once() {
    let code = "import os\nos.makedirs('a' * 60)\nopen('a' * 60 + '/x', 'w').write('1')\nopen('x.txt', 'w').write('2')";
    let files = brought_back(python(code), collect(&["*a*a*a*a*a*a*a*a*a*a*a*ab/x", "x.txt"]));
    assert_eq!(names(&files), ["x.txt"]);
}

#[test]
fn a_swamp_of_files_and_folders_is_looked_at_within_bounds() {
    let code = "import os\np='d'\nfor n in range(200):\n    os.makedirs(p); p += '/d'\n    if len(p) > 900: break\n\
                for n in range(9000): open(f'f{n}', 'w').close()";
    let files = brought_back(python(code), collect(&["**/*.none", "f1"]));
    assert_eq!(names(&files), ["f1"]);
}

#[test]
fn a_folder_that_was_not_looked_into_is_named() {
    let unreadable = Some(&Err(NotCollected::Unreadable));
    let code =
        "mkdir -p kept/sub other/sub; printf 1 > kept/a; printf 2 > kept/sub/b; chmod 0 kept/sub other/sub";
    let files = brought_back(bash(code), collect(&["kept/**"]));
    assert_eq!(names(&files), ["kept/a", "kept/sub"]);
    assert_eq!(files.get("kept/sub"), unreadable);
    let closed = "mkdir kept; printf 1 > kept/a; chmod 0 kept";
    assert_eq!(brought_back(bash(closed), collect(&["kept/**"])).get("kept"), unreadable);
    assert!(brought_back(bash(closed), collect(&["*.png"])).is_empty());
    assert_eq!(brought_back(bash("printf 1 > a; chmod 0 ."), collect(&["a"])).get("."), unreadable);
    // More names than are looked at.
    let code = "import os\nos.mkdir('n')\nfor n in range(20100): os.mknod(f'n/{n}')";
    let many = with_limits(python(code), |limits| limits.inodes = 30_000);
    assert_eq!(brought_back(many, collect(&["kept/**"])).get("n"), Some(&Err(NotCollected::Many)));
}

#[test]
fn as_many_files_as_there_may_be_are_placed() {
    let mut request = with_limits(bash("ls d | wc -l"), |limits| limits.inodes = 20_000);
    let file = |number: usize| PlacedFile::new(&format!("d/{number}"), Vec::new()).unwrap();
    request.files = (0..Request::FILES_MAX).map(file).collect();
    let run = sandbox().run(request).unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), Request::FILES_MAX.to_string(), "{}", told(&run));
}

#[test]
fn what_was_placed_is_held_by_nobody_else_once_the_run_has_begun() {
    let sandbox = sandbox();
    let (cord, (begun, has_begun)) = (Cancel::new().unwrap(), channel());
    let mut request = bash("wc -c < big; sleep 1000");
    request.files = vec![PlacedFile::new("big", vec![7; 1 << 20]).unwrap()];
    request.limits.wall = 2 * PATIENCE;
    request.cancel = Some(cord.clone());
    request.sink = Some(Box::new(move |_, _| begun.send(()).unwrap_or_default()));
    thread::scope(|scope| {
        let run = scope.spawn(|| sandbox.run(request).unwrap().verdict);
        has_begun.recv().unwrap();
        let helper = sandbox.helper_pid();
        let all = || descendants(helper).into_iter().chain([helper, getpid().as_raw_pid()]);
        let is_sheet = |link: &PathBuf| link.to_string_lossy().starts_with("/memfd:sheet");
        let links = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let holds =
            |pid: i32| links(pid).filter_map(|fd| fs::read_link(fd.path()).ok()).any(|link| is_sheet(&link));
        let is_gone = comes_true(|| !all().any(holds));
        cord.cancel();
        assert!(is_gone, "the sheet is held");
        assert_eq!(run.join().unwrap(), Verdict::Cancelled);
    });
}

#[test]
fn files_come_back_however_the_run_ends() {
    let sandbox = sandbox();
    let cases = [
        ("import time; open('x','w').write('1'); time.sleep(60)", Verdict::Timeout),
        ("open('x','w').write('1'); 1/0", Verdict::Exception),
        ("open('x','w').write('1'); raise SystemExit(3)", Verdict::Exit(3)),
        (
            "import os; open('x','w').write('1'); os.fork() or os.setsid() or __import__('time').sleep(60)",
            Verdict::Value,
        ),
    ];
    for (code, verdict) in cases {
        let mut request = with_limits(python(code), |limits| {
            limits.wall = SLOWNESS * std::time::Duration::from_secs(2);
        });
        request.collect = Some(collect(&["x"]));
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.verdict, verdict, "{}", told(&run));
        assert_eq!(run.files, [CollectedFile { path: "x".into(), content: Ok(b"1".to_vec()) }], "{code}");
    }
}

#[test]
fn a_pattern_that_is_none_is_refused_before_anything_starts() {
    let sandbox = sandbox();
    for wrong in ["a[", "", "../../etc/passwd", "/etc/passwd", "./a", "a//b", "/tmp/../etc/*", "a\0"] {
        let mut request = python("1");
        request.collect = Some(collect(&["b", wrong]));
        assert!(matches!(sandbox.run(request), Err(RunError::Pattern(text)) if text == wrong), "{wrong:?}");
    }
}
