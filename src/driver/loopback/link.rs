//! The task of one outgoing way: dialling, and writing lines over a connection that stays.
//!
//! It may wait for a slow socket, because it owns nothing that others wait for: the node is locked only while lines are taken
//! from its outbox. Not here: when to dial, which the node decides; what the way does to lines ([`super::lane`]); connections
//! that carry one line ([`super::messages`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::acks::Acks;
use super::gate::Mode;
use super::inbox::Bringer;
use super::lane::{Channel, Lane, Next};
use super::messages;
use super::registry::{Caller, Dialled};
use super::rest::{Call, Flow};
use super::server::Life;
use super::socket::{Socket, bound_for, connect};
use super::{Shared, at, lock};
use crate::config::{LinkId, LinkMode, Way};
use crate::history::Event;
use crate::node::Input;
use crate::time::Timestamp;
use crate::wire::{Command, Control, next_line, parse};

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

/// Runs a way for as long as its server lives.
pub(super) async fn run(shared: Arc<Shared>, life: Arc<Life>, link: LinkId) {
    let lane = &life.lanes[link.index()];
    match lane.mode {
        LinkMode::Persistent => run_persistent(&shared, &life, lane).await,
        LinkMode::PerMessage => messages::run(&shared, &life, lane).await,
    }
}

async fn run_persistent(shared: &Arc<Shared>, life: &Life, lane: &Lane) {
    loop {
        while !lane.takes_dial() {
            if life.gate.mode() == Mode::Draining {
                return;
            }
            lane.wake.notified().await;
        }
        let opened = if reaches(shared, life, lane).await { open(shared, lane).await } else { None };
        let Some(mut dialled) = opened else {
            life.bring(shared, Input::DialFailed(lane.link)).await;
            shared.accounts.look();
            continue;
        };
        life.bring(shared, Input::LinkOpened(lane.link)).await;
        let end = write_lines(shared, life, lane, &mut dialled).await;
        let left = if let End::Lost = end { None } else { lane.leave(shared, life) };
        match left {
            None => drop(dialled),
            // Nothing is waited for: the end goes out now.
            Some(leaving) if leaving.has_landed() => leaving.see_through(shared, dialled).await,
            Some(leaving) => {
                let shared = shared.clone();
                tokio::spawn(async move { leaving.see_through(&shared, dialled).await });
            }
        }
        if let End::Closed = end {
            return lane.disarm(&lock(&life.node));
        }
        life.bring(shared, Input::LinkLost(lane.link)).await;
        shared.accounts.look();
    }
}

/// Waits as long as a dial takes: there and back, or until it times out. Returns `false` if nobody answers.
///
/// What is asked in silence is asked again all the time: it is heard as soon as the way is healed.
async fn reaches(shared: &Shared, life: &Life, lane: &Lane) -> bool {
    let is_silent = || lock(shared.path(lane.way)).is_silent();
    loop {
        let back = lane.spans_back(shared);
        let (dial, was_silent) = {
            let path = lock(shared.path(lane.way));
            (lane.dial(shared, &path, back), path.is_silent())
        };
        if dial.until <= shared.clock.now() && !dial.times_out {
            return true;
        }
        let end = at(shared, Some(dial.until));
        tokio::pin!(end);
        let is_over = loop {
            tokio::select! {
                biased;
                () = &mut end => break true,
                () = lane.wake.notified() => if life.gate.mode() == Mode::Draining || (was_silent && !is_silent()) {
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
    let mut path = lock(shared.path(lane.way));
    if path.is_unreachable() || (lines.is_some() && !shared.is_life_of(lane.way.to, called.as_ref())) {
        return None;
    }
    lane.opened(shared).store(connection, Ordering::Relaxed);
    path.connected();
    let wire = lines.is_none().then(|| dialled.local_addr().ok()).flatten();
    let wire = wire.map(|address| shared.between.dialled(lane.way, address));
    let mut channel = lane.new_channel(shared, connection, lines, acks);
    channel.wire = wire;
    *lock(&lane.channel) = Some(channel);
    shared.sink.push(&shared.clock, Event::LinkUp { way: lane.way, connection });
    shared.arrive(lane.way.to, Bringer::Connection(lane.way, connection), 1);
    Some(dialled)
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// It is gone, and what was under way with it.
    Lost,
    /// A fault ended it behind a line ([`WayVerb::Reset`](crate::act::WayVerb::Reset)): what has left arrives.
    Reset,
    /// Its writer has handed on everything.
    Closed,
}

/// Writes until the connection has ended.
async fn write_lines(shared: &Shared, life: &Life, lane: &Lane, socket: &mut Socket) -> End {
    let mut buffer = Vec::new();
    let mut pace = Pace::new();
    let mut answers = Answers::new(shared, life, lane);
    // The socket is gone, which the writer may learn later.
    let mut is_deaf = false;
    loop {
        let next = lane.fill(shared, life, &mut buffer, WRITE_BYTES);
        if shared.is_patient() {
            lane.catch_up(shared, life, None);
        }
        let due = match next {
            Next::GiveUp => {
                lane.give_up(shared, life);
                return End::Lost;
            }
            Next::Reset => return End::Reset,
            Next::Close | Next::Deliver(..) => return End::Closed,
            Next::Wait(due) => due,
            Next::Write { then, direct, last, .. } => {
                if is_deaf || !write(lane, socket, &mut answers, &buffer).await {
                    is_deaf = true;
                    lane.on_broken(shared);
                    recycle(&mut buffer);
                    continue;
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
            () = answers.read(socket), if !is_deaf => {
                is_deaf = true;
                lane.on_broken(shared);
            }
            () = at(shared, due) => {}
        }
    }
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

/// Connects to the neighbour. On this machine it knows who calls.
pub(super) async fn dial(
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
