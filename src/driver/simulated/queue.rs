//! What will happen, in order of time; what is due at one time in the order in which it was queued.
//!
//! Not here: what an entry means to the herd ([`super`]). Two orders give the same sequence: a heap, which wins while few
//! entries wait, and a timing wheel, which wins in big herds. Unbounded by itself: every entry belongs to a line of a bounded
//! window, to one connection, one deadline or one command of a client.

use std::sync::Arc;

use crate::time::Timestamp;
use crate::wire::Report;

/// Something that is due.
#[derive(Debug)]
pub(super) enum Due {
    /// A line reaches the far end of a pipe, unless the pipe's epoch is another by then.
    Line {
        /// The line.
        report: Arc<Report>,
        /// By its place among all pipes.
        pipe: u32,
        /// That of the pipe when the line left.
        epoch: u32,
    },
    /// Anything else; who is meant by it decides when it comes whether it still means anything.
    Timer(Timer),
}

/// What is due besides lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Nothing: the place of an entry that was taken.
    Nothing,
    /// The dial of this pipe ends.
    Dial(u32),
    /// The writer of this pipe learns that the far end is gone.
    Notice(u32),
    /// The end of a connection reaches the reader of a pipe, behind its lines.
    End {
        /// By its place among all pipes.
        pipe: u32,
        /// The lower half of the pipe's epoch when the connection ended.
        epoch: u16,
    },
    /// The dial for a line of this per-message pipe ends.
    Message(u32),
    /// The deadline of this server's node.
    Wake(u32),
    /// The next answer on this client's session.
    Answered(u32),
}

/// How entries are kept in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueKind {
    /// By the size of the herd.
    #[default]
    Auto,
    /// A heap: best for few servers.
    Heap,
    /// A timing wheel: best for many.
    Wheel,
}

/// From this many servers on the wheel is faster.
const MANY_SERVERS: usize = 200;

/// Everything that is due.
#[derive(Debug)]
pub(super) struct Queue {
    /// Entries by slot; the order refers to them.
    slab: Vec<Due>,
    free: Vec<u32>,
    order: Order,
    /// Entries queued so far.
    sequence: u64,
}

#[derive(Debug)]
enum Order {
    Heap(Heap),
    Wheel(Box<Wheel>),
}

/// Time, sequence and slot of an entry, so that keys compare as the entries should come: 64 bits of time, 36 of sequence,
/// 28 of slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

const SLOT_BITS: u32 = 28;
const SEQUENCE_BITS: u32 = 36;

impl Key {
    /// Wraps after 2^36 entries: an order between two entries of one time that are that far apart is not needed.
    fn new(at: Timestamp, sequence: u64, slot: u32) -> Self {
        let sequence = sequence & ((1 << SEQUENCE_BITS) - 1);
        Self(u128::from(biased(at)) << 64 | u128::from(sequence << SLOT_BITS | u64::from(slot)))
    }

    fn at(self) -> Timestamp {
        Timestamp::from_nanoseconds(((self.0 >> 64) as u64 ^ SIGN) as i64)
    }

    fn slot(self) -> u32 {
        self.0 as u32 & ((1 << SLOT_BITS) - 1)
    }

    /// The tick of the wheel that the time is in.
    fn tick(self) -> u64 {
        (self.0 >> 64) as u64 >> TICK_BITS
    }
}

const SIGN: u64 = 1 << 63;

/// A time as an unsigned number in the same order.
fn biased(at: Timestamp) -> u64 {
    at.nanoseconds() as u64 ^ SIGN
}

impl Queue {
    pub(super) fn new(kind: QueueKind, servers: usize) -> Self {
        let wheel = match kind {
            QueueKind::Auto => servers >= MANY_SERVERS,
            QueueKind::Heap => false,
            QueueKind::Wheel => true,
        };
        let order = if wheel { Order::Wheel(Box::default()) } else { Order::Heap(Heap::default()) };
        Self { slab: Vec::new(), free: Vec::new(), order, sequence: 0 }
    }

    /// Queues `due`, behind everything queued for the same time.
    pub(super) fn push(&mut self, at: Timestamp, due: Due) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = due;
                slot
            }
            None => {
                assert!(self.slab.len() < 1 << SLOT_BITS, "more entries than a key can number");
                self.slab.push(due);
                self.slab.len() as u32 - 1
            }
        };
        self.sequence += 1;
        let key = Key::new(at, self.sequence, slot);
        match &mut self.order {
            Order::Heap(heap) => heap.push(key),
            Order::Wheel(wheel) => wheel.push(key),
        }
    }

    /// Takes what is due next, if that is at or before `limit`.
    #[inline]
    pub(super) fn pop_until(&mut self, limit: Timestamp) -> Option<(Timestamp, Due)> {
        let key = match &mut self.order {
            Order::Heap(heap) => heap.pop_until(limit),
            Order::Wheel(wheel) => wheel.pop_until(limit),
        }?;
        self.free.push(key.slot());
        let due = std::mem::replace(&mut self.slab[key.slot() as usize], Due::Timer(Timer::Nothing));
        Some((key.at(), due))
    }

    /// Forgets everything, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.slab.clear();
        self.free.clear();
        self.sequence = 0;
        match &mut self.order {
            Order::Heap(heap) => heap.keys.clear(),
            Order::Wheel(wheel) => wheel.clear(),
        }
    }
}

/// A heap in which every key has four children: half as deep as a binary one, and the four lie in one cache line.
#[derive(Debug, Default)]
struct Heap {
    keys: Vec<Key>,
}

impl Heap {
    fn push(&mut self, key: Key) {
        let mut hole = self.keys.len();
        self.keys.push(key);
        while hole > 0 {
            let parent = (hole - 1) / 4;
            if self.keys[parent] <= key {
                break;
            }
            self.keys[hole] = self.keys[parent];
            hole = parent;
        }
        self.keys[hole] = key;
    }

    fn peek(&self) -> Option<Key> {
        self.keys.first().copied()
    }

    fn pop_until(&mut self, limit: Timestamp) -> Option<Key> {
        self.peek().filter(|key| key.at() <= limit)?;
        self.pop()
    }

    fn pop(&mut self) -> Option<Key> {
        let last = self.keys.pop()?;
        let Some(first) = self.peek() else { return Some(last) };
        let mut hole = 0;
        while let Some(child) = self.least_child(hole) {
            if last <= self.keys[child] {
                break;
            }
            self.keys[hole] = self.keys[child];
            hole = child;
        }
        self.keys[hole] = last;
        Some(first)
    }

    fn least_child(&self, parent: usize) -> Option<usize> {
        let first = 4 * parent + 1;
        let children = self.keys.get(first..)?;
        let least = children.iter().take(4).enumerate().min_by_key(|&(_, key)| *key)?.0;
        Some(first + least)
    }
}

/// A tick lasts 1,024 ns.
const TICK_BITS: u32 = 10;
/// Ticks of the wheel: it turns once in 16.8 ms.
const TICKS: usize = 16_384;
/// The end of a chain.
const NONE: u32 = u32::MAX;

/// A timing wheel: the keys of the coming 16,384 ticks lie in chains, one a tick; what is due in the present tick lies in a
/// heap, and so does what is further away.
#[derive(Debug)]
struct Wheel {
    /// Everything up to the present tick.
    near: Heap,
    present: u64,
    /// The first slot of each tick's chain.
    heads: Vec<u32>,
    /// By slot: its key.
    keys: Vec<Key>,
    /// By slot: the next slot of its chain.
    nexts: Vec<u32>,
    /// Which ticks have a chain.
    used: BitMap,
    /// Everything from one turn after the present tick.
    far: Heap,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            near: Heap::default(),
            present: 0,
            heads: vec![NONE; TICKS],
            keys: Vec::new(),
            nexts: Vec::new(),
            used: BitMap::default(),
            far: Heap::default(),
        }
    }
}

impl Wheel {
    #[inline]
    fn push(&mut self, key: Key) {
        let tick = key.tick();
        if tick <= self.present {
            self.near.push(key);
        } else if tick < self.present + TICKS as u64 {
            self.chain(key);
        } else {
            self.far.push(key);
        }
    }

    fn chain(&mut self, key: Key) {
        let (slot, place) = (key.slot() as usize, key.tick() as usize % TICKS);
        if self.keys.len() <= slot {
            self.keys.resize(slot + 1, key);
            self.nexts.resize(slot + 1, NONE);
        }
        self.keys[slot] = key;
        self.nexts[slot] = self.heads[place];
        self.heads[place] = key.slot();
        self.used.insert(place);
    }

    fn pop_until(&mut self, limit: Timestamp) -> Option<Key> {
        if self.near.keys.is_empty() {
            self.advance();
        }
        self.near.pop_until(limit)
    }

    /// Goes on to the next tick for which something is queued.
    fn advance(&mut self) {
        let place = self.present as usize % TICKS;
        match (self.used.next_after(place), self.far.peek()) {
            // The far keys come later than a whole turn.
            (Some(next), _) => self.present += ((next + TICKS - place - 1) % TICKS + 1) as u64,
            (None, Some(key)) => self.present = key.tick(),
            (None, None) => return,
        }
        self.empty_chain();
        let horizon = self.present + TICKS as u64;
        while self.far.peek().is_some_and(|key| key.tick() < horizon) {
            let key = self.far.pop().expect("it was just seen");
            self.push(key);
        }
    }

    /// Takes the chain of the present tick into the heap.
    fn empty_chain(&mut self) {
        let place = self.present as usize % TICKS;
        let mut slot = std::mem::replace(&mut self.heads[place], NONE);
        while slot != NONE {
            self.near.push(self.keys[slot as usize]);
            slot = self.nexts[slot as usize];
        }
        self.used.remove(place);
    }

    fn clear(&mut self) {
        self.near.keys.clear();
        self.far.keys.clear();
        while let Some(place) = self.used.next_after(0) {
            self.heads[place] = NONE;
            self.used.remove(place);
        }
        self.present = 0;
    }
}

/// Which of [`TICKS`] places are used, in two levels: a bit a place, and a bit for 64 of those.
#[derive(Debug)]
struct BitMap {
    words: [u64; TICKS / 64],
    summary: [u64; TICKS / 64 / 64],
}

impl Default for BitMap {
    fn default() -> Self {
        Self { words: [0; TICKS / 64], summary: [0; TICKS / 64 / 64] }
    }
}

impl BitMap {
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
