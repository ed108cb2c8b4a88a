//! The outgoing way of one link: dialling, what the way does to lines, and writing them.
//!
//! One task a way. It may wait for a slow socket, because it owns nothing that others wait for: the node is locked only while
//! lines are taken from its outbox. Not here: when to dial, which the node decides.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::acks::Acks;
use super::gate::Mode;
use super::patience::Written;
use super::registry::{Caller, Dialled};
use super::rest::{Accounts, Call, Flow, InFlight, Recurring, Wire};
use super::server::Life;
use super::socket::{Socket, bound_for, connect};
use super::{Shared, lock};
use crate::config::{LinkId, LinkMode, Way};
use crate::driver::WINDOW_LINES;
use crate::driver::path::{Passage, Path};
use crate::history::Event;
use crate::node::{Input, Node};
use crate::numbers::Numbers;
use crate::time::Timestamp;
use crate::wire::{Command, Control, Line, next_line, parse, write_line};

/// Bytes of lines that are written at once, about.
const WRITE_BYTES: usize = 64 * 1024;

/// The least time between two writes of a way under load. Waiting lets lines gather: 2.3 times the throughput with many
/// clients, for one millisecond of delay.
const PACE: Duration = Duration::from_millis(1);

/// A way is under load from this many writes within [`PACE`] on, and until it pauses once without a line to write. Above what
/// one client causes that asks elsewhere after every update: it must never wait.
const BUSY_WRITES: u32 = 16;

/// As how many writes each further line of one write counts: lines that meet in a write are of several clients at once.
/// Against counting writes alone 2.1 times the throughput of 16 connections with one command in flight.
const GATHERED_LINE: u32 = 4;

/// How often a way lets all other tasks run before it writes, where replies wait: then lines gather that clients have sent at
/// once. With 256 connections 2 take 0.95 of the time a command that 1 takes.
const GATHERING_YIELDS: u32 = 2;

/// Lines of a per-message way that are dialled and written at once where replies wait.
const DIALS: usize = 64;

/// Lines of a per-message way whose connections are open at once where replies wait. In a ring the end of one may wait for a
/// line that has not left yet, and that one for the end of another: they need room for as many lines as clients wait for.
const DELIVERIES: usize = 1024;

/// What is read of a per-message neighbour's answer before its connection is closed, in bytes. Nothing in it matters.
const ANSWER_BYTES: u64 = 64 * 1024;

/// One way, as its server's tasks and the driver share it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) link: LinkId,
    pub(super) way: Way,
    mode: LinkMode,
    /// The one bell for everything the task has to look at.
    wake: Arc<Notify>,
    dial_wanted: AtomicBool,
    /// Whether the node's outbox is counted as due. It is from when it has lines until it has none or the way holds them; so
    /// it is changed only under the lock of the node, as the outbox is.
    armed: Recurring,
    /// It has been said that the neighbour acknowledges no lines.
    is_classic: AtomicBool,
    pub(super) channel: Mutex<Option<Channel>>,
}

/// What lines go through once the way is open. A way that was severed has none.
#[derive(Debug)]
pub(super) struct Channel {
    /// The number of the connection. On a per-message way, that of the last line that was taken.
    pub(super) connection: u32,
    /// The number of the last line that was taken.
    number: u64,
    /// Whether no line has left: what its way still owed to the connection before is lost.
    new: bool,
    /// Counts lines under way, when the neighbour is in this process.
    pub(super) lines: Option<Arc<Flow>>,
    /// Counts lines that were sent, when the neighbour is in another process. A per-message way counts each line elsewhere.
    wire: Option<Arc<Wire>>,
    /// Lines that are acknowledged, or lost so that the writer knows it.
    pub(super) acks: Arc<Acks>,
    /// Lines that the way swallowed in silence. The writer does not know of them before the way is reset.
    swallowed: Numbers,
    /// Where acknowledgements come over the connection: what has been written.
    pub(super) written: Option<Box<Written>>,
    /// Lines on a way that is slow or held, in order.
    stage: VecDeque<Staged>,
    /// Lines that leave and are not yet counted; empty between two turns.
    leaving: Vec<InFlight>,
    /// The connection is reset as soon as what is due has been written; what still waits is lost with it.
    resets: bool,
}

#[derive(Debug)]
struct Staged {
    line: Line,
    number: u64,
    /// The connection that it takes.
    connection: u32,
    /// When it arrives; `None` while the way is held.
    due: Option<Timestamp>,
}

/// What a way's task does next.
#[derive(Debug)]
enum Next {
    /// Writes what is in the buffer, and then waits no longer than until the time.
    Write {
        /// When the next line is due.
        then: Option<Timestamp>,
        /// Whether the lines came straight from the outbox.
        direct: bool,
        /// Whether the connection is to be reset after them.
        last: bool,
        /// The connection that they take.
        connection: u32,
        /// The number of the last one.
        number: u64,
        /// Where they are counted, for those that have a connection of their own.
        lines: Option<Arc<Flow>>,
    },
    /// Waits for the bell, and no longer than until the time.
    Wait(Option<Timestamp>),
    /// Gives the connection up.
    GiveUp,
    /// Closes in order: everything has been handed on.
    Close,
}

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

    /// Rings the bell: something changed that the task has to look at.
    pub(super) fn ring(&self) {
        self.wake.notify_one();
    }

    /// The outbox of the node, which is locked, has lines.
    pub(super) fn arm(&self, _locked: &Node) {
        self.armed.set(true);
        self.wake.notify_one();
    }

    /// The outbox of the node, which is locked, has no lines, or none that are due.
    pub(super) fn disarm(&self, _locked: &Node) {
        self.armed.set(false);
    }

    /// Whether there is a connection that has not been severed.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.channel).is_some()
    }

    /// Returns `true` if a line that is owed can leave. A per-message way dials for each.
    pub(super) fn is_usable(&self) -> bool {
        self.mode == LinkMode::PerMessage || self.is_open()
    }

    /// Whether the connection is to be reset as soon as what is due has been written.
    pub(super) fn is_resetting(&self) -> bool {
        lock(&self.channel).as_ref().is_some_and(|channel| channel.resets)
    }

    /// Resets the way's connection; the lines that were under way, or `None` without a connection.
    pub(super) fn sever(&self, shared: &Shared) -> Option<u64> {
        // On its own, because the loss is to be observed before nothing is under way.
        let _begun = shared.accounts.begin(self.way.from.index());
        let lost = self.lose_channel(shared);
        if self.mode == LinkMode::PerMessage
            && let Some(life) = shared.life(self.way.from).filter(|_| shared.is_patient())
        {
            // A persistent way tells of its loss by itself.
            self.catch_up(shared, &life, None);
        }
        lost
    }

    fn lose_channel(&self, shared: &Shared) -> Option<u64> {
        let channel = match self.mode {
            LinkMode::Persistent => lock(&self.channel).take()?,
            // Every message has its own connection: what waits is lost, and the next message dials.
            LinkMode::PerMessage => {
                let mut channel = lock(&self.channel);
                let mut old = channel.take()?;
                *channel = Some(Channel { acks: old.acks.clone(), ..self.message_channel(shared) });
                old.acks.append(&mut old.swallowed);
                old.stage.iter().for_each(|staged| old.acks.add(staged.number));
                old
            }
        };
        let held = channel.stage.iter().filter(|staged| staged.due.is_none()).count() as u64;
        let lost = held + channel.lines.map_or(0, |lines| lines.end());
        self.wake.notify_one();
        if self.mode == LinkMode::PerMessage && lost == 0 {
            return None;
        }
        let connection = channel.connection;
        shared.sink.push(&shared.clock, Event::LinkLost { way: self.way, connection, lines_lost: lost });
        Some(lost)
    }

    /// The connection is closed in order: what is under way arrives, and what a way holds is lost.
    fn close(&self, shared: &Shared) {
        if let Some(Channel { connection, stage, .. }) = lock(&self.channel).take() {
            let lines_lost = stage.len() as u64;
            shared.sink.push(&shared.clock, Event::LinkLost { way: self.way, connection, lines_lost });
        }
    }

    /// Waits until lines that are just being taken from the outbox have been counted.
    pub(super) fn settle_turn(&self) {
        drop(lock(&self.channel));
    }

    /// Lets lines that were held go on; how many. Those that found no room in the stage are due again.
    pub(super) fn release(&self, shared: &Shared, life: &Life, path: &mut Path) -> u64 {
        let mut channel = lock(&self.channel);
        let Some(channel) = channel.as_mut() else { return 0 };
        let released = channel.stage.iter().filter(|staged| staged.due.is_none()).count() as u64;
        channel.depart(shared, self.way, path);
        let node = lock(&life.node);
        if node.owed(self.link) > 0 {
            self.arm(&node);
        }
        self.wake.notify_one();
        released
    }

    /// What counts the lines of a channel whose every line has its own connection. Asked in the turn in which they leave: a
    /// way that is severed counts further ones elsewhere.
    fn message_lines(&self, channel: &Channel) -> Option<Arc<Flow>> {
        channel.lines.as_ref().filter(|_| self.mode == LinkMode::PerMessage).cloned()
    }

    fn message_channel(&self, shared: &Shared) -> Channel {
        let last = self.opened(shared).load(Ordering::Relaxed);
        Channel::new(last, shared.flow_to(self.way.to), self.acks())
    }

    /// Returns where a new connection's lines are acknowledged.
    fn acks(&self) -> Arc<Acks> {
        Acks::new(self.wake.clone())
    }

    /// Returns the number of connections that this way has had. It outlives the lane.
    fn opened<'a>(&self, shared: &'a Shared) -> &'a AtomicU32 {
        shared.opened(self.way.from, self.link)
    }

    /// Returns the connection that the next line takes: on a per-message way, a new one.
    fn connection_of_next(&self, shared: &Shared, channel: &mut Channel) -> u32 {
        if self.mode == LinkMode::PerMessage {
            channel.connection = self.opened(shared).fetch_add(1, Ordering::Relaxed) + 1;
        }
        channel.connection
    }

    /// Fills `buffer` with lines that go out now, up to about `limit` bytes.
    fn fill(&self, shared: &Shared, life: &Life, buffer: &mut Vec<u8>, limit: usize) -> Next {
        let mut path = lock(shared.path(self.way));
        let mut channel = lock(&self.channel);
        let Some(channel) = channel.as_mut() else { return Next::GiveUp };
        if channel.resets && channel.stage.front().is_none_or(|staged| staged.due.is_none()) {
            return Next::GiveUp;
        }
        // On its own, because between the outbox and the channel lines are on no account.
        let begun = shared.accounts.begin(self.way.from.index());
        let mode = life.gate.mode();
        let direct = path.is_clear() && channel.stage.is_empty();
        let drained = match (mode, direct) {
            (Mode::Paused, _) => true,
            (_, true) => self.take(shared, life, channel, &mut path, Some((buffer, limit))),
            (_, false) => self.take_staged(shared, life, channel, &mut path),
        };
        drop(begun);
        let landed = channel.land(shared.clock.now(), buffer, limit);
        let then = channel.stage.front().and_then(|staged| staged.due);
        match buffer.is_empty() {
            false => {
                let (connection, number) = landed.unwrap_or((channel.connection, channel.number));
                let last = channel.resets && then.is_none();
                Next::Write { then, direct, last, connection, number, lines: self.message_lines(channel) }
            }
            true if channel.resets && then.is_none() => Next::GiveUp,
            true if drained && mode == Mode::Draining && then.is_none() => Next::Close,
            true => Next::Wait(then),
        }
    }

    /// Takes lines from the outbox onto the stage and asks the path about them, until the outbox is empty, which it tells, or
    /// the stage is full: lines that are lost on their way make room for others.
    fn take_staged(&self, shared: &Shared, life: &Life, channel: &mut Channel, path: &mut Path) -> bool {
        loop {
            let drained = self.take(shared, life, channel, path, None);
            channel.depart(shared, self.way, path);
            if drained || channel.stage.len() >= WINDOW_LINES {
                return drained;
            }
        }
    }

    /// Takes lines from the outbox, straight into `direct`, up to about so many bytes, or else onto the stage; whether the
    /// outbox is empty then. What does not fit on a way that is `held` stays in the outbox and is not due.
    fn take(
        &self,
        shared: &Shared,
        life: &Life,
        channel: &mut Channel,
        path: &mut Path,
        mut direct: Option<(&mut Vec<u8>, usize)>,
    ) -> bool {
        let mut node = lock(&life.node);
        let mut empty = false;
        while direct.as_ref().map_or(channel.stage.len() < WINDOW_LINES, |(buffer, limit)| buffer.len() < *limit) {
            let Some(line) = node.next_line(self.link) else {
                empty = true;
                break;
            };
            let connection = self.connection_of_next(shared, channel);
            let number = node.line_number(self.link);
            channel.number = number;
            if shared.sink.wants_traffic() {
                shared.sink.push(&shared.clock, Event::written(self.way, connection, line.clone()));
            }
            match &mut direct {
                Some((buffer, _)) => {
                    write_line(buffer, line.text().as_bytes());
                    channel.note_written(number);
                    channel.leaving.push(InFlight { report: line.into_report(), number });
                }
                None => channel.stage.push_back(Staged { line, number, connection, due: None }),
            }
        }
        if empty || path.is_held() {
            self.disarm(&node);
        }
        life.settle(&mut node);
        // Not under the node's lock: a flow's reader locks its node under the flow.
        drop(node);
        path.pass(channel.leaving.len() as u64);
        channel.count_leaving();
        empty
    }
}

impl Channel {
    fn new(connection: u32, lines: Option<Arc<Flow>>, acks: Arc<Acks>) -> Self {
        Self {
            connection,
            number: 0,
            new: true,
            lines,
            wire: None,
            acks,
            swallowed: Numbers::default(),
            written: None,
            stage: VecDeque::new(),
            leaving: Vec::new(),
            resets: false,
        }
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

    /// Asks the path what becomes of the lines that wait, unless it holds them.
    fn depart(&mut self, shared: &Shared, way: Way, path: &mut Path) {
        let now = shared.clock.now();
        if path.is_held() || self.stage.back().is_none_or(|staged| staged.due.is_some()) {
            return;
        }
        if std::mem::take(&mut self.new) {
            path.emptied(now);
        }
        for mut staged in std::mem::take(&mut self.stage) {
            if staged.due.is_some() || self.resets {
                self.stage.push_back(staged);
                continue;
            }
            let (copies, due) = match path.send(now, || staged.line.written_len()) {
                Passage::Arrives(at) => (1, at),
                Passage::Twice(at) => (2, at),
                Passage::Lost => (0, now),
                Passage::Vanishes => {
                    observe_vanished(shared, way, &staged);
                    (0, now)
                }
            };
            let number = staged.number;
            match copies {
                0 if path.is_silent() => self.swallowed.insert(number..=number),
                0 => self.acks.add(number),
                _ => {}
            }
            staged.due = Some(due);
            for _ in 0..copies {
                self.leaving.push(InFlight { report: staged.line.clone().into_report(), number });
                self.stage.push_back(Staged { line: staged.line.clone(), ..staged });
            }
            self.count_leaving();
            self.resets |= path.resets_now();
        }
    }

    /// Moves lines that arrive now into the buffer. Returns the connection and the number of the last one.
    fn land(&mut self, now: Timestamp, buffer: &mut Vec<u8>, limit: usize) -> Option<(u32, u64)> {
        let mut last = None;
        let is_here = |staged: &mut Staged| staged.due.is_some_and(|due| due <= now);
        while buffer.len() < limit
            && let Some(staged) = self.stage.pop_front_if(is_here)
        {
            write_line(buffer, staged.line.text().as_bytes());
            last = Some((staged.connection, staged.number));
            self.note_written(staged.number);
        }
        last
    }

    /// A line goes into the buffer.
    fn note_written(&mut self, number: u64) {
        if let Some(written) = &mut self.written {
            written.push(number);
        }
    }
}

fn observe_vanished(shared: &Shared, way: Way, staged: &Staged) {
    // A control line that vanishes is seen by what it fails to bring.
    if let (true, Line::At(report)) = (shared.sink.wants_traffic(), &staged.line) {
        let (connection, report) = (staged.connection, report.clone());
        shared.sink.push(&shared.clock, Event::Vanished { way, connection, report });
    }
}

/// Runs a way for as long as its server lives.
pub(super) async fn run(shared: Arc<Shared>, life: Arc<Life>, link: LinkId) {
    let lane = &life.lanes[link.index()];
    match lane.mode {
        LinkMode::Persistent => run_persistent(&shared, &life, lane).await,
        LinkMode::PerMessage => run_per_message(&shared, &life, lane).await,
    }
}

async fn run_persistent(shared: &Arc<Shared>, life: &Life, lane: &Lane) {
    loop {
        while !lane.dial_wanted.swap(false, Ordering::AcqRel) {
            if life.gate.mode() == Mode::Draining {
                return;
            }
            lane.wake.notified().await;
        }
        let opened = if reaches(shared, life, lane).await { open(shared, lane).await } else { None };
        life.gate.pass().await;
        let Some(mut dialled) = opened else {
            life.input(shared, Input::DialFailed(lane.link));
            shared.accounts.look();
            continue;
        };
        life.input(shared, Input::LinkOpened(lane.link));
        match write_lines(shared, life, lane, &mut dialled).await {
            End::Lost => drop(dialled),
            End::GivenUp => shared.see_off(lane.way.to, dialled),
            End::Closed => {
                lane.disarm(&lock(&life.node));
                shared.see_off(lane.way.to, dialled);
                return;
            }
        }
        life.gate.pass().await;
        life.input(shared, Input::LinkLost(lane.link));
        shared.accounts.look();
    }
}

/// Waits as long as a dial takes: there and back, or until it times out. Returns `false` if nobody answers.
///
/// What is asked in silence is asked again all the time: it is heard as soon as the way is healed.
async fn reaches(shared: &Shared, life: &Life, lane: &Lane) -> bool {
    let timeout = shared.topology.redial.timeout;
    loop {
        let number = shared.count_dial(lane.way.from, lane.link);
        let back = lock(shared.path(lane.way.back())).spans();
        let now = shared.clock.now();
        let (dial, is_silent) = {
            let path = lock(shared.path(lane.way));
            (path.dial(now, number, back, timeout), path.is_silent())
        };
        if dial.until <= now && !dial.times_out {
            return true;
        }
        let end = at(shared, Some(dial.until));
        tokio::pin!(end);
        let is_healed = || is_silent && !lock(shared.path(lane.way)).is_silent();
        let is_over = loop {
            tokio::select! {
                biased;
                () = &mut end => break true,
                () = lane.wake.notified() => if life.gate.mode() == Mode::Draining || is_healed() {
                    break false;
                },
            }
        };
        if is_over || life.gate.mode() == Mode::Draining {
            return is_over && !dial.times_out;
        }
    }
}

/// Dials the neighbour and opens the channel.
async fn open(shared: &Arc<Shared>, lane: &Lane) -> Option<Dialled> {
    let lines = shared.flow_to(lane.way.to);
    let called = shared.life(lane.way.to);
    // Counted once it is open. Until then nothing is written to it, so that a dial in vain leaves the number to the next.
    let connection = lane.opened(shared).load(Ordering::Relaxed) + 1;
    let acks = lane.acks();
    let dialled = match dial(shared, lane.way, connection, lines.clone(), Some(acks.clone())).await {
        Ok(dialled) => dialled,
        Err(error) => {
            let name = |server| shared.topology.name(server);
            tracing::debug!(from = %name(lane.way.from), to = %name(lane.way.to), %error, "a dial failed");
            return None;
        }
    };
    let path = lock(shared.path(lane.way));
    if path.is_unreachable() || (lines.is_some() && !shared.is_life_of(lane.way.to, called.as_ref())) {
        return None;
    }
    lane.opened(shared).store(connection, Ordering::Relaxed);
    let written = (lines.is_none() && shared.is_patient()).then(Box::default);
    let wire = lines.is_none().then(|| dialled.local_addr().ok()).flatten();
    let wire = wire.map(|address| shared.between.dialled(lane.way, address));
    *lock(&lane.channel) = Some(Channel { written, wire, ..Channel::new(connection, lines, acks) });
    shared.sink.push(&shared.clock, Event::LinkUp { way: lane.way, connection });
    Some(dialled)
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// It is gone, and what was under way with it.
    Lost,
    /// A fault ended it behind a line ([`WayVerb::Reset`](crate::act::WayVerb::Reset)): what was written arrives.
    GivenUp,
    /// Its writer has handed on everything.
    Closed,
}

/// Writes until the connection has ended.
async fn write_lines(shared: &Shared, life: &Life, lane: &Lane, socket: &mut Socket) -> End {
    let mut buffer = Vec::new();
    let mut pace = Pace::new();
    let mut answers = Answers::new(shared, life, lane);
    loop {
        let next = lane.fill(shared, life, &mut buffer, WRITE_BYTES);
        if shared.is_patient() {
            lane.catch_up(shared, life, None);
        }
        let due = match next {
            // Severed by somebody else.
            Next::GiveUp if !lane.is_open() => break,
            Next::GiveUp | Next::Close => {
                if socket.finish().await.is_err() {
                    break;
                }
                lane.close(shared);
                return if matches!(next, Next::Close) { End::Closed } else { End::GivenUp };
            }
            Next::Wait(due) => due,
            Next::Write { then, direct, last, .. } => {
                if !write(lane, socket, &mut answers, &buffer).await {
                    break;
                }
                if answers.asked {
                    lane.on_written(shared, life);
                }
                let lines = memchr::memchr_iter(b'\n', &buffer).count() as u32;
                if recycle(&mut buffer) >= WRITE_BYTES || last {
                    continue;
                }
                // Where replies wait for neighbours, clients that wait let lines gather by themselves.
                if direct && !shared.is_patient() && pace.is_busy_after_write(lines) {
                    pace.pause(lane).await;
                    continue;
                }
                then
            }
        };
        let due = due.into_iter().chain(answers.deadline()).min();
        tokio::select! {
            biased;
            () = lane.wake.notified() => {
                if shared.is_patient() {
                    for _ in 0..GATHERING_YIELDS {
                        yield_now().await;
                    }
                }
            }
            () = answers.read(socket) => break,
            () = at(shared, due) => {}
        }
    }
    lane.sever(shared);
    End::Lost
}

/// Whether a way is under load.
#[derive(Debug)]
struct Pace {
    busy: bool,
    /// Writes since `start`, while not busy; each further line of a write counts [`GATHERED_LINE`].
    writes: u32,
    start: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { busy: false, writes: 0, start: Instant::now() }
    }

    fn is_busy_after_write(&mut self, lines: u32) -> bool {
        if !self.busy {
            let now = Instant::now();
            if now.duration_since(self.start) > PACE {
                (self.writes, self.start) = (0, now);
            }
            self.writes += 1 + GATHERED_LINE * (lines - 1);
            self.busy = self.writes > BUSY_WRITES;
        }
        self.busy
    }

    /// Lets lines gather, or returns early when the way is severed.
    async fn pause(&mut self, lane: &Lane) {
        let end = sleep_until(Instant::now() + PACE);
        tokio::pin!(end);
        self.busy = false;
        while lane.is_open() {
            tokio::select! {
                biased;
                () = &mut end => return,
                () = lane.wake.notified() => self.busy = true,
            }
        }
    }
}

/// Writes everything. Returns `false` if the way was severed or the connection is gone.
///
/// Reads what the neighbour sends meanwhile: one that writes without reading would otherwise wait for this side, and this side
/// for it.
async fn write(lane: &Lane, socket: &Socket, answers: &mut Answers<'_>, mut bytes: &[u8]) -> bool {
    let mut rang = false;
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return false,
            Ok(count) => {
                bytes = &bytes[count..];
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        tokio::select! {
            biased;
            writable = socket.writable() => if writable.is_err() {
                return false;
            },
            // Only the loss of the way cannot wait until everything is written.
            () = lane.wake.notified() => {
                if !lane.is_open() {
                    return false;
                }
                rang = true;
            }
            () = answers.read(socket) => return false,
        }
    }
    if rang {
        lane.ring();
    }
    true
}

/// Empties a buffer, which keeps only little memory while nothing happens; how long it was.
fn recycle(buffer: &mut Vec<u8>) -> usize {
    const KEPT: usize = 1024;

    let written = buffer.len();
    buffer.clear();
    buffer.shrink_to(KEPT);
    written
}

/// What a neighbour says on a connection that brings it lines: acknowledgements, if the way's writer has asked for some. The rest
/// is forgotten.
struct Answers<'a> {
    shared: &'a Shared,
    life: &'a Life,
    lane: &'a Lane,
    /// The beginning of a line.
    unread: Vec<u8>,
    /// Whether anything in it matters.
    asked: bool,
    /// Until when the neighbour may answer the question. `None`: it has answered, or is asked nothing.
    until: Option<Timestamp>,
}

/// Returns `true` if a line asks for acknowledgements.
fn is_question(line: &[u8]) -> bool {
    matches!(parse(line), Command::Control(Control::Acknowledge { .. }))
}

impl<'a> Answers<'a> {
    fn new(shared: &'a Shared, life: &'a Life, lane: &'a Lane) -> Self {
        let asked = lock(&lane.channel).as_ref().is_some_and(|channel| channel.written.is_some());
        let until = asked.then(|| shared.clock.now() + shared.topology.limits.reply);
        Self { shared, life, lane, unread: Vec::new(), asked, until }
    }

    /// The neighbour does not know the question, or has not answered it in time.
    fn on_refusal(&self) {
        let is_new = self.lane.on_refusal(self.shared, self.life);
        if is_new && !self.lane.is_classic.swap(true, Ordering::Relaxed) {
            let name = |server| self.shared.topology.name(server);
            let (server, neighbour) = (name(self.lane.way.from), name(self.lane.way.to));
            tracing::warn!(%server, %neighbour, "the neighbour acknowledges no lines: what is written to it counts as taken");
        }
    }

    /// Returns when the question counts as refused, if it is open.
    fn deadline(&mut self) -> Option<Timestamp> {
        let is_open = |channel: &Channel| channel.written.as_ref().is_some_and(|written| written.is_unanswered());
        let until = self.until.filter(|_| lock(&self.lane.channel).as_ref().is_some_and(is_open));
        self.until = until;
        if until.is_some_and(|until| until <= self.shared.clock.now()) {
            self.on_refusal();
            self.until = None;
        }
        self.until
    }

    /// Reads until the neighbour closes.
    async fn read(&mut self, socket: &Socket) {
        while socket.readable().await.is_ok() {
            // In here, so that it is on the stack and not in every way's task.
            let mut answer = [0; 512];
            match socket.try_read(&mut answer) {
                Ok(0) => return,
                Ok(count) if self.asked => self.take(&answer[..count]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let mut start = 0;
        while let Some((line, length)) = next_line(&self.unread[start..], 0) {
            match parse(line) {
                Command::Control(Control::Took(taken)) => self.lane.on_took(self.shared, self.life, taken),
                Command::Refusal if line.strip_prefix(b"? ").is_some_and(is_question) => self.on_refusal(),
                _ => {}
            }
            start += length;
        }
        self.unread.drain(..start);
        // Of a line that is too long the end is left, which is no acknowledgement.
        if self.unread.len() > self.shared.topology.limits.line {
            self.unread.clear();
            self.unread.push(b'?');
        }
    }
}

/// Waits until a time, for ever without one.
async fn at(shared: &Shared, due: Option<Timestamp>) {
    match due {
        Some(due) => sleep_until(shared.clock.instant(due).into()).await,
        None => std::future::pending().await,
    }
}

async fn run_per_message(shared: &Arc<Shared>, life: &Life, lane: &Lane) {
    *lock(&lane.channel) = Some(lane.message_channel(shared));
    // Where replies wait for the ends of connections, one line must not wait for the end of another's.
    let most = if shared.is_patient() { DELIVERIES } else { 1 };
    let dials = &Semaphore::new(DIALS);
    let mut deliveries = FuturesUnordered::new();
    let mut buffer = Vec::new();
    loop {
        // There are descriptors for one; others take what no link needs.
        let more = if deliveries.is_empty() { None } else { shared.room_for_delivery() };
        // What goes to another process is this one's business until that has read it.
        let begun =
            shared.flow_to(lane.way.to).is_none().then(|| shared.accounts.begin_for_long(lane.way.from.index()));
        let next = match deliveries.is_empty() || (deliveries.len() < most && more.is_some()) {
            true => lane.fill(shared, life, &mut buffer, 1),
            false => Next::Wait(None),
        };
        if shared.is_patient() {
            lane.catch_up(shared, life, None);
        }
        match next {
            Next::Write { connection, number, lines, .. } => {
                let message = Message { connection, lines, line: std::mem::take(&mut buffer) };
                deliveries.push(async move {
                    deliver(shared, lane, &message, dials).await;
                    drop((more, begun));
                    (number, message.line)
                });
            }
            Next::Wait(due) => {
                drop(begun);
                tokio::select! {
                    () = lane.wake.notified() => {}
                    Some((number, line)) = deliveries.next() => {
                        lane.on_delivered(number);
                        buffer = line;
                        recycle(&mut buffer);
                    }
                    () = at(shared, due) => {}
                }
            }
            Next::GiveUp => {
                lane.sever(shared);
            }
            Next::Close => {
                while deliveries.next().await.is_some() {}
                return;
            }
        }
    }
}

impl Shared {
    /// Returns room for both ends of one more connection that carries one line, unless a client or the next connection of a
    /// server may need it.
    fn room_for_delivery(&self) -> Option<OwnedSemaphorePermit> {
        let spare = self.room.available_permits().checked_sub(self.slots.len() + 2);
        spare.and_then(|_| self.room.clone().try_acquire_many_owned(2).ok())
    }
}

/// A line that has a connection of its own.
#[derive(Debug)]
struct Message {
    connection: u32,
    /// Where it is counted, if its neighbour is in this process.
    lines: Option<Arc<Flow>>,
    line: Vec<u8>,
}

/// Takes one line to the neighbour over a connection of its own. When that fails the line is lost, as the assignment's
/// servers lose it.
async fn deliver(shared: &Arc<Shared>, lane: &Lane, message: &Message, dials: &Semaphore) {
    let Message { connection, lines, .. } = message;
    let delivery = deliver_once(shared, lane, message, dials);
    let delivered = match lines {
        // A way that is severed keeps no reply waiting.
        Some(lines) if shared.is_patient() => tokio::select! {
            biased;
            delivered = delivery => delivered,
            () = lines.ended() => Err(io::ErrorKind::ConnectionReset.into()),
        },
        _ => delivery.await,
    };
    match delivered {
        // A paused neighbour still has it before it.
        Ok(Answer::Complete | Answer::Outstanding) => {}
        Ok(Answer::Unread) | Err(_) => {
            let _begun = shared.accounts.begin(lane.way.from.index());
            // Not once more what was lost with a server that was killed, or when the way was severed.
            if lines.as_ref().is_none_or(|lines| lines.lose_one()) {
                let (way, connection) = (lane.way, *connection);
                shared.sink.push(&shared.clock, Event::LinkLost { way, connection, lines_lost: 1 });
            }
        }
    }
}

/// How far a neighbour got with a message before its connection was closed.
#[derive(Debug)]
enum Answer {
    Complete,
    Outstanding,
    Unread,
}

async fn deliver_once(shared: &Arc<Shared>, lane: &Lane, message: &Message, dials: &Semaphore) -> io::Result<Answer> {
    let begun = dials.acquire().await;
    let mut dialled = dial(shared, lane.way, message.connection, message.lines.clone(), None).await?;
    // A neighbour that does not read must not keep the way for ever: the line is lost then.
    timeout(shared.topology.redial.timeout, dialled.write_all(&message.line)).await??;
    dialled.finish().await?;
    drop(begun);
    let mut answer = (&mut **dialled).take(ANSWER_BYTES);
    match timeout(shared.answer_limit(), tokio::io::copy(&mut answer, &mut tokio::io::sink())).await {
        Ok(Err(error)) if message.lines.is_none() => Err(error),
        // Inside this process every end is a reset.
        Ok(_) => Ok(if dialled.was_read() { Answer::Complete } else { Answer::Unread }),
        Err(_) => {
            shared.see_off(lane.way.to, dialled);
            Ok(Answer::Outstanding)
        }
    }
}

/// Connects to the neighbour. On this machine it knows who calls.
async fn dial(
    shared: &Arc<Shared>,
    way: Way,
    connection: u32,
    lines: Option<Arc<Flow>>,
    acks: Option<Arc<Acks>>,
) -> io::Result<Dialled> {
    if lock(shared.path(way)).is_cut() {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let limit = shared.topology.redial.timeout;
    if let Some(name) = shared.name_elsewhere(way.to) {
        // On the heap, because every way's task has room for what is awaited here, and few ways lead to a name.
        let socket = |address| shared.socket_elsewhere(way, connection, address);
        let stream = Box::pin(name.connect(limit, socket)).await?;
        return Ok(Dialled::new(Socket::new(stream), None));
    }
    let target = shared.dial_address(way.to);
    if target.port() == 0 {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (socket, registration) = match lines {
        Some(lines) => {
            let socket = bound_for(target)?;
            let call = Arc::new(Call::new(shared.accounts.clone(), way.to.index()));
            let caller = Caller::Neighbour { way, connection, lines, call, acks };
            let registration = shared.registry.register(socket.local_addr()?, caller);
            (socket, Some(registration))
        }
        None => (shared.socket_elsewhere(way, connection, target)?, None),
    };
    let stream = timeout(limit, connect(socket, target)).await??;
    Ok(Dialled::new(Socket::new(stream), registration))
}
