//! Replies that wait until other servers have the update: which connections wait, and how servers learn what was taken.
//!
//! Inside this process a node is told, so no acknowledgement is written. A neighbour in another process is asked for some. What
//! is written to one that gives none counts as taken. Not here: what is waited for, which the node knows.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::acks::Acks;
use super::gate::Mode;
use super::lane::{Channel, Lane};
use super::rest::{Accounts, Begun};
use super::server::Life;
use super::{Shared, lock};
use crate::config::{LinkId, ReplyMode, Way};
use crate::node::{Input, Node, Settled, Ticket};
use crate::numbers::Numbers;
use crate::time::Timestamp;
use crate::wire::Taken;

/// Changes of the skew between numbers and places that are remembered for a connection. Only lines that a fault loses or
/// doubles make one, and what came before so many of them has been acknowledged long ago.
const KEPT_SKEWS: usize = 4096;

/// What waits at one server, by ticket: connections whose replies wait, and lines that are not acknowledged. Many wait at once,
/// so that a wait allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    places: Vec<Place>,
    /// Places that are neither open nor to be looked at.
    free: Vec<u32>,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Free,
    /// The node will settle it. The task of the connection is woken then.
    Open(Option<Waker>),
    /// The node will settle it, and nobody waits any more.
    Abandoned,
    /// The connection has not looked yet.
    Settled(Settled),
    /// When the node settles it, the line with this number is acknowledged.
    Line(Arc<Acks>, u64),
}

impl Waiting {
    fn open(&mut self, what: Place) -> Ticket {
        let place = self.free.pop().unwrap_or(self.places.len() as u32);
        if place as usize == self.places.len() {
            self.places.push(Place::Free);
        }
        self.places[place as usize] = what;
        Ticket(place)
    }

    /// The node has not opened a ticket.
    fn close(&mut self, ticket: Ticket) {
        self.places[ticket.0 as usize] = Place::Free;
        self.free.push(ticket.0);
    }

    /// The node has settled a ticket.
    fn settle(&mut self, ticket: Ticket, how: Settled) {
        let place = &mut self.places[ticket.0 as usize];
        match std::mem::take(place) {
            Place::Open(waker) => {
                *place = Place::Settled(how);
                waker.into_iter().for_each(Waker::wake);
            }
            Place::Line(acks, number) => {
                acks.release(number, how);
                self.free.push(ticket.0);
            }
            Place::Abandoned | Place::Free | Place::Settled(_) => self.free.push(ticket.0),
        }
    }

    /// Nobody waits for a ticket any more.
    fn leave(&mut self, ticket: Ticket) {
        let place = &mut self.places[ticket.0 as usize];
        match std::mem::take(place) {
            Place::Settled(_) => self.free.push(ticket.0),
            Place::Open(_) | Place::Abandoned => *place = Place::Abandoned,
            // Not while somebody waits.
            Place::Free | Place::Line(..) => {}
        }
    }
}

/// Replies that wait. They count as due at their server.
#[derive(Debug)]
pub(super) struct Held {
    life: Arc<Life>,
    ticket: Ticket,
    _begun: Begun<Arc<Accounts>>,
}

impl Future for Held {
    type Output = Settled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        match &mut lock(&self.life.waiting).places[self.ticket.0 as usize] {
            Place::Settled(how) => Poll::Ready(*how),
            Place::Open(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            // Not while this is here.
            Place::Free | Place::Abandoned | Place::Line(..) => Poll::Ready(Settled::Overdue),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.life.waiting).leave(self.ticket);
    }
}

impl Shared {
    /// Returns `true` if replies wait.
    pub(super) fn is_patient(&self) -> bool {
        self.rules.reply != ReplyMode::AtOnce
    }

    /// Returns `true` if a line is acknowledged when all that it reaches from here have it.
    pub(super) fn is_everywhere(&self) -> bool {
        self.rules.reply == ReplyMode::Everywhere
    }

    /// Returns how long a per-message way waits for the end of a line's connection. Where replies wait for that, as long as they.
    pub(super) fn answer_limit(&self) -> Duration {
        let timeout = self.topology.redial.timeout;
        if self.is_patient() { timeout.max(self.topology.limits.reply) } else { timeout }
    }

    /// The reader of a connection has taken lines of it.
    pub(super) fn on_taken(&self, way: Way, connection: u32) {
        let Some(life) = self.life(way.from).filter(|_| self.is_patient()) else { return };
        if let Some(link) = self.wiring.link(way) {
            life.lanes[link.index()].catch_up(self, &life, Some(connection));
        }
    }
}

impl Life {
    /// Lets the replies of a turn wait. Returns `None` if nothing has to be waited for, or the server stops.
    pub(super) fn hold(self: &Arc<Self>, shared: &Shared, node: &mut Node) -> Option<Held> {
        let opened = self.open(shared, node, Place::Open(None), Node::hold);
        let begun = || shared.accounts.begin_for_long(self.server.index());
        opened.map(|ticket| Held { life: self.clone(), ticket, _begun: begun() })
    }

    /// Lets the acknowledgement of the last line wait, which came by a link or from anybody and has this number. Returns `false`
    /// if nothing has to be waited for, or the server stops.
    pub(super) fn hold_heard(
        &self,
        shared: &Shared,
        node: &mut Node,
        from: Option<LinkId>,
        acks: &Arc<Acks>,
        number: u64,
    ) -> bool {
        let line = Place::Line(acks.clone(), number);
        let opened = self.open(shared, node, line, |node, now, ticket| node.hold_heard(now, ticket, from));
        opened.inspect(|_| acks.hold()).is_some()
    }

    /// Opens a ticket if the node has something to wait for.
    fn open(
        &self,
        shared: &Shared,
        node: &mut Node,
        what: Place,
        hold: impl FnOnce(&mut Node, Timestamp, Ticket) -> bool,
    ) -> Option<Ticket> {
        if self.gate.mode() == Mode::Draining {
            return None;
        }
        let before = node.deadline();
        let mut waiting = lock(&self.waiting);
        let ticket = waiting.open(what);
        if !hold(node, shared.clock.now(), ticket) {
            waiting.close(ticket);
            return None;
        }
        if before.is_none_or(|before| node.deadline().is_some_and(|deadline| deadline < before)) {
            self.look_at_deadline();
        }
        Some(ticket)
    }

    /// Lets replies go that wait no longer.
    pub(super) fn settle(&self, node: &mut Node) {
        if !node.has_settled() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        while let Some((ticket, how)) = node.settled() {
            waiting.settle(ticket, how);
        }
    }

    /// Lets all replies go: a server that stops answers before it is gone.
    pub(super) fn let_all_go(&self) {
        // Whoever had the node has opened its ticket, and whoever has it next sees that the server stops.
        let mut node = lock(&self.node);
        node.let_go();
        self.settle(&mut node);
    }

    /// Tells the node what was taken while the server was paused.
    pub(super) fn catch_up(&self, shared: &Shared) {
        if shared.is_patient() {
            self.lanes.iter().for_each(|lane| lane.catch_up(shared, self, None));
        }
    }
}

impl Lane {
    /// Tells the node which lines of the way's connection are acknowledged, unless the way has another connection by now.
    pub(super) fn catch_up(&self, shared: &Shared, life: &Life, connection: Option<u32>) {
        let channel = lock(&self.channel);
        let is_of_now = |open: u32| connection.is_none_or(|connection| connection == open);
        let Some(channel) = channel.as_ref().filter(|channel| is_of_now(channel.connection)) else { return };
        if life.gate.is_paused() {
            return;
        }
        let mut taken = channel.acks.take();
        if taken.is_empty() {
            return;
        }
        let mut node = lock(&life.node);
        for lines in taken.drain() {
            node.handle(shared.clock.now(), Input::Taken { link: self.link, lines }, &mut Vec::new());
        }
        life.settle(&mut node);
    }

    /// Lines have been written to a neighbour in another process. They count as taken if it acknowledges none.
    pub(super) fn on_written(&self, shared: &Shared, life: &Life) {
        self.update_written(shared, life, Written::told);
    }

    /// A neighbour in another process acknowledges no lines. Returns `true` if that is new.
    pub(super) fn on_refusal(&self, shared: &Shared, life: &Life) -> bool {
        self.update_written(shared, life, Written::on_refusal)
    }

    /// A line of a per-message way has been delivered, or is lost.
    pub(super) fn on_delivered(&self, number: u64) {
        if let Some(channel) = lock(&self.channel).as_ref() {
            channel.acks.add(number);
        }
    }

    /// The neighbour acknowledges lines of the way's connection, by their place on it.
    pub(super) fn on_took(&self, shared: &Shared, life: &Life, taken: Taken<'_>) {
        self.update_written(shared, life, |written, acks| written.took(taken, acks));
    }

    /// Changes what is known of lines that were written to another process, and tells the node what follows. Does nothing on a
    /// way within this process.
    fn update_written<T: Default>(
        &self,
        shared: &Shared,
        life: &Life,
        update: impl FnOnce(&mut Written, &Acks) -> T,
    ) -> T {
        let result = match lock(&self.channel).as_mut() {
            Some(Channel { acks, written: Some(written), .. }) => update(written, acks),
            _ => T::default(),
        };
        self.catch_up(shared, life, None);
        result
    }
}

/// Lines written on a connection to a neighbour in another process.
#[derive(Debug, Default)]
pub(super) struct Written {
    lines: u64,
    /// By how much the number of a line is above its place on the connection, from which place on: lines that were lost
    /// on the way have a number, and those that went twice have two places.
    skews: VecDeque<(u64, i64)>,
    /// Numbers of lines that are not acknowledged and have not been told to be taken.
    open: Numbers,
    neighbour: Neighbour,
}

/// Whether a neighbour in another process acknowledges lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Neighbour {
    /// It has not answered the question.
    #[default]
    Unknown,
    /// It does.
    Acknowledges,
    /// It does not: what is written counts as taken.
    IsClassic,
}

impl Written {
    /// A line is written.
    pub(super) fn push(&mut self, number: u64) {
        self.lines += 1;
        let skew = number as i64 - self.lines as i64;
        if self.skews.back().map_or(0, |&(_, skew)| skew) != skew {
            self.skews.push_back((self.lines, skew));
            if self.skews.len() > KEPT_SKEWS {
                self.skews.pop_front();
            }
        }
        if self.neighbour != Neighbour::Acknowledges {
            self.open.insert(number..=number);
        }
    }

    /// What was written has left.
    fn told(&mut self, acks: &Acks) {
        if self.neighbour == Neighbour::IsClassic {
            acks.append(&mut self.open);
        }
    }

    /// The neighbour has refused the question, or has not answered it in time. Returns `true` if that is new.
    fn on_refusal(&mut self, acks: &Acks) -> bool {
        let is_new = self.neighbour == Neighbour::Unknown;
        if is_new {
            self.neighbour = Neighbour::IsClassic;
            self.told(acks);
        }
        is_new
    }

    /// Returns `true` if the neighbour has not answered the question.
    pub(super) fn is_unanswered(&self) -> bool {
        self.neighbour == Neighbour::Unknown
    }

    fn took(&mut self, taken: Taken<'_>, acks: &Acks) {
        self.neighbour = Neighbour::Acknowledges;
        self.open = Numbers::default();
        let mut numbers = Numbers::default();
        for places in taken.iter() {
            self.numbers(&places, &mut numbers);
        }
        acks.append(&mut numbers);
    }

    /// Adds the numbers of the lines at some places.
    fn numbers(&self, places: &RangeInclusive<u64>, numbers: &mut Numbers) {
        let begins = std::iter::once((1, 0)).chain(self.skews.iter().copied());
        let ends = self.skews.iter().map(|&(begin, _)| begin - 1).chain([self.lines]);
        for ((begin, skew), end) in begins.zip(ends) {
            let (first, last) = (begin.max(*places.start()), end.min(*places.end()));
            if first <= last {
                numbers.insert(first.saturating_add_signed(skew)..=last.saturating_add_signed(skew));
            }
        }
    }
}
