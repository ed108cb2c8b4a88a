//! What will happen, in order of time; what is due at one time in the order in which it was queued.
//!
//! Not here: what an entry means to the herd ([`super`]). Two orders give the same sequence: a heap, which is simple, and a
//! timing wheel, which is fast; its ticks are long in small herds, so that it fits into the nearest cache, and short in big
//! ones. Unbounded by itself: every entry belongs to a line of a bounded window, to one connection, one deadline or one
//! command of a client.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::time::Timestamp;
use crate::wire::Report;

/// Something that is due.
#[derive(Debug, Clone)]
pub(super) enum Due {
    /// A line reaches the far end of a pipe, unless the lines of its connection are lost by then.
    Line {
        /// The line.
        report: Arc<Report>,
        /// By its place among all pipes.
        pipe: u32,
        /// The connection that it takes.
        connection: u32,
    },
    /// Anything else; who is meant by it decides when it comes whether it still means anything.
    Timer(Timer),
}

/// What is due besides lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The dial of this pipe ends.
    Dial(u32),
    /// The writer of this pipe learns that the far end is gone.
    Notice(u32),
    /// The end of a connection reaches the reader of a pipe, behind its lines.
    End {
        /// By its place among all pipes.
        pipe: u32,
        /// The lower half of the pipe's losses when the connection ended.
        losses: u16,
    },
    /// The dial for a line of this per-message pipe ends.
    Message(u32),
    /// The deadline of this server's node.
    Wake(u32),
    /// The next answer on this client's session.
    Answered(u32),
    /// The control line in this slot reaches the far end of its pipe, like a [`Due::Line`].
    Control(u32),
    /// The writer of this pipe learns how many of its lines were taken.
    Taken(u32),
    /// This server has replies that wait no longer.
    Settled(u32),
    /// The writer of this pipe has read what arrived at one time, and writes.
    Pull(u32),
}

/// How entries are kept in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueKind {
    /// A timing wheel that fits the size of the herd.
    #[default]
    Auto,
    /// A heap.
    Heap,
    /// The timing wheel of big herds.
    Wheel,
}

/// From this many servers on the wheel of big herds is faster.
const MANY_SERVERS: usize = 200;

/// Everything that is due.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    order: Order,
    /// Entries queued so far.
    sequence: u64,
}

#[derive(Debug, Clone)]
enum Order {
    Heap(Heap),
    Wheel(Box<Wheel>),
}

impl Queue {
    pub(super) fn new(kind: QueueKind, servers: usize) -> Self {
        let order = match kind {
            QueueKind::Heap => Order::Heap(Heap::default()),
            QueueKind::Auto if servers < MANY_SERVERS => Order::Wheel(Box::new(Wheel::new(FEW_TICKS))),
            QueueKind::Auto | QueueKind::Wheel => Order::Wheel(Box::new(Wheel::new(MANY_TICKS))),
        };
        Self { order, sequence: 0 }
    }

    /// Queues `due`, behind everything queued for the same time.
    #[inline]
    pub(super) fn push(&mut self, at: Timestamp, due: Due) {
        self.sequence += 1;
        match &mut self.order {
            Order::Heap(heap) => heap.push(Ranked { entry: Entry { at, due }, sequence: self.sequence }),
            Order::Wheel(wheel) => wheel.push(Entry { at, due }, self.sequence),
        }
    }

    /// Takes what is due next, if that is at or before `limit`.
    #[inline]
    pub(super) fn pop_until(&mut self, limit: Timestamp) -> Option<(Timestamp, Due)> {
        let Entry { at, due } = match &mut self.order {
            Order::Heap(heap) => heap.pop_until(limit),
            Order::Wheel(wheel) => wheel.pop_until(limit),
        }?;
        Some((at, due))
    }

    /// Returns `true` if something is due at or before this time.
    #[inline]
    pub(super) fn is_due(&self, at: Timestamp) -> bool {
        let next = match &self.order {
            Order::Heap(heap) => heap.next_at(),
            // What is in no list yet comes in a later tick than the present one.
            Order::Wheel(wheel) => {
                wheel.near.front().map(|entry| entry.at).into_iter().chain(wheel.late.next_at()).min()
            }
        };
        next.is_some_and(|next| next <= at)
    }

    /// The lines among what is due next, and their pipes, as far as that is at hand.
    pub(super) fn near_lines(&self) -> impl Iterator<Item = (&Arc<Report>, u32)> {
        let near = match &self.order {
            Order::Heap(_) => None,
            Order::Wheel(wheel) => Some(wheel.near.iter()),
        };
        near.into_iter().flatten().filter_map(|entry| match &entry.due {
            Due::Line { report, pipe, .. } => Some((report, *pipe)),
            Due::Timer(_) => None,
        })
    }

    /// Takes everything out that `is_wanted`, in order. Looks at every entry.
    pub(super) fn take(&mut self, mut is_wanted: impl FnMut(&Due) -> bool) -> Vec<Due> {
        let mut taken = Vec::new();
        match &mut self.order {
            Order::Heap(heap) => heap.take(&mut is_wanted, &mut taken),
            Order::Wheel(wheel) => wheel.take(&mut is_wanted, &mut taken),
        }
        // Stable, so that what is due at one time keeps its order.
        taken.sort_by_key(|entry| entry.at);
        taken.into_iter().map(|entry| entry.due).collect()
    }

    /// Forgets everything, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.sequence = 0;
        match &mut self.order {
            Order::Heap(heap) => heap.ranked.clear(),
            Order::Wheel(wheel) => wheel.clear(),
        }
    }
}

/// Something that is due, and when.
#[derive(Debug, Clone)]
struct Entry {
    at: Timestamp,
    due: Due,
}

/// An entry that knows its place among those of its time.
#[derive(Debug, Clone)]
struct Ranked {
    entry: Entry,
    sequence: u64,
}

impl Ranked {
    fn comes_before(&self, other: &Self) -> bool {
        self.entry.at.cmp(&other.entry.at).then(self.sequence.cmp(&other.sequence)) == Ordering::Less
    }
}

/// A heap in which every entry has four children: half as deep as a binary one.
#[derive(Debug, Clone, Default)]
struct Heap {
    ranked: Vec<Ranked>,
}

impl Heap {
    fn push(&mut self, ranked: Ranked) {
        let mut place = self.ranked.len();
        self.ranked.push(ranked);
        while place > 0 {
            let parent = (place - 1) / 4;
            if !self.ranked[place].comes_before(&self.ranked[parent]) {
                break;
            }
            self.ranked.swap(place, parent);
            place = parent;
        }
    }

    /// Moves all that `is_wanted` to the end of `taken`, in the order in which it was queued.
    fn take(&mut self, is_wanted: &mut impl FnMut(&Due) -> bool, taken: &mut Vec<Entry>) {
        let (mut wanted, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ranked).into_iter().partition(|ranked| is_wanted(&ranked.entry.due));
        rest.into_iter().for_each(|ranked| self.push(ranked));
        wanted.sort_by_key(|ranked| ranked.sequence);
        taken.extend(wanted.into_iter().map(|ranked| ranked.entry));
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.ranked.first().map(|ranked| ranked.entry.at)
    }

    fn pop_until(&mut self, limit: Timestamp) -> Option<Entry> {
        self.next_at().filter(|&at| at <= limit)?;
        self.pop()
    }

    fn pop(&mut self) -> Option<Entry> {
        if self.ranked.is_empty() {
            return None;
        }
        let first = self.ranked.swap_remove(0);
        let mut place = 0;
        while let Some(child) = self.least_child(place) {
            if !self.ranked[child].comes_before(&self.ranked[place]) {
                break;
            }
            self.ranked.swap(place, child);
            place = child;
        }
        Some(first.entry)
    }

    fn least_child(&self, parent: usize) -> Option<usize> {
        let first = 4 * parent + 1;
        let last = (first + 4).min(self.ranked.len());
        (first..last)
            .reduce(|least, child| if self.ranked[child].comes_before(&self.ranked[least]) { child } else { least })
    }
}

/// How time is cut into ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    /// A tick lasts two to the power of this many nanoseconds.
    bits: u32,
    /// How many ticks the wheel has: a power of two, at least 64.
    count: usize,
}

/// One turn takes 16.8 ms, as in the wheel of big herds, so that links of up to that latency need no heap.
const FEW_TICKS: Ticks = Ticks { bits: 18, count: 64 };
const MANY_TICKS: Ticks = Ticks { bits: 12, count: 4_096 };

/// A timing wheel. What is due in one of the ticks of the coming turn lies in the list of that tick, in the order in which it
/// was queued; sorting by time, stably, is then enough when the tick comes.
#[derive(Debug, Clone)]
struct Wheel {
    ticks: Ticks,
    present: u64,
    /// What is due up to the present tick, in order.
    near: VecDeque<Entry>,
    /// What was queued for the present tick too late to go behind all of `near`. Of one time, it comes after that.
    late: Heap,
    /// By tick, modulo the turn.
    lists: Vec<Vec<Entry>>,
    /// Which lists are not empty.
    used: BitMap,
    /// Everything from one turn after the present tick.
    far: Heap,
}

impl Wheel {
    fn new(ticks: Ticks) -> Self {
        Self {
            ticks,
            present: 0,
            near: VecDeque::new(),
            late: Heap::default(),
            lists: std::iter::repeat_with(Vec::new).take(ticks.count).collect(),
            used: BitMap::new(ticks.count),
            far: Heap::default(),
        }
    }

    fn tick(&self, at: Timestamp) -> u64 {
        // Biased, so that times before the epoch come before those after it.
        (at.nanoseconds() as u64 ^ 1 << 63) >> self.ticks.bits
    }

    fn place(&self, tick: u64) -> usize {
        tick as usize & (self.ticks.count - 1)
    }

    #[inline]
    fn push(&mut self, entry: Entry, sequence: u64) {
        let tick = self.tick(entry.at);
        if tick <= self.present {
            self.push_near(entry, sequence);
        } else if tick - self.present < self.ticks.count as u64 {
            self.enlist(entry, tick);
        } else {
            self.far.push(Ranked { entry, sequence });
        }
    }

    #[inline]
    fn push_near(&mut self, entry: Entry, sequence: u64) {
        if self.near.back().is_none_or(|last| last.at <= entry.at) && self.late.ranked.is_empty() {
            self.near.push_back(entry);
        } else {
            self.late.push(Ranked { entry, sequence });
        }
    }

    #[inline]
    fn enlist(&mut self, entry: Entry, tick: u64) {
        let place = self.place(tick);
        self.lists[place].push(entry);
        self.used.insert(place);
    }

    #[inline]
    fn pop_until(&mut self, limit: Timestamp) -> Option<Entry> {
        if self.near.is_empty() && self.late.ranked.is_empty() {
            self.advance();
        }
        match (self.near.front(), self.late.next_at()) {
            (Some(first), late) if late.is_none_or(|late| first.at <= late) => {
                self.near.pop_front_if(|first| first.at <= limit)
            }
            _ => self.late.pop_until(limit),
        }
    }

    /// Goes on to the next tick for which something is queued.
    fn advance(&mut self) {
        let place = self.place(self.present);
        match (self.used.next_after(place), self.far.next_at()) {
            // What is far comes later than a whole turn.
            (Some(next), _) => self.present += self.place((next + self.ticks.count - place - 1) as u64) as u64 + 1,
            (None, Some(at)) => self.present = self.tick(at),
            (None, None) => return,
        }
        self.take_list();
        let end = self.present + self.ticks.count as u64;
        while self.far.next_at().is_some_and(|at| self.tick(at) < end) {
            let entry = self.far.pop().expect("it was just seen");
            let tick = self.tick(entry.at);
            if tick <= self.present { self.near.push_back(entry) } else { self.enlist(entry, tick) }
        }
    }

    /// What is due in the present tick comes near.
    fn take_list(&mut self) {
        let place = self.place(self.present);
        let list = &mut self.lists[place];
        if list.len() > 1 {
            list.sort_by_key(|entry| entry.at);
        }
        self.near.extend(list.drain(..));
        self.used.remove(place);
    }

    /// Moves all that `is_wanted` to the end of `taken`; what is due at one time in the order in which it was queued.
    fn take(&mut self, is_wanted: &mut impl FnMut(&Due) -> bool, taken: &mut Vec<Entry>) {
        let (near, rest) = std::mem::take(&mut self.near).into_iter().partition(|entry| is_wanted(&entry.due));
        let near: VecDeque<Entry> = near;
        self.near = rest;
        taken.extend(near);
        self.late.take(is_wanted, taken);
        for place in 0..self.lists.len() {
            taken.extend(self.lists[place].extract_if(.., |entry| is_wanted(&entry.due)));
            if self.lists[place].is_empty() {
                self.used.remove(place);
            }
        }
        self.far.take(is_wanted, taken);
    }

    fn clear(&mut self) {
        self.near.clear();
        self.late.ranked.clear();
        self.far.ranked.clear();
        while let Some(place) = self.used.next_after(0) {
            self.lists[place].clear();
            self.used.remove(place);
        }
        self.present = 0;
    }
}

/// Which places of a wheel are used, in two levels: a bit a place, and a bit for 64 of those.
#[derive(Debug, Clone)]
struct BitMap {
    words: Vec<u64>,
    summary: Vec<u64>,
}

impl BitMap {
    fn new(places: usize) -> Self {
        let words = places.div_ceil(64);
        Self { words: vec![0; words], summary: vec![0; words.div_ceil(64)] }
    }

    fn insert(&mut self, place: usize) {
        self.words[place / 64] |= 1 << (place % 64);
        self.summary[place / 4096] |= 1 << (place / 64 % 64);
    }

    fn remove(&mut self, place: usize) {
        self.words[place / 64] &= !(1 << (place % 64));
        if self.words[place / 64] == 0 {
            self.summary[place / 4096] &= !(1 << (place / 64 % 64));
        }
    }

    /// The first used place after `place`, from the beginning again after the end, `place` itself last.
    fn next_after(&self, place: usize) -> Option<usize> {
        self.first_from(place + 1).or_else(|| self.first_from(0))
    }

    fn first_from(&self, place: usize) -> Option<usize> {
        let word = place / 64;
        let in_word = self.words.get(word)? >> (place % 64);
        if in_word != 0 {
            return Some(place + in_word.trailing_zeros() as usize);
        }
        let word = self.first_word_from(word + 1)?;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }

    fn first_word_from(&self, word: usize) -> Option<usize> {
        let mut group = word / 64;
        let mut bits = self.summary.get(group)? >> (word % 64) << (word % 64);
        while bits == 0 {
            group += 1;
            bits = *self.summary.get(group)?;
        }
        Some(group * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn marker(number: u32) -> Due {
        Due::Timer(Timer::Wake(number))
    }

    fn number(due: &Due) -> u32 {
        match due {
            Due::Timer(Timer::Wake(number)) => *number,
            other => panic!("{other:?}"),
        }
    }

    /// Queues and takes as told, and gives what came out: `Some(delay)` queues, `None` takes.
    fn sequence(kind: QueueKind, script: &[Option<u64>]) -> Vec<(Timestamp, u32)> {
        let (mut queue, mut now, mut taken) = (Queue::new(kind, 0), Timestamp::EPOCH, Vec::new());
        for (step, delay) in (0..).zip(script) {
            match delay {
                Some(delay) => queue.push(now + Duration::from_nanos(*delay), marker(step)),
                None => taken.extend(queue.pop_until(Timestamp::MAX).map(|(at, due)| {
                    now = at;
                    (at, number(&due))
                })),
            }
        }
        taken.extend(std::iter::from_fn(|| queue.pop_until(Timestamp::MAX)).map(|(at, due)| (at, number(&due))));
        taken
    }

    fn delays() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![
            Just(Some(0)),
            (0..5_000_u64).prop_map(Some),
            (0..40_000_000_u64).prop_map(Some),
            (0..4_000_000_000_u64).prop_map(Some),
            Just(None),
            Just(None),
        ]
    }

    proptest! {
        #[test]
        fn heap_and_wheel_give_the_order_of_a_sort(script in prop::collection::vec(delays(), 0..200)) {
            let taken = sequence(QueueKind::Heap, &script);
            prop_assert_eq!(&taken, &sequence(QueueKind::Wheel, &script));
            prop_assert_eq!(taken.len(), script.iter().flatten().count());
            // Nothing is queued for the past, so the whole sequence is in order of time, then of queueing.
            prop_assert!(taken.is_sorted());
        }
    }

    #[test]
    fn nothing_is_taken_that_is_due_after_the_limit() {
        for kind in [QueueKind::Heap, QueueKind::Wheel] {
            let mut queue = Queue::new(kind, 0);
            let at = |milliseconds| Timestamp::EPOCH + Duration::from_millis(milliseconds);
            queue.push(at(20), marker(20));
            assert!(queue.pop_until(at(19)).is_none());
            queue.push(at(5), marker(5));
            assert_eq!(queue.pop_until(at(19)).map(|(_, due)| number(&due)), Some(5));
            assert_eq!(queue.pop_until(at(20)).map(|(_, due)| number(&due)), Some(20));
        }
    }

    #[test]
    fn what_is_taken_out_comes_in_order_and_the_rest_stays() {
        for kind in [QueueKind::Heap, QueueKind::Wheel] {
            let mut queue = Queue::new(kind, 0);
            let at = |delay| Timestamp::EPOCH + Duration::from_nanos(delay);
            let delays = [0, 0, 5, 40_000_000, 3_000_000, 3_000_000, 90_000_000, 5];
            for (number, delay) in (0..).zip(delays) {
                queue.push(at(delay), marker(number));
            }
            assert_eq!(queue.pop_until(at(0)).map(|(_, due)| number(&due)), Some(0));
            let odd: Vec<_> = queue.take(|due| number(due) % 2 == 1).iter().map(number).collect();
            let rest = std::iter::from_fn(|| queue.pop_until(Timestamp::MAX)).map(|(_, due)| number(&due));
            assert_eq!((odd, rest.collect::<Vec<_>>()), (vec![1, 7, 5, 3], vec![2, 4, 6]));
        }
    }

    #[test]
    fn a_cleared_queue_starts_again() {
        for kind in [QueueKind::Heap, QueueKind::Wheel] {
            let mut queue = Queue::new(kind, 0);
            for delay in [0, 3_000_000, 90_000_000] {
                queue.push(Timestamp::EPOCH + Duration::from_nanos(delay), marker(1));
            }
            queue.clear();
            assert!(queue.pop_until(Timestamp::MAX).is_none());
            queue.push(Timestamp::EPOCH, marker(2));
            assert_eq!(queue.pop_until(Timestamp::MAX).map(|(_, due)| number(&due)), Some(2));
        }
    }

    #[test]
    fn an_entry_takes_sixteen_bytes() {
        assert_eq!(std::mem::size_of::<Due>(), 16);
    }
}
