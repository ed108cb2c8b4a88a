//! Asking servers that the driver sees from outside only: which ones, about which clients, and when.
//!
//! Only what claims need is asked ([`Needs`]), and of no more than [`CLIENTS`] clients. What servers hold at a moment is asked at
//! that moment. Where a claim is about times, servers are asked all along, as long as one may lack something, at intervals that
//! grow with the time it takes. Not here: what an answer proves ([`crate::checker`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Runner;
use super::milestone::asks_for_records;
use crate::claim::{Needs, Scope, StepId, When};
use crate::config::ServerId;
use crate::driver::{Driver, Next, Wait};
use crate::history::{Event, Fact, Sight};
use crate::scenario::Script;
use crate::time::Timestamp;
use crate::wire::{Command, Report, next_line, parse};

/// Clients that servers are asked about, at most: each question may cost a server of somebody else a search for places.
const CLIENTS: usize = 100;

/// The shortest and the longest time between two rounds of questions while a server may lack something.
const PAUSE: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(250)];

/// The part of the time since the last disturbance that passes between two rounds: times are known to within a twentieth.
const PART: u32 = 20;

/// What is to be asked, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// Those that the driver sees from outside only. Where there are none nothing is ever asked.
    outside: Vec<ServerId>,
    down: BTreeSet<ServerId>,
    /// Whether a claim, or a step that waits for a record, needs to know when servers got to know something.
    follows: bool,
    /// What the clients of the script wrote, as far as it is known: by client the newest.
    newest: BTreeMap<Arc<str>, Arc<Report>>,
    /// What each server showed last.
    shown: BTreeMap<(ServerId, Arc<str>), Option<Arc<Report>>>,
    /// When something happened last that others may get to know later.
    stirred: Timestamp,
    /// When who may lack something is to be asked again.
    due: Option<Timestamp>,
    /// Whether they were asked when the herd had come to rest, and nothing happened since.
    is_settled: bool,
}

impl Probing {
    pub(super) fn new(script: &Script, driver: &impl Driver) -> Self {
        let outside = script.topology.ids().filter(|&server| driver.sight(server) == Sight::Outside).collect();
        let of_checks = script.checks.iter().map(|check| check.assertion.needs());
        let of_limits = script.thresholds.iter().map(|threshold| threshold.metric.needs());
        let follows = of_checks.chain(of_limits).any(|needs| matches!(needs, Needs::Changes { .. }))
            || script.steps.iter().any(asks_for_records);
        Self { outside, follows, ..Self::default() }
    }

    /// Returns `true` if the driver sees a server from outside only.
    pub(super) fn is_outside(&self, server: ServerId) -> bool {
        self.outside.contains(&server)
    }

    /// Returns `true` if no server has to be asked for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.outside.is_empty()
    }

    /// Takes note of an event. Returns the report that it shows to exist, if it does.
    pub(super) fn follow(&mut self, now: Timestamp, event: &Event) -> Option<Arc<Report>> {
        if self.is_idle() {
            return None;
        }
        if let Some(&server) = event.ended() {
            self.down.insert(server);
            self.shown.retain(|(of, _), _| *of != server);
        }
        if let Event::Started { server, .. } = event {
            self.down.remove(server);
            self.stir(now);
        }
        let report = match event {
            Event::Replied { reply, .. } => first_report(reply),
            Event::Accepted { report, .. } => Some(report.clone()),
            _ => None,
        }?;
        let is_newer = self.newest.get(report.client()).is_none_or(|known| report.at().version_cmp(known.at()).is_gt());
        if is_newer && (self.newest.len() < CLIENTS || self.newest.contains_key(report.client())) {
            self.newest.insert(report.client().into(), report.clone());
            self.stir(now);
        }
        Some(report)
    }

    /// Something happened that others may get to know later.
    pub(super) fn stir(&mut self, now: Timestamp) {
        self.stirred = now;
        self.is_settled = false;
        self.plan(now);
    }

    fn plan(&mut self, now: Timestamp) {
        let pause = (now.since(self.stirred) / PART).clamp(PAUSE[0], PAUSE[1]);
        self.due = (self.follows && !self.behind().is_empty()).then(|| now + pause);
    }

    /// Returns when who may lack something is to be asked.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Returns `true` if a server may lack something, and was not asked in this rest of the herd.
    pub(super) fn is_unsettled(&self) -> bool {
        self.follows && !self.is_settled && !self.behind().is_empty()
    }

    /// Returns which servers may lack what.
    fn behind(&self) -> BTreeMap<ServerId, Vec<Arc<str>>> {
        let mut behind = BTreeMap::<_, Vec<_>>::new();
        for &server in self.outside.iter().filter(|server| !self.down.contains(server)) {
            for (client, newest) in &self.newest {
                let shown = self.shown.get(&(server, client.clone())).and_then(Option::as_ref);
                if shown.is_none_or(|shown| shown.at().version_cmp(newest.at()).is_lt()) {
                    behind.entry(server).or_default().push(client.clone());
                }
            }
        }
        behind
    }

    /// Returns whom to ask what for claims that need `needs`.
    fn wanted<'n>(&self, needs: impl IntoIterator<Item = Needs<'n>>) -> BTreeMap<ServerId, Vec<Arc<str>>> {
        let mut wanted = BTreeMap::<_, BTreeSet<Arc<str>>>::new();
        for needs in needs {
            let (Needs::Records { client, scope } | Needs::Changes { client, scope }) = needs else { continue };
            let is_in = |server: &&ServerId| match &scope {
                Scope::Servers(servers) => servers.contains(server),
                Scope::Core | Scope::Running => true,
            };
            for &server in self.outside.iter().filter(is_in).filter(|server| !self.down.contains(server)) {
                let clients = wanted.entry(server).or_default();
                match client {
                    Some(client) => drop(clients.insert(client.into())),
                    None => clients.extend(self.newest.keys().cloned()),
                }
            }
        }
        wanted.into_iter().map(|(server, clients)| (server, clients.into_iter().collect())).collect()
    }
}

/// Returns the report that a reply begins with.
fn first_report(reply: &[u8]) -> Option<Arc<Report>> {
    let (line, _) = next_line(reply, 0)?;
    match parse(line) {
        Command::At(at) => Some(Arc::new(at.to_report())),
        _ => None,
    }
}

impl<D: Driver> Runner<'_, D> {
    /// Asks the servers that may lack something, if it is time to.
    pub(super) async fn ask_if_due(&mut self) {
        if self.probing.due.is_some_and(|due| due <= self.driver.now()) {
            self.ask_who_may_lack().await;
        }
    }

    /// Asks the servers that may lack something.
    async fn ask_who_may_lack(&mut self) {
        self.ask(self.probing.behind()).await;
        self.probing.plan(self.driver.now());
    }

    /// Asks the servers that may lack something once more in a herd at rest.
    pub(super) async fn ask_at_rest(&mut self) {
        self.probing.is_settled = true;
        self.ask_who_may_lack().await;
    }

    /// Asks what the checks of a step need that are about the moment at which it begins.
    pub(super) async fn ask_for_step(&mut self, step: StepId) {
        if self.probing.is_idle() {
            return;
        }
        let here = self.script.checks.iter().filter(|check| check.when == When::Here && check.step == Some(step));
        self.ask(self.probing.wanted(here.map(|check| check.assertion.needs()))).await;
    }

    /// Asks what claims need that are about the end.
    pub(super) async fn ask_for_the_end(&mut self) {
        if self.probing.is_idle() {
            return;
        }
        let checks = self.script.checks.iter().filter(|check| check.when != When::Here);
        let limits = self.script.thresholds.iter().map(|threshold| threshold.metric.needs());
        self.ask(self.probing.wanted(checks.map(|check| check.assertion.needs()).chain(limits))).await;
    }

    async fn ask(&mut self, questions: BTreeMap<ServerId, Vec<Arc<str>>>) {
        for (server, clients) in questions {
            let asked = self.history.entries.len() as u32;
            self.record(self.current, Fact::Probing { server });
            let answer = self.driver.probe(server, &clients).await;
            self.take_what_was_seen().await;
            let reports = match answer {
                Ok(reports) => reports,
                Err(why) => {
                    let reason = why.to_string().into();
                    self.record(self.current, Fact::Unanswered { server, asked, reason });
                    continue;
                }
            };
            for (client, report) in clients.into_iter().zip(reports) {
                if let Some(report) = &report {
                    self.held.shown(server, report);
                }
                self.probing.shown.insert((server, client.clone()), report.clone());
                self.record(self.current, Fact::Probed { server, asked, client, report });
            }
        }
    }

    /// Takes what happened while a server was asked: it comes before the answer.
    async fn take_what_was_seen(&mut self) {
        let now = self.driver.now();
        loop {
            match self.driver.next(Wait::Until(now)).await {
                Next::Seen(observation) => self.see(observation),
                Next::Did { at, action, hit } => self.see_done(at, action, hit),
                Next::Missed { entries } => self.record(self.current, Fact::LeftOut { entries }),
                Next::Rested(_) | Next::TimeUp => return,
            }
        }
    }
}
