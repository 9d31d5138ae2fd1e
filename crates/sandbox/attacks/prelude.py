# What every program of these lists begins with: its words, and the numbers of the calls that no library names.
#
# A program tells that it has begun, and then one line: "held ANSWER", where the kernel refused or the effect stayed out, or "through ANSWER". What
# succeeds is bounded and harmless: nothing here writes to a device or touches a process that is not its own.
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

MIB = 1 << 20
# What ends a bomb that nothing else ends.
MEMORY_MAX = 1024 * MIB
PROCESSES_MAX = 2000

NUMBERS = {
    "x86_64": dict(
        _sysctl=156, acct=163, add_key=248, adjtimex=159, bpf=321, chroot=161, clock_adjtime=305,
        clock_settime=227, clone=56, clone3=435, delete_module=176, fanotify_init=300, fcntl=72, finit_module=313,
        fsconfig=431, fsmount=432, fsopen=430, fspick=433, get_mempolicy=239, init_module=175, inotify_init1=294,
        io_setup=206, io_uring_enter=426, io_uring_register=427, io_uring_setup=425, ioctl=16, ioperm=173,
        iopl=172, ioprio_set=251, kcmp=312, kexec_file_load=320, kexec_load=246, keyctl=250,
        landlock_create_ruleset=444, lookup_dcookie=212, madvise=28, mbind=237, membarrier=324, memfd_create=319,
        memfd_secret=447, migrate_pages=256, mincore=27, mlock=149, mlock2=325, mlockall=151, modify_ldt=154,
        mount=165, mount_setattr=442, move_mount=429, move_pages=279, mq_open=240, msgget=68,
        name_to_handle_at=303, nfsservctl=180, open_by_handle_at=304, open_tree=428, perf_event_open=298,
        personality=135, pidfd_getfd=438, pivot_root=155, prctl=157, prlimit64=302, process_madvise=440,
        process_mrelease=448, process_vm_readv=310, process_vm_writev=311, ptrace=101, quotactl=179,
        quotactl_fd=443, reboot=169, remap_file_pages=216, request_key=249, rt_sigqueueinfo=129, sched_setattr=314,
        sched_setscheduler=144, seccomp=317, semget=64, sendfile=40, set_mempolicy=238, setdomainname=171,
        sethostname=170, setns=308, setpriority=141, settimeofday=164, shmget=29, socket=41, splice=275,
        swapoff=168, swapon=167, syslog=103, tee=276, timer_create=222, umount2=166, unshare=272, uselib=134,
        userfaultfd=323, ustat=136, vhangup=153, vmsplice=278,
    ),
    "aarch64": dict(
        acct=89, add_key=217, adjtimex=171, bpf=280, chroot=51, clock_adjtime=266, clock_settime=112, clone=220,
        clone3=435, delete_module=106, fanotify_init=262, fcntl=25, finit_module=273, fsconfig=431, fsmount=432,
        fsopen=430, fspick=433, get_mempolicy=236, init_module=105, inotify_init1=26, io_setup=0,
        io_uring_enter=426, io_uring_register=427, io_uring_setup=425, ioctl=29, ioprio_set=30, kcmp=272,
        kexec_file_load=294, kexec_load=104, keyctl=219, landlock_create_ruleset=444, lookup_dcookie=18, madvise=233, mbind=235,
        membarrier=283, memfd_create=279, memfd_secret=447, migrate_pages=238, mincore=232, mlock=228, mlock2=284,
        mlockall=230, mount=40, mount_setattr=442, move_mount=429, move_pages=239, mq_open=180, msgget=186,
        name_to_handle_at=264, nfsservctl=42, open_by_handle_at=265, open_tree=428, perf_event_open=241,
        personality=92, pidfd_getfd=438, pivot_root=41, prctl=167, prlimit64=261, process_madvise=440,
        process_mrelease=448, process_vm_readv=270, process_vm_writev=271, ptrace=117, quotactl=60,
        quotactl_fd=443, reboot=142, remap_file_pages=234, request_key=218, rt_sigqueueinfo=138, sched_setattr=274,
        sched_setscheduler=119, seccomp=277, semget=190, sendfile=71, set_mempolicy=237, setdomainname=162,
        sethostname=161, setns=268, setpriority=140, settimeofday=170, shmget=194, socket=198, splice=76,
        swapoff=225, swapon=224, syslog=116, tee=77, timer_create=107, umount2=39, unshare=97, userfaultfd=282,
        vhangup=58, vmsplice=75,
    ),
}[os.uname().machine]
# Newer than the library's list, and the same everywhere.
NUMBERS.update(cachestat=451, statmount=457, listmount=458)


def name(error):
    return errno.errorcode.get(error.errno, "error %s" % error.errno)


def held(answer):
    print("held", answer, flush=True)
    raise SystemExit


def through(answer):
    print("through", str(answer)[:200], flush=True)
    raise SystemExit


def told(gets_through, answer):
    (through if gets_through else held)(answer)


def call(number, *arguments):
    """A system call by its name or number, with the error raised."""
    number = NUMBERS.get(number, number)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def attempt(act):
    """Holds if the act is refused with an error, whichever."""
    try:
        answer = act()
    except OSError as error:
        held(name(error))
    through(answer)


def door(number, *arguments):
    """Holds if the call is not let into the kernel: what refuses the arguments themselves is reached already."""
    try:
        answer = call(number, *arguments)
    except OSError as error:
        told(error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOSPC, errno.EAFNOSUPPORT), name(error))
    through(answer)


def grow(step, size=MIB):
    """Takes memory by a step at a time, up to the bound."""
    kept = []
    for _ in range(MEMORY_MAX // size):
        kept.append(step())
    through("%d MiB" % (MEMORY_MAX // MIB))


def leave(act=None):
    """Forks a process that goes on, under a name to look for, for some seconds; the caller goes on at once."""
    if os.fork() == 0:
        if act:
            act()
        os.execvp("sleep", [LEFT, "20"])


print("begun", flush=True)
