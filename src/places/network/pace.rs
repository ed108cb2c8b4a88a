//! A least time between two calls.

use std::time::Duration;

use crate::time::Timestamp;

/// Whose turn it is when. Turns are given out in the order they are asked for; one that comes too late is refused, so no
/// more of them wait than fit into the time a search may take.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Timestamp,
}

impl Pace {
    /// Calls at least `interval` apart.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Timestamp::EPOCH }
    }

    /// How long to wait for a turn of one's own; `None`, and no turn, when it would not come before `deadline`.
    pub(super) fn reserve(&mut self, now: Timestamp, deadline: Timestamp) -> Option<Duration> {
        let turn = self.next.max(now);
        if turn >= deadline {
            return None;
        }
        self.next = turn + self.interval;
        Some(turn - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_nanoseconds(milliseconds * 1_000_000)
    }

    #[test]
    fn turns_are_an_interval_apart_and_none_is_given_that_comes_too_late() {
        let mut pace = Pace::new(Duration::from_secs(1));
        assert_eq!(pace.reserve(at(500), at(2600)), Some(Duration::ZERO));
        assert_eq!(pace.reserve(at(600), at(2600)), Some(Duration::from_millis(900)));
        assert_eq!(pace.reserve(at(600), at(2600)), Some(Duration::from_millis(1900)));
        assert_eq!(pace.reserve(at(600), at(2600)), None);
        assert_eq!(pace.reserve(at(600), at(9000)), Some(Duration::from_millis(2900)), "a refusal takes no turn");
        assert_eq!(pace.reserve(at(9000), at(9001)), Some(Duration::ZERO), "time without calls is not saved up");
        assert_eq!(pace.reserve(at(9000), at(11000)), Some(Duration::from_secs(1)));
    }
}
