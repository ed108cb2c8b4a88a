//! Replays a script on a driver and records what happens.
//!
//! A plain loop that does not know which driver it has: it does what is due, asks for the next observation, and looks whether
//! what it waits for has happened. It never sleeps. Not here: whether what happened is right ([`crate::checker`]).

mod milestone;
mod probing;
mod talk;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::act::{Action, Agenda, Hit, Later, Moment, Verb, take_back};
use crate::claim::{StepId, Verdict};
use crate::config::{ServerId, Wiring};
use crate::driver::{Driver, DriverError, Next, Performed, Rest, Wait};
use crate::history::{Comparison, Fact, History};
use crate::history::{Event, Observation};
use crate::scenario::{STEP_DEADLINE, Script, SessionKey, Step, Talk, Task, Until, When};
use crate::time::Timestamp;
use crate::words::short;
use milestone::{Held, Watch};
use probing::Probing;
use talk::Talking;
use workload::Running;

/// Told while a script runs, for people who wait.
pub trait Progress {
    /// A step begins.
    fn step(&self, step: StepId);

    /// Whether the run is to stop where it is; asked now and then.
    fn is_over(&self) -> bool {
        false
    }
}

/// Nobody waits.
impl Progress for () {
    fn step(&self, _: StepId) {}
}

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The driver cannot do what the script asks, as when a port is taken.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The script waits for something that servers do not tell.
    #[error(
        "a step waits for lines of {server}, which is seen from outside only and does not tell what it sends or reads"
    )]
    Unseen {
        /// The server.
        server: Arc<str>,
    },
    /// The links of the herd did not come up, so the script did not begin.
    #[error("the herd did not come up: {0}")]
    NotLinked(String),
    /// It was to stop.
    #[error("it was interrupted")]
    Interrupted,
}

/// How many observations are taken between two looks at whether a run is to stop.
const BETWEEN_LOOKS: u64 = 256;

/// One thing that is going to be done at a time of its own.
#[derive(Debug)]
enum Planned {
    /// A step that has a time.
    Step(StepId),
    /// What a step leads to later, such as the end of its fault; and what follows from that.
    Actions(StepId, Vec<Action>, Vec<Later>),
    /// The next command of a workload.
    Command(StepId),
}

/// One run of a script. What has happened so far is in it at any time, so it may be given up half-way.
pub struct Runner<'a, D> {
    script: &'a Script,
    driver: &'a mut D,
    wiring: Arc<Wiring>,
    history: History,
    /// The step under way.
    current: Option<StepId>,
    agenda: Agenda<Planned>,
    /// When the last of everything known to come is due, or was.
    horizon: Timestamp,
    watches: Vec<(Watch, StepId)>,
    /// What the step under way waits for.
    watch: Option<Watch>,
    held: Held,
    probing: Probing,
    talking: Talking,
    workloads: BTreeMap<StepId, Running>,
    /// When the scenario must be over.
    end: Timestamp,
    failed: bool,
}

/// What the script waits for.
#[derive(Debug)]
enum Goal {
    /// A time.
    Time(Timestamp),
    /// Everything this step has to say is said and answered.
    Replies(StepId),
    Quiescent,
    /// Nothing of this step waits for the links of a server any more.
    Linked(StepId),
    /// Everything planned has happened, and what waits for a milestone has happened or never will.
    Done,
    Milestone(Watch),
}

/// How a wait for a goal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The goal is reached.
    Reached,
    /// The herd came to rest, and nothing is planned that could bring the goal nearer.
    AtRest(Rest),
    /// The time for it is over.
    Late,
}

impl Goal {
    /// Returns `true` if a wait that ended like this was not in vain.
    fn is_met_by(&self, ended: Ended) -> bool {
        match ended {
            Ended::Reached => true,
            Ended::AtRest(_) => matches!(self, Self::Quiescent | Self::Done),
            Ended::Late => false,
        }
    }
}

impl<'a, D: Driver> Runner<'a, D> {
    /// A run that has not begun; `history` is empty, and has the seed of its random draws.
    pub fn new(script: &'a Script, history: History, wiring: Arc<Wiring>, driver: &'a mut D) -> Self {
        let follows_records = script.steps.iter().any(milestone::asks_for_records);
        let probing = Probing::new(script, driver);
        Self {
            script,
            driver,
            wiring,
            history,
            current: None,
            agenda: Agenda::default(),
            horizon: Timestamp::default(),
            watches: Vec::new(),
            watch: None,
            probing,
            held: Held::new(follows_records),
            talking: Talking::default(),
            workloads: BTreeMap::new(),
            end: Timestamp::MAX,
            failed: false,
        }
    }

    /// Runs the script to its end.
    ///
    /// # Errors
    ///
    /// When the driver cannot do what the script asks, the links do not come up, or `progress` says that it is over. What does
    /// not go as the script says is in the history.
    pub async fn run(&mut self, progress: &impl Progress) -> Result<(), RunError> {
        if let Some(server) = self.script.steps.iter().find_map(|step| self.waits_in_vain(step)) {
            return Err(RunError::Unseen { server: self.script.topology.name(server).clone() });
        }
        self.come_up(progress).await?;
        let begun = self.driver.now();
        self.history.linked = Some(begun);
        self.end = self.script.deadline.map_or(Timestamp::MAX, |deadline| begun + deadline);
        for number in 0..self.script.steps.len() {
            let step = StepId(number as u32);
            progress.step(step);
            self.take(step, begun, progress).await?;
            if self.failed {
                return Ok(());
            }
        }
        self.finish(progress).await
    }

    /// Returns a server that is seen from outside only, if a step waits for its lines.
    fn waits_in_vain(&self, step: &Step) -> Option<ServerId> {
        milestone::ends_of_lines(step).into_iter().find(|&server| self.probing.is_outside(server))
    }

    /// Waits until the links are up: a script begins with a herd that is whole.
    async fn come_up(&mut self, progress: &impl Progress) -> Result<(), RunError> {
        let topology = &self.script.topology;
        let redial = topology.redial;
        if let Some(link) = topology.links.iter().find(|link| link.never_opens(&redial)) {
            let [one, other] = link.ends.map(|end| topology.name(end));
            let (trip, timeout) = (short(link.round_trip()), short(redial.timeout));
            return Err(RunError::NotLinked(format!(
                "a dial of {one}-{other} takes {trip}, there and back, and times out after {timeout}. \
                 Raise `timeout` of `[redial]`, or lower the latency"
            )));
        }
        // However long a dial may take, and a while for some that fail.
        let allowed = redial.timeout + STEP_DEADLINE;
        if let Ended::AtRest(_) = self.reach(&Goal::Quiescent, allowed, progress).await? {
            return Ok(());
        }
        Err(RunError::NotLinked(format!("a link is still not up after {}", short(allowed))))
    }

    /// What happened.
    pub fn into_history(self) -> History {
        self.history
    }

    /// Does a step in its turn, or plans it.
    async fn take(&mut self, id: StepId, begun: Timestamp, progress: &impl Progress) -> Result<(), RunError> {
        let step = &self.script.steps[id.index()];
        let now = self.driver.now();
        match &step.when {
            When::InTurn => return self.take_in_turn(id, progress).await,
            When::At(after) => self.plan(begun + *after, Planned::Step(id)),
            When::After(after) => self.plan(now + *after, Planned::Step(id)),
            When::Milestone(milestone) => self.watches.push((Watch::new(milestone.clone()), id)),
        }
        Ok(())
    }

    async fn take_in_turn(&mut self, id: StepId, progress: &impl Progress) -> Result<(), RunError> {
        let step = &self.script.steps[id.index()];
        self.current = Some(id);
        self.ask_for_step(id).await;
        self.record(Some(id), Fact::StepBegan);
        if let Some(goal) = self.begin(id).await? {
            let ended = self.reach(&goal, step.asked() + step.deadline, progress).await?;
            if !goal.is_met_by(ended) {
                self.overdue(id, ended);
            }
            if let Goal::Quiescent = goal {
                self.record_rest(Some(id), ended);
            }
        }
        self.record(Some(id), Fact::StepEnded);
        Ok(())
    }

    /// Does what a step says; what has to happen for it to be done.
    async fn begin(&mut self, id: StepId) -> Result<Option<Goal>, DriverError> {
        let step = &self.script.steps[id.index()];
        match &step.task {
            Task::Talk(talk) => {
                self.say(id, talk).await?;
                Ok(Some(Goal::Replies(id)))
            }
            Task::Workload(workload) => {
                let running = Running::new(workload, id, self.history.seed, self.driver.now());
                let (first, background) = (running.due(), workload.background);
                self.workloads.insert(id, running);
                self.plan(first, Planned::Command(id));
                self.horizon = self.horizon.max(first + workload.duration());
                Ok((!background).then_some(Goal::Replies(id)))
            }
            Task::Close { session } => self.close(id, session).await,
            Task::Herd(verb) => self.break_or_mend(id, verb).await,
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

    async fn break_or_mend(&mut self, id: StepId, verb: &Verb) -> Result<Option<Goal>, DriverError> {
        let topology = &self.script.topology;
        let plan = verb.plan(topology, &self.wiring).expect("the verb was planned when the script was read");
        self.record(Some(id), Fact::Asked(verb.clone()));
        self.perform(id, plan.now).await?;
        self.plan_rest(id, plan.later);
        if let Some(lasting) = self.script.steps[id.index()].lasting {
            let mending = verb.mend(topology, &self.wiring);
            self.plan(self.driver.now() + lasting, Planned::Actions(id, mending, Vec::new()));
        }
        Ok(self.awaits_links(id).then_some(Goal::Linked(id)))
    }

    /// Puts a thing on the agenda.
    fn plan(&mut self, at: Timestamp, planned: Planned) {
        self.horizon = self.horizon.max(at);
        self.agenda.add(at, planned);
    }

    /// Returns `true` if something of a step waits for the links of a server.
    fn awaits_links(&self, step: StepId) -> bool {
        self.agenda.waiting().any(|(_, planned)| matches!(planned, Planned::Actions(of, ..) if *of == step))
    }

    /// Puts the next part of a plan on the agenda, with what follows it.
    fn plan_rest(&mut self, step: StepId, mut rest: Vec<Later>) {
        if rest.is_empty() {
            return;
        }
        let Later { moment, actions } = rest.remove(0);
        let planned = Planned::Actions(step, actions, rest);
        match moment {
            Moment::After(after) => self.plan(self.driver.now() + after, planned),
            Moment::Linked(server) => self.agenda.add_linked(server, planned),
        }
    }

    async fn close(&mut self, id: StepId, key: &SessionKey) -> Result<Option<Goal>, DriverError> {
        if let Some(session) = self.talking.forget(key) {
            self.apply(id, Action::Close(session)).await?;
        }
        Ok(None)
    }

    /// Does actions of a step, all or none.
    async fn perform(&mut self, step: StepId, actions: Vec<Action>) -> Result<(), DriverError> {
        let Performed { done, error } = self.driver.perform(actions).await;
        self.agenda.retain(|planned| match planned {
            Planned::Actions(_, actions, rest) => {
                take_back(done.iter().map(|(_, action, _)| action), actions) || !rest.is_empty()
            }
            Planned::Step(_) | Planned::Command(_) => true,
        });
        for (at, action, hit) in done {
            self.history.push(at, Some(step), Fact::Did { action, hit });
        }
        self.probing.stir(self.driver.now());
        error.map_or(Ok(()), Err)
    }

    async fn apply(&mut self, step: StepId, action: Action) -> Result<(), DriverError> {
        let at = self.driver.now();
        let hit = self.driver.apply(action.clone()).await?;
        self.history.push(at, Some(step), Fact::Did { action, hit });
        Ok(())
    }

    /// Lets time pass until the goal is reached, or never can be any more, or was not within `allowed`. That counts from now or,
    /// where all that is planned must have happened, from the last of it.
    async fn reach(&mut self, goal: &Goal, allowed: Duration, progress: &impl Progress) -> Result<Ended, RunError> {
        let begun = self.driver.now();
        self.watch = match goal {
            Goal::Milestone(watch) => Some(watch.clone()),
            _ => None,
        };
        let mut seen = 0_u64;
        loop {
            if seen.is_multiple_of(BETWEEN_LOOKS) && progress.is_over() {
                return Err(RunError::Interrupted);
            }
            self.do_what_is_due().await?;
            self.ask_if_due().await;
            if self.is_reached(goal) {
                return Ok(Ended::Reached);
            }
            let from = if let Goal::Done = goal { self.horizon.max(begun) } else { begun };
            let deadline = (from + allowed).min(self.end);
            let wait = self.wait(goal, deadline);
            // Most of what is seen brings no goal nearer, and need not be asked about one by one.
            loop {
                seen += 1;
                let next = self.driver.next(wait).await;
                if let Next::Seen(observation) = next {
                    let matters = self.may_matter(&observation.event);
                    self.see(observation);
                    if matters || self.driver.now() >= wait.limit() || seen.is_multiple_of(BETWEEN_LOOKS) {
                        break;
                    }
                    continue;
                }
                let is_due = self.agenda.is_due(self.driver.now(), |server| self.driver.is_linked(server));
                match next {
                    Next::Did { at, action, hit } => {
                        self.see_done(at, action, hit);
                        break;
                    }
                    Next::Missed { entries } => {
                        self.record(self.current, Fact::LeftOut { entries });
                        break;
                    }
                    _ if is_due => break,
                    Next::Rested(_) if self.probing.is_unsettled() => {
                        self.ask_at_rest().await;
                        break;
                    }
                    Next::Rested(rest) if self.can_only_wait_for_rest(goal) => return Ok(Ended::AtRest(rest)),
                    _ if self.driver.now() >= deadline => return Ok(Ended::Late),
                    _ => break,
                }
            }
        }
    }

    /// Takes note of what somebody else did. It belongs to no step.
    fn see_done(&mut self, at: Timestamp, action: Action, hit: Hit) {
        self.history.push(at, None, Fact::Did { action, hit });
        self.probing.stir(self.driver.now());
    }

    /// Whether seeing this can reach a goal, or put something on the agenda.
    fn may_matter(&self, event: &Event) -> bool {
        let may_link = matches!(event, Event::LinkUp { .. }) && self.agenda.waiting().next().is_some();
        let waits = !self.watches.is_empty() || self.watch.is_some();
        may_link || waits || matches!(event, Event::Replied { .. } | Event::SessionLost { .. })
    }

    fn is_reached(&self, goal: &Goal) -> bool {
        match goal {
            Goal::Time(time) => self.driver.now() >= *time,
            Goal::Replies(step) => {
                self.talking.awaited(*step) == 0 && self.workloads.get(step).is_none_or(Running::is_over)
            }
            Goal::Done => self.agenda.is_empty() && self.watches.is_empty() && self.talking.unanswered().is_empty(),
            Goal::Quiescent => false,
            Goal::Linked(step) => !self.awaits_links(*step),
            Goal::Milestone(_) => self.watch.as_ref().is_some_and(|watch| watch.is_reached(&self.held)),
        }
    }

    /// How far the driver is to go before the goal is looked at again. Once nothing is planned, the herd's coming to rest is
    /// the end of all hope, unless a server is seen from outside: it may still do something after a long silence.
    fn wait(&self, goal: &Goal, deadline: Timestamp) -> Wait {
        let next = [self.agenda.next(), self.probing.due()].into_iter().flatten().min();
        let until = next.unwrap_or(Timestamp::MAX).min(deadline);
        match goal {
            Goal::Time(time) => Wait::Until(until.min(*time)),
            Goal::Quiescent => Wait::Quiescent(until),
            // A herd at rest has every link that it can have.
            _ if self.agenda.waiting().next().is_some() => Wait::Quiescent(until),
            _ if self.agenda.is_empty() && self.probing.is_idle() => Wait::Quiescent(until),
            _ => Wait::Until(until),
        }
    }

    /// Returns `true` if nothing is planned that could bring the goal nearer. Quiescence waits for no plan.
    fn can_only_wait_for_rest(&self, goal: &Goal) -> bool {
        match goal {
            Goal::Time(_) => false,
            Goal::Quiescent => true,
            _ => self.agenda.is_empty(),
        }
    }

    /// Everything on the agenda whose time has come.
    async fn do_what_is_due(&mut self) -> Result<(), DriverError> {
        self.plan_reached_milestones();
        while let Some(planned) = self.agenda.pop(self.driver.now(), |server| self.driver.is_linked(server)) {
            match planned {
                Planned::Step(step) => self.do_planned(step).await?,
                Planned::Actions(step, actions, rest) => {
                    self.perform(step, actions).await?;
                    self.plan_rest(step, rest);
                }
                Planned::Command(step) => self.say_next(step).await?,
            }
        }
        Ok(())
    }

    /// A step that is not done in its turn is not waited for.
    async fn do_planned(&mut self, step: StepId) -> Result<(), DriverError> {
        self.ask_for_step(step).await;
        self.record(Some(step), Fact::StepBegan);
        self.begin(step).await?;
        self.record(Some(step), Fact::StepEnded);
        Ok(())
    }

    fn plan_reached_milestones(&mut self) {
        let now = self.driver.now();
        let held = &self.held;
        let reached: Vec<_> = self.watches.extract_if(.., |(watch, _)| watch.is_reached(held)).collect();
        for (_, step) in reached {
            self.plan(now, Planned::Step(step));
        }
    }

    fn see(&mut self, observation: Observation) {
        self.held.follow(&observation.event);
        if let Some(report) = self.probing.follow(observation.at, &observation.event) {
            self.held.acknowledge(&report);
        }
        for watch in self.watch.iter_mut().chain(self.watches.iter_mut().map(|(watch, _)| watch)) {
            watch.follow(&observation.event);
        }
        match observation.event {
            Event::Replied { session, ref reply } => {
                let (step, reply) = (self.talking.heard(session), reply.clone());
                self.history.saw(step.or(self.current), observation);
                if let Some(step) = step.filter(|&step| self.talking.awaited(step) == 0) {
                    self.compare(step, Some(&reply));
                }
            }
            Event::SessionLost { session, .. } => {
                self.history.saw(self.current, observation);
                for step in self.talking.lost(session) {
                    self.compare(step, None);
                }
            }
            _ => self.history.saw(self.current, observation),
        }
    }

    /// Lets everything that is planned and under way come to its end.
    async fn finish(&mut self, progress: &impl Progress) -> Result<(), RunError> {
        self.current = None;
        let ended = loop {
            let done = self.reach(&Goal::Done, STEP_DEADLINE, progress).await?;
            let ended = self.reach(&Goal::Quiescent, STEP_DEADLINE, progress).await?;
            // On its way to rest the herd may have reached a milestone, and something is planned again.
            let is_over = [done, ended].contains(&Ended::Late);
            if is_over || self.agenda.is_empty() {
                break ended;
            }
        };
        self.record_rest(None, ended);
        self.ask_for_the_end().await;
        for step in self.talking.unanswered() {
            self.compare(step, None);
        }
        self.tell_what_never_came();
        Ok(())
    }

    /// Whether the last reply to a step was as the script says; `None`: none will come.
    fn compare(&mut self, id: StepId, reply: Option<&Bytes>) {
        let Task::Talk(Talk { expect: Some(expectation), .. }) = &self.script.steps[id.index()].task else { return };
        let (verdict, actual) = match expectation.matches(reply.map(|reply| &**reply)) {
            Ok(()) => (Verdict::Passed, String::from_utf8_lossy(reply.map_or(&[], |reply| reply)).trim_end().into()),
            Err(actual) => (Verdict::Failed, actual),
        };
        self.found(id, "reply", expectation.to_string(), actual, verdict);
    }

    /// A step was not done in time, or never can be: the script ends there.
    fn overdue(&mut self, id: StepId, ended: Ended) {
        self.failed = true;
        let step = &self.script.steps[id.index()];
        let limit = match self.script.deadline.filter(|_| self.driver.now() >= self.end) {
            Some(deadline) => format!("the scenario ends within {}", short(deadline)),
            None => format!("the step is done within {}", short(step.asked() + step.deadline)),
        };
        let mut actual = self.why_not_done(id, &step.task);
        match ended {
            Ended::AtRest(Rest::Certain) => actual += ", and nothing is in flight or due in the herd any more",
            Ended::AtRest(Rest::Silent { since }) => {
                actual += &format!(", and the herd is silent since {}", short(since - self.history.started));
            }
            Ended::Reached | Ended::Late => {}
        }
        self.found(id, "deadline", limit, actual, Verdict::Failed);
    }

    fn why_not_done(&self, id: StepId, task: &Task) -> String {
        match task {
            Task::Talk(_) | Task::Workload(_) => match self.talking.awaited(id) {
                1 => "one reply has not come".into(),
                replies => format!("{replies} replies have not come"),
            },
            Task::Until(Until::Quiescent) => "something is still in flight or due in the herd".into(),
            Task::Until(Until::Milestone(_)) => "it has not happened".into(),
            Task::Herd(_) => {
                let servers = self.agenda.waiting().map(|(server, _)| &**self.script.topology.name(server));
                format!("the links of {} are not back", servers.collect::<Vec<_>>().join(", "))
            }
            _ => "it is not done".into(),
        }
    }

    /// What was to be done on a milestone that never came proves nothing.
    fn tell_what_never_came(&mut self) {
        for (_, step) in std::mem::take(&mut self.watches) {
            let expected = format!("{}, when its time has come", self.script.steps[step.index()].shown.text);
            self.found(step, "milestone", expected, "what it waits for never happened".into(), Verdict::Unproven);
        }
    }

    /// Records whether the herd came to rest.
    fn record_rest(&mut self, step: Option<StepId>, ended: Ended) {
        let fact = match ended {
            Ended::AtRest(Rest::Silent { since }) => Fact::Silent(since - self.history.started),
            Ended::AtRest(Rest::Certain) => Fact::Quiescent(true),
            Ended::Reached | Ended::Late => Fact::Quiescent(false),
        };
        self.record(step, fact);
    }

    fn found(&mut self, step: StepId, name: &str, expected: String, actual: String, verdict: Verdict) {
        self.record(Some(step), Fact::Compared(Comparison { name: name.into(), expected, actual, verdict }));
    }

    fn record(&mut self, step: Option<StepId>, fact: Fact) {
        let now = self.driver.now();
        self.history.push(now, step, fact);
    }
}

#[cfg(test)]
mod outside;
#[cfg(test)]
mod tests;
