//! How often one caller may have something simulated for nothing: a bucket of tokens for each, in memory.
//!
//! It keeps a flood of free work from those who pay. It is no limit of the rules: it is not exact over several processes,
//! and a restart forgets it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::{Caller, Clock, Identity};

use crate::Refusal;

/// Buckets at once. Beyond them new callers share one.
const BUCKETS_MAX: usize = 10_000;

/// How much of its rate a caller that has waited may use at once, in nanoseconds of it: 10 s.
const BURST_NS: u64 = 10_000_000_000;

const MINUTE_NS: u64 = 60_000_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// How often full buckets are looked for in a full house, in nanoseconds: it means looking at all of them.
const SWEEP_EVERY_NS: u64 = SECOND_NS;

/// The rule that refuses.
const RULE: &str = "simulate-rate";

/// The bucket of all for whom there is no other.
const SHARED: &str = "";

/// How many free dry-runs a caller has in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// A grant, a wallet, an address.
    pub each: u32,
    /// All callers of this machine together, in free mode on loopback.
    pub local: u32,
}

impl Default for Rates {
    /// 100 a second for a caller from outside, and for this machine twice what two processors can do.
    fn default() -> Self {
        Self { each: 6_000, local: 1_200_000 }
    }
}

#[derive(Default)]
struct Buckets {
    /// Until when what was used up of each is paid back, in nanoseconds. One that is past is a full bucket.
    paid_back: HashMap<String, u64>,
    swept_ns: u64,
}

/// The buckets of one process.
pub struct SimulationRate {
    rates: Rates,
    clock: Arc<dyn Clock>,
    buckets: Mutex<Buckets>,
}

impl SimulationRate {
    /// Full buckets.
    #[must_use]
    pub fn new(rates: Rates, clock: Arc<dyn Clock>) -> Self {
        Self { rates, clock, buckets: Mutex::default() }
    }

    /// Takes a token of a caller.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] says when there is one again.
    pub fn take(&self, caller: &Caller, peer: Option<IpAddr>) -> Result<(), Refusal> {
        let rate = if caller.identity == Identity::Local { self.rates.local } else { self.rates.each };
        let token_ns = MINUTE_NS / u64::from(rate.max(1));
        let now_ns = self.clock.monotonic_us().saturating_mul(1_000);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = buckets.place(bucket(caller, peer), now_ns);
        let before = buckets.paid_back.get(&key).copied().unwrap_or_default().max(now_ns);
        let after = before.saturating_add(token_ns);
        let over = (after - now_ns).saturating_sub(BURST_NS.max(token_ns));
        if over > 0 {
            let retry_after_s = over.div_ceil(SECOND_NS);
            return Err(Refusal::LimitReached { rule: RULE.to_owned(), retry_after_s });
        }
        buckets.paid_back.insert(key, after);
        Ok(())
    }
}

impl Buckets {
    /// The bucket of a caller, or the one that all share for whom there is none.
    fn place(&mut self, key: String, now_ns: u64) -> String {
        if self.paid_back.len() < BUCKETS_MAX || self.paid_back.contains_key(&key) {
            return key;
        }
        if now_ns.saturating_sub(self.swept_ns) >= SWEEP_EVERY_NS {
            self.swept_ns = now_ns;
            self.paid_back.retain(|_, paid_back| *paid_back > now_ns);
        }
        if self.paid_back.len() < BUCKETS_MAX { key } else { SHARED.to_owned() }
    }
}

/// Whose bucket it is. Anybody can begin a session with each call, so such callers are told by their address.
fn bucket(caller: &Caller, peer: Option<IpAddr>) -> String {
    match (caller.scope().filter(|_| caller.is_identified()), peer.map(|peer| peer.to_canonical())) {
        (Some(scope), _) => scope.as_str().to_owned(),
        (None, None) => "nobody".to_owned(),
        (None, Some(IpAddr::V4(address))) => format!("address {address}"),
        // Who has one address of version 6 has the whole network of 64 bits.
        (None, Some(IpAddr::V6(address))) => format!("network {:x}", address.to_bits() >> 64),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use execgate_model::{Caller, Clock, GrantId, Identity, TenantId, UnixMs};

    use super::{BUCKETS_MAX, Rates, SimulationRate};
    use crate::Refusal;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic_us(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn by(identity: Identity) -> Caller {
        Caller { tenant: TenantId::new("t").unwrap(), identity }
    }

    fn grant(number: usize) -> Caller {
        let id = GrantId::new(format!("g{number}")).unwrap();
        by(Identity::Grant { id, internal: false, labels: Arc::default() })
    }

    /// How many of so many are let pass.
    fn passed(rate: &SimulationRate, caller: &Caller, peer: Option<IpAddr>, count: usize) -> usize {
        (0..count).filter(|_| rate.take(caller, peer).is_ok()).count()
    }

    #[test]
    fn a_bucket_holds_ten_seconds_and_is_filled_evenly() {
        let clock = Arc::new(Hand::default());
        let rate = SimulationRate::new(Rates { each: 60, local: 600 }, clock.clone());
        assert_eq!(passed(&rate, &grant(1), None, 100), 10);
        assert_eq!(passed(&rate, &by(Identity::Local), None, 1_000), 100);
        let Err(Refusal::LimitReached { rule, retry_after_s }) = rate.take(&grant(1), None) else {
            panic!("not refused")
        };
        assert_eq!((rule.as_str(), retry_after_s), ("simulate-rate", 1));
        clock.0.store(3_000_000, Ordering::Relaxed);
        assert_eq!(passed(&rate, &grant(1), None, 100), 3);
        clock.0.store(3_600_000_000, Ordering::Relaxed);
        assert_eq!(passed(&rate, &grant(1), None, 100), 10, "no more than a full bucket");
    }

    #[test]
    fn a_rate_of_less_than_a_token_a_burst_still_lets_one_pass() {
        let rate = SimulationRate::new(Rates { each: 1, local: 1 }, Arc::new(Hand::default()));
        assert_eq!(passed(&rate, &grant(1), None, 9), 1);
    }

    #[test]
    fn strangers_are_told_by_address_however_many_sessions_they_begin() {
        let rate = SimulationRate::new(Rates { each: 6, local: 6 }, Arc::new(Hand::default()));
        let address = |text: &str| Some(text.parse().unwrap());
        let session = |id: &str| by(Identity::Session { id: id.to_owned(), is_new: false });
        assert_eq!(passed(&rate, &session("a"), address("192.0.2.1"), 1), 1);
        assert_eq!(passed(&rate, &session("b"), address("192.0.2.1"), 1), 0);
        assert_eq!(passed(&rate, &by(Identity::Anonymous), address("::ffff:192.0.2.1"), 1), 0);
        assert_eq!(passed(&rate, &session("b"), address("192.0.2.2"), 1), 1);
        assert_eq!(passed(&rate, &session("a"), address("2001:db8::1"), 1), 1);
        assert_eq!(passed(&rate, &session("a"), address("2001:db8::2"), 1), 0);
        assert_eq!(passed(&rate, &grant(1), address("192.0.2.1"), 1), 1);
    }

    #[test]
    fn buckets_are_bounded_and_those_that_are_full_again_make_room() {
        let clock = Arc::new(Hand::default());
        clock.0.store(2_000_000, Ordering::Relaxed);
        let rate = SimulationRate::new(Rates { each: 60, local: 60 }, clock.clone());
        for number in 0..BUCKETS_MAX {
            assert!(rate.take(&grant(number), None).is_ok());
        }
        let more = (0..100).filter(|more| rate.take(&grant(BUCKETS_MAX + more), None).is_ok()).count();
        assert_eq!(more, 10, "they share one");
        assert!(rate.buckets.lock().unwrap().paid_back.len() <= BUCKETS_MAX + 1);
        assert_eq!(passed(&rate, &grant(0), None, 100), 9, "and take nothing from those before");
        clock.0.store(60_000_000, Ordering::Relaxed);
        assert_eq!(passed(&rate, &grant(BUCKETS_MAX + 7), None, 100), 10);
        assert_eq!(rate.buckets.lock().unwrap().paid_back.len(), 1);
    }
}
