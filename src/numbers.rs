//! A set of numbers that mostly follow each other.

use std::ops::RangeInclusive;

use smallvec::SmallVec;

/// A set of numbers, kept as ranges. Numbers of one range need no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// In order. Between two of them at least one number is missing.
    ranges: SmallVec<[(u64, u64); 1]>,
}

impl Numbers {
    /// Returns `true` if the set has no number.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a range of numbers. One that ends before it begins adds nothing.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (first, last) = range.into_inner();
        if first > last {
            return;
        }
        // Mostly it goes on where the last range ends.
        match self.ranges.last_mut() {
            Some((begin, end)) if *begin <= first && first <= end.saturating_add(1) => *end = last.max(*end),
            Some((_, end)) if *end >= first => self.insert_between(first, last),
            _ => self.ranges.push((first, last)),
        }
    }

    /// Adds a range that begins before the last one does.
    fn insert_between(&mut self, first: u64, last: u64) {
        let begin = self.ranges.partition_point(|&(_, end)| end < first.saturating_sub(1));
        let end = begin + self.ranges[begin..].partition_point(|&(start, _)| start <= last.saturating_add(1));
        let touched = &self.ranges[begin..end];
        let first = touched.first().map_or(first, |&(start, _)| start.min(first));
        let last = touched.last().map_or(last, |&(_, end)| end.max(last));
        self.ranges.drain(begin..end);
        self.ranges.insert(begin, (first, last));
    }

    /// Takes out the lowest range if it begins at `first`. Returns its last number.
    pub fn take_from(&mut self, first: u64) -> Option<u64> {
        let &(_, last) = self.ranges.first().filter(|&&(start, _)| start == first)?;
        self.ranges.remove(0);
        Some(last)
    }

    /// Takes out all ranges, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.ranges.drain(..).map(|(first, last)| first..=last)
    }

    /// Returns the ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.ranges.iter().map(|&(first, last)| first..=last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_range_is_taken_only_where_it_begins() {
        let mut numbers = Numbers::default();
        numbers.insert(3..=4);
        numbers.insert(1..=1);
        assert_eq!((numbers.take_from(2), numbers.take_from(1)), (None, Some(1)));
        numbers.insert(2..=2);
        assert_eq!((numbers.take_from(2), numbers.is_empty()), (Some(4), true));
        numbers.insert(u64::MAX..=u64::MAX);
        numbers.insert(0..=0);
        assert_eq!(numbers.ranges().collect::<Vec<_>>(), [0..=0, u64::MAX..=u64::MAX]);
    }

    proptest! {
        #[test]
        fn ranges_are_a_set_in_as_few_pieces_as_can_be(added in proptest::collection::vec((0..40_u64, 0..6_u64), 0..30)) {
            let (mut numbers, mut set) = (Numbers::default(), BTreeSet::new());
            for (first, length) in added {
                let last = (first + length).wrapping_sub(1);
                if length > 0 {
                    numbers.insert(first..=last);
                    set.extend(first..=last);
                }
            }
            prop_assert!(numbers.ranges().flatten().eq(set.iter().copied()));
            let pieces = set.iter().filter(|&&number| number == 0 || !set.contains(&(number - 1))).count();
            prop_assert_eq!(numbers.ranges().count(), pieces);
        }
    }
}
