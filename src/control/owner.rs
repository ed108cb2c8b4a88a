//! The task that owns a driver: takes requests, does them one after another, and passes on what happens.
//!
//! Not here: HTTP ([`super::server`]), names ([`super::names`]).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use super::api::{
    HerdStatus, KnownStatus, MAX_RECORDS, RecordState, RecordStatus, RecordsAnswer, RecordsQuery, Refusal, RefusalCode,
    ServerState, ServerStatus, VerbAnswer, VerbRequest, WayFault,
};
use super::events::Recent;
use super::names::{Names, refusal};
use super::standing::Standing;
use crate::config::{ServerId, Topology};
use crate::driver::{Action, Driver, DriverError, Event, Known, Observation, Wait, Wiring};
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
    /// End. Answered when the herd is down.
    Down(Option<Duration>, oneshot::Sender<()>),
}

/// The past and the future of a herd, without a gap between them.
#[derive(Debug)]
pub struct Watch {
    /// The names.
    pub topology: Arc<Topology>,
    /// What is kept of the past.
    pub recent: Vec<Observation>,
    /// What comes.
    pub feed: broadcast::Receiver<Observation>,
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
pub struct Owner<D> {
    driver: D,
    topology: Arc<Topology>,
    wiring: Wiring,
    origin: Origin,
    standing: Standing,
    recent: Recent,
    /// Cuts that follow a hold, and when.
    due: Vec<(Timestamp, Vec<Action>)>,
    feed: broadcast::Sender<Observation>,
    requests: mpsc::Receiver<Request>,
    waiting_for_the_end: Vec<oneshot::Sender<()>>,
    on_linked: Option<oneshot::Sender<()>>,
}

enum Step {
    Asked(Request),
    Seen(Option<Observation>),
    Ended(Exit),
}

impl<D: Driver> Owner<D> {
    /// Takes a driver that runs; requests go to the sender.
    pub fn new(driver: D, topology: Arc<Topology>, origin: Origin) -> (Self, mpsc::Sender<Request>) {
        let (asks, requests) = mpsc::channel(REQUESTS);
        let owner = Self {
            wiring: Wiring::of(&topology),
            standing: Standing::new(&topology),
            driver,
            topology,
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

    /// Ends every server in order, and at once those that take longer than the herd's time for it.
    pub async fn drain(&mut self) {
        let in_order = tokio::time::timeout(self.origin.drain, self.end_all(Action::Stop));
        if in_order.await.is_err() {
            self.end_all(Action::Kill).await;
        }
    }

    /// Gives up the driver's place: who waits for the end of the herd is told that it is down.
    pub fn farewell(&mut self) {
        for waiting in self.waiting_for_the_end.drain(..) {
            let _ = waiting.send(());
        }
        self.requests.close();
    }

    async fn end_all(&mut self, end: impl Fn(ServerId) -> Action) {
        for server in self.servers() {
            if self.driver.port(server).is_some() {
                // A herd that ends has nobody left to tell.
                let _ = self.driver.apply(end(server)).await;
            }
            self.catch_up().await;
        }
    }

    fn servers(&self) -> Vec<ServerId> {
        self.topology.ids().filter(|&server| self.origin.only.is_none_or(|only| only == server)).collect()
    }

    fn observe(&mut self, observation: Observation) {
        self.standing.observe(&observation.event);
        if let Event::LinkUp(_) = observation.event {
            self.tell_if_linked();
        }
        if self.feed.receiver_count() > 0 {
            // Fails when the last watcher has just gone.
            let _ = self.feed.send(observation.clone());
        }
        self.recent.push(observation);
    }

    fn tell_if_linked(&mut self) {
        if self.on_linked.is_some() && self.is_linked() {
            // Fails when nobody waits any more.
            let _ = self.on_linked.take().map(|linked| linked.send(()));
        }
    }

    fn is_linked(&self) -> bool {
        let all_up = |&server: &ServerId| {
            self.standing.links_up(&self.wiring, server) == self.wiring.neighbours(server).len()
        };
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
                drop(answer.send(self.watch()));
            }
            Request::Down(..) => unreachable!("serve takes it"),
        }
    }

    async fn verb(&mut self, request: &VerbRequest) -> Result<VerbAnswer, Refusal> {
        let verb = Names::of(&self.topology, &self.wiring).verb(request)?;
        let actions = verb.actions(&self.topology, &self.wiring);
        let mut answer = VerbAnswer::default();
        let mut changed = false;
        for action in &actions {
            let idle = self.idle(action);
            answer.add(self.driver.apply(action.clone()).await.map_err(refused)?);
            let noted = self.standing.apply(action);
            changed |= !idle && noted;
        }
        answer.ways = if one_server(&verb).is_some() { 0 } else { actions.len() as u64 };
        self.plan(&verb);
        self.catch_up().await;
        changed |= answer.connections > 0 || answer.lines_released > 0;
        answer.warning = (!changed).then(|| self.why_nothing(&verb));
        Ok(answer)
    }

    /// Whether an action on a server finds it as it would leave it.
    fn idle(&self, action: &Action) -> bool {
        match *action {
            Action::Kill(server) | Action::Stop(server) | Action::Pause(server) | Action::Resume(server) => {
                self.driver.port(server).is_none()
            }
            Action::Start(server) => self.driver.port(server).is_some(),
            Action::Reset(_, after) => after == 0,
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
                _ => "it was so already".into(),
            };
        };
        let name = self.topology.name(server);
        format!("{name} is {} already", self.state(server).name())
    }

    /// Keeps what a verb wants done later, and forgets what a later verb takes back.
    fn plan(&mut self, verb: &Verb) {
        if let Verb::Heal(ways) | Verb::Release(ways) | Verb::Cut(ways) = *verb {
            let ways = ways.of(&self.wiring);
            for (_, actions) in &mut self.due {
                actions.retain(|action| !matches!(action, Action::Cut(way) | Action::Release(way) if ways.contains(way)));
            }
            self.due.retain(|(_, actions)| !actions.is_empty());
        }
        if let Some((after, actions)) = verb.later(&self.topology, &self.wiring) {
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
        let standing = self.standing.server(server);
        match self.driver.port(server) {
            None if standing.crashed.is_some() => ServerState::Crashed,
            None => ServerState::Down,
            Some(_) if standing.paused => ServerState::Paused,
            Some(_) => ServerState::Up,
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
        let standing = self.standing.server(server);
        let state = self.state(server);
        let runs = self.driver.port(server).is_some();
        let neighbours = self.wiring.neighbours(server);
        ServerStatus {
            server: configured.name.to_string(),
            state,
            reason: standing.crashed.clone().filter(|_| state == ServerState::Crashed),
            host: configured.host.clone(),
            port: self.driver.port(server).unwrap_or(configured.port),
            neighbours: neighbours.iter().map(|n| self.topology.name(n.server).to_string()).collect(),
            links_up: if runs { self.standing.links_up(&self.wiring, server) } else { 0 },
            records: self.driver.records(server).len(),
            clock_offset: standing.clock_offset,
        }
    }

    fn records(&self, query: &RecordsQuery) -> Result<RecordsAnswer, Refusal> {
        let names = Names::of(&self.topology, &self.wiring);
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
        DriverError::Listen { .. } | DriverError::Elsewhere(_) | DriverError::Resources(_) => RefusalCode::CouldNot,
    };
    refusal(code, error.to_string())
}
