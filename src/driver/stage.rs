//! Lines of one way between their writer's outbox and their reader: which wait with their writer, which are in flight, and when
//! each arrives.
//!
//! A line waits while its way is held, or, on a per-message way, while its dial is under way. It **leaves** when nothing holds it
//! any more, and it **lands** when the way has carried it. Losing a connection loses what has left. What has not left stays with
//! its writer where every line has a connection of its own, and is lost with the connection where lines share one.
//!
//! A pure value, which both drivers ask. The simulator keeps what is in flight in its queue of coming events, so that it uses
//! the first half only. Not here: what a way does to a line ([`super::path`]), and connections.

use std::collections::VecDeque;

use super::path::{Dial, Passage};
use crate::time::Timestamp;

/// Lines of one way that have been taken from an outbox and have not arrived.
#[derive(Debug, Clone)]
pub struct Stage<T> {
    /// Lines that have not left, in order.
    waiting: VecDeque<(T, Dial)>,
    /// How many of them, from the front, wait for the way's release rather than for a dial.
    parked: usize,
    /// Lines in flight, in the order of their arrival.
    in_flight: VecDeque<(T, Timestamp)>,
}

/// A line whose dial has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialled<T> {
    /// It can leave if its reader is there.
    Ready(T),
    /// Nobody has answered.
    TimedOut(T),
}

impl<T> Default for Stage<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), parked: 0, in_flight: VecDeque::new() }
    }
}

impl<T> Stage<T> {
    /// Returns the number of lines in all places.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// Returns `true` if no line is in any place.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of lines that wait for the way's release.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Returns the number of lines whose dial is under way.
    pub fn dialing(&self) -> usize {
        self.waiting.len() - self.parked
    }

    /// Returns when the next dial ends or the next line lands, or `None` if only a release can change anything.
    pub fn next_change(&self) -> Option<Timestamp> {
        let dial = self.waiting.get(self.parked).map(|(_, dial)| dial.until);
        dial.into_iter().chain(self.next_landing()).min()
    }

    /// Returns when the next line lands.
    pub fn next_landing(&self) -> Option<Timestamp> {
        self.in_flight.front().map(|&(_, at)| at)
    }

    /// Keeps a line until the way is released.
    pub fn park(&mut self, line: T) {
        debug_assert_eq!(self.dialing(), 0, "a way either holds lines or dials for them");
        self.waiting.push_back((line, Dial { until: Timestamp::MAX, times_out: false }));
        self.parked += 1;
    }

    /// Begins the dial of a line, which ends no earlier than those before it. Returns when it ends.
    pub fn dial(&mut self, line: T, dial: Dial) -> Timestamp {
        let before = self.waiting.iter().skip(self.parked).next_back().map(|(_, last)| last.until);
        let until = before.map_or(dial.until, |last| last.max(dial.until));
        self.waiting.push_back((line, Dial { until, ..dial }));
        until
    }

    /// Begins all dials anew that end later than `dial` does, or would have timed out: the way has been healed. Returns their
    /// number.
    pub fn redial(&mut self, dial: Dial) -> usize {
        let mut begun = 0;
        for (_, old) in self.waiting.iter_mut().skip(self.parked) {
            // Those behind the first one stay behind it.
            if begun > 0 || old.times_out || old.until > dial.until {
                *old = dial;
                begun += 1;
            }
        }
        begun
    }

    /// Takes the next line whose dial has ended by `now`. On a way that is held, lines whose dial was answered are parked.
    pub fn dialled(&mut self, now: Timestamp, is_held: bool) -> Option<Dialled<T>> {
        loop {
            let &(_, dial) = self.waiting.get(self.parked).filter(|(_, dial)| dial.until <= now)?;
            if is_held && !dial.times_out {
                self.parked += 1;
                continue;
            }
            let (line, _) = self.waiting.remove(self.parked)?;
            return Some(if dial.times_out { Dialled::TimedOut(line) } else { Dialled::Ready(line) });
        }
    }

    /// Takes the next line that waited for the way's release.
    pub fn released(&mut self) -> Option<T> {
        self.parked = self.parked.checked_sub(1)?;
        self.waiting.pop_front().map(|(line, _)| line)
    }

    /// Takes a line that landed by `now`.
    pub fn land(&mut self, now: Timestamp) -> Option<T> {
        self.in_flight.pop_front_if(|&mut (_, at)| at <= now).map(|(line, _)| line)
    }

    /// Lets all lines in flight land at once, in their order.
    pub fn hurry(&mut self, now: Timestamp) {
        self.in_flight.iter_mut().for_each(|(_, at)| *at = now.min(*at));
    }

    /// Loses all lines that have not left. Returns them.
    pub fn lose_waiting(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.parked = 0;
        std::mem::take(&mut self.waiting).into_iter().map(|(line, _)| line)
    }

    /// Loses all lines in flight. Returns them.
    pub fn lose_in_flight(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.in_flight).into_iter().map(|(line, _)| line)
    }

    /// Lets a line leave, `copies` times, that lands at this time. Lines that have connections of their own may overtake.
    fn fly(&mut self, line: T, at: Timestamp) {
        let behind = self.in_flight.iter().rev().take_while(|&&(_, other)| other > at).count();
        self.in_flight.insert(self.in_flight.len() - behind, (line, at));
    }
}

impl<T: Clone> Stage<T> {
    /// Lets a line leave, whose way says what becomes of it. Returns the number of copies in flight.
    pub fn leave(&mut self, line: T, passage: Passage) -> usize {
        match passage {
            Passage::Arrives(at) => self.fly(line, at),
            Passage::Twice(at) => {
                self.fly(line.clone(), at);
                self.fly(line, at);
            }
            Passage::Lost | Passage::Vanishes => {}
        }
        passage.copies()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_millis(milliseconds)
    }

    fn dial(until: u64) -> Dial {
        Dial { until: at(until), times_out: false }
    }

    fn landed(stage: &mut Stage<u32>, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| stage.land(at(now))).collect()
    }

    #[test]
    fn dials_end_in_the_order_in_which_their_lines_were_taken() {
        let mut stage = Stage::default();
        assert_eq!([(1, 20), (2, 5), (3, 30)].map(|(line, until)| stage.dial(line, dial(until))), [20, 20, 30].map(at));
        assert_eq!((stage.next_change(), stage.dialled(at(19), false)), (Some(at(20)), None));
        let ended: Vec<_> = std::iter::from_fn(|| stage.dialled(at(25), false)).collect();
        assert_eq!(ended, [Dialled::Ready(1), Dialled::Ready(2)]);
        assert_eq!((stage.dialing(), stage.next_change()), (1, Some(at(30))));
    }

    #[test]
    fn a_line_whose_dial_ends_on_a_held_way_waits_for_the_release_with_its_writer() {
        let mut stage = Stage::default();
        stage.dial(1, dial(10));
        stage.dial(2, dial(20));
        assert_eq!((stage.dialled(at(10), true), stage.parked(), stage.dialing()), (None, 1, 1));
        // What is lost has left, and it has not.
        assert_eq!(stage.lose_in_flight().count(), 0);
        assert_eq!(
            (stage.dialled(at(20), false), stage.released(), stage.released()),
            (Some(Dialled::Ready(2)), Some(1), None)
        );
        assert!(stage.is_empty());
    }

    #[test]
    fn a_way_that_is_healed_answers_dials_that_nobody_would_have_answered() {
        let mut stage = Stage::default();
        stage.dial(1, dial(10));
        stage.dial(2, Dial { until: at(2000), times_out: true });
        stage.dial(3, dial(20));
        assert_eq!(stage.redial(dial(500)), 2);
        let ended: Vec<_> = std::iter::from_fn(|| stage.dialled(at(500), false)).collect();
        assert_eq!(ended, [1, 2, 3].map(Dialled::Ready));
    }

    #[test]
    fn what_is_in_flight_on_a_way_that_is_healed_lands_at_once_and_in_order() {
        let mut stage = Stage::default();
        for (line, landing) in [(1, 5), (2, 60_000), (3, 70_000)] {
            stage.leave(line, Passage::Arrives(at(landing)));
        }
        assert_eq!(landed(&mut stage, 10), [1]);
        stage.hurry(at(10));
        stage.leave(4, Passage::Arrives(at(11)));
        assert_eq!((landed(&mut stage, 10), landed(&mut stage, 11)), (vec![2, 3], vec![4]));
    }

    #[test]
    fn a_line_lands_as_often_as_its_way_says_and_may_overtake_on_a_connection_of_its_own() {
        let mut stage = Stage::default();
        let passages = [Passage::Arrives(at(9)), Passage::Twice(at(4)), Passage::Lost, Passage::Vanishes];
        let copies: Vec<usize> = (0..).zip(passages).map(|(line, passage)| stage.leave(line, passage)).collect();
        assert_eq!((copies, stage.len()), (vec![1, 2, 0, 0], 3));
        assert_eq!((stage.next_landing(), landed(&mut stage, 9)), (Some(at(4)), vec![1, 1, 0]));
    }
}
