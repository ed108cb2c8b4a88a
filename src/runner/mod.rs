//! Replays a script on a driver and records what happens.
//!
//! A plain loop that does not know which driver it has: it does what is due, asks for the next observation, and looks whether
//! what it waits for has happened. It never sleeps. Not here: whether what happened is right ([`crate::checker`]).

mod agenda;
mod milestone;
mod talk;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::driver::{Action, Driver, DriverError, Event, Observation, SessionId, Wait, Wiring};
use crate::herd::Verb;
use crate::history::{Comparison, Fact, History, Origin, StepId};
use crate::scenario::{STEP_DEADLINE, Script, SessionKey, Task, Until, When};
use crate::time::Timestamp;
use agenda::{Agenda, Planned};
use milestone::{Held, Watch};
use talk::Talking;
use workload::Running;

/// Told while a script runs, for people who wait.
pub trait Progress {
    /// A step begins.
    fn step(&self, step: StepId);
}

/// Nobody waits.
impl Progress for () {
    fn step(&self, _: StepId) {}
}

/// One run of a script. What has happened so far is in it at any time, so it may be given up half-way.
pub struct Runner<'a, D> {
    script: &'a Script,
    driver: &'a mut D,
    wiring: Arc<Wiring>,
    history: History,
    /// The step under way.
    current: Option<StepId>,
    agenda: Agenda,
    watches: Vec<(Watch, StepId)>,
    held: Held,
    talking: Talking,
    workloads: BTreeMap<StepId, Running>,
    failed: bool,
}

/// What the script waits for.
#[derive(Debug)]
enum Goal {
    /// A time.
    Time(Timestamp),
    /// All replies on this connection.
    Replies(SessionId),
    /// A workload has said everything and heard all replies.
    Workload(StepId),
    Quiescent,
    /// Everything planned has happened.
    Done,
    Milestone(Watch),
}

impl<'a, D: Driver> Runner<'a, D> {
    /// A run that has not begun.
    pub fn new(script: &'a Script, seed: u64, origin: Arc<Origin>, wiring: Arc<Wiring>, driver: &'a mut D) -> Self {
        let history = History::new(origin, seed, driver.now());
        let follows_records = script.steps.iter().any(milestone::asks_for_records);
        Self {
            script,
            driver,
            wiring,
            history,
            current: None,
            agenda: Agenda::default(),
            watches: Vec::new(),
            held: Held::new(follows_records),
            talking: Talking::default(),
            workloads: BTreeMap::new(),
            failed: false,
        }
    }

    /// Runs the script to its end.
    ///
    /// # Errors
    ///
    /// When the driver cannot do what the script asks, as when a port is taken. What does not go as the script says is in the
    /// history.
    pub async fn run(&mut self, progress: &impl Progress) -> Result<(), DriverError> {
        let begun = self.driver.now();
        let end = self.script.deadline.map_or(Timestamp::MAX, |deadline| begun + deadline);
        // The links come up first: a script begins with a herd that is whole.
        self.reach(&Goal::Quiescent, (begun + STEP_DEADLINE).min(end)).await?;
        let begun = self.driver.now();
        for number in 0..self.script.steps.len() {
            let step = StepId(number as u32);
            progress.step(step);
            self.take(step, begun, end).await?;
            if self.failed {
                break;
            }
        }
        self.finish(end).await
    }

    /// What happened.
    pub fn into_history(self) -> History {
        self.history
    }

    /// Does a step in its turn, or plans it.
    async fn take(&mut self, id: StepId, begun: Timestamp, end: Timestamp) -> Result<(), DriverError> {
        let step = &self.script.steps[id.index()];
        let now = self.driver.now();
        match &step.when {
            When::InTurn => return self.take_in_turn(id, end).await,
            When::At(after) => self.agenda.add(begun + *after, Planned::Step(id)),
            When::After(after) => self.agenda.add(now + *after, Planned::Step(id)),
            When::Milestone(milestone) => self.watches.push((Watch::new(milestone.clone()), id)),
        }
        Ok(())
    }

    async fn take_in_turn(&mut self, id: StepId, end: Timestamp) -> Result<(), DriverError> {
        let step = &self.script.steps[id.index()];
        self.current = Some(id);
        self.record(Some(id), Fact::StepBegan);
        let begun = self.driver.now();
        let goal = self.begin(id).await?;
        if let Some(goal) = goal {
            let deadline = (begun + step.asked() + step.deadline).min(end);
            if !self.reach(&goal, deadline).await? {
                self.overdue(id, deadline == end);
            }
            if let Goal::Quiescent = goal {
                let quiescent = self.driver.quiescent();
                self.record(Some(id), Fact::Quiescent(quiescent));
            }
        }
        self.compare(id);
        self.record(Some(id), Fact::StepEnded);
        Ok(())
    }

    /// Does what a step says; what has to happen for it to be done.
    async fn begin(&mut self, id: StepId) -> Result<Option<Goal>, DriverError> {
        let step = &self.script.steps[id.index()];
        match &step.task {
            Task::Talk(talk) => {
                let session = self.say(id, talk).await?;
                Ok(Some(Goal::Replies(session)))
            }
            Task::Workload(workload) => {
                let running = Running::new(workload, id, self.history.seed, self.driver.now());
                let (first, background) = (running.due(), workload.background);
                self.workloads.insert(id, running);
                self.agenda.add(first, Planned::Command(id));
                Ok((!background).then_some(Goal::Workload(id)))
            }
            Task::Close { session } => self.close(id, session).await,
            Task::Herd(verbs) => self.break_or_mend(id, verbs).await,
            Task::Until(Until::Quiescent) => Ok(Some(Goal::Quiescent)),
            Task::Until(Until::Done) => Ok(Some(Goal::Done)),
            Task::Until(Until::Milestone(milestone)) => Ok(Some(Goal::Milestone(Watch::new(milestone.clone())))),
            Task::Wait(duration) => {
                self.record(Some(id), Fact::Waited(*duration));
                Ok(Some(Goal::Time(self.driver.now() + *duration)))
            }
            Task::Check => Ok(None),
        }
    }

    async fn break_or_mend(&mut self, id: StepId, verbs: &[Verb]) -> Result<Option<Goal>, DriverError> {
        let topology = &self.script.topology;
        for verb in verbs {
            for action in verb.actions(topology, &self.wiring) {
                self.apply(id, action).await?;
            }
            let now = self.driver.now();
            if let Some((after, actions)) = verb.later(topology, &self.wiring) {
                self.agenda.add(now + after, Planned::Actions(id, actions));
            }
            if let Some(lasting) = self.script.steps[id.index()].lasting {
                self.agenda.add(now + lasting, Planned::Actions(id, verb.mending(topology, &self.wiring)));
            }
        }
        Ok(None)
    }

    async fn close(&mut self, id: StepId, key: &SessionKey) -> Result<Option<Goal>, DriverError> {
        if let Some(session) = self.talking.forget(key) {
            self.apply(id, Action::Close(session)).await?;
        }
        Ok(None)
    }

    async fn apply(&mut self, step: StepId, action: Action) -> Result<(), DriverError> {
        let at = self.driver.now();
        let hit = self.driver.apply(action.clone()).await?;
        self.history.push(at, Some(step), Fact::Did { action, hit });
        Ok(())
    }

    /// Lets time pass until the goal is reached; `false` when it is not by the deadline.
    async fn reach(&mut self, goal: &Goal, deadline: Timestamp) -> Result<bool, DriverError> {
        let mut watch = match goal {
            Goal::Milestone(watch) => Some(watch.clone()),
            _ => None,
        };
        loop {
            self.do_what_is_due().await?;
            let until = self.agenda.next().unwrap_or(Timestamp::MAX).min(deadline);
            let (reached, wait) = match goal {
                Goal::Time(time) => (self.driver.now() >= *time, Wait::Until(until.min(*time))),
                Goal::Replies(session) => (self.talking.awaited(*session) == 0, Wait::Until(until)),
                Goal::Workload(step) => (self.is_workload_done(*step), Wait::Until(until)),
                Goal::Done => (self.agenda.is_empty() && self.talking.all_awaited() == 0, Wait::Until(until)),
                Goal::Quiescent => (false, Wait::Quiescent(until)),
                Goal::Milestone(_) => {
                    (watch.as_ref().is_some_and(|watch| watch.is_reached(&self.held)), Wait::Until(until))
                }
            };
            if reached {
                return Ok(true);
            }
            match self.driver.next(wait).await {
                Some(observation) => self.see(observation, watch.as_mut()),
                None if matches!(goal, Goal::Quiescent) && self.driver.quiescent() => return Ok(true),
                None if self.driver.now() >= deadline => return Ok(false),
                None => {}
            }
        }
    }

    /// Everything on the agenda whose time has come.
    async fn do_what_is_due(&mut self) -> Result<(), DriverError> {
        self.plan_reached_milestones();
        while let Some(planned) = self.agenda.pop(self.driver.now()) {
            match planned {
                Planned::Step(step) => self.do_planned(step).await?,
                Planned::Actions(step, actions) => {
                    for action in actions {
                        self.apply(step, action).await?;
                    }
                }
                Planned::Command(step) => self.say_next(step).await?,
            }
        }
        Ok(())
    }

    /// A step that is not done in its turn is not waited for.
    async fn do_planned(&mut self, step: StepId) -> Result<(), DriverError> {
        self.record(Some(step), Fact::StepBegan);
        self.begin(step).await?;
        self.record(Some(step), Fact::StepEnded);
        Ok(())
    }

    fn plan_reached_milestones(&mut self) {
        let now = self.driver.now();
        let (agenda, held) = (&mut self.agenda, &self.held);
        self.watches.retain(|(watch, step)| {
            let reached = watch.is_reached(held);
            if reached {
                agenda.add(now, Planned::Step(*step));
            }
            !reached
        });
    }

    fn see(&mut self, observation: Observation, watch: Option<&mut Watch>) {
        match &observation.event {
            Event::Replied { session, reply } => self.talking.heard(*session, reply),
            Event::SessionLost { session, .. } => self.talking.lost(*session),
            event => {
                self.held.follow(event);
                for watch in watch.into_iter().chain(self.watches.iter_mut().map(|(watch, _)| watch)) {
                    watch.follow(event);
                }
            }
        }
        self.history.saw(self.current, observation);
    }

    fn is_workload_done(&self, step: StepId) -> bool {
        self.workloads.get(&step).is_none_or(Running::is_over) && self.talking.all_awaited() == 0
    }

    /// Lets everything that is planned and under way come to its end.
    async fn finish(&mut self, end: Timestamp) -> Result<(), DriverError> {
        self.current = None;
        if self.failed {
            return Ok(());
        }
        // What is planned takes as long as it was asked to; only what comes after that is bounded.
        let last = self.agenda.last().unwrap_or(self.driver.now());
        self.reach(&Goal::Done, (last + STEP_DEADLINE).min(end)).await?;
        let settled = self.reach(&Goal::Quiescent, (self.driver.now() + STEP_DEADLINE).min(end)).await?;
        self.record(None, Fact::Quiescent(settled));
        Ok(())
    }

    /// Whether a reply was as the script says.
    fn compare(&mut self, id: StepId) {
        let Task::Talk(talk) = &self.script.steps[id.index()].task else { return };
        let Some(expectation) = &talk.expect else { return };
        let reply = self.talking.last_reply(&talk.session);
        let result = reply.as_ref().map_or(Err("no reply".to_owned()), |reply| expectation.matches(reply));
        let (holds, actual) = match result {
            Ok(()) => (true, String::from_utf8_lossy(reply.as_deref().unwrap_or_default()).trim_end().to_owned()),
            Err(actual) => (false, actual),
        };
        let name = "reply".into();
        self.record(Some(id), Fact::Compared(Comparison { name, expected: expectation.to_string(), actual, holds }));
    }

    /// A step took longer than it may: the script ends there.
    fn overdue(&mut self, id: StepId, by_scenario: bool) {
        self.failed = true;
        let step = &self.script.steps[id.index()];
        let limit = match self.script.deadline.filter(|_| by_scenario) {
            Some(deadline) => format!("the scenario ends within {deadline:?}"),
            None => format!("the step is done within {:?}", step.asked() + step.deadline),
        };
        let actual = self.why_not_done(&step.task);
        let comparison = Comparison { name: "deadline".into(), expected: limit, actual, holds: false };
        self.record(Some(id), Fact::Compared(comparison));
    }

    fn why_not_done(&self, task: &Task) -> String {
        match task {
            Task::Talk(_) | Task::Workload(_) => {
                format!("{} replies have not come", self.talking.all_awaited())
            }
            Task::Until(Until::Quiescent) => "something is still in flight or due in the herd".into(),
            Task::Until(Until::Milestone(_)) => "it has not happened".into(),
            _ => "it is not done".into(),
        }
    }

    fn record(&mut self, step: Option<StepId>, fact: Fact) {
        let now = self.driver.now();
        self.history.push(now, step, fact);
    }
}
