//! A run between its end and its answer: its proxy has to be gone, so that what it has told is all. Where its files are
//! wanted nothing of it may live, unless it is a session's; then its collector gets its time.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, waitpid};

use super::collector::{self, Collector, Guest};
use super::house::House;
use super::live::Phase;
use super::proxies::Proxy;
use crate::wire::{Counters, End, FromRun};

/// How long a collector may take; it takes about a millisecond.
const COLLECTED_WITHIN: Duration = Duration::from_secs(5);

/// What is to be told when the files are there.
pub(super) struct Collecting {
    end: End,
    counters: Counters,
    at_work: Option<(Collector, Instant)>,
}

impl Collecting {
    pub(super) fn new(end: End, counters: Counters) -> Self {
        Self { end, counters, at_work: None }
    }

    /// By what the end of its collector can be waited for.
    pub(super) fn collector(&self) -> Option<&OwnedFd> {
        self.at_work.as_ref().map(|(collector, _)| &collector.pidfd)
    }

    /// When its collector must have ended.
    pub(super) fn until(&self) -> Option<Instant> {
        self.at_work.as_ref().map(|(_, until)| *until)
    }

    /// Whether the collector has ended, or is ended now because it took too long.
    fn is_done(&self) -> bool {
        let Some((collector, until)) = &self.at_work else { return false };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&collector.pidfd, PollFlags::IN)], Some(&now)) == Ok(1);
        if !ended && Instant::now() < *until {
            return false;
        }
        // One that has ended cannot be killed, and waiting for either is short.
        let _ended_already = pidfd_send_signal(&collector.pidfd, Signal::KILL);
        if let Err(error) = waitpid(Some(collector.pid), WaitOptions::empty()) {
            tracing::debug!(%error, "a collector could not be waited for");
        }
        true
    }
}

impl House {
    /// Starts collectors for the runs of which nothing lives any more, and answers those that are done. A run that
    /// does not die in time is answered without its files, and one whose proxy does not as lost: nobody can tell what
    /// that still does.
    pub(super) fn collect_files(&mut self) {
        let now = Instant::now();
        for live in self.runs.values_mut() {
            let overdue = live.is_overdue(now);
            // In a session the guest lives on, and may change what it likes meanwhile.
            let may_start = live.gone || live.phase == Phase::Between;
            let serves = match &live.session {
                Some(session) => session.run.as_ref(),
                None => live.asked.as_ref(),
            };
            let wanted = serves.and_then(|asked| asked.collect.as_ref());
            let Some(collecting) = &mut live.collecting else { continue };
            if live.proxy.is_gone() {
                live.proxy = Proxy::Gone;
            } else if overdue {
                collecting.end = End::Lost;
            } else {
                continue;
            }
            let done = match (&collecting.at_work, wanted) {
                (Some(_), _) => collecting.is_done(),
                (None, Some((wanted, parcel))) if may_start => {
                    let slot = u32::try_from(live.slot).unwrap_or(u32::MAX);
                    let guest = Guest { id: self.map.guest_outside(slot), ids: self.map.ids };
                    match collector::start(&live.scratch, wanted, parcel, guest) {
                        Ok(collector) => {
                            collecting.at_work = Some((collector, now + COLLECTED_WITHIN));
                            false
                        }
                        Err(error) => {
                            tracing::debug!(%error, "a collector could not be started");
                            true
                        }
                    }
                }
                (None, Some(_)) => overdue,
                (None, None) => true,
            };
            if done {
                let (end, counters) = (collecting.end, collecting.counters);
                live.collecting = None;
                live.tell(FromRun::Ended { end, counters });
                live.let_go_of_run();
            }
        }
    }
}
