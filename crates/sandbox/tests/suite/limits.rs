//! Every limit has an outcome of its own, and a run that met one harms nobody.

use std::time::{Duration, Instant};

use execgate_sandbox::{LimitKind, Verdict};

use super::world::{SLOWNESS, bash, python, sandbox, told, value_in, with_limits};

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
    let wall = SLOWNESS * Duration::from_secs(2);
    let run = sandbox().run(with_limits(python(code), |limits| limits.wall = wall)).unwrap();
    assert_eq!((run.verdict, run.stdout), (Verdict::Timeout, b"before\n".to_vec()));
}

#[test]
fn memory_is_a_limit_of_the_run_and_all_its_processes() {
    let sandbox = sandbox();
    let heap = "data = []\nwhile True: data.append(bytearray(1 << 20))";
    let shared = "import os\nf = open('/dev/shm/x', 'wb')\nwhile True: f.write(b'x' * (1 << 20))";
    let child = "import subprocess, sys\n\
                 subprocess.run([sys.executable, '-c', 'x = bytearray(200 << 20)'], check=True)";
    let mapped = "import mmap\nm = mmap.mmap(-1, 300 << 20)\nfor at in range(0, 300 << 20, 4096): m[at] = 1";
    let unmapped = "import os\nf = os.memfd_create('x')\nwhile True: os.write(f, b'x' * (1 << 20))";
    // What the kernel holds for a program in its sockets.
    let sockets = "import resource, socket\nkept = []\nwhile True:\n    a, b = socket.socketpair(); kept.append((a, b))\n    \
                   a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24); a.setblocking(False)\n    \
                   try:\n        while True: a.send(b'x' * 65536)\n    except BlockingIOError: pass";
    for code in [heap, shared, child, mapped, unmapped, sockets] {
        let run = sandbox.run(with_limits(python(code), |limits| limits.memory_bytes = 32 * MIB)).unwrap();
        assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutOfMemory), "{code}\n{}", told(&run));
    }
    assert_eq!(value_in(&sandbox, "len(bytearray(100 << 20))"), "104857600");
}

#[test]
fn a_fork_bomb_meets_the_process_limit() {
    // Who may not fork waits, so that no place becomes free: the first process is refused too, soon, however slow all is.
    let code = "import os, time\nfirst = os.getpid()\nwhile True:\n    try: os.fork()\n    except OSError:\n        \
                if os.getpid() == first: raise\n        time.sleep(600)";
    let request = with_limits(python(code), |limits| {
        limits.processes = 24;
        limits.wall = SLOWNESS * Duration::from_secs(5);
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
fn a_flood_on_the_channel_is_output_too_and_a_drip_costs_us_nothing() {
    let sandbox = sandbox();
    let flood = "import os\nwhile True: os.write(4, b'\\xff' * 65536)";
    let request = with_limits(python(flood), |limits| {
        limits.output_discard_bytes = 8 * MIB;
        limits.wall = Duration::from_secs(30);
    });
    let run = sandbox.run(request).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutputLimit), "{}", told(&run));
    // Displays beyond those that are kept are of no use either, well made as they are: the run itself counts them.
    for frame in ["b'\\x04\\0\\0\\0\\0' * 13000", "b'\\x04' + (65000).to_bytes(4, 'little') + b'x' * 65000"] {
        let flood = format!("import os\nframe = {frame}\nwhile True: os.write(4, frame)");
        let request = with_limits(python(&flood), |limits| {
            limits.output_discard_bytes = MIB;
            limits.wall = Duration::from_secs(30);
        });
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutputLimit), "{}", told(&run));
        assert_eq!((run.displays.len(), run.truncated), (64, true));
    }
    // A frame of three fields, the first of 3 MiB, and then a byte at a time.
    let drip = "import os\nleft = b'\\x03' + (3 << 20).to_bytes(4, 'little') + b'a' * (3 << 20)\n\
                while left: left = left[os.write(4, left):]\nos.write(4, (1 << 20).to_bytes(4, 'little'))\n\
                for _ in range(20000): os.write(4, b'b')\nos._exit(3)";
    let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime).tv_sec;
    let before = cpu();
    assert_eq!(sandbox.run(python(drip)).unwrap().verdict, Verdict::Exit(3));
    assert!(cpu() - before < 3, "a guest made its client work");
}

#[test]
fn a_limit_of_nothing_is_not_a_limit_of_everything() {
    let sandbox = sandbox();
    let run = sandbox
        .run(with_limits(bash("head -c 1000000 /dev/zero > /tmp/x"), |limits| limits.disk_bytes = 0))
        .unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::DiskFull), "{}", told(&run));
    let run = sandbox.run(with_limits(python("1"), |limits| limits.wall = Duration::MAX)).unwrap();
    assert_eq!(run.value.as_deref(), Some("1"));
    let starved = sandbox.run(with_limits(python("1"), |limits| limits.memory_bytes = 4096));
    assert!(!matches!(&starved, Ok(run) if run.verdict == Verdict::Value), "{starved:?}");
    assert_eq!(value_in(&sandbox, "2"), "2");
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
    let code = "import time\nend, own = time.monotonic() + 1.5, time.process_time()\n\
                while time.monotonic() < end: pass\ntime.process_time() - own < 1.0";
    let request = with_limits(python(code), |limits| limits.cpu_percent = 30);
    assert_eq!(sandbox().run(request).unwrap().value.as_deref(), Some("True"));
}

#[test]
fn locked_memory_priorities_and_core_dumps_are_refused() {
    let code = "import resource as r\n\
                [r.getrlimit(k) for k in (r.RLIMIT_CORE, r.RLIMIT_MEMLOCK, r.RLIMIT_MSGQUEUE, r.RLIMIT_NICE, r.RLIMIT_RTPRIO)]";
    assert_eq!(value_in(&sandbox(), code), "[(1, 1), (0, 0), (0, 0), (0, 0), (0, 0)]");
}
