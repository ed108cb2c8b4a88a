//! The way of observations from a herd's tasks to whoever asks the driver for them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use super::lock;
use crate::history::{Event, Observation};
use crate::time::RealClock;

/// What becomes of observations that nobody has asked for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// All are kept: for scenarios, whose script bounds their number and whose runner asks all the time.
    Lossless,
    /// So many are kept; while more wait, new ones are counted and forgotten, because a herd that serves people must not
    /// wait for who watches it.
    Lossy {
        /// Observations kept at most.
        capacity: usize,
    },
}

/// Observations that wait, in the order of their times.
#[derive(Debug)]
pub(super) struct Sink {
    capacity: usize,
    traffic: AtomicBool,
    queue: Mutex<VecDeque<Observation>>,
    forgotten: AtomicU64,
    filled: Notify,
}

impl Sink {
    pub(super) fn new(feed: Feed) -> Self {
        let capacity = match feed {
            Feed::Lossless => usize::MAX,
            Feed::Lossy { capacity } => capacity,
        };
        Self {
            capacity,
            traffic: AtomicBool::new(true),
            queue: Mutex::default(),
            forgotten: AtomicU64::new(0),
            filled: Notify::new(),
        }
    }

    /// Whether single lines are observed, not only servers and links.
    pub(super) fn set_traffic(&self, observed: bool) {
        self.traffic.store(observed, Ordering::Relaxed);
    }

    pub(super) fn wants_traffic(&self) -> bool {
        self.traffic.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, clock: &RealClock, event: Event) {
        let mut queue = lock(&self.queue);
        if queue.len() >= self.capacity {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Read under the lock, so that the order of the queue is the order of the times.
        queue.push_back(Observation { at: clock.now(), event });
        if queue.len() == 1 {
            self.filled.notify_one();
        }
    }

    pub(super) fn pop(&self) -> Option<Observation> {
        lock(&self.queue).pop_front()
    }

    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Observations forgotten since the last call.
    pub(super) fn take_forgotten(&self) -> u64 {
        self.forgotten.swap(0, Ordering::Relaxed)
    }
}
