//! What the service has answered lately, by all that the answer depends on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use execgate_flow::authorise::Question;
use execgate_model::{Digest, Effect};
use execgate_receipt::sha256;

use crate::words::Verdict;

/// How long an answer holds, in microseconds from when it was asked for.
pub(crate) const KEEP_US: u64 = 5_000_000;

/// Answers that are held at once, some 300 bytes each. A full cache keeps what it has: it is no promise.
const ANSWERS_MAX: usize = 4_096;

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<Digest, (u64, Verdict)>>);

/// What an answer depends on: caller, tool, arguments, rules, and whether anything can happen.
pub(crate) fn key(question: &Question<'_>) -> Digest {
    // No part but the last can hold a line break.
    let effect = match question.effect {
        Effect::Live => "live",
        Effect::DryRun => "dry-run",
    };
    let text = format!(
        "execgate iam question v1\n{effect}\n{}\n{}\n{}\n{}\n{}",
        question.action,
        question.args_digest,
        question.policy,
        question.caller.tenant,
        question.caller.label()
    );
    sha256(text.as_bytes())
}

impl Cache {
    /// An answer that still holds.
    pub(crate) fn get(&self, key: Digest, now_us: u64) -> Option<Verdict> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&key).filter(|(asked_us, _)| holds(*asked_us, now_us)).map(|(_, verdict)| verdict.clone())
    }

    /// Keeps an answer.
    pub(crate) fn keep(&self, key: Digest, asked_us: u64, now_us: u64, verdict: Verdict) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (asked_us, _)| holds(*asked_us, now_us));
        }
        if answers.len() < ANSWERS_MAX {
            answers.insert(key, (asked_us, verdict));
        }
    }
}

fn holds(asked_us: u64, now_us: u64) -> bool {
    now_us.saturating_sub(asked_us) < KEEP_US
}

#[cfg(test)]
mod tests {
    use execgate_model::Digest;

    use super::{ANSWERS_MAX, Cache, KEEP_US};
    use crate::words::Verdict;

    fn key(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Digest::from_bytes(bytes)
    }

    #[test]
    fn an_answer_holds_from_when_it_was_asked_for() {
        let cache = Cache::default();
        cache.keep(key(1), 10, 3_000_000, Verdict::Yes);
        assert_eq!(cache.get(key(1), KEEP_US + 9), Some(Verdict::Yes));
        assert_eq!(cache.get(key(1), KEEP_US + 10), None);
        assert_eq!(cache.get(key(2), 10), None);
    }

    #[test]
    fn a_full_cache_takes_in_only_what_replaces_what_is_over() {
        let cache = Cache::default();
        for number in 0..ANSWERS_MAX {
            cache.keep(key(number), 0, 0, Verdict::Yes);
        }
        cache.keep(key(ANSWERS_MAX), 1, 1, Verdict::Yes);
        assert_eq!(cache.get(key(ANSWERS_MAX), 1), None);
        cache.keep(key(ANSWERS_MAX), KEEP_US, KEEP_US, Verdict::Yes);
        assert_eq!(cache.get(key(ANSWERS_MAX), KEEP_US), Some(Verdict::Yes));
    }
}
