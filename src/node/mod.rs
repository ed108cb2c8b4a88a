//! One server of a herd as a machine without I/O: an input and a time go in, what must be done comes out.
//!
//! A test of it is an equation. Both drivers run this same code. Not here: sockets, clocks, tasks, randomness, logs; places,
//! which the driver asks for; the bytes of replies ([`crate::wire::Reply`]).

mod links;
mod outbox;
mod records;
mod repair;
mod spread;
mod ticket;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

pub use links::LinkState;
pub use records::{Record, RecordId};
pub use ticket::{Settled, Ticket};

use crate::config::{LinkId, LinkMode, Redial, ReplyMode, ServerId, Strategy, Topology, Wiring};
use crate::time::Timestamp;
use crate::wire::{AtLine, Command, Report, Search};
use links::Link;
use outbox::Owed;
use records::Records;
use spread::{Around, Spreading};
use ticket::Tickets;

/// From this many records on their table is outside the nearest cache.
const MANY_RECORDS: usize = 4_096;

/// What a node is told once.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its name, as it stands in `AT` lines.
    pub name: Arc<str>,
    /// What it shares with the other nodes of its herd.
    pub rules: Arc<Rules>,
    /// How lines travel to each neighbour; a [`LinkId`] is a place in this list.
    pub links: Vec<LinkMode>,
    /// How far its wall clock is ahead of the driver's time, in nanoseconds; negative when behind.
    pub clock_offset: i64,
}

impl NodeConfig {
    /// Returns the configuration of one server of a herd. Every node of the herd shares the same `rules`.
    pub fn of(topology: &Topology, wiring: &Wiring, rules: &Arc<Rules>, server: ServerId) -> Self {
        Self {
            name: topology.name(server).clone(),
            rules: rules.clone(),
            links: wiring.neighbours(server).iter().map(|neighbour| neighbour.mode).collect(),
            clock_offset: topology.servers[server.index()].clock_offset,
        }
    }
}

/// What all nodes of a herd are told alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How updates travel.
    pub strategy: Strategy,
    /// How long a node waits before it dials again.
    pub redial: Redial,
    /// Clients a node remembers at most.
    pub max_records: usize,
    /// When a node answers a client's `IAMAT`.
    pub reply: ReplyMode,
    /// How long a reply waits for neighbours at most.
    pub reply_limit: Duration,
}

impl Rules {
    /// Returns the rules of a topology.
    pub fn of(topology: &Topology) -> Self {
        Self {
            strategy: topology.strategy,
            redial: topology.redial,
            max_records: topology.limits.records,
            reply: topology.reply.unwrap_or_default(),
            reply_limit: topology.limits.reply,
        }
    }
}

/// By which way a record came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// From the client itself.
    Client,
    /// From a neighbour.
    Link(LinkId),
    /// From somebody who is not known to be a neighbour.
    Stranger,
}

/// What happens to a node.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// It runs from now on. Once, before everything else.
    Started,
    /// A line, understood, from a connection that is the way from this neighbour, or from anybody.
    Command {
        /// What the line says.
        command: Command<'a>,
        /// Whose connection it came by.
        from: Option<LinkId>,
    },
    /// An `AT` line that another node of this process sent: as [`Input::Command`], but its bytes are shared, not copied.
    Shared {
        /// The line.
        report: Arc<Report>,
        /// Whose connection it came by.
        from: Option<LinkId>,
    },
    /// The dial asked for by [`Output::Dial`] succeeded.
    LinkOpened(LinkId),
    /// The dial asked for by [`Output::Dial`] failed.
    DialFailed(LinkId),
    /// The connection to this neighbour is gone, and with it what the link still owed.
    LinkLost(LinkId),
    /// This neighbour is known to listen: it dialled us.
    NeighbourSeen(LinkId),
    /// The connection by which this neighbour dialled us has ended, and everything that came by it has been handled.
    NeighbourGone(LinkId),
    /// The reader of this link's connection has taken so many of its lines, counted since the link opened.
    Taken {
        /// The link.
        link: LinkId,
        /// How many lines.
        lines: u64,
    },
    /// [`Node::deadline`] is reached.
    Deadline,
    /// The wall clock is ahead of the driver's time by this many nanoseconds from now on.
    ClockSet(i64),
}

/// What a node wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Dial this neighbour, and say how it ended.
    Dial(LinkId),
    /// This link owes something: take it with [`Node::next_line`] until that gives `None`.
    Ready(LinkId),
    /// A record got newer and this link is down, so the neighbour does not hear of it by this way.
    Missed(LinkId),
    /// A record got newer. Comes before the outputs that follow from it.
    Stored(RecordId),
    /// Answer the command with this line.
    Reply(Arc<Report>),
    /// Answer the command with this line and the places found.
    Search(Arc<Report>, Search),
    /// Answer the command with `? ` and a copy of it.
    Refuse,
}

/// One server. What every line looks at stands first: in big herds, fetching it is most of the work.
#[derive(Debug)]
#[repr(C)]
pub struct Node {
    records: Records,
    links: Box<[Link]>,
    rules: Arc<Rules>,
    spreading: Spreading,
    /// `None` if replies never wait.
    tickets: Option<Box<Tickets>>,
    deadline: Option<Timestamp>,
    name: Arc<str>,
    /// See [`NodeConfig::clock_offset`].
    clock_offset: i64,
}

impl Node {
    /// A node that has not started and knows nothing.
    pub fn new(config: NodeConfig) -> Self {
        let NodeConfig { name, rules, links, clock_offset } = config;
        let links: Box<[Link]> = links.into_iter().map(Link::new).collect();
        let spreading = Spreading::of(&rules);
        let tickets =
            (rules.reply != ReplyMode::AtOnce).then(|| Box::new(Tickets::new(rules.reply_limit, links.len())));
        Self { records: Records::default(), links, rules, spreading, tickets, deadline: None, name, clock_offset }
    }

    /// Applies one input that arrived at `now`; appends what must be done, in the order in which it must be done.
    ///
    /// `now` never goes back from one call to the next.
    pub fn handle(&mut self, now: Timestamp, input: Input<'_>, outputs: &mut Vec<Output>) {
        match input {
            Input::Started => self.on_started(now, outputs),
            Input::Command { command, from } => self.on_command(now, command, from, outputs),
            Input::Shared { report, from } => self.on_shared(now, report, from, outputs),
            Input::LinkOpened(link) => self.on_opened(now, link, outputs),
            Input::DialFailed(link) | Input::LinkLost(link) => self.on_lost(now, link),
            Input::Taken { link, lines } => self.update_tickets(|tickets| tickets.on_taken(link, lines)),
            Input::NeighbourSeen(link) => self.on_seen(now, link, outputs),
            Input::NeighbourGone(link) => self.on_gone(now, link, outputs),
            Input::Deadline => self.on_deadline(now, outputs),
            Input::ClockSet(offset) => self.clock_offset = offset,
        }
    }

    /// As new again: it has not started and knows nothing. Its clock keeps its offset, and it keeps its memory.
    pub fn forget(&mut self) {
        self.records.clear();
        self.links.iter_mut().for_each(Link::forget);
        self.spreading = Spreading::of(&self.rules);
        self.update_tickets(Tickets::forget);
        self.deadline = None;
    }

    /// The earliest time at which [`Input::Deadline`] would do something; changes only through [`Self::handle`].
    pub fn deadline(&self) -> Option<Timestamp> {
        let limit = self.tickets.as_ref().and_then(|tickets| tickets.deadline());
        self.deadline.into_iter().chain(limit).min()
    }

    /// Lets the replies of a turn of a client's connection wait until neighbours have taken what this server owes them.
    /// Returns `false` if nothing has to be waited for, or replies never wait.
    ///
    /// Only what fresh updates owe is waited for, on links that are up. [`Self::settled`] gives the ticket back.
    pub fn hold(&mut self, now: Timestamp, ticket: Ticket) -> bool {
        let Some(tickets) = &mut self.tickets else { return false };
        let links = (0..).map(LinkId).zip(&self.links).filter(|(_, link)| link.is_up());
        tickets.open(now, ticket, links.map(|(id, link)| (id, link.outbox.fresh() as u64)))
    }

    /// Takes a ticket whose replies wait no longer. To be asked after each [`Self::handle`] and whenever [`Self::next_line`]
    /// gave `None`.
    pub fn settled(&mut self) -> Option<(Ticket, Settled)> {
        self.tickets.as_mut()?.settled()
    }

    /// Returns `true` if [`Self::settled`] has a ticket.
    pub fn has_settled(&self) -> bool {
        self.tickets.as_ref().is_some_and(|tickets| tickets.has_settled())
    }

    /// Returns how many tickets wait.
    pub fn held(&self) -> usize {
        self.tickets.as_ref().map_or(0, |tickets| tickets.len())
    }

    /// Takes the next line that `link` owes, or `None` when it owes nothing any more.
    ///
    /// Never a version that came by this very link since it opened: the neighbour has it. A lost link owes nothing.
    pub fn next_line(&mut self, link: LinkId) -> Option<&Arc<Report>> {
        let link_state = &mut self.links[link.index()];
        let LinkState::Up { since } = link_state.state else { return None };
        while let Some(owed) = link_state.outbox.pop() {
            let (id, wanted) = match owed {
                Owed::Fresh(id) => (id, self.records.get(id).source != Source::Link(link)),
                // What got newer since the link opened went, or goes, as fresh.
                Owed::Replayed(id) => (id, self.records.get(id).learned_at <= since),
            };
            if let Some(tickets) = &mut self.tickets {
                match owed {
                    Owed::Fresh(_) => tickets.on_fresh(link, wanted),
                    Owed::Replayed(_) if wanted => tickets.on_replayed(link),
                    Owed::Replayed(_) => {}
                }
            }
            if wanted {
                return Some(&self.records.get(id).report);
            }
        }
        self.update_tickets(|tickets| tickets.on_drained(link));
        None
    }

    /// How many records `link` owes at most.
    pub fn owed(&self, link: LinkId) -> usize {
        self.links[link.index()].outbox.len()
    }

    /// How far the way to a neighbour is open.
    pub fn link_state(&self, link: LinkId) -> LinkState {
        self.links[link.index()].state
    }

    /// What it knows about one client.
    pub fn find(&self, client: &str) -> Option<&Record> {
        self.records.find(client).map(|id| self.records.get(id))
    }

    /// The record of an [`Output::Stored`].
    pub fn record(&self, id: RecordId) -> &Record {
        self.records.get(id)
    }

    /// Whether it holds this very report; if so, [`Input::Shared`] with it does nothing.
    #[inline]
    pub(crate) fn holds(&self, report: &Arc<Report>) -> bool {
        self.records.find_shared(report).is_some_and(|id| Arc::ptr_eq(&self.records.get(id).report, report))
    }

    /// Reads the memory that these reports are going to need as [`Input::Shared`], and changes nothing. In a node that knows
    /// many clients the fetches are a third of the work; here they do not wait for each other.
    pub(crate) fn look_ahead<'a>(&self, reports: impl Iterator<Item = &'a Arc<Report>>) {
        if self.records.len() >= MANY_RECORDS {
            black_box(reports.map(|report| self.records.touch(report)).fold(0, u64::wrapping_add));
        }
    }

    /// Everything it knows, in the order in which the clients were first heard of.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.iter()
    }

    /// How far its wall clock is ahead of the driver's time, in nanoseconds.
    pub fn clock_offset(&self) -> i64 {
        self.clock_offset
    }

    fn on_started(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        for id in self.link_ids() {
            let link = &mut self.links[id.index()];
            match link.mode {
                LinkMode::Persistent => outputs.push(Output::Dial(id)),
                // Has no connection that could be down: every line dials for itself.
                LinkMode::PerMessage => link.open(now),
            }
        }
    }

    fn on_command(&mut self, now: Timestamp, command: Command<'_>, from: Option<LinkId>, outputs: &mut Vec<Output>) {
        match command {
            Command::Iamat { client, location, stated, time } => {
                let wall = now.shifted(self.clock_offset);
                let report = Report::of_iamat(&self.name, wall, client, location, stated, time);
                self.on_iamat(now, Arc::new(report), outputs);
            }
            Command::Whatsat { client, radius_km, bound } => outputs.push(self.search(client, radius_km, bound)),
            Command::At(line) => self.on_at(now, line, from, outputs),
            Command::Blank | Command::Refusal => {}
            Command::Invalid(_) => outputs.push(Output::Refuse),
        }
    }

    /// An older `IAMAT` than the one known is answered with its own fields and changes nothing.
    fn on_iamat(&mut self, now: Timestamp, report: Arc<Report>, outputs: &mut Vec<Output>) {
        let known = self.records.find(report.client());
        if known.is_none() && self.is_full() {
            return outputs.push(Output::Refuse);
        }
        if self.is_newer(report.at(), known) {
            let id = self.store(known, Record { report: report.clone(), learned_at: now, source: Source::Client });
            outputs.push(Output::Stored(id));
            self.spread(id, Source::Client, outputs);
        }
        outputs.push(Output::Reply(report));
    }

    fn on_at(&mut self, now: Timestamp, line: AtLine<'_>, from: Option<LinkId>, outputs: &mut Vec<Output>) {
        let known = self.records.find(line.client());
        if self.is_news(line, known) {
            self.learn(now, known, Arc::new(line.to_report()), from, outputs);
        }
    }

    #[inline]
    fn on_shared(&mut self, now: Timestamp, report: Arc<Report>, from: Option<LinkId>, outputs: &mut Vec<Output>) {
        let known = self.records.find_shared(&report);
        // What floods comes by every link, so most reports are this very one, and need not be looked into.
        let is_held = known.is_some_and(|id| Arc::ptr_eq(&self.records.get(id).report, &report));
        if !is_held && self.is_news(report.at(), known) {
            self.learn(now, known, report, from, outputs);
        }
    }

    /// Takes in a report that [`Self::is_news`].
    #[inline]
    fn learn(
        &mut self,
        now: Timestamp,
        known: Option<RecordId>,
        report: Arc<Report>,
        from: Option<LinkId>,
        outputs: &mut Vec<Output>,
    ) {
        let source = from.map_or(Source::Stranger, Source::Link);
        let id = self.store(known, Record { report, learned_at: now, source });
        outputs.push(Output::Stored(id));
        self.spread(id, source, outputs);
    }

    /// Lets the strategy pass on a record that got newer.
    #[inline]
    fn spread(&mut self, record: RecordId, source: Source, outputs: &mut Vec<Output>) {
        let mut around = Around { links: &mut self.links, outputs };
        self.spreading.on_new(&mut around, record, source);
    }

    fn search(&self, client: &str, radius_km: u8, bound: u8) -> Output {
        let Some(record) = self.find(client) else { return Output::Refuse };
        let (latitude, longitude) = record.report.at().degrees();
        Output::Search(record.report.clone(), Search { latitude, longitude, radius_km, bound })
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.rules.max_records
    }

    fn is_newer(&self, line: AtLine<'_>, known: Option<RecordId>) -> bool {
        known.is_none_or(|id| line.version_cmp(self.records.get(id).report.at()).is_gt())
    }

    /// Whether a line is newer than what is known, and there is room for it.
    fn is_news(&self, line: AtLine<'_>, known: Option<RecordId>) -> bool {
        self.is_newer(line, known) && (known.is_some() || !self.is_full())
    }

    fn store(&mut self, known: Option<RecordId>, record: Record) -> RecordId {
        let Some(id) = known else { return self.records.insert(record) };
        self.records.replace(id, record);
        id
    }

    fn on_opened(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        let link = &mut self.links[id.index()];
        link.open(now);
        self.repair(id, outputs);
        self.update_tickets(|tickets| tickets.on_link(id));
        self.update_deadline();
    }

    fn on_lost(&mut self, now: Timestamp, id: LinkId) {
        self.links[id.index()].wait(now, &self.rules.redial);
        self.update_tickets(|tickets| tickets.on_link(id));
        self.update_deadline();
    }

    fn on_seen(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        let link = &mut self.links[id.index()];
        link.incoming += 1;
        if let LinkState::Waiting(_) = link.state {
            link.state = LinkState::Dialing;
            outputs.push(Output::Dial(id));
            self.update_deadline();
        } else if link.incoming == 1 {
            self.owe_back(now, id, outputs);
        }
    }

    fn on_gone(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        let link = &mut self.links[id.index()];
        link.incoming = link.incoming.saturating_sub(1);
        if link.incoming > 0 {
            self.owe_back(now, id, outputs);
        }
    }

    fn on_deadline(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        for (id, link) in (0..).map(LinkId).zip(self.links.iter_mut()) {
            if matches!(link.state, LinkState::Waiting(until) if until <= now) {
                link.state = LinkState::Dialing;
                outputs.push(Output::Dial(id));
            }
        }
        self.update_tickets(|tickets| tickets.on_deadline(now));
        self.update_deadline();
    }

    #[inline]
    fn update_tickets(&mut self, update: impl FnOnce(&mut Tickets)) {
        if let Some(tickets) = &mut self.tickets {
            update(tickets);
        }
    }

    fn update_deadline(&mut self) {
        let waits = self.links.iter().filter_map(|link| match link.state {
            LinkState::Waiting(until) => Some(until),
            LinkState::Dialing | LinkState::Up { .. } => None,
        });
        self.deadline = waits.min();
    }

    fn link_ids(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.links.len() as u32).map(LinkId)
    }
}

#[cfg(test)]
mod tests;
