//! One way of a link on virtual time: its connection, and how many lines are where on it.
//!
//! Not here: what a way does to single lines ([`Path`]), and the lines in flight, which lie in the queue.

use crate::config::{LinkMode, ServerId, Way};
use crate::driver::path::{Dial, Path};
use crate::driver::stage;
use crate::time::Timestamp;
use crate::wire::Line;

/// One way of a link. Two cache lines: the first is what a line's arrival looks at, and in big herds fetching them is most of
/// the work.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Pipe {
    /// Who writes, by place among the hosts.
    pub(super) from: u32,
    /// Who reads.
    pub(super) to: u32,
    /// The other way of the same link, by place among the pipes.
    pub(super) back: u32,
    /// Connections opened so far: the number of the last one. A per-message pipe opens one for each line.
    pub(super) opened: u32,
    /// Number of the last connection whose lines in flight were lost. Lines of connections up to this one do not arrive.
    pub(super) lost_through: u32,
    /// Lines in the queue that will arrive.
    pub(super) in_flight: u32,
    /// Lines that have arrived at a frozen server and are not lost.
    pub(super) unread: u32,
    /// Lines of this connection that were written and will not be read.
    pub(super) lost: u32,
    /// Ends of connections in the queue that will arrive, each behind the lines of its connection.
    pub(super) ending: u32,
    pub(super) mode: LinkMode,
    /// Whether the writer still owes lines that found the pipe full.
    pub(super) owing: bool,
    /// Whether its writer is about to write.
    pub(super) pulls: bool,
    /// Whether this pipe counts among those that will dial.
    pub(super) expected: bool,
    /// Lines that have not left: those of a held pipe, and those of a per-message pipe that still dial.
    pub(super) stage: Option<Box<Stage>>,
    pub(super) connection: Connection,
    pub(super) path: Path,
    /// Dials made so far.
    pub(super) dials: u32,
    /// Number of times that everything in flight was lost. Ends of connections from before the last time do not arrive.
    /// Not a connection's number: a connection that was reset still has its end to send.
    pub(super) losses: u32,
}

/// A persistent connection, as the writer's side of it stands. Always `Down` on a per-message pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// None, and none is being dialled.
    Down,
    /// A dial is under way.
    Dialing(Dial),
    /// Lines arrive.
    Up,
    /// The reader is gone and the writer does not know yet: what it writes is lost.
    Broken {
        /// When it learns.
        until: Timestamp,
    },
}

/// Lines that have been taken from the writer's outbox and have not left.
pub(super) type Stage = stage::Stage<Staged>;

/// A line that has not left.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    pub(super) line: Line,
    /// Its writer's number ([`crate::node::Node::line_number`]).
    pub(super) number: u64,
}

impl Pipe {
    pub(super) fn new(from: u32, to: u32, back: u32, mode: LinkMode, path: Path) -> Self {
        Self {
            from,
            to,
            back,
            mode,
            owing: false,
            pulls: false,
            expected: false,
            connection: Connection::Down,
            opened: 0,
            lost_through: 0,
            in_flight: 0,
            ending: 0,
            unread: 0,
            lost: 0,
            path,
            dials: 0,
            losses: 0,
            stage: None,
        }
    }

    /// Whole and unused again, in a run with this seed.
    pub(super) fn reset(&mut self, seed: u64) {
        let path = self.path.renewed(seed, self.way());
        *self = Self::new(self.from, self.to, self.back, self.mode, path);
    }

    pub(super) fn way(&self) -> Way {
        Way { from: ServerId(self.from), to: ServerId(self.to) }
    }

    /// Lines on the pipe, in whatever place.
    pub(super) fn load(&self) -> usize {
        (self.in_flight + self.unread) as usize + self.stage.as_ref().map_or(0, |stage| stage.len())
    }

    /// Whether the writer has a connection, as far as it knows.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Up | Connection::Broken { .. })
    }

    pub(super) fn is_dialing(&self) -> bool {
        matches!(self.connection, Connection::Dialing(_))
    }

    pub(super) fn stage(&mut self) -> &mut Stage {
        self.stage.get_or_insert_default()
    }
}
