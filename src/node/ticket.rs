//! Replies that wait until neighbours have taken what their server owed them.
//!
//! A wait is a place in a link's order of lines, not a line: the outbox puts a newer version in the place of an older one, so
//! what a client said leaves with that place or before it. Only replies to clients wait. Lines between servers never do, so no
//! two servers wait for each other. Not here: where the replies lie meanwhile, which the driver knows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::LinkId;
use crate::time::Timestamp;

/// The replies of one turn of a client's connection, by a number that the driver never uses again for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// Why replies wait no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Every neighbour whose link is up has taken what it was owed.
    Taken,
    /// The limit is over: a neighbour has not taken it.
    Overdue,
}

/// All replies that wait at one server.
#[derive(Debug, Clone)]
pub(super) struct Tickets {
    /// How long replies wait at most.
    limit: Duration,
    links: Box<[Progress]>,
    /// In the order in which they were opened, which is the order of their limits. The first one is not settled.
    open: VecDeque<Open>,
    /// How many tickets were opened before the first one of `open`.
    before: u64,
    settled: VecDeque<(Ticket, Settled)>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    ticket: Ticket,
    until: Timestamp,
    /// Links that it waits for. 0: it is settled.
    waits: u32,
}

/// How far the lines of one link are.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Fresh records taken from the outbox, lines or not.
    popped: u64,
    /// Lines handed to the connection.
    lines: u64,
    /// Lines of the connection that its reader has taken.
    taken: u64,
    /// Waits for this many records to leave the outbox, in order; by their place among all tickets.
    unsent: VecDeque<(u64, u64)>,
    /// Waits for this many lines to be taken, in order.
    sent: VecDeque<(u64, u64)>,
}

impl Tickets {
    pub(super) fn new(limit: Duration, links: usize) -> Self {
        Self {
            limit,
            links: vec![Progress::default(); links].into(),
            open: VecDeque::new(),
            before: 0,
            settled: VecDeque::new(),
        }
    }

    /// As new again.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.limit, self.links.len());
    }

    /// Lets the replies of a ticket wait for what links owe. `owed` gives the links that are up, with the fresh records that
    /// each owes. Returns `false` if there is nothing to wait for: the ticket is not opened.
    pub(super) fn open(&mut self, now: Timestamp, ticket: Ticket, owed: impl Iterator<Item = (LinkId, u64)>) -> bool {
        let place = self.before + self.open.len() as u64;
        let mut waits = 0;
        for (link, fresh) in owed {
            let progress = &mut self.links[link.index()];
            match fresh {
                0 if progress.taken >= progress.lines => continue,
                0 => progress.sent.push_back((progress.lines, place)),
                _ => progress.unsent.push_back((progress.popped + fresh, place)),
            }
            waits += 1;
        }
        if waits > 0 {
            self.open.push_back(Open { ticket, until: now + self.limit, waits });
        }
        waits > 0
    }

    /// A fresh record has left the outbox of a link. It `goes` out as a line unless the neighbour has it from elsewhere.
    pub(super) fn on_fresh(&mut self, link: LinkId, goes: bool) {
        let progress = &mut self.links[link.index()];
        progress.popped += 1;
        progress.lines += u64::from(goes);
        let popped = progress.popped;
        while let Some((_, place)) = progress.unsent.pop_front_if(|&mut (position, _)| position <= popped) {
            progress.sent.push_back((progress.lines, place));
        }
    }

    /// A line that is not a fresh record goes out over a link: a replayed one, or a control line.
    pub(super) fn on_other(&mut self, link: LinkId) {
        self.links[link.index()].lines += 1;
    }

    /// A link owes nothing for now. What left its outbox without a line may have been the last thing that a ticket waited for.
    pub(super) fn on_drained(&mut self, link: LinkId) {
        self.settle_taken(link);
    }

    /// The reader of a link's connection has taken so many of its lines.
    pub(super) fn on_taken(&mut self, link: LinkId, lines: u64) {
        let progress = &mut self.links[link.index()];
        progress.taken = progress.taken.max(lines);
        self.settle_taken(link);
    }

    /// The connection of a link is gone, or a new one begins: nothing waits for it any more.
    pub(super) fn on_link(&mut self, link: LinkId) {
        let Progress { unsent, sent, .. } = std::mem::take(&mut self.links[link.index()]);
        for (_, place) in sent.into_iter().chain(unsent) {
            self.settle_one(place);
        }
    }

    /// Settles the tickets whose limit is reached.
    pub(super) fn on_deadline(&mut self, now: Timestamp) {
        while let Some(open) = self.open.front().filter(|open| open.until <= now) {
            self.settled.push_back((open.ticket, Settled::Overdue));
            self.open.pop_front();
            self.before += 1;
            self.drop_settled();
        }
    }

    /// Settles all tickets before their limit.
    pub(super) fn let_go(&mut self) {
        self.before += self.open.len() as u64;
        let open = self.open.drain(..).filter(|open| open.waits > 0);
        self.settled.extend(open.map(|open| (open.ticket, Settled::Overdue)));
    }

    /// Returns when the next limit is reached.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.open.front().map(|open| open.until)
    }

    /// Takes a ticket whose replies wait no longer, in the order in which they came to that.
    pub(super) fn settled(&mut self) -> Option<(Ticket, Settled)> {
        self.settled.pop_front()
    }

    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Returns how many tickets are open.
    pub(super) fn len(&self) -> usize {
        self.open.iter().filter(|open| open.waits > 0).count()
    }

    fn settle_taken(&mut self, link: LinkId) {
        let taken = self.links[link.index()].taken;
        while let Some((_, place)) = self.links[link.index()].sent.pop_front_if(|&mut (lines, _)| lines <= taken) {
            self.settle_one(place);
        }
    }

    /// A ticket waits for one link less.
    fn settle_one(&mut self, place: u64) {
        // One whose limit was reached is not there any more.
        let Some(place) = place.checked_sub(self.before) else { return };
        let open = &mut self.open[place as usize];
        open.waits -= 1;
        if open.waits == 0 {
            self.settled.push_back((open.ticket, Settled::Taken));
            self.drop_settled();
        }
    }

    fn drop_settled(&mut self) {
        while self.open.pop_front_if(|open| open.waits == 0).is_some() {
            self.before += 1;
        }
    }
}
