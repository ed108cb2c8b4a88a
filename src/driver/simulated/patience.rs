//! Replies that wait until other servers have the update: which sessions wait, and how servers learn what was taken.
//!
//! A reader tells the writer of a connection which of its lines it acknowledges. That goes back over the same connection and takes
//! the present latency of the way back, but no cut, hold or loss of that way touches it. On real sockets acknowledgements take no
//! latency. Not here: what is waited for, which the node knows.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::SimulatedDriver;
use super::client::Hold;
use super::host::Deferred;
use super::queue::{Due, Timer};
use crate::config::{LinkId, LinkMode, ReplyMode, ServerId};
use crate::history::Event;
use crate::node::{Input, Node, Settled, Ticket};
use crate::time::Timestamp;

/// What a herd whose replies wait remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    waiting: BTreeMap<Ticket, Waiter>,
    tickets: u32,
    /// By pipe.
    pipes: Vec<Unacknowledged>,
}

/// What a ticket is for.
#[derive(Debug, Clone, Copy)]
enum Waiter {
    /// The replies of a session.
    Session(u32),
    /// The acknowledgement of a line that this connection of this pipe has brought.
    Line { pipe: u32, connection: u32, number: u64 },
}

/// Lines of a pipe of which its writer does not know that they are taken or lost.
#[derive(Debug, Default, Clone)]
struct Unacknowledged {
    /// In the order in which they went out.
    lines: VecDeque<Sent>,
    /// What the writer will learn: when, on which connection, and about which line.
    told: VecDeque<(Timestamp, u32, u64)>,
}

/// A line that went out.
#[derive(Debug, Clone, Copy)]
struct Sent {
    connection: u32,
    number: u64,
    /// Its acknowledgement waits.
    is_read: bool,
}

impl Patience {
    /// Returns what a herd needs in which replies wait, or `None` where none does.
    pub(super) fn of(reply: Option<ReplyMode>, pipes: usize) -> Option<Box<Self>> {
        let waits = reply.unwrap_or_default() != ReplyMode::AtOnce;
        waits.then(|| Box::new(Self { pipes: vec![Unacknowledged::default(); pipes], ..Self::default() }))
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
        let opened = if accepts { self.open(server, Waiter::Session(slot), Node::hold) } else { None };
        let Some(ticket) = opened else { return self.let_go(slot, Settled::Taken) };
        self.hosts[server.index()].held += 1;
        self.held += 1;
        self.clients.session(slot).hold = Hold::Until(ticket);
    }

    /// Opens a ticket if a server has something to wait for.
    fn open(
        &mut self,
        server: ServerId,
        waiter: Waiter,
        hold: impl FnOnce(&mut Node, Timestamp, Ticket) -> bool,
    ) -> Option<Ticket> {
        let patience = self.patience.as_mut()?;
        let ticket = Ticket(patience.tickets);
        if !hold(&mut self.hosts[server.index()].node, self.now, ticket) {
            return None;
        }
        patience.tickets += 1;
        patience.waiting.insert(ticket, waiter);
        self.queue_wake(server);
        // One ticket more may have let another go.
        self.settle_soon(server.0);
        Some(ticket)
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
        self.say_what_is_due(slot);
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
            match self.patience.as_ref().and_then(|patience| patience.waiting.get(&ticket).copied()) {
                Some(Waiter::Session(slot)) => self.let_go(slot, how),
                Some(Waiter::Line { pipe, connection, number }) => {
                    self.patience.as_mut().map(|patience| patience.waiting.remove(&ticket));
                    // Over a connection of its own the end says it, however it came to that.
                    if how == Settled::Taken || self.pipes[pipe as usize].mode == LinkMode::PerMessage {
                        self.acknowledge(pipe, connection, number);
                    }
                }
                None => {}
            }
        }
    }

    /// A line goes out over a connection of a pipe.
    #[inline]
    pub(super) fn send_out(&mut self, pipe: u32, connection: u32, number: u64) {
        if let Some(patience) = &mut self.patience {
            patience.pipes[pipe as usize].lines.push_back(Sent { connection, number, is_read: false });
        }
    }

    /// A server has handled a line of a connection. It acknowledges the line, now or when its ticket is settled.
    #[inline]
    pub(super) fn take_line(&mut self, pipe: u32, connection: u32) {
        if self.patience.is_some() {
            self.take_in(pipe, connection);
        }
    }

    #[inline(never)]
    fn take_in(&mut self, pipe: u32, connection: u32) {
        let is_it = |sent: &&mut Sent| sent.connection == connection && !sent.is_read;
        let lines = self.patience.as_mut().map(|patience| &mut patience.pipes[pipe as usize].lines);
        // None if its writer begins a new life.
        let Some(sent) = lines.and_then(|lines| lines.iter_mut().find(is_it)) else { return };
        sent.is_read = true;
        let number = sent.number;
        let state = &self.pipes[pipe as usize];
        let (reader, back) = (ServerId(state.to), state.back);
        let from = Some(LinkId(back - self.host(reader).first_pipe));
        let waiter = Waiter::Line { pipe, connection, number };
        if self.open(reader, waiter, |node, now, ticket| node.hold_heard(now, ticket, from)).is_none() {
            self.acknowledge(pipe, connection, number);
        }
    }

    /// A line that a server has read is acknowledged.
    fn acknowledge(&mut self, pipe: u32, connection: u32, number: u64) {
        let Some(patience) = &mut self.patience else { return };
        let lines = &mut patience.pipes[pipe as usize].lines;
        let is_it = |sent: &Sent| sent.connection == connection && sent.number == number && sent.is_read;
        if let Some(index) = lines.iter().position(is_it) {
            lines.remove(index);
            self.tell_of(pipe, connection, number, false);
        }
    }

    /// A line is lost, though its connection goes on. Its writer cannot know that it was not taken.
    pub(super) fn take_lost(&mut self, pipe: u32, number: u64) {
        self.tell_of(pipe, self.pipes[pipe as usize].opened, number, false);
    }

    /// A line of a per-message pipe found nobody to take it.
    pub(super) fn take_back(&mut self, pipe: u32, number: u64) {
        self.tell_of(pipe, self.pipes[pipe as usize].opened, number, true);
    }

    /// Everything that went out on a pipe and is not acknowledged is lost. The writer of a per-message pipe learns that now; that
    /// of a persistent one learns that its link is lost.
    pub(super) fn lose_unacknowledged(&mut self, pipe: u32) {
        let Some(patience) = &mut self.patience else { return };
        let lines = std::mem::take(&mut patience.pipes[pipe as usize].lines);
        if self.pipes[pipe as usize].mode == LinkMode::PerMessage {
            lines.iter().for_each(|sent| self.tell_of(pipe, sent.connection, sent.number, true));
        }
    }

    /// The writer of a pipe begins a new life.
    pub(super) fn begin_counting(&mut self, pipe: u32) {
        if let Some(patience) = &mut self.patience {
            patience.pipes[pipe as usize] = Unacknowledged::default();
        }
    }

    /// A server is gone, and what it would have acknowledged.
    pub(super) fn forget_lines_of(&mut self, server: ServerId) {
        let Self { patience: Some(patience), pipes, .. } = self else { return };
        let is_its =
            |waiter: &Waiter| matches!(*waiter, Waiter::Line { pipe, .. } if pipes[pipe as usize].to == server.0);
        patience.waiting.retain(|_, waiter| !is_its(waiter));
    }

    /// Tells the writer of a pipe about a line after the latency of the way back, or now if that is its own doing.
    fn tell_of(&mut self, pipe: u32, connection: u32, number: u64, is_own: bool) {
        let Some(patience) = &mut self.patience else { return };
        let back = self.pipes[pipe as usize].back;
        let latency = if is_own { Duration::ZERO } else { self.pipes[back as usize].path.latency() };
        let told = &mut patience.pipes[pipe as usize].told;
        let at = told.back().map_or(self.now + latency, |&(last, ..)| last.max(self.now + latency));
        told.push_back((at, connection, number));
        self.queue.push(at, Due::Timer(Timer::Taken(pipe)));
        self.busy += 1;
    }

    /// The writer of a pipe learns about a line.
    pub(super) fn on_taken(&mut self, pipe: u32) {
        self.busy -= 1;
        let Some(patience) = &mut self.patience else { return };
        let (now, told) = (self.now, &mut patience.pipes[pipe as usize].told);
        // None if the writer's life is over, and what it was told with it.
        let Some((_, connection, number)) = told.pop_front_if(|&mut (at, ..)| at <= now) else { return };
        let state = &self.pipes[pipe as usize];
        let is_of_now = state.mode == LinkMode::PerMessage || (state.is_connected() && state.opened == connection);
        if is_of_now {
            self.bring(state.from, Deferred::Taken(pipe, number));
        }
    }

    pub(super) fn tell_taken(&mut self, pipe: u32, number: u64) {
        let writer = ServerId(self.pipes[pipe as usize].from);
        let link = LinkId(pipe - self.host(writer).first_pipe);
        self.tell(writer, Input::Taken { link, lines: number..=number });
    }
}
