//! Waits for the whole herd: a wait is for one record, and then for the line that carries it.
//!
//! A neighbour acknowledges a line when the servers have the record to which it handed that on. So an acknowledgement may be
//! late, and has to name its line: if it stood for all lines before it, servers in a ring would wait for each other for ever.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use crate::node::RecordId;

/// What is under way on one link.
#[derive(Debug, Clone, Default)]
pub(super) struct ByRecord {
    /// Lines handed to the connection.
    lines: u64,
    records: BTreeMap<RecordId, Carried>,
    /// Which record a line carries that is not acknowledged.
    by_line: BTreeMap<u64, RecordId>,
    settled: VecDeque<u64>,
}

/// Waits for one record, by their place among all tickets.
#[derive(Debug, Clone, Default)]
struct Carried {
    /// Those for which the outbox has the record.
    unsent: Vec<u64>,
    /// Lines that carry it and are not acknowledged, with those that wait for each.
    sent: Vec<(u64, Vec<u64>)>,
    /// The last of them carries the version that is held. If it does not, nothing more waits for it: a version must never wait for
    /// an older one, or servers wait for each other.
    is_current: bool,
}

impl ByRecord {
    /// Lets a ticket wait until this record is acknowledged, which the outbox has or has not. Returns `false` if it is, or if the
    /// version that is held never goes this way.
    pub(super) fn wait(&mut self, record: RecordId, is_queued: bool, place: u64) -> bool {
        if is_queued {
            self.records.entry(record).or_default().unsent.push(place);
            return true;
        }
        let carried = self.records.get_mut(&record).filter(|carried| carried.is_current);
        let sent = carried.and_then(|carried| carried.sent.last_mut());
        sent.map(|(_, places)| places.push(place)).is_some()
    }

    /// A record has got newer.
    pub(super) fn on_stored(&mut self, record: RecordId) {
        if let Some(carried) = self.records.get_mut(&record) {
            carried.is_current = false;
        }
    }

    /// `first` is the first place that is not settled.
    pub(super) fn on_fresh(&mut self, record: RecordId, goes: bool, first: u64) {
        if !goes {
            if let Some(carried) = self.records.get_mut(&record) {
                self.settled.extend(carried.unsent.drain(..));
                self.forget_if_empty(record);
            }
            return;
        }
        self.lines += 1;
        let carried = self.records.entry(record).or_default();
        // Nobody asks for an older version any more.
        for (_, places) in &mut carried.sent {
            places.retain(|&place| place >= first);
        }
        for (line, _) in carried.sent.extract_if(.., |(_, places)| places.is_empty()) {
            self.by_line.remove(&line);
        }
        carried.is_current = true;
        carried.sent.push((self.lines, std::mem::take(&mut carried.unsent)));
        self.by_line.insert(self.lines, record);
    }

    pub(super) fn on_other(&mut self) {
        self.lines += 1;
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn on_taken(&mut self, lines: RangeInclusive<u64>) {
        let taken: Vec<_> = self.by_line.extract_if(lines, |_, _| true).collect();
        for (line, record) in taken {
            if let Some(carried) = self.records.get_mut(&record) {
                carried.is_current &= carried.sent.last().is_some_and(|&(last, _)| last != line);
                let of_line = carried.sent.extract_if(.., |&mut (sent, _)| sent == line);
                self.settled.extend(of_line.flat_map(|(_, places)| places));
                self.forget_if_empty(record);
            }
        }
    }

    fn forget_if_empty(&mut self, record: RecordId) {
        if self.records.get(&record).is_some_and(|carried| carried.unsent.is_empty() && carried.sent.is_empty()) {
            self.records.remove(&record);
        }
    }

    /// Takes a place that waits no longer.
    pub(super) fn settled(&mut self) -> Option<u64> {
        self.settled.pop_front()
    }

    /// Returns all places that wait.
    pub(super) fn places(self) -> impl Iterator<Item = u64> {
        let carried = self.records.into_values();
        let places = carried.flat_map(|carried| {
            carried.unsent.into_iter().chain(carried.sent.into_iter().flat_map(|(_, places)| places))
        });
        self.settled.into_iter().chain(places)
    }
}
