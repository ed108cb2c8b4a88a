//! What one way of a link does to the lines on it: its delay, and every fault of its own, as a value both drivers share.
//!
//! Not here: connections and the lines themselves. A driver asks [`Path::send`] what becomes of a line and does it.

use std::time::Duration;

use super::Slowness;
use crate::config::Delay;
use crate::time::Timestamp;

/// The conditions on one way.
#[derive(Debug, Clone)]
pub struct Path {
    /// The link's own.
    base: Delay,
    slowness: Slowness,
    cut: bool,
    held: bool,
    half_open: bool,
    /// Reset when this many further lines have passed.
    reset_after: Option<u64>,
    /// What happens to single lines, by the count of lines at which it happens.
    edits: Vec<(u64, Edit)>,
    /// Lines sent since the start.
    lines: u64,
    /// When the last line arrives: no later one does before it.
    last_arrival: Timestamp,
    /// When the way's rate admits the next line.
    free_at: Timestamp,
    draws: Draws,
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
    /// A whole way. Draws of its jitter come from `seed` and `key`, which tells this way from all others.
    pub fn new(base: Delay, seed: u64, key: u64) -> Self {
        Self {
            base,
            slowness: Slowness::default(),
            cut: false,
            held: false,
            half_open: false,
            reset_after: None,
            edits: Vec::new(),
            lines: 0,
            last_arrival: Timestamp::from_nanoseconds(i64::MIN),
            free_at: Timestamp::from_nanoseconds(i64::MIN),
            draws: Draws { seed, key },
        }
    }

    /// Whether dials are refused.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether lines wait for [`Self::release`].
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Whether everything sent is lost in silence.
    pub fn is_half_open(&self) -> bool {
        self.half_open
    }

    /// Whether a line passes at once and nothing about it needs to be asked or counted.
    pub fn is_clear(&self) -> bool {
        self.base == Delay::default()
            && self.slowness == Slowness::default()
            && !(self.cut || self.held || self.half_open)
            && self.reset_after.is_none()
            && self.edits.is_empty()
    }

    /// Refuses dials; whether that is new.
    pub fn cut(&mut self) -> bool {
        !std::mem::replace(&mut self.cut, true)
    }

    /// Lets lines wait; whether that is new.
    pub fn hold(&mut self) -> bool {
        !std::mem::replace(&mut self.held, true)
    }

    /// Lets lines pass again; whether they did not.
    pub fn release(&mut self) -> bool {
        std::mem::take(&mut self.held)
    }

    /// Loses everything in silence; whether that is new.
    pub fn half_open(&mut self) -> bool {
        !std::mem::replace(&mut self.half_open, true)
    }

    /// Delays every line from now on.
    pub fn slow(&mut self, slowness: Slowness) {
        self.slowness = slowness;
    }

    /// Takes back cut, half-open and slow; whether any was there.
    pub fn heal(&mut self) -> bool {
        let was_slow = std::mem::take(&mut self.slowness) != Slowness::default();
        let (was_cut, was_half_open) = (std::mem::take(&mut self.cut), std::mem::take(&mut self.half_open));
        was_slow || was_cut || was_half_open
    }

    /// Resets the connection when `lines` further lines have passed; at least 1.
    pub fn reset_after(&mut self, lines: u64) {
        self.reset_after = Some(lines);
    }

    /// Loses the `nth` line from now, counted from 1.
    pub fn drop_line(&mut self, nth: u64) {
        self.edits.push((self.lines + nth, Edit::Drop));
    }

    /// Doubles the `nth` line from now, counted from 1.
    pub fn duplicate_line(&mut self, nth: u64) {
        self.edits.push((self.lines + nth, Edit::Duplicate));
    }

    /// A new connection: its lines need not wait for those of the one before.
    pub fn connected(&mut self) {
        self.last_arrival = Timestamp::from_nanoseconds(i64::MIN);
    }

    /// What becomes of a line sent at `now`. Lines of one connection arrive in the order in which they are sent. A driver
    /// asks when the line leaves, which on a way that is held is after its release.
    pub fn send(&mut self, now: Timestamp) -> Passage {
        self.lines += 1;
        let arrival = self.arrival(now);
        let edit = self.edits.iter().position(|&(line, _)| line == self.lines).map(|at| self.edits.swap_remove(at).1);
        match edit {
            _ if self.half_open => Passage::Lost,
            Some(Edit::Drop) => Passage::Lost,
            Some(Edit::Duplicate) => Passage::Twice(arrival),
            None => Passage::Arrives(arrival),
        }
    }

    /// Whether the connection is to be reset now that another line was sent; ask once after each [`Self::send`].
    pub fn resets_now(&mut self) -> bool {
        let Some(left) = self.reset_after.as_mut() else { return false };
        *left -= 1;
        let due = *left == 0;
        if due {
            self.reset_after = None;
        }
        due
    }

    fn arrival(&mut self, now: Timestamp) -> Timestamp {
        let leaves = self.leaves(now);
        let latency = self.base.latency + self.slowness.delay.latency;
        let jitter = self.draw(self.base.jitter, 0) + self.draw(self.slowness.delay.jitter, 1);
        self.last_arrival = self.last_arrival.max(leaves + latency + jitter);
        self.last_arrival
    }

    /// When the rate admits a line sent at `now`.
    fn leaves(&mut self, now: Timestamp) -> Timestamp {
        let Some(rate) = self.slowness.rate else { return now };
        let leaves = self.free_at.max(now);
        self.free_at = leaves + Duration::from_secs(1) / rate.max(1);
        leaves
    }

    /// Uniform from 0 to `jitter`.
    fn draw(&self, jitter: Duration, stream: u64) -> Duration {
        if jitter.is_zero() {
            return Duration::ZERO;
        }
        let unit = self.draws.unit(self.lines, stream);
        Duration::from_nanos((jitter.as_nanos() as f64 * unit) as u64)
    }
}

/// Draws by key instead of by turn: taking one event away leaves all other draws alone.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// Of the run.
    pub seed: u64,
    /// Of the thing that draws.
    pub key: u64,
}

impl Draws {
    /// The draw with this number in this stream: uniform over all 64 bits.
    ///
    /// The finaliser of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014),
    /// applied once per part of the key.
    pub fn bits(self, number: u64, stream: u64) -> u64 {
        [self.key, number, stream].into_iter().fold(mix(self.seed), |hash, part| mix(hash ^ part))
    }

    /// The same draw as a number from 0 up to, not including, 1.
    pub fn unit(self, number: u64, stream: u64) -> f64 {
        (self.bits(number, stream) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn path(latency: Duration, jitter: Duration) -> Path {
        Path::new(Delay { latency, jitter }, 1, 2)
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

    #[test]
    fn the_first_draws_are_the_same_everywhere() {
        let draws = Draws { seed: 1, key: 2 };
        assert_eq!(
            [draws.bits(0, 0), draws.bits(1, 0), draws.bits(0, 1)],
            [8_460_352_000_482_166_300, 1_155_881_950_921_884_847, 14_418_179_372_084_732_305]
        );
    }
}
