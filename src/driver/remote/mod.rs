//! A herd of one process or of several, driven over their control sockets.
//!
//! What a process observes comes as [`Merged`] events: everything up to now has been seen when an action returns. Several actions
//! at once are done by all processes that they are about, or by none ([`crate::control::promise`]). Rest is found by asking all
//! processes what they have to do ([`crate::driver::work`]).
//!
//! A process tells of its servers, so such a server is seen from inside ([`Sight`]). A server of somebody else, which takes the place
//! of one in the herd's file, is seen from outside: it is asked over the wire. A process that vanishes is observed: its server has
//! crashed, and what it did last nobody tells.
//!
//! Not here: what processes do, which [`super::loopback`] does in each of them, and how they are asked ([`crate::control::herd`]).

mod ask;
mod client;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout_at};

use super::session::{Ledger, commands};
use super::work::are_at_rest;
use super::{Driver, DriverError, Next, Performed, Rest, Sight, Unseen, Wait};
use crate::act::{Action, Hit, SessionId, WayFaults, WayVerb};
use crate::config::{ServerId, Topology, Way, Wiring};
use crate::control::api::{RecordsQuery, RefusalCode};
use crate::control::client::ClientError;
use crate::control::herd::Herd;
use crate::control::merge::Merged;
use crate::control::names::{absent, refusal};
use crate::control::promise::Deed;
use crate::history::{Entry, Event, Fact, History, Observation};
use crate::time::{RealClock, Timestamp};
use crate::wire::{Command, Report, parse};
use client::{Client, Said};
use view::View;

/// How long a herd that is not at rest is left alone before it is asked again, if nothing is seen of it.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// How long nothing may be seen of a herd that does not tell all, before it counts as silent.
const SILENCE: Duration = Duration::from_millis(500);

/// A herd of one process or of several.
#[derive(Debug)]
pub struct RemoteDriver {
    herd: Herd,
    topology: Arc<Topology>,
    wiring: Wiring,
    clock: RealClock,
    events: Merged,
    view: View,
    started: Timestamp,
    /// What was seen and nobody has asked for yet.
    seen: VecDeque<Next>,
    /// What this driver did, until the processes tell of it.
    own: Vec<Action>,
    /// When something happened last.
    stirred: Timestamp,
    ledger: Ledger,
    clients: BTreeMap<SessionId, Client>,
    /// What clients of this driver see.
    said: mpsc::UnboundedReceiver<Said>,
    says: mpsc::UnboundedSender<Said>,
}

impl RemoteDriver {
    /// Begins to drive a herd that is up. It goes on when the driver is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if the herd does not answer, or is a single process of one.
    pub async fn attach(herd: Herd) -> Result<Self, ClientError> {
        // One that was found by the name of its process has not been asked how it stands.
        let herd = herd.again().await.unwrap_or(herd);
        let topology = Arc::new(herd.topology().await?);
        if herd.status().await?.servers.len() < topology.servers.len() {
            let part = format!("`{}` is one process of a herd; a scenario is played on all of it", herd.name);
            return Err(ClientError::Refused(refusal(RefusalCode::Invalid, part)));
        }
        let events = Merged::follow(&herd, Some(0)).await?;
        // Asked after the events began, so that nothing is missed in between. What is seen twice is seen as it is.
        let herd = herd.again().await.unwrap_or(herd);
        let (says, said) = mpsc::unbounded_channel();
        let mut view = View::of(&topology, &herd.status().await?);
        let clock = RealClock::start();
        let started = clock.now();
        let mut seen = VecDeque::new();
        for server in topology.ids().filter(|&server| !events.has_feed_of(topology.name(server))) {
            if ask::listens(view.address(server)).await {
                view.is_outside(server);
            } else {
                let reason = "no process of the herd runs it, and nobody listens at its address".into();
                let event = Event::Crashed { server, life: 1, reason };
                seen.push_back(Next::Seen(Observation { at: started, event }));
            }
        }
        Ok(Self {
            view,
            wiring: Wiring::of(&topology),
            clock,
            started,
            seen,
            own: Vec::new(),
            stirred: started,
            ledger: Ledger::default(),
            clients: BTreeMap::new(),
            herd,
            topology,
            events,
            said,
            says,
        })
    }

    /// Returns what the observations are about: the herd's history without entries.
    pub fn history(&self) -> &History {
        &self.events.history
    }

    /// Returns what the herd was made of.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Returns when the driver began to drive.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Returns `true` if a server is not there: its process was not started, or has ended since.
    pub fn is_absent(&self, server: ServerId) -> bool {
        self.sight(server) == Sight::Inside && !self.events.has_feed_of(self.topology.name(server))
    }

    /// Takes in everything that the processes have observed by now.
    async fn catch_up(&mut self) {
        for entry in self.events.catch_up().await {
            self.see(entry);
        }
        self.miss_vanished();
    }

    fn see(&mut self, entry: Entry) {
        self.view.see(&entry);
        self.stirred = entry.at;
        match entry.fact {
            Fact::Saw(mut event) => {
                self.tell_client(&mut event);
                self.seen.push_back(Next::Seen(Observation { at: entry.at, event }));
            }
            Fact::LeftOut { entries } => self.seen.push_back(Next::Missed { entries }),
            Fact::Did { action, hit } => match self.own.iter().position(|own| *own == action) {
                Some(place) => drop(self.own.swap_remove(place)),
                None => self.seen.push_back(Next::Did { at: entry.at, action, hit }),
            },
            _ => {}
        }
    }

    /// Fills in which of the own clients a server tells about.
    fn tell_client(&mut self, event: &mut Event) {
        let Some(&server) = event.servers().first().copied() else { return };
        let mut of_server = self.clients.iter_mut().filter(|(_, client)| client.server.0 == server);
        let told = of_server.find_map(|(session, client)| client.is_told_about(event).then_some(*session));
        if let Event::Accepted { session, .. }
        | Event::Acknowledged { session, .. }
        | Event::Answered { session, .. }
        | Event::Refused { session, .. } = event
        {
            *session = told;
        }
    }

    /// The servers of processes that have gone have crashed.
    fn miss_vanished(&mut self) {
        let gone = |&server: &ServerId| self.view.is_up(server) && self.is_absent(server);
        let gone: Vec<ServerId> = self.topology.ids().filter(gone).collect();
        for server in gone {
            let event =
                Event::Crashed { server, life: self.view.life_number(server), reason: "its process is gone".into() };
            self.see(Entry { at: self.now(), step: None, fact: Fact::Saw(event) });
            self.seen.push_back(Next::Missed { entries: 0 });
        }
    }

    /// Takes in everything that clients of this driver and processes have observed by now.
    async fn take_all(&mut self) {
        while let Ok(said) = self.said.try_recv() {
            self.hear(said).await;
        }
        self.catch_up().await;
    }

    /// Takes in what a client of this driver saw, behind what its servers did before that.
    async fn hear(&mut self, Said { at, event }: Said) {
        self.catch_up().await;
        self.see(Entry { at: at.max(self.stirred), step: None, fact: Fact::Saw(event) });
    }

    /// Returns whether no process has anything to do, and no line is on its way between two; `None` if something is to be done.
    async fn rest(&self) -> Option<Rest> {
        let is_awaited = |client: &Client| !client.is_answered() && self.can_answer(client.server.0);
        if self.clients.values().any(is_awaited) {
            return None;
        }
        // Two rounds: what was the same in both was so in between, everywhere at once.
        let (first, second) = (self.herd.work().await.ok()?, self.herd.work().await.ok()?);
        let can_answer = |name: &String| self.topology.server(name).is_some_and(|server| self.view.is_up(server));
        if !are_at_rest(&first, &second, can_answer) {
            return None;
        }
        let has_outside = self.topology.ids().any(|server| self.sight(server) == Sight::Outside);
        // Nobody tells when a line was read that gets no reply.
        let unanswered = self.clients.values().filter_map(|client| client.silent_since).max();
        let Some(since) = unanswered.max(has_outside.then_some(self.stirred)) else { return Some(Rest::Certain) };
        (self.now() >= since + SILENCE).then_some(Rest::Silent { since })
    }

    /// Returns `true` if a server runs and is not frozen.
    fn can_answer(&self, server: ServerId) -> bool {
        self.port(server).is_some() && !self.view.is_paused(server)
    }

    /// Looks for processes that have been started since.
    async fn look_again(&mut self) {
        if let Some(herd) = self.herd.again().await {
            self.herd = herd;
        }
    }

    async fn perform_all(&mut self, actions: &[Action]) -> Result<Vec<(Timestamp, Action, Hit)>, DriverError> {
        if actions.iter().any(|action| self.herd.owner(&self.topology, action).is_none()) {
            self.look_again().await;
        }
        let done = self.herd.perform(&self.topology, &self.wiring, actions).await;
        let done = done.map(|done| done.deeds.into_iter().map(|deed| self.numbered(deed)).collect::<Vec<_>>());
        self.own.extend(done.iter().flatten().map(|(_, action, _)| action.clone()));
        // What was refused may have been begun: servers that were started for it are seen, too.
        self.catch_up().await;
        done.map_err(|error| DriverError::Process(error.to_string()))
    }

    /// Returns a deed with servers for its names, which are those of the herd's file.
    fn numbered(&self, deed: Deed) -> (Timestamp, Action, Hit) {
        let Deed { at, action, hit } = deed;
        let mut server = |name: String| self.topology.server(&name).ok_or(name);
        let action = action.map(&mut server).expect("a process does what it was asked");
        (Timestamp::from_nanoseconds(at), action, hit)
    }

    fn send(
        &mut self,
        session: SessionId,
        server: ServerId,
        bytes: bytes::Bytes,
        finish: bool,
    ) -> Result<Hit, DriverError> {
        if self.ledger.write(session, server, finish, &self.topology)? {
            let address = self.view.address(server);
            let life = self.view.life(server);
            self.clients.insert(session, Client::open(session, address, (server, life), self.clock, self.says.clone()));
        }
        let is_open = self.is_alive(session);
        if !is_open || self.clients.get_mut(&session).is_none_or(|client| !client.send(bytes.clone(), finish)) {
            let event = Event::SessionLost { session, unanswered: commands(&bytes) };
            self.seen.push_back(Next::Seen(Observation { at: self.now(), event }));
        }
        Ok(Hit::default())
    }

    /// Returns `true` if the connection of a session and the life of its server have not ended.
    fn is_alive(&self, session: SessionId) -> bool {
        self.clients.get(&session).is_some_and(|client| {
            let (server, life) = client.server;
            client.is_open() && self.view.life(server) == life && !self.is_absent(server)
        })
    }

    fn close(&mut self, session: SessionId) -> Hit {
        self.ledger.close(session);
        let is_closed = self.clients.remove(&session).is_some_and(Client::close);
        Hit { connections: u64::from(is_closed), ..Hit::default() }
    }
}

impl Driver for RemoteDriver {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn check(&self, action: &Action) -> Result<(), DriverError> {
        let name = |server| self.topology.name(server).clone();
        let server = match *action {
            Action::Server(server, _) => server,
            Action::Way(way, _) if self.wiring.link(way).is_none() => {
                return Err(DriverError::NoLink { from: name(way.from), to: name(way.to) });
            }
            // Nothing stands on a way whose process is gone.
            Action::Way(_, WayVerb::Heal | WayVerb::Release) => return Ok(()),
            Action::Way(way, _) => way.from,
            Action::Send { .. } | Action::Close(_) => return Ok(()),
        };
        if self.is_absent(server) { Err(DriverError::Process(absent(&name(server)))) } else { Ok(()) }
    }

    async fn apply(&mut self, action: Action) -> Result<Hit, DriverError> {
        match action {
            Action::Send { session, server, bytes, finish } => self.send(session, server, bytes, finish),
            Action::Close(session) => Ok(self.close(session)),
            Action::Server(..) | Action::Way(..) => {
                let done = self.perform_all(std::slice::from_ref(&action)).await?;
                Ok(done.first().map_or_else(Hit::default, |(_, _, hit)| *hit))
            }
        }
    }

    /// Does all actions, or none: no process is left with half of them, whichever is killed in the middle.
    async fn perform(&mut self, actions: Vec<Action>) -> Performed {
        match self.perform_all(&actions).await {
            Ok(done) => Performed { done, error: None },
            Err(error) => Performed { done: Vec::new(), error: Some(error) },
        }
    }

    async fn next(&mut self, wait: Wait) -> Next {
        let until = wait.limit();
        loop {
            if let Some(next) = self.seen.pop_front() {
                return next;
            }
            let is_quiescent = matches!(wait, Wait::Quiescent(_));
            let rest = if is_quiescent {
                // A process that is frozen does not answer.
                timeout_at(self.clock.instant(until).into(), self.rest()).await.ok().flatten()
            } else {
                None
            };
            let is_over = self.now() >= until;
            if is_quiescent || is_over {
                self.take_all().await;
            }
            if !self.seen.is_empty() {
                continue;
            }
            match rest {
                Some(rest) => return Next::Rested(rest),
                None if is_over => return Next::TimeUp,
                None => {}
            }
            let look = if is_quiescent { until.min(self.now() + ASK_AGAIN) } else { until };
            tokio::select! {
                entry = self.events.next() => match entry {
                    Ok(Some((entry, _))) => self.see(entry),
                    // A process has gone, or all have: then nothing will be seen any more.
                    Ok(None) | Err(_) => {
                        self.miss_vanished();
                        if self.seen.is_empty() {
                            sleep_until(self.clock.instant(look).into()).await;
                        }
                    }
                },
                Some(said) = self.said.recv() => self.hear(said).await,
                () = sleep_until(self.clock.instant(look).into()) => {}
            }
        }
    }

    fn sight(&self, server: ServerId) -> Sight {
        self.view.sight(server)
    }

    async fn probe(&mut self, server: ServerId, clients: &[Arc<str>]) -> Result<Vec<Option<Arc<Report>>>, Unseen> {
        if self.sight(server) == Sight::Outside {
            return ask::ask(self.view.address(server), clients).await;
        }
        let query = RecordsQuery { server: Some(self.topology.name(server).to_string()), client: None };
        let answer = self.herd.records(&query).await.map_err(|error| Unseen::NoAnswer(error.to_string()))?;
        if self.port(server).is_none() {
            return Err(Unseen::Down);
        }
        let report = |client: &Arc<str>| {
            let known = answer.records.iter().find(|record| *record.client == **client)?.known.as_ref()?;
            match parse(known.line.as_bytes()) {
                Command::At(line) => Some(Arc::new(line.to_report())),
                _ => None,
            }
        };
        Ok(clients.iter().map(report).collect())
    }

    fn is_linked(&self, server: ServerId) -> bool {
        let neighbours = self.wiring.neighbours(server).iter().map(|neighbour| neighbour.server);
        let ways = neighbours.flat_map(|other| [Way { from: server, to: other }, Way { from: other, to: server }]);
        ways.into_iter().all(|way| self.view.is_as_open_as_it_can_be(way, &self.wiring))
    }

    fn is_open(&self, session: SessionId) -> bool {
        self.ledger.may_write(session) && self.is_alive(session)
    }

    fn faults(&self, way: Way) -> WayFaults {
        self.view.faults(way)
    }

    fn is_paused(&self, server: ServerId) -> bool {
        self.view.is_paused(server) && !self.is_absent(server)
    }

    fn clock_offset(&self, server: ServerId) -> i64 {
        self.view.clock_offset(server)
    }

    fn port(&self, server: ServerId) -> Option<u16> {
        self.view.port(server).filter(|_| !self.is_absent(server))
    }
}
