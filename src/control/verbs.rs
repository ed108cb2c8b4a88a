//! A verb that the processes of a herd do together: the command's side.
//!
//! The verb is planned for the whole herd. Each action goes to the process of the server it is about, and one about a way to that
//! of the server that writes. Then all processes promise their parts, and are told to do them, as [`super::promise`] describes.
//!
//! Not here: a verb of a herd in one process, which that process plans ([`super::owner`]).

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::api::{Refusal, RefusalCode, ServerState, VerbAnswer};
use super::client::{ClientError, lost};
use super::herd::{Herd, Process};
use super::merge::Merged;
use super::names::{Names, absent, refusal, why_nothing};
use super::owner::LINKED_WITHIN;
use super::promise::{Answer, LaterPart, Line, Part, PartDone, Say, decision_of, too_late};
use crate::act::{Action, Later, Moment, ServerVerb, Verb, WayVerb};
use crate::config::{LinkMode, ServerId, Topology, Way, Wiring};
use crate::history::{Event, Fact};
use crate::time::{RealClock, Timestamp};
use crate::words::short;

/// A herd that something is done to.
struct Job<'a> {
    herd: &'a Herd,
    topology: &'a Topology,
    wiring: &'a Wiring,
}

/// A connection to a process that has a part.
struct Hand<'a> {
    process: &'a Process,
    /// What identifies the verb.
    id: String,
    line: Line<TokioIo<Upgraded>>,
    limit: Duration,
}

impl Herd {
    /// Does something to the herd. Several processes do it all, or none does.
    ///
    /// # Errors
    ///
    /// Returns an error if the herd refuses, or if a process that has a part ends before it is decided that the verb is done.
    pub async fn verb(&self, verb: &Verb<String>) -> Result<VerbAnswer, ClientError> {
        if !self.is_apart() {
            return self.connect(&self.processes[0]).await?.verb(verb).await;
        }
        let topology = self.topology().await?;
        let wiring = Wiring::of(&topology);
        let (_, plan) = Names::of(&topology, &wiring).plan(verb.clone()).map_err(ClientError::Refused)?;
        let job = Job { herd: self, topology: &topology, wiring: &wiring };
        if let Verb::RollingRestart { on } = verb {
            return job.rolling_restart(verb, on).await;
        }
        let ways = plan.now.iter().filter(|action| matches!(action, Action::Way(..))).count() as u64;
        let status = self.status().await?;
        let state =
            |name: &str| status.servers.iter().find(|server| server.server == name).expect("it is planned").state;
        let done = job.perform(Some(verb), &plan.now, &plan.later).await?;
        let warning = (!done.changed).then(|| why_nothing(verb, state));
        let mut answer = VerbAnswer { ways, warning, ..VerbAnswer::default() };
        done.deeds.iter().for_each(|deed| answer.hit(deed.hit));
        Ok(answer)
    }
}

impl Herd {
    /// Does actions in the processes that they are about: all of them, or none.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Self::verb`] does.
    pub async fn perform(
        &self,
        topology: &Topology,
        wiring: &Wiring,
        actions: &[Action],
    ) -> Result<PartDone, ClientError> {
        Job { herd: self, topology, wiring }.perform(None, actions, &[]).await
    }

    /// Returns the process that an action is about: that of its server, or of the server that writes to its way.
    pub fn owner(&self, topology: &Topology, action: &Action) -> Option<&Process> {
        let server = match action {
            Action::Server(server, _) => *server,
            Action::Way(way, _) => way.from,
            Action::Send { .. } | Action::Close(_) => return None,
        };
        self.process_of(topology.name(server))
    }
}

impl<'a> Job<'a> {
    /// Does actions, and others later, in the processes that they are about: all of them, or none.
    async fn perform(
        &self,
        asked: Option<&Verb<String>>,
        now: &[Action],
        later: &[Later],
    ) -> Result<PartDone, ClientError> {
        let parts = self.parts(asked, now, later).map_err(ClientError::Refused)?;
        let mut hands = Vec::with_capacity(parts.len());
        for (process, part) in parts {
            // One after the other, in an order that all commands keep: no two can wait for each other.
            let mut hand = Hand::to(self.herd, process, part.id.clone()).await?;
            hand.promise(part).await?;
            hands.push(hand);
        }
        // Hands that are dropped before this give their promises up.
        decide(hands).await
    }

    /// Returns the part of each process that has one, in the order of the processes.
    fn parts(
        &self,
        asked: Option<&Verb<String>>,
        now: &[Action],
        later: &[Later],
    ) -> Result<Vec<(&'a Process, Part)>, Refusal> {
        let clock = RealClock::start();
        let id = format!("{}-{}", std::process::id(), clock.now().nanoseconds());
        let empty = |id: &str| Part {
            id: id.to_owned(),
            asked: None,
            now: Vec::new(),
            reflected: Vec::new(),
            later: Vec::new(),
            order: Vec::new(),
        };
        let mut parts: BTreeMap<&str, (&Process, Part)> = BTreeMap::new();
        let mut part_of = |process: &'a Process, put: &mut dyn FnMut(&mut Part)| {
            put(&mut parts.entry(&process.control).or_insert_with(|| (process, empty(&id))).1);
        };
        for action in now {
            let owner = match self.owner(action) {
                // Nothing stands on a way whose process is gone, so nothing is to be taken back there.
                Err(_) if matches!(action, Action::Way(_, WayVerb::Heal | WayVerb::Release)) => continue,
                owner => owner?,
            };
            part_of(owner, &mut |part| part.now.push(self.named(action)));
            if let Action::Way(way, _) = action
                && let Some(reader) = self.herd.process_of(self.topology.name(way.to))
                && reader.control != owner.control
            {
                part_of(reader, &mut |part| part.reflected.push(self.named(action)));
            }
        }
        for Later { moment, actions } in later {
            let Moment::After(after) = *moment else { continue };
            for process in &self.herd.processes {
                let is_own = |action: &&Action| self.owner(action).is_ok_and(|owner| owner.control == process.control);
                let actions: Vec<_> = actions.iter().filter(is_own).map(|action| self.named(action)).collect();
                if !actions.is_empty() {
                    part_of(process, &mut |part| part.later.push(LaterPart { after, actions: actions.clone() }));
                }
            }
        }
        if let (true, Some(action)) = (parts.is_empty(), now.first()) {
            self.owner(action)?;
        }
        let order: Vec<String> = parts.keys().map(|&control| control.to_owned()).collect();
        let mut parts: Vec<_> = parts.into_values().collect();
        for (_, part) in &mut parts {
            part.order = order.clone();
        }
        if let Some((_, first)) = parts.first_mut() {
            first.asked = asked.cloned();
        }
        Ok(parts)
    }

    fn owner(&self, action: &Action) -> Result<&'a Process, Refusal> {
        let server = match action {
            Action::Way(way, _) => way.from,
            Action::Server(server, _) => *server,
            Action::Send { .. } | Action::Close(_) => unreachable!("no verb is what a client does"),
        };
        let no_process = || refusal(RefusalCode::CouldNot, absent(self.topology.name(server)));
        self.herd.owner(self.topology, action).ok_or_else(no_process)
    }

    fn named(&self, action: &Action) -> Action<String> {
        let mut name = |server: ServerId| Ok::<_, std::convert::Infallible>(self.topology.name(server).to_string());
        let Ok(named) = action.clone().map(&mut name);
        named
    }

    /// Restarts servers one after the other, each once the links of the one before are back.
    async fn rolling_restart(&self, verb: &Verb<String>, on: &[String]) -> Result<VerbAnswer, ClientError> {
        let mut answer = VerbAnswer::default();
        // None is restarted if one has no process.
        let servers: Vec<_> = on.iter().filter_map(|name| self.topology.server(name)).collect();
        for server in &servers {
            self.owner(&ServerVerb::Restart.on(*server)).map_err(ClientError::Refused)?;
        }
        for (place, server) in servers.into_iter().enumerate() {
            let restarted = async {
                let mut events = Merged::follow(self.herd, Some(0)).await?;
                let asked = Some(verb).filter(|_| place == 0);
                let done = self.perform(asked, &[ServerVerb::Restart.on(server)], &[]).await?;
                self.wait_until_linked(server, &mut events).await?;
                Ok(done)
            };
            match restarted.await {
                Ok(done) => done.deeds.iter().for_each(|deed| answer.hit(deed.hit)),
                Err(ClientError::Refused(mut refusal)) => {
                    refusal.error.push_str("; the servers before it are restarted, those after it are not");
                    return Err(ClientError::Refused(refusal));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    }

    /// Waits until every way from and to a server that has just been restarted is open, as far as it can be.
    async fn wait_until_linked(&self, server: ServerId, events: &mut Merged) -> Result<(), ClientError> {
        let mut closed = self.ways_that_can_open(server).await;
        let mut ended: Option<Timestamp> = None;
        let linked = async {
            while !closed.is_empty() {
                let Some((entry, _)) = events.next().await? else { break };
                match entry.fact {
                    Fact::Saw(Event::Killed { server: of, .. } | Event::Started { server: of, .. }) if of == server => {
                        ended.get_or_insert(entry.at);
                    }
                    // One that opened before the end is to open anew.
                    Fact::Saw(Event::LinkUp { way, .. }) if ended.is_some() => closed.retain(|other| *other != way),
                    _ => {}
                }
            }
            Ok(())
        };
        let in_time = timeout(LINKED_WITHIN, linked).await;
        in_time.unwrap_or_else(|_| {
            let name = self.topology.name(server);
            let late = format!("the links of {name} are not back after {}", short(LINKED_WITHIN));
            Err(ClientError::Refused(refusal(RefusalCode::CouldNot, late)))
        })
    }

    /// Returns the ways from and to a server that stay open, and whose other end runs and is not cut off.
    async fn ways_that_can_open(&self, server: ServerId) -> Vec<Way> {
        let status = match self.herd.again().await {
            Some(herd) => herd.status().await.ok(),
            None => None,
        };
        let Some(status) = status else { return Vec::new() };
        let is_up = |other: ServerId| status.servers[other.index()].state == ServerState::Up;
        let name = |server: ServerId| &**self.topology.name(server);
        let stands = |way: &Way| {
            let fault = status.faults.iter().find(|fault| fault.from == name(way.from) && fault.to == name(way.to));
            fault.is_none_or(|fault| !(fault.standing.cut || fault.standing.half_open))
        };
        let neighbours = self.wiring.neighbours(server).iter();
        let neighbours = neighbours.filter(|other| other.mode == LinkMode::Persistent && is_up(other.server));
        let ways = neighbours.flat_map(|other| {
            let way = Way { from: server, to: other.server };
            [way, way.back()]
        });
        ways.filter(stands).collect()
    }
}

/// Tells the processes one after the other to do what they have promised, and waits for all of them.
async fn decide(hands: Vec<Hand<'_>>) -> Result<PartDone, ClientError> {
    let order: Vec<_> = hands.iter().map(|hand| (hand.id.clone(), hand.process.control.clone(), hand.limit)).collect();
    let mut decided = Vec::with_capacity(hands.len());
    for mut hand in hands {
        match hand.decide().await {
            Ok(()) => decided.push(hand),
            // The decision stands without a process that has ended since it was taken.
            Err(ClientError::Lost { .. }) if !decided.is_empty() && !hand.is_there().await => {}
            Err(error) => {
                settle(&order, error).await?;
                break;
            }
        }
    }
    let mut all = PartDone { changed: decided.len() < order.len(), ..PartDone::default() };
    let mut failed = None;
    for mut hand in decided {
        match hand.done().await {
            Ok(done) => {
                all.changed |= done.changed;
                all.deeds.extend(done.deeds);
            }
            Err(error @ ClientError::Refused(_)) => failed = failed.or(Some(error)),
            // It has done its part, or has ended, and then nothing of it is left.
            Err(_) => all.changed = true,
        }
    }
    all.deeds.sort_by_key(|deed| deed.at);
    failed.map_or(Ok(all), Err)
}

/// Finds out whether the verb is done, after a process failed to take the decision: others may have decided meanwhile.
///
/// # Errors
///
/// Returns `error` if it is not done, and another error if that cannot be found out in time.
async fn settle(order: &[(String, String, Duration)], error: ClientError) -> Result<(), ClientError> {
    let mut done = false;
    for (id, control, limit) in order {
        let decision = timeout(*limit, decision_of(id, done, control)).await;
        let late = |_| ClientError::Late { herd: control.clone(), limit: *limit };
        done = decision.map_err(late)?.unwrap_or(done);
    }
    if done { Ok(()) } else { Err(error) }
}

impl<'a> Hand<'a> {
    async fn to(herd: &Herd, process: &'a Process, id: String) -> Result<Self, ClientError> {
        let line = herd.connect(process).await?.parts().await?;
        Ok(Self { process, id, line, limit: herd.limit() })
    }

    async fn promise(&mut self, part: Part) -> Result<(), ClientError> {
        self.line.say(&Say::Promise(part)).await;
        match self.answer().await? {
            Answer::Promised => Ok(()),
            answer => Err(self.refused(answer)),
        }
    }

    async fn decide(&mut self) -> Result<(), ClientError> {
        self.line.say(&Say::Decide(true)).await;
        match self.answer().await? {
            Answer::Decided => Ok(()),
            answer => Err(self.refused(answer)),
        }
    }

    async fn done(&mut self) -> Result<PartDone, ClientError> {
        match self.answer().await? {
            Answer::Done(done) => Ok(done),
            answer => Err(self.refused(answer)),
        }
    }

    async fn answer(&mut self) -> Result<Answer, ClientError> {
        let herd = &self.process.control;
        let heard = timeout(self.limit, self.line.hear()).await;
        let heard = heard.map_err(|_| ClientError::Late { herd: herd.clone(), limit: self.limit })?;
        heard.ok_or_else(|| lost(herd, &std::io::Error::from(std::io::ErrorKind::UnexpectedEof)))
    }

    fn refused(&self, answer: Answer) -> ClientError {
        match answer {
            Answer::Refused(refusal) => ClientError::Refused(refusal),
            _ => ClientError::Refused(too_late()),
        }
    }

    /// Returns `false` if the process has ended. One that is just being killed may still be there for a moment.
    async fn is_there(&self) -> bool {
        decision_of(&self.id, true, &self.process.control).await.is_some()
    }
}
