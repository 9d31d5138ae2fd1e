//! The tree against a linear reference, and the calls that must never be let through.

use execgate_forkpoint::sys::SockFilter;
use proptest::prelude::{ProptestConfig, any, prop_oneof, proptest};

use super::rules::{Answer, Memory, Rule, Sockets, Test, proxy_table, table as table_for};
use super::tree::{
    ALLOW, AND, ARCHITECTURE, ARCHITECTURE_AT, ARGUMENTS_AT, ERRNO, JUMP, JUMP_ANY_BIT, JUMP_AT_LEAST,
    JUMP_EQUAL, KILL_PROCESS, LOAD, NUMBER_AT, RETURN, X32_BIT, compile, errno,
};

fn table() -> Vec<Rule> {
    table_for(Memory::Counted, Sockets::Unix)
}

fn networked() -> Vec<Rule> {
    table_for(Memory::Counted, Sockets::Network)
}

/// What the kernel hands to a filter.
#[derive(Debug, Clone, Copy)]
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, at: u32) -> u32 {
        match at {
            NUMBER_AT => self.number,
            ARCHITECTURE_AT => self.architecture,
            _ => {
                let word = usize::try_from((at - ARGUMENTS_AT) / 4).unwrap();
                let bytes = self.arguments[word / 2].to_le_bytes();
                u32::from_le_bytes(bytes[(word % 2) * 4..][..4].try_into().unwrap())
            }
        }
    }
}

/// Runs a filter as the kernel would.
fn interpret(program: &[SockFilter], call: &Call) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let instruction = program[at];
        at += 1;
        let holds = match instruction.code {
            LOAD => {
                accumulator = call.word(instruction.k);
                continue;
            }
            AND => {
                accumulator &= instruction.k;
                continue;
            }
            RETURN => return instruction.k,
            JUMP => {
                at += usize::try_from(instruction.k).unwrap();
                continue;
            }
            JUMP_EQUAL => accumulator == instruction.k,
            JUMP_AT_LEAST => accumulator >= instruction.k,
            JUMP_ANY_BIT => accumulator & instruction.k != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

/// What the list says, read line by line.
fn reference(rules: &[Rule], call: &Call) -> u32 {
    if call.architecture != ARCHITECTURE || call.number >= X32_BIT {
        return KILL_PROCESS;
    }
    let Some(rule) = rules.iter().find(|rule| rule.number == call.number) else {
        let newest = rules.last().unwrap().number;
        return errno(if call.number > newest { libc::ENOSYS } else { libc::EPERM });
    };
    let low = |argument: u8| u32::try_from(call.arguments[usize::from(argument)] & 0xFFFF_FFFF).unwrap();
    let allowed = match rule.answer {
        Answer::Allow => true,
        Answer::Refuse(error) => return errno(error),
        Answer::Without { argument, bits } => low(argument) & bits == 0,
        Answer::OneOf { argument, values } => values.contains(&low(argument)),
        Answer::AnyOf { cases, error } => {
            let is = |case: &&&[Test]| {
                case.iter().all(|test| test.values.contains(&(low(test.argument) & test.mask)))
            };
            return if cases.iter().any(|case| is(&case)) { ALLOW } else { errno(error) };
        }
    };
    if allowed { ALLOW } else { errno(libc::EPERM) }
}

fn plain(number: libc::c_long) -> Call {
    Call { architecture: ARCHITECTURE, number: u32::try_from(number).unwrap(), arguments: [0; 6] }
}

#[test]
fn the_tree_answers_every_number_as_the_list_does() {
    for table in [table(), networked(), proxy_table()] {
        let program = compile(&table);
        for number in 0..1024 {
            let call = plain(number);
            assert_eq!(interpret(&program, &call), reference(&table, &call), "system call {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_tree_answers_as_the_list_does_whatever_the_arguments(
        architecture in prop_oneof![9 => proptest::strategy::Just(ARCHITECTURE), 1 => any::<u32>()],
        number in prop_oneof![4 => 0_u32..500, 2 => 41_u32..56, 1 => any::<u32>()],
        arguments in any::<[u8; 6]>(),
        high in any::<[u64; 6]>(),
        wide in any::<bool>(),
        small in any::<bool>(),
    ) {
        let mut values = high;
        if !wide {
            for (value, argument) in values.iter_mut().zip(arguments) {
                let argument = if small { argument & 0x0F } else { argument };
                *value = (*value & !0xFFFF_FFFF) | u64::from(argument);
            }
        }
        let call = Call { architecture, number, arguments: values };
        for table in [table(), networked(), proxy_table()] {
            assert_eq!(interpret(&compile(&table), &call), reference(&table, &call));
        }
    }
}

/// What no guest and no proxy may call.
const NEVER: &[libc::c_long] = &[
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_clone3,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_splice,
    libc::SYS_vmsplice,
    libc::SYS_tee,
    libc::SYS_sendfile,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_init,
    libc::SYS_mincore,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_swapon,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_seccomp,
    libc::SYS_sethostname,
    libc::SYS_memfd_secret,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // cachestat, statmount, listmount, the questions of security modules, attributes of what is named by a handle of
    // a folder, open_tree_attr, attributes of file systems.
    451,
    457,
    458,
    459,
    460,
    461,
    463,
    464,
    465,
    466,
    467,
    468,
    469,
];

#[test]
fn what_must_never_be_let_through_is_refused() {
    for program in [table(), networked(), proxy_table()].map(|table| compile(&table)) {
        for number in NEVER {
            let answer = interpret(&program, &plain(*number));
            assert_eq!(answer & 0xFFFF_0000, ERRNO, "system call {number} is answered {answer:#x}");
        }
    }
}

#[test]
fn only_unix_sockets_can_be_made() {
    let program = compile(&table());
    for family in 0..64 {
        let call = Call { arguments: [family, 1, 0, 0, 0, 0], ..plain(libc::SYS_socket) };
        let expected = if family == 1 { ALLOW } else { errno(libc::EPERM) };
        assert_eq!(interpret(&program, &call), expected, "family {family}");
    }
}

#[test]
fn with_a_network_there_are_tcp_and_udp_and_no_other_socket() {
    let program = compile(&networked());
    let mut made = Vec::new();
    for family in 0..64 {
        for kind in 0..16 {
            for protocol in [0, 1, 6, 17, 33, 58, 115, 132, 136, 255, 256, 262] {
                // With both flags that a type may carry.
                let kind = kind | 0o2_004_000;
                let call = Call { arguments: [family, kind, protocol, 0, 0, 0], ..plain(libc::SYS_socket) };
                match interpret(&program, &call) {
                    ALLOW if family != 1 => made.push((family, kind & 0xF, protocol)),
                    answer => assert!(family == 1 || answer == errno(libc::EAFNOSUPPORT)),
                }
            }
        }
    }
    let each = |family| [(family, 1, 0), (family, 1, 6), (family, 2, 0), (family, 2, 17)];
    assert_eq!(made, [each(2), each(10)].concat());
    let pair = |family| Call { arguments: [family, 1, 0, 0, 0, 0], ..plain(libc::SYS_socketpair) };
    assert_eq!(interpret(&program, &pair(1)), ALLOW);
    assert_eq!(interpret(&program, &pair(2)), errno(libc::EPERM));
}

#[test]
fn with_a_network_no_filter_no_upper_protocol_and_no_table_is_set() {
    let program = compile(&networked());
    let set = |level, name| {
        let call = Call { arguments: [3, level, name, 0, 0, 0], ..plain(libc::SYS_setsockopt) };
        interpret(&program, &call)
    };
    for (level, name) in [(1, 2), (1, 15), (1, 20), (6, 1), (41, 26), (0, 1)] {
        assert_eq!(set(level, name), ALLOW, "option {name} of level {level}");
    }
    // Filters and BPF, TCP_ULP, TCP_REPAIR, the tables of netfilter, XFRM, SCTP, UDP's encapsulation, TLS, ALG.
    let never = [
        (1, 26),
        (1, 50),
        (1, 51),
        (1, 52),
        (1, 25),
        (6, 31),
        (6, 19),
        (6, 14),
        (0, 64),
        (0, 16),
        (0, 17),
        (41, 64),
        (41, 34),
        (41, 35),
        (132, 1),
        (17, 100),
        (282, 1),
        (279, 1),
        (255, 0),
    ];
    for (level, name) in never {
        assert_eq!(set(level, name), errno(libc::ENOPROTOOPT), "option {name} of level {level}");
    }
}

#[test]
fn without_a_network_no_filter_is_set_either() {
    let program = compile(&table());
    let set = |level, name| {
        let call = Call { arguments: [3, level, name, 0, 0, 0], ..plain(libc::SYS_setsockopt) };
        interpret(&program, &call)
    };
    let allowed: Vec<(u64, u64)> = (0..300)
        .flat_map(|level| (0..128).map(move |name| (level, name)))
        .filter(|(level, name)| set(*level, *name) == ALLOW)
        .collect();
    let names = [2, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 20, 21, 42, 66, 67];
    assert_eq!(allowed, names.map(|name| (1, name)));
    // SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF.
    for name in [26, 50, 51] {
        assert_eq!(set(1, name), errno(libc::ENOPROTOOPT));
    }
}

#[test]
fn memory_is_not_merged_with_that_of_others_nor_poisoned() {
    let advise = |program: &[SockFilter], advice| {
        let call = Call { arguments: [0x1000, 4096, advice, 0, 0, 0], ..plain(libc::SYS_madvise) };
        interpret(program, &call)
    };
    for program in [table(), networked()].map(|table| compile(&table)) {
        // COLD, PAGEOUT, MERGEABLE, UNMERGEABLE, COLLAPSE, HWPOISON, SOFT_OFFLINE, and what is not there yet.
        for advice in [20, 21, 12, 13, 25, 100, 101, 104, 0xFFFF_FFFF] {
            assert_eq!(advise(&program, advice), errno(libc::EINVAL), "advice {advice}");
        }
        // DONTNEED, FREE, DONTFORK, DOFORK, HUGEPAGE, GUARD_INSTALL.
        for advice in [4, 8, 10, 11, 14, 102] {
            assert_eq!(advise(&program, advice), ALLOW, "advice {advice}");
        }
    }
}

#[test]
fn urgent_data_is_neither_sent_nor_received() {
    let calls = [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
        (libc::SYS_recvfrom, 3),
        (libc::SYS_recvmsg, 2),
        (libc::SYS_recvmmsg, 3),
    ];
    for program in [table(), networked()].map(|table| compile(&table)) {
        for (number, at) in calls {
            let with = |flags| {
                let mut call = plain(number);
                call.arguments[at] = flags;
                interpret(&program, &call)
            };
            // MSG_OOB, alone and beside MSG_DONTWAIT; MSG_PEEK, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC.
            assert_eq!([1, 0x41].map(with), [errno(libc::EPERM); 2], "system call {number}");
            assert_eq!([0, 2, 0x40, 0x4000, 0x4000_0000].map(with), [ALLOW; 5], "system call {number}");
        }
    }
}

#[test]
fn a_proxy_opens_no_file_and_starts_no_program() {
    let program = compile(&proxy_table());
    let never = [
        libc::SYS_openat,
        libc::SYS_open,
        libc::SYS_openat2,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_memfd_create,
        libc::SYS_setuid,
        libc::SYS_prctl,
        libc::SYS_listen,
        libc::SYS_socketpair,
        libc::SYS_ioctl,
        libc::SYS_fcntl,
        libc::SYS_dup2,
        libc::SYS_stat,
        libc::SYS_newfstatat,
        libc::SYS_readlink,
        libc::SYS_getdents64,
        libc::SYS_setsockopt,
    ];
    for number in never {
        assert_eq!(interpret(&program, &plain(number)) & 0xFFFF_0000, ERRNO, "system call {number}");
    }
    let memory = |rights| Call { arguments: [0, 4096, rights, 0x22, 0, 0], ..plain(libc::SYS_mmap) };
    assert_eq!(interpret(&program, &memory(3)), ALLOW);
    assert_eq!(interpret(&program, &memory(7)), errno(libc::EPERM));
    let unix = Call { arguments: [1, 1, 0, 0, 0, 0], ..plain(libc::SYS_socket) };
    assert_eq!(interpret(&program, &unix), errno(libc::EPERM));
}

#[test]
fn a_clone_cannot_ask_for_any_namespace() {
    let program = compile(&table());
    for bit in [0x0002_0000_u64, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
    {
        let call = Call { arguments: [bit | 17, 0, 0, 0, 0, 0], ..plain(libc::SYS_clone) };
        assert_eq!(interpret(&program, &call), errno(libc::EPERM), "flag {bit:#x}");
    }
    let thread = Call { arguments: [0x003D_0F00, 0, 0, 0, 0, 0], ..plain(libc::SYS_clone) };
    assert_eq!(interpret(&program, &thread), ALLOW);
}

#[test]
fn memory_that_nobody_counts_cannot_be_held_outside_of_processes() {
    let program = compile(&table_for(Memory::Seen, Sockets::Unix));
    assert_eq!(interpret(&program, &plain(libc::SYS_memfd_create)), errno(libc::ENOSYS));
    assert_eq!(interpret(&compile(&table()), &plain(libc::SYS_memfd_create)), ALLOW);
}

#[test]
fn only_the_caller_itself_can_be_limited() {
    let program = compile(&table());
    let limit = |pid| Call { arguments: [pid, 0, 0, 0, 0, 0], ..plain(libc::SYS_prlimit64) };
    assert_eq!(interpret(&program, &limit(0)), ALLOW);
    assert_eq!(interpret(&program, &limit(1)), errno(libc::EPERM));
}

#[test]
fn another_architecture_and_the_x32_entry_kill() {
    let program = compile(&table());
    let i386 = Call { architecture: 0x4000_0003, ..plain(1) };
    assert_eq!(interpret(&program, &i386), KILL_PROCESS);
    let x32 = Call { number: X32_BIT + 1, ..plain(1) };
    assert_eq!(interpret(&program, &x32), KILL_PROCESS);
}
