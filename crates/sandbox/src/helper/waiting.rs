//! What lies idle: how many interpreters wait for runs, how many are there to be forked, and what all of them hold. Told to
//! whoever asks, at once; decides nothing.

use super::house::House;
use super::live::{Live, Phase};
use super::watchdog;
use crate::wire::FromHelper;

impl House {
    /// Looks now.
    pub(super) fn waiting(&self) -> FromHelper {
        let idle: Vec<&Live> = self.runs.values().filter(|live| live.phase == Phase::Idle).collect();
        let stems: Vec<i32> = self.stems.warm().collect();
        let held = idle.iter().map(|live| self.held_by(live));
        let bytes = held.chain(stems.iter().map(|stem| watchdog::resident_alone(*stem)));
        FromHelper::Waiting {
            interpreters: u32::try_from(idle.len()).unwrap_or(u32::MAX),
            forking: u32::try_from(stems.len()).unwrap_or(u32::MAX),
            bytes: bytes.fold(0, u64::saturating_add),
        }
    }

    /// What is charged to its slot; where nobody counts, what its processes hold.
    fn held_by(&self, live: &Live) -> u64 {
        let init = live.init.as_ref().map(|(_, pid)| *pid);
        let seen = || init.map_or(0, watchdog::resident);
        self.cgroups.charged(live.slot).unwrap_or_else(seen)
    }
}
