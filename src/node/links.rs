//! A server's outgoing side of its links: who is dialled when.
//!
//! Not here: connections, which the drivers own; what is sent over a link ([`super::outbox`]).

use super::outbox::Outbox;
use crate::config::{LinkMode, Redial};
use crate::time::Timestamp;

/// How far the way to a neighbour is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The neighbour is being dialled.
    Dialing,
    /// The last dial failed or the connection was lost; the next dial is at this time.
    Waiting(Timestamp),
    /// Lines go out.
    Up {
        /// When the dial succeeded.
        since: Timestamp,
    },
}

/// The way to one neighbour.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) mode: LinkMode,
    pub(super) state: LinkState,
    /// Waits since it was open last.
    waits: u8,
    /// Connections by which the neighbour writes to us.
    pub(super) incoming: u32,
    pub(super) outbox: Outbox,
}

impl Link {
    pub(super) fn new(mode: LinkMode) -> Self {
        Self { mode, state: LinkState::Dialing, waits: 0, incoming: 0, outbox: Outbox::default() }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }

    /// As new again.
    pub(super) fn forget(&mut self) {
        self.state = LinkState::Dialing;
        self.waits = 0;
        self.incoming = 0;
        self.outbox.clear();
    }

    /// Waits for the next dial, twice as long as the last time.
    pub(super) fn wait(&mut self, now: Timestamp, redial: &Redial) {
        let backoff = redial.first.saturating_mul(1 << self.waits.min(31)).min(redial.cap);
        self.state = LinkState::Waiting(now + backoff);
        self.waits = self.waits.saturating_add(1);
        self.outbox.clear();
    }

    /// The neighbour can be reached: the next loss waits the shortest time again.
    pub(super) fn open(&mut self, now: Timestamp) {
        self.state = LinkState::Up { since: now };
        self.waits = 0;
    }
}
