//! What one link still owes its neighbour, newest version of each client only.
//!
//! A queue of record numbers, not of lines: a line is made when it is written, so a newer version replaces an unsent one
//! in its place. Not here: whether a record is worth sending, which the node decides when it takes it out.

use std::collections::VecDeque;

use super::bit_set::BitSet;
use super::records::RecordId;

/// The records one link owes, in the order in which they leave: what is fresh first, then what is replayed.
///
/// Bounded without a limit of its own: a record is queued at most once as fresh and once as replayed, so a link never holds
/// more than twice the records of its node, and two full pipes that face each other cannot dead-lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    /// The fresh record that leaves first, which is mostly the only one: it takes no more memory than this.
    first: Option<RecordId>,
    /// Everything behind it. There are many links, and most of them never owe two records.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Clone, Default)]
struct Rest {
    fresh: VecDeque<RecordId>,
    /// What is in `fresh`.
    queued: BitSet,
    /// Taken from the end.
    replay: Vec<RecordId>,
}

/// A record taken from an [`Outbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    /// It got newer while the link was up.
    Fresh(RecordId),
    /// It was known when the link came up.
    Replayed(RecordId),
}

impl Owed {
    /// Returns which record it is.
    #[inline]
    pub(crate) fn record(self) -> RecordId {
        let (Self::Fresh(record) | Self::Replayed(record)) = self;
        record
    }
}

impl Outbox {
    /// Owes a record that got newer; keeps its place when it waits already.
    #[inline]
    pub(crate) fn push(&mut self, record: RecordId) {
        match self.first {
            None => self.first = Some(record),
            Some(first) if first == record => {}
            Some(_) => self.rest.get_or_insert_default().push(record),
        }
    }

    /// Owes `records`, behind everything fresh and before what is replayed already; the last one leaves first.
    pub(crate) fn replay(&mut self, mut records: Vec<RecordId>) {
        if records.is_empty() {
            return;
        }
        let replay = &mut self.rest.get_or_insert_default().replay;
        if replay.is_empty() {
            *replay = records;
            return;
        }
        let mut waiting = BitSet::default();
        for record in replay.iter() {
            waiting.insert(record.index());
        }
        records.retain(|record| waiting.insert(record.index()));
        replay.append(&mut records);
    }

    /// Takes the next record.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Owed> {
        let rest = self.rest.as_mut();
        if let Some(first) = self.first.take() {
            self.first = rest.and_then(|rest| rest.pop());
            return Some(Owed::Fresh(first));
        }
        rest?.replay.pop().map(Owed::Replayed)
    }

    /// Whether nothing is owed.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many records wait that are fresh.
    pub(crate) fn fresh(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.fresh.len())
    }

    /// Returns `true` if a record waits that is fresh.
    pub(crate) fn owes(&self, record: RecordId) -> bool {
        self.first == Some(record) || self.rest.as_ref().is_some_and(|rest| rest.queued.contains(record.index()))
    }

    /// How many records wait.
    pub(crate) fn len(&self) -> usize {
        self.fresh() + self.rest.as_ref().map_or(0, |rest| rest.replay.len())
    }

    /// Owes nothing any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Rest {
    fn push(&mut self, record: RecordId) {
        if self.queued.insert(record.index()) {
            self.fresh.push_back(record);
        }
    }

    fn pop(&mut self) -> Option<RecordId> {
        let record = self.fresh.pop_front()?;
        self.queued.remove(record.index());
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_waits_keeps_its_place_and_is_not_queued_twice() {
        let mut outbox = Outbox::default();
        for record in [1, 200, 1] {
            outbox.push(RecordId(record));
        }
        assert_eq!(outbox.len(), 2);
        assert_eq!(outbox.pop(), Some(Owed::Fresh(RecordId(1))));
        outbox.push(RecordId(1));
        assert!(outbox.owes(RecordId(1)) && outbox.owes(RecordId(200)));
        assert_eq!(outbox.pop(), Some(Owed::Fresh(RecordId(200))));
        assert_eq!(outbox.pop(), Some(Owed::Fresh(RecordId(1))));
        assert!(!outbox.owes(RecordId(1)) && !outbox.owes(RecordId(200)));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn fresh_records_leave_before_replayed_ones() {
        let mut outbox = Outbox::default();
        outbox.replay(vec![RecordId(0), RecordId(1)]);
        outbox.push(RecordId(2));
        let order = std::iter::from_fn(|| outbox.pop()).collect::<Vec<_>>();
        assert_eq!(order, [Owed::Fresh(RecordId(2)), Owed::Replayed(RecordId(1)), Owed::Replayed(RecordId(0))]);
    }

    #[test]
    fn a_record_is_replayed_once_however_often_it_is_asked_for() {
        let mut outbox = Outbox::default();
        outbox.replay(vec![RecordId(0), RecordId(1)]);
        outbox.replay(vec![RecordId(1), RecordId(2)]);
        let order = std::iter::from_fn(|| outbox.pop()).collect::<Vec<_>>();
        assert_eq!(order, [2, 1, 0].map(|record| Owed::Replayed(RecordId(record))));
    }
}
