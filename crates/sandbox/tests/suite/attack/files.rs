//! Files that a program plants for whoever collects them. What is planted and stays as it is, is in `suite/files.rs`.

use std::time::Duration;

use execgate_sandbox::{Collect, NotCollected, PlacedFile, Run, Verdict};

use super::super::world::{attacked, python, told, with_limits};

fn collect(patterns: &[&str]) -> Collect {
    Collect {
        patterns: patterns.iter().map(|text| (*text).to_owned()).collect(),
        file_bytes_max: 1 << 20,
        total_bytes_max: 2 << 20,
        files_max: 64,
    }
}

/// What came back under these paths, or why it did not.
fn content<'a>(run: &'a Run, path: &str) -> Option<&'a Result<Vec<u8>, NotCollected>> {
    run.files.iter().find(|file| file.path == path).map(|file| &file.content)
}

#[test]
fn a_name_that_becomes_a_link_at_every_moment_leads_nowhere() {
    let sandbox = attacked();
    let before = std::fs::read("/etc/hostname").unwrap_or_default();
    // One process goes on exchanging a file, a folder and links to the host's names until it is killed.
    let code = "import ctypes, os\nlibc = ctypes.CDLL(None)\nos.makedirs('a/d'); open('a/d/x', 'w').write('mine')\n\
                os.symlink('/etc', 'l'); os.makedirs('dir'); open('dir/hostname', 'w').write('mine')\n\
                open('f', 'w').write('mine'); os.symlink('/etc/hostname', 'g')\n\
                if os.fork() == 0:\n    os.setsid()\n    \
                while True:\n        libc.renameat2(-100, b'f', -100, b'g', 2)\n        \
                libc.renameat2(-100, b'dir', -100, b'l', 2)\n'swapping'";
    for _ in 0..12 {
        let mut request = python(code);
        request.collect = Some(collect(&["f", "g", "dir/hostname", "l/hostname"]));
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        assert!(!run.files.is_empty());
        for file in &run.files {
            let fine = match &file.content {
                Ok(bytes) => bytes == b"mine",
                Err(why) => *why == NotCollected::Kind,
            };
            assert!(fine, "{file:?}");
        }
    }
    assert_eq!(std::fs::read("/etc/hostname").unwrap_or_default(), before);
}

#[test]
fn strange_names_and_marks_come_back_as_bytes_or_not_at_all() {
    let sandbox = attacked();
    let code = "import os\nos.makedirs('o')\nos.chdir('o')\n\
                for name in ('n' * 255, 'a\\nb', '-rf', '$(id)', '\\x1b[2J', '...', ' ', 'CON', 'Ä'): open(name, 'w').write('x')\n\
                os.chmod('-rf', 0o6777)\nopen('big', 'wb').truncate(200 << 20)\n\
                try: os.setxattr('Ä', 'user.x', b'1')\nexcept OSError: pass\n\
                for n in range(100): os.symlink('..', f'up{n}')\nos.mkdir('empty'); os.symlink('loop', 'loop')";
    let mut request = python(code);
    request.collect = Some(collect(&["o/*", "o/loop/**", "o/up0/../../etc/passwd"][..2]));
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    let long = format!("o/{}", "n".repeat(255));
    assert!(
        run.files.iter().all(|file| file.path.starts_with("o/") && !file.path.contains("/../")),
        "{:?}",
        run.files
    );
    assert!(run.files.len() <= 65, "{}", run.files.len());
    let mut request = python(code);
    request.collect =
        Some(collect(&["o/n*", "o/a?b", "o/-rf", "o/$(id)", "o/...", "o/ ", "o/big", "o/loop", "o/empty"]));
    let run = sandbox.run(request).unwrap();
    for name in [long.as_str(), "o/a\nb", "o/-rf", "o/$(id)", "o/...", "o/ "] {
        assert_eq!(content(&run, name), Some(&Ok(b"x".to_vec())), "{name:?}");
    }
    assert_eq!(content(&run, "o/big"), Some(&Err(NotCollected::Large)));
    assert_eq!(content(&run, "o/loop"), Some(&Err(NotCollected::Kind)));
}

#[test]
fn a_file_that_is_to_be_placed_cannot_be_named_out_of_its_place() {
    let names = [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "/tmp/../etc/x",
        "",
        "/",
        "a//b",
        "./a",
        "a/.",
        "a/..",
        "/proc/self/mem",
        "/dev/shm/../x",
        "a\0b",
        "/usr/bin/bash",
        "/home/user/../../etc/x",
    ];
    for name in names {
        assert!(PlacedFile::new(name, Vec::new()).is_err(), "{name:?}");
    }
    assert!(PlacedFile::new(&"n".repeat(256), Vec::new()).is_err());
}

#[test]
fn collecting_has_an_end_whatever_was_planted() {
    let sandbox = attacked();
    // As many names as there may be, in a tree as deep as there may be, and pipes that nobody writes to.
    let code = "import os\nfor n in range(40):\n    os.makedirs(f'd{n}/' + '/'.join('x' * 40))\n    os.mkfifo(f'd{n}/p')\n\
                for n in range(3000): os.link('l', f'l{n}') if n else open('l', 'w').close()";
    let mut request = with_limits(python(code), |limits| limits.wall = Duration::from_secs(10));
    request.collect = Some(collect(&["**/p", "**/y", "l9*"]));
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    assert!(
        run.files
            .iter()
            .all(|file| file.content == Err(NotCollected::Kind) || file.content == Err(NotCollected::Many))
    );
    assert_eq!(sandbox.run(python("2")).unwrap().value.as_deref(), Some("2"));
}
