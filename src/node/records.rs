//! What one server knows: the newest report of each client, since when and by which way.

use std::sync::Arc;

use hashbrown::HashTable;

use super::Source;
use crate::time::Timestamp;
use crate::wire::{Report, client_hash};

/// A record of one node, by the order in which its clients were first heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u32);

impl RecordId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a server knows about one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The newest report.
    pub report: Arc<Report>,
    /// When this server got it, by the driver's time.
    pub learned_at: Timestamp,
    /// By which way it came.
    pub source: Source,
}

/// Up to so many records are looked for among their tags, which is faster than a table and needs none.
const FEW: usize = 64;

/// All records of one node.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Records {
    records: Vec<Record>,
    /// A part of the hash of each record's client. 16 of them lie in one cache line.
    tags: Vec<u32>,
    /// Where the records of clients are, once there are more than a few; looked up, never walked.
    by_client: Option<Box<HashTable<Entry>>>,
}

/// Where a client's record is. Keeps its tag, so that neither growing nor most lookups read the record.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    id: u32,
}

fn tag(hash: u64) -> u32 {
    hash as u32
}

/// A tag as the table wants a hash: it looks at the highest bits and the lowest.
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn find(&self, client: &str) -> Option<RecordId> {
        self.find_hashed(client_hash(client), |record| record.report.client() == client)
    }

    /// The record of the client that a report is about.
    #[inline]
    pub(super) fn find_shared(&self, report: &Arc<Report>) -> Option<RecordId> {
        // Most reports come more than once: looking at where they lie spares looking into them.
        let same = |record: &Record| Arc::ptr_eq(&record.report, report) || record.report.client() == report.client();
        self.find_hashed(report.client_hash(), same)
    }

    #[inline]
    fn find_hashed(&self, hash: u64, same: impl Fn(&Record) -> bool) -> Option<RecordId> {
        let tag = tag(hash);
        if let Some(by_client) = self.by_client.as_ref().filter(|_| self.records.len() > FEW) {
            let is_it = |entry: &Entry| entry.tag == tag && same(&self.records[entry.id as usize]);
            return by_client.find(spread(tag), is_it).map(|entry| RecordId(entry.id));
        }
        let mut passed = 0;
        // Two clients with one tag are rare, so the inner search mostly runs once.
        while let Some(place) = self.tags[passed..].iter().position(|&other| other == tag) {
            let place = passed + place;
            if same(&self.records[place]) {
                return Some(RecordId(place as u32));
            }
            passed = place + 1;
        }
        None
    }

    pub(super) fn get(&self, id: RecordId) -> &Record {
        &self.records[id.index()]
    }

    /// Replaces what record `id` says.
    pub(super) fn replace(&mut self, id: RecordId, record: Record) {
        self.records[id.index()] = record;
    }

    /// Adds a client that [`Self::find`] does not know.
    pub(super) fn insert(&mut self, record: Record) -> RecordId {
        let id = self.records.len() as u32;
        if self.records.len() < FEW {
            self.tags.push(tag(record.report.client_hash()));
        }
        self.records.push(record);
        match self.records.len() {
            few if few <= FEW => {}
            few if few == FEW + 1 => (0..=id).for_each(|id| self.index(id)),
            _ => self.index(id),
        }
        RecordId(id)
    }

    /// Enters a record into the table.
    fn index(&mut self, id: u32) {
        let entry = Entry { tag: tag(self.records[id as usize].report.client_hash()), id };
        let by_client = self.by_client.get_or_insert_default();
        by_client.insert_unique(spread(entry.tag), entry, |other| spread(other.tag));
    }

    /// Forgets every client, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.tags.clear();
        if let Some(by_client) = &mut self.by_client {
            by_client.clear();
        }
    }

    /// Every record, by number.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.iter()
    }

    /// All numbers, the record learned last at the end.
    pub(super) fn by_age(&self) -> Vec<RecordId> {
        let mut ids: Vec<_> = (0..self.records.len() as u32).map(RecordId).collect();
        ids.sort_by_key(|&id| self.get(id).learned_at);
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PosixTime;

    #[test]
    fn every_client_is_found_whether_there_are_few_or_many() {
        let mut records = Records::default();
        for round in 0..2 {
            for number in 0..100_u32 {
                let client = format!("client-{number}");
                assert_eq!(records.find(&client), None, "round {round}");
                let (learned_at, time) = (Timestamp::EPOCH, PosixTime { seconds: 1, nanoseconds: 0 });
                let report = Report::of_iamat("s", learned_at, &client, "+1-1", "1", time).into();
                let id = records.insert(Record { report, learned_at, source: Source::Client });
                assert_eq!((id, records.find(&client)), (RecordId(number), Some(id)));
                assert_eq!(records.find("client-0"), Some(RecordId(0)));
            }
            records.clear();
        }
    }
}
