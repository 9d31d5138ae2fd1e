//! A set of places, some bits for each run: what may grow with history, and no more than that.

use std::collections::BTreeMap;

/// Bits of one word.
const BITS: u64 = 64;

/// Places that have a mark. What is far apart takes no memory between.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<u64, u64>);

impl Marks {
    /// Marks a place; false where it had a mark.
    pub(super) fn set(&mut self, place: u64) -> bool {
        let word = self.0.entry(place / BITS).or_default();
        let bit = 1 << (place % BITS);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Whether a place has a mark.
    pub(super) fn has(&self, place: u64) -> bool {
        self.0.get(&(place / BITS)).is_some_and(|word| word >> (place % BITS) & 1 == 1)
    }

    /// The places that have a mark here and none there, in order.
    pub(super) fn without<'m>(&'m self, other: &'m Self) -> impl Iterator<Item = u64> + 'm {
        self.0.iter().flat_map(|(word, bits)| {
            let left = bits & !other.0.get(word).copied().unwrap_or_default();
            (0..BITS).filter(move |bit| left >> bit & 1 == 1).map(move |bit| word * BITS + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    #[test]
    fn what_is_marked_here_and_not_there_is_found_in_order() {
        let (mut here, mut there) = (Marks::default(), Marks::default());
        for place in [1, 63, 64, 200, u64::MAX] {
            assert!(here.set(place));
            assert!(!here.set(place));
        }
        there.set(64);
        there.set(65);
        assert!(here.has(200) && !here.has(201) && !here.has(300));
        assert_eq!(here.without(&there).collect::<Vec<_>>(), [1, 63, 200, u64::MAX]);
    }
}
