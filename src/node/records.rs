//! What one server knows: the newest report of each client, since when and by which way.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::Source;
use crate::time::Timestamp;
use crate::wire::Report;

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

/// Up to so many records are looked through one by one, which is faster than a table and needs none.
const FEW: usize = 8;

/// All records of one node.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// Where the records of clients are, once there are more than a few; looked up, never walked.
    by_client: HashTable<Entry>,
    hashes: DefaultHashBuilder,
}

/// Where a client's record is. Keeps the hash of its client, so that neither growing nor most lookups read the record.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    id: u32,
}

/// A hash as the table wants it: it looks at the highest bits and the lowest.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn find(&self, client: &str) -> Option<RecordId> {
        if self.records.len() <= FEW {
            let place = self.records.iter().position(|record| record.report.client() == client)?;
            return Some(RecordId(place as u32));
        }
        let hash = self.hash(client);
        let same = |entry: &Entry| entry.hash == hash && self.records[entry.id as usize].report.client() == client;
        self.by_client.find(spread(hash), same).map(|entry| RecordId(entry.id))
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
        let entry = Entry { hash: self.hash(self.records[id as usize].report.client()), id };
        self.by_client.insert_unique(spread(entry.hash), entry, |other| spread(other.hash));
    }

    fn hash(&self, client: &str) -> u32 {
        self.hashes.hash_one(client) as u32
    }

    /// Forgets every client, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.by_client.clear();
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
