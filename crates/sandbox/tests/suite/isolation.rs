//! What a guest sees, and what it does not.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;

use execgate_sandbox::{Enforced, Stdin, Verdict};

use super::world::{bash, cold, descendants, python, sandbox, told, value_in, value_of};

#[test]
fn the_environment_is_the_fixed_one() {
    let code = "import os; sorted(os.environ.items())";
    let expected = "[('HOME', '/home/user'), ('LANG', 'C.UTF-8'), ('MPLBACKEND', 'Agg'), \
                    ('MPLCONFIGDIR', '/tmp/.matplotlib'), ('OMP_NUM_THREADS', '1'), \
                    ('OPENBLAS_NUM_THREADS', '1'), ('PATH', '/usr/local/bin:/usr/bin:/bin'), ('TMPDIR', '/tmp')]";
    assert_eq!(value_of(code), expected);
}

#[test]
fn only_the_runs_own_descriptors_are_open() {
    // The code's own has been read and closed; one more is the folder that is being listed.
    let sandbox = sandbox();
    assert_eq!(
        value_in(&sandbox, "import os; sorted(map(int, os.listdir('/proc/self/fd')))"),
        "[0, 1, 2, 3, 4]"
    );
    assert_eq!(sandbox.run(bash("ls /proc/self/fd | tr '\\n' ' '")).unwrap().stdout, b"0 1 2 3 ");
}

#[test]
fn only_the_runs_own_processes_are_seen() {
    let code = "import os; [int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()], os.getpid()";
    assert_eq!(value_of(code), "([], 2)");
    let hidden = "import os\n[os.path.exists(p) for p in ('/proc/1', '/proc/sys', '/proc/kallsyms', '/proc/kcore', \
                  '/proc/sysrq-trigger', '/proc/keys', '/sys/kernel', '/proc/cmdline', '/proc/version')]";
    assert_eq!(value_of(hidden), format!("[{}]", ["False"; 9].join(", ")));
}

#[test]
fn the_mounts_are_the_image_and_the_runs_own() {
    let code = "sorted({l.split()[4]: (l.split(' - ')[1].split()[0], l.split()[5].split(',')[0]) \
                for l in open('/proc/self/mountinfo')}.items())";
    let expected: Vec<_> = [("/", "", "ro"), ("/dev", "tmpfs", "ro")].into_iter().collect();
    let mounts = value_of(code);
    for (point, kind, mode) in expected {
        assert!(mounts.contains(&format!("('{point}', ('{kind}")) && mounts.contains(mode), "{mounts}");
    }
    let points: BTreeSet<_> =
        mounts.split("('").filter_map(|part| part.strip_prefix('/')?.split('\'').next()).collect();
    let known = [
        "",
        "dev",
        "dev/full",
        "dev/null",
        "dev/random",
        "dev/shm",
        "dev/urandom",
        "dev/zero",
        "home/user",
        "proc",
        "tmp",
    ];
    assert_eq!(points, known.into_iter().collect(), "{mounts}");
}

#[test]
fn the_hosts_files_are_not_there() {
    let marker = std::env::temp_dir().join("execgate-sandbox-marker");
    fs::write(&marker, "secret").unwrap();
    let code = format!(
        "import os\n[os.path.exists(p) for p in ('{}', '/root', '/etc/shadow', '/var/log', '/boot', '/dev/tty', \
         '/dev/ptmx', '/dev/console', '/dev/kmsg', '/dev/mem', '/.execgate', '/proc/1/root')]",
        marker.display()
    );
    assert_eq!(value_of(&code), format!("[{}]", ["False"; 12].join(", ")));
    fs::remove_file(marker).unwrap();
}

#[test]
fn the_image_cannot_be_written_and_the_scratch_folders_can() {
    let code = "import os\nwritten = []\nfor root, folders, files in os.walk('/'):\n    \
                folders[:] = [f for f in folders if os.path.join(root, f) not in ('/proc',)]\n    \
                try:\n        open(os.path.join(root, 'probe'), 'w').close()\n        written.append(root)\n    \
                except OSError: pass\nsorted(written)";
    assert_eq!(value_of(code), "['/dev/shm', '/home/user', '/tmp']");
    let altered = "import os\ndef tries(call):\n    try: call(); return True\n    except OSError: return False\n\
                   [tries(lambda: open('/usr/bin/bash', 'r+b')), tries(lambda: os.remove('/usr/bin/bash')), \
                   tries(lambda: os.chmod('/usr/bin', 0o777)), tries(lambda: os.mkdir('/x')), \
                   tries(lambda: os.mknod('/tmp/d', 0o060666, os.makedev(8, 0))), \
                   tries(lambda: os.link('/usr/bin/bash', '/tmp/b'))]";
    assert_eq!(value_of(altered), "[False, False, False, False, False, False]");
}

#[test]
fn the_next_run_sees_nothing_of_the_one_before() {
    let sandbox = sandbox();
    let leave = "import os, socket, resource\nos.umask(0o077); os.environ['LEFT'] = 'x'; os.chdir('/tmp')\n\
                 resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\nfor f in ('/tmp', '/home/user', '/dev/shm'): open(f + '/left', 'w').write('x')\n\
                 s = socket.socket(socket.AF_UNIX); s.bind('\\0left'); s.listen()\n\
                 os.fork() == 0 and os.execvp('sleep', ['sleep', '60'])";
    let look = "import os, socket\ns = socket.socket(socket.AF_UNIX)\ntry: s.connect('\\0left'); met = True\n\
                except OSError: met = False\nimport resource\n\
                [os.listdir(f) for f in ('/tmp', '/home/user', '/dev/shm')], met, oct(os.umask(0)), os.getcwd(), \
                'LEFT' in os.environ, resource.getrlimit(resource.RLIMIT_NOFILE)[0], \
                len([p for p in os.listdir('/proc') if p.isdigit()])";
    for _ in 0..8 {
        assert_eq!(sandbox.run(python(leave)).unwrap().verdict, Verdict::Value);
        assert_eq!(value_in(&sandbox, look), "([[], [], []], False, '0o22', '/home/user', False, 256, 1)");
    }
}

#[test]
fn two_runs_at_once_cannot_meet_by_abstract_socket() {
    let sandbox = sandbox();
    let serve = "import socket, time\ns = socket.socket(socket.AF_UNIX); s.bind('\\0meet'); s.listen(); \
                 s.settimeout(1.5)\ntry: s.accept(); met = True\nexcept TimeoutError: met = False\nmet";
    // From Linux 7 on, a guest is shown no such list at all.
    let call = "import os, socket, time\nlist = '/proc/self/net/unix'\nend = time.monotonic() + 1.2\nmet = False\n\
                while time.monotonic() < end:\n    s = socket.socket(socket.AF_UNIX)\n    \
                try: s.connect('\\0meet'); met = True\n    except OSError: time.sleep(.02)\n    \
                met |= os.path.exists(list) and 'meet' in open(list).read()\nmet";
    std::thread::scope(|scope| {
        let server = scope.spawn(|| value_in(&sandbox, serve));
        let caller = scope.spawn(|| value_in(&sandbox, call));
        assert_eq!(
            (server.join().unwrap(), caller.join().unwrap()),
            ("False".to_owned(), "False".to_owned())
        );
    });
}

#[test]
fn a_guest_has_no_capability_no_new_privilege_and_a_filter() {
    let code = "import os\nstatus = dict(l.split(':', 1) for l in open('/proc/self/status'))\n\
                [status[k].strip() for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')] \
                + [os.getgroups(), os.getuid() == os.geteuid() >= 1000, os.getcwd(), os.umask(0)]";
    let none = "'0000000000000000', ".repeat(5);
    assert_eq!(value_of(code), format!("[{none}'1', '2', [], True, '/home/user', 18]"));
}

#[test]
fn on_the_host_a_guest_is_nobody_in_the_unprivileged_range() {
    let sandbox = cold();
    let mut request = python("print(1, flush=True); input()");
    let (input, held) = rustix::pipe::pipe().unwrap();
    request.stdin = Stdin::Inherit(input);
    let (seen, sees) = mpsc::channel();
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(request).unwrap());
        sees.recv().unwrap();
        let below = descendants(sandbox.helper_pid());
        assert_eq!(below.len(), 3, "the stem, the init, the interpreter");
        for pid in below {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            for field in ["Uid:", "Gid:"] {
                let ids: Vec<u32> = status
                    .lines()
                    .find_map(|line| line.strip_prefix(field))
                    .unwrap()
                    .split_whitespace()
                    .map(|id| id.parse().unwrap())
                    .collect();
                assert!(ids.iter().all(|id| (0x7000_0000..0x7001_0000).contains(id)), "{pid}: {ids:?}");
            }
        }
        drop(held);
        assert_eq!(running.join().unwrap().verdict, Verdict::Exception);
    });
}

#[test]
fn the_init_can_be_neither_killed_nor_traced() {
    let code = "import os, ctypes\nfor n in range(1, 65):\n    try: os.kill(1, n)\n    except OSError: pass\n\
                libc = ctypes.CDLL(None, use_errno=True)\n\
                traced = libc.ptrace(16, 1, 0, 0), ctypes.get_errno()\n\
                def opened(path):\n    try: open(path, 'rb').read(1); return True\n    except OSError: return False\n\
                traced, [opened('/proc/1/' + f) for f in ('mem', 'environ', 'maps', 'fd/7')]";
    assert_eq!(value_of(code), "((-1, 1), [False, False, False, False])");
}

#[test]
fn random_bytes_and_hash_seeds_are_not_shared_between_runs() {
    let sandbox = sandbox();
    let code = "import os, random, uuid\n(os.urandom(16), random.random(), uuid.uuid4(), hash('x'))";
    let seen: BTreeSet<String> = (0..5).map(|_| value_in(&sandbox, code)).collect();
    assert_eq!(seen.len(), 5);
}

#[test]
fn what_held_a_run_is_told_as_it_was() {
    let sandbox = sandbox();
    let run = sandbox.run(python("1")).unwrap();
    // How an interpreter came to it is the run's own.
    let interpreter = run.enforced.interpreter;
    assert_eq!(run.enforced, Enforced { interpreter, ..sandbox.enforced() }, "{}", told(&run));
    let enforced = run.enforced;
    assert_eq!((enforced.tier.name(), enforced.uid_map.as_str()), ("jail", "0 1879048192 65536"));
    assert!(enforced.own_uid_per_slot && enforced.landlock_abi > 0 && enforced.seccomp_sha256.len() == 64);
    for controller in ["memory", "pids", "cpu"] {
        assert!(enforced.controllers.iter().any(|name| name == controller), "{controller}");
    }
}
