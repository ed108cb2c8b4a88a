//! The task that owns a driver: takes requests, does them one after another, and passes on what happens.
//!
//! Not here: HTTP ([`super::server`]), names ([`super::names`]).

mod promises;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::api::{
    A_SERVER, FileAnswer, HerdStatus, KnownStatus, RecordsAnswer, RecordsQuery, Refusal, RefusalCode, ServerState,
    ServerStatus, VerbAnswer, WayFault,
};
use super::events::{Recent, gap};
use super::names::{Names, refusal, why_nothing};
use super::promise::{DecisionQuery, Decisions, Part, PartDone, too_late};
use super::records::{Holding, compare};
use crate::act::{Action, Agenda, Hit, Later, Moment, Plan, ServerVerb, Verb, WayFaults, WayVerb, take_back};
use crate::config::{Identity, ServerId, Topology, Way, Wiring};
use crate::driver::loopback::{Condition, LoopbackDriver};
use crate::driver::work::Work;
use crate::driver::{Driver, DriverError, Known, Performed, Sender, Wait};
use crate::exit::Exit;
use crate::history::{self, Entry, Event, Fact, History, Observation};
use crate::time::Timestamp;
use crate::words::short;
use promises::Promise;

/// Requests that wait for their turn; while more come, their connections wait.
const REQUESTS: usize = 64;
/// Observations that wait for one slow watcher; older ones are then left out, and counted.
const WATCHED: usize = 8192;
/// How long the links of a server that was restarted may take to come back.
pub(super) const LINKED_WITHIN: Duration = Duration::from_secs(10);
/// Observations taken in a row before requests are looked at again.
const IN_A_ROW: usize = 10_000;

/// Something asked of the owner, and where the answer goes. Answers that nobody waits for any more are dropped.
#[derive(Debug)]
pub enum Request {
    /// Do this.
    Verb(Verb<String>, oneshot::Sender<Result<VerbAnswer, Refusal>>),
    /// Promise this part of a verb that other processes do, too.
    Promise(Box<Part>, oneshot::Sender<Result<(), Refusal>>),
    /// Keep a promise, or give it up.
    Decide {
        /// What identifies the verb.
        id: String,
        /// Keep it.
        done: bool,
        /// Fires when the decision stands, before what was promised is done.
        decided: oneshot::Sender<Result<(), Refusal>>,
        /// What became of it.
        answer: oneshot::Sender<Result<PartDone, Refusal>>,
    },
    /// What was decided about this verb? One that is open is decided now. `None`: there was no such promise.
    Decision(DecisionQuery, oneshot::Sender<Option<bool>>),
    /// How does the herd stand?
    Status(oneshot::Sender<HerdStatus>),
    /// Which file was it read from?
    File(oneshot::Sender<FileAnswer>),
    /// What has the process to do?
    Work(oneshot::Sender<Work<String>>),
    /// Pass on all that has happened by now.
    CatchUp(oneshot::Sender<()>),
    /// Who knows what?
    Records(RecordsQuery, oneshot::Sender<Result<RecordsAnswer, Refusal>>),
    /// What happened, of that at most so many entries, and what happens from now on?
    Watch(Option<usize>, oneshot::Sender<Watch>),
    /// End. Answered when the herd is down: whether every server ended in order.
    Down(Option<Duration>, oneshot::Sender<bool>),
}

/// The past and the future of a herd, without a gap between them.
#[derive(Debug)]
pub struct Watch {
    /// What is kept of the past.
    pub past: History,
    /// What comes.
    pub feed: broadcast::Receiver<Entry>,
}

impl Watch {
    /// Gives what is kept and what comes to `see`, on this thread, until the herd ends or `see` fails.
    pub fn each(mut self, mut see: impl FnMut(&Entry) -> std::io::Result<()>) {
        let mut last = None;
        for entry in std::mem::take(&mut self.past.entries) {
            if see(&entry).is_err() {
                return;
            }
            last = Some(entry);
        }
        loop {
            let entry = match self.feed.blocking_recv() {
                Ok(entry) => entry,
                Err(RecvError::Lagged(entries)) => lagged(&self.past, last.as_ref(), entries),
                Err(RecvError::Closed) => return,
            };
            if see(&entry).is_err() {
                return;
            }
            last = Some(entry);
        }
    }
}

/// Returns the entry that stands for those that a watcher was too slow for, after the `last` one it saw.
pub fn lagged(past: &History, last: Option<&Entry>, entries: u64) -> Entry {
    Entry { at: last.map_or(past.started, |last| last.at), step: None, fact: Fact::LeftOut { entries } }
}

/// What the owner is told about the herd once.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What its control socket is called.
    pub name: String,
    /// The file it was read from.
    pub file: FileAnswer,
    /// What tells that file from others.
    pub identity: Identity,
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
    /// What the entries are about; without entries.
    history: History,
    recent: Recent,
    /// What follows from verbs without being asked again.
    agenda: Agenda<Due>,
    /// Verbs that stop servers, each until these have finished what they were asked.
    stopping: FuturesUnordered<Pin<Box<dyn Future<Output = Asked> + Send>>>,
    feed: broadcast::Sender<Entry>,
    requests: mpsc::Receiver<Request>,
    waiting_for_the_end: Vec<oneshot::Sender<bool>>,
    /// What is promised and not decided.
    promise: Option<Promise>,
    decisions: Decisions,
    /// Verbs and promises that wait until it is decided.
    postponed: VecDeque<Request>,
    on_linked: Option<oneshot::Sender<()>>,
}

/// When an action was begun, the action, and what it hit.
type Done = (Timestamp, Action, Hit);

/// A part of a verb that is done later.
#[derive(Debug)]
struct Due {
    actions: Vec<Action>,
    rest: Vec<Later>,
    /// The command that waits for the end of it. `None` if the verb was answered at once.
    awaited: Option<Awaited>,
}

/// A command that waits until its verb is done.
#[derive(Debug)]
struct Awaited {
    answer: oneshot::Sender<Result<VerbAnswer, Refusal>>,
    so_far: VerbAnswer,
    /// When the links that it waits for must be back.
    until: Timestamp,
}

/// A verb that was asked for, and who waits for its answer.
#[derive(Debug)]
struct Asked {
    verb: Verb,
    plan: Plan,
    answer: oneshot::Sender<Result<VerbAnswer, Refusal>>,
}

enum Step {
    Asked(Request),
    Finished(Asked),
    Seen(Option<Observation>),
    Ended(Exit),
}

impl Owner {
    /// Takes a driver that runs; requests go to the sender.
    pub fn new(driver: LoopbackDriver, origin: Origin) -> (Self, mpsc::Sender<Request>) {
        let (asks, requests) = mpsc::channel(REQUESTS);
        let herd = Arc::new(history::Origin::live(driver.topology()));
        let owner = Self {
            history: History::new(herd, driver.topology().seed, driver.started()),
            topology: driver.topology().clone(),
            driver,
            origin,
            recent: Recent::default(),
            agenda: Agenda::default(),
            stopping: FuturesUnordered::new(),
            feed: broadcast::Sender::new(WATCHED),
            requests,
            waiting_for_the_end: Vec::new(),
            promise: None,
            decisions: Decisions::default(),
            postponed: VecDeque::new(),
            on_linked: None,
        };
        (owner, asks)
    }

    /// Returns what is kept of the past, at most `limit` entries of it, and what happens from now on.
    pub fn watch(&self, limit: Option<usize>) -> Watch {
        let past = History { entries: self.recent.last(limit), ..self.history.clone() };
        Watch { past, feed: self.feed.subscribe() }
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
            let wait = self.wait();
            // In this order, so that a herd under load can be asked and ended.
            let step = tokio::select! {
                biased;
                exit = &mut end => Step::Ended(exit),
                Some(request) = self.requests.recv() => Step::Asked(request),
                Some(asked) = self.stopping.next() => Step::Finished(asked),
                seen = self.driver.next(wait) => Step::Seen(seen.seen()),
            };
            match step {
                Step::Ended(exit) => return exit,
                Step::Asked(Request::Down(drain, answer)) => {
                    self.origin.drain = drain.unwrap_or(self.origin.drain);
                    self.waiting_for_the_end.push(answer);
                    return Exit::Passed;
                }
                Step::Asked(request) => {
                    self.answer(request).await;
                    self.answer_postponed().await;
                }
                Step::Finished(asked) => self.carry_out(asked).await,
                Step::Seen(Some(observation)) => self.observe(observation),
                Step::Seen(None) => {}
            }
            self.apply_due().await;
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
        if let Event::LinkUp { .. } = observation.event {
            self.tell_if_linked();
        }
        let Observation { at, event } = observation;
        let entry = Entry { at, step: None, fact: Fact::Saw(event) };
        let forgotten = self.driver.take_forgotten();
        if forgotten > 0 {
            self.publish(gap(&entry, forgotten));
        }
        self.publish(entry);
    }

    /// Records what an operator asked for, or what was done.
    fn record(&mut self, at: Timestamp, fact: Fact) {
        self.publish(Entry { at, step: None, fact });
    }

    fn publish(&mut self, entry: Entry) {
        if self.feed.receiver_count() > 0 {
            // Fails when the last watcher has just gone.
            let _ = self.feed.send(entry.clone());
        }
        self.recent.push(entry);
    }

    fn tell_if_linked(&mut self) {
        if self.history.linked.is_none() && self.is_linked() {
            self.history.linked = Some(self.driver.now());
        }
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
            match self.driver.next(Wait::Until(now)).await.seen() {
                Some(observation) => self.observe(observation),
                None => return,
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        match request {
            // What is promised stays possible only while nothing else is done.
            Request::Verb(..) | Request::Promise(..) if self.promise.is_some() => self.postponed.push_back(request),
            Request::Verb(verb, answer) => self.verb(verb, answer).await,
            Request::Promise(part, answer) => drop(answer.send(self.promise(*part).await)),
            Request::Decide { id, done, decided, answer } => {
                let is_done = self.decide(&id, done).await;
                let stands = if is_done == Some(done) { Ok(()) } else { Err(too_late()) };
                drop(decided.send(stands));
                if let Some(done) = self.keep(&id).await {
                    drop(answer.send(done));
                }
            }
            Request::Decision(query, answer) => {
                let is_done = self.decide(&query.id, query.done).await;
                let _ = answer.send(is_done);
                if let Some(Err(refusal)) = self.keep(&query.id).await {
                    tracing::warn!(error = %refusal.error, "a part of a verb failed");
                }
            }
            Request::Status(answer) => {
                self.catch_up().await;
                drop(answer.send(self.status()));
            }
            Request::Work(answer) => drop(answer.send(self.work())),
            Request::CatchUp(answer) => {
                self.catch_up().await;
                let _ = answer.send(());
            }
            Request::File(answer) => drop(answer.send(self.origin.file.clone())),
            Request::Records(query, answer) => {
                self.catch_up().await;
                drop(answer.send(self.records(&query)));
            }
            Request::Watch(limit, answer) => {
                self.catch_up().await;
                self.driver.observe_traffic(true);
                drop(answer.send(self.watch(limit)));
            }
            Request::Down(..) => unreachable!("serve takes it"),
        }
    }

    fn work(&self) -> Work<String> {
        let mut name = |server: ServerId| Ok::<_, std::convert::Infallible>(self.topology.name(server).to_string());
        let Ok(work) = self.driver.work().map(&mut name);
        work
    }

    /// Returns how long the driver may go on before the agenda is looked at again.
    fn wait(&self) -> Wait {
        let until = self.agenda.next().unwrap_or(Timestamp::MAX);
        let limits = self.agenda.waiting().filter_map(|(_, due)| due.awaited.as_ref()).map(|awaited| awaited.until);
        match limits.min() {
            None => Wait::Until(until),
            // A herd at rest has every link that it can have.
            Some(limit) => Wait::Quiescent(until.min(limit)),
        }
    }

    /// Does a verb, at once unless it stops servers: others are answered while these finish what they were asked.
    async fn verb(&mut self, verb: Verb<String>, answer: oneshot::Sender<Result<VerbAnswer, Refusal>>) {
        let asked = match Names::of(&self.topology, self.driver.wiring()).plan(verb) {
            Ok((verb, plan)) => Asked { verb, plan, answer },
            Err(refusal) => return drop(answer.send(Err(refusal))),
        };
        self.catch_up().await;
        self.record(self.driver.now(), Fact::Asked(asked.verb.clone()));
        let stops = self.begin_stops(&asked.plan.now);
        if stops.is_empty() {
            return self.carry_out(asked).await;
        }
        self.stopping.push(Box::pin(async move {
            join_all(stops).await;
            asked
        }));
    }

    /// Tells the servers that actions stop to finish, if all of the actions can be done.
    fn begin_stops(&self, actions: &[Action]) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let stopped = |action: &Action| match *action {
            Action::Server(server, ServerVerb::Stop) => Some(server),
            _ => None,
        };
        let can_be = actions.iter().all(|action| self.driver.check(action).is_ok());
        let stopped = actions.iter().filter_map(stopped).filter(|_| can_be);
        stopped.map(|server| self.driver.begin_stop(server)).collect()
    }

    /// Does a verb that was asked for. A verb that waits for links is answered when all of it is done.
    async fn carry_out(&mut self, Asked { verb, plan, answer }: Asked) {
        let Plan { now, later } = plan;
        let awaits = matches!(verb, Verb::RollingRestart { .. });
        match self.begin(&verb, now).await {
            Ok(so_far) if awaits => {
                let until = self.driver.now() + LINKED_WITHIN;
                self.plan_rest(later, Some(Awaited { answer, so_far, until }));
            }
            // Fails when the command has gone.
            Ok(done) => {
                self.plan_rest(later, None);
                drop(answer.send(Ok(done)));
            }
            Err(refusal) => drop(answer.send(Err(refusal))),
        }
    }

    /// Does what a verb asks for at once. Returns what that hit.
    async fn begin(&mut self, verb: &Verb, now: Vec<Action>) -> Result<VerbAnswer, Refusal> {
        let changes = now.iter().any(|action| self.changes(action));
        let planned = self.planned();
        let ways = now.iter().filter(|action| matches!(action, Action::Way(..))).count() as u64;
        let mut answer = VerbAnswer { ways, ..self.perform(now).await? };
        self.catch_up().await;
        let changed = changes || answer.connections > 0 || answer.lines_released > 0 || self.planned() < planned;
        answer.warning = (!changed).then(|| self.why_nothing(verb));
        Ok(answer)
    }

    /// Does actions, all or none. Returns what they hit.
    async fn perform(&mut self, actions: Vec<Action>) -> Result<VerbAnswer, Refusal> {
        let mut answer = VerbAnswer::default();
        self.perform_each(actions).await?.into_iter().for_each(|(_, _, hit)| answer.hit(hit));
        Ok(answer)
    }

    /// Does actions, all or none. Returns each that was done.
    async fn perform_each(&mut self, actions: Vec<Action>) -> Result<Vec<Done>, Refusal> {
        let Performed { done, error } = self.driver.perform(actions).await;
        let was_partly_done = !done.is_empty();
        self.agenda.retain(|due| {
            take_back(done.iter().map(|(_, action, _)| action), &mut due.actions)
                || !due.rest.is_empty()
                || due.awaited.is_some()
        });
        // A server that was only started before it ended had nothing to lose: that is an undo.
        let was_started = |server| done.iter().any(|(_, action, _)| *action == ServerVerb::Start.on(server));
        let ended = |action: &Action| match *action {
            Action::Server(server, ServerVerb::Kill | ServerVerb::Stop | ServerVerb::Restart) => {
                (!was_started(server)).then_some(server)
            }
            _ => None,
        };
        let ended: Vec<_> = done.iter().filter_map(|(_, action, _)| ended(action)).collect();
        for (at, action, hit) in &done {
            self.record(*at, Fact::Did { action: action.clone(), hit: *hit });
        }
        let Some(error) = error else { return Ok(done) };
        let mut refusal = refused(&error);
        if !ended.is_empty() {
            refusal.error.push_str(&format!("; {} ended before that, and lost all records", self.names(&ended)));
        } else if was_partly_done {
            refusal.error.push_str("; what was done before it is undone");
        }
        Err(refusal)
    }

    /// How many actions wait for their moment.
    fn planned(&self) -> usize {
        self.agenda.iter().map(|due| due.actions.len()).sum()
    }

    /// Puts the next part of a plan on the agenda, with what follows it. Answers the command that waits when all is done.
    fn plan_rest(&mut self, mut rest: Vec<Later>, awaited: Option<Awaited>) {
        if rest.is_empty() {
            if let Some(Awaited { answer, so_far, .. }) = awaited {
                // Fails when the command has gone.
                drop(answer.send(Ok(so_far)));
            }
            return;
        }
        let Later { moment, actions } = rest.remove(0);
        let due = Due { actions, rest, awaited };
        match moment {
            Moment::After(after) => self.agenda.add(self.driver.now() + after, due),
            Moment::Linked(server) => self.agenda.add_linked(server, due),
        }
    }

    async fn apply_due(&mut self) {
        if self.agenda.is_empty() {
            return;
        }
        while let Some(due) = self.agenda.pop(self.driver.now(), |server| self.driver.is_linked(server)) {
            let Due { actions, rest, awaited } = due;
            let done = self.perform(actions).await;
            match (done, awaited) {
                (Ok(hit), Some(mut awaited)) => {
                    awaited.so_far.add(hit);
                    awaited.until = self.driver.now() + LINKED_WITHIN;
                    self.plan_rest(rest, Some(awaited));
                }
                (Ok(_), None) => self.plan_rest(rest, None),
                (Err(mut refusal), Some(awaited)) => {
                    refusal.error.push_str("; the servers before it are restarted, those after it are not");
                    drop(awaited.answer.send(Err(refusal)));
                }
                (Err(refusal), None) => tracing::warn!(error = %refusal.error, "what was to follow a verb failed"),
            }
        }
        self.give_up_late_links();
    }

    /// Refuses the verbs whose links are not back in time. What they had still to do is not done.
    fn give_up_late_links(&mut self) {
        let now = self.driver.now();
        let is_late = |due: &Due| due.awaited.as_ref().is_some_and(|awaited| awaited.until <= now);
        let late: Vec<ServerId> =
            self.agenda.waiting().filter(|(_, due)| is_late(due)).map(|(server, _)| server).collect();
        if late.is_empty() {
            return;
        }
        let error = format!("the links of {} are not back after {}", self.names(&late), short(LINKED_WITHIN));
        self.agenda.retain(|due| {
            let is_late = is_late(due);
            if let Some(awaited) = due.awaited.take_if(|_| is_late) {
                drop(awaited.answer.send(Err(refusal(RefusalCode::CouldNot, error.clone()))));
            }
            !is_late
        });
    }

    /// Returns `true` if an action will change a server, what stands on a way, or what happens there later.
    fn changes(&self, action: &Action) -> bool {
        match *action {
            Action::Server(server, verb) => match (verb, self.state(server)) {
                (ServerVerb::Kill | ServerVerb::Stop, ServerState::Up | ServerState::Paused) => true,
                (ServerVerb::Start, ServerState::Down | ServerState::Crashed) => true,
                (ServerVerb::Pause, ServerState::Up) | (ServerVerb::Resume, ServerState::Paused) => true,
                (ServerVerb::Clock(offset), _) => self.driver.clock_offset(server) != offset,
                (verb, _) => verb == ServerVerb::Restart,
            },
            // What happens once to lines to come counts towards something.
            Action::Way(_, WayVerb::Reset { after }) => after > 0,
            Action::Way(_, WayVerb::Drop { .. } | WayVerb::Duplicate { .. }) => true,
            Action::Way(way, verb) => self.driver.faults(way).apply(verb),
            Action::Send { .. } | Action::Close(_) => false,
        }
    }

    fn why_nothing(&self, verb: &Verb) -> String {
        let mut name = |server: ServerId| Ok::<_, std::convert::Infallible>(self.topology.name(server).to_string());
        let Ok(named) = verb.clone().map(&mut name);
        why_nothing(&named, |name| self.topology.server(name).map_or(ServerState::Down, |server| self.state(server)))
    }

    fn names(&self, servers: &[ServerId]) -> String {
        let names: Vec<_> = servers.iter().map(|&server| &**self.topology.name(server)).collect();
        names.join(", ")
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
        // What another process does to a way is told by that one.
        let own = |way: &Way| self.origin.only.is_none_or(|only| only == way.from);
        let faults = self.driver.wiring().ways().filter(own).map(|way| (way, self.driver.faults(way)));
        let fault = |(way, standing): (Way, WayFaults)| WayFault {
            from: name(way.from),
            to: name(way.to),
            faults: standing.states().into_iter().map(str::to_owned).collect(),
            standing,
        };
        HerdStatus {
            name: self.origin.name.clone(),
            pid: Some(std::process::id()),
            file: self.origin.file.path.clone(),
            identity: self.origin.identity.clone(),
            alone: self.origin.only.map(name),
            strategy: self.topology.strategy,
            log_dir: self.origin.log_dir.clone(),
            servers: self.servers().into_iter().map(|server| self.server_status(server)).collect(),
            faults: faults.filter(|(_, standing)| !standing.is_none()).map(fault).collect(),
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
            listen: configured.listen.clone(),
            port: self.driver.address(server).map_or(configured.port, |address| address.port()),
            neighbours: neighbours.iter().map(|n| self.topology.name(n.server).to_string()).collect(),
            links_up: self.driver.links_up(server),
            open: self.driver.open_to(server).into_iter().map(|other| self.topology.name(other).to_string()).collect(),
            records: self.driver.records(server).len(),
            clock_offset: self.driver.clock_offset(server),
            replies_waiting: self.driver.replies_waiting(server),
            process: None,
        }
    }

    fn records(&self, query: &RecordsQuery) -> Result<RecordsAnswer, Refusal> {
        let names = Names::of(&self.topology, self.driver.wiring());
        query.server.as_deref().map(|name| names.server(name)).transpose()?;
        let running: Vec<_> = self.servers().into_iter().filter(|&s| self.driver.port(s).is_some()).collect();
        let records: Vec<Vec<Known>> = running.iter().map(|&server| self.driver.records(server)).collect();
        let mut clients = BTreeMap::<&str, Vec<Holding<'_, &Known>>>::new();
        for (server, known) in
            records.iter().enumerate().flat_map(|(server, known)| known.iter().map(move |k| (server, k)))
        {
            let client = known.report.client();
            if query.client.as_deref().is_none_or(|wanted| wanted == client) {
                let holding = Holding { server, line: known.report.at(), known };
                clients.entry(client).or_default().push(holding);
            }
        }
        let servers: Vec<&str> = running.iter().map(|&server| &**self.topology.name(server)).collect();
        Ok(compare(&clients, &servers, query.server.as_deref(), |known| self.known(known)))
    }

    fn known(&self, known: &Known) -> KnownStatus {
        let line = known.report.at();
        KnownStatus {
            line: line.line().to_owned(),
            location: line.location().to_owned(),
            time: line.stated_time().to_owned(),
            origin: line.origin().to_owned(),
            since: known.learned_at.nanoseconds(),
            from: match known.from {
                Sender::Client => None,
                Sender::Neighbour(server) => Some(self.topology.name(server).to_string()),
                Sender::UnknownServer => Some(A_SERVER.to_owned()),
            },
        }
    }
}

fn refused(error: &DriverError) -> Refusal {
    let code = match error {
        DriverError::NoLink { .. } => RefusalCode::NotLinked,
        DriverError::Listen { .. }
        | DriverError::Elsewhere(_)
        | DriverError::OtherServer { .. }
        | DriverError::Finished { .. }
        | DriverError::Resources(_)
        | DriverError::Process(_) => RefusalCode::CouldNot,
    };
    refusal(code, error.to_string())
}
