//! What the init of a resident's jail becomes once the jail stands: it reaps, tells how the interpreter ended, and waits
//! to be killed. A program of a few pages without a library, because each waiting interpreter has one; the sandbox's
//! build script compiles it by itself.
//!
//! It is started with one argument, the interpreter's process id, and the report pipe at 7 (`jail::place::REPORT`). What
//! it writes there is a `wire::Report::Exited`: 2, then the wait status, microseconds, and KiB.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;
use core::ptr;

/// `jail::place::REPORT`.
const REPORT: usize = 7;

/// `wire::PACKET_BYTES`.
const PACKET_BYTES: usize = 128;

/// The tag of `wire::Report::Exited`.
const EXITED: u8 = 2;

/// `PR_SET_DUMPABLE`.
const SET_DUMPABLE: usize = 4;

const EINTR: isize = -4;

/// Numbers of the kernel's calls.
#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const WRITE: usize = 1;
    pub(super) const WAIT4: usize = 61;
    pub(super) const PRCTL: usize = 157;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const PPOLL: usize = 271;
}

/// Numbers of the kernel's calls.
#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const WRITE: usize = 64;
    pub(super) const PPOLL: usize = 73;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const PRCTL: usize = 167;
    pub(super) const WAIT4: usize = 260;
}

// Hands the stack, on which the kernel has put the arguments, to `main`.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x30, xzr", "mov x0, sp", "b {main}", main = sym main);

/// `struct rusage`, of which two times and the largest resident set are read.
#[repr(C)]
struct Usage {
    user: [i64; 2],
    system: [i64; 2],
    peak_kib: i64,
    rest: [i64; 13],
}

#[cfg(target_arch = "x86_64")]
fn kernel(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: every caller passes numbers, or pointers to what it owns over the call.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") 0, lateout("rcx") _, lateout("r11") _);
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn kernel(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: every caller passes numbers, or pointers to what it owns over the call.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") 0);
    }
    result
}

fn exit(code: usize) -> ! {
    loop {
        kernel(call::EXIT_GROUP, code, 0, 0, 0);
    }
}

/// The number that the program's one argument is; 0, which no process has, for anything else.
///
/// # Safety
/// `stack` is what the kernel has left: the count, then that many pointers to texts.
unsafe fn argument(stack: *const usize) -> isize {
    let mut number = 0_isize;
    // SAFETY: as promised; a text ends with a NUL.
    unsafe {
        if ptr::read(stack) != 2 {
            return 0;
        }
        let mut text = ptr::read(stack.add(2)) as *const u8;
        while let digit @ b'0'..=b'9' = ptr::read(text) {
            number = number.wrapping_mul(10).wrapping_add((digit - b'0') as isize);
            text = text.add(1);
        }
    }
    number
}

extern "C" fn main(stack: *const usize) -> ! {
    kernel(call::PRCTL, SET_DUMPABLE, 0, 0, 0);
    // SAFETY: passed by `_start` as the kernel has left it.
    let interpreter = unsafe { argument(stack) };
    loop {
        let mut status = 0_i32;
        let mut usage = Usage { user: [0; 2], system: [0; 2], peak_kib: 0, rest: [0; 13] };
        let any = usize::MAX;
        let reaped = kernel(call::WAIT4, any, &raw mut status as usize, 0, &raw mut usage as usize);
        if reaped == interpreter {
            tell(status, &usage);
        } else if reaped < 0 && reaped != EINTR {
            break;
        }
    }
    // Nothing is left to reap, and nothing can be started any more. The helper kills us.
    loop {
        kernel(call::PPOLL, 0, 0, 0, 0);
    }
}

fn tell(status: i32, usage: &Usage) {
    let micros = |time: &[i64; 2]| time[0].wrapping_mul(1_000_000).wrapping_add(time[1]) as u64;
    let cpu_us = micros(&usage.user).wrapping_add(micros(&usage.system));
    let fields = status.to_le_bytes().into_iter().chain(cpu_us.to_le_bytes());
    let fields = fields.chain((usage.peak_kib as u64).to_le_bytes());
    let mut packet = [0; PACKET_BYTES];
    packet[0] = EXITED;
    for (place, byte) in packet[1..].iter_mut().zip(fields) {
        *place = byte;
    }
    if kernel(call::WRITE, REPORT, packet.as_ptr() as usize, PACKET_BYTES, 0) != PACKET_BYTES as isize {
        exit(1);
    }
}

/// What the compiler calls where something is zeroed; there is no C library that has it.
///
/// # Safety
/// As of C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    for at in 0..count {
        // SAFETY: within what the caller has given. Volatile, so that it does not become a call of itself.
        unsafe { ptr::write_volatile(to.add(at), value as u8) };
    }
    to
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(1)
}
