//! Whose turn it is, and for how long. Pure.

use std::time::Duration;

/// The longest turn: every target gets several in an hour, so that what one finds late is not all that is found.
const TURN_MAX: Duration = Duration::from_secs(60);

/// The shortest turn: below it the time goes into reading the corpus.
const TURN_MIN: Duration = Duration::from_secs(10);

/// One turn of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which target: its place in the list.
    pub(crate) target: usize,
    /// How long.
    pub(crate) length: Duration,
}

/// Turns of `targets` targets that fill `total`, one after the other from the `first` on, all of one length.
///
/// Where the time is too short for all of them, the next soak goes on with [`next`].
pub(crate) fn turns(targets: usize, first: usize, total: Duration) -> Vec<Turn> {
    let Ok(share) = u32::try_from(targets.max(1)) else { return Vec::new() };
    let length = (total / share).clamp(TURN_MIN, TURN_MAX);
    let count = usize::try_from(total.as_secs() / length.as_secs()).unwrap_or(0).max(1);
    let order = (0..targets).cycle().skip(first).take(if targets == 0 { 0 } else { count });
    order.map(|target| Turn { target, length }).collect()
}

/// The target whose turn comes after all these.
pub(crate) fn next(targets: usize, turns: &[Turn]) -> usize {
    turns.last().map_or(0, |turn| (turn.target + 1) % targets.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(turns: &[Turn]) -> u64 {
        turns.iter().map(|turn| turn.length.as_secs()).sum()
    }

    fn order(turns: &[Turn]) -> Vec<usize> {
        turns.iter().map(|turn| turn.target).collect()
    }

    #[test]
    fn an_hour_gives_every_target_its_turns_and_is_no_longer_than_an_hour() {
        let turns = turns(24, 0, Duration::from_secs(3600));
        assert_eq!((turns.len(), seconds(&turns)), (60, 3600));
        assert!((0..24).all(|target| order(&turns).iter().filter(|turn| **turn == target).count() >= 2));
    }

    #[test]
    fn a_short_soak_goes_on_where_the_last_one_ended() {
        let minute = Duration::from_secs(60);
        let first = turns(10, 0, minute);
        assert_eq!((order(&first), seconds(&first)), (vec![0, 1, 2, 3, 4, 5], 60));
        let second = turns(10, next(10, &first), minute);
        assert_eq!(order(&second), [6, 7, 8, 9, 0, 1]);
        assert_eq!(next(10, &second), 2);
    }

    #[test]
    fn turns_are_shared_out_where_there_is_time_for_all() {
        let shared = turns(4, 1, Duration::from_secs(120));
        assert_eq!((order(&shared), shared[0].length), (vec![1, 2, 3, 0], Duration::from_secs(30)));
    }

    #[test]
    fn one_target_gets_all_the_time_and_none_gets_nothing() {
        let turns_of_one = turns(1, 0, Duration::from_secs(600));
        assert_eq!((turns_of_one.len(), seconds(&turns_of_one)), (10, 600));
        assert!(turns(0, 0, Duration::from_secs(600)).is_empty());
        assert_eq!(next(0, &[]), 0);
    }
}
