//! Timers of one kind: all of them wait equally long, so they are due in the order in which they were armed.
//!
//! The moment at which a node wants to be asked again lives in [`Node::deadline`](super::Node::deadline).

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// A queue of timers with one constant wait.
///
/// A timer is not taken back. Its owner keeps the time at which the timer is due, and forgets that time instead. A timer whose
/// time the owner does not know any more is stale: [`Self::forget_stale`] takes the stale ones off the front, so that the first
/// timer of the queue always means something. There are never more timers than were armed within one wait.
#[derive(Debug, Clone)]
pub(super) struct Timers<K> {
    wait: Duration,
    armed: VecDeque<(Timestamp, K)>,
}

impl<K> Timers<K> {
    pub(super) fn new(wait: Duration) -> Self {
        Self { wait, armed: VecDeque::new() }
    }

    /// Arms a timer. Returns the time at which it is due.
    pub(super) fn arm(&mut self, now: Timestamp, key: K) -> Timestamp {
        let due = now + self.wait;
        self.armed.push_back((due, key));
        due
    }

    /// Returns the time at which the first timer is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.armed.front().map(|&(due, _)| due)
    }

    /// Takes the first timer if it is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        self.armed.pop_front_if(|&mut (due, _)| due <= now)
    }

    /// Takes stale timers off the front, up to the first one that `is_live`.
    pub(super) fn forget_stale(&mut self, is_live: impl Fn(Timestamp, &K) -> bool) {
        while self.armed.pop_front_if(|(due, key)| !is_live(*due, key)).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_the_order_in_which_they_were_armed_and_stale_ones_are_forgotten() {
        let ms = |milliseconds| Timestamp::EPOCH + Duration::from_millis(milliseconds);
        let mut timers = Timers::new(Duration::from_millis(5));
        assert_eq!((timers.arm(ms(0), 'a'), timers.arm(ms(1), 'b'), timers.arm(ms(2), 'c')), (ms(5), ms(6), ms(7)));
        timers.forget_stale(|due, _| due > ms(5));
        assert_eq!((timers.next(), timers.pop_due(ms(5))), (Some(ms(6)), None));
        assert_eq!(
            (timers.pop_due(ms(9)), timers.pop_due(ms(9)), timers.pop_due(ms(9))),
            (Some((ms(6), 'b')), Some((ms(7), 'c')), None)
        );
        assert_eq!(timers.next(), None);
    }
}
