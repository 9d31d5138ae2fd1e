//! Reads the image anew while runs go on: before interpreters are replaced, and from time to time where none is. An image
//! that is not what its digest names is one from which nothing runs any more.
//!
//! A process of its own reads, with the lowest priority, so that no run waits for it. What it does not find out is not
//! taken for well: an image that cannot be read again and again is refused too. Every change here needs a second reader.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use execgate_forkpoint::panics::{Tell, die_of_panics};
use execgate_forkpoint::sys::{self, Cloned};
use execgate_forkpoint::wire::{Message as _, send, text_memfd, text_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, Signal, WaitOptions, nice, pidfd_send_signal, set_parent_process_death_signal, waitpid,
};

use super::house::House;
use super::live::Phase;
use crate::config::{Config, ImageChecks};
use crate::image::{Image, Origin, Reads, Verification};
use crate::wire::{FromHelper, FromRun, Over};

/// An interpreter is replaced after a check that is no older. A busy house replaces more often, and has the image read no
/// more often than this.
const FRESH: Duration = Duration::from_secs(120);

/// How long a check may take: most of it waits for the disk, of which it is given little.
const CHECKED_WITHIN: Duration = Duration::from_secs(300);

/// How long to wait before a check that came to nothing is begun again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// So many that came to nothing, one after the other, are no chance.
const FAILURES_MAX: u32 = 3;

/// Added to its priority: the least that the kernel knows of.
const NICE: i32 = 19;

/// How many differences are told.
const TOLD_MAX: usize = 5;

/// Where the process finds the file that it tells in.
const TOLD: RawFd = 0;

/// Its exit status where the image is not what it was. 0 says that it is.
const CHANGED: i32 = 3;

/// A check under way.
struct Inspector {
    pid: Pid,
    pidfd: OwnedFd,
    told: OwnedFd,
    began: Instant,
}

/// What a check has come to.
enum Found {
    Intact,
    Changed(String),
    Nothing(String),
}

/// When the image was checked, and when it is to be.
pub(super) struct Inspection {
    image: Image,
    checks: ImageChecks,
    made: Instant,
    at_work: Option<Inspector>,
    /// When the last was begun.
    begun: Option<Instant>,
    /// When the last that found nothing was begun.
    intact: Option<Instant>,
    failures: u32,
    /// Whether anything has run since the last was begun.
    is_used: bool,
    /// Whether an interpreter waits to be replaced.
    is_awaited: bool,
    /// Why nothing runs from it any more.
    changed: Option<String>,
}

impl Inspection {
    pub(super) fn new(config: &Config) -> Self {
        let (root, digest) = (config.image.path.clone(), config.image.digest.clone());
        Self {
            image: Image { root, digest, origin: Origin::Found },
            checks: config.image_checks,
            made: Instant::now(),
            at_work: None,
            begun: None,
            intact: None,
            failures: 0,
            is_used: false,
            is_awaited: false,
            changed: None,
        }
    }

    /// Whether anything may run from it, as far as is known.
    pub(super) fn is_sound(&self) -> bool {
        self.changed.is_none()
    }

    /// Something runs from it.
    pub(super) fn use_it(&mut self) {
        self.is_used = true;
    }

    /// Whether an interpreter may be replaced. If not, it may once there was a check.
    pub(super) fn allows_renewal(&mut self, now: Instant) -> bool {
        let is_fresh = self.intact.is_some_and(|at| now < at + FRESH);
        self.is_awaited |= !is_fresh;
        is_fresh
    }

    /// When the next is to be begun, if there is a reason for one.
    fn due(&self) -> Option<Instant> {
        let Some(begun) = self.begun else {
            return (self.is_used || self.is_awaited).then(|| self.made + self.checks.first);
        };
        let by_use = self.is_used.then(|| begun + self.checks.every);
        let by_renewal = self.is_awaited.then(|| begun + FRESH.min(self.checks.every));
        let again = (self.failures > 0).then(|| begun + RETRY_AFTER);
        [by_use, by_renewal, again].into_iter().flatten().min()
    }

    /// When to look at it again.
    pub(super) fn next_clock(&self) -> Option<Instant> {
        if self.changed.is_some() {
            return None;
        }
        match &self.at_work {
            Some(inspector) => Some(inspector.began + CHECKED_WITHIN),
            None => self.due(),
        }
    }

    /// By what the end of a check can be waited for.
    pub(super) fn inspector(&self) -> Option<&OwnedFd> {
        self.at_work.as_ref().map(|inspector| &inspector.pidfd)
    }

    /// Begins a check that is due, ends one that is done; gives why nothing may run any more, once.
    fn look(&mut self, now: Instant) -> Option<String> {
        if self.changed.is_some() {
            return None;
        }
        let Some(inspector) = self.at_work.take() else {
            if self.due().is_some_and(|due| now >= due) {
                self.begin(now);
            }
            return None;
        };
        if !inspector.has_ended() && now < inspector.began + CHECKED_WITHIN {
            self.at_work = Some(inspector);
            return None;
        }
        let began = inspector.began;
        let found = inspector.end();
        self.note(began, found)
    }

    fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
        match Inspector::start(&self.image, now) {
            Ok(inspector) => self.at_work = Some(inspector),
            Err(error) => {
                tracing::warn!(%error, "nothing could be started to check the image");
                self.failures += 1;
            }
        }
        self.is_used = false;
    }

    /// Notes what a check has come to.
    fn note(&mut self, began: Instant, found: Found) -> Option<String> {
        match found {
            Found::Intact => {
                (self.intact, self.failures, self.is_awaited) = (Some(began), 0, false);
                return None;
            }
            Found::Changed(why) => self.changed = Some(why),
            Found::Nothing(why) => {
                tracing::warn!(why, "the image could not be checked");
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    self.changed = Some(format!("it cannot be checked: {why}"));
                }
            }
        }
        self.changed.clone()
    }
}

impl Inspector {
    fn start(image: &Image, now: Instant) -> io::Result<Self> {
        let told = memfd_create("execgate-inspection", MemfdFlags::CLOEXEC)?;
        let theirs = vec![told.try_clone()?];
        match sys::clone3(0)? {
            Cloned::Child => {
                die_of_panics(Tell::Nobody);
                // Nothing of a run may be held open here: that somebody has closed it says something.
                if sys::arrange(theirs).and_then(|()| be_the_last()).is_err() {
                    sys::exit_now(1);
                }
                inspect(image)
            }
            Cloned::Parent { pid, pidfd: Some(pidfd) } => Ok(Self { pid, pidfd, told, began: now }),
            Cloned::Parent { pidfd: None, .. } => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)) == Ok(1)
    }

    /// What it has found. One that has not ended is ended.
    fn end(self) -> Found {
        // One that has ended cannot be killed, and waiting for either is short.
        let _ended_already = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let status = match waitpid(Some(self.pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => status,
            Ok(None) | Err(_) => return Found::Nothing("its process was lost".to_owned()),
        };
        let told = text_of(self.told.as_fd()).unwrap_or_default();
        let told = String::from_utf8_lossy(&told).into_owned();
        match status.exit_status() {
            Some(0) => Found::Intact,
            Some(CHANGED) => Found::Changed(told),
            Some(_) if !told.is_empty() => Found::Nothing(told),
            Some(_) | None => Found::Nothing(format!("its process ended with {status:?}")),
        }
    }
}

/// In the process of a check: it gives way to everybody, and ends with the helper.
fn be_the_last() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(NICE)?;
    Ok(())
}

/// Reads it, and tells by its end.
fn inspect(image: &Image) -> ! {
    let (status, told) = match image.verify(Reads::Seen) {
        Ok(found) if found.is_intact() => (0, String::new()),
        Ok(found) => (CHANGED, differences(&found)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            (1, format!("{error}{}", cause.unwrap_or_default()))
        }
    };
    let is_told = sys::borrow(TOLD).try_clone_to_owned().map(File::from);
    let is_told = is_told.and_then(|mut file| file.write_all(told.as_bytes()));
    sys::exit_now(if is_told.is_ok() { status } else { 1 })
}

/// The first differences, in one line.
fn differences(found: &Verification) -> String {
    let mut told: Vec<String> = found.differences.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    match found.differences.len().saturating_sub(TOLD_MAX) {
        0 => {}
        more => told.push(format!("and {more} more")),
    }
    told.join("; ")
}

impl House {
    /// Goes on with checking the image, as is due. At a bad end everything that comes from it is killed.
    pub(super) fn inspect(&mut self, control: &OwnedFd) {
        let Some(why) = self.inspection.look(Instant::now()) else { return };
        tracing::error!(why, "the image is not what its digest names: nothing runs from it any more");
        let told = text_memfd("execgate-answer", why.as_bytes());
        let told = told.and_then(|text| send(control, &FromHelper::ImageChanged.pack(), &[text.as_fd()]));
        if let Err(error) = told {
            tracing::debug!(%error, "the client does not read its control socket");
        }
        self.refuse_all();
        let runs: Vec<u64> = self.runs.keys().copied().collect();
        for run in runs {
            self.condemn(run);
        }
        // Jails that are slow to die end with what they were cloned from.
        self.stems.clear();
    }

    /// Nothing begins any more.
    pub(super) fn refuse_all(&mut self) {
        for asked in self.queue.drain(..) {
            asked.tell(FromRun::ImageChanged { has_begun: false });
        }
    }

    /// Ends a run, whatever it is at. What it did was perhaps not what its code says, and nothing vouches for it.
    fn condemn(&mut self, run: u64) {
        let Some(live) = self.runs.get(&run) else { return };
        match live.phase {
            Phase::Dying { .. } => {}
            Phase::Between => self.close(run, Over::ImageChanged),
            Phase::Told | Phase::Building | Phase::Idle | Phase::Opening | Phase::Running => {
                // Of one that was started for its run nobody can tell.
                let has_begun = !live.is_waiting();
                live.tell(FromRun::ImageChanged { has_begun });
                self.kill(run);
                self.tell_over(run, Over::ImageChanged, Some(0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const EVERY: Duration = Duration::from_secs(600);
    const SECOND: Duration = Duration::from_secs(1);

    fn inspection() -> Inspection {
        let checks = ImageChecks { first: Duration::from_secs(5), every: EVERY };
        let image = Image { root: PathBuf::from("/none/root"), digest: String::new(), origin: Origin::Found };
        Inspection {
            image,
            checks,
            made: Instant::now(),
            at_work: None,
            begun: None,
            intact: None,
            failures: 0,
            is_used: false,
            is_awaited: false,
            changed: None,
        }
    }

    #[test]
    fn an_image_that_nobody_uses_is_not_read() {
        let mut inspection = inspection();
        assert_eq!(inspection.next_clock(), None);
        inspection.use_it();
        assert_eq!(inspection.next_clock(), Some(inspection.made + Duration::from_secs(5)));
        let begun = inspection.made + Duration::from_secs(9);
        (inspection.begun, inspection.is_used) = (Some(begun), false);
        assert_eq!(inspection.note(begun, Found::Intact), None);
        assert_eq!(inspection.next_clock(), None);
        inspection.use_it();
        assert_eq!(inspection.next_clock(), Some(begun + EVERY));
    }

    #[test]
    fn an_interpreter_is_replaced_after_a_check_and_not_before() {
        let mut inspection = inspection();
        let now = inspection.made + Duration::from_secs(700);
        assert!(!inspection.allows_renewal(now));
        assert!(inspection.due().is_some_and(|due| due < now), "it is begun at once");
        inspection.begun = Some(now);
        assert_eq!(inspection.note(now, Found::Intact), None);
        assert!(inspection.allows_renewal(now + SECOND) && inspection.due().is_none());
        // Where interpreters are replaced often, one check is good for several.
        assert!(inspection.allows_renewal(now + FRESH - SECOND));
        assert!(!inspection.allows_renewal(now + FRESH));
        assert_eq!(inspection.due(), Some(now + FRESH));
    }

    #[test]
    fn an_image_that_cannot_be_checked_is_refused_in_the_end_and_one_that_can_is_not() {
        let mut inspection = inspection();
        let now = inspection.made;
        let fails = |inspection: &mut Inspection| {
            inspection.begun = Some(now);
            inspection.note(now, Found::Nothing("no such file".to_owned()))
        };
        assert_eq!(fails(&mut inspection), None);
        assert_eq!(inspection.next_clock(), Some(now + RETRY_AFTER));
        assert_eq!(fails(&mut inspection), None);
        assert_eq!(inspection.note(now, Found::Intact), None);
        assert_eq!((fails(&mut inspection), fails(&mut inspection)), (None, None));
        assert!(inspection.is_sound());
        let refused = "it cannot be checked: no such file".to_owned();
        assert_eq!(fails(&mut inspection), Some(refused));
        assert!(!inspection.is_sound() && inspection.next_clock().is_none());
    }
}
