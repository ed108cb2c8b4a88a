//! Replies that wait until neighbours have taken the update: which sessions wait, and how servers learn what was taken.
//!
//! A reader tells the writer of a connection how many of its lines it has taken. That goes back over the same connection, so no
//! fault of the other way delays it, and takes the latency of the way back. Not here: what is waited for, which the node knows.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::SimulatedDriver;
use super::client::Hold;
use super::queue::{Due, Timer};
use crate::config::{LinkId, LinkMode, ReplyMode, ServerId};
use crate::history::Event;
use crate::node::{Input, Settled, Ticket};
use crate::time::Timestamp;

/// What a herd whose replies wait remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    /// Sessions whose replies wait, by ticket.
    waiting: BTreeMap<Ticket, u32>,
    tickets: u32,
    /// By pipe.
    taken: Vec<Taken>,
}

/// How many lines of a pipe have been taken, and what its writer will learn of that.
#[derive(Debug, Default, Clone)]
struct Taken {
    /// The connection that is counted on. On a per-message pipe, the last one before the writer's present life.
    connection: u32,
    /// Lines that were taken, or never will be, before the first of `messages`.
    lines: u64,
    /// Copies of lines that are still to be taken and do not count.
    doubled: u64,
    /// Lines of a per-message pipe since then: their connections, or 0 for one that found nobody; and whether it is over.
    messages: VecDeque<(u32, bool)>,
    /// What the writer will learn: when, on which connection, and how many lines.
    told: VecDeque<(Timestamp, u32, u64)>,
}

impl Patience {
    /// Returns what a herd needs in which replies wait, or `None` where none does.
    pub(super) fn of(reply: Option<ReplyMode>, pipes: usize) -> Option<Box<Self>> {
        let waits = reply.unwrap_or_default() != ReplyMode::AtOnce;
        waits.then(|| Box::new(Self { taken: vec![Taken::default(); pipes], ..Self::default() }))
    }
}

impl SimulatedDriver {
    /// The replies of a session's turn are complete. They go out, or wait.
    pub(super) fn end_turn(&mut self, slot: u32) {
        let session = self.clients.session(slot);
        if session.hold != Hold::Turn {
            // Over in the meantime.
            return;
        }
        let (server, accepts) = (session.server, !session.accepted.is_empty());
        let now = self.now;
        if let Some(patience) = self.patience.as_mut().filter(|_| accepts) {
            let ticket = Ticket(patience.tickets);
            if self.hosts[server.index()].node.hold(now, ticket) {
                patience.tickets += 1;
                patience.waiting.insert(ticket, slot);
                self.hosts[server.index()].held += 1;
                self.held += 1;
                self.clients.session(slot).hold = Hold::Until(ticket);
                return self.queue_wake(server);
            }
        }
        self.let_go(slot, Settled::Taken);
    }

    /// Lets the replies of a session go out, and its server read what the client wrote meanwhile.
    fn let_go(&mut self, slot: u32, how: Settled) {
        self.forget_ticket(slot);
        let session = self.clients.session(slot);
        let (server, id, accepted) = (session.server, session.id, std::mem::take(&mut session.accepted));
        self.busy += session.answers.len() as u64;
        let life = self.host(server).life;
        for report in accepted {
            let overdue = how == Settled::Overdue;
            self.observe(|| Event::Acknowledged { server, life, session: Some(id), report, overdue });
        }
        self.on_answered(slot);
        if self.clients.session(slot).is_unread() {
            self.read_session(slot);
        }
    }

    /// Lets everything go that a client of a server which stops has been accepted, whether neighbours have it or not.
    pub(super) fn let_go_all(&mut self, slot: u32) {
        while let Hold::Until(_) = self.clients.session(slot).hold {
            self.let_go(slot, Settled::Overdue);
        }
    }

    /// Forgets that the replies of a session wait.
    pub(super) fn forget_ticket(&mut self, slot: u32) {
        let session = self.clients.session(slot);
        let (server, hold) = (session.server, std::mem::take(&mut session.hold));
        if let (Hold::Until(ticket), Some(patience)) = (hold, &mut self.patience) {
            patience.waiting.remove(&ticket);
            let host = &mut self.hosts[server.index()];
            host.held -= 1;
            self.held -= u64::from(!host.paused);
        }
    }

    /// A node may have replies that wait no longer.
    #[inline]
    pub(super) fn settle_soon(&mut self, server: u32) {
        if self.patience.is_some() && self.hosts[server as usize].node.has_settled() {
            self.busy += 1;
            self.queue.push(self.now, Due::Timer(Timer::Settled(server)));
        }
    }

    pub(super) fn on_settled(&mut self, server: ServerId) {
        self.busy -= 1;
        if !self.host(server).paused {
            self.settle(server);
        }
    }

    /// Lets replies go that wait no longer.
    pub(super) fn settle(&mut self, server: ServerId) {
        while let Some((ticket, how)) = self.host_mut(server).node.settled() {
            let slot = self.patience.as_ref().and_then(|patience| patience.waiting.get(&ticket).copied());
            if let Some(slot) = slot {
                self.let_go(slot, how);
            }
        }
    }

    /// A server has read a line of a connection.
    #[inline]
    pub(super) fn take_line(&mut self, pipe: u32, connection: u32) {
        if self.patience.is_some() {
            self.count_line(pipe, connection);
        }
    }

    #[inline(never)]
    fn count_line(&mut self, pipe: u32, connection: u32) {
        self.take(pipe, false, |taken, mode| match mode {
            LinkMode::Persistent => {
                taken.begin(connection);
                match taken.doubled {
                    0 => taken.lines += 1,
                    _ => taken.doubled -= 1,
                }
            }
            LinkMode::PerMessage => taken.end_messages(|of| of == connection),
        });
    }

    /// A line will never be read, though its connection goes on. Its writer cannot know that it was not taken.
    pub(super) fn take_lost(&mut self, pipe: u32) {
        let connection = self.pipes[pipe as usize].opened;
        self.take_line(pipe, connection);
    }

    /// A line goes out twice and is to be counted once.
    pub(super) fn take_twice(&mut self, pipe: u32) {
        let connection = self.pipes[pipe as usize].opened;
        self.take(pipe, false, |taken, mode| {
            if mode == LinkMode::Persistent {
                taken.begin(connection);
                taken.doubled += 1;
            }
        });
    }

    /// A line of a per-message pipe has a connection, or found nobody to take it.
    pub(super) fn begin_message(&mut self, pipe: u32, connection: Option<u32>) {
        self.take(pipe, connection.is_none(), |taken, _| {
            taken.messages.push_back((connection.unwrap_or(0), connection.is_none()));
            taken.end_messages(|_| false);
        });
    }

    /// Everything that was in flight on a per-message pipe is lost.
    pub(super) fn lose_messages(&mut self, pipe: u32) {
        self.take(pipe, true, |taken, _| taken.end_messages(|_| true));
    }

    /// The writer of a pipe begins a new life.
    pub(super) fn begin_counting(&mut self, pipe: u32) {
        let opened = self.pipes[pipe as usize].opened;
        if let Some(patience) = &mut self.patience {
            patience.taken[pipe as usize] = Taken { connection: opened, ..Taken::default() };
        }
    }

    /// Counts lines that were taken, and tells the writer after the latency of the way back, or now if it was told already.
    fn take(&mut self, pipe: u32, was_told: bool, count: impl FnOnce(&mut Taken, LinkMode)) {
        let Some(patience) = &mut self.patience else { return };
        let (state, taken) = (&self.pipes[pipe as usize], &mut patience.taken[pipe as usize]);
        let before = (taken.connection, taken.lines);
        count(taken, state.mode);
        if (taken.connection, taken.lines) != before {
            // A dial that found nobody is the writer's own.
            let latency = if was_told { Duration::ZERO } else { self.pipes[state.back as usize].path.latency() };
            let at = self.now + latency;
            let at = taken.told.back().map_or(at, |&(last, ..)| last.max(at));
            taken.told.push_back((at, taken.connection, taken.lines));
            self.queue.push(at, Due::Timer(Timer::Taken(pipe)));
            self.busy += 1;
        }
    }

    /// The writer of a pipe learns how many of its lines were taken.
    pub(super) fn on_taken(&mut self, pipe: u32) {
        self.busy -= 1;
        let Some(patience) = &mut self.patience else { return };
        let now = self.now;
        let taken = &mut patience.taken[pipe as usize];
        // None if the writer's life is over, and what it was told with it.
        let Some((_, connection, lines)) = taken.told.pop_front_if(|&mut (at, ..)| at <= now) else { return };
        let state = &self.pipes[pipe as usize];
        let is_of_now = match state.mode {
            LinkMode::Persistent => state.is_connected() && state.opened == connection,
            LinkMode::PerMessage => taken.connection == connection,
        };
        if is_of_now {
            self.bring_taken(pipe, lines);
        }
    }

    pub(super) fn tell_taken(&mut self, pipe: u32, lines: u64) {
        let writer = ServerId(self.pipes[pipe as usize].from);
        let link = LinkId(pipe - self.host(writer).first_pipe);
        self.tell(writer, Input::Taken { link, lines });
    }
}

impl Taken {
    /// Counts on this connection of a persistent pipe from now on.
    fn begin(&mut self, connection: u32) {
        if std::mem::replace(&mut self.connection, connection) != connection {
            (self.lines, self.doubled) = (0, 0);
        }
    }

    /// Ends the messages on some connections, and counts those that are over up to the first that is not.
    fn end_messages(&mut self, ends: impl Fn(u32) -> bool) {
        for (connection, is_over) in &mut self.messages {
            *is_over |= ends(*connection);
        }
        while self.messages.pop_front_if(|&mut (_, is_over)| is_over).is_some() {
            self.lines += 1;
        }
    }
}
