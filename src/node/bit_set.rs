//! A set of small numbers, such as indices of records or servers.

/// A set of small numbers. The first 64 need no allocation, and the set takes a bit for each number up to its largest.
#[derive(Debug, Clone, Default)]
pub(super) struct BitSet {
    first: u64,
    #[expect(clippy::box_collection, reason = "an empty one takes 8 bytes instead of 24")]
    more: Option<Box<Vec<u64>>>,
}

impl BitSet {
    /// Returns the set of all numbers below `end`.
    pub(super) fn below(end: usize) -> Self {
        let mut set = Self::default();
        for bit in 0..end {
            set.insert(bit);
        }
        set
    }

    /// Adds a number. Returns `true` if it was not in the set.
    pub(super) fn insert(&mut self, bit: usize) -> bool {
        let (word, mask) = self.word(bit);
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    /// Takes a number out of the set. Returns `true` if it was in it.
    pub(super) fn remove(&mut self, bit: usize) -> bool {
        let was_in = self.contains(bit);
        if was_in {
            let (word, mask) = self.word(bit);
            *word &= !mask;
        }
        was_in
    }

    /// Returns `true` if a number is in the set.
    pub(super) fn contains(&self, bit: usize) -> bool {
        let word = match (bit / 64).checked_sub(1) {
            None => Some(&self.first),
            Some(index) => self.more.as_ref().and_then(|more| more.get(index)),
        };
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Returns the smallest number of the set.
    pub(super) fn first(&self) -> Option<usize> {
        let words = std::iter::once(&self.first).chain(self.more.iter().flat_map(|more| more.iter()));
        let (index, word) = words.enumerate().find(|(_, word)| **word != 0)?;
        Some(64 * index + word.trailing_zeros() as usize)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn word(&mut self, bit: usize) -> (&mut u64, u64) {
        let mask = 1 << (bit % 64);
        let Some(index) = (bit / 64).checked_sub(1) else { return (&mut self.first, mask) };
        let more = self.more.get_or_insert_default();
        if more.len() <= index {
            more.resize(index + 1, 0);
        }
        (&mut more[index], mask)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bit_set_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0..300_usize), 0..60)) {
            let (mut bits, mut set) = (BitSet::default(), BTreeSet::new());
            for (is_insertion, number) in steps {
                if is_insertion {
                    prop_assert_eq!(bits.insert(number), set.insert(number));
                } else {
                    prop_assert_eq!(bits.remove(number), set.remove(&number));
                }
                prop_assert_eq!((bits.first(), bits.is_empty()), (set.first().copied(), set.is_empty()));
                prop_assert!((0..320).all(|number| bits.contains(number) == set.contains(&number)));
            }
        }
    }
}
