//! Points in time as the core knows them, and the one place that reads the machine's clocks.
//!
//! Not here: the time a client states in an `IAMAT`, which is text on the wire ([`crate::wire::PosixTime`]), and
//! timers, which belong to the drivers.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Moment at which every run on virtual time begins: 2026-01-01 00:00:00 UTC.
pub const VIRTUAL_START: Timestamp = Timestamp::from_nanoseconds(1_767_225_600_000_000_000);

/// Nanoseconds since the Unix epoch, from 1677 to 2262; additions saturate at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// Later than everything that happens.
    pub const MAX: Self = Self(i64::MAX);
    /// The earliest time.
    pub const MIN: Self = Self(i64::MIN);

    /// The point `nanoseconds` after the Unix epoch (before it, when negative).
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(i128::from(self.0) - i128::from(earlier.0)).unwrap_or(0))
    }

    /// `self` moved by `offset` nanoseconds, which may be negative.
    pub const fn shifted(self, offset: i64) -> Self {
        Self(self.0.saturating_add(offset))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.shifted(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Seconds and nine decimals, as in a line's skew.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000)
    }
}

/// Readings of the machine's clocks, of which the best counts.
const READINGS: usize = 4;

/// Real time that never runs backwards: the wall clock read once, and monotonic time since then.
///
/// A clock that is set back while a herd runs therefore changes nothing in it.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    started: Timestamp,
    origin: Instant,
}

impl RealClock {
    /// Reads both clocks of the machine.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn start() -> Self {
        // One clock is read after the other. If the system runs something else in between, this clock is off by that, and the
        // clocks of two processes do not agree: of several readings the one that took the least time counts.
        let readings = (0..READINGS).map(|_| {
            let origin = Instant::now();
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (origin.elapsed(), Self { started: Timestamp::EPOCH + since_epoch, origin })
        });
        let best = readings.min_by_key(|(between, _)| *between);
        best.expect("there is more than one reading").1
    }

    /// Returns the time at which the clock was started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.started + self.origin.elapsed()
    }

    /// The monotonic instant at which this clock shows `time`; that of its start for earlier times.
    pub fn instant(&self, time: Timestamp) -> Instant {
        self.origin + time.since(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_printed_as_seconds_and_nine_decimals() {
        assert_eq!(Timestamp::from_nanoseconds(1_500_000_000).to_string(), "1.500000000");
        assert_eq!(Timestamp::from_nanoseconds(-20).to_string(), "-0.000000020");
    }

    #[test]
    fn differences_stop_at_zero_and_sums_saturate() {
        assert_eq!(Timestamp::EPOCH.since(Timestamp::from_nanoseconds(5)), Duration::ZERO);
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
    }
}
