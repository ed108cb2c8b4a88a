//! What one way of a link does to the lines on it: its delay, and every fault of its own, as a value both drivers share.
//!
//! Not here: connections and the lines themselves. A driver asks [`Path::send`] what becomes of a line and does it.

use std::time::Duration;

use crate::act::{Share, WayFaults, WayVerb};
use crate::config::{Bandwidth, Delay, Distribution, Way};
use crate::draws::Draws;
use crate::time::Timestamp;

/// The stream of draws that [`WayVerb::Lose`] takes. Streams 0 to 5 belong to delays and dials.
const LOSE: u64 = 6;

/// The conditions on one way.
///
/// Small as long as nothing was ever done to the way and it has no bandwidth, because big herds have many.
#[derive(Debug, Clone)]
pub struct Path {
    /// The link's own.
    base: Span,
    /// What few ways have; `None`: nothing of it, ever.
    particulars: Option<Box<Particulars>>,
    /// Lines sent since the start.
    lines: u64,
    /// When the last line arrives: no later one does before it.
    last_arrival: Timestamp,
    draws: Draws,
}

/// The link's own bandwidth, and what was done to the way.
#[derive(Debug, Clone, Default)]
struct Particulars {
    /// The link's own.
    bandwidth: Option<Bandwidth>,
    /// When everything sent has gone out.
    out_at: Timestamp,
    /// What was done to the way and not taken back.
    faults: WayFaults,
    /// The delay of [`WayFaults::slow`].
    slow: Span,
    /// When the rate of [`WayFaults::slow`] admits the next line.
    free_at: Timestamp,
    /// Reset when this many further lines have passed.
    reset_after: Option<u64>,
    /// What happens to single lines, by the count of lines at which it happens.
    edits: Vec<(u64, Edit)>,
}

/// A [`Delay`] in nanoseconds, without its bandwidth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    latency: u64,
    jitter: u64,
    distribution: Distribution,
}

impl From<Delay> for Span {
    fn from(Delay { latency, jitter, distribution, bandwidth: _ }: Delay) -> Self {
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
    /// It never arrives, and nothing tells of it.
    Lost,
    /// It never arrives: [`WayVerb::Lose`] drew it. The driver observes the loss.
    Vanishes,
}

impl Passage {
    /// Returns how many times the line arrives.
    pub fn copies(self) -> usize {
        match self {
            Self::Arrives(_) => 1,
            Self::Twice(_) => 2,
            Self::Lost | Self::Vanishes => 0,
        }
    }
}

/// The dial of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// When it ends.
    pub until: Timestamp,
    /// Nobody has answered by then.
    pub times_out: bool,
}

/// What a verb asks of the driver besides the change of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// The connection of the way, if there is one, is reset.
    pub severs: bool,
    /// The lines that wait are released.
    pub frees: bool,
    /// Dials that were lost in silence are heard from now on.
    pub answers: bool,
    /// What is in flight arrives at once: the way is no longer slow.
    pub hurries: bool,
}

impl Path {
    /// A whole way, in a run with this seed. The draws of its jitter are the same whatever other links there are.
    pub fn new(base: Delay, seed: u64, way: Way) -> Self {
        Self::unused(base.into(), base.bandwidth, seed, way)
    }

    /// The same way as if it had never been used, in a run with this seed.
    pub fn renewed(&self, seed: u64, way: Way) -> Self {
        let bandwidth = self.particulars.as_ref().and_then(|own| own.bandwidth);
        Self::unused(self.base, bandwidth, seed, way)
    }

    fn unused(base: Span, bandwidth: Option<Bandwidth>, seed: u64, way: Way) -> Self {
        Self {
            base,
            particulars: Particulars::of_link(bandwidth),
            lines: 0,
            last_arrival: Timestamp::MIN,
            draws: Draws::new(seed, u64::from(way.from.0) << 32 | u64::from(way.to.0)),
        }
    }

    /// Lines sent since the start.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns what was done to the way and not taken back.
    pub fn faults(&self) -> WayFaults {
        self.particulars.as_ref().map_or_else(WayFaults::default, |own| own.faults)
    }

    /// Returns `true` if dials are refused.
    pub fn is_cut(&self) -> bool {
        self.particulars.as_ref().is_some_and(|own| own.faults.cut)
    }

    /// Returns `true` if lines wait for [`WayVerb::Release`].
    pub fn is_held(&self) -> bool {
        self.particulars.as_ref().is_some_and(|own| own.faults.held)
    }

    /// Returns `true` if everything sent is lost in silence, dials among it.
    pub fn is_silent(&self) -> bool {
        self.particulars.as_ref().is_some_and(|own| own.faults.half_open)
    }

    /// Returns `true` if nobody answers a dial before the way is healed.
    pub fn is_unreachable(&self) -> bool {
        self.is_cut() || self.is_silent()
    }

    /// Returns `true` if a line passes at once and nothing about it needs to be asked or counted.
    pub fn is_clear(&self) -> bool {
        self.base == Span::default() && self.particulars.as_ref().is_none_or(|own| own.is_clear())
    }

    /// Does `verb` to the way, and returns what the driver has to do about its connection and its lines.
    pub fn apply(&mut self, verb: WayVerb) -> Effect {
        let lines = self.lines;
        // A way to which nothing was ever done stays small.
        if self.particulars.is_none() && matches!(verb, WayVerb::Heal | WayVerb::Release) {
            return Effect::default();
        }
        match verb {
            WayVerb::Reset { after: 0 } => return Effect { severs: true, ..Effect::default() },
            WayVerb::Reset { after } => self.particulars().reset_after = Some(after),
            WayVerb::Drop { nth } => self.particulars().edits.push((lines + nth, Edit::Drop)),
            WayVerb::Duplicate { nth } => self.particulars().edits.push((lines + nth, Edit::Duplicate)),
            _ => {
                let effect = self.particulars().apply(verb);
                if effect.hurries {
                    self.hurried();
                }
                return effect;
            }
        }
        Effect::default()
    }

    /// Forgets what was in flight, which has arrived: lines need not wait for it.
    fn hurried(&mut self) {
        self.connected();
        let particulars = self.particulars();
        (particulars.out_at, particulars.free_at) = (Timestamp::MIN, Timestamp::MIN);
    }

    /// A new connection: its lines need not wait for those of the one before.
    pub fn connected(&mut self) {
        self.last_arrival = Timestamp::MIN;
    }

    /// What was under way is lost: lines sent from `now` on need not wait for it to go out.
    pub fn emptied(&mut self, now: Timestamp) {
        self.connected();
        if let Some(particulars) = &mut self.particulars {
            particulars.emptied(now);
        }
    }

    /// Counts lines that pass a [clear](Self::is_clear) way without a question. Draws of later lines are those of their numbers.
    pub fn pass(&mut self, lines: u64) {
        self.lines += lines;
    }

    /// What becomes of a line sent at `now`, which has so many bytes with its line end. Lines of one connection arrive in the
    /// order in which they are sent. A driver asks when the line leaves, which on a way that is held is after its release.
    ///
    /// The bytes are asked for only on a way with a bandwidth: in big herds a look at the line is a fetch of memory.
    #[inline]
    pub fn send(&mut self, now: Timestamp, bytes: impl FnOnce() -> usize) -> Passage {
        self.lines += 1;
        let spent = self.base.spent(self.draws, self.lines, 0);
        match self.particulars {
            None => Passage::Arrives(self.arrival(now, spent)),
            Some(_) => self.send_in_particular(now, spent, bytes),
        }
    }

    fn send_in_particular(&mut self, now: Timestamp, spent: u64, bytes: impl FnOnce() -> usize) -> Passage {
        let (lines, draws) = (self.lines, self.draws);
        let particulars = self.particulars();
        let admitted = particulars.admitted(now);
        let leaves = particulars.out(admitted, bytes);
        let spent = spent.saturating_add(particulars.slow.spent(draws, lines, 1));
        let edit = particulars.edit(lines);
        let WayFaults { half_open, lose, .. } = particulars.faults;
        let arrival = self.arrival(leaves, spent);
        let is_drawn = |share: Share| draws.below(1_000_000, lines, LOSE) < u64::from(share.millionths());
        match edit {
            _ if half_open => Passage::Lost,
            Some(Edit::Drop) => Passage::Lost,
            _ if lose.is_some_and(is_drawn) => Passage::Vanishes,
            Some(Edit::Duplicate) => Passage::Twice(arrival),
            None => Passage::Arrives(arrival),
        }
    }

    /// Whether the connection is to be reset now that another line was sent; ask once after each [`Self::send`].
    pub fn resets_now(&mut self) -> bool {
        self.particulars.as_mut().is_some_and(|own| own.resets_now())
    }

    /// What a line on this way waits at the moment: the link's own delay and that of [`WayVerb::Slow`].
    pub fn spans(&self) -> [Span; 2] {
        [self.base, self.particulars.as_ref().map_or_else(Span::default, |own| own.slow)]
    }

    /// When everything sent has arrived.
    pub fn last_arrival(&self) -> Timestamp {
        self.last_arrival
    }

    /// How long the dial with this number takes: there, and back over a way with these `spans`.
    fn round_trip(&self, number: u64, back: [Span; 2]) -> Duration {
        let [there, slowed] = self.spans();
        let spans = (2..).zip([there, slowed, back[0], back[1]]);
        let nanoseconds = spans.map(|(stream, span)| span.spent(self.draws, number, stream));
        Duration::from_nanos(nanoseconds.fold(0, u64::saturating_add))
    }

    /// Returns the dial with this number that begins now, over a way back with these `spans`.
    pub fn dial(&self, now: Timestamp, number: u64, back: [Span; 2], timeout: Duration) -> Dial {
        let trip = self.round_trip(number, back);
        let times_out = self.is_silent() || trip > timeout;
        Dial { until: now + if times_out { timeout } else { trip }, times_out }
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

    fn particulars(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }
}

impl Particulars {
    /// Those of a way to which nothing was done.
    fn of_link(bandwidth: Option<Bandwidth>) -> Option<Box<Self>> {
        bandwidth.map(|_| Box::new(Self { bandwidth, ..Self::default() }))
    }

    fn is_clear(&self) -> bool {
        self.faults.is_none() && self.bandwidth.is_none() && self.reset_after.is_none() && self.edits.is_empty()
    }

    fn apply(&mut self, verb: WayVerb) -> Effect {
        let WayFaults { cut: was_cut, held: was_held, half_open: was_half_open, slow: was_slow, .. } = self.faults;
        self.faults.apply(verb);
        let WayFaults { cut, held, half_open, slow, .. } = &self.faults;
        self.slow = slow.as_ref().map_or_else(Span::default, |slowness| slowness.delay.into());
        let answers = was_half_open && !half_open;
        // The reader behind a half-open connection does not know it: once the reader is back, the connection is reset.
        Effect {
            severs: answers || (*cut && !was_cut),
            frees: was_held && !held,
            answers,
            hurries: was_slow.is_some() && slow.is_none(),
        }
    }

    /// When the rate admits a line sent at `now`.
    fn admitted(&mut self, now: Timestamp) -> Timestamp {
        let Some(interval) = self.interval() else { return now };
        let admitted = self.free_at.max(now);
        self.free_at = admitted + interval;
        admitted
    }

    /// The time between two lines at most so many a second.
    fn interval(&self) -> Option<Duration> {
        self.faults.slow?.rate.map(|rate| Duration::from_secs(1) / rate.max(1))
    }

    fn least_bandwidth(&self) -> Option<Bandwidth> {
        let slow = self.faults.slow.and_then(|slowness| slowness.delay.bandwidth);
        self.bandwidth.into_iter().chain(slow).min()
    }

    /// When a line that may go out from `now` on has gone out, behind all lines before it.
    fn out(&mut self, now: Timestamp, bytes: impl FnOnce() -> usize) -> Timestamp {
        let Some(bandwidth) = self.least_bandwidth() else { return now };
        self.out_at = self.out_at.max(now) + bandwidth.time_of(bytes());
        self.out_at
    }

    fn emptied(&mut self, now: Timestamp) {
        self.out_at = self.out_at.min(now);
        if let Some(interval) = self.interval() {
            self.free_at = self.free_at.min(now + interval);
        }
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
    use crate::config::{ServerId, Slowness};

    const MILLISECOND: Duration = Duration::from_millis(1);
    const WAY: Way = Way { from: ServerId(0), to: ServerId(2) };

    /// Bytes of the lines that are sent here.
    const LINE: usize = 64;

    /// So fast that a line takes this long to go out.
    fn a_line_in(time: Duration) -> Option<Bandwidth> {
        Bandwidth::from_bytes_a_second((LINE as u128 * 1_000_000_000 / time.as_nanos()) as u64)
    }

    fn thin(latency: Duration, bandwidth: Option<Bandwidth>) -> Path {
        Path::new(Delay { latency, bandwidth, ..Delay::default() }, 1, WAY)
    }

    fn path(latency: Duration, jitter: Duration) -> Path {
        Path::new(Delay { latency, jitter, ..Delay::default() }, 1, WAY)
    }

    fn arrival(path: &mut Path, now: Timestamp) -> Timestamp {
        match path.send(now, || LINE) {
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
    fn what_slows_a_way_is_distributed_as_it_says_and_not_as_the_links_own_jitter() {
        let longest = |distribution| {
            let mut path = path(Duration::ZERO, Duration::ZERO);
            let delay = Delay { jitter: MILLISECOND, distribution, ..Delay::default() };
            path.apply(WayVerb::Slow(Slowness { delay, rate: None }));
            let spent = (0..1000).map(|second| {
                let sent = Timestamp::EPOCH + Duration::from_secs(second);
                arrival(&mut path, sent).since(sent)
            });
            spent.max().expect("lines were sent")
        };
        assert!(longest(Distribution::Uniform) <= MILLISECOND);
        // Of 1000 draws the longest is about ln 1000 = 6.9 times the mean.
        assert!(longest(Distribution::Exponential) > 3 * MILLISECOND);
        assert!(longest(Distribution::LogNormal { sigma_percent: 100 }) > 3 * MILLISECOND);
    }

    #[test]
    fn a_rate_spaces_lines_evenly() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        path.apply(WayVerb::Slow(Slowness { delay: Delay::default(), rate: Some(1000) }));
        let arrivals = [0, 1, 2].map(|_| arrival(&mut path, Timestamp::EPOCH));
        assert_eq!(arrivals, [0, 1, 2].map(|n| Timestamp::EPOCH + n * MILLISECOND));
    }

    #[test]
    fn edits_and_resets_count_lines_from_the_moment_they_are_asked_for() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        path.send(Timestamp::EPOCH, || LINE);
        path.apply(WayVerb::Drop { nth: 2 });
        path.apply(WayVerb::Duplicate { nth: 1 });
        path.apply(WayVerb::Reset { after: 2 });
        assert_eq!(path.send(Timestamp::EPOCH, || LINE), Passage::Twice(Timestamp::EPOCH));
        assert!(!path.resets_now());
        assert_eq!(path.send(Timestamp::EPOCH, || LINE), Passage::Lost);
        assert!(path.resets_now() && !path.resets_now());
        assert!(path.is_clear());
    }

    #[test]
    fn bytes_go_out_one_line_after_the_other_and_then_take_the_latency() {
        let mut path = thin(5 * MILLISECOND, a_line_in(2 * MILLISECOND));
        assert!(!path.is_clear());
        let arrivals = [0, 0, 1, 50].map(|at| arrival(&mut path, Timestamp::EPOCH + at * MILLISECOND));
        assert_eq!(arrivals, [7, 9, 11, 57].map(|at| Timestamp::EPOCH + at * MILLISECOND));
        let odd = Bandwidth::from_bytes_a_second(3000);
        // 7/3 ms, rounded up to the nanosecond.
        let passage = thin(Duration::ZERO, odd).send(Timestamp::EPOCH, || 7);
        assert_eq!(passage, Passage::Arrives(Timestamp::from_nanoseconds(2_333_334)));
    }

    #[test]
    fn lines_of_a_thin_way_with_jitter_stay_in_order_and_arrive_no_earlier_than_they_are_out() {
        let bandwidth = a_line_in(MILLISECOND);
        let mut path = Path::new(Delay { jitter: 3 * MILLISECOND, bandwidth, ..Delay::default() }, 1, WAY);
        let arrivals: Vec<_> = (0..100).map(|_| arrival(&mut path, Timestamp::EPOCH)).collect();
        assert!(arrivals.is_sorted());
        for (out, at) in (1..).zip(arrivals) {
            let out = Timestamp::EPOCH + out * MILLISECOND;
            assert!(at >= out && at <= out + 3 * MILLISECOND, "{at}");
        }
    }

    #[test]
    fn the_lesser_of_two_bandwidths_counts_and_healing_takes_back_only_the_fault() {
        let mut path = thin(Duration::ZERO, a_line_in(2 * MILLISECOND));
        let slow = |line| Slowness { delay: Delay { bandwidth: a_line_in(line), ..Delay::default() }, rate: None };
        let takes = |path: &mut Path, at: u32| {
            let sent = Timestamp::EPOCH + at * Duration::from_secs(1);
            arrival(path, sent).since(sent)
        };
        path.apply(WayVerb::Slow(slow(8 * MILLISECOND)));
        assert_eq!(takes(&mut path, 0), 8 * MILLISECOND);
        path.apply(WayVerb::Slow(slow(MILLISECOND)));
        assert_eq!(takes(&mut path, 1), 2 * MILLISECOND);
        path.apply(WayVerb::Heal);
        assert_eq!(takes(&mut path, 2), 2 * MILLISECOND);
        let mut path = path.renewed(7, WAY);
        assert_eq!((takes(&mut path, 0), path.is_clear()), (2 * MILLISECOND, false));
    }

    #[test]
    fn a_way_whose_bandwidth_was_a_fault_is_clear_once_healed() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        path.apply(WayVerb::Slow(Slowness {
            delay: Delay { bandwidth: a_line_in(MILLISECOND), ..Delay::default() },
            rate: None,
        }));
        assert!(!path.is_clear());
        path.apply(WayVerb::Heal);
        assert!(path.is_clear());
    }

    #[test]
    fn a_rate_lets_lines_in_and_a_bandwidth_lets_them_out() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        let delay = Delay { bandwidth: a_line_in(MILLISECOND), ..Delay::default() };
        path.apply(WayVerb::Slow(Slowness { delay, rate: Some(100) }));
        let arrivals = [0, 0].map(|_| arrival(&mut path, Timestamp::EPOCH));
        assert_eq!(arrivals, [1, 11].map(|at| Timestamp::EPOCH + at * MILLISECOND));
    }

    #[test]
    fn lines_behind_lost_ones_need_not_wait_for_them() {
        let delay = Delay { bandwidth: a_line_in(Duration::from_secs(1)), ..Delay::default() };
        for slowness in [Slowness { delay, rate: None }, Slowness { delay: Delay::default(), rate: Some(1) }] {
            let mut path = path(Duration::ZERO, Duration::ZERO);
            path.apply(WayVerb::Slow(slowness));
            (0..10).for_each(|_| {
                assert!(arrival(&mut path, Timestamp::EPOCH) <= Timestamp::EPOCH + 10 * Duration::from_secs(1))
            });
            let now = Timestamp::EPOCH + MILLISECOND;
            path.emptied(now);
            // As if one line had just gone out.
            assert_eq!(arrival(&mut path, now), now + Duration::from_secs(1));
        }
    }

    #[test]
    fn a_lossy_way_loses_its_share_of_the_lines_drawn_by_their_number() {
        let lost = |share: &str, seed| {
            let mut path = Path::new(Delay::default(), seed, WAY);
            path.apply(WayVerb::Lose(share.parse().expect("it is a share")));
            let vanishes = |_: &u32| path.send(Timestamp::EPOCH, || LINE) == Passage::Vanishes;
            (0..10_000).filter(vanishes).collect::<Vec<u32>>()
        };
        assert!((400..600).contains(&lost("5%", 1).len()));
        assert_eq!((lost("100%", 1).len(), lost("5%", 1)), (10_000, lost("5%", 1)));
        assert_ne!(lost("5%", 1), lost("5%", 2));
        // What is lost at 5 % is lost at 10 %, too.
        let more = lost("10%", 1);
        assert!(lost("5%", 1).iter().all(|line| more.contains(line)));
    }

    #[test]
    fn a_verb_tells_what_its_driver_has_to_do() {
        let mut path = path(Duration::ZERO, Duration::ZERO);
        let severs = Effect { severs: true, ..Effect::default() };
        assert_eq!(
            [WayVerb::Cut, WayVerb::Cut, WayVerb::Heal].map(|verb| path.apply(verb)),
            [severs, Effect::default(), Effect::default()]
        );
        assert_eq!(path.apply(WayVerb::Reset { after: 0 }), severs);
        assert_eq!(path.apply(WayVerb::HalfOpen), Effect::default());
        assert_eq!(path.apply(WayVerb::Heal), Effect { severs: true, answers: true, ..Effect::default() });
        assert_eq!(path.apply(WayVerb::Hold), Effect::default());
        assert_eq!(path.apply(WayVerb::Release), Effect { frees: true, ..Effect::default() });
    }

    #[test]
    fn a_way_is_small() {
        assert_eq!(std::mem::size_of::<Path>(), 56);
    }
}
