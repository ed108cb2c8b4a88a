//! Waits for the neighbours: a wait is a place in a link's order of lines.
//!
//! It needs no name of a line: the outbox puts a newer version in the place of an older one, so what a client said leaves with
//! that place or before it.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::numbers::Numbers;

/// How far the lines of one link are.
#[derive(Debug, Clone, Default)]
pub(super) struct InOrder {
    /// Fresh records taken from the outbox, lines or not.
    popped: u64,
    /// Lines handed to the connection.
    lines: u64,
    /// The reader is done with all lines up to this one.
    taken: u64,
    /// Later lines with which it is done.
    ahead: Numbers,
    /// Waits for this many records to leave the outbox, in order; by their place among all tickets.
    unsent: VecDeque<(u64, u64)>,
    /// Waits for this many lines to be taken, in order.
    sent: VecDeque<(u64, u64)>,
}

impl InOrder {
    /// Lets a ticket wait for what the link owes, which is `fresh` records and what has left. Returns `false` if that is
    /// nothing. `first` is the first place that is not settled.
    pub(super) fn wait(&mut self, fresh: u64, place: u64, first: u64) -> bool {
        // Of a neighbour that takes nothing, what has waited to the limit must not gather.
        for waits in [&mut self.unsent, &mut self.sent] {
            while waits.pop_front_if(|&mut (_, place)| place < first).is_some() {}
        }
        match fresh {
            0 if self.taken >= self.lines => return false,
            0 => self.sent.push_back((self.lines, place)),
            _ => self.unsent.push_back((self.popped + fresh, place)),
        }
        true
    }

    pub(super) fn on_fresh(&mut self, goes: bool) {
        self.popped += 1;
        self.lines += u64::from(goes);
        while let Some((_, place)) = self.unsent.pop_front_if(|&mut (position, _)| position <= self.popped) {
            self.sent.push_back((self.lines, place));
        }
    }

    pub(super) fn on_other(&mut self) {
        self.lines += 1;
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn on_taken(&mut self, lines: RangeInclusive<u64>) {
        self.ahead.insert((*lines.start()).max(self.taken + 1)..=*lines.end());
        while let Some(last) = self.ahead.take_from(self.taken + 1) {
            self.taken = last;
        }
    }

    /// Takes a place that waits no longer.
    pub(super) fn settled(&mut self) -> Option<u64> {
        self.sent.pop_front_if(|&mut (lines, _)| lines <= self.taken).map(|(_, place)| place)
    }

    /// Returns all places that wait.
    pub(super) fn places(self) -> impl Iterator<Item = u64> {
        self.sent.into_iter().chain(self.unsent).map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_waited_to_the_limit_for_a_neighbour_that_takes_nothing_does_not_gather() {
        let mut held = InOrder::default();
        for place in 0..1000 {
            assert!(held.wait(place + 1, place, place));
        }
        assert_eq!(held.unsent.len(), 1);
        let mut silent = InOrder::default();
        for place in 0..1000 {
            silent.on_other();
            assert!(silent.wait(0, place, place));
        }
        assert_eq!(silent.sent.len(), 1);
    }
}
