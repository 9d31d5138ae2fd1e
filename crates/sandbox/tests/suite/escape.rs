//! Ways out and ways across: each a program, and what the kernel must answer it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;

use execgate_sandbox::{Stdin, Verdict};

use super::census::kinds_open_in;
use super::world::{cold, descendants, image, python, sandbox, told, value_in, value_of};

/// Tells the name of the error that each expression raises, or its value.
fn tried(setup: &str, expressions: &[&str]) -> Vec<String> {
    let code = format!(
        "import ctypes, errno, mmap, os, socket, struct\nlibc = ctypes.CDLL(None, use_errno=True)\n{setup}\ndef tell(text):\n    \
         try: return str(eval(text))\n    except OSError as e: return errno.errorcode[e.errno]\n\
         ' '.join(tell(t) for t in {expressions:?})"
    );
    value_of(&code).trim_matches(['\'', '"']).split(' ').map(str::to_owned).collect()
}

#[test]
fn a_guest_can_signal_and_limit_nobody_but_its_own() {
    let setup = "import resource, signal, time\n\
                 def everyone():\n    if os.fork() == 0: time.sleep(60)\n    os.kill(-1, 9)\n    \
                 return os.waitstatus_to_exitcode(os.wait()[1])";
    let answers = tried(
        setup,
        &[
            "os.kill(1, 9)",
            "everyone()",
            "os.kill(3000, 0)",
            "resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))",
            "signal.pidfd_send_signal(os.pidfd_open(1), 9)",
            "os.getppid()",
        ],
    );
    // A kill of the init is allowed and without effect, as the kernel has it for the first process of a namespace.
    assert_eq!(answers, ["None", "-9", "ESRCH", "EPERM", "None", "1"]);
}

#[test]
fn no_file_gives_rights_and_none_can_be_made_that_does() {
    let setup = "import shutil, subprocess\n\
                 def setuid():\n    shutil.copy('/usr/bin/bash', '/tmp/b'); os.chmod('/tmp/b', 0o6755)\n    \
                 return subprocess.check_output(['/tmp/b', '-pc', 'echo $EUID']).decode().strip() == str(os.getuid())\n\
                 def marked():\n    return subprocess.run(['find', '/', '-xdev', '-perm', '/6000'], capture_output=True).stdout\n\
                 def capable():\n    os.setxattr('/tmp/b', 'security.capability', struct.pack('<5I', 0x2000001, 1 << 21, 0, 0, 0))";
    let answers = tried(
        setup,
        &[
            "setuid()",
            "marked()",
            "capable()",
            "os.setuid(0)",
            "os.setgroups([0])",
            "os.chown('/tmp/b', 0, 0)",
            "os.mknod('/tmp/d', 0o020666, os.makedev(1, 1))",
            "os.mkfifo('/tmp/f')",
            "os.link('/usr/bin/bash', '/tmp/hard')",
            "os.utime('/dev/null')",
            "os.chmod('/dev/null', 0o600)",
        ],
    );
    // What is refused with EXDEV is refused by Landlock, or by the border of a file system.
    assert_eq!(
        answers,
        ["True", "b''", "ENOTSUP", "EPERM", "EPERM", "EPERM", "EACCES", "None", "EXDEV", "EROFS", "EROFS"]
    );
}

#[test]
fn the_image_stays_as_it_was_whatever_is_written_to_its_pages() {
    let files = ["usr/bin/bash", "usr/bin/python3.11", "etc/passwd"];
    let root = image().path;
    let present: Vec<_> = files.into_iter().filter(|file| root.join(file).exists()).collect();
    let before: Vec<_> = present.iter().map(|file| fs::read(root.join(file)).unwrap()).collect();
    let setup = "f = os.open('/usr/bin/bash', os.O_RDONLY)\n\
                 def private():\n    m = mmap.mmap(f, 4096, flags=mmap.MAP_PRIVATE, prot=3); m[:4] = b'evil'; return m[:4]\n\
                 def shared(): return mmap.mmap(f, 4096, flags=mmap.MAP_SHARED, prot=3)\n\
                 def forced():\n    m = mmap.mmap(f, 4096, flags=mmap.MAP_PRIVATE, prot=1)\n    \
                 at = [int(l.split('-')[0], 16) for l in open('/proc/self/maps') if l.endswith('/bash\\n')][0]\n    \
                 d = os.open('/proc/self/mem', os.O_RDWR); return os.pwrite(d, b'evil', at)\n\
                 def protected():\n    m = libc.mmap; m.restype = ctypes.c_void_p; m.argtypes = [ctypes.c_void_p, ctypes.c_size_t, \
                 ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]\n    at = m(None, 4096, 1, 1, f, 0)\n    \
                 if libc.mprotect(ctypes.c_void_p(at), 4096, 3): raise OSError(ctypes.get_errno(), '')";
    let answers = tried(
        setup,
        &[
            "os.open('/usr/bin/bash', os.O_RDWR)",
            "os.open('/proc/self/fd/%d' % f, os.O_RDWR)",
            "private()",
            "shared()",
            "forced()",
            "protected()",
            "os.ftruncate(f, 0)",
            "os.copy_file_range(f, os.open('/tmp/copy', os.O_RDWR | os.O_CREAT), 4096)",
            "os.sendfile(os.open('/tmp/copy2', os.O_RDWR | os.O_CREAT), f, 0, 4096)",
            "os.splice(f, os.pipe()[1], 4096)",
        ],
    );
    assert_eq!(
        answers,
        ["EACCES", "EACCES", "b'evil'", "EACCES", "EACCES", "EACCES", "EINVAL", "EXDEV", "EINVAL", "EPERM"]
    );
    let after: Vec<_> = present.iter().map(|file| fs::read(root.join(file)).unwrap()).collect();
    assert!(before == after, "an image file has changed");
}

#[test]
fn two_runs_at_once_share_no_name_of_a_socket_no_memory_and_no_user() {
    let sandbox = sandbox();
    let code = "import os, socket, sys\nlist = '/proc/self/net/unix'\ns = socket.socket(socket.AF_UNIX); s.bind('\\0same'); s.listen()\n\
                with open('/dev/shm/same', 'x'): pass\nprint('bound', flush=True); sys.stdin.read(1)\n\
                open(list).read().count('@') if os.path.exists(list) else 1, os.getuid(), os.listdir('/dev/shm')";
    let (seen, sees) = mpsc::channel();
    let uids: BTreeSet<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..3)
            .map(|_| {
                let (input, held) = rustix::pipe::pipe().unwrap();
                let mut request = python(code);
                request.stdin = Stdin::Inherit(input);
                let seen = seen.clone();
                request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
                (held, scope.spawn(|| sandbox.run(request).unwrap()))
            })
            .collect();
        for _ in &lanes {
            sees.recv().unwrap();
        }
        let ends = lanes.into_iter().map(|(held, lane)| {
            drop(held);
            let run = lane.join().unwrap();
            assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
            let value = run.value.unwrap();
            assert!(value.starts_with("(1, ") && value.ends_with(", ['same'])"), "{value}");
            value
        });
        ends.collect()
    });
    assert_eq!(uids.len(), 3, "a user id each: {uids:?}");
}

#[test]
fn descriptors_can_be_passed_within_a_run_and_lead_nowhere_else() {
    let setup = "a, b = socket.socketpair(socket.AF_UNIX)\nsocket.send_fds(a, [b'x'], [os.open('/etc', os.O_RDONLY)])\n\
                 got = socket.recv_fds(b, 1, 1)[1][0]";
    let answers = tried(
        setup,
        &[
            "sorted(os.listdir(got)) == sorted(os.listdir('/etc'))",
            "os.stat('..', dir_fd=got).st_ino == os.stat('/').st_ino",
            "os.stat('/..').st_ino == os.stat('/').st_ino",
            "os.stat('/proc/self/root').st_ino == os.stat('/').st_ino",
            "[os.fstat(n).st_mode >> 12 for n in range(3)]==[8,1,1]",
            "os.open('/dev/tty', 0)",
            "os.open('/proc/1/ns/net', 0)",
            "libc.setns(os.open('/proc/self/ns/net', 0), 0)",
        ],
    );
    assert_eq!(answers, ["True", "True", "True", "True", "True", "ENOENT", "ENOENT", "-1"]);
}

#[test]
fn what_a_guest_writes_to_proc_changes_nothing() {
    let writes: Vec<_> = [
        "oom_score_adj",
        "oom_adj",
        "coredump_filter",
        "comm",
        "uid_map",
        "setgroups",
        "timerslack_ns",
        "clear_refs",
        "attr/current",
        "loginuid",
        "sched",
        "autogroup",
    ]
    .into_iter()
    .map(|file| format!("os.open('/proc/self/{file}', os.O_WRONLY)"))
    .collect();
    let writes: Vec<_> = writes.iter().map(String::as_str).collect();
    let answers = tried("", &writes);
    let refused = ["EACCES", "ENOENT", "EPERM"];
    assert!(answers.iter().all(|answer| refused.contains(&answer.as_str())), "{answers:?}");
}

#[test]
fn a_core_is_not_dumped_anywhere() {
    let code = "import os, signal, subprocess\nsubprocess.run(['bash', '-c', 'ulimit -c unlimited; kill -SEGV $$'])\n\
                [os.listdir(f) for f in ('.', '/tmp', '/dev/shm')]";
    assert_eq!(value_of(code), "[[], [], []]");
}

#[test]
fn the_stem_and_the_inits_hold_nothing_that_a_guest_could_use() {
    let sandbox = cold();
    assert_eq!(value_in(&sandbox, "1"), "1");
    let (input, held) = rustix::pipe::pipe().unwrap();
    let mut request = python("import sys; print(1, flush=True); sys.stdin.read()");
    request.stdin = Stdin::Inherit(input);
    let (seen, sees) = mpsc::channel();
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request).unwrap());
        sees.recv().unwrap();
        let open: Vec<Vec<String>> = descendants(sandbox.helper_pid())
            .into_iter()
            .map(|pid| {
                let mut kinds = kinds_open_in(pid);
                kinds.dedup();
                kinds
            })
            .collect();
        // The stem: null, what interpreters of sessions load, its link, the slots' networks. The init: its report. The
        // interpreter: its pipes.
        assert_eq!(open[0], ["/dev/null", "/memfd:forkpoint", "net:", "socket:"]);
        assert_eq!(open[1..], [vec!["pipe:".to_owned()], vec!["pipe:".to_owned()]]);
        drop(held);
        assert_eq!(running.join().unwrap().verdict, Verdict::Value);
    });
}
