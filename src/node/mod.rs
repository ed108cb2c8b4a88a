//! One server of a herd as a machine without I/O: an input and a time go in, what must be done comes out.
//!
//! A test of it is an equation. Both drivers run this same code. Not here: sockets, clocks, tasks, randomness, logs; places,
//! which the driver asks for; the bytes of replies ([`crate::wire::Reply`]).

mod bit_set;
mod links;
mod outbox;
mod records;
mod repair;
mod spread;
mod ticket;
mod timers;

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub use links::LinkState;
pub use records::{Record, RecordId};
pub use ticket::{Settled, Ticket};

use crate::config::{LinkId, LinkMode, Redial, ReplyMode, ServerId, Spread, Strategy, Topology, Wiring};
use crate::draws::Draws;
use crate::time::Timestamp;
use crate::wire::{AtLine, Command, Control, ControlLine, Line, Report, Search};
use bit_set::BitSet;
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
    /// How it gets to know which neighbour a connection is from. `None`: its driver knows, and says so.
    pub handshake: Option<Handshake>,
}

/// What a node needs to find out by itself which neighbours call, and to prove to them who it is.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// Its own name.
    pub name: Arc<str>,
    /// Its neighbours, by [`LinkId`].
    pub peers: Vec<Peer>,
}

/// A neighbour that has to prove itself.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name.
    pub name: Arc<str>,
    /// Secrets for the connections to it. Nobody else may be able to guess the seed.
    pub secrets: Draws,
}

impl NodeConfig {
    /// Returns the configuration of one server of a herd. Every node of the herd shares the same `rules`.
    pub fn of(topology: &Topology, wiring: &Wiring, rules: &Arc<Rules>, server: ServerId) -> Self {
        Self {
            name: topology.name(server).clone(),
            rules: rules.clone(),
            links: wiring.neighbours(server).iter().map(|neighbour| neighbour.mode).collect(),
            clock_offset: topology.servers[server.index()].clock_offset,
            handshake: None,
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
    /// Bytes of a line without its end at most.
    pub max_line: usize,
    /// Names of the herd's servers, in their own order.
    pub servers: Arc<[Arc<str>]>,
    /// When a node answers a client's `IAMAT`.
    pub reply: ReplyMode,
    /// How long a reply waits for neighbours at most.
    pub reply_limit: Duration,
}

impl Rules {
    /// Returns the rules of a topology.
    pub fn of(topology: &Topology) -> Self {
        let mut servers: Vec<_> = topology.servers.iter().map(|server| server.name.clone()).collect();
        servers.sort_unstable();
        Self {
            strategy: topology.strategy,
            redial: topology.redial,
            max_records: topology.limits.records,
            max_line: topology.limits.line,
            servers: servers.into(),
            reply: topology.reply.unwrap_or_default(),
            reply_limit: topology.limits.reply,
        }
    }

    /// Returns `true` if a node does something with an `AT` line that is not news.
    pub fn heeds_known(&self) -> bool {
        self.strategy.spread() == Spread::Tree || self.reply == ReplyMode::Everywhere
    }

    /// Returns the index of a server's name.
    fn server(&self, name: &str) -> Option<usize> {
        self.servers.binary_search_by(|server| (**server).cmp(name)).ok()
    }

    /// Returns the index of a line's origin. Returns `None` if the line has to be sent whole: its origin is not a server of the
    /// herd, or its announcement may be too long.
    fn announced_origin(&self, line: AtLine<'_>) -> Option<usize> {
        if line.line().len() > self.max_line / 2 { None } else { self.server(line.origin()) }
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
        /// [`Rules::heeds_known`], which the driver looks up once: so a node that holds most reports already, as when it
        /// floods, reads no more than its records.
        heeds_known: bool,
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
    /// The reader of this link's connection has acknowledged these of its lines, or they are lost and the node is to know.
    Taken {
        /// The link.
        link: LinkId,
        /// Their numbers ([`Node::line_number`]).
        lines: RangeInclusive<u64>,
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
    /// The connection by which the last line came is from this neighbour: it has proved that, and is seen
    /// ([`Input::NeighbourSeen`]) with that.
    Proven(LinkId),
    /// The connection by which the last line came asks to be told when its lines are taken.
    Acknowledge,
    /// The timers of its strategy changed: look at [`Node::deadline`] and [`Node::is_waiting`] once more.
    Timers,
}

/// One server. What every line looks at stands first: in big herds, fetching it is most of the work.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Node {
    records: Records,
    links: Box<[Link]>,
    /// No reply waits, and the strategy has neither control lines nor timers: every line that a link owes is a record's.
    is_plain: bool,
    rules: Arc<Rules>,
    spreading: Spreading,
    /// `None` if replies never wait.
    tickets: Option<Box<Tickets>>,
    /// Links that owe the line which asks for acknowledgements. `None` if the driver knows what neighbours have taken, or nobody
    /// asks.
    asks: Option<BitSet>,
    /// When the next neighbour is to be dialled.
    redial: Option<Timestamp>,
    name: Arc<str>,
    /// See [`NodeConfig::clock_offset`].
    clock_offset: i64,
}

impl Node {
    /// A node that has not started and knows nothing.
    pub fn new(config: NodeConfig) -> Self {
        let NodeConfig { name, rules, links, clock_offset, handshake } = config;
        let asks = handshake.as_ref().filter(|_| rules.reply != ReplyMode::AtOnce).map(|_| BitSet::default());
        let spreading = Spreading::of(&rules, &links, handshake);
        let links: Box<[Link]> = links.into_iter().map(Link::new).collect();
        let waits = rules.reply != ReplyMode::AtOnce;
        let tickets = waits.then(|| Box::new(Tickets::new(rules.reply, rules.reply_limit, links.len())));
        let is_plain = tickets.is_none() && spreading.is_plain();
        Self {
            records: Records::default(),
            links,
            is_plain,
            rules,
            spreading,
            tickets,
            asks,
            redial: None,
            name,
            clock_offset,
        }
    }

    /// Applies one input that arrived at `now`; appends what must be done, in the order in which it must be done.
    ///
    /// `now` never goes back from one call to the next.
    pub fn handle(&mut self, now: Timestamp, input: Input<'_>, outputs: &mut Vec<Output>) {
        match input {
            Input::Started => self.on_started(now, outputs),
            Input::Command { command, from } => self.on_command(now, command, from, outputs),
            Input::Shared { report, from, heeds_known } => self.on_shared(now, report, from, heeds_known, outputs),
            Input::LinkOpened(link) => self.on_opened(now, link, outputs),
            Input::DialFailed(link) | Input::LinkLost(link) => self.on_lost(now, link, outputs),
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
        self.spreading.forget();
        self.update_tickets(Tickets::forget);
        self.asks.iter_mut().for_each(BitSet::clear);
        self.redial = None;
    }

    /// The earliest time at which [`Input::Deadline`] would do something; changes only through [`Self::handle`].
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.is_plain {
            return self.redial;
        }
        let limit = self.tickets.as_ref().and_then(|tickets| tickets.deadline());
        self.redial.into_iter().chain(limit).chain(self.spreading.deadline()).min()
    }

    /// Returns `true` if its strategy waits for time to pass, and then has something to do. Dials that are due and replies that
    /// wait do not count.
    pub fn is_waiting(&self) -> bool {
        self.spreading.deadline().is_some()
    }

    /// Lets the replies of a turn of a client's connection wait until other servers have what it said, as the herd's
    /// [`ReplyMode`] asks. Returns `false` if nothing has to be waited for, or replies never wait.
    ///
    /// Only what fresh updates owe is waited for, on links that are up. [`Self::settled`] gives the ticket back.
    pub fn hold(&mut self, now: Timestamp, ticket: Ticket) -> bool {
        self.tickets.as_mut().is_some_and(|tickets| tickets.hold(now, ticket, &self.links))
    }

    /// Lets the acknowledgement of the last `AT` line wait, which came by a link or from anybody, until the servers to which it
    /// goes from here have it. Returns `false` if it is to be acknowledged now. [`Self::settled`] gives the ticket back.
    pub fn hold_heard(&mut self, now: Timestamp, ticket: Ticket, from: Option<LinkId>) -> bool {
        self.tickets.as_mut().is_some_and(|tickets| tickets.hold_heard(now, ticket, &self.links, from))
    }

    /// Settles all tickets, whether what they wait for has happened or not.
    pub fn let_go(&mut self) {
        self.update_tickets(Tickets::let_go);
    }

    /// Takes a ticket that waits no longer. To be asked after each [`Self::handle`], [`Self::hold`] and [`Self::next_line`].
    pub fn settled(&mut self) -> Option<(Ticket, Settled)> {
        self.tickets.as_mut()?.settled()
    }

    /// Returns `true` if [`Self::settled`] has a ticket.
    pub fn has_settled(&self) -> bool {
        self.tickets.as_ref().is_some_and(|tickets| tickets.has_settled())
    }

    /// Returns how many tickets of clients wait.
    pub fn held(&self) -> usize {
        self.tickets.as_ref().map_or(0, |tickets| tickets.replies())
    }

    /// Returns the number of the last line that [`Self::next_line`] gave for a link, counted from 1 since the link opened.
    /// Where replies never wait, nobody counts, and it is 0.
    #[inline]
    pub fn line_number(&self, link: LinkId) -> u64 {
        self.tickets.as_ref().map_or(0, |tickets| tickets.lines(link))
    }

    /// Takes the next line that `link` owes, or `None` when it owes nothing any more.
    ///
    /// Never a version that came by this very link since it opened: the neighbour has it. A lost link owes nothing.
    #[inline]
    pub fn next_line(&mut self, link: LinkId) -> Option<Line> {
        let LinkState::Up { since } = self.links[link.index()].state else { return None };
        if !self.is_plain {
            return self.next_line_of_any(link, since);
        }
        while let Some(owed) = self.links[link.index()].outbox.pop() {
            let record = self.records.get(owed.record());
            if is_wanted(owed, record, link, since) {
                return Some(Line::At(record.report.clone()));
            }
        }
        None
    }

    /// Takes the next line of any strategy, and tells the replies that wait.
    #[inline(never)]
    fn next_line_of_any(&mut self, link: LinkId, since: Timestamp) -> Option<Line> {
        loop {
            let asks = self.asks.as_mut().is_some_and(|asks| asks.remove(link.index()));
            let control =
                if asks { Some(ControlLine::acknowledge(self.rules.reply == ReplyMode::Everywhere)) } else { None };
            let spreading = &mut self.spreading;
            if let Some(control) = control.or_else(|| spreading.next_control(link, &self.records, &self.rules)) {
                self.update_tickets(|tickets| tickets.on_other(link));
                return Some(Line::Control(Arc::new(control)));
            }
            let owed = self.links[link.index()].outbox.pop()?;
            let (id, record) = (owed.record(), self.records.get(owed.record()));
            let mut goes = is_wanted(owed, record, link, since);
            if let Owed::Fresh(_) = owed {
                goes = goes && !self.spreading.announces(id, record, link, &self.rules);
            }
            if let Some(tickets) = &mut self.tickets {
                match owed {
                    Owed::Fresh(_) => tickets.on_fresh(link, id, Some(&record.report).filter(|_| goes)),
                    Owed::Replayed(_) if goes => tickets.on_other(link),
                    Owed::Replayed(_) => {}
                }
            }
            if goes {
                return Some(Line::At(record.report.clone()));
            }
        }
    }

    /// How many records `link` owes at most, and kinds of control lines.
    #[inline]
    pub fn owed(&self, link: LinkId) -> usize {
        let records = self.links[link.index()].outbox.len();
        if self.is_plain {
            return records;
        }
        let asks = self.asks.as_ref().is_some_and(|asks| asks.contains(link.index()));
        records + self.spreading.owed(link) + usize::from(asks)
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

    /// Whether it holds this very report; if so, [`Input::Shared`] with it stores nothing.
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
                self.on_iamat(now, Arc::new(report), from, outputs);
            }
            Command::Whatsat { client, radius_km, bound } => outputs.push(self.search(client, radius_km, bound)),
            Command::At(line) => self.on_at(now, line, from, outputs),
            Command::Blank | Command::Refusal => {}
            Command::Control(control) => self.on_control(now, control, from, outputs),
            Command::Invalid(_) => outputs.push(Output::Refuse),
        }
    }

    /// An older `IAMAT` than the one known is answered with its own fields and changes nothing.
    fn on_iamat(&mut self, now: Timestamp, report: Arc<Report>, from: Option<LinkId>, outputs: &mut Vec<Output>) {
        let mut known = self.records.find(report.client());
        if known.is_none() && self.is_full() {
            return outputs.push(Output::Refuse);
        }
        if self.is_newer(report.at(), known) {
            let id = self.store(known, Record { report: report.clone(), learned_at: now, source: Source::Client });
            outputs.push(Output::Stored(id));
            self.spread(now, id, Source::Client, outputs);
            known = Some(id);
        }
        // A neighbour's connection is never kept waiting.
        if let (Some(id), None) = (known, from) {
            self.update_tickets(|tickets| tickets.on_update(id));
        }
        outputs.push(Output::Reply(report));
    }

    fn on_at(&mut self, now: Timestamp, line: AtLine<'_>, from: Option<LinkId>, outputs: &mut Vec<Output>) {
        let known = self.records.find(line.client());
        if self.is_news(line, known) {
            self.learn(now, known, Arc::new(line.to_report()), from, outputs);
        } else {
            self.on_known(now, known, line, from, outputs);
        }
    }

    #[inline]
    fn on_shared(
        &mut self,
        now: Timestamp,
        report: Arc<Report>,
        from: Option<LinkId>,
        heeds_known: bool,
        outputs: &mut Vec<Output>,
    ) {
        let known = self.records.find_shared(&report);
        // What floods comes by every link, so most reports are this very one, and need not be looked into.
        let is_held = known.is_some_and(|id| Arc::ptr_eq(&self.records.get(id).report, &report));
        if !is_held && self.is_news(report.at(), known) {
            self.learn(now, known, report, from, outputs);
        } else if heeds_known {
            self.on_known(now, known, report.at(), from, outputs);
        }
    }

    /// Lets the strategy learn from a line of a neighbour that is not news.
    fn on_known(
        &mut self,
        now: Timestamp,
        known: Option<RecordId>,
        line: AtLine<'_>,
        from: Option<LinkId>,
        outputs: &mut Vec<Output>,
    ) {
        // An older version is acknowledged when servers have the newer one. The version itself has been news here.
        let is_older = known.filter(|&id| line.version_cmp(self.records.get(id).report.at()).is_lt());
        self.update_tickets(|tickets| match is_older {
            Some(record) => tickets.on_older(record, line),
            None => tickets.on_heard(None),
        });
        if let (Some(record), Some(link)) = (known, from) {
            let (spreading, mut around) = self.around(now, outputs);
            spreading.on_known(&mut around, record, line, link);
        }
    }

    /// Lets the strategy heed a control line of a neighbour. From anybody else it is not a command.
    fn on_control(&mut self, now: Timestamp, control: Control<'_>, from: Option<LinkId>, outputs: &mut Vec<Output>) {
        let (acknowledges, is_everywhere) = (self.asks.is_some(), self.rules.reply == ReplyMode::Everywhere);
        let (spreading, mut around) = self.around(now, outputs);
        let is_heeded = match (control, from) {
            (Control::Acknowledge { everywhere }, _) => {
                let promises = acknowledges && (!everywhere || is_everywhere);
                if promises {
                    outputs.push(Output::Acknowledge);
                }
                promises
            }
            (Control::Hello { name, secret }, _) => spreading.on_hello(&mut around, name, secret),
            (Control::Welcome { secret }, _) => spreading.on_welcome(&mut around, secret),
            (Control::Proof { secret, own }, _) => {
                let proven = spreading.on_proof(&mut around, secret, own);
                if let (Some(link), None) = (proven, from) {
                    outputs.push(Output::Proven(link));
                    self.on_seen(now, link, outputs);
                }
                proven.is_some()
            }
            (_, Some(link)) => spreading.on_control(&mut around, control, link),
            (_, None) => false,
        };
        if !is_heeded {
            outputs.push(Output::Refuse);
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
        self.spread(now, id, source, outputs);
        self.update_tickets(|tickets| tickets.on_heard(Some(id)));
    }

    /// Lets the strategy pass on a record that got newer.
    #[inline]
    fn spread(&mut self, now: Timestamp, record: RecordId, source: Source, outputs: &mut Vec<Output>) {
        let (spreading, mut around) = self.around(now, outputs);
        spreading.on_new(&mut around, record, source);
    }

    /// Returns the strategy, and what it sees of the rest of the node.
    #[inline]
    fn around<'a>(&'a mut self, now: Timestamp, outputs: &'a mut Vec<Output>) -> (&'a mut Spreading, Around<'a>) {
        let Self { records, links, rules, spreading, .. } = self;
        (spreading, Around { now, rules, records, links, outputs })
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
        self.update_tickets(|tickets| tickets.on_stored(id));
        id
    }

    fn on_opened(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        let link = &mut self.links[id.index()];
        link.open(now);
        self.repair(id, outputs);
        let (spreading, mut around) = self.around(now, outputs);
        spreading.on_opened(&mut around, id);
        self.update_tickets(|tickets| tickets.on_link(id));
        if let Some(asks) = &mut self.asks {
            asks.insert(id.index());
            outputs.push(Output::Ready(id));
        }
        self.update_redial();
    }

    fn on_lost(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        self.links[id.index()].wait(now, &self.rules.redial);
        let (spreading, mut around) = self.around(now, outputs);
        spreading.on_lost(&mut around, id);
        self.update_tickets(|tickets| tickets.on_link(id));
        if let Some(asks) = &mut self.asks {
            asks.remove(id.index());
        }
        self.update_redial();
    }

    fn on_seen(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        self.links[id.index()].incoming += 1;
        let (spreading, mut around) = self.around(now, outputs);
        spreading.on_seen(&mut around, id);
        let link = &mut self.links[id.index()];
        if let LinkState::Waiting(_) = link.state {
            link.state = LinkState::Dialing;
            outputs.push(Output::Dial(id));
            self.update_redial();
        } else if link.incoming == 1 {
            self.owe_back(now, id, outputs);
        }
    }

    fn on_gone(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        let link = &mut self.links[id.index()];
        link.incoming = link.incoming.saturating_sub(1);
        if link.incoming > 0 {
            return self.owe_back(now, id, outputs);
        }
        let (spreading, mut around) = self.around(now, outputs);
        if spreading.on_gone(&mut around, id) {
            self.repair(id, outputs);
        }
    }

    fn on_deadline(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        for (id, link) in (0..).map(LinkId).zip(self.links.iter_mut()) {
            if matches!(link.state, LinkState::Waiting(until) if until <= now) {
                link.state = LinkState::Dialing;
                outputs.push(Output::Dial(id));
            }
        }
        let (spreading, mut around) = self.around(now, outputs);
        spreading.on_deadline(&mut around);
        self.update_tickets(|tickets| tickets.on_deadline(now));
        self.update_redial();
    }

    #[inline]
    fn update_tickets(&mut self, update: impl FnOnce(&mut Tickets)) {
        if let Some(tickets) = &mut self.tickets {
            update(tickets);
        }
    }

    fn update_redial(&mut self) {
        let waits = self.links.iter().filter_map(|link| match link.state {
            LinkState::Waiting(until) => Some(until),
            LinkState::Dialing | LinkState::Up { .. } => None,
        });
        self.redial = waits.min();
    }

    fn link_ids(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.links.len() as u32).map(LinkId)
    }
}

/// Returns `true` unless the neighbour on `link`, which opened at `since`, has the record from elsewhere.
#[inline]
fn is_wanted(owed: Owed, record: &Record, link: LinkId, since: Timestamp) -> bool {
    match owed {
        Owed::Fresh(_) => record.source != Source::Link(link),
        // What got newer since the link opened went, or goes, as fresh.
        Owed::Replayed(_) => record.learned_at <= since,
    }
}

#[cfg(test)]
mod tests;
