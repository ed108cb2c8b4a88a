//! Replies that wait until neighbours have taken the update: which connections wait, and how servers learn what was taken.
//!
//! Inside this process a reader's count of handled lines is at hand, so no acknowledgement is written. What is written to a
//! neighbour in another process counts as taken. Not here: what is waited for, which the node knows.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::activity::Begun;
use super::gate::Mode;
use super::link::Lane;
use super::server::Life;
use super::{Shared, lock};
use crate::config::{ReplyMode, Way};
use crate::node::{Input, Node, Settled, Ticket};

/// Connections of one server whose replies wait, each by its ticket. Many wait at once, so that a wait allocates nothing.
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
}

impl Waiting {
    fn open(&mut self) -> Ticket {
        let place = self.free.pop().unwrap_or(self.places.len() as u32);
        if place as usize == self.places.len() {
            self.places.push(Place::Free);
        }
        self.places[place as usize] = Place::Open(None);
        Ticket(place)
    }

    /// The node has settled a ticket.
    fn settle(&mut self, ticket: Ticket, how: Settled) {
        let place = &mut self.places[ticket.0 as usize];
        match std::mem::take(place) {
            Place::Open(waker) => {
                *place = Place::Settled(how);
                waker.into_iter().for_each(Waker::wake);
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
            Place::Free => {}
        }
    }
}

/// Replies that wait. They count as due at their server.
#[derive(Debug)]
pub(super) struct Held {
    life: Arc<Life>,
    ticket: Ticket,
    _begun: Begun,
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
            Place::Free | Place::Abandoned => Poll::Ready(Settled::Overdue),
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
    /// Lets the replies of a turn wait for neighbours. Returns `None` if nothing has to be waited for, or the server stops.
    pub(super) fn hold(self: &Arc<Self>, shared: &Shared, node: &mut Node) -> Option<Held> {
        if self.gate.mode() == Mode::Draining {
            return None;
        }
        let before = node.deadline();
        let mut waiting = lock(&self.waiting);
        let ticket = waiting.open();
        if !node.hold(shared.clock.now(), ticket) {
            waiting.settle(ticket, Settled::Taken);
            waiting.leave(ticket);
            return None;
        }
        if before.is_none_or(|before| node.deadline().is_some_and(|deadline| deadline < before)) {
            self.look_at_deadline();
        }
        Some(Held { life: self.clone(), ticket, _begun: shared.activity.begin(self.server.index()) })
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
    /// Tells the node how many lines of the way's connection were taken, unless the way has another connection by now.
    pub(super) fn catch_up(&self, shared: &Shared, life: &Life, connection: Option<u32>) {
        let channel = lock(&self.channel);
        let is_of_now = |open: u32| connection.is_none_or(|connection| connection == open);
        let Some(channel) = channel.as_ref().filter(|channel| is_of_now(channel.connection)) else { return };
        if life.gate.is_paused() {
            return;
        }
        let taken = self.taken(channel).saturating_add_signed(channel.astray);
        let mut node = lock(&life.node);
        node.handle(shared.clock.now(), Input::Taken { link: self.link, lines: taken }, &mut Vec::new());
        life.settle(&mut node);
    }

    /// Tells the node of lines that went astray: their writer cannot know that they were not taken.
    pub(super) fn tell_strays(&self, shared: &Shared, life: &Life) {
        let strays = shared.is_patient()
            && lock(&self.channel).as_mut().is_some_and(|channel| std::mem::take(&mut channel.strays));
        if strays {
            self.catch_up(shared, life, None);
        }
    }

    /// Returns `true` if no flow counts the lines of the way's connection: its neighbour is in another process.
    pub(super) fn is_uncounted(&self) -> bool {
        lock(&self.channel).as_ref().is_some_and(|channel| channel.lines.is_none())
    }

    /// Counts lines of this way that were delivered, where no flow counts them, and tells the node.
    pub(super) fn on_delivered(&self, shared: &Shared, life: &Life, lines: u64) {
        self.delivered.fetch_add(lines, Ordering::Relaxed);
        if shared.is_patient() {
            self.catch_up(shared, life, None);
        }
    }
}
