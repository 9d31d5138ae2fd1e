//! How many decisions about one caller go into the trail, so that nobody can fill it, or push others out of it.

use std::collections::HashMap;

use execgate_model::UnixMs;

/// Lines of one caller in one window. Who is refused more often than this is told by the first ones.
const LINES: u64 = 60;

/// The window, in milliseconds.
const WINDOW_MS: u64 = 60_000;

/// Callers that are told apart; the others of a window share one place.
const CALLERS_MAX: usize = 1_024;

/// Tenant and label.
pub(super) type Who = (String, String);

#[derive(Debug)]
struct Window {
    starts: UnixMs,
    lines: u64,
    omitted: u64,
}

/// What was left out of the trail about one caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Omitted {
    pub(super) who: Who,
    pub(super) lines: u64,
}

/// The windows of all callers.
#[derive(Debug, Default)]
pub(super) struct Quota(HashMap<Who, Window>);

impl Quota {
    /// Whether one more line about a caller fits now. One that does not is counted.
    pub(super) fn takes(&mut self, who: Who, now: UnixMs) -> bool {
        let is_new = !self.0.contains_key(&who);
        let who = if is_new && self.0.len() >= CALLERS_MAX { Who::default() } else { who };
        let window = self.0.entry(who).or_insert(Window { starts: now, lines: 0, omitted: 0 });
        // One whose window is over is still here only while nobody has asked for what was left out of it.
        if window.lines < LINES || is_over(window, now) {
            if is_over(window, now) {
                (window.starts, window.lines) = (now, 0);
            }
            window.lines += 1;
            return true;
        }
        window.omitted += 1;
        false
    }

    /// What was left out in windows that are over; the callers are forgotten with it.
    pub(super) fn over(&mut self, now: UnixMs) -> Vec<Omitted> {
        self.drain(|window| is_over(window, now))
    }

    /// What was left out in all.
    pub(super) fn all(&mut self) -> Vec<Omitted> {
        self.drain(|_| true)
    }

    fn drain(&mut self, is_done: impl Fn(&Window) -> bool) -> Vec<Omitted> {
        let done = self.0.extract_if(|_, window| is_done(window));
        let omitted = done.filter(|(_, window)| window.omitted > 0);
        let mut omitted: Vec<_> =
            omitted.map(|(who, window)| Omitted { who, lines: window.omitted }).collect();
        omitted.sort_by(|a, b| a.who.cmp(&b.who));
        omitted
    }
}

fn is_over(window: &Window, now: UnixMs) -> bool {
    now.0.saturating_sub(window.starts.0) >= WINDOW_MS
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;

    use super::{CALLERS_MAX, LINES, Omitted, Quota, WINDOW_MS, Who};

    fn who(number: usize) -> Who {
        ("t".to_owned(), number.to_string())
    }

    #[test]
    fn a_caller_has_so_many_lines_in_a_window_and_the_rest_is_counted() {
        let mut quota = Quota::default();
        let taken = (0..LINES + 7).filter(|_| quota.takes(who(1), UnixMs(5))).count();
        assert_eq!(u64::try_from(taken).unwrap(), LINES);
        assert!(quota.takes(who(2), UnixMs(5)), "another caller has its own");
        assert_eq!(quota.over(UnixMs(5)), []);
        assert!(quota.takes(who(1), UnixMs(5 + WINDOW_MS)));
        assert_eq!(quota.all(), [Omitted { who: who(1), lines: 7 }]);
        assert_eq!(quota.all(), []);
    }

    #[test]
    fn a_window_that_is_over_is_told_and_forgotten() {
        let mut quota = Quota::default();
        for _ in 0..=LINES {
            quota.takes(who(1), UnixMs(0));
        }
        assert_eq!(quota.over(UnixMs(WINDOW_MS)), [Omitted { who: who(1), lines: 1 }]);
        assert!(quota.0.is_empty());
    }

    #[test]
    fn however_many_callers_there_are_few_are_told_apart() {
        let mut quota = Quota::default();
        let taken = (0..CALLERS_MAX * 2).filter(|number| quota.takes(who(*number), UnixMs(0))).count();
        assert_eq!(taken, CALLERS_MAX + usize::try_from(LINES).unwrap());
        assert_eq!(quota.0.len(), CALLERS_MAX + 1);
    }
}
