//! Which system calls a guest may make, and why. What is not listed is refused with `EPERM`; what is newer
//! than this list is unknown (`ENOSYS`); another architecture's entry kills the process.
//!
//! Sole boundary between guest code and the kernel's less-trodden parts. Every change needs a second reader.
//! Never listed: new namespaces, the mount calls, `ptrace` and its kin, `bpf`, `perf_event_open`,
//! `userfaultfd`, `io_uring_*`, keyrings, `splice`/`vmsplice`/`tee`, file handles, `inotify_*`, `fanotify_*`,
//! `mincore`, `cachestat`, modules, `kexec`, swap, quota, accounting, clocks.

use std::collections::BTreeMap;

/// What the filter answers for one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Let it through.
    Allow,
    /// Refuse with this error.
    Refuse(i32),
    /// Let it through if none of these bits is set in the argument's low word; else `EPERM`.
    Without { argument: u8, bits: u32 },
    /// Let it through if the argument's low word is one of these; else `EPERM`.
    OneOf { argument: u8, values: &'static [u32] },
    /// Let it through if all tests of one of the cases hold; else this error.
    AnyOf { cases: &'static [&'static [Test]], error: i32 },
}

/// Whether an argument's low word, of which only some bits are looked at, is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) argument: u8,
    pub(super) mask: u32,
    pub(super) values: &'static [u32],
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) number: u32,
    pub(super) answer: Answer,
}

use Answer::{Allow, AnyOf, OneOf, Refuse, Without};

/// `CLONE_NEW*` except `CLONE_NEWTIME`, which shares its bit with the exit signal and which `clone` cannot ask for.
const NEW_NAMESPACES: u32 = 0x7E02_0000;

/// Terminal questions (is this a terminal, how wide), bytes waiting, close-on-exec, non-blocking.
const IOCTLS: &[u32] = &[0x5401, 0x5413, 0x540F, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C_542A];

/// Names, timers, own attributes. Not: death signal, tracer, capabilities, seccomp, subreaper, memory map.
/// In order: `GET_DUMPABLE`, `SET_DUMPABLE`, `SET_NAME`, `GET_NAME`, `GET_SECCOMP`, `CAPBSET_READ`,
/// `SET_TIMERSLACK`, `GET_TIMERSLACK`, `SET_NO_NEW_PRIVS`, `GET_NO_NEW_PRIVS`, `SET_THP_DISABLE`,
/// `GET_THP_DISABLE`, `SET_VMA` (names for anonymous memory, used by runtimes).
const PRCTLS: &[u32] = &[3, 4, 15, 16, 21, 23, 29, 30, 38, 39, 41, 42, 0x5356_4D41];

/// Duplicate, flags, record locks, open-file locks, asking for a pipe's size, seals. Not: owner and signal, leases,
/// directory notification; nor a pipe's size, which is charged to whoever made the pipe: the client.
const FCNTLS: &[u32] = &[0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1033, 1034];

/// The caller itself. Its init has the same user id, and only this keeps its limits from being lowered.
const ITSELF: &[u32] = &[0];

/// `AF_UNIX` only: the profile without network.
const SOCKET_FAMILIES: &[u32] = &[1];

/// Two flags of a socket's type (close-on-exec, non-blocking), which are no part of it.
const TYPE: u32 = 0x0F;
const WHOLE: u32 = u32::MAX;

/// `AF_UNIX` of any type; `AF_INET` and `AF_INET6` as TCP and UDP, and nothing else that a type may be made of:
/// no raw socket, no ping, no SCTP, UDP-Lite, MPTCP or L2TP.
const NETWORK_SOCKETS: &[&[Test]] = &[
    &[test(0, WHOLE, SOCKET_FAMILIES)],
    &[test(0, WHOLE, &[2, 10]), test(1, TYPE, &[1]), test(2, WHOLE, &[0, 6])],
    &[test(0, WHOLE, &[2, 10]), test(1, TYPE, &[2]), test(2, WHOLE, &[0, 17])],
];

/// Options of the socket itself. In order: addresses used again, broadcast, buffers, keep-alive, urgent data, priority,
/// linger, ports shared, credentials, low-water mark, time-outs in both their forms, peeking. Not: filters, which the
/// kernel compiles, BPF, devices, time stamps, polling.
const OF_THE_SOCKET: &[Test] =
    &[test(1, WHOLE, &[1]), test(2, WHOLE, &[2, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 20, 21, 42, 66, 67])];

/// What programs set where there are sockets of `AF_UNIX` alone.
const UNIX_OPTIONS: &[&[Test]] = &[OF_THE_SOCKET];

/// What servers and clients set, by level: of the socket, of IPv4 (not: options, the packet filter's tables), of TCP (not:
/// `ULP`, which brings the kernel's own TLS, nor `REPAIR`), of IPv6.
const SOCKET_OPTIONS: &[&[Test]] = &[
    OF_THE_SOCKET,
    // Service, hops, where packets came from, path MTU, errors, late ports, multicast.
    &[test(1, WHOLE, &[0]), test(2, WHOLE, &[1, 2, 8, 10, 11, 12, 13, 24, 32, 33, 34, 35, 36])],
    &[test(1, WHOLE, &[6]), test(2, WHOLE, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 18, 23, 25, 30])],
    &[test(1, WHOLE, &[41]), test(2, WHOLE, &[16, 17, 18, 19, 20, 21, 23, 25, 26, 49, 51, 66, 67])],
];

/// TCP and UDP, and no family else: not even `AF_UNIX`.
const PROXY_SOCKETS: &[&[Test]] = &[
    &[test(0, WHOLE, &[2, 10]), test(1, TYPE, &[1]), test(2, WHOLE, &[0, 6])],
    &[test(0, WHOLE, &[2, 10]), test(1, TYPE, &[2]), test(2, WHOLE, &[0, 17])],
];

/// `TCP_NODELAY`.
const PROXY_OPTIONS: &[&[Test]] = &[&[test(1, WHOLE, &[6]), test(2, WHOLE, &[1])]];

/// Urgent data. Nobody sends it by `AF_UNIX`, whose code for it has let guests of other sandboxes into the kernel
/// (CVE-2025-38236).
const MSG_OOB: u32 = 1;

/// A right of memory.
const PROT_EXEC: u32 = 4;

/// Huge pages that the operator has set aside: no limit of a run counts them.
const MAP_HUGETLB: u32 = 0x4_0000;
const MFD_HUGETLB: u32 = 4;

const fn test(argument: u8, mask: u32, values: &'static [u32]) -> Test {
    Test { argument, mask, values }
}

/// Ask (all ones), or the ordinary personality.
const PERSONALITIES: &[u32] = &[0, 0xFFFF_FFFF];

/// What programs and their libraries say of their own memory. In order: how it is read, `DONTNEED`; `FREE`, `REMOVE`, forks,
/// huge pages, dumps, forks again; `POPULATE_*`, `DONTNEED_LOCKED`; guards. Not: `MERGEABLE`, by which one could find out
/// what pages of others hold, where the host merges equal ones; `COLD`, `PAGEOUT` and `COLLAPSE`, which reach pages of the
/// image; poison. Those are told as what this kernel does not know.
const MEMORY_ADVICE: &[&[Test]] =
    &[&[test(2, WHOLE, &[0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23, 24, 102, 103])]];

/// Advice but not `DONTNEED`, which would evict the shared image's pages and so be a signal to others.
const FILE_ADVICE: &[u32] = &[0, 1, 2, 3, 5];

macro_rules! allow {
    ($into:expr; $($name:ident)*) => { $( $into.push((libc::$name, Allow)); )* };
}

/// Whether something outside counts the memory of a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A cgroup does.
    Counted,
    /// Only what processes have mapped can be seen.
    Seen,
}

/// Which sockets can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Those that lead nowhere.
    Unix,
    /// TCP and UDP too, in the run's own network namespace.
    Network,
}

/// The whole list, in order of number.
pub(super) fn table(counted: Memory, sockets: Sockets) -> Vec<Rule> {
    let mut list: Vec<(libc::c_long, Answer)> = Vec::new();
    files(&mut list);
    // Anonymous files, sealed pipes between a program's own processes. What is written to one and mapped by nobody
    // is charged to a cgroup and to nothing else.
    list.push((
        libc::SYS_memfd_create,
        match counted {
            Memory::Counted => Without { argument: 1, bits: MFD_HUGETLB },
            Memory::Seen => Refuse(libc::ENOSYS),
        },
    ));
    memory(&mut list);
    processes(&mut list);
    signals_and_time(&mut list);
    sockets_and_events(&mut list);
    by_argument(&mut list);
    if sockets == Sockets::Network {
        network(&mut list);
    }
    #[cfg(target_arch = "x86_64")]
    older_names(&mut list);
    in_order(list)
}

/// What the proxy of a run may do, once everything that it needs is open: take connections, dial, pass bytes on, write
/// its report. It opens no file and starts nothing.
pub(super) fn proxy_table() -> Vec<Rule> {
    // No memory that can be executed.
    let mut list: Vec<(libc::c_long, Answer)> = vec![
        (libc::SYS_mmap, Without { argument: 2, bits: PROT_EXEC }),
        (libc::SYS_mprotect, Without { argument: 2, bits: PROT_EXEC }),
        (libc::SYS_socket, AnyOf { cases: PROXY_SOCKETS, error: libc::EPERM }),
        (libc::SYS_setsockopt, AnyOf { cases: PROXY_OPTIONS, error: libc::EPERM }),
    ];
    allow!(list; SYS_read SYS_write SYS_pwrite64 SYS_close SYS_ppoll SYS_accept4 SYS_connect SYS_bind SYS_shutdown
        SYS_getsockopt SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_getrandom SYS_clock_gettime
        SYS_brk SYS_munmap SYS_mremap SYS_madvise SYS_futex SYS_rt_sigreturn SYS_restart_syscall SYS_exit SYS_exit_group);
    #[cfg(target_arch = "x86_64")]
    allow!(list; SYS_poll);
    in_order(list)
}

/// Of calls that are listed twice, the later line counts.
fn in_order(list: Vec<(libc::c_long, Answer)>) -> Vec<Rule> {
    let ordered: BTreeMap<u32, Answer> =
        list.into_iter().filter_map(|(number, answer)| Some((u32::try_from(number).ok()?, answer))).collect();
    ordered.into_iter().map(|(number, answer)| Rule { number, answer }).collect()
}

/// Reading and writing what the mounts and Landlock let be opened.
fn files(list: &mut Vec<(libc::c_long, Answer)>) {
    // Open, read, write, position.
    allow!(list; SYS_openat SYS_openat2 SYS_close SYS_close_range SYS_read SYS_write SYS_pread64 SYS_pwrite64
        SYS_readv SYS_writev SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2 SYS_lseek SYS_dup SYS_dup3 SYS_pipe2);
    // Ask about files and folders.
    allow!(list; SYS_fstat SYS_newfstatat SYS_statx SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getdents64
        SYS_statfs SYS_fstatfs SYS_getcwd SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr
        SYS_flistxattr);
    // Change them; the read-only image and Landlock say where.
    allow!(list; SYS_ftruncate SYS_truncate SYS_fallocate SYS_fsync SYS_fdatasync SYS_flock SYS_mkdirat SYS_unlinkat
        SYS_renameat2 SYS_linkat SYS_symlinkat SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_utimensat
        SYS_umask SYS_chdir SYS_fchdir SYS_copy_file_range);
    // FIFOs; device nodes need a capability that nobody here has, and Landlock refuses them too.
    allow!(list; SYS_mknodat);
}

/// A program's own memory.
fn memory(list: &mut Vec<(libc::c_long, Answer)>) {
    list.push((libc::SYS_mmap, Without { argument: 3, bits: MAP_HUGETLB }));
    allow!(list; SYS_munmap SYS_mprotect SYS_mremap SYS_brk SYS_msync SYS_membarrier
        SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_get_mempolicy);
    list.push((libc::SYS_madvise, AnyOf { cases: MEMORY_ADVICE, error: libc::EINVAL }));
    // mseal (462): seals one's own mappings; newer C libraries call it at start.
    list.push((462, Allow));
}

/// A program's own processes and identity.
fn processes(list: &mut Vec<(libc::c_long, Answer)>) {
    allow!(list; SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_getpid SYS_getppid
        SYS_gettid SYS_getpgid SYS_setpgid SYS_getsid SYS_setsid SYS_set_tid_address SYS_set_robust_list
        SYS_get_robust_list SYS_rseq SYS_futex SYS_futex_waitv SYS_sched_yield SYS_sched_getaffinity
        SYS_sched_setaffinity SYS_sched_getparam SYS_sched_getscheduler SYS_sched_getattr
        SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_rr_get_interval SYS_getpriority
        SYS_setpriority SYS_getcpu SYS_ioprio_get);
    // futex_wake, futex_wait, futex_requeue (454..456): the newer half of futex.
    for number in [454, 455, 456] {
        list.push((number, Allow));
    }
    // Identity. No capability stands behind the setters, so they can only name what is already held.
    allow!(list; SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups
        SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid
        SYS_capget);
    // Limits can only be lowered; usage is one's own.
    allow!(list; SYS_getrlimit SYS_setrlimit SYS_getrusage SYS_times SYS_uname SYS_sysinfo
        SYS_getrandom);
    // Process descriptors of one's own children; `pidfd_getfd` is not among them.
    allow!(list; SYS_pidfd_open SYS_pidfd_send_signal);
}

/// Signals inside the process namespace, and clocks that are only read.
fn signals_and_time(list: &mut Vec<(libc::c_long, Answer)>) {
    allow!(list; SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigsuspend
        SYS_rt_sigtimedwait SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_sigaltstack SYS_kill SYS_tkill
        SYS_tgkill SYS_signalfd4 SYS_restart_syscall);
    allow!(list; SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday
        SYS_getitimer SYS_setitimer SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun
        SYS_timer_delete SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime);
}

/// Sockets that `socket` let be made, and waiting.
fn sockets_and_events(list: &mut Vec<(libc::c_long, Answer)>) {
    allow!(list; SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername SYS_shutdown
        SYS_getsockopt);
    list.push((libc::SYS_setsockopt, AnyOf { cases: UNIX_OPTIONS, error: libc::ENOPROTOOPT }));
    for (number, flags) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
        (libc::SYS_recvfrom, 3),
        (libc::SYS_recvmsg, 2),
        (libc::SYS_recvmmsg, 3),
    ] {
        list.push((number, Without { argument: flags, bits: MSG_OOB }));
    }
    allow!(list; SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_ppoll SYS_pselect6
        SYS_eventfd2);
}

/// Calls whose arguments decide, and calls whose refusal must have a certain name.
fn by_argument(list: &mut Vec<(libc::c_long, Answer)>) {
    list.push((libc::SYS_clone, Without { argument: 0, bits: NEW_NAMESPACES }));
    // Its flags are behind a pointer; `ENOSYS` makes the C library fall back to `clone`.
    list.push((libc::SYS_clone3, Refuse(libc::ENOSYS)));
    list.push((libc::SYS_ioctl, OneOf { argument: 1, values: IOCTLS }));
    list.push((libc::SYS_prctl, OneOf { argument: 0, values: PRCTLS }));
    list.push((libc::SYS_fcntl, OneOf { argument: 1, values: FCNTLS }));
    list.push((libc::SYS_prlimit64, OneOf { argument: 0, values: ITSELF }));
    list.push((libc::SYS_socket, OneOf { argument: 0, values: SOCKET_FAMILIES }));
    list.push((libc::SYS_socketpair, OneOf { argument: 0, values: SOCKET_FAMILIES }));
    list.push((libc::SYS_personality, OneOf { argument: 0, values: PERSONALITIES }));
    list.push((libc::SYS_fadvise64, OneOf { argument: 3, values: FILE_ADVICE }));
    // Passes pages of the image into a pipe, as `splice` does; `EINVAL` makes every copier fall back to read and write.
    list.push((libc::SYS_sendfile, Refuse(libc::EINVAL)));
    // tmpfs may or may not have attributes; `cp -a` and `tar` go on after `EOPNOTSUPP`.
    for number in [libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr] {
        list.push((number, Refuse(libc::EOPNOTSUPP)));
    }
}

/// What changes with a network. A family that is refused is told as one that this kernel has not, so that libraries that
/// ask the kernel for its interfaces go on without.
fn network(list: &mut Vec<(libc::c_long, Answer)>) {
    list.push((libc::SYS_socket, AnyOf { cases: NETWORK_SOCKETS, error: libc::EAFNOSUPPORT }));
    list.push((libc::SYS_setsockopt, AnyOf { cases: SOCKET_OPTIONS, error: libc::ENOPROTOOPT }));
}

/// Names that only this architecture still has; each is the older form of one above.
#[cfg(target_arch = "x86_64")]
fn older_names(list: &mut Vec<(libc::c_long, Answer)>) {
    allow!(list; SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_getdents SYS_mkdir SYS_rmdir
        SYS_unlink SYS_rename SYS_renameat SYS_link SYS_symlink SYS_chmod SYS_chown SYS_lchown SYS_mknod SYS_utime
        SYS_utimes SYS_futimesat SYS_dup2 SYS_pipe SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait
        SYS_eventfd SYS_signalfd SYS_alarm SYS_pause SYS_time SYS_getpgrp SYS_fork SYS_vfork SYS_arch_prctl);
    // map_shadow_stack (453): the C library's own return-address protection.
    list.push((453, Allow));
}
