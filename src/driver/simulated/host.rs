//! One server on virtual time: its node, and whether it runs.
//!
//! Not here: what happens between servers ([`super::network`]).

use crate::node::Node;
use crate::time::Timestamp;
use crate::wire::Line;

/// One server. What a line's arrival looks at stands first, and fits into the first cache line.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Host {
    /// The pipe of its first link; those of the others follow.
    pub(super) first_pipe: u32,
    /// How many links it has.
    pub(super) links: u32,
    /// Lives begun so far: the number of the last one.
    pub(super) life: u32,
    pub(super) up: bool,
    pub(super) paused: bool,
    /// It counts among those that wait for a timer of their node.
    pub(super) waits: bool,
    pub(super) node: Node,
    /// Sessions whose replies wait.
    pub(super) held: u32,
    /// The earliest [`super::queue::Timer::Wake`] that is queued for it; [`Timestamp::MAX`]: none.
    pub(super) wakes_at: Timestamp,
    /// What has happened to it while it was frozen, in order. Bounded: a pipe brings no more lines than its window and no
    /// more changes than its dials, and clients what the script lets them write.
    pub(super) inbox: Vec<Deferred>,
}

/// Something that happened to a frozen server.
#[derive(Debug, Clone)]
pub(super) enum Deferred {
    /// A line arrived by this connection of this pipe.
    Line { line: Line, pipe: u32, connection: u32 },
    /// Its dial of this pipe succeeded.
    Opened(u32),
    /// Its dial of this pipe failed.
    DialFailed(u32),
    /// Its connection of this pipe is gone.
    Lost(u32),
    /// The line with this number of this pipe of its own is acknowledged, or lost.
    Taken(u32, u64),
    /// The far end of this pipe of its own has dialled it.
    Seen(u32),
    /// The connection by which the far end of this pipe of its own dialled it has ended.
    Gone(u32),
    /// A client wrote on this session.
    Written(u32),
}

impl Host {
    pub(super) fn new(node: Node, first_pipe: u32, links: u32) -> Self {
        Self {
            node,
            first_pipe,
            links,
            life: 0,
            up: false,
            paused: false,
            waits: false,
            held: 0,
            wakes_at: Timestamp::MAX,
            inbox: Vec::new(),
        }
    }

    /// Forgets everything and does not run.
    pub(super) fn reset(&mut self) {
        self.node.forget();
        self.up = false;
        self.paused = false;
        self.held = 0;
        self.wakes_at = Timestamp::MAX;
        self.inbox.clear();
    }

    /// The pipes it writes on.
    pub(super) fn pipes(&self) -> std::ops::Range<u32> {
        self.first_pipe..self.first_pipe + self.links
    }
}
