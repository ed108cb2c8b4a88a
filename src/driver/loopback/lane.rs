//! One outgoing way of a server: its connection as the writer knows it, its lines that are not written yet, and what ends both.
//!
//! The driver and the way's task share it. Lines go from the node's outbox straight into the task's buffer, or, on a way with
//! delay or fault, over a [`Stage`]. On a per-message way each line is on its own: it dials, it is sent when its dial is
//! answered, and it lands after the way's delay. Not here: sockets ([`super::link`], [`super::messages`]), and lines in flight of
//! a connection that the writer has closed ([`super::leaving`]).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::acks::Acks;
use super::gate::Mode;
use super::inbox::Bringer;
use super::leaving::Leaving;
use super::patience::Written;
use super::rest::{Accounts, Flow, InFlight, Recurring, Wire};
use super::server::Life;
use super::{Shared, lock};
use crate::act::Hit;
use crate::config::{LinkId, LinkMode, Way};
use crate::driver::WINDOW_LINES;
use crate::driver::path::{Dial, Passage, Path, Span};
use crate::driver::stage::{Dialled, Stage};
use crate::history::Event;
use crate::node::Node;
use crate::time::Timestamp;
use crate::wire::{Line, write_line};

/// One way, as its server's tasks and the driver share it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) link: LinkId,
    pub(super) way: Way,
    pub(super) mode: LinkMode,
    /// The one bell for everything the task has to look at.
    pub(super) wake: Arc<Notify>,
    dial_wanted: AtomicBool,
    /// Whether the node's outbox is counted as due. It is from when it has lines until it has none or the way holds them; so
    /// it is changed only under the lock of the node, as the outbox is.
    armed: Recurring,
    /// It has been said that the neighbour acknowledges no lines.
    pub(super) is_classic: AtomicBool,
    pub(super) channel: Mutex<Option<Channel>>,
}

/// What lines go through once the way is open. A way that was severed has none.
#[derive(Debug)]
pub(super) struct Channel {
    /// The number of the connection. On a per-message way, that of the last line that was sent.
    pub(super) connection: u32,
    /// Counts lines under way, when the neighbour is in this process.
    pub(super) lines: Option<Arc<Flow>>,
    /// Counts lines that were sent, when the neighbour is in another process. A per-message way counts each line elsewhere.
    pub(super) wire: Option<Arc<Wire>>,
    /// Lines that are acknowledged, or lost so that the writer knows it.
    pub(super) acks: Arc<Acks>,
    /// Where acknowledgements come over the connection: what has been written.
    pub(super) written: Option<Box<Written>>,
    /// Lines on a way that is slow or held.
    pub(super) stage: Stage<Outgoing>,
    /// Due as long as the network delays something.
    pub(super) pending: Recurring,
    /// Lines that leave and are not yet counted; empty between two turns.
    leaving: Vec<InFlight>,
    /// Lines that were written, will not be read, and have not been told as lost.
    lost: u64,
    /// The reader is gone.
    gone: Option<Gone>,
    /// A fault has ended the connection behind the last line that left.
    resets: bool,
}

/// When a writer learns that its reader is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// At this time. What it writes until then is lost.
    NoticedAt(Timestamp),
    /// Not before the way, which is half-open, is healed.
    Unnoticed,
}

/// A line that has been taken from the outbox.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) line: Line,
    /// Its writer's number ([`Node::line_number`]).
    pub(super) number: u64,
    /// The connection that it takes, once it has left.
    pub(super) connection: u32,
}

/// What a way's task does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Writes what is in the buffer, and then waits no longer than until the time.
    Write {
        /// When something happens next by itself.
        then: Option<Timestamp>,
        /// Whether the lines came straight from the outbox.
        direct: bool,
        /// Whether the connection ends behind them.
        last: bool,
    },
    /// Delivers a line over a connection of its own.
    Deliver(Outgoing, Option<Arc<Flow>>),
    /// Waits for the bell, and no longer than until the time.
    Wait(Option<Timestamp>),
    /// Gives up the connection, which is severed, or whose reader is gone.
    GiveUp,
    /// Ends the connection behind what is in flight, because a fault does.
    Reset,
    /// Ends the connection behind what is in flight: everything has been handed on.
    Close,
}

/// Where lines go that are taken from the outbox.
enum Into<'a> {
    /// Straight into a buffer, up to about so many bytes.
    Buffer(&'a mut Vec<u8>, usize),
    /// Onto the way. The dial of each goes back this way.
    Path(Spans),
}

/// How long a way takes at the moment.
type Spans = [Span; 2];

impl Lane {
    pub(super) fn new(accounts: Arc<Accounts>, link: LinkId, way: Way, mode: LinkMode) -> Self {
        Self {
            link,
            way,
            mode,
            wake: Arc::default(),
            dial_wanted: AtomicBool::new(false),
            armed: Recurring::new(accounts, way.from.index()),
            is_classic: AtomicBool::new(false),
            channel: Mutex::new(None),
        }
    }

    pub(super) fn want_dial(&self) {
        self.dial_wanted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Takes the node's wish for a dial. Returns `false` if it has none.
    pub(super) fn takes_dial(&self) -> bool {
        self.dial_wanted.swap(false, Ordering::AcqRel)
    }

    /// Rings the bell: something changed that the task has to look at.
    pub(super) fn ring(&self) {
        self.wake.notify_one();
    }

    /// Counts the outbox of the node, which is locked, as due: it has lines.
    pub(super) fn arm(&self, _locked: &Node) {
        self.armed.set(true);
        self.wake.notify_one();
    }

    /// Counts the outbox of the node, which is locked, as not due: it has no lines, or the way holds them.
    pub(super) fn disarm(&self, _locked: &Node) {
        self.armed.set(false);
    }

    /// Returns `true` if there is a connection, as far as the writer knows.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.channel).is_some()
    }

    /// Returns `true` if there is a connection that stays, and its reader runs.
    pub(super) fn is_reaching(&self) -> bool {
        self.mode == LinkMode::Persistent && lock(&self.channel).as_ref().is_some_and(|channel| channel.gone.is_none())
    }

    /// Returns `true` if a line that is owed can leave. A per-message way dials for each.
    pub(super) fn is_usable(&self) -> bool {
        self.mode == LinkMode::PerMessage || self.is_open()
    }

    /// Returns `true` if the connection is to end as soon as what has landed is written.
    pub(super) fn is_resetting(&self) -> bool {
        lock(&self.channel).as_ref().is_some_and(|channel| channel.resets)
    }

    /// Waits until lines that are just being taken from the outbox have been counted.
    pub(super) fn settle_turn(&self) {
        drop(lock(&self.channel));
    }

    /// Loses everything on the way, also what is left of connections before. Its writer learns it now. Returns what that hit.
    ///
    /// What a per-message way has not sent stays with its writer: it has no connection that could be lost.
    pub(super) fn sever(&self, shared: &Shared, path: &mut Path) -> Hit {
        // On its own, because the loss is to be observed before nothing is under way.
        let _begun = shared.accounts.begin(self.way.from.index());
        let left = shared.lose_leaving(self.way);
        path.emptied(shared.clock.now());
        let hit = match self.mode {
            LinkMode::Persistent => self.lose_connection(shared, left),
            LinkMode::PerMessage => self.lose_messages(shared, left),
        };
        shared.never_arrives(self.way.to, |bringer| matches!(bringer, Bringer::Connection(way, _) if way == self.way));
        self.wake.notify_one();
        if self.mode == LinkMode::PerMessage
            && let Some(life) = shared.life(self.way.from).filter(|_| shared.is_patient())
        {
            // A persistent way tells of its loss by itself.
            self.catch_up(shared, &life, None);
        }
        hit
    }

    fn lose_connection(&self, shared: &Shared, left: u64) -> Hit {
        match lock(&self.channel).take() {
            Some(channel) => channel.end(shared, self.way, left),
            None => shared.observe_left(self.way, self.link, left),
        }
    }

    fn lose_messages(&self, shared: &Shared, left: u64) -> Hit {
        let mut channel = lock(&self.channel);
        let Some(channel) = channel.as_mut() else { return shared.observe_left(self.way, self.link, left) };
        let flow = std::mem::replace(&mut channel.lines, shared.flow_to(self.way.to));
        let in_flight = channel.stage.lose_in_flight().map(|outgoing| channel.acks.add(outgoing.number)).count() as u64;
        let lines_lost = left + flow.map_or(in_flight, |flow| flow.end());
        channel.mark_pending();
        channel.lose_messages(shared, self.way, lines_lost)
    }

    /// Loses what is in flight to a reader that is gone. The writer learns that after the `latency` of the way back, and not at all
    /// on a way that is half-open. Returns what that hit.
    pub(super) fn lose_reader(&self, shared: &Shared, path: &mut Path, latency: Duration) -> Hit {
        if self.mode == LinkMode::PerMessage || (latency.is_zero() && !path.is_silent()) {
            return self.sever(shared, path);
        }
        let now = shared.clock.now();
        let left = shared.lose_leaving(self.way);
        path.emptied(now);
        let mut channel = lock(&self.channel);
        let Some(channel) = channel.as_mut() else { return shared.observe_left(self.way, self.link, left) };
        let is_news = channel.gone.is_none();
        let notice = if path.is_silent() { Gone::Unnoticed } else { Gone::NoticedAt(now + latency) };
        channel.gone.get_or_insert(notice);
        // Before what was in flight ends on the reader's account.
        channel.mark_pending();
        let lines_lost = left + channel.lose();
        channel.lost += lines_lost;
        self.wake.notify_one();
        Hit { connections: u64::from(is_news), lines_lost, ..Hit::default() }
    }

    /// Takes in that the socket of the connection is gone: its reader has ended, unless the way was severed.
    pub(super) fn on_broken(&self, shared: &Shared) {
        let latency = lock(shared.path(self.way.back())).latency();
        let mut path = lock(shared.path(self.way));
        if self.is_reaching() {
            self.lose_reader(shared, &mut path, latency);
        }
    }

    /// Ends a connection whose writer learns that it is gone. What is left of connections before still arrives. Returns what was
    /// lost.
    pub(super) fn give_up(&self, shared: &Shared, life: &Life) -> Hit {
        let _begun = shared.accounts.begin(self.way.from.index());
        let Some(mut channel) = lock(&self.channel).take() else { return Hit::default() };
        match self.mode {
            LinkMode::Persistent => channel.end(shared, self.way, 0),
            LinkMode::PerMessage => {
                self.miss_waiting(shared, life, &mut channel);
                let lines_lost = channel.lose();
                channel.lose_messages(shared, self.way, lines_lost)
            }
        }
    }

    /// Forgets what has not left the writer, which is gone.
    pub(super) fn forget(&self) {
        lock(&self.channel).take();
    }

    /// Ends the writer's side of a connection. What is in flight arrives, and what waits on a held way is lost, or missed where
    /// every line has a connection of its own. Returns `None` if the connection was severed before.
    pub(super) fn leave(&self, shared: &Shared, life: &Life) -> Option<Arc<Leaving>> {
        let mut channel = lock(&self.channel).take()?;
        match self.mode {
            LinkMode::Persistent => {
                let lines_lost = channel.stage.lose_waiting().count() as u64;
                channel.observe_loss(shared, self.way, lines_lost);
            }
            LinkMode::PerMessage => self.miss_waiting(shared, life, &mut channel),
        }
        let leaving = Arc::new(Leaving::new(self.way, channel));
        shared.leave(&leaving);
        Some(leaving)
    }

    /// Lets lines that were held go on. Returns their number. Those that found no room in the stage are due again.
    pub(super) fn release(&self, shared: &Shared, life: &Life, path: &mut Path) -> u64 {
        let mut channel = lock(&self.channel);
        let Some(channel) = channel.as_mut() else { return 0 };
        // What is let go at once lands at once.
        let (now, parked) = (shared.clock.now(), channel.stage.parked());
        for _ in 0..parked {
            // The connection may have ended behind the line before. The others are lost with it.
            if channel.resets {
                break;
            }
            if let Some(outgoing) = channel.stage.released() {
                self.send(shared, life, channel, path, now, outgoing);
            }
        }
        channel.mark_pending();
        channel.count_leaving();
        let node = lock(&life.node);
        if node.owed(self.link) > 0 {
            self.arm(&node);
        }
        self.wake.notify_one();
        parked as u64
    }

    /// Lets everything in flight land at once: the way is no longer slow.
    pub(super) fn hurry(&self, shared: &Shared) {
        if let Some(channel) = lock(&self.channel).as_mut() {
            channel.stage.hurry(shared.clock.now());
        }
        self.wake.notify_one();
    }

    /// Begins dials of lines anew that the way, which was healed, answers earlier now or at all.
    pub(super) fn redial(&self, shared: &Shared, path: &Path, back: Spans) {
        if let Some(channel) = lock(&self.channel).as_mut().filter(|channel| channel.stage.dialing() > 0) {
            channel.stage.redial(self.dial(shared, path, back));
        }
        self.wake.notify_one();
    }

    /// Returns the dial that begins now, over a way back that takes this long.
    pub(super) fn dial(&self, shared: &Shared, path: &Path, back: Spans) -> Dial {
        let number = shared.count_dial(self.way.from, self.link);
        path.dial(shared.clock.now(), number, back, shared.topology.redial.timeout)
    }

    /// Returns how long the way back takes. To be asked before the path of this way is locked: two ways that lock each other's
    /// path under their own would wait for each other.
    pub(super) fn spans_back(&self, shared: &Shared) -> Spans {
        lock(shared.path(self.way.back())).spans()
    }

    /// Opens the channel of a per-message way.
    pub(super) fn open_for_messages(&self, shared: &Shared) {
        let last = self.opened(shared).load(Ordering::Relaxed);
        *lock(&self.channel) = Some(self.new_channel(shared, last, shared.flow_to(self.way.to), self.acks()));
    }

    pub(super) fn new_channel(
        &self,
        shared: &Shared,
        connection: u32,
        lines: Option<Arc<Flow>>,
        acks: Arc<Acks>,
    ) -> Channel {
        let written = lines.is_none() && self.mode == LinkMode::Persistent && shared.is_patient();
        Channel {
            connection,
            lines,
            wire: None,
            acks,
            written: written.then(Box::default),
            stage: Stage::default(),
            pending: Recurring::new(shared.accounts.clone(), shared.accounts.network()),
            leaving: Vec::new(),
            lost: 0,
            gone: None,
            resets: false,
        }
    }

    /// Returns where a new connection's lines are acknowledged.
    pub(super) fn acks(&self) -> Arc<Acks> {
        Acks::new(self.wake.clone())
    }

    /// Returns the number of connections that this way has had. It outlives the lane.
    pub(super) fn opened<'a>(&self, shared: &'a Shared) -> &'a AtomicU32 {
        shared.opened(self.way.from, self.link)
    }

    /// Takes lines from the outbox, and fills `buffer` with those that go out now, up to about `limit` bytes.
    pub(super) fn fill(&self, shared: &Shared, life: &Life, buffer: &mut Vec<u8>, limit: usize) -> Next {
        // Before the path is locked, see there. Only a line with a connection of its own dials.
        let back = if self.mode == LinkMode::PerMessage { self.spans_back(shared) } else { Spans::default() };
        let mut path = lock(shared.path(self.way));
        let mut channel = lock(&self.channel);
        let Some(channel) = channel.as_mut() else { return Next::GiveUp };
        if channel.has_noticed(shared) {
            return Next::GiveUp;
        }
        // On its own, because between the outbox and the channel lines are on no account.
        let begun = shared.accounts.begin(self.way.from.index());
        let mode = life.gate.mode();
        let direct = self.mode == LinkMode::Persistent && path.is_clear() && channel.is_plain();
        let drained = match (mode, direct) {
            (Mode::Paused, _) => true,
            // It reads everything that came while it was frozen before its links write.
            _ if life.inbox.is_open() => false,
            (_, true) => self.take(shared, life, channel, &mut path, Into::Buffer(buffer, limit)),
            (_, false) => self.take(shared, life, channel, &mut path, Into::Path(back)),
        };
        if direct {
            drop(begun);
            return channel.next_of_direct(buffer, drained && mode == Mode::Draining);
        }
        self.end_dials(shared, life, channel, &mut path);
        channel.count_leaving();
        let next = channel.next(shared, self, buffer, limit, drained && mode == Mode::Draining);
        // Before what was taken is not due any more.
        channel.mark_pending();
        drop(begun);
        next
    }

    /// Takes lines from the outbox until it is empty, which it returns, or there is no room for more. What does not fit on a way
    /// that is held stays in the outbox and is not due.
    fn take(&self, shared: &Shared, life: &Life, channel: &mut Channel, path: &mut Path, mut into: Into<'_>) -> bool {
        let mut node = lock(&life.node);
        let mut empty = false;
        while channel.has_room(&into) {
            let Some(line) = node.next_line(self.link) else {
                empty = true;
                break;
            };
            let number = node.line_number(self.link);
            if self.mode == LinkMode::Persistent && shared.sink.wants_traffic() {
                shared.sink.push(&shared.clock, Event::written(self.way, channel.connection, line.clone()));
            }
            match &mut into {
                Into::Buffer(buffer, _) => {
                    write_line(buffer, line.text().as_bytes());
                    channel.note_written(number);
                    channel.leaving.push(InFlight { report: line.into_report(), number });
                }
                Into::Path(back) => {
                    let outgoing = Outgoing { line, number, connection: channel.connection };
                    self.accept(shared, channel, path, *back, outgoing);
                }
            }
        }
        if empty || path.is_held() {
            self.disarm(&node);
        }
        life.settle(&mut node);
        // Not under the node's lock: a flow's reader locks its node under the flow.
        drop(node);
        if let Into::Buffer(..) = into {
            path.pass(channel.leaving.len() as u64);
            channel.arrive(shared, self.way, channel.leaving.len());
        }
        channel.count_leaving();
        empty
    }

    /// Takes in a line from the outbox.
    fn accept(&self, shared: &Shared, channel: &mut Channel, path: &mut Path, back: Spans, outgoing: Outgoing) {
        match (self.mode, channel.gone) {
            (LinkMode::PerMessage, _) => drop(channel.stage.dial(outgoing, self.dial(shared, path, back))),
            (LinkMode::Persistent, Some(Gone::NoticedAt(_))) => channel.lost += 1,
            (LinkMode::Persistent, _) if path.is_held() => channel.stage.park(outgoing),
            (LinkMode::Persistent, _) => channel.depart(shared, self.way, path, shared.clock.now(), outgoing),
        }
    }

    /// Sends lines whose dial has ended, or misses them.
    fn end_dials(&self, shared: &Shared, life: &Life, channel: &mut Channel, path: &mut Path) {
        let now = shared.clock.now();
        while let Some(dialled) = channel.stage.dialled(now, path.is_held()) {
            match dialled {
                Dialled::Ready(outgoing) => self.send(shared, life, channel, path, now, outgoing),
                Dialled::TimedOut(outgoing) => self.miss(shared, life, channel, outgoing),
            }
        }
    }

    /// Sends a line that waits for nothing any more. On a per-message way it takes a connection of its own, if the reader is there.
    fn send(
        &self,
        shared: &Shared,
        life: &Life,
        channel: &mut Channel,
        path: &mut Path,
        now: Timestamp,
        mut outgoing: Outgoing,
    ) {
        if self.mode == LinkMode::PerMessage {
            // Whoever kills the reader takes its life away first, and then the lock of this path.
            if path.is_unreachable() || !shared.may_answer(self.way.to) {
                return self.miss(shared, life, channel, outgoing);
            }
            path.connected();
            channel.connection = self.opened(shared).fetch_add(1, Ordering::Relaxed) + 1;
            outgoing.connection = channel.connection;
            if shared.sink.wants_traffic() {
                let event = Event::written(self.way, channel.connection, outgoing.line.clone());
                shared.sink.push(&shared.clock, event);
            }
        }
        channel.depart(shared, self.way, path, now, outgoing);
        if self.mode == LinkMode::PerMessage {
            channel.resets = false;
        }
    }

    /// Misses all lines of a per-message way that have not left, because their writer ends.
    fn miss_waiting(&self, shared: &Shared, life: &Life, channel: &mut Channel) {
        channel.stage.lose_waiting().for_each(|outgoing| life.miss(shared, self.way, outgoing.line));
    }

    /// Misses a line of a per-message way that nobody takes. Its writer knows that at once.
    fn miss(&self, shared: &Shared, life: &Life, channel: &Channel, outgoing: Outgoing) {
        channel.acks.add(outgoing.number);
        life.miss(shared, self.way, outgoing.line);
    }
}

impl Channel {
    /// Returns `true` if lines need no stage, as far as it is up to the channel.
    fn is_plain(&self) -> bool {
        self.stage.is_empty() && self.gone.is_none() && !self.resets
    }

    fn has_room(&self, into: &Into<'_>) -> bool {
        match into {
            Into::Buffer(buffer, limit) => buffer.len() < *limit,
            Into::Path(..) => !self.resets && self.stage.len() < WINDOW_LINES,
        }
    }

    /// Returns what the task does next when every line that was taken is in the buffer.
    fn next_of_direct(&self, buffer: &[u8], ends: bool) -> Next {
        match buffer.is_empty() {
            false => Next::Write { then: None, direct: true, last: false },
            true if ends => Next::Close,
            true => Next::Wait(None),
        }
    }

    /// Takes what lands now off the stage. Returns what the task does next.
    fn next(&mut self, shared: &Shared, lane: &Lane, buffer: &mut Vec<u8>, limit: usize, ends: bool) -> Next {
        match lane.mode {
            LinkMode::Persistent => self.land(shared, lane.way, buffer, limit),
            LinkMode::PerMessage => {
                if let Some(outgoing) = self.stage.land(shared.clock.now()) {
                    shared.arrive(lane.way.to, Bringer::Connection(lane.way, outgoing.connection), 1);
                    return Next::Deliver(outgoing, self.lines.clone());
                }
            }
        }
        let then = self.next_change();
        match buffer.is_empty() {
            false => Next::Write { then, direct: false, last: self.resets },
            true if self.resets => Next::Reset,
            true if ends && self.stage.dialing() == 0 => Next::Close,
            true => Next::Wait(then),
        }
    }

    fn has_noticed(&self, shared: &Shared) -> bool {
        matches!(self.gone, Some(Gone::NoticedAt(at)) if at <= shared.clock.now())
    }

    /// Returns when something happens next by itself.
    fn next_change(&self) -> Option<Timestamp> {
        match self.gone {
            Some(Gone::NoticedAt(at)) => Some(at),
            _ => self.stage.next_change(),
        }
    }

    /// Counts as due what the network delays, after that has changed.
    fn mark_pending(&self) {
        self.pending.set(self.next_change().is_some());
    }

    /// Counts the lines that leave now.
    fn count_leaving(&mut self) {
        if let Some(wire) = &self.wire {
            wire.count(self.leaving.len() as u64);
        }
        match &self.lines {
            Some(flow) if !self.leaving.is_empty() => flow.sent_lines(&mut self.leaving),
            _ => self.leaving.clear(),
        }
    }

    /// Says that lines are about to reach the reader.
    #[inline]
    fn arrive(&self, shared: &Shared, way: Way, lines: usize) {
        if lines > 0 {
            shared.arrive(way.to, Bringer::Connection(way, self.connection), lines as u64);
        }
    }

    /// Lets a line leave now, and asks the path what becomes of it.
    fn depart(&mut self, shared: &Shared, way: Way, path: &mut Path, now: Timestamp, outgoing: Outgoing) {
        let passage = path.send(now, || outgoing.line.written_len());
        if passage == Passage::Vanishes {
            observe_vanished(shared, way, &outgoing);
        }
        let number = outgoing.number;
        // Of what a half-open way swallows the writer does not know before the way is reset.
        if passage.copies() == 0 && !path.is_silent() {
            self.acks.add(number);
        }
        for _ in 0..passage.copies() {
            self.leaving.push(InFlight { report: outgoing.line.clone().into_report(), number });
        }
        self.stage.leave(outgoing, passage);
        self.resets |= path.resets_now();
    }

    /// Moves lines that land by `now` into the buffer.
    fn land(&mut self, shared: &Shared, way: Way, buffer: &mut Vec<u8>, limit: usize) {
        let (now, mut landed) = (shared.clock.now(), 0);
        while buffer.len() < limit
            && let Some(outgoing) = self.stage.land(now)
        {
            write_line(buffer, outgoing.line.text().as_bytes());
            self.note_written(outgoing.number);
            landed += 1;
        }
        self.arrive(shared, way, landed);
    }

    /// Notes that a line goes into the buffer.
    fn note_written(&mut self, number: u64) {
        if let Some(written) = &mut self.written {
            written.push(number);
        }
    }

    /// Loses what is on the connection. Returns the number of lines.
    fn lose(&mut self) -> u64 {
        let waiting = self.stage.lose_waiting().count() as u64;
        let in_flight = self.stage.lose_in_flight().count() as u64;
        waiting + self.lines.as_ref().map_or(in_flight, |lines| lines.end())
    }

    /// Observes that lines are lost which had connections of their own. Returns what that hit.
    fn lose_messages(&mut self, shared: &Shared, way: Way, lines_lost: u64) -> Hit {
        if lines_lost > 0 {
            self.observe_loss(shared, way, lines_lost);
        }
        Hit { connections: lines_lost, lines_lost, ..Hit::default() }
    }

    /// Ends the connection, with what is on it and these lines more. Returns what was lost.
    fn end(mut self, shared: &Shared, way: Way, more: u64) -> Hit {
        let lines_lost = more + self.lose();
        self.observe_loss(shared, way, lines_lost);
        Hit { connections: 1, lines_lost, ..Hit::default() }
    }

    /// Observes that the connection is gone, and these lines with those lost before.
    fn observe_loss(&mut self, shared: &Shared, way: Way, lines: u64) {
        let (connection, lines_lost) = (self.connection, lines + std::mem::take(&mut self.lost));
        shared.sink.push(&shared.clock, Event::LinkLost { way, connection, lines_lost });
    }
}

fn observe_vanished(shared: &Shared, way: Way, outgoing: &Outgoing) {
    // A control line that vanishes is seen by what it fails to bring.
    if let (true, Line::At(report)) = (shared.sink.wants_traffic(), &outgoing.line) {
        let (connection, report) = (outgoing.connection, report.clone());
        shared.sink.push(&shared.clock, Event::Vanished { way, connection, report });
    }
}

impl Shared {
    /// Loses everything on a way, whether its writer runs or not. Returns what that hit.
    pub(super) fn sever(&self, way: Way, path: &mut Path) -> Hit {
        self.lose_on(way, path, |lane, path| lane.sever(self, path))
    }

    /// Loses everything on a way whose reader is gone. Returns what that hit.
    pub(super) fn lose_reader(&self, way: Way) -> Hit {
        let latency = lock(self.path(way.back())).latency();
        // A dial that has just succeeded looks under this lock whether the reader is still there: it does not open the way, or
        // has.
        let mut path = lock(self.path(way));
        self.lose_on(way, &mut path, |lane, path| lane.lose_reader(self, path, latency))
    }

    fn lose_on(&self, way: Way, path: &mut Path, lose: impl FnOnce(&Lane, &mut Path) -> Hit) -> Hit {
        let link = self.link(way);
        match self.life(way.from) {
            Some(life) => lose(&life.lanes[link.index()], path),
            None => {
                path.emptied(self.clock.now());
                let hit = self.observe_left(way, link, self.lose_leaving(way));
                self.never_arrives(way.to, |bringer| matches!(bringer, Bringer::Connection(of, _) if of == way));
                hit
            }
        }
    }

    /// Observes that lines are lost which were left of connections that their writer had closed. Returns what that hit.
    fn observe_left(&self, way: Way, link: LinkId, lines_lost: u64) -> Hit {
        if lines_lost > 0 {
            let connection = self.opened(way.from, link).load(Ordering::Relaxed);
            self.sink.push(&self.clock, Event::LinkLost { way, connection, lines_lost });
        }
        Hit { lines_lost, ..Hit::default() }
    }
}
