//! The last entries of a live herd, kept for commands that ask later.

use std::collections::VecDeque;

use crate::history::{Entry, Fact};

/// Most entries that a herd keeps.
pub const KEPT: usize = 1000;

/// The last [`KEPT`] entries. The oldest one is dropped when another one comes, and counted.
#[derive(Debug, Default)]
pub struct Recent {
    entries: VecDeque<Entry>,
    dropped: u64,
}

impl Recent {
    /// Keeps another entry.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
    }

    /// Returns the last entries, at most `limit`, in order. An entry before them says how many are left out.
    pub fn last(&self, limit: Option<usize>) -> Vec<Entry> {
        let skipped = limit.map_or(0, |limit| self.entries.len().saturating_sub(limit));
        let left_out = self.dropped + skipped as u64;
        let first = self.entries.get(skipped).or(self.entries.back());
        let before = first.filter(|_| left_out > 0).map(|first| gap(first, left_out));
        before.into_iter().chain(self.entries.iter().skip(skipped).cloned()).collect()
    }
}

/// Returns the entry that stands for missing ones before `next`.
pub fn gap(next: &Entry, entries: u64) -> Entry {
    Entry { at: next.at, step: None, fact: Fact::LeftOut { entries } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn entries_that_are_dropped_or_not_asked_for_are_counted() {
        let mut recent = Recent::default();
        assert_eq!(recent.last(None), []);
        for second in 0..KEPT as i64 + 5 {
            let at = Timestamp::from_nanoseconds(second);
            recent.push(Entry { at, step: None, fact: Fact::Quiescent(true) });
        }
        let all = recent.last(None);
        assert_eq!((all.len(), &all[0].fact), (KEPT + 1, &Fact::LeftOut { entries: 5 }));
        let few = recent.last(Some(2));
        assert_eq!((few.len(), &few[0].fact), (3, &Fact::LeftOut { entries: KEPT as u64 + 3 }));
        assert_eq!(recent.last(Some(0)).len(), 1);
    }
}
