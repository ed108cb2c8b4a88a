//! Waits for the whole herd: a wait is for one record, and then for the line that carries it.
//!
//! A neighbour acknowledges a line when the servers have the record to which it handed that on. So an acknowledgement may be
//! late, and has to name its line: if it stood for all lines before it, servers in a ring would wait for each other for ever.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::node::RecordId;
use crate::wire::{AtLine, Report};

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
    /// Lines that carry it and are not acknowledged.
    sent: Vec<Sent>,
    /// The last of them carries the version that is held. If it does not, nothing more waits for it: a version must never wait for
    /// an older one, or servers wait for each other.
    is_current: bool,
}

/// A line that carries a record.
#[derive(Debug, Clone)]
struct Sent {
    line: u64,
    report: Arc<Report>,
    /// Those that wait for it.
    places: Vec<u64>,
}

impl ByRecord {
    /// Lets a ticket wait until this record is acknowledged, which the outbox has or has not. Returns `false` if it is, or if the
    /// version that is held never goes this way. `first` is the first place that is not settled.
    pub(super) fn wait(&mut self, record: RecordId, is_queued: bool, place: u64, first: u64) -> bool {
        if is_queued {
            add(&mut self.records.entry(record).or_default().unsent, place, first);
            return true;
        }
        let carried = self.records.get_mut(&record).filter(|carried| carried.is_current);
        let sent = carried.and_then(|carried| carried.sent.last_mut());
        sent.map(|sent| add(&mut sent.places, place, first)).is_some()
    }

    /// Returns `true` if a line carries this version of a record and is not acknowledged.
    pub(super) fn carries(&self, record: RecordId, version: AtLine<'_>) -> bool {
        let carried = self.records.get(&record);
        carried.is_some_and(|carried| carried.sent.iter().any(|sent| sent.report.at().version_cmp(version).is_eq()))
    }

    /// A record has got newer.
    pub(super) fn on_stored(&mut self, record: RecordId) {
        if let Some(carried) = self.records.get_mut(&record) {
            carried.is_current = false;
        }
    }

    /// `first` is the first place that is not settled.
    pub(super) fn on_fresh(&mut self, record: RecordId, goes: Option<&Arc<Report>>, first: u64) {
        let Some(report) = goes else {
            if let Some(carried) = self.records.get_mut(&record) {
                self.settled.extend(carried.unsent.drain(..));
                self.forget_if_empty(record);
            }
            return;
        };
        self.lines += 1;
        let carried = self.records.entry(record).or_default();
        // Nobody asks for an older version any more.
        for sent in &mut carried.sent {
            sent.places.retain(|&place| place >= first);
        }
        for sent in carried.sent.extract_if(.., |sent| sent.places.is_empty()) {
            self.by_line.remove(&sent.line);
        }
        carried.is_current = true;
        let places = std::mem::take(&mut carried.unsent);
        carried.sent.push(Sent { line: self.lines, report: report.clone(), places });
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
                carried.is_current &= carried.sent.last().is_some_and(|last| last.line != line);
                let of_line = carried.sent.extract_if(.., |sent| sent.line == line);
                self.settled.extend(of_line.flat_map(|sent| sent.places));
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
            carried.unsent.into_iter().chain(carried.sent.into_iter().flat_map(|sent| sent.places))
        });
        self.settled.into_iter().chain(places)
    }
}

/// Adds a place. Of a neighbour that takes nothing, those that have waited to the limit must not gather.
fn add(places: &mut Vec<u64>, place: u64, first: u64) {
    if places.len() == places.capacity() {
        places.retain(|&place| place >= first);
    }
    places.push(place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Command, parse};

    #[test]
    fn what_has_waited_to_the_limit_for_a_neighbour_that_takes_nothing_does_not_gather() {
        let (mut link, record) = (ByRecord::default(), RecordId(0));
        for place in 0..1000 {
            assert!(link.wait(record, true, place, place));
        }
        let Command::At(at) = parse(b"AT Clark +0.1 kiwi +34.0-118.0 1") else { panic!("an AT line") };
        link.on_fresh(record, Some(&Arc::new(at.to_report())), 1000);
        for place in 1000..2000 {
            assert!(link.wait(record, false, place, place));
        }
        assert!(link.places().count() < 10);
    }
}
