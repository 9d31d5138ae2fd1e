//! Compiles the list to a binary search tree of classic BPF. A tree, because the kernel runs the filter once
//! for each system-call number when it is loaded, and a chain costs ten times as much. Never decides a rule.

use execgate_forkpoint::sys::SockFilter;

use super::rules::{Answer, Rule, Test};

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER_AT: u32 = 0;
pub(super) const ARCHITECTURE_AT: u32 = 4;
pub(super) const ARGUMENTS_AT: u32 = 16;

pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

pub(super) const ALLOW: u32 = 0x7FFF_0000;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;

/// Numbers from here on belong to the x32 entry on x86-64, and to nothing elsewhere.
pub(super) const X32_BIT: u32 = 0x4000_0000;

#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_00B7;

/// A run of numbers, from this one up to the next range, with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: u32,
    answer: Answer,
}

/// Compiles the list, which is in order of number.
pub(super) fn compile(table: &[Rule]) -> Vec<SockFilter> {
    let mut program = vec![
        statement(LOAD, ARCHITECTURE_AT),
        jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, KILL_PROCESS),
        statement(LOAD, NUMBER_AT),
        jump(JUMP_AT_LEAST, X32_BIT, 0, 1),
        statement(RETURN, KILL_PROCESS),
    ];
    program.extend(search(&ranges(table)));
    program
}

/// Turns the list into adjoining ranges that cover every number.
fn ranges(table: &[Rule]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut push = |from, answer| {
        if ranges.last().is_none_or(|last: &Range| last.answer != answer) {
            ranges.push(Range { from, answer });
        }
    };
    let mut next = 0;
    for rule in table {
        if rule.number > next {
            push(next, Answer::Refuse(libc::EPERM));
        }
        push(rule.number, rule.answer);
        next = rule.number + 1;
    }
    // What is newer than the newest rule is unknown to the guest, so that libraries fall back.
    push(next, Answer::Refuse(libc::ENOSYS));
    ranges
}

fn search(ranges: &[Range]) -> Vec<SockFilter> {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right) {
        ([], [only]) => leaf(only.answer),
        (_, [middle, ..]) => {
            let left = search(left);
            let length = u32::try_from(left.len()).unwrap_or(u32::MAX);
            let mut program = match u8::try_from(length) {
                Ok(near) => vec![jump(JUMP_AT_LEAST, middle.from, near, 0)],
                Err(_) => vec![jump(JUMP_AT_LEAST, middle.from, 0, 1), statement(JUMP, length)],
            };
            program.extend(left);
            program.extend(search(right));
            program
        }
        (_, []) => leaf(Answer::Refuse(libc::EPERM)),
    }
}

fn leaf(answer: Answer) -> Vec<SockFilter> {
    let refuse = statement(RETURN, errno(libc::EPERM));
    let allow = statement(RETURN, ALLOW);
    match answer {
        Answer::Allow => vec![allow],
        Answer::Refuse(error) => vec![statement(RETURN, errno(error))],
        Answer::Without { argument, bits } => {
            vec![statement(LOAD, low_word(argument)), jump(JUMP_ANY_BIT, bits, 1, 0), allow, refuse]
        }
        Answer::OneOf { argument, values } => {
            let mut program = vec![statement(LOAD, low_word(argument))];
            for (index, value) in values.iter().enumerate() {
                // Past the remaining comparisons and the refusal lies the permission.
                let ahead = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
                program.push(jump(JUMP_EQUAL, *value, ahead, 0));
            }
            program.extend([refuse, allow]);
            program
        }
        Answer::AnyOf { cases, error } => {
            let mut program = Vec::new();
            for case in cases {
                program.extend(all_of(case));
            }
            program.push(statement(RETURN, errno(error)));
            program
        }
    }
}

/// Lets the call through where every test holds, and falls through behind itself where one does not.
fn all_of(case: &[Test]) -> Vec<SockFilter> {
    let mut program = vec![statement(RETURN, ALLOW)];
    for test in case.iter().rev() {
        let rest = u8::try_from(program.len()).unwrap_or(u8::MAX);
        let mut this = vec![statement(LOAD, low_word(test.argument)), statement(AND, test.mask)];
        for (index, value) in test.values.iter().enumerate() {
            // Past the remaining comparisons and the jump out of the case lies what else is to be tested.
            let ahead = u8::try_from(test.values.len() - index).unwrap_or(u8::MAX);
            this.push(jump(JUMP_EQUAL, *value, ahead, 0));
        }
        this.push(statement(JUMP, u32::from(rest)));
        this.extend(program);
        program = this;
    }
    program
}

/// Where the low word of an argument is, on a little-endian machine.
fn low_word(argument: u8) -> u32 {
    ARGUMENTS_AT + 8 * u32::from(argument)
}

pub(super) fn errno(error: i32) -> u32 {
    ERRNO | u32::from(u16::try_from(error).unwrap_or(u16::MAX))
}

fn statement(code: u16, k: u32) -> SockFilter {
    SockFilter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter { code, jt, jf, k }
}
