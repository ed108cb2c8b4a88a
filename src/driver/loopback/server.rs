//! One life of a server: from the moment it listens until it is killed, stopped or fails.
//!
//! Its tasks are its links and its connections; one more owns them all, accepts and keeps the node's deadline. A restarted
//! server is another life.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::gate::{Gate, Mode};
use super::inbox::{Bringer, Inbox};
use super::lane::Lane;
use super::link;
use super::patience::Waiting;
use super::registry::Dialled;
use super::rest::{Accounts, Begun, Recurring};
use super::socket::Listener;
use super::{Shared, lock};
use crate::act::Hit;
use crate::config::{LinkId, Neighbour, ServerId, Way};
use crate::history::Event;
use crate::node::{Input, Node, NodeConfig, Output, RecordId};
use crate::wire::{Line, Report};

/// How long a server that is stopped may take to finish what it was asked and to hand on what it owes.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How long a server waits when the system gives it no further connection, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What a server's tasks share.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) server: ServerId,
    /// Which of its server's lives this is, counted from 1.
    pub(super) number: u32,
    pub(super) node: Mutex<Node>,
    pub(super) lanes: Box<[Lane]>,
    pub(super) gate: Gate,
    pub(super) inbox: Inbox,
    connections: Arc<Semaphore>,
    /// The node's wait for a timer is counted as due. Changed only under the lock of the node.
    waits: Recurring,
    /// The system gave it no connection the last time.
    starved: AtomicBool,
    ending: Mutex<Option<Ending>>,
    /// Connections that a stop closes, from when it begins.
    pub(super) dismissed: OnceLock<u64>,
    /// Cancelled when the life has come to its end.
    pub(super) over: CancellationToken,
    /// Locked behind the node.
    pub(super) waiting: Mutex<Waiting>,
    /// Rings when the node's deadline or the ending may have changed.
    bell: Notify,
}

/// What an accepted connection takes up, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_server: OwnedSemaphorePermit,
    of_process: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// The connection is a neighbour's: there is always room for it in this process.
    pub(super) fn is_of_a_link(&mut self) {
        self.of_process = None;
    }
}

/// How a life is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Now.
    Kill,
    /// When everything is finished.
    Stop,
    /// By an error of its own, to see what the herd makes of it.
    #[cfg(test)]
    Crash,
}

/// What a command comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    Nothing,
    Reply(Arc<Report>),
    Search(Arc<Report>, crate::wire::Search),
    Refuse,
    /// The connection is from this neighbour.
    Proven(LinkId),
    /// The connection asks to be told when its lines are taken.
    Acknowledge,
}

impl Life {
    pub(super) fn new(shared: &Shared, server: ServerId, number: u32) -> Self {
        let mut config = NodeConfig::of(&shared.topology, &shared.wiring, &shared.rules, server);
        config.clock_offset = shared.clock_offset(server);
        config.handshake = shared.only.map(|_| shared.handshake(server));
        let lane =
            |(id, &mode)| Lane::new(shared.accounts.clone(), LinkId(id), shared.wiring.way(server, LinkId(id)), mode);
        let lanes = (0..).zip(&config.links).map(lane).collect();
        Self {
            server,
            number,
            node: Mutex::new(Node::new(config)),
            lanes,
            gate: Gate::default(),
            inbox: Inbox::default(),
            connections: Arc::new(Semaphore::new(shared.topology.limits.connections)),
            waits: Recurring::new(shared.accounts.clone(), server.index()),
            starved: AtomicBool::new(false),
            ending: Mutex::new(None),
            dismissed: OnceLock::new(),
            over: CancellationToken::new(),
            waiting: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Tells the life to end.
    pub(super) fn end(&self, ending: Ending) {
        *lock(&self.ending) = Some(ending);
        self.bell.notify_one();
    }

    /// Waits until a life that ends is to end at once.
    async fn killed(&self) {
        while *lock(&self.ending) != Some(Ending::Kill) {
            self.bell.notified().await;
        }
    }

    /// Waits until the server has read what came while it was frozen, but no longer than it may take to stop.
    pub(super) async fn has_read_everything(&self) {
        timeout(DRAIN_LIMIT, self.inbox.closed()).await.ok();
    }

    /// Freezes or thaws everything. Returns `true` if that is new. Once frozen, nothing is handled or sent any more when this
    /// returns.
    pub(super) fn pause(&self, shared: &Shared, paused: bool) -> bool {
        if !paused {
            shared.accounts.freeze(self.server.index(), false);
            self.inbox.thaw();
        }
        let is_new = self.gate.set(if paused { Mode::Paused } else { Mode::Running });
        // Both turns look at the gate under these locks.
        drop(lock(&self.node));
        for lane in &self.lanes {
            lane.settle_turn();
            lane.ring();
        }
        if paused {
            // Not before: what was entered must not be read before the server goes on.
            self.inbox.freeze();
            shared.accounts.freeze(self.server.index(), true);
        }
        is_new
    }

    /// Gives the node an input that is no command, now or in its turn behind what came while the server was frozen.
    pub(super) async fn bring(&self, shared: &Shared, input: Input<'_>) {
        let task = self.inbox.enter_task();
        self.gate.pass().await;
        self.take_turn(task).await;
        self.input(shared, input);
        self.took(task, 1);
    }

    /// Waits until the server runs, and what it has to read before this is read.
    pub(super) async fn take_turn(&self, bringer: Option<Bringer>) {
        loop {
            self.gate.pass().await;
            self.inbox.turn(bringer).await;
            if !self.gate.is_paused() {
                return;
            }
        }
    }

    /// Crosses out things of a bringer that the server has read.
    pub(super) fn took(&self, bringer: Option<Bringer>, things: u64) {
        if self.inbox.took(bringer, things) {
            self.ring_all();
        }
    }

    /// Crosses out what these bringers have entered, because it does not come.
    pub(super) fn forget(&self, is_theirs: impl Fn(Bringer) -> bool) {
        if self.inbox.forget(is_theirs) {
            self.ring_all();
        }
    }

    /// Wakes the links, which have waited until everything was read.
    fn ring_all(&self) {
        self.lanes.iter().for_each(Lane::ring);
    }

    /// The node's deadline may have become earlier.
    pub(super) fn look_at_deadline(&self) {
        self.bell.notify_one();
    }

    /// Gives the node an input that is no command.
    pub(super) fn input(&self, shared: &Shared, input: Input<'_>) {
        let mut outputs = Vec::new();
        let mut node = lock(&self.node);
        let lost = if let Input::LinkLost(link) = input { Some(link) } else { None };
        node.handle(shared.clock.now(), input, &mut outputs);
        self.carry_out(shared, &node, &mut outputs);
        self.settle(&mut node);
        if let Some(link) = lost {
            // Not before: until now the node could owe it something.
            self.lane(link).disarm(&node);
        }
        self.bell.notify_one();
    }

    /// Does what the node wants done; the record that got newer, and what the command comes to.
    pub(super) fn carry_out(
        &self,
        shared: &Shared,
        node: &Node,
        outputs: &mut Vec<Output>,
    ) -> (Option<RecordId>, Outcome) {
        let (mut stored, mut outcome) = (None, Outcome::Nothing);
        for output in outputs.drain(..) {
            match output {
                Output::Dial(link) => self.lane(link).want_dial(),
                Output::Ready(link) => self.lane(link).arm(node),
                Output::Timers => self.on_timers(node),
                Output::Missed(link) => self.on_missed(shared, node, link, stored),
                Output::Stored(record) => stored = Some(record),
                Output::Reply(report) => outcome = Outcome::Reply(report),
                Output::Search(report, search) => outcome = Outcome::Search(report, search),
                Output::Refuse => outcome = Outcome::Refuse,
                Output::Proven(link) => outcome = Outcome::Proven(link),
                Output::Acknowledge => outcome = Outcome::Acknowledge,
            }
        }
        (stored, outcome)
    }

    /// The timers of the node, which is locked, changed: while it waits for one, the herd is not at rest.
    fn on_timers(&self, node: &Node) {
        self.waits.set(node.is_waiting());
        self.bell.notify_one();
    }

    fn on_missed(&self, shared: &Shared, node: &Node, link: LinkId, stored: Option<RecordId>) {
        if let Some(record) = stored.filter(|_| shared.sink.wants_traffic()) {
            self.miss(shared, self.lane(link).way, Line::At(node.record(record).report.clone()));
        }
    }

    /// Observes that a line was not sent because its way is closed. That of a control line is seen by what it fails to bring.
    pub(super) fn miss(&self, shared: &Shared, way: Way, line: Line) {
        if let (Line::At(report), true) = (line, shared.sink.wants_traffic()) {
            shared.sink.push(&shared.clock, Event::Missed { way, life: self.number, report });
        }
    }

    fn lane(&self, link: LinkId) -> &Lane {
        &self.lanes[link.index()]
    }

    /// Accepted connections that are not a neighbour's way to here.
    pub(super) fn client_connections(&self, shared: &Shared) -> u64 {
        // One permit is held by whoever is accepted next.
        let accepted = shared.topology.limits.connections.saturating_sub(self.connections.available_permits() + 1);
        (accepted as u64).saturating_sub(self.ways_here(shared))
    }

    /// Returns the number of neighbours' ways to here that are open.
    pub(super) fn ways_here(&self, shared: &Shared) -> u64 {
        let reaches = |neighbour: &&Neighbour| {
            shared.life(neighbour.server).is_some_and(|life| life.lane(neighbour.back).is_reaching())
        };
        shared.wiring.neighbours(self.server).iter().filter(reaches).count() as u64
    }
}

/// How a life ended.
pub(super) type Ended = Result<(), String>;

/// Runs a server until its end; an error is one of its own.
pub(super) async fn run(
    shared: Arc<Shared>,
    life: Arc<Life>,
    listener: Listener,
    starting: Begun<Arc<Accounts>>,
) -> Ended {
    let mut tasks = JoinSet::new();
    for lane in &life.lanes {
        tasks.spawn(link::run(shared.clone(), life.clone(), lane.link));
    }
    life.input(&shared, Input::Started);
    drop(starting);
    let ended = serve(&shared, &life, &listener, &mut tasks).await;
    drop(listener);
    if let Ok(Ending::Stop) = ended {
        drain(&life, &mut tasks).await;
    }
    tasks.shutdown().await;
    ended.map(|_| ())
}

async fn serve(
    shared: &Arc<Shared>,
    life: &Arc<Life>,
    listener: &Listener,
    tasks: &mut JoinSet<()>,
) -> Result<Ending, String> {
    loop {
        match lock(&life.ending).take() {
            #[cfg(test)]
            Some(Ending::Crash) => drop(tasks.spawn(async { panic!("asked to crash") })),
            Some(ending) => return Ok(ending),
            None => {}
        }
        let deadline = lock(&life.node).deadline();
        tokio::select! {
            () = life.bell.notified() => {}
            accepted = accept(shared, life, listener) => {
                let Some((stream, peer, place)) = accepted else { continue };
                if let Some(connection) = Connection::new(shared.clone(), life.clone(), stream, peer) {
                    tasks.spawn(connection.run(place));
                }
            }
            Some(ended) = tasks.join_next() => crash(ended)?,
            () = due(shared, life, deadline) => life.input(shared, Input::Deadline),
        }
    }
}

/// The next connection, when the server and the process have room for it and the server is not paused.
async fn accept(shared: &Shared, life: &Life, listener: &Listener) -> Option<(TcpStream, SocketAddr, Place)> {
    let place =
        Place { _of_server: room(life, &life.connections).await?, of_process: Some(room(life, &shared.room).await?) };
    life.gate.pass().await;
    match listener.accept().await {
        Ok((stream, peer)) => {
            life.starved.store(false, Ordering::Relaxed);
            Some((stream, peer, place))
        }
        Err(error) => {
            // Said once, not fifty times a second: who waits is not lost, and is accepted when descriptors are free again.
            if !life.starved.swap(true, Ordering::Relaxed) {
                let server = shared.topology.name(life.server);
                tracing::warn!(%server, %error, "accepts no connection until another ends");
            }
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Waits for room for a connection. Those that have it do not wait for one that has none.
async fn room(life: &Life, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = room.clone().try_acquire_owned() {
        return Some(permit);
    }
    life.forget(|_| true);
    room.clone().acquire_owned().await.ok()
}

/// Waits until the node's deadline is reached and the server may work.
async fn due(shared: &Shared, life: &Life, deadline: Option<crate::time::Timestamp>) {
    match deadline {
        Some(deadline) => sleep_until(shared.clock.instant(deadline).into()).await,
        None => std::future::pending().await,
    }
    life.gate.pass().await;
}

/// Lets all tasks finish.
async fn drain(life: &Life, tasks: &mut JoinSet<()>) {
    // Frozen, it reads what came in any order.
    life.inbox.thaw();
    life.forget(|_| true);
    life.gate.set(Mode::Draining);
    life.let_all_go();
    for lane in &life.lanes {
        lane.ring();
    }
    let finished = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        // What is not finished by then is cut short, as it would be by a supervisor's second signal.
        _ = timeout(DRAIN_LIMIT, finished) => {}
        () = life.killed() => {}
    }
}

/// A task's error of its own.
fn crash(ended: Result<(), JoinError>) -> Ended {
    let Err(error) = ended else { return Ok(()) };
    let Ok(panic) = error.try_into_panic() else { return Ok(()) };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    Err(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned()))
}

impl Shared {
    /// Ends a server's links, both its own and its neighbours'. The server is none that can be dialled any more. Returns the
    /// connections that are gone and the lines lost with them. While its tasks are still there, [`Self::unlink_own`] is to
    /// follow.
    pub(super) fn unlink(&self, life: &Life, ending: Ending) -> Hit {
        let mut hit = self.unlink_own(life, ending);
        for neighbour in self.wiring.neighbours(life.server) {
            hit += self.lose_reader(Way { from: neighbour.server, to: life.server });
        }
        let departed = lock(&self.slots[life.server.index()].departed).take();
        hit.lines_lost += departed.into_iter().flatten().map(Dialled::lose).sum::<u64>();
        hit
    }

    /// Ends a server's own ways. What is in flight on them is lost with a server that is killed, and arrives from one that stops.
    /// Returns the connections that are gone and the lines lost with them.
    pub(super) fn unlink_own(&self, life: &Life, ending: Ending) -> Hit {
        self.registry.forget_left(life.server);
        {
            let _node = lock(&life.node);
            life.waits.set(false);
        }
        let mut hit = Hit::default();
        for lane in &life.lanes {
            lane.disarm(&lock(&life.node));
            hit += match ending {
                Ending::Stop => lane.give_up(self, life),
                _ => lane.sever(self, &mut lock(self.path(lane.way))),
            };
            lane.forget();
        }
        hit
    }
}
