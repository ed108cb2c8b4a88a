//! Entries of several processes in one order, each behind what caused it.
//!
//! Not here: how entries arrive ([`super::merge`]).

use std::collections::VecDeque;

use crate::config::Way;
use crate::history::{Entry, Event, Fact};
use crate::time::Timestamp;

/// Entries that wait to be put in order, those of each process in their own order.
#[derive(Debug)]
pub(super) struct Queues {
    waiting: Vec<VecDeque<Entry>>,
    /// Time of the last entry that was taken.
    last: Timestamp,
}

impl Queues {
    pub(super) fn new(processes: usize, started: Timestamp) -> Self {
        Self { waiting: vec![VecDeque::new(); processes], last: started }
    }

    /// Adds a process.
    pub(super) fn add_process(&mut self) {
        self.waiting.push(VecDeque::new());
    }

    /// Adds the next entry of a process.
    pub(super) fn push(&mut self, process: usize, entry: Entry) {
        self.waiting[process].push_back(entry);
    }

    /// Returns the number of entries of each process that wait.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.waiting.iter().map(VecDeque::len).collect()
    }

    /// Returns `true` if no entry waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// Takes entries in their order, each with its process, until as many of each process are taken as `old` says. Everything that
    /// caused one of those must wait here.
    pub(super) fn take(&mut self, mut old: Vec<usize>) -> Vec<(Entry, usize)> {
        let mut taken = Vec::new();
        while old.iter().any(|left| *left > 0) {
            let fronts = self.waiting.iter().enumerate().filter_map(|(index, queue)| Some((queue.front()?.at, index)));
            let Some((_, mut next)) = fronts.min() else { break };
            // A cause may wait behind an entry that has a cause itself, in as many processes as there are.
            for _ in 0..self.waiting.len() {
                match self.cause_of(&self.waiting[next][0]) {
                    Some(cause) if cause != next => next = cause,
                    _ => break,
                }
            }
            let mut entry = self.waiting[next].pop_front().expect("it has a first entry");
            old[next] = old[next].saturating_sub(1);
            self.last = self.last.max(entry.at);
            entry.at = self.last;
            taken.push((entry, next));
        }
        taken
    }

    /// Returns the process of which the cause of an entry still waits.
    fn cause_of(&self, entry: &Entry) -> Option<usize> {
        let Fact::Saw(Event::Heard { server, from: Some(hop), report, .. }) = &entry.fact else { return None };
        let heard = (Way { from: hop.server, to: *server }, hop.connection);
        let is_cause = |entry: &Entry| match &entry.fact {
            Fact::Saw(Event::Sent { way, connection, report: sent }) => {
                (*way, *connection) == heard && sent.line() == report.line()
            }
            _ => false,
        };
        self.waiting.iter().position(|queue| queue.iter().any(is_cause))
    }
}

/// Returns the last entries of the past, at most `last`. One entry before them says how many are left out.
pub(super) fn trimmed(all: Vec<(Entry, usize)>, last: Option<usize>) -> VecDeque<(Entry, Option<usize>)> {
    let mut left_out = 0;
    let mut kept = VecDeque::new();
    for (entry, process) in all {
        match entry.fact {
            Fact::LeftOut { entries } if kept.is_empty() || last.is_some() => left_out += entries,
            _ => kept.push_back((entry, Some(process))),
        }
        if last.is_some_and(|last| kept.len() > last) {
            kept.pop_front();
            left_out += 1;
        }
    }
    if let Some(at) = kept.front().map(|(entry, _)| entry.at).filter(|_| left_out > 0) {
        kept.push_front((Entry { at, step: None, fact: Fact::LeftOut { entries: left_out } }, None));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;
    use crate::history::Hop;
    use crate::history::build::{Builder, line};

    const BONA: ServerId = ServerId(1);
    const CLARK: ServerId = ServerId(3);

    fn entry(at: i64, event: Event) -> Entry {
        Entry { at: Timestamp::from_nanoseconds(at), step: None, fact: Fact::Saw(event) }
    }

    fn sent(at: i64, from: ServerId, to: ServerId, number: u32) -> Entry {
        let report = Builder::report(&line("Clark", "kiwi", number));
        entry(at, Event::Sent { way: Way { from, to }, connection: 1, report })
    }

    fn heard(at: i64, from: ServerId, server: ServerId, number: u32) -> Entry {
        let report = Builder::report(&line("Clark", "kiwi", number));
        let from = Some(Hop { server: from, connection: 1 });
        entry(at, Event::Heard { server, life: 1, from, report, newer: true })
    }

    /// Returns the processes in the order in which their entries come, with the times.
    fn order(processes: [Vec<Entry>; 2], old: Vec<usize>) -> Vec<(i64, usize)> {
        let mut queues = Queues::new(2, Timestamp::EPOCH);
        for (process, entries) in processes.into_iter().enumerate() {
            entries.into_iter().for_each(|entry| queues.push(process, entry));
        }
        let taken = queues.take(old);
        taken.into_iter().map(|(entry, process)| (entry.at.nanoseconds(), process)).collect()
    }

    #[test]
    fn a_line_is_heard_after_it_was_sent_whatever_the_times_say() {
        let clark = || vec![sent(5, CLARK, BONA, 1), sent(9, CLARK, BONA, 2)];
        let bona = vec![heard(9, CLARK, BONA, 1), heard(9, CLARK, BONA, 2)];
        assert_eq!(order([bona, clark()], vec![2, 2]), [(5, 1), (9, 0), (9, 1), (9, 0)]);
        // A clock that is behind.
        let bona = vec![heard(1, CLARK, BONA, 1), heard(2, CLARK, BONA, 2)];
        assert_eq!(order([bona, clark()], vec![2, 2]), [(5, 1), (5, 0), (9, 1), (9, 0)]);
    }

    #[test]
    fn a_cause_behind_another_effect_is_found() {
        let clark = vec![heard(3, BONA, CLARK, 7), sent(4, CLARK, BONA, 1)];
        let bona = vec![sent(8, BONA, CLARK, 7), heard(9, CLARK, BONA, 1)];
        assert_eq!(order([clark, bona], vec![2, 2]), [(8, 1), (8, 0), (8, 0), (9, 1)]);
    }

    #[test]
    fn what_arrived_later_waits_unless_it_comes_before_what_does_not() {
        let clark = vec![sent(1, CLARK, BONA, 1), sent(5, CLARK, BONA, 2)];
        let bona = vec![heard(2, CLARK, BONA, 1), heard(6, CLARK, BONA, 2)];
        assert_eq!(order([bona.clone(), clark.clone()], vec![1, 0]), [(1, 1), (2, 0)]);
        // What was not sent here, or long ago, is not waited for.
        assert_eq!(order([bona, Vec::new()], vec![2, 0]), [(2, 0), (6, 0)]);
        assert_eq!(order([Vec::new(), clark], vec![0, 1]), [(1, 1)]);
    }

    #[test]
    fn the_past_is_cut_to_its_last_entries_and_says_how_many_are_left_out() {
        let gap = Entry { at: Timestamp::EPOCH, step: None, fact: Fact::LeftOut { entries: 3 } };
        let all =
            || vec![(gap.clone(), 0), (sent(1, CLARK, BONA, 1), 0), (gap.clone(), 1), (sent(2, CLARK, BONA, 2), 1)];
        let left_out = |last| match trimmed(all(), last).pop_front() {
            Some((Entry { fact: Fact::LeftOut { entries }, .. }, None)) => entries,
            other => panic!("{other:?}"),
        };
        assert_eq!((left_out(Some(1)), left_out(Some(2)), left_out(None)), (7, 6, 3));
        assert_eq!(trimmed(all(), Some(1)).len(), 2);
        assert!(trimmed(all(), Some(0)).is_empty());
    }
}
