//! Replies and acknowledgements that wait until neighbours have taken what their server owed them.
//!
//! | | who waits | for what |
//! |---|---|---|
//! | `neighbours` | a client's reply | each neighbour whose link is up has taken the update ([`InOrder`]) |
//! | `everywhere` | a client's reply, and the acknowledgement of a neighbour's line | each neighbour to which the update goes from here has acknowledged it ([`ByRecord`]) |
//!
//! Lines between servers never wait. So with `neighbours` no two servers wait for each other. With `everywhere` they do not
//! either: the acknowledgement of a line that brings news waits for lines that bring it to others, and every server has news
//! once. That of an older version waits for lines of the newer one that is known. That of a version which is known, or has been
//! news and is still under way from here, waits for nothing: in a ring it would wait for itself, and with it for every newer one.
//! So along a chain of waits versions never fall, and a server never comes twice with one version.
//!
//! Not here: where the replies lie meanwhile, which the driver knows.

mod by_record;
mod in_order;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::links::Link;
use super::records::RecordId;
use crate::config::{LinkId, ReplyMode};
use crate::time::Timestamp;
use crate::wire::{AtLine, Report};
use by_record::ByRecord;
use in_order::InOrder;

/// Tickets that are open at once at most. One more lets the oldest go, as if its limit were reached.
const MOST: usize = 1 << 16;

/// The replies of one turn of a client's connection, or the acknowledgement of a neighbour's line, by a number that the driver
/// does not use for others before the ticket is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// Why a ticket waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// What it waited for has happened.
    Taken,
    /// The limit is over: a neighbour has not taken it.
    Overdue,
}

/// All tickets of one server.
#[derive(Debug, Clone)]
pub(super) struct Tickets {
    reply: ReplyMode,
    /// How long a ticket waits at most.
    limit: Duration,
    links: Box<[Progress]>,
    /// In the order in which they were opened, which is the order of their limits. The first one is not settled.
    open: VecDeque<Open>,
    /// How many tickets were opened before the first one of `open`.
    before: u64,
    settled: VecDeque<(Ticket, Settled)>,
    /// Where they count: records that clients' updates concern for which no ticket is open.
    updated: Vec<RecordId>,
    /// Where it counts: the record that the last `AT` line concerns, if that line is not to be acknowledged at once.
    heard: Option<RecordId>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    ticket: Ticket,
    until: Timestamp,
    /// What it waits for. 0: it is settled.
    waits: u32,
    /// It is a client's.
    is_reply: bool,
}

/// How far the lines of one link are.
#[derive(Debug, Clone)]
enum Progress {
    InOrder(InOrder),
    ByRecord(ByRecord),
}

impl Tickets {
    pub(super) fn new(reply: ReplyMode, limit: Duration, links: usize) -> Self {
        Self {
            reply,
            limit,
            links: vec![Progress::new(reply); links].into(),
            open: VecDeque::new(),
            before: 0,
            settled: VecDeque::new(),
            updated: Vec::new(),
            heard: None,
        }
    }

    /// As new again.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.reply, self.limit, self.links.len());
    }

    /// A record has got newer.
    pub(super) fn on_stored(&mut self, record: RecordId) {
        if self.reply != ReplyMode::Everywhere {
            return;
        }
        for progress in &mut self.links {
            if let Progress::ByRecord(progress) = progress {
                progress.on_stored(record);
            }
        }
    }

    /// A client's update concerns a record, whose reply has not been held.
    pub(super) fn on_update(&mut self, record: RecordId) {
        if self.reply == ReplyMode::Everywhere {
            self.updated.push(record);
        }
    }

    /// An `AT` line concerns a record, or has nothing to wait for.
    pub(super) fn on_heard(&mut self, record: Option<RecordId>) {
        self.heard = record.filter(|_| self.reply == ReplyMode::Everywhere);
    }

    /// An `AT` line brings an older version of a record.
    pub(super) fn on_older(&mut self, record: RecordId, line: AtLine<'_>) {
        // Come back from where it went: it has been news here, and whoever brought it then waits for those to whom it went.
        let carries = |progress: &Progress| {
            if let Progress::ByRecord(progress) = progress { progress.carries(record, line) } else { false }
        };
        let is_back = self.links.iter().any(carries);
        self.on_heard(Some(record).filter(|_| !is_back));
    }

    /// Lets the replies of a client's turn wait. Returns `false` if there is nothing to wait for: the ticket is not opened.
    pub(super) fn hold(&mut self, now: Timestamp, ticket: Ticket, links: &[Link]) -> bool {
        let mut updated = std::mem::take(&mut self.updated);
        updated.sort_unstable();
        updated.dedup();
        let is_held = self.open(now, ticket, &updated, links, None);
        updated.clear();
        self.updated = updated;
        is_held
    }

    /// Lets the acknowledgement of the last `AT` line wait, which came by a link or from a stranger. Returns `false` if there is
    /// nothing to wait for: the ticket is not opened.
    pub(super) fn hold_heard(&mut self, now: Timestamp, ticket: Ticket, links: &[Link], from: Option<LinkId>) -> bool {
        let heard = self.heard.take();
        heard.is_some_and(|record| self.open(now, ticket, &[record], links, Some(from)))
    }

    /// `heard` is the link by which a line came that is to be acknowledged; nothing waits for that link.
    fn open(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        records: &[RecordId],
        links: &[Link],
        heard: Option<Option<LinkId>>,
    ) -> bool {
        let place = self.before + self.open.len() as u64;
        let mut waits = 0;
        for ((id, link), progress) in (0..).map(LinkId).zip(links).zip(&mut self.links) {
            if link.is_up() && heard.flatten() != Some(id) {
                waits += match progress {
                    Progress::InOrder(progress) => {
                        u32::from(progress.wait(link.outbox.fresh() as u64, place, self.before))
                    }
                    Progress::ByRecord(progress) => {
                        let waits =
                            |&&record: &&RecordId| progress.wait(record, link.outbox.owes(record), place, self.before);
                        records.iter().filter(waits).count() as u32
                    }
                };
            }
        }
        if waits > 0 {
            self.open.push_back(Open { ticket, until: now + self.limit, waits, is_reply: heard.is_none() });
            if self.open.len() > MOST {
                self.let_first_go();
            }
        }
        waits > 0
    }

    /// A fresh record has left the outbox of a link. It `goes` out as a line unless the neighbour has it from elsewhere.
    pub(super) fn on_fresh(&mut self, link: LinkId, record: RecordId, goes: Option<&Arc<Report>>) {
        match &mut self.links[link.index()] {
            Progress::InOrder(progress) => progress.on_fresh(goes.is_some()),
            Progress::ByRecord(progress) => progress.on_fresh(record, goes, self.before),
        }
        if goes.is_none() {
            // It may have been the last thing that a ticket waited for.
            self.settle_link(link);
        }
    }

    /// A line that is not a fresh record goes out over a link: a replayed one, or a control line.
    pub(super) fn on_other(&mut self, link: LinkId) {
        match &mut self.links[link.index()] {
            Progress::InOrder(progress) => progress.on_other(),
            Progress::ByRecord(progress) => progress.on_other(),
        }
    }

    /// Returns how many lines have gone out over the connection of a link.
    pub(super) fn lines(&self, link: LinkId) -> u64 {
        match &self.links[link.index()] {
            Progress::InOrder(progress) => progress.lines(),
            Progress::ByRecord(progress) => progress.lines(),
        }
    }

    /// The neighbour has acknowledged lines of a link's connection, or they are lost.
    pub(super) fn on_taken(&mut self, link: LinkId, lines: RangeInclusive<u64>) {
        let (first, last) = (*lines.start(), (*lines.end()).min(self.lines(link)));
        if first > last {
            return;
        }
        match &mut self.links[link.index()] {
            Progress::InOrder(progress) => progress.on_taken(first..=last),
            Progress::ByRecord(progress) => progress.on_taken(first..=last),
        }
        self.settle_link(link);
    }

    /// The connection of a link is gone, or a new one begins: nothing waits for it any more.
    pub(super) fn on_link(&mut self, link: LinkId) {
        match std::mem::replace(&mut self.links[link.index()], Progress::new(self.reply)) {
            Progress::InOrder(progress) => progress.places().for_each(|place| self.settle_one(place)),
            Progress::ByRecord(progress) => progress.places().for_each(|place| self.settle_one(place)),
        }
    }

    /// Settles the tickets whose limit is reached.
    pub(super) fn on_deadline(&mut self, now: Timestamp) {
        while self.open.front().is_some_and(|open| open.until <= now) {
            self.let_first_go();
        }
    }

    /// Settles all tickets before their limit.
    pub(super) fn let_go(&mut self) {
        self.before += self.open.len() as u64;
        let open = self.open.drain(..).filter(|open| open.waits > 0);
        self.settled.extend(open.map(|open| (open.ticket, Settled::Overdue)));
    }

    fn let_first_go(&mut self) {
        if let Some(open) = self.open.pop_front() {
            self.before += 1;
            self.settled.push_back((open.ticket, Settled::Overdue));
            self.drop_settled();
        }
    }

    /// Returns when the next limit is reached.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.open.front().map(|open| open.until)
    }

    /// Takes a ticket that waits no longer, in the order in which they came to that.
    pub(super) fn settled(&mut self) -> Option<(Ticket, Settled)> {
        self.settled.pop_front()
    }

    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Returns how many tickets of clients are open.
    pub(super) fn replies(&self) -> usize {
        self.open.iter().filter(|open| open.is_reply && open.waits > 0).count()
    }

    /// Settles what waited for lines of a link that are taken, or never leave.
    fn settle_link(&mut self, link: LinkId) {
        while let Some(place) = self.links[link.index()].settled() {
            self.settle_one(place);
        }
    }

    /// A ticket waits for one thing less.
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

impl Progress {
    fn new(reply: ReplyMode) -> Self {
        match reply {
            ReplyMode::Everywhere => Self::ByRecord(ByRecord::default()),
            ReplyMode::AtOnce | ReplyMode::Neighbours => Self::InOrder(InOrder::default()),
        }
    }

    /// Takes a place that waits no longer.
    fn settled(&mut self) -> Option<u64> {
        match self {
            Self::InOrder(progress) => progress.settled(),
            Self::ByRecord(progress) => progress.settled(),
        }
    }
}

#[cfg(test)]
mod tests;
