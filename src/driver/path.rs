//! What one way of a link does to the lines on it: its delay, and every fault of its own, as a value both drivers share.
//!
//! Not here: connections and the lines themselves. A driver asks [`Path::send`] what becomes of a line and does it.

use std::time::Duration;

pub use super::draws::Draws;
use super::{Slowness, Way};
use crate::config::{Delay, Distribution};
use crate::time::Timestamp;

/// The conditions on one way.
///
/// Small as long as nothing was ever done to the way, because big herds have many.
#[derive(Debug, Clone)]
pub struct Path {
    /// The link's own.
    base: Span,
    /// What was done to the way; `None`: nothing, ever.
    faults: Option<Box<Faults>>,
    /// Lines sent since the start.
    lines: u64,
    /// When the last line arrives: no later one does before it.
    last_arrival: Timestamp,
    draws: Draws,
}

/// What was done to a way.
#[derive(Debug, Clone, Default)]
struct Faults {
    slow: Span,
    /// Lines a second at most.
    rate: Option<u32>,
    /// When the rate admits the next line.
    free_at: Timestamp,
    cut: bool,
    held: bool,
    half_open: bool,
    /// Reset when this many further lines have passed.
    reset_after: Option<u64>,
    /// What happens to single lines, by the count of lines at which it happens.
    edits: Vec<(u64, Edit)>,
}

/// A [`Delay`] in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    latency: u64,
    jitter: u64,
    distribution: Distribution,
}

impl From<Delay> for Span {
    fn from(Delay { latency, jitter, distribution }: Delay) -> Self {
        let [latency, jitter] = [latency, jitter].map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        Self { latency, jitter, distribution }
    }
}

impl Span {
    /// The time the line with this number spends.
    #[inline]
    fn spent(self, draws: Draws, number: u64, stream: u64) -> u64 {
        if self.jitter == 0 {
            return self.latency;
        }
        let added = self.jitter as f64 * draws.scaled(self.distribution, number, stream);
        self.latency.saturating_add(added as u64)
    }
}

/// What is done to a single line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Drop,
    Duplicate,
}

/// What becomes of a line that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It arrives at this time.
    Arrives(Timestamp),
    /// It arrives twice at this time.
    Twice(Timestamp),
    /// It never arrives.
    Lost,
}

impl Path {
    /// A whole way, in a run with this seed. The draws of its jitter are the same whatever other links there are.
    pub fn new(base: Delay, seed: u64, way: Way) -> Self {
        Self::unused(base.into(), seed, way)
    }

    /// The same way as if it had never been used, in a run with this seed.
    pub fn renewed(&self, seed: u64, way: Way) -> Self {
        Self::unused(self.base, seed, way)
    }

    fn unused(base: Span, seed: u64, way: Way) -> Self {
        let draws = Draws::new(seed, u64::from(way.from.0) << 32 | u64::from(way.to.0));
        Self { base, faults: None, lines: 0, last_arrival: Timestamp::from_nanoseconds(i64::MIN), draws }
    }

    /// Lines sent since the start.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether dials are refused.
    pub fn is_cut(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.cut)
    }

    /// Whether lines wait for [`Self::release`].
    pub fn is_held(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.held)
    }

    /// Whether everything sent is lost in silence.
    pub fn is_half_open(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.half_open)
    }

    /// Whether a line passes at once and nothing about it needs to be asked or counted.
    pub fn is_clear(&self) -> bool {
        self.base == Span::default() && self.faults.as_ref().is_none_or(|faults| faults.is_clear())
    }

    /// Refuses dials; whether that is new.
    pub fn cut(&mut self) -> bool {
        !std::mem::replace(&mut self.faults().cut, true)
    }

    /// Lets lines wait; whether that is new.
    pub fn hold(&mut self) -> bool {
        !std::mem::replace(&mut self.faults().held, true)
    }

    /// Lets lines pass again; whether they did not.
    pub fn release(&mut self) -> bool {
        self.faults.as_mut().is_some_and(|faults| std::mem::take(&mut faults.held))
    }

    /// Loses everything in silence; whether that is new.
    pub fn half_open(&mut self) -> bool {
        !std::mem::replace(&mut self.faults().half_open, true)
    }

    /// Delays every line from now on.
    pub fn slow(&mut self, slowness: Slowness) {
        let faults = self.faults();
        faults.slow = slowness.delay.into();
        faults.rate = slowness.rate;
    }

    /// Takes back cut, half-open and slow; whether any was there.
    pub fn heal(&mut self) -> bool {
        self.faults.as_mut().is_some_and(|faults| faults.heal())
    }

    /// Resets the connection when `lines` further lines have passed; at least 1.
    pub fn reset_after(&mut self, lines: u64) {
        self.faults().reset_after = Some(lines);
    }

    /// Loses the `nth` line from now, counted from 1.
    pub fn drop_line(&mut self, nth: u64) {
        let line = self.lines + nth;
        self.faults().edits.push((line, Edit::Drop));
    }

    /// Doubles the `nth` line from now, counted from 1.
    pub fn duplicate_line(&mut self, nth: u64) {
        let line = self.lines + nth;
        self.faults().edits.push((line, Edit::Duplicate));
    }

    /// A new connection: its lines need not wait for those of the one before.
    pub fn connected(&mut self) {
        self.last_arrival = Timestamp::from_nanoseconds(i64::MIN);
    }

    /// What becomes of a line sent at `now`. Lines of one connection arrive in the order in which they are sent. A driver
    /// asks when the line leaves, which on a way that is held is after its release.
    #[inline]
    pub fn send(&mut self, now: Timestamp) -> Passage {
        self.lines += 1;
        let spent = self.base.spent(self.draws, self.lines, 0);
        match self.faults {
            None => Passage::Arrives(self.arrival(now, spent)),
            Some(_) => self.send_despite_faults(now, spent),
        }
    }

    fn send_despite_faults(&mut self, now: Timestamp, spent: u64) -> Passage {
        let (lines, draws) = (self.lines, self.draws);
        let faults = self.faults();
        let leaves = faults.leaves(now);
        let spent = spent.saturating_add(faults.slow.spent(draws, lines, 1));
        let (half_open, edit) = (faults.half_open, faults.edit(lines));
        let arrival = self.arrival(leaves, spent);
        match edit {
            _ if half_open => Passage::Lost,
            Some(Edit::Drop) => Passage::Lost,
            Some(Edit::Duplicate) => Passage::Twice(arrival),
            None => Passage::Arrives(arrival),
        }
    }

    /// Whether the connection is to be reset now that another line was sent; ask once after each [`Self::send`].
    pub fn resets_now(&mut self) -> bool {
        self.faults.as_mut().is_some_and(|faults| faults.resets_now())
    }

    /// What a line on this way waits at the moment: the link's own delay and that of [`Self::slow`].
    pub fn spans(&self) -> [Span; 2] {
        [self.base, self.faults.as_ref().map_or_else(Span::default, |faults| faults.slow)]
    }

    /// When everything sent has arrived.
    pub fn last_arrival(&self) -> Timestamp {
        self.last_arrival
    }

    /// How long the dial with this number takes: there, and back over a way with these `spans`.
    pub fn round_trip(&self, number: u64, back: [Span; 2]) -> Duration {
        let [there, slowed] = self.spans();
        let spans = (2..).zip([there, slowed, back[0], back[1]]);
        let nanoseconds = spans.map(|(stream, span)| span.spent(self.draws, number, stream));
        Duration::from_nanos(nanoseconds.fold(0, u64::saturating_add))
    }

    /// The least time that anything takes on this way at the moment.
    pub fn latency(&self) -> Duration {
        Duration::from_nanos(self.spans().iter().fold(0, |sum, span| span.latency.saturating_add(sum)))
    }

    fn arrival(&mut self, leaves: Timestamp, spent: u64) -> Timestamp {
        let arrival = leaves.shifted(i64::try_from(spent).unwrap_or(i64::MAX));
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    fn faults(&mut self) -> &mut Faults {
        self.faults.get_or_insert_default()
    }
}

impl Faults {
    fn is_clear(&self) -> bool {
        let whole = !(self.cut || self.held || self.half_open);
        whole
            && self.slow == Span::default()
            && self.rate.is_none()
            && self.reset_after.is_none()
            && self.edits.is_empty()
    }

    fn heal(&mut self) -> bool {
        let was_slow = std::mem::take(&mut self.slow) != Span::default();
        let (had_rate, was_cut) = (self.rate.take().is_some(), std::mem::take(&mut self.cut));
        std::mem::take(&mut self.half_open) || was_slow || had_rate || was_cut
    }

    /// When the rate admits a line sent at `now`.
    fn leaves(&mut self, now: Timestamp) -> Timestamp {
        let Some(rate) = self.rate else { return now };
        let leaves = self.free_at.max(now);
        self.free_at = leaves + Duration::from_secs(1) / rate.max(1);
        leaves
    }

    /// What is done to the line with this number.
    fn edit(&mut self, line: u64) -> Option<Edit> {
        let place = self.edits.iter().position(|&(number, _)| number == line)?;
        Some(self.edits.swap_remove(place).1)
    }

    fn resets_now(&mut self) -> bool {
        let Some(left) = self.reset_after.as_mut() else { return false };
        *left -= 1;
        let due = *left == 0;
        if due {
            self.reset_after = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn path(latency: Duration, jitter: Duration) -> Path {
        Path::new(Delay { latency, jitter, ..Delay::default() }, 1, Way { from: ServerId(0), to: ServerId(2) })
    }

    fn arrival(path: &mut Path, now: Timestamp) -> Timestamp {
        match path.send(now) {
            Passage::Arrives(at) => at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn jitter_stays_in_its_range_and_lines_stay_in_order() {
        let mut path = path(MILLISECOND, 2 * MILLISECOND);
        let mut last = Timestamp::EPOCH;
        for sent in (0..100).map(|n| Timestamp::EPOCH + n * MILLISECOND / 10) {
            let at = arrival(&mut path, sent);
            assert!(at >= last && at >= sent + MILLISECOND && at <= sent + 3 * MILLISECOND);
            last = at;
        }
    }

    #[test]
    fn a_rate_spaces_lines_evenly() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        path.slow(Slowness { delay: Delay::default(), rate: Some(1000) });
        let arrivals = [0, 1, 2].map(|_| arrival(&mut path, Timestamp::EPOCH));
        assert_eq!(arrivals, [0, 1, 2].map(|n| Timestamp::EPOCH + n * MILLISECOND));
    }

    #[test]
    fn edits_and_resets_count_lines_from_the_moment_they_are_asked_for() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        path.send(Timestamp::EPOCH);
        path.drop_line(2);
        path.duplicate_line(1);
        path.reset_after(2);
        assert_eq!(path.send(Timestamp::EPOCH), Passage::Twice(Timestamp::EPOCH));
        assert!(!path.resets_now());
        assert_eq!(path.send(Timestamp::EPOCH), Passage::Lost);
        assert!(path.resets_now() && !path.resets_now());
        assert!(path.is_clear());
    }
}
