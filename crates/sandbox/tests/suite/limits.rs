//! Every limit has an outcome of its own, and a run that met one harms nobody.

use std::time::{Duration, Instant};

use execgate_sandbox::{LimitKind, Verdict};

use super::world::{bash, python, sandbox, told, value_in, with_limits};

const MIB: u64 = 1 << 20;

#[test]
fn a_deadline_ends_a_program_that_ignores_every_signal() {
    let code = "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    \
                except (OSError, ValueError): pass\nwhile True: pass";
    let before = Instant::now();
    let run =
        sandbox().run(with_limits(python(code), |limits| limits.wall = Duration::from_millis(500))).unwrap();
    assert_eq!(run.verdict, Verdict::Timeout, "{}", told(&run));
    assert!(run.usage.wall >= Duration::from_millis(500) && run.usage.wall < Duration::from_secs(2));
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_was_written_before_a_deadline_is_kept() {
    let code = "print('before', flush=True)\nwhile True: pass";
    let run =
        sandbox().run(with_limits(python(code), |limits| limits.wall = Duration::from_secs(1))).unwrap();
    assert_eq!((run.verdict, run.stdout), (Verdict::Timeout, b"before\n".to_vec()));
}

#[test]
fn memory_is_a_limit_of_the_run_and_all_its_processes() {
    let sandbox = sandbox();
    let heap = "data = []\nwhile True: data.append(bytearray(1 << 20))";
    let shared = "import os\nf = open('/dev/shm/x', 'wb')\nwhile True: f.write(b'x' * (1 << 20))";
    let child = "import subprocess, sys\n\
                 subprocess.run([sys.executable, '-c', 'x = bytearray(200 << 20)'], check=True)";
    for code in [heap, shared, child] {
        let run = sandbox.run(with_limits(python(code), |limits| limits.memory_bytes = 64 * MIB)).unwrap();
        assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutOfMemory), "{code}\n{}", told(&run));
    }
    assert_eq!(value_in(&sandbox, "len(bytearray(100 << 20))"), "104857600");
}

#[test]
fn a_fork_bomb_meets_the_process_limit() {
    let code = "import os\nwhile True: os.fork()";
    let request = with_limits(python(code), |limits| {
        limits.processes = 24;
        limits.wall = Duration::from_secs(5);
    });
    let run = sandbox().run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::ProcessLimit), "{}", told(&run));
}

#[test]
fn threads_count_as_processes() {
    let code = "import threading, time\n\
                for n in range(200): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()";
    let run = sandbox().run(with_limits(python(code), |limits| limits.processes = 24)).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::ProcessLimit), "{}", told(&run));
}

#[test]
fn a_full_disk_is_told_from_an_error_of_the_program() {
    let sandbox = sandbox();
    for folder in ["/tmp", "/home/user", "/dev/shm"] {
        let code = format!("f = open('{folder}/x', 'wb', 0)\nwhile True: f.write(b'x' * 65536)");
        let run = sandbox.run(with_limits(python(&code), |limits| limits.disk_bytes = 8 * MIB)).unwrap();
        // One file may be as large as the disk, so the one or the other is met first.
        assert_eq!(run.verdict, Verdict::Limit(LimitKind::DiskFull), "{folder}\n{}", told(&run));
    }
    let run = sandbox
        .run(with_limits(bash("cat /dev/zero > /tmp/x"), |limits| limits.disk_bytes = 8 * MIB))
        .unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::DiskFull), "{}", told(&run));
}

#[test]
fn too_many_files_are_a_full_disk() {
    let code = "n = 0\nwhile True:\n    open(f'/tmp/{n}', 'w').close()\n    n += 1";
    let run = sandbox().run(with_limits(python(code), |limits| limits.inodes = 100)).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::DiskFull), "{}", told(&run));
}

#[test]
fn a_giant_sparse_file_is_refused_to_the_program() {
    let run = sandbox().run(python("open('/tmp/x', 'wb').truncate(1 << 40)")).unwrap();
    assert_eq!(run.verdict, Verdict::Exception, "{}", told(&run));
    assert_eq!(run.exception.unwrap().name, "OSError");
}

#[test]
fn a_flood_of_output_is_kept_to_its_cap_and_then_ended() {
    let sandbox = sandbox();
    let request =
        with_limits(bash("head -c 300000000 /dev/zero"), |limits| limits.wall = Duration::from_secs(30));
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutputLimit), "{}", told(&run));
    assert_eq!((run.stdout.len(), run.truncated), (1 << 20, true));
    // What is borne beyond the cap is thrown away, and the run is none the worse for it.
    let run = sandbox.run(bash("head -c 3000000 /dev/zero; echo end >&2")).unwrap();
    assert_eq!(
        (run.verdict, run.stdout.len(), run.stderr.len(), run.truncated),
        (Verdict::Value, 1 << 20, 0, true)
    );
}

#[test]
fn descriptors_are_limited() {
    let code = "import os\nfds = []\ntry:\n    while True: fds.append(os.dup(0))\nexcept OSError as e: n = e.errno\n\
                n, len(fds) < 256";
    assert_eq!(value_in(&sandbox(), code), "(24, True)");
}

#[test]
fn a_crash_of_the_interpreter_is_told_as_killed() {
    let run = sandbox().run(python("import ctypes; ctypes.string_at(0)")).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::Killed), "{}", told(&run));
}

#[test]
fn processor_time_is_limited_to_a_share() {
    let code = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\ntime.process_time() < 1.0";
    let request = with_limits(python(code), |limits| limits.cpu_percent = 30);
    assert_eq!(sandbox().run(request).unwrap().value.as_deref(), Some("True"));
}

#[test]
fn locked_memory_priorities_and_core_dumps_are_refused() {
    let code = "import resource as r\n\
                [r.getrlimit(k) for k in (r.RLIMIT_CORE, r.RLIMIT_MEMLOCK, r.RLIMIT_MSGQUEUE, r.RLIMIT_NICE, r.RLIMIT_RTPRIO)]";
    assert_eq!(value_in(&sandbox(), code), "[(1, 1), (0, 0), (0, 0), (0, 0), (0, 0)]");
}
