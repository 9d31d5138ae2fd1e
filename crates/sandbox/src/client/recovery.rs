//! The helper in force, and a thread that sees when it is gone and takes the next one from its parent. What was under way
//! is lost with a helper, and never handed to another: a run starts once.

use std::io;
use std::iter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use execgate_forkpoint::wire::{Message as _, Received, pair, receive, text_memfd, text_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::link::HelperLink;
use crate::config::{Config, Tier};
use crate::enforced::Guarded;
use crate::error::SandboxError;
use crate::offspring::has_hung_up;
use crate::wire::FromHelper;

/// How long the helper may take to prepare everything; it takes some tens of milliseconds.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A helper that was there for so long has not died of how it began.
const LASTS: Duration = Duration::from_secs(10);

/// The pause before the next one where one has not lasted; it doubles from one to the next.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A helper that has said what it enforces.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) control: OwnedFd,
    pub(super) pid: i32,
    pub(super) guarded: Guarded,
}

impl Helper {
    fn first(link: &HelperLink, config: &Config) -> Result<Self, SandboxError> {
        let text = serde_json::to_vec(config).map_err(|error| SandboxError::Configure(error.into()))?;
        let text = text_memfd("execgate-config", &text).map_err(SandboxError::Configure)?;
        Self::of(link.begin(Some(&text)), None)
    }

    /// Another of the same configuration, which has to have come to the same tier.
    fn next(link: &HelperLink, tier: Tier, cord: &OwnedFd) -> Result<Self, SandboxError> {
        let next = Self::of(link.begin(None), Some(cord))?;
        match next.guarded.enforced.tier {
            same if same == tier => Ok(next),
            other => Err(SandboxError::Refused(format!("this host now gives `{other}`, and gave `{tier}`"))),
        }
    }

    fn of(control: io::Result<OwnedFd>, cord: Option<&OwnedFd>) -> Result<Self, SandboxError> {
        let control = control.map_err(SandboxError::Configure)?;
        let (pid, guarded) = answer(&control, cord)?;
        Ok(Self { control, pid, guarded })
    }

    /// What it has said since the last time.
    fn said(&self) -> impl Iterator<Item = (FromHelper, Vec<OwnedFd>)> {
        let packets = iter::from_fn(|| match receive(&self.control) {
            Ok(Received::Packet(bytes, fds)) => Some((bytes, fds)),
            Ok(Received::Nothing | Received::End) | Err(_) => None,
        });
        packets.filter_map(|(bytes, fds)| Some((FromHelper::unpack(&bytes).ok()?, fds)))
    }

    /// Whether it still holds its end.
    pub(super) fn is_there(&self) -> bool {
        !has_hung_up(&self.control)
    }
}

/// Waits for what a helper says to its configuration: its process id, and what it enforces. For nothing any more once the
/// cord was dropped.
fn answer(control: &OwnedFd, cord: Option<&OwnedFd>) -> Result<(i32, Guarded), SandboxError> {
    let timeout = Timespec::try_from(START_WITHIN).ok();
    loop {
        let mut fds = vec![PollFd::new(control, PollFlags::IN)];
        fds.extend(cord.map(|cord| PollFd::new(cord, PollFlags::empty())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Err(SandboxError::NoAnswer),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SandboxError::Answer(error.into())),
        }
        if fds.get(1).is_some_and(|cord| !cord.revents().is_empty()) {
            return Err(SandboxError::NoAnswer);
        }
        let (message, text) = match receive(control).map_err(SandboxError::Answer)? {
            Received::Nothing => continue,
            Received::End => return Err(SandboxError::Answer(io::ErrorKind::UnexpectedEof.into())),
            Received::Packet(bytes, fds) => (FromHelper::unpack(&bytes), fds),
        };
        let text = text.first().map(text_of).transpose().map_err(SandboxError::Answer)?.unwrap_or_default();
        return match message {
            Ok(FromHelper::Ready { helper }) => {
                let guarded =
                    serde_json::from_slice(&text).map_err(|error| SandboxError::Answer(error.into()))?;
                let pid =
                    i32::try_from(helper).map_err(|error| SandboxError::Answer(io::Error::other(error)))?;
                Ok((pid, guarded))
            }
            Ok(FromHelper::Refused) => {
                Err(SandboxError::Refused(String::from_utf8_lossy(&text).into_owned()))
            }
            Ok(FromHelper::Capacity { .. } | FromHelper::ImageChanged | FromHelper::Waiting { .. })
            | Err(_) => Err(SandboxError::Answer(io::ErrorKind::InvalidData.into())),
        };
    }
}

/// The helpers of one sandbox, one after the other.
#[derive(Debug)]
pub(super) struct Helpers {
    shared: Arc<Shared>,
    /// Dropping it ends the thread.
    cord: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has too. The order counts: a helper ends when its control socket is closed, its parent after it.
#[derive(Debug)]
struct Shared {
    now: RwLock<Arc<Helper>>,
    lost: AtomicU64,
    /// In what the image has changed. No helper begins after that.
    changed: OnceLock<String>,
    /// None is weaker than what was announced.
    tier: Tier,
    link: HelperLink,
}

impl Helpers {
    /// Starts the first one; it says which tier all of them have.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub(super) fn start(link: HelperLink, config: &Config) -> Result<Self, SandboxError> {
        let first = Helper::first(&link, config)?;
        let tier = first.guarded.enforced.tier;
        let now = RwLock::new(Arc::new(first));
        let (lost, changed) = (AtomicU64::new(0), OnceLock::new());
        let shared = Arc::new(Shared { now, lost, changed, tier, link });
        let (ours, theirs) = pair().map_err(SandboxError::SocketPair)?;
        let looked_after = Arc::clone(&shared);
        let thread = thread::Builder::new().name("sandbox-helpers".to_owned());
        let thread = thread.spawn(move || looked_after.look_after(&theirs));
        let thread = Some(thread.map_err(SandboxError::SpawnHelper)?);
        Ok(Self { shared, cord: Some(ours), thread })
    }

    /// The helper in force, which may be gone.
    pub(super) fn now(&self) -> Arc<Helper> {
        self.shared.now()
    }

    /// How many were lost.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// How many places the one in force has, where it has said so since the last time.
    pub(super) fn hear(&self) -> Option<u32> {
        self.shared.hear(&self.now())
    }

    /// In what the image is not what its digest names, where one of them has said so.
    pub(super) fn image_change(&self) -> Option<&str> {
        self.shared.changed.get().map(String::as_str)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        drop(self.cord.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::debug!("the thread that looks after helpers has panicked");
        }
    }
}

impl Shared {
    fn now(&self) -> Arc<Helper> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what a helper has said since the last time: how many places it has, and of the image.
    fn hear(&self, helper: &Helper) -> Option<u32> {
        let mut places = None;
        for (said, fds) in helper.said() {
            match said {
                FromHelper::Capacity { usable, .. } => places = Some(usable),
                FromHelper::ImageChanged => {
                    let told = fds.first().and_then(|text| text_of(text).ok()).unwrap_or_default();
                    let told = self.changed.get_or_init(|| String::from_utf8_lossy(&told).into_owned());
                    tracing::error!(
                        image = helper.guarded.enforced.image,
                        found = told,
                        "the image is not what its digest names: nothing runs from it any more"
                    );
                }
                FromHelper::Ready { .. } | FromHelper::Refused | FromHelper::Waiting { .. } => {}
            }
        }
        places
    }

    /// Until the cord is dropped, the parent of helpers is gone, or the image is another.
    fn look_after(&self, cord: &OwnedFd) {
        let mut short_lived = 0;
        loop {
            let (helper, since) = (self.now(), Instant::now());
            if has_been_told(cord, Some(helper.control.as_fd()), None) {
                return;
            }
            // What it has found is not to be forgotten with it.
            self.hear(&helper);
            self.lost.fetch_add(1, Ordering::Release);
            tracing::error!(
                helper = helper.pid,
                "a helper of the sandbox is gone, and what was under way is lost"
            );
            if self.changed.get().is_some() {
                return;
            }
            drop(helper);
            short_lived = if since.elapsed() < LASTS { short_lived + 1 } else { 0 };
            if !self.next(cord, &mut short_lived) {
                return;
            }
        }
    }

    /// Puts the next helper in the place of one that is gone; false where there will be none.
    fn next(&self, cord: &OwnedFd, failures: &mut u32) -> bool {
        loop {
            if has_been_told(cord, None, Some(pause(*failures))) {
                return false;
            }
            match Helper::next(&self.link, self.tier, cord) {
                Ok(helper) => {
                    tracing::warn!(helper = helper.pid, "the sandbox has a new helper");
                    *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(helper);
                    return true;
                }
                Err(error) if self.link.is_open() => {
                    tracing::error!(%error, "there is no new helper of the sandbox yet");
                    *failures += 1;
                }
                Err(error) => {
                    tracing::error!(%error, "the sandbox has nobody to start a helper, and needs a restart");
                    return false;
                }
            }
        }
    }
}

/// How long to wait after so many that did not last.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doubled) => {
            PAUSE_FIRST.saturating_mul(1_u32.checked_shl(doubled).unwrap_or(u32::MAX)).min(PAUSE_MAX)
        }
    }
}

/// Waits until a helper is gone or the time is over; true where the cord was dropped.
fn has_been_told(cord: &OwnedFd, helper: Option<BorrowedFd<'_>>, within: Option<Duration>) -> bool {
    let timeout = within.and_then(|within| Timespec::try_from(within).ok());
    let all = || [Some(cord.as_fd()), helper].into_iter().flatten();
    let mut fds: Vec<_> = all().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty())).collect();
    loop {
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => return fds.first().is_none_or(|cord| !cord.revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "nobody looks after the helper of the sandbox any more");
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, PAUSE_FIRST, PAUSE_MAX, pause};

    #[test]
    fn the_first_helper_that_is_lost_is_replaced_at_once_and_those_that_do_not_last_ever_more_slowly() {
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!((pause(1), pause(2)), (PAUSE_FIRST, 2 * PAUSE_FIRST));
        assert!((1..80).all(|failures| pause(failures) <= pause(failures + 1)));
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
