//! The task that owns a driver: takes requests, does them one after another, and passes on what happens.
//!
//! Not here: HTTP ([`super::server`]), names ([`super::names`]).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::api::{
    HerdStatus, KnownStatus, MAX_RECORDS, RecordState, RecordStatus, RecordsAnswer, RecordsQuery, Refusal, RefusalCode,
    ServerState, ServerStatus, VerbAnswer, VerbRequest, WayFault,
};
use super::events::{NamedObservation, Recent, Seen};
use super::names::{Names, refusal};
use super::standing::Standing;
use crate::config::{ServerId, Topology, Wiring};
use crate::driver::loopback::{Condition, LoopbackDriver};
use crate::driver::{Action, Driver, DriverError, Event, Known, Observation, Wait};
use crate::exit::Exit;
use crate::herd::Verb;
use crate::time::Timestamp;

/// Requests that wait for their turn; while more come, their connections wait.
const REQUESTS: usize = 64;
/// Observations that wait for one slow watcher; older ones are then left out, and counted.
const WATCHED: usize = 8192;
/// Observations taken in a row before requests are looked at again.
const IN_A_ROW: usize = 10_000;

/// Something asked of the owner, and where the answer goes. Answers that nobody waits for any more are dropped.
#[derive(Debug)]
pub enum Request {
    /// Do this.
    Verb(VerbRequest, oneshot::Sender<Result<VerbAnswer, Refusal>>),
    /// How does the herd stand?
    Status(oneshot::Sender<HerdStatus>),
    /// Who knows what?
    Records(RecordsQuery, oneshot::Sender<Result<RecordsAnswer, Refusal>>),
    /// What happened, and what happens from now on?
    Watch(oneshot::Sender<Watch>),
    /// End. Answered when the herd is down: whether every server ended in order.
    Down(Option<Duration>, oneshot::Sender<bool>),
}

/// The past and the future of a herd, without a gap between them.
#[derive(Debug)]
pub struct Watch {
    /// The names.
    pub topology: Arc<Topology>,
    /// What is kept of the past.
    pub recent: Vec<Seen>,
    /// What comes.
    pub feed: broadcast::Receiver<Seen>,
}

impl Watch {
    /// Gives what is kept and what comes to `see`, on this thread, until the herd ends or `see` fails.
    pub fn each(mut self, mut see: impl FnMut(NamedObservation) -> std::io::Result<()>) {
        let past = std::mem::take(&mut self.recent);
        if past.iter().try_for_each(|seen| see(NamedObservation::of(&self.topology, seen))).is_err() {
            return;
        }
        let mut at = Timestamp::EPOCH;
        loop {
            let seen = match self.feed.blocking_recv() {
                Ok(seen) => seen,
                Err(RecvError::Lagged(events)) => Seen::LeftOut { at, events },
                Err(RecvError::Closed) => return,
            };
            let observation = NamedObservation::of(&self.topology, &seen);
            at = Timestamp::from_nanoseconds(observation.at);
            if see(observation).is_err() {
                return;
            }
        }
    }
}

/// What the owner is told about the herd once.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What its control socket is called.
    pub name: String,
    /// The file it was read from.
    pub file: String,
    /// Directory of the servers' logs.
    pub log_dir: Option<String>,
    /// The one server this process runs; `None`: all.
    pub only: Option<ServerId>,
    /// How long servers may take to end in order.
    pub drain: Duration,
}

/// Owns a driver.
#[derive(Debug)]
pub struct Owner {
    driver: LoopbackDriver,
    topology: Arc<Topology>,
    origin: Origin,
    standing: Standing,
    recent: Recent,
    /// Cuts that follow a hold, and when.
    due: Vec<(Timestamp, Vec<Action>)>,
    feed: broadcast::Sender<Seen>,
    requests: mpsc::Receiver<Request>,
    waiting_for_the_end: Vec<oneshot::Sender<bool>>,
    on_linked: Option<oneshot::Sender<()>>,
}

enum Step {
    Asked(Request),
    Seen(Option<Observation>),
    Ended(Exit),
}

impl Owner {
    /// Takes a driver that runs; requests go to the sender.
    pub fn new(driver: LoopbackDriver, origin: Origin) -> (Self, mpsc::Sender<Request>) {
        let (asks, requests) = mpsc::channel(REQUESTS);
        let owner = Self {
            topology: driver.topology().clone(),
            driver,
            standing: Standing::default(),
            origin,
            recent: Recent::default(),
            due: Vec::new(),
            feed: broadcast::Sender::new(WATCHED),
            requests,
            waiting_for_the_end: Vec::new(),
            on_linked: None,
        };
        (owner, asks)
    }

    /// What happens from now on.
    pub fn watch(&self) -> Watch {
        Watch { topology: self.topology.clone(), recent: self.recent.to_vec(), feed: self.feed.subscribe() }
    }

    /// Fires once, when every link is up.
    pub fn linked(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.on_linked = Some(sender);
        self.tell_if_linked();
        receiver
    }

    /// Serves until `end` is ready or somebody asks for the end; the herd still runs then.
    pub async fn serve(&mut self, end: impl Future<Output = Exit>) -> Exit {
        tokio::pin!(end);
        loop {
            let until = self.due.iter().map(|&(at, _)| at).min().unwrap_or(Timestamp::MAX);
            // In this order, so that a herd under load can be asked and ended.
            let step = tokio::select! {
                biased;
                exit = &mut end => Step::Ended(exit),
                Some(request) = self.requests.recv() => Step::Asked(request),
                seen = self.driver.next(Wait::Until(until)) => Step::Seen(seen),
            };
            match step {
                Step::Ended(exit) => return exit,
                Step::Asked(Request::Down(drain, answer)) => {
                    self.origin.drain = drain.unwrap_or(self.origin.drain);
                    self.waiting_for_the_end.push(answer);
                    return Exit::Passed;
                }
                Step::Asked(request) => self.answer(request).await,
                Step::Seen(Some(observation)) => self.observe(observation),
                Step::Seen(None) => self.apply_due().await,
            }
        }
    }

    /// Ends every server in order, and after the herd's time for it at once. Who waits for the end is then told, with the
    /// herd's name given back before.
    pub async fn end(self, give_back: impl FnOnce()) {
        // Cancelled, it drops the driver, which ends what still runs.
        let in_order = tokio::time::timeout(self.origin.drain, self.driver.shut_down()).await.is_ok();
        give_back();
        for waiting in self.waiting_for_the_end {
            // Fails when nobody waits any more.
            let _ = waiting.send(in_order);
        }
    }

    /// Who is linked with whom.
    pub fn wiring(&self) -> &Wiring {
        self.driver.wiring()
    }

    /// The servers of this process.
    pub fn servers(&self) -> Vec<ServerId> {
        self.topology.ids().filter(|&server| self.origin.only.is_none_or(|only| only == server)).collect()
    }

    fn observe(&mut self, observation: Observation) {
        if let Event::LinkUp(_) = observation.event {
            self.tell_if_linked();
        }
        let forgotten = self.driver.take_forgotten();
        if forgotten > 0 {
            self.publish(Seen::LeftOut { at: observation.at, events: forgotten });
        }
        self.publish(Seen::Happened(observation));
    }

    fn publish(&mut self, seen: Seen) {
        if self.feed.receiver_count() > 0 {
            // Fails when the last watcher has just gone.
            let _ = self.feed.send(seen.clone());
        }
        self.recent.push(seen);
    }

    fn tell_if_linked(&mut self) {
        if self.on_linked.is_some() && self.is_linked() {
            // Fails when nobody waits any more.
            let _ = self.on_linked.take().map(|linked| linked.send(()));
        }
    }

    /// Whether every way is open.
    pub fn is_linked(&self) -> bool {
        let all_up = |&server: &ServerId| self.driver.links_up(server) == self.driver.wiring().neighbours(server).len();
        self.servers().iter().all(all_up)
    }

    /// Takes what has happened by now, so that an answer is not older than its question.
    async fn catch_up(&mut self) {
        let now = self.driver.now();
        for _ in 0..IN_A_ROW {
            match self.driver.next(Wait::Until(now)).await {
                Some(observation) => self.observe(observation),
                None => return,
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        match request {
            Request::Verb(verb, answer) => drop(answer.send(self.verb(&verb).await)),
            Request::Status(answer) => {
                self.catch_up().await;
                drop(answer.send(self.status()));
            }
            Request::Records(query, answer) => {
                self.catch_up().await;
                drop(answer.send(self.records(&query)));
            }
            Request::Watch(answer) => {
                self.catch_up().await;
                self.driver.observe_traffic(true);
                drop(answer.send(self.watch()));
            }
            Request::Down(..) => unreachable!("serve takes it"),
        }
    }

    async fn verb(&mut self, request: &VerbRequest) -> Result<VerbAnswer, Refusal> {
        let verb = Names::of(&self.topology, self.driver.wiring()).verb(request)?;
        let actions = verb.actions(&self.topology, self.driver.wiring());
        let mut answer = VerbAnswer::default();
        let mut changed = false;
        for action in &actions {
            changed |= self.changes(action);
            answer.add(self.driver.apply(action.clone()).await.map_err(refused)?);
            changed |= self.standing.apply(action);
        }
        answer.ways = if one_server(&verb).is_some() { 0 } else { actions.len() as u64 };
        self.plan(&verb);
        self.catch_up().await;
        changed |= answer.connections > 0 || answer.lines_released > 0;
        answer.warning = (!changed).then(|| self.why_nothing(&verb));
        Ok(answer)
    }

    /// Whether an action will change a server, or count towards something.
    fn changes(&self, action: &Action) -> bool {
        let state = |server| self.state(server);
        match *action {
            Action::Kill(server) | Action::Stop(server) => {
                matches!(state(server), ServerState::Up | ServerState::Paused)
            }
            Action::Start(server) => matches!(state(server), ServerState::Down | ServerState::Crashed),
            Action::Restart(_) => true,
            Action::Pause(server) => state(server) == ServerState::Up,
            Action::Resume(server) => state(server) == ServerState::Paused,
            Action::SetClock(server, offset) => self.driver.clock_offset(server) != offset,
            Action::Reset(_, after) => after > 0,
            _ => false,
        }
    }

    fn why_nothing(&self, verb: &Verb) -> String {
        let Some(server) = one_server(verb) else {
            return match verb {
                Verb::Partition(_) => "no link leads from one group to another, or all are separated already".into(),
                Verb::Reset(..) => "no connection was there to reset".into(),
                Verb::Heal(_) => "nothing was there to heal".into(),
                Verb::Release(_) => "nothing was held".into(),
                Verb::Cut(_) => "all of it is cut already".into(),
                Verb::Hold(_) => "all of it is held already".into(),
                _ => "it is half-open already".into(),
            };
        };
        let name = self.topology.name(server);
        match verb {
            Verb::SetClock(..) => format!("the clock of {name} is so already"),
            Verb::Pause(_) | Verb::Resume(_) => format!("{name} is {}", self.state(server).name()),
            _ => format!("{name} is {} already", self.state(server).name()),
        }
    }

    /// Keeps what a verb wants done later, and forgets what a later verb takes back.
    fn plan(&mut self, verb: &Verb) {
        if let Verb::Heal(ways) | Verb::Release(ways) | Verb::Cut(ways) = *verb {
            let ways = ways.of(self.driver.wiring());
            for (_, actions) in &mut self.due {
                actions
                    .retain(|action| !matches!(action, Action::Cut(way) | Action::Release(way) if ways.contains(way)));
            }
            self.due.retain(|(_, actions)| !actions.is_empty());
        }
        if let Some((after, actions)) = verb.later(&self.topology, self.driver.wiring()) {
            self.due.push((self.driver.now() + after, actions));
        }
    }

    async fn apply_due(&mut self) {
        let now = self.driver.now();
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|&(at, _)| at <= now);
        self.due = later;
        let due: Vec<(Timestamp, Vec<Action>)> = due;
        for action in due.into_iter().flat_map(|(_, actions)| actions) {
            // A cut or a release of a link that exists cannot fail.
            if self.driver.apply(action.clone()).await.is_ok() {
                self.standing.apply(&action);
            }
        }
    }

    fn state(&self, server: ServerId) -> ServerState {
        match self.driver.condition(server) {
            Condition::Up => ServerState::Up,
            Condition::Paused => ServerState::Paused,
            Condition::Crashed(_) => ServerState::Crashed,
            Condition::Down | Condition::Elsewhere => ServerState::Down,
        }
    }

    /// How the herd stands.
    pub fn status(&self) -> HerdStatus {
        let name = |server| self.topology.name(server).to_string();
        let faults = self.standing.faults();
        HerdStatus {
            name: self.origin.name.clone(),
            pid: std::process::id(),
            file: self.origin.file.clone(),
            strategy: self.topology.strategy,
            log_dir: self.origin.log_dir.clone(),
            servers: self.servers().into_iter().map(|server| self.server_status(server)).collect(),
            faults: faults.map(|(way, faults)| WayFault { from: name(way.from), to: name(way.to), faults }).collect(),
        }
    }

    fn server_status(&self, server: ServerId) -> ServerStatus {
        let configured = &self.topology.servers[server.index()];
        let neighbours = self.driver.wiring().neighbours(server);
        ServerStatus {
            server: configured.name.to_string(),
            state: self.state(server),
            reason: match self.driver.condition(server) {
                Condition::Crashed(reason) => Some(reason),
                _ => None,
            },
            host: configured.host.clone(),
            port: self.driver.address(server).map_or(configured.port, |address| address.port()),
            neighbours: neighbours.iter().map(|n| self.topology.name(n.server).to_string()).collect(),
            links_up: self.driver.links_up(server),
            records: self.driver.records(server).len(),
            clock_offset: self.driver.clock_offset(server),
        }
    }

    fn records(&self, query: &RecordsQuery) -> Result<RecordsAnswer, Refusal> {
        let names = Names::of(&self.topology, self.driver.wiring());
        let only = query.server.as_deref().map(|name| names.server(name)).transpose()?;
        let running: Vec<_> = self.servers().into_iter().filter(|&s| self.driver.port(s).is_some()).collect();
        let known: Vec<(ServerId, Vec<Known>)> = running.iter().map(|&s| (s, self.driver.records(s))).collect();
        let mut clients = std::collections::BTreeMap::<&str, Vec<(ServerId, &Known)>>::new();
        for (server, records) in &known {
            for record in records {
                let client = record.report.client();
                if query.client.as_deref().is_none_or(|wanted| wanted == client) {
                    clients.entry(client).or_default().push((*server, record));
                }
            }
        }
        let mut answer = RecordsAnswer { records: Vec::new(), left_out: 0 };
        for (client, holders) in clients {
            self.add_client(client, &holders, &running, only, &mut answer);
        }
        Ok(answer)
    }

    /// Adds one row for every running server that was asked about, also for those that do not know the client.
    fn add_client(
        &self,
        client: &str,
        holders: &[(ServerId, &Known)],
        running: &[ServerId],
        only: Option<ServerId>,
        answer: &mut RecordsAnswer,
    ) {
        let versions = holders.iter().map(|(_, known)| known.report.at());
        let newest = versions.max_by(|a, b| a.version_cmp(*b)).expect("a client is listed because somebody knows it");
        let mut holders = holders.iter().peekable();
        for &server in running {
            let known = holders.next_if(|&&(holder, _)| holder == server).map(|&(_, known)| known);
            if only.is_some_and(|only| only != server) {
                continue;
            }
            if answer.records.len() == MAX_RECORDS {
                answer.left_out += 1;
                continue;
            }
            let state = match known {
                Some(known) if known.report.at().line() == newest.line() => RecordState::Newest,
                Some(_) => RecordState::Older,
                None => RecordState::Missing,
            };
            answer.records.push(RecordStatus {
                client: client.to_owned(),
                server: self.topology.name(server).to_string(),
                state,
                known: known.map(|known| self.known(known)),
            });
        }
    }

    fn known(&self, known: &Known) -> KnownStatus {
        let line = known.report.at();
        KnownStatus {
            location: line.location().to_owned(),
            time: line.stated_time().to_owned(),
            origin: line.origin().to_owned(),
            since: known.learned_at.nanoseconds(),
            from: known.from.map(|server| self.topology.name(server).to_string()),
        }
    }
}

/// The server a verb is about, when it is about one.
fn one_server(verb: &Verb) -> Option<ServerId> {
    match *verb {
        Verb::Kill(server)
        | Verb::Stop(server)
        | Verb::Start(server)
        | Verb::Restart(server)
        | Verb::Pause(server)
        | Verb::Resume(server)
        | Verb::SetClock(server, _) => Some(server),
        _ => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: DriverError) -> Refusal {
    let code = match error {
        DriverError::NoLink { .. } => RefusalCode::NotLinked,
        DriverError::Listen { .. }
        | DriverError::Elsewhere(_)
        | DriverError::OtherServer { .. }
        | DriverError::Finished { .. }
        | DriverError::Resources(_) => RefusalCode::CouldNot,
    };
    refusal(code, error.to_string())
}
