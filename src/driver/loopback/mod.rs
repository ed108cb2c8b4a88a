//! The herd on real sockets: every server a set of tokio tasks with a listener of its own, links as TCP connections.
//!
//! Not here: which action follows from a command or a script, and anything that judges what happens.

mod acks;
mod calls;
mod connection;
mod descriptors;
mod feed;
mod gate;
mod inbox;
mod lane;
mod leaving;
mod link;
mod messages;
mod names;
mod patience;
mod registry;
mod rest;
mod server;
mod session;
mod socket;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

pub use feed::Feed;

use super::path::Path;
use super::session::{Ledger, commands};
use super::work::Work;
use super::{Driver, DriverError, Known, Next, Rest, Sender, Unseen, Wait};
use crate::act::{Action, Hit, ServerVerb, SessionId, WayFaults, WayVerb};
use crate::config::{LinkId, LinkMode, Neighbour, ServerId, Threads, Topology, Way, Wiring};
use crate::draws::Draws;
use crate::history::{Event, Sight};
use crate::node::{Handshake, Input, LinkState, Peer, Rules};
use crate::places::Service;
use crate::time::{RealClock, Timestamp};
use crate::wire::Report;
use calls::Calls;
use feed::Sink;
use inbox::Bringer;
use leaving::Leaving;
use names::Name;
use registry::{Dialled, Registry};
use rest::{Accounts, Between, Flow};
use server::{DRAIN_LIMIT, Ending, Life};
use session::Session;
use socket::{Listener, bound_for, socket_for};

/// How a herd is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only this server, with the others of its herd in other processes; all of them when `None`.
    pub only: Option<ServerId>,
    /// Who answers `WHATSAT`.
    pub places: Arc<Service>,
    /// What becomes of observations that nobody asks for.
    pub feed: Feed,
    /// Directory in which the processes of a herd tell each other who calls. Only this user may be able to enter it. `None`: they
    /// do not, and neighbours in other processes are strangers. Unused where all servers are in this process.
    pub calls: Option<PathBuf>,
}

/// A herd on real ports.
#[derive(Debug)]
pub struct LoopbackDriver {
    shared: Arc<Shared>,
    mains: Vec<Option<JoinHandle<()>>>,
    ledger: Ledger,
    /// Sessions that no client has closed.
    sessions: BTreeMap<SessionId, Session>,
}

/// How a server of this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It serves.
    Up,
    /// It is frozen.
    Paused,
    /// It was killed or stopped, or has not started.
    Down,
    /// It ended by an error of its own.
    Crashed(String),
    /// It is none of this process's.
    Elsewhere,
}

/// What the tasks of a herd share.
#[derive(Debug)]
struct Shared {
    /// Lines from and to other processes.
    between: Between,
    /// Who calls from other processes. Dropped before the ports that its socket is named after.
    calls: OnceLock<Calls>,
    topology: Arc<Topology>,
    wiring: Wiring,
    rules: Arc<Rules>,
    /// [`Rules::heeds_known`].
    heeds_known: bool,
    clock: RealClock,
    places: Arc<Service>,
    sink: Sink,
    accounts: Arc<Accounts>,
    registry: Arc<Registry>,
    /// Connections that all servers together may still accept from clients, for want of descriptors. When there are no more, a
    /// further client waits until another goes; links are not counted.
    room: Arc<Semaphore>,
    slots: Vec<Slot>,
    only: Option<ServerId>,
}

/// The runtime that a herd runs on: as its topology says, or else as its size does ([`Threads`]).
///
/// # Errors
///
/// When the system does not give what a runtime needs, such as threads.
pub fn runtime(topology: &Topology) -> io::Result<Runtime> {
    let mut builder = match topology.threads {
        Threads::Exactly(threads) if threads > 1 => Builder::new_multi_thread(),
        Threads::Auto if topology.servers.len() >= Threads::MANY_SERVERS => Builder::new_multi_thread(),
        Threads::Auto | Threads::Exactly(_) => Builder::new_current_thread(),
    };
    if let Threads::Exactly(threads) = topology.threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

/// What stays of a server while it is down.
#[derive(Debug)]
struct Slot {
    /// The address that it listens on, with a port once it has listened. Of a server in another process, the one to dial, and
    /// without a port if the server goes by `name`.
    address: Mutex<SocketAddr>,
    /// The host name of a server in another process.
    name: Option<Name>,
    /// Keeps the port while the server is down: the system would lend it to somebody's outgoing connection.
    reservation: Mutex<Option<TcpSocket>>,
    life: Mutex<Option<Arc<Life>>>,
    /// Connections that were closed in order with lines of theirs unread: who accepts them must still know whose they are. No
    /// more than there are connections that nobody has accepted or read to the end. `None` once nobody will: who departs later
    /// has lost his lines.
    departed: Mutex<Option<Vec<Dialled>>>,
    crash: Mutex<Option<String>>,
    clock_offset: AtomicI64,
    /// Number of lives that have begun.
    lives: AtomicU32,
    /// Its outgoing ways, by link.
    paths: Vec<Mutex<Path>>,
    /// Number of connections that each of its outgoing ways has had, by link. Only the way's task changes it.
    opened: Box<[AtomicU32]>,
    /// Lines in flight on connections that its outgoing ways have closed, by link.
    leaving: Box<[Mutex<Vec<Arc<Leaving>>>]>,
    /// Number of dials that each of its outgoing ways has begun, by link. Only the way's task changes it.
    dials: Box<[AtomicU32]>,
}

/// Locks without regard to a panic of somebody else under the lock: a server whose task panicked ends as a whole, and
/// nothing else of it is used any more.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a time, for ever without one.
async fn at(shared: &Shared, due: Option<Timestamp>) {
    match due {
        Some(due) => sleep_until(shared.clock.instant(due).into()).await,
        None => std::future::pending().await,
    }
}

impl LoopbackDriver {
    /// Starts the servers of a herd: all listen when this returns, and dial each other.
    ///
    /// # Errors
    ///
    /// When a server cannot listen where it should, or the system does not allow as many descriptors as the herd needs.
    /// Nothing is left running then.
    pub async fn start(topology: Arc<Topology>, options: Options) -> Result<Self, DriverError> {
        let wiring = Wiring::of(&topology);
        let room = descriptors::provide(&topology, &wiring, options.only)?;
        let mut slots = Vec::with_capacity(topology.servers.len());
        for server in topology.ids() {
            slots.push(Slot::new(&topology, &wiring, server, options.only).await?);
        }
        let rules = Arc::new(Rules::of(&topology));
        let shared = Arc::new(Shared {
            between: Between::default(),
            calls: OnceLock::new(),
            heeds_known: rules.heeds_known(),
            rules,
            clock: RealClock::start(),
            places: options.places,
            sink: Sink::new(options.feed),
            accounts: Arc::new(Accounts::new(topology.servers.len())),
            registry: Arc::default(),
            room: Arc::new(Semaphore::new(room)),
            slots,
            only: options.only,
            wiring,
            topology,
        });
        let mains = shared.slots.iter().map(|_| None).collect();
        let mut driver = Self { shared, mains, ledger: Ledger::default(), sessions: BTreeMap::new() };
        driver.start_all(options.calls.as_deref()).await?;
        Ok(driver)
    }

    /// Listens everywhere before anybody dials, so that the first dials succeed.
    async fn start_all(&mut self, calls: Option<&std::path::Path>) -> Result<(), DriverError> {
        let topology = self.shared.topology.clone();
        let local = |&server: &ServerId| self.shared.only.is_none_or(|only| only == server);
        let locals: Vec<_> = topology.ids().filter(local).collect();
        if let (Some(directory), Some(server)) = (calls, self.shared.only) {
            // Before anybody can connect: a call that is not announced comes from a stranger for ever.
            let port = self.shared.reserve(server)?;
            self.shared.hear_of_calls(directory, server, port);
        }
        let listeners = locals.iter().map(|&server| self.shared.listen(server));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        // All are there before the first dials.
        let lives: Vec<_> =
            locals.into_iter().zip(listeners).map(|(server, bound)| self.begin(server, bound)).collect();
        for (life, listener) in lives {
            self.run(life, listener);
        }
        Ok(())
    }

    /// Returns the time at which the herd began to start.
    pub fn started(&self) -> Timestamp {
        self.shared.clock.started()
    }

    /// Where a server listens; `None` while it has no port.
    pub fn address(&self, server: ServerId) -> Option<SocketAddr> {
        Some(*lock(&self.shared.slots[server.index()].address)).filter(|address| address.port() != 0)
    }

    /// How a server is.
    pub fn condition(&self, server: ServerId) -> Condition {
        if self.shared.only.is_some_and(|only| only != server) {
            return Condition::Elsewhere;
        }
        match self.shared.life(server) {
            Some(life) if life.gate.is_paused() => Condition::Paused,
            Some(_) => Condition::Up,
            None => lock(&self.shared.slots[server.index()].crash).clone().map_or(Condition::Down, Condition::Crashed),
        }
    }

    /// How many of a server's outgoing ways are open.
    pub fn links_up(&self, server: ServerId) -> usize {
        let Some(life) = self.shared.life(server) else { return 0 };
        life.lanes.iter().filter(|lane| lane.is_usable()).count()
    }

    /// Returns the neighbours to which a server's connection is open.
    pub fn open_to(&self, server: ServerId) -> Vec<ServerId> {
        let Some(life) = self.shared.life(server) else { return Vec::new() };
        life.lanes.iter().filter(|lane| lane.is_open()).map(|lane| lane.way.to).collect()
    }

    /// Returns how many connections of a server have replies that wait for its neighbours.
    pub fn replies_waiting(&self, server: ServerId) -> usize {
        self.shared.life(server).map_or(0, |life| lock(&life.node).held())
    }

    /// Who is linked with whom.
    pub fn wiring(&self) -> &Wiring {
        &self.shared.wiring
    }

    /// The herd's topology.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.shared.topology
    }

    /// Whether single lines and commands are observed, not only servers and links; they are at first. Observing costs a herd
    /// under load some of its speed.
    pub fn observe_traffic(&self, observed: bool) {
        self.shared.sink.set_traffic(observed);
    }

    /// Observations that were forgotten since the last call because nobody asked for them ([`Feed::Lossy`]).
    pub fn take_forgotten(&self) -> u64 {
        self.shared.sink.take_forgotten()
    }

    /// Returns everything a server knows, in the order in which it first heard of the clients; nothing when it is down.
    pub fn records(&self, server: ServerId) -> Vec<Known> {
        let Some(life) = self.shared.life(server) else { return Vec::new() };
        let node = lock(&life.node);
        let known = node.records().map(|record| Known {
            report: record.report.clone(),
            learned_at: record.learned_at,
            from: Sender::of(record.source, |link| self.shared.wiring.neighbour(server, link).server),
        });
        known.collect()
    }

    /// Returns `true` if the herd is at rest ([`Rest::Certain`]).
    pub fn is_quiescent(&self) -> bool {
        let asleep = |party: usize| self.shared.slots.get(party).is_some_and(|slot| slot.is_paused());
        self.shared.accounts.is_certain(asleep, || self.shared.topology.ids().all(|id| self.shared.is_linked(id)))
    }

    /// Returns what the servers of this process have to do.
    pub fn work(&self) -> Work {
        let shared = &self.shared;
        let servers = shared.topology.ids().filter(|&server| shared.only.is_none_or(|only| only == server));
        let servers: Vec<ServerId> = servers.collect();
        let paused = servers.iter().copied().filter(|server| shared.slots[server.index()].is_paused()).collect();
        let asleep = |party: usize| shared.slots.get(party).is_some_and(|slot| slot.is_paused());
        // Read before the look: what begins after this makes it differ from the next answer.
        let begun = shared.accounts.begun(asleep);
        let (mut dials, mut wires) = (Vec::new(), Default::default());
        let is_idle = shared.accounts.is_certain(asleep, || {
            dials = servers.iter().flat_map(|&server| shared.dials_elsewhere(server)).collect();
            wires = shared.between.wires();
            servers.iter().all(|&server| shared.is_linked(server))
        });
        let [sent, handled] = wires;
        Work { servers, paused, is_idle, begun, dials, sent, handled }
    }

    /// What keeps the herd from being quiescent, for people; nothing when it is.
    pub fn unrest(&self) -> Vec<String> {
        let name = |party: usize| match self.shared.topology.servers.get(party) {
            Some(server) => server.name.to_string(),
            None if party == self.shared.accounts.clients() => "clients".to_owned(),
            None => "the network".to_owned(),
        };
        let due = self.shared.accounts.due().filter(|&(_, due)| due != 0);
        let due = due.map(|(party, due)| format!("{} has {due} things to do", name(party)));
        let unlinked = self.shared.topology.ids().filter(|&server| !self.shared.is_linked(server));
        due.chain(unlinked.map(|server| format!("a way from {} is about to open", name(server.index())))).collect()
    }

    /// Stops all servers in order.
    pub async fn shut_down(mut self) {
        let running: Vec<_> = self.shared.topology.ids().filter(|&id| self.shared.life(id).is_some()).collect();
        for &server in &running {
            // All drain at once: each may owe lines to another.
            self.shared.end(server, Ending::Stop);
        }
        for server in running {
            self.join(server).await;
        }
        if self.shared.only.is_some() {
            // Servers in other processes may still get what is in flight, which ends with this process.
            timeout(DRAIN_LIMIT, self.shared.accounts.network_rests()).await.ok();
        }
    }

    /// Makes a server known that listens.
    fn begin(&self, server: ServerId, (listener, port): (Listener, u16)) -> (Arc<Life>, Listener) {
        let slot = &self.shared.slots[server.index()];
        let number = slot.lives.fetch_add(1, Ordering::Relaxed) + 1;
        let life = Arc::new(Life::new(&self.shared, server, number));
        self.shared.accounts.freeze(server.index(), false);
        *lock(&slot.life) = Some(life.clone());
        *lock(&slot.departed) = Some(Vec::new());
        *lock(&slot.crash) = None;
        self.shared.sink.push(&self.shared.clock, Event::Started { server, life: number, port });
        (life, listener)
    }

    fn run(&mut self, life: Arc<Life>, listener: Listener) {
        let server = life.server;
        let starting = self.shared.accounts.begin_for_long(server.index());
        let shared = self.shared.clone();
        self.mains[server.index()] = Some(tokio::spawn(async move {
            let _over = life.over.clone().drop_guard();
            if let Err(reason) = server::run(shared.clone(), life.clone(), listener, starting).await {
                shared.on_crash(&life, reason);
            }
        }));
    }

    async fn join(&mut self, server: ServerId) {
        if let Some(main) = self.mains[server.index()].take() {
            // A main task that panics leaves nothing to clean up: its tasks end with it.
            main.await.ok();
        }
    }

    fn start_server(&mut self, server: ServerId) -> Result<Hit, DriverError> {
        if self.shared.life(server).is_none() {
            let bound = self.shared.listen(server)?;
            let (life, listener) = self.begin(server, bound);
            self.run(life, listener);
        }
        Ok(Hit::default())
    }

    async fn kill(&mut self, server: ServerId) -> Hit {
        let Some(life) = self.shared.life(server) else { return Hit::default() };
        let records = lock(&life.node).records().len() as u64;
        let clients = life.client_connections(&self.shared);
        self.shared.sink.push(&self.shared.clock, Event::Killed { server, life: life.number, records });
        self.shared.forget(server);
        let mut hit = self.shared.unlink(&life, Ending::Kill);
        life.end(Ending::Kill);
        self.join(server).await;
        // Until now its tasks may have gone on.
        hit.lines_lost += self.shared.unlink_own(&life, Ending::Kill).lines_lost;
        Hit { connections: hit.connections + clients, records_lost: records, ..hit }
    }

    /// Tells a server to stop. Returns what is ready when the server has finished what it was asked: to stop it takes no time
    /// then. Until that is done, the server counts as running.
    pub fn begin_stop(&self, server: ServerId) -> impl Future<Output = ()> + Send + use<> {
        let life = self.shared.life(server);
        if let Some(life) = &life {
            self.dismiss(life);
        }
        async move {
            if let Some(life) = life {
                life.has_read_everything().await;
                life.end(Ending::Stop);
                life.over.cancelled().await;
            }
        }
    }

    /// Lets a server that is to stop finish what it was asked. Returns the number of connections that it has then.
    fn dismiss(&self, life: &Life) -> u64 {
        // Frozen, it could not finish anything.
        life.pause(&self.shared, false);
        let ways = || self.links_up(life.server) as u64 + life.ways_here(&self.shared);
        *life.dismissed.get_or_init(|| life.client_connections(&self.shared) + ways())
    }

    async fn stop(&mut self, server: ServerId) -> Hit {
        let Some(life) = self.shared.life(server) else { return Hit::default() };
        let connections = self.dismiss(&life);
        life.has_read_everything().await;
        self.shared.end(server, Ending::Stop);
        self.join(server).await;
        let records = lock(&life.node).records().len() as u64;
        self.shared.sink.push(&self.shared.clock, Event::Stopped { server, life: life.number, records });
        let lines_lost = self.shared.unlink(&life, Ending::Stop).lines_lost;
        Hit { connections, lines_lost, records_lost: records, ..Hit::default() }
    }

    fn pause(&self, server: ServerId, paused: bool) -> Hit {
        let Some(life) = self.shared.life(server) else { return Hit::default() };
        if life.pause(&self.shared, paused) {
            let number = life.number;
            let event = match paused {
                true => Event::Paused { server, life: number },
                false => Event::Resumed { server, life: number },
            };
            self.shared.sink.push(&self.shared.clock, event);
            life.catch_up(&self.shared);
            self.shared.accounts.look();
        }
        Hit::default()
    }

    fn set_clock(&self, server: ServerId, offset: i64) -> Hit {
        self.shared.slots[server.index()].clock_offset.store(offset, Ordering::Relaxed);
        if let Some(life) = self.shared.life(server) {
            life.input(&self.shared, Input::ClockSet(offset));
        }
        self.shared.sink.push(&self.shared.clock, Event::ClockSet { server, offset });
        Hit::default()
    }

    /// Does something to a way. Its path stays locked until its connection has followed, so that no dial slips in between.
    fn act_on_way(&self, way: Way, verb: WayVerb) -> Hit {
        let shared = &*self.shared;
        let (life, link) = (shared.life(way.from), shared.link(way));
        let back = lock(shared.path(way.back())).spans();
        let mut path = lock(shared.path(way));
        let effect = path.apply(verb);
        let mut hit = if effect.severs { shared.sever(way, &mut path) } else { Hit::default() };
        if effect.hurries {
            shared.hurry_leaving(way);
        }
        if let Some((life, lane)) = life.as_ref().map(|life| (life, &life.lanes[link.index()])) {
            if effect.hurries {
                lane.hurry(shared);
            }
            if effect.hurries || effect.answers {
                lane.redial(shared, &path, back);
            }
            if effect.frees {
                hit.lines_released = lane.release(shared, life, &mut path);
            }
            lane.ring();
        }
        drop(path);
        self.shared.accounts.look();
        hit
    }

    /// Notes what the process that writes to a way has done to it: a dial the other way waits for its delay, too.
    pub fn reflect(&self, way: Way, verb: WayVerb) {
        if self.shared.wiring.link(way).is_some() && matches!(verb, WayVerb::Slow(_) | WayVerb::Heal) {
            lock(self.shared.path(way)).apply(verb);
        }
    }

    async fn act_on_server(&mut self, server: ServerId, verb: ServerVerb) -> Result<Hit, DriverError> {
        match verb {
            ServerVerb::Kill => Ok(self.kill(server).await),
            ServerVerb::Stop => Ok(self.stop(server).await),
            ServerVerb::Start => self.start_server(server),
            ServerVerb::Restart => {
                let hit = self.kill(server).await;
                self.start_server(server).map(|_| hit)
            }
            ServerVerb::Pause => Ok(self.pause(server, true)),
            ServerVerb::Resume => Ok(self.pause(server, false)),
            ServerVerb::Clock(offset) => Ok(self.set_clock(server, offset)),
        }
    }

    fn send(
        &mut self,
        session: SessionId,
        server: ServerId,
        bytes: bytes::Bytes,
        finish: bool,
    ) -> Result<Hit, DriverError> {
        if self.ledger.write(session, server, finish, &self.shared.topology)? {
            self.sessions.insert(session, Session::open(&self.shared, session, server));
        }
        let known = self.sessions.get(&session);
        if known.is_none_or(|known| !known.send(&self.shared, bytes.clone(), finish)) {
            let event = Event::SessionLost { session, unanswered: commands(&bytes) };
            self.shared.sink.push(&self.shared.clock, event);
        }
        Ok(Hit::default())
    }

    fn close(&mut self, session: SessionId) -> Hit {
        self.ledger.close(session);
        let is_closed = self.sessions.remove(&session).is_some_and(|session| session.close(&self.shared));
        Hit { connections: u64::from(is_closed), ..Hit::default() }
    }
}

impl Driver for LoopbackDriver {
    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Servers that are started, stopped or paused, and the writing ends of ways, are those of this process.
    fn check(&self, action: &Action) -> Result<(), DriverError> {
        let name = |server| self.shared.topology.name(server).clone();
        let server = match *action {
            Action::Server(server, _) => server,
            Action::Way(way, _) if self.shared.wiring.link(way).is_none() => {
                return Err(DriverError::NoLink { from: name(way.from), to: name(way.to) });
            }
            Action::Way(way, _) => way.from,
            Action::Send { .. } | Action::Close(_) => return Ok(()),
        };
        let is_elsewhere = self.shared.only.is_some_and(|only| only != server);
        if is_elsewhere { Err(DriverError::Elsewhere(name(server))) } else { Ok(()) }
    }

    async fn apply(&mut self, action: Action) -> Result<Hit, DriverError> {
        self.check(&action)?;
        match action {
            Action::Server(server, verb) => self.act_on_server(server, verb).await,
            Action::Way(way, verb) => Ok(self.act_on_way(way, verb)),
            Action::Send { session, server, bytes, finish } => self.send(session, server, bytes, finish),
            Action::Close(session) => Ok(self.close(session)),
        }
    }

    async fn next(&mut self, wait: Wait) -> Next {
        let (until, quiescent) = match wait {
            Wait::Until(until) => (until, false),
            Wait::Quiescent(until) => (until, true),
        };
        loop {
            if let Some(observation) = self.shared.sink.pop() {
                return Next::Seen(observation);
            }
            let is_quiescent = quiescent && self.is_quiescent();
            // Once more: what led to quiescence may have been observed since.
            if let Some(observation) = self.shared.sink.pop() {
                return Next::Seen(observation);
            }
            if is_quiescent {
                return Next::Rested(Rest::Certain);
            }
            if self.now() >= until {
                return Next::TimeUp;
            }
            tokio::select! {
                () = self.shared.sink.filled() => {}
                () = self.shared.accounts.settled(), if quiescent => {}
                () = sleep_until(self.shared.clock.instant(until).into()) => {}
            }
        }
    }

    fn sight(&self, _: ServerId) -> Sight {
        Sight::Inside
    }

    async fn probe(&mut self, server: ServerId, clients: &[Arc<str>]) -> Result<Vec<Option<Arc<Report>>>, Unseen> {
        let life = self.shared.life(server).ok_or(Unseen::Down)?;
        let node = lock(&life.node);
        Ok(clients.iter().map(|client| node.find(client).map(|record| record.report.clone())).collect())
    }

    fn is_linked(&self, server: ServerId) -> bool {
        let neighbours = self.shared.wiring.neighbours(server).iter().map(|neighbour| neighbour.server);
        neighbours.chain([server]).all(|server| self.shared.is_linked(server))
    }

    fn is_open(&self, session: SessionId) -> bool {
        let is_up = || self.sessions.get(&session).is_some_and(|session| session.is_open(&self.shared));
        self.ledger.may_write(session) && is_up()
    }

    fn faults(&self, way: Way) -> WayFaults {
        if self.shared.wiring.link(way).is_some() { lock(self.shared.path(way)).faults() } else { WayFaults::default() }
    }

    fn is_paused(&self, server: ServerId) -> bool {
        self.shared.slots[server.index()].is_paused()
    }

    fn clock_offset(&self, server: ServerId) -> i64 {
        self.shared.clock_offset(server)
    }

    fn port(&self, server: ServerId) -> Option<u16> {
        self.shared.life(server).and_then(|_| self.address(server)).map(|address| address.port())
    }
}

impl Slot {
    async fn new(
        topology: &Topology,
        wiring: &Wiring,
        server: ServerId,
        only: Option<ServerId>,
    ) -> Result<Self, DriverError> {
        let (address, name) = if only.is_none_or(|only| only == server) {
            (listening_address(topology, server).await?, None)
        } else {
            let config = &topology.servers[server.index()];
            match config.host.parse() {
                Ok(ip) => (SocketAddr::new(ip, config.port), None),
                Err(_) => ((Ipv4Addr::UNSPECIFIED, 0).into(), Some(Name::new(&config.host, config.port))),
            }
        };
        let path = |neighbour: &Neighbour| {
            let way = Way { from: server, to: neighbour.server };
            Mutex::new(Path::new(wiring.delay(neighbour), topology.seed, way))
        };
        let none = || wiring.neighbours(server).iter().map(|_| AtomicU32::new(0)).collect();
        Ok(Self {
            address: Mutex::new(address),
            name,
            reservation: Mutex::new(None),
            life: Mutex::new(None),
            departed: Mutex::default(),
            crash: Mutex::new(None),
            clock_offset: AtomicI64::new(topology.servers[server.index()].clock_offset),
            lives: AtomicU32::new(0),
            paths: wiring.neighbours(server).iter().map(path).collect(),
            opened: none(),
            leaving: wiring.neighbours(server).iter().map(|_| Mutex::default()).collect(),
            dials: none(),
        })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<(SocketAddr, Listener)> {
        let address = self.reserve(address)?;
        Ok((address, socket::listen(address)?))
    }

    /// Takes an address, on which nobody listens yet. Returns it with its port.
    fn reserve(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let mut reservation = lock(&self.reservation);
        let reserved = match reservation.take() {
            Some(reserved) => reserved,
            None => socket::reserve(address)?,
        };
        reservation.insert(reserved).local_addr()
    }

    fn is_paused(&self) -> bool {
        lock(&self.life).as_ref().is_some_and(|life| life.gate.is_paused())
    }
}

/// Returns the address that a server of this process is to listen on.
async fn listening_address(topology: &Topology, server: ServerId) -> Result<SocketAddr, DriverError> {
    let config = &topology.servers[server.index()];
    let host = config.listens_on();
    let failed = |source| DriverError::Listen {
        server: config.name.clone(),
        address: format!("{host}:{}", config.port),
        source,
    };
    let mut found = tokio::net::lookup_host((host, config.port)).await.map_err(failed)?;
    found.next().ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))
}

impl Shared {
    fn life(&self, server: ServerId) -> Option<Arc<Life>> {
        lock(&self.slots[server.index()].life).clone()
    }

    fn clock_offset(&self, server: ServerId) -> i64 {
        self.slots[server.index()].clock_offset.load(Ordering::Relaxed)
    }

    /// Returns the link of a way that the herd has.
    fn link(&self, way: Way) -> LinkId {
        self.wiring.link(way).expect("the way was looked up, or is that of a lane")
    }

    fn path(&self, way: Way) -> &Mutex<Path> {
        &self.slots[way.from.index()].paths[self.link(way).index()]
    }

    /// Returns what is in flight on connections that a way has closed.
    fn leaving(&self, way: Way) -> &Mutex<Vec<Arc<Leaving>>> {
        &self.slots[way.from.index()].leaving[self.link(way).index()]
    }

    /// Enters what a server is about to be brought into its inbox, if it is frozen. To be called before the bytes are written.
    #[inline]
    fn arrive(&self, server: ServerId, bringer: Bringer, things: u64) {
        if self.accounts.is_frozen(server.index())
            && let Some(life) = self.life(server)
        {
            life.inbox.enter(bringer, things);
        }
    }

    /// Crosses out of a server's inbox what these bringers were about to bring.
    fn never_arrives(&self, server: ServerId, is_theirs: impl Fn(Bringer) -> bool) {
        if let Some(life) = self.life(server) {
            life.forget(is_theirs);
        }
    }

    /// Returns `true` if a dial of a server may be answered: it runs, or runs in another process, which is asked when it is dialled.
    fn may_answer(&self, server: ServerId) -> bool {
        self.only.is_some_and(|only| only != server) || self.life(server).is_some()
    }

    /// Opens the sockets on which processes tell each other who calls. A server serves without them.
    fn hear_of_calls(&self, directory: &std::path::Path, server: ServerId, port: u16) {
        let name = self.topology.name(server);
        match Calls::open(directory, self.topology.clone(), name, port) {
            Ok(calls) => drop(self.calls.set(calls)),
            Err(error) => tracing::debug!(server = %name, %error, "neighbours cannot say who calls"),
        }
    }

    /// Returns a socket to dial `target`, a server of another process. That process is told who calls if it is on this machine.
    fn socket_elsewhere(&self, way: Way, connection: u32, target: SocketAddr) -> io::Result<TcpSocket> {
        let Some(calls) = self.calls.get() else { return socket_for(target) };
        // Only an address of this machine can be bound. Where no port is free for that, the caller stays a stranger.
        let bound = bound_for(target).and_then(|socket| Ok((socket.local_addr()?, socket)));
        match bound {
            Ok((address, socket)) => {
                calls.announce(way, connection, address, target.port());
                Ok(socket)
            }
            Err(_) => socket_for(target),
        }
    }

    /// Returns what a server needs to find out who calls, when its neighbours are in other processes. Secrets are drawn from
    /// numbers that the system makes up, another one for each neighbour: nobody can guess one from another.
    fn handshake(&self, server: ServerId) -> Handshake {
        let peer = |neighbour: &Neighbour| Peer {
            name: self.topology.name(neighbour.server).clone(),
            secrets: Draws::new(RandomState::new().hash_one(self.clock.now()), 0),
        };
        let peers = self.wiring.neighbours(server).iter().map(peer).collect();
        Handshake { name: self.topology.name(server).clone(), peers }
    }

    /// Returns the number of connections that a server's outgoing way has had: the number of the last one.
    fn opened(&self, server: ServerId, link: LinkId) -> &AtomicU32 {
        &self.slots[server.index()].opened[link.index()]
    }

    /// Counts a dial of a server's outgoing way. Returns its number.
    fn count_dial(&self, server: ServerId, link: LinkId) -> u64 {
        u64::from(self.slots[server.index()].dials[link.index()].fetch_add(1, Ordering::Relaxed)) + 1
    }

    /// A count of what is under way to a server, when it is one of this process.
    fn flow_to(&self, server: ServerId) -> Option<Arc<Flow>> {
        let local = self.only.is_none_or(|only| only == server);
        local.then(|| Arc::new(Flow::new(self.accounts.clone(), server.index())))
    }

    /// Whether a server that was found is still the one in its place.
    fn is_life_of(&self, server: ServerId, found: Option<&Arc<Life>>) -> bool {
        let life = self.life(server);
        life.as_ref().zip(found).is_some_and(|(life, found)| Arc::ptr_eq(life, found))
    }

    /// A connection to a server has been closed in order, and lines may have been left to be read.
    fn see_off(&self, server: ServerId, dialled: Dialled) {
        dialled.end();
        match &mut *lock(&self.slots[server.index()].departed) {
            // Over already, when it was read to its end meanwhile; if not, who reads it lets go of it then.
            Some(departed) => departed.extend(Some(dialled).filter(|dialled| !dialled.is_over())),
            None => drop(dialled.lose()),
        }
    }

    /// Connections to a server have been read to the end.
    fn let_go(&self, server: ServerId) {
        lock(&self.slots[server.index()].departed).iter_mut().for_each(|departed| {
            departed.retain(|dialled| !dialled.is_over());
        });
    }

    /// Returns the name of a server in another process, if it goes by one.
    fn name_elsewhere(&self, server: ServerId) -> Option<&Name> {
        self.slots[server.index()].name.as_ref()
    }

    /// Returns the address at which a server without such a name is dialled. In this process that is where it listens, and not
    /// its `host`: an address of this machine, by which [`Registry`] knows the caller.
    fn dial_address(&self, server: ServerId) -> SocketAddr {
        let address = *lock(&self.slots[server.index()].address);
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, address.port())
    }

    /// Opens a server's listener; it keeps the port it gets for all its lives.
    fn listen(&self, server: ServerId) -> Result<(Listener, u16), DriverError> {
        let slot = &self.slots[server.index()];
        let address = &mut *lock(&slot.address);
        let bound = slot.listen(*address);
        let (bound, listener) = bound.map_err(|source| self.cannot_listen(server, *address, source))?;
        *address = bound;
        Ok((listener, bound.port()))
    }

    /// Takes a server's port, on which nobody listens yet.
    fn reserve(&self, server: ServerId) -> Result<u16, DriverError> {
        let slot = &self.slots[server.index()];
        let address = &mut *lock(&slot.address);
        *address = slot.reserve(*address).map_err(|source| self.cannot_listen(server, *address, source))?;
        Ok(address.port())
    }

    fn cannot_listen(&self, server: ServerId, address: SocketAddr, source: io::Error) -> DriverError {
        DriverError::Listen { server: self.topology.name(server).clone(), address: address.to_string(), source }
    }

    /// Tells a server to end, and no longer counts it as running.
    fn end(&self, server: ServerId, ending: Ending) {
        if let Some(life) = self.forget(server) {
            life.end(ending);
        }
    }

    /// No longer counts a server as running.
    fn forget(&self, server: ServerId) -> Option<Arc<Life>> {
        lock(&self.slots[server.index()].life).take()
    }

    fn on_crash(&self, life: &Arc<Life>, reason: String) {
        let slot = &self.slots[life.server.index()];
        *lock(&slot.crash) = Some(reason.clone());
        *lock(&slot.life) = None;
        self.sink.push(&self.clock, Event::Crashed { server: life.server, life: life.number, reason });
        self.unlink(life, Ending::Kill);
        self.accounts.look();
    }

    /// Returns the ways of a server to other processes that are not open and are dialled.
    fn dials_elsewhere(&self, server: ServerId) -> Vec<Way> {
        let Some(life) = self.life(server).filter(|life| !life.gate.is_paused()) else { return Vec::new() };
        let node = lock(&life.node);
        let is_dialled = |lane: &&lane::Lane| {
            let neighbour = self.wiring.neighbour(server, lane.link);
            let is_elsewhere = self.only.is_some_and(|only| only != neighbour.server);
            let is_up = matches!(node.link_state(lane.link), LinkState::Up { .. });
            is_elsewhere && neighbour.mode == LinkMode::Persistent && !is_up
        };
        let dialled: Vec<Way> = life.lanes.iter().filter(is_dialled).map(|lane| lane.way).collect();
        drop(node);
        dialled.into_iter().filter(|&way| !lock(self.path(way)).is_unreachable()).collect()
    }

    /// Whether every way of a server that can be open is open, and is to stay so, and its node knows.
    fn is_linked(&self, server: ServerId) -> bool {
        let Some(life) = self.life(server).filter(|life| !life.gate.is_paused()) else { return true };
        let node = lock(&life.node);
        let states: Vec<_> = life.lanes.iter().map(|lane| node.link_state(lane.link)).collect();
        drop(node);
        life.lanes.iter().zip(states).all(|(lane, state)| {
            let neighbour = self.wiring.neighbour(server, lane.link);
            let is_up = matches!(state, LinkState::Up { .. });
            let can_be = self.life(neighbour.server).is_some() && !lock(self.path(lane.way)).is_unreachable();
            let is_as_it_can_be =
                neighbour.mode == LinkMode::PerMessage || if is_up { lane.is_open() } else { !can_be };
            is_as_it_can_be && !lane.is_resetting()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Delay, Limits, Link, Places, Redial, Server, Strategy, Threads, Unlisted};

    fn pair() -> Topology {
        let server =
            |name: &str| Server { name: name.into(), host: "127.0.0.1".into(), listen: None, port: 0, clock_offset: 0 };
        Topology {
            name: "pair".into(),
            servers: ["A", "B"].map(server).into(),
            links: vec![Link {
                ends: [ServerId(0), ServerId(1)],
                mode: LinkMode::Persistent,
                delays: [Delay::default(); 2],
            }],
            unlisted: Unlisted::default(),
            strategy: Strategy::FloodSync,
            reply: None,
            redial: Redial::default(),
            places: Places::default(),
            limits: Limits::default(),
            threads: Threads::default(),
            seed: 1,
        }
    }

    #[tokio::test]
    async fn a_server_that_panics_is_reported_and_the_others_go_on() {
        let places = Arc::new(Service::open(&Places::default()).expect("the offline places open"));
        let options = Options { only: None, places, feed: Feed::Lossless, calls: None };
        let mut driver = LoopbackDriver::start(Arc::new(pair()), options).await.expect("the herd starts");
        let until = driver.now() + std::time::Duration::from_secs(30);
        driver.shared.life(ServerId(0)).expect("it runs").end(Ending::Crash);
        let crashed = Event::Crashed { server: ServerId(0), life: 1, reason: "asked to crash".into() };
        while driver.next(Wait::Until(until)).await.seen().expect("it happens in time").event != crashed {}
        assert_eq!(driver.condition(ServerId(0)), Condition::Crashed("asked to crash".into()));
        assert_eq!(driver.condition(ServerId(1)), Condition::Up);
        driver.apply(ServerVerb::Start.on(ServerId(0))).await.expect("it starts again");
        while driver.next(Wait::Quiescent(until)).await.seen().is_some() {}
        assert_eq!((driver.is_quiescent(), driver.links_up(ServerId(1))), (true, 1));
    }
}
