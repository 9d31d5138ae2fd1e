//! A finished filter, and its name by content. Never decides a rule.

use execgate_forkpoint::sys::SockFilter;
use sha2::{Digest as _, Sha256};

use super::rules::{Answer, Memory, Rule, Sockets, proxy_table, table};
use super::tree::compile;
use crate::enforced::Calls;

/// A finished filter.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) program: Vec<SockFilter>,
    /// SHA-256 over the instructions, in hex.
    pub(crate) digest: String,
    /// How many system calls are let through, some by argument.
    pub(crate) rules: u32,
}

impl Filter {
    /// What a receipt says of it.
    pub(crate) fn summary(&self) -> Calls {
        Calls { sha256: self.digest.clone(), rules: self.rules }
    }
}

/// The filter for guests.
pub(crate) fn guest_filter(memory: Memory, sockets: Sockets) -> Filter {
    finish(&table(memory, sockets))
}

/// The filter for the proxy of a run.
pub(crate) fn proxy_filter() -> Filter {
    finish(&proxy_table())
}

fn finish(table: &[Rule]) -> Filter {
    let program = compile(table);
    let mut hash = Sha256::new();
    for instruction in &program {
        hash.update(instruction.code.to_le_bytes());
        hash.update([instruction.jt, instruction.jf]);
        hash.update(instruction.k.to_le_bytes());
    }
    let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let rules = table.iter().filter(|rule| !matches!(rule.answer, Answer::Refuse(_))).count();
    Filter { program, digest, rules: u32::try_from(rules).unwrap_or(u32::MAX) }
}
