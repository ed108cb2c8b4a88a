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

/// All records of one node.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// Looked up, never walked.
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
        let entry = Entry { hash: self.hash(record.report.client()), id: self.records.len() as u32 };
        self.by_client.insert_unique(spread(entry.hash), entry, |other| spread(other.hash));
        self.records.push(record);
        RecordId(entry.id)
    }

    fn hash(&self, client: &str) -> u32 {
        self.hashes.hash_one(client) as u32
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
