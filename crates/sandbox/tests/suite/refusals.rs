//! Doors that the kernel keeps open for anyone, and that the filter closes.

use execgate_sandbox::{LimitKind, Verdict};

use super::world::{python, sandbox, told, value_of};

/// Calls by number with harmless arguments, and tells the error of each that was not `EPERM`.
fn not_refused(calls: &[(&str, i64, [u64; 6])]) -> String {
    let calls: Vec<_> =
        calls.iter().map(|(name, number, args)| format!("('{name}', {number}, {args:?})")).collect();
    value_of(&format!(
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nbad = {{}}\n\
         for name, number, args in [{}]:\n    \
         r = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(a) for a in args])\n    \
         e = ctypes.get_errno() if r == -1 else 0\n    \
         if e != 1: bad[name] = e\nbad",
        calls.join(", ")
    ))
}

#[test]
fn new_namespaces_and_mounts_are_refused() {
    let user = 0x1000_0000;
    let calls = [
        ("unshare user", libc::SYS_unshare, [user, 0, 0, 0, 0, 0]),
        ("unshare mount", libc::SYS_unshare, [0x2_0000, 0, 0, 0, 0, 0]),
        ("clone user", libc::SYS_clone, [user | 17, 0, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0; 6]),
        ("umount", libc::SYS_umount2, [0; 6]),
        ("fsopen", libc::SYS_fsopen, [0; 6]),
        ("open_tree", libc::SYS_open_tree, [0; 6]),
        ("move_mount", libc::SYS_move_mount, [0; 6]),
        ("mount_setattr", libc::SYS_mount_setattr, [0; 6]),
        ("pivot_root", libc::SYS_pivot_root, [0; 6]),
        ("chroot", libc::SYS_chroot, [0; 6]),
    ];
    assert_eq!(not_refused(&calls), "{}");
}

#[test]
fn looking_into_other_processes_is_refused() {
    let calls = [
        ("ptrace", libc::SYS_ptrace, [0; 6]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [0; 6]),
        ("kcmp", libc::SYS_kcmp, [1, 1, 0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 6]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [0; 6]),
        ("name_to_handle_at", libc::SYS_name_to_handle_at, [0; 6]),
        ("inotify", libc::SYS_inotify_init1, [0; 6]),
        ("fanotify", libc::SYS_fanotify_init, [0; 6]),
        ("limits of the init", libc::SYS_prlimit64, [1, 7, 0, 0, 0, 0]),
        ("size of a pipe", libc::SYS_fcntl, [1, 1031, 1 << 20, 0, 0, 0]),
        ("mincore", libc::SYS_mincore, [0; 6]),
    ];
    assert_eq!(not_refused(&calls), "{}");
}

#[test]
fn the_kernels_less_trodden_parts_are_refused() {
    let calls = [
        ("bpf", libc::SYS_bpf, [0; 6]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [8, 0, 0, 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0; 6]),
        ("add_key", libc::SYS_add_key, [0; 6]),
        ("request_key", libc::SYS_request_key, [0; 6]),
        ("splice", libc::SYS_splice, [0; 6]),
        ("vmsplice", libc::SYS_vmsplice, [0; 6]),
        ("tee", libc::SYS_tee, [0; 6]),
        ("seccomp", libc::SYS_seccomp, [0; 6]),
        ("personality", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]),
        ("set death signal", libc::SYS_prctl, [1, 0, 0, 0, 0, 0]),
        ("push a byte to a terminal", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]),
        ("lease", libc::SYS_fcntl, [0, 1024, 0, 0, 0, 0]),
        ("directory notification", libc::SYS_fcntl, [0, 1026, 0, 0, 0, 0]),
        ("sethostname", libc::SYS_sethostname, [0; 6]),
        ("shmget", libc::SYS_shmget, [0; 6]),
    ];
    assert_eq!(not_refused(&calls), "{}");
}

#[test]
fn no_socket_but_a_unix_one_can_be_made() {
    let code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nmade = []\n\
                for family in range(0, 48):\n    for kind in (1, 2, 3, 5):\n        \
                if libc.socket(family, kind, 0) >= 0: made.append(family)\nsorted(set(made))";
    assert_eq!(value_of(code), "[1]");
}

#[test]
fn clone3_is_unknown_so_that_the_library_falls_back() {
    let code = "import ctypes, subprocess\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                libc.syscall(435, 0, 0), ctypes.get_errno(), subprocess.run(['true']).returncode";
    assert_eq!(value_of(code), "(-1, 38, 0)");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn another_entry_into_the_kernel_kills() {
    let sandbox = sandbox();
    // mov eax, number; int 0x80 or syscall; ret
    for machine_code in [r"\xb8\x14\x00\x00\x00\xcd\x80\xc3", r"\xb8\x27\x00\x00\x40\x0f\x05\xc3"] {
        let code = format!(
            "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'{machine_code}')\n\
             ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
        );
        let run = sandbox.run(python(&code)).unwrap();
        assert_eq!(run.verdict, Verdict::Limit(LimitKind::Killed), "{}", told(&run));
    }
}

#[test]
fn ordinary_programs_do_not_notice_the_filter() {
    let code = "import asyncio, concurrent.futures, multiprocessing, os, shutil, socket, sqlite3, subprocess, tempfile, threading\n\
                a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n\
                with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(int, '123')) == 6\n\
                with tempfile.TemporaryDirectory() as d:\n    \
                shutil.copytree('/usr/lib/python3.11/json', d + '/json') if os.path.exists('/usr/lib/python3.11/json') else None\n    \
                c = sqlite3.connect(d + '/x.db'); c.execute('create table t(a)'); c.commit()\n    \
                shutil.copy('/usr/bin/bash', d + '/bash'); assert subprocess.run([d + '/bash', '-c', 'exit 5']).returncode == 5\n\
                async def main():\n    p = await asyncio.create_subprocess_exec('true'); return await p.wait()\n\
                assert asyncio.run(main()) == 0\n\
                q = multiprocessing.get_context('fork').Queue(); p = multiprocessing.get_context('fork').Process(target=q.put, args=(7,))\n\
                p.start(); got = q.get(); p.join(); got";
    assert_eq!(value_of(code), "7");
}
