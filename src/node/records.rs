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

/// Up to so many records are looked for among their tags, all at once, which is faster than a table and needs none.
const FEW: usize = 16;

/// All records of one node.
#[derive(Debug, Clone, Default)]
#[repr(C)]
pub(super) struct Records {
    records: Vec<Record>,
    /// A byte of the hash of each of the first records' clients.
    tags: [u8; FEW],
    /// Where the records of clients are, once there are more than a few; looked up, never walked.
    by_client: Option<Box<HashTable<Entry>>>,
}

/// Where a client's record is. Keeps half of its hash, so that neither growing nor most lookups read the record.
#[derive(Debug, Clone, Copy)]
struct Entry {
    half: u32,
    id: u32,
}

/// Half of a hash as the table wants a hash: it looks at the highest bits and the lowest.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

/// The places of `tag` among `tags`, from the first to the last, and perhaps others behind the first.
fn places(tags: &[u8; FEW], tag: u8) -> impl Iterator<Item = usize> {
    const EACH: u128 = u128::from_ne_bytes([1; FEW]);
    let differences = u128::from_le_bytes(*tags) ^ (EACH * u128::from(tag));
    // The high bit of every byte that is zero, as in "Hacker's Delight", 6-1.
    let mut found = differences.wrapping_sub(EACH) & !differences & (EACH << 7);
    std::iter::from_fn(move || {
        let place = (found != 0).then(|| found.trailing_zeros() as usize / 8)?;
        found &= found - 1;
        Some(place)
    })
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
        if let Some(by_client) = self.by_client.as_ref().filter(|_| self.records.len() > FEW) {
            let half = hash as u32;
            let is_it = |entry: &Entry| entry.half == half && same(&self.records[entry.id as usize]);
            return by_client.find(spread(half), is_it).map(|entry| RecordId(entry.id));
        }
        let is_it = |&place: &usize| self.records.get(place).is_some_and(&same);
        places(&self.tags, hash as u8).find(is_it).map(|place| RecordId(place as u32))
    }

    /// Reads what [`Self::find_shared`] is going to read, without looking at it; something that depends on all of it.
    pub(super) fn touch(&self, report: &Report) -> u64 {
        self.find_hashed(report.client_hash(), |_| true).map_or(0, |id| u64::from(id.0))
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
        if let Some(tag) = self.tags.get_mut(self.records.len()) {
            *tag = record.report.client_hash() as u8;
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
        let entry = Entry { half: self.records[id as usize].report.client_hash() as u32, id };
        let by_client = self.by_client.get_or_insert_default();
        by_client.insert_unique(spread(entry.half), entry, |other| spread(other.half));
    }

    /// Forgets every client, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.records.clear();
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
