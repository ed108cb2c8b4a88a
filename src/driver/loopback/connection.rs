//! A connection that a server accepted: lines in, replies out.
//!
//! While nothing happens it owns no buffer: it reads into one that all connections of a thread share. It reads no further
//! command while its client has not taken the replies to earlier ones, so a client that never reads costs
//! [`Limits::queued_bytes`](crate::config::Limits::queued_bytes), the replies to one more command and one read of memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::acks::{Acks, NOBODY_ASKS};
use super::gate::Mode;
use super::inbox::Bringer;
use super::patience::Held;
use super::registry::{Accepted, Caller};
use super::rest::{Call, InFlight, Wire};
use super::server::{Life, Outcome, Place};
use super::socket::Socket;
use super::{Shared, lock};
use crate::act::SessionId;
use crate::config::{LinkId, Way};
use crate::history::{Event, Hop};
use crate::node::{Input, Node, Output, Settled};
use crate::numbers::Numbers;
use crate::time::Timestamp;
use crate::wire::{Command, Reply, Report, Search, last_line, next_line, parse, write_line};

/// Bytes read at once at most.
const READ_BYTES: usize = 64 * 1024;

/// Lines between two looks ahead: as many fetches from memory as a core has under way at once, about.
const AHEAD: u64 = 16;

/// How long a client that is being hung up on may go on sending, or not reading why, before its connection is reset.
const HANG_UP: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; READ_BYTES].into_boxed_slice(),
        replies: Vec::new(),
        outputs: Vec::new(),
    });
}

/// Buffers that are empty between two turns.
struct Scratch {
    input: Box<[u8]>,
    replies: Vec<u8>,
    outputs: Vec<Output>,
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    life: Arc<Life>,
    socket: Socket,
    caller: Option<Caller>,
    /// The neighbour that it is from.
    from: Option<LinkId>,
    /// The hop that its lines take, if its caller is known by its address.
    hop: Option<Hop>,
    /// Counts lines that were handled, if a neighbour in another process sends them.
    wire: Option<Arc<Wire>>,
    /// What was read and not yet handled: at most one read and one line.
    unread: Vec<u8>,
    /// Bytes at the start of `unread` that hold no line end.
    scanned: usize,
    /// Bytes of this driver's own client that were read and are not counted as handled.
    uncounted: u64,
    /// Replies that wait: the socket did not take them at once, or links are to write first.
    unsent: Vec<u8>,
    /// A record got newer in this turn.
    spreads: bool,
    /// An update was accepted in this turn, where replies wait.
    accepts: bool,
    /// Updates that were accepted and not acknowledged, where that is observed.
    accepted: Vec<Arc<Report>>,
    /// The replies of this turn wait.
    held: Option<Held>,
    acknowledges: Acknowledges,
    /// Lines of this turn that are acknowledged.
    taken: Numbers,
    /// Lines that were read.
    read: u64,
    /// The client has closed its side.
    ended: bool,
    /// It sent an `AT` line: a server, which may have nothing to say for long.
    is_server: bool,
}

/// How the far end learns that its lines are acknowledged.
enum Acknowledges {
    /// Not at all.
    Nothing,
    /// Its node is told, which is in this process.
    ToNode(Arc<Acks>),
    /// In lines, for which it has asked.
    InLines(Arc<Acks>),
    /// By the end of the connection.
    ByEnd(Arc<Acks>),
}

/// Why a turn ended.
enum Turn {
    /// Everything that was read is handled.
    Idle,
    /// Replies wait to be taken, and lines to be handled after that.
    Full,
    /// A command waits for the places service.
    Search(Arc<Report>, Search),
    /// The client sends no more.
    End,
    /// A line is longer than allowed.
    TooLong,
    /// The connection was reset.
    Reset,
}

impl Acknowledges {
    fn in_lines(&self) -> Option<&Arc<Acks>> {
        if let Self::InLines(acks) = self { Some(acks) } else { None }
    }
}

impl Connection {
    /// A connection that was just accepted; `None` when its caller has left already.
    pub(super) fn new(shared: Arc<Shared>, life: Arc<Life>, stream: TcpStream, peer: SocketAddr) -> Option<Self> {
        let caller = match shared.registry.accept(peer) {
            Accepted::Known(caller) => Some(caller),
            Accepted::Stranger => None,
            // Its port is free at once.
            Accepted::Left => {
                drop(Socket::new(stream));
                return None;
            }
        };
        let hop = match &caller {
            Some(Caller::Neighbour { way, connection, .. }) => Some(Hop { server: way.from, connection: *connection }),
            Some(Caller::Client { .. }) => None,
            None => shared.calls.get().and_then(|calls| calls.take(peer)),
        };
        let from = hop.and_then(|hop| shared.wiring.link(Way { from: life.server, to: hop.server }));
        let hop = hop.filter(|_| from.is_some());
        let wire = hop.filter(|_| caller.is_none()).map(|hop| {
            let way = Way { from: hop.server, to: life.server };
            shared.between.accepted(way, peer)
        });
        let acknowledges = match &caller {
            Some(Caller::Neighbour { acks: Some(acks), .. }) if shared.is_patient() => {
                Acknowledges::ToNode(acks.clone())
            }
            Some(Caller::Neighbour { .. }) | None if shared.is_everywhere() => {
                Acknowledges::ByEnd(Acks::new(Arc::default()))
            }
            _ => Acknowledges::Nothing,
        };
        Some(Self {
            shared,
            life,
            socket: Socket::new(stream),
            caller,
            from,
            hop,
            wire,
            unread: Vec::new(),
            scanned: 0,
            uncounted: 0,
            unsent: Vec::new(),
            spreads: false,
            accepts: false,
            accepted: Vec::new(),
            held: None,
            acknowledges,
            taken: Numbers::default(),
            read: 0,
            ended: false,
            is_server: from.is_some(),
        })
    }

    /// Serves the connection until it ends. Holds its place until then.
    pub(super) async fn run(mut self, mut place: Place) {
        if self.from.is_some() {
            place.is_of_a_link();
        }
        self.life.gate.pass().await;
        if let Some(link) = self.from {
            let bringer = self.bringer().filter(|_| self.is_persistent());
            if bringer.is_some() {
                self.life.take_turn(bringer).await;
            }
            self.life.input(&self.shared, Input::NeighbourSeen(link));
            self.life.took(bringer, 1);
            self.call().inspect(|call| call.see());
            self.shared.accounts.look();
        }
        // A connection that fails is a client's business.
        if let Err(error) = self.serve().await {
            let server = self.shared.topology.name(self.life.server);
            tracing::debug!(%server, %error, "a connection failed");
        }
        if let Some(link) = self.from {
            self.life.input(&self.shared, Input::NeighbourGone(link));
            self.call().inspect(|call| call.finish());
            self.shared.let_go(self.life.server);
            self.shared.accounts.look();
        }
        drop(place);
    }

    /// Returns what the server's inbox knows the far end as, or `None` for a stranger.
    fn bringer(&self) -> Option<Bringer> {
        match self.caller {
            Some(Caller::Neighbour { way, connection, .. }) => Some(Bringer::Connection(way, connection)),
            Some(Caller::Client { session, .. }) => Some(Bringer::Session(session)),
            None => None,
        }
    }

    /// Returns `true` for a connection of a neighbour of this process that stays.
    fn is_persistent(&self) -> bool {
        matches!(self.caller, Some(Caller::Neighbour { acks: Some(_), .. }))
    }

    fn call(&self) -> Option<&Call> {
        self.caller.as_ref().and_then(Caller::call)
    }

    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let turn = self.next_turn().await?;
            let spreads = std::mem::take(&mut self.spreads);
            if let Some(mut held) = self.held.take() {
                let how = self.settled(&mut held).await;
                // A server that was paused meanwhile says nothing. Its replies count as its own until they are said.
                self.life.gate.pass().await;
                if let Some(error) = self.session().and_then(|_| self.socket.take_error().transpose()) {
                    // The client of this driver is gone, and will never know.
                    return Err(error?);
                }
                self.acknowledge(how);
                // Before the wait is not due any more.
                self.count_replies(&self.unsent);
            } else if spreads && !self.shared.is_patient() {
                // The links, which were woken before, write first: who reads the reply and asks elsewhere at once finds the
                // update there. Nobody is waited for.
                yield_now().await;
            }
            self.flush().await?;
            match turn {
                Turn::Idle | Turn::Full => {}
                Turn::Search(report, search) => self.search(&report, &search).await?,
                Turn::End => {
                    if let Acknowledges::ByEnd(acks) = &self.acknowledges {
                        acks.all_released().await;
                        self.life.gate.pass().await;
                    }
                    return self.close().await;
                }
                Turn::TooLong => return self.hang_up().await,
                Turn::Reset => return Ok(()),
            }
        }
    }

    /// Waits until replies may go out. Until then nothing more of their client is read, so that nobody waits for its turn: the
    /// links, which write when all has been read, may be what the replies wait for.
    async fn settled(&self, held: &mut Held) -> Settled {
        let Some(bringer) = self.bringer() else { return held.await };
        loop {
            tokio::select! {
                biased;
                how = &mut *held => return how,
                () = self.life.inbox.comes_to(bringer) => self.life.forget(|of| of == bringer),
            }
        }
    }

    /// Handles what is there already, or else what comes next; ends when the server drains and nothing is there.
    async fn next_turn(&mut self) -> io::Result<Turn> {
        let bringer = self.bringer();
        tokio::select! {
            biased;
            () = self.life.take_turn(bringer) => {}
            // Nothing of it can be handled any more. Its end comes before what the neighbour's next connection brings.
            () = self.severed() => {
                self.life.gate.pass().await;
                return Ok(Turn::Reset);
            }
        }
        if self.scanned < self.unread.len() {
            return Ok(self.take_unread());
        }
        self.count_all();
        self.acknowledge_lines().await?;
        let life = self.life.clone();
        let idle = self.idle_limit();
        let asked = self.acknowledges.in_lines().cloned();
        tokio::select! {
            biased;
            turn = poll_fn(|context| self.poll_turn(context)) => turn,
            () = life.gate.drained() => Ok(Turn::End),
            () = released(asked.as_deref()) => Ok(Turn::Idle),
            // A server that is paused does not look at the time either.
            () = idle_for(idle) => Ok(if life.gate.is_paused() { Turn::Idle } else { Turn::End }),
        }
    }

    /// Closes the connection behind its last reply.
    ///
    /// Between two orderly ends, the one that closes first keeps its port for a minute (`TIME_WAIT`). Peers in this process, of
    /// which short runs have thousands, are spared that: once they have read everything, dropping the socket resets the
    /// connection.
    async fn close(&mut self) -> io::Result<()> {
        match &self.caller {
            Some(Caller::Client { replies, .. }) => replies.emptied().await,
            Some(Caller::Neighbour { .. }) => {}
            None => self.socket.finish().await?,
        }
        Ok(())
    }

    /// Waits until the way of a neighbour's connection loses what is on it. Never ends for others.
    async fn severed(&self) {
        match &self.caller {
            Some(Caller::Neighbour { lines, .. }) => lines.ended().await,
            Some(Caller::Client { .. }) | None => std::future::pending().await,
        }
    }

    fn idle_limit(&self) -> Option<Duration> {
        self.shared.topology.limits.idle.filter(|_| !self.is_server)
    }

    /// Reads, handles and writes without waiting in between.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        SCRATCH.with_borrow_mut(|scratch| {
            if self.life.gate.is_paused() || self.life.inbox.allowance(self.bringer()) == 0 {
                // Paused while it waited to read: what comes is left in the socket. `next_turn` is polled again by the gate.
                return Poll::Ready(Ok(Turn::Idle));
            }
            let mut buffer = ReadBuf::new(&mut scratch.input);
            ready!(Pin::new(&mut *self.socket).poll_read(context, &mut buffer))?;
            let read = buffer.filled().len();
            let turn = match read {
                0 => self.take_rest(&mut scratch.replies, &mut scratch.outputs),
                _ => self.take_read(&scratch.input[..read], &mut scratch.replies, &mut scratch.outputs),
            };
            self.write_now(&mut scratch.replies);
            Poll::Ready(Ok(turn))
        })
    }

    /// Handles bytes that were just read.
    fn take_read(&mut self, bytes: &[u8], replies: &mut Vec<u8>, outputs: &mut Vec<Output>) -> Turn {
        self.uncounted += bytes.len() as u64;
        if self.unread.is_empty() {
            let (taken, turn) = self.take_counted(bytes, replies, outputs);
            self.unread.extend_from_slice(&bytes[taken..]);
            self.end_of_turn(turn)
        } else {
            self.unread.extend_from_slice(bytes);
            self.take_more(replies, outputs)
        }
    }

    /// Handles lines that were read before and left.
    fn take_unread(&mut self) -> Turn {
        SCRATCH.with_borrow_mut(|scratch| {
            let turn = self.take_more(&mut scratch.replies, &mut scratch.outputs);
            self.write_now(&mut scratch.replies);
            turn
        })
    }

    fn take_more(&mut self, replies: &mut Vec<u8>, outputs: &mut Vec<Output>) -> Turn {
        let unread = std::mem::take(&mut self.unread);
        let (taken, turn) = self.take_counted(&unread, replies, outputs);
        self.unread = unread;
        self.unread.drain(..taken);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        self.end_of_turn(turn)
    }

    /// The client has closed its side: what is left is a line without end.
    fn take_rest(&mut self, replies: &mut Vec<u8>, outputs: &mut Vec<Output>) -> Turn {
        if self.unread.is_empty() || self.ended {
            return Turn::End;
        }
        self.ended = true;
        self.unread.push(b'\n');
        self.scanned = 0;
        match self.take_more(replies, outputs) {
            Turn::Idle => Turn::End,
            turn => turn,
        }
    }

    /// When a line stays incomplete, it is looked at again only with more bytes.
    fn end_of_turn(&mut self, turn: Turn) -> Turn {
        let limit = self.shared.topology.limits.line;
        match turn {
            Turn::Idle => self.scanned = self.unread.len(),
            _ => self.scanned = 0,
        }
        if matches!(turn, Turn::Idle) && last_line(&self.unread).len() > limit { Turn::TooLong } else { turn }
    }

    /// Handles lines and counts them as handled when they came from inside this process.
    fn take_counted(&mut self, bytes: &[u8], replies: &mut Vec<u8>, outputs: &mut Vec<Output>) -> (usize, Turn) {
        let flow = match &self.caller {
            None => None,
            Some(Caller::Neighbour { lines, .. }) => Some(lines.clone()),
            Some(Caller::Client { commands, .. }) => Some(commands.clone()),
        };
        let Some(flow) = flow else {
            let (taken, lines, turn) = self.take_lines(bytes, &mut VecDeque::new(), replies, outputs);
            if let Some(wire) = &self.wire {
                wire.count(lines);
            }
            return (taken, turn);
        };
        let counted = flow.handle(|in_flight| {
            let (taken, lines, turn) = self.take_lines(bytes, in_flight, replies, outputs);
            (self.handled(lines, &turn), (taken, turn))
        });
        match &self.caller {
            Some(Caller::Neighbour { way, connection, acks: Some(_), .. }) => self.shared.on_taken(*way, *connection),
            Some(Caller::Neighbour { call, .. }) if self.read > 0 => call.read(),
            _ => {}
        }
        counted.unwrap_or((bytes.len(), Turn::Reset))
    }

    /// What counts as handled after a turn: lines of a neighbour; bytes of a client once no command waits.
    fn handled(&mut self, lines: u64, turn: &Turn) -> u64 {
        match (&self.caller, turn) {
            (Some(Caller::Client { .. }), Turn::Idle) => std::mem::take(&mut self.uncounted),
            (Some(Caller::Client { .. }), _) => 0,
            (Some(Caller::Neighbour { .. }) | None, _) => lines,
        }
    }

    fn count_replies(&self, replies: &[u8]) {
        if let Some(Caller::Client { replies: flow, .. }) = &self.caller {
            flow.sent(replies.len() as u64);
        }
    }

    /// Handles whole lines until one has to wait; how many bytes and lines that were. Lines in flight from another server of
    /// this process are known as reports already.
    fn take_lines(
        &mut self,
        bytes: &[u8],
        in_flight: &mut VecDeque<InFlight>,
        replies: &mut Vec<u8>,
        outputs: &mut Vec<Output>,
    ) -> (usize, u64, Turn) {
        let life = self.life.clone();
        let mut node = lock(&life.node);
        if life.gate.is_paused() {
            // Since it was read. Asked under the node's lock, which who pauses takes once: nothing is handled after that.
            return (0, 0, Turn::Full);
        }
        let bringer = self.bringer();
        let taken = self.take_each(&mut node, bytes, in_flight, replies, outputs, life.inbox.allowance(bringer));
        life.took(bringer, taken.1);
        if let Acknowledges::ToNode(acks) | Acknowledges::InLines(acks) = &self.acknowledges {
            acks.append(&mut self.taken);
        }
        if std::mem::take(&mut self.accepts) {
            self.held = life.hold(&self.shared, &mut node);
        }
        // One ticket more may have let another go.
        life.settle(&mut node);
        if self.held.is_none() {
            // A server that stops waits for nobody.
            self.acknowledge(if life.gate.mode() == Mode::Draining { Settled::Overdue } else { Settled::Taken });
            self.count_replies(replies);
        }
        taken
    }

    fn take_each(
        &mut self,
        node: &mut Node,
        bytes: &[u8],
        in_flight: &mut VecDeque<InFlight>,
        replies: &mut Vec<u8>,
        outputs: &mut Vec<Output>,
        allowance: u64,
    ) -> (usize, u64, Turn) {
        let now = self.shared.clock.now();
        let limits = self.shared.topology.limits;
        let (mut start, mut lines) = (0, 0);
        let mut scanned = std::mem::take(&mut self.scanned);
        while let Some((line, length)) = next_line(&bytes[start..], scanned) {
            scanned = 0;
            if lines == allowance {
                return (start, lines, Turn::Full);
            }
            if line.len() > limits.line {
                return (start, lines, Turn::TooLong);
            }
            start += length;
            if lines % AHEAD == 0 {
                node.look_ahead(in_flight.iter().take(AHEAD as usize).filter_map(|line| line.report.as_ref()));
            }
            lines += 1;
            // Two per-message connections of a server that was paused can be read in either order: then it is just a line.
            let InFlight { report, number } = in_flight.pop_front().unwrap_or_default();
            let known = report.filter(|report| report.line().as_bytes() == line);
            let search = self.take_line(node, now, line, known, replies, outputs);
            self.take_in(node, number);
            if let Some((report, search)) = search {
                return (start, lines, Turn::Search(report, search));
            }
            if replies.len() > limits.queued_bytes {
                return (start, lines, Turn::Full);
            }
        }
        (start, lines, Turn::Idle)
    }

    /// Handles one line; gives back what has to be asked of a places service elsewhere.
    fn take_line(
        &mut self,
        node: &mut Node,
        now: Timestamp,
        line: &[u8],
        known: Option<Arc<Report>>,
        replies: &mut Vec<u8>,
        outputs: &mut Vec<Output>,
    ) -> Option<(Arc<Report>, Search)> {
        let (from, observed) = (self.from, self.shared.sink.wants_traffic());
        let (input, heard) = match known {
            Some(report) => {
                let heard = observed.then(|| report.clone());
                (Input::Shared { report, from, heeds_known: self.shared.heeds_known }, heard)
            }
            None => {
                let command = parse(line);
                let heard = if let (Command::At(at), true) = (command, observed) { Some(at.to_report()) } else { None };
                (Input::Command { command, from }, heard.map(Arc::new))
            }
        };
        self.is_server |= matches!(input, Input::Shared { .. } | Input::Command { command: Command::At(_), .. });
        node.handle(now, input, outputs);
        let (stored, outcome) = self.life.carry_out(&self.shared, node, outputs);
        self.spreads |= stored.is_some();
        if observed {
            self.observe(line, heard, stored.is_some(), &outcome);
        }
        match outcome {
            Outcome::Nothing => None,
            Outcome::Proven(link) => {
                (self.from, self.is_server) = (Some(link), true);
                None
            }
            Outcome::Acknowledge => {
                self.acknowledges = Acknowledges::InLines(Acks::new(Arc::default()));
                None
            }
            Outcome::Reply(report) => {
                Reply::At(report.line()).write_to(replies);
                self.accepts = self.shared.is_patient() && self.from.is_none();
                if self.accepts && observed {
                    self.accepted.push(report);
                }
                None
            }
            Outcome::Refuse => {
                Reply::Refused(line).write_to(replies);
                None
            }
            Outcome::Search(report, search) => match self.shared.places.immediate(&search) {
                Some(answer) => {
                    Reply::Found(report.line(), &answer).write_to(replies);
                    None
                }
                None => Some((report, search)),
            },
        }
    }

    /// Acknowledges the line that was just handled, which has this number in this process, or holds its acknowledgement.
    fn take_in(&mut self, node: &mut Node, number: u64) {
        self.read += 1;
        let (acks, number) = match &self.acknowledges {
            Acknowledges::Nothing => return,
            Acknowledges::ToNode(acks) => (acks, number),
            Acknowledges::InLines(acks) => (acks, self.read),
            Acknowledges::ByEnd(acks) => (acks, NOBODY_ASKS),
        };
        let is_held = self.shared.is_everywhere()
            && self.is_server
            && self.life.hold_heard(&self.shared, node, self.from, acks, number);
        if !is_held && number != NOBODY_ASKS {
            self.taken.insert(number..=number);
        }
    }

    /// Writes which lines are acknowledged, if the client has asked to be told that.
    async fn acknowledge_lines(&mut self) -> io::Result<()> {
        let Some(acks) = self.acknowledges.in_lines() else { return Ok(()) };
        for line in acks.take_lines(self.shared.topology.limits.line) {
            write_line(&mut self.unsent, line.text().as_bytes());
        }
        self.flush().await
    }

    fn observe(&self, line: &[u8], heard: Option<Arc<Report>>, newer: bool, outcome: &Outcome) {
        let (server, life, session) = (self.life.server, self.life.number, self.session());
        let event = match (outcome, heard) {
            (Outcome::Reply(report), _) => Event::Accepted { server, life, session, report: report.clone(), newer },
            (Outcome::Search(report, _), _) => Event::Answered { server, life, session, report: report.clone() },
            (Outcome::Refuse, _) => Event::Refused { server, life, session, command: Bytes::copy_from_slice(line) },
            (Outcome::Nothing | Outcome::Proven(_) | Outcome::Acknowledge, Some(report)) => {
                Event::Heard { server, life, from: self.hop, report, newer }
            }
            (Outcome::Nothing | Outcome::Proven(_) | Outcome::Acknowledge, None) => return,
        };
        self.shared.sink.push(&self.shared.clock, event);
    }

    /// The replies to what was accepted in this turn go out.
    fn acknowledge(&mut self, how: Settled) {
        let (server, life, session) = (self.life.server, self.life.number, self.session());
        let overdue = how == Settled::Overdue;
        for report in self.accepted.drain(..) {
            let event = Event::Acknowledged { server, life, session, report, overdue };
            self.shared.sink.push(&self.shared.clock, event);
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self.caller {
            Some(Caller::Client { session, .. }) => Some(session),
            Some(Caller::Neighbour { .. }) | None => None,
        }
    }

    /// Asks the places service and answers.
    async fn search(&mut self, report: &Report, search: &Search) -> io::Result<()> {
        let answer = self.shared.places.search(search).await;
        Reply::Found(report.line(), &answer).write_to(&mut self.unsent);
        self.count_replies(&self.unsent);
        self.flush().await
    }

    /// Nothing that this client sent waits any more.
    fn count_all(&mut self) {
        let uncounted = std::mem::take(&mut self.uncounted);
        if let Some(Caller::Client { commands, .. }) = self.caller.as_ref().filter(|_| uncounted > 0) {
            commands.handle(|_| (uncounted, ()));
        }
    }

    /// Writes as much as the socket takes, nothing before the links have written, and keeps the rest.
    fn write_now(&mut self, replies: &mut Vec<u8>) {
        let may_write = self.unsent.is_empty() && !self.spreads && self.held.is_none() && !replies.is_empty();
        let written = if may_write { self.socket.try_write(replies).unwrap_or(0) } else { 0 };
        self.unsent.extend_from_slice(&replies[written..]);
        replies.clear();
        // One large reply must not cost its size for ever.
        replies.shrink_to(READ_BYTES);
    }

    /// Waits until the client has taken all replies. One that takes nothing for as long as a connection may be idle is reset.
    async fn flush(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        let mut rest = unsent.as_slice();
        while !rest.is_empty() {
            let idle = self.idle_limit();
            let written = tokio::select! {
                biased;
                written = self.socket.write(rest) => written?,
                () = idle_for(idle) => return Err(io::ErrorKind::TimedOut.into()),
            };
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Refuses a line that is too long, with as much of it as is allowed, and closes so that the client can read that.
    async fn hang_up(&mut self) -> io::Result<()> {
        let limit = self.shared.topology.limits.line.min(self.unread.len());
        if self.shared.sink.wants_traffic() {
            self.observe(&self.unread[..limit], None, false, &Outcome::Refuse);
        }
        let mut refusal = Vec::new();
        Reply::Refused(&self.unread[..limit]).write_to(&mut refusal);
        self.count_replies(&refusal);
        self.count_all();
        self.unread = Vec::new();
        let farewell = async {
            self.socket.write_all(&refusal).await?;
            self.close().await?;
            if self.caller.is_none() {
                // Closing a socket with unread input resets it, and the client would lose the answer.
                tokio::io::copy(&mut *self.socket, &mut tokio::io::sink()).await?;
            }
            io::Result::Ok(())
        };
        timeout(HANG_UP, farewell).await.ok();
        Ok(())
    }
}

/// Waits until a line is acknowledged that was held. Never ends where nobody asks.
async fn released(acks: Option<&Acks>) {
    match acks {
        Some(acks) => acks.released().await,
        None => std::future::pending().await,
    }
}

async fn idle_for(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

impl Drop for Connection {
    /// What this driver's own client sent and will not be answered is not under way any more; but that the connection ends is,
    /// until the client sees it. No neighbour has to be told of any more.
    fn drop(&mut self) {
        match &self.caller {
            Some(Caller::Client { commands, replies, .. }) => {
                replies.sent(1);
                commands.end();
            }
            Some(Caller::Neighbour { call, .. }) => call.finish(),
            None => {}
        }
        if let Some(bringer) = self.bringer() {
            self.life.forget(|other| other == bringer);
        }
    }
}
