//! What the owner of a process promises to do together with other processes, and keeps or gives up.
//!
//! Not here: how the processes decide ([`crate::control::promise`]).

use super::{Done, Owner, refused};
use crate::act::{Action, Later, Moment, ServerVerb};
use crate::config::ServerId;
use crate::control::api::Refusal;
use crate::control::names::Names;
use crate::control::promise::{Deed, Part, PartDone, too_late};
use crate::driver::Driver as _;
use crate::history::Fact;

/// A part of a verb that waits for the decision.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) id: String,
    now: Vec<Action>,
    reflected: Vec<Action>,
    later: Vec<Later>,
    /// Servers that were started for it, which can fail.
    started: Vec<ServerId>,
    /// What was done for that.
    begun: Vec<Done>,
    /// Something will change.
    changes: bool,
}

impl Owner {
    /// Answers what has waited for a decision.
    pub(super) async fn answer_postponed(&mut self) {
        while self.promise.is_none() {
            let Some(request) = self.postponed.pop_front() else { return };
            Box::pin(self.answer(request)).await;
        }
    }

    /// Promises a part of a verb: checks it, and starts the servers that are to start.
    pub(super) async fn promise(&mut self, part: Part) -> Result<(), Refusal> {
        if self.decisions.get(&part.id).is_some() {
            return Err(too_late());
        }
        let names = Names::of(&self.topology, self.driver.wiring());
        let asked = part.asked.map(|verb| verb.map(&mut |name: String| names.server(&name))).transpose()?;
        let (now, reflected) = (names.actions(part.now)?, names.actions(part.reflected)?);
        let later = part
            .later
            .into_iter()
            .map(|part| Ok(Later { moment: Moment::After(part.after), actions: names.actions(part.actions)? }));
        let later: Vec<Later> = later.collect::<Result<_, Refusal>>()?;
        let checked = now.iter().chain(later.iter().flat_map(|later| &later.actions));
        checked.into_iter().try_for_each(|action| self.driver.check(action)).map_err(|error| refused(&error))?;
        self.catch_up().await;
        if let Some(verb) = asked {
            self.record(self.driver.now(), Fact::Asked(verb));
        }
        let changes = now.iter().any(|action| self.changes(action));
        let (starts, now): (Vec<_>, Vec<_>) =
            now.into_iter().partition(|action| matches!(action, Action::Server(_, ServerVerb::Start)));
        let is_down = |server: &ServerId| self.driver.port(*server).is_none();
        let servers = starts
            .iter()
            .filter_map(|action| if let Action::Server(server, _) = action { Some(*server) } else { None });
        let started: Vec<_> = servers.filter(is_down).collect();
        let begun = self.perform_each(starts).await?;
        self.promise = Some(Promise { id: part.id, now, reflected, later, started, begun, changes });
        Ok(())
    }

    /// Decides about a promise, unless that is decided. Returns what is decided, or `None` if nothing was promised.
    pub(super) async fn decide(&mut self, id: &str, done: bool) -> Option<bool> {
        if let Some(decided) = self.decisions.get(id) {
            return Some(decided);
        }
        self.promise.as_ref().filter(|promise| promise.id == id)?;
        self.decisions.note(id, done);
        if let Some(promise) = self.promise.take_if(|_| !done) {
            let undo = promise.started.into_iter().map(|server| ServerVerb::Kill.on(server)).collect();
            // Nothing can fail of what ends a server of this process.
            let _ = self.perform(undo).await;
        }
        Some(done)
    }

    /// Does what was promised, if that is still to be done. It has been decided.
    pub(super) async fn keep(&mut self, id: &str) -> Option<Result<PartDone, Refusal>> {
        let promise = self.promise.take_if(|promise| promise.id == id)?;
        Some(self.keep_promise(promise).await)
    }

    async fn keep_promise(&mut self, promise: Promise) -> Result<PartDone, Refusal> {
        let Promise { now, reflected, later, begun, changes, .. } = promise;
        let planned = self.planned();
        let done = self.perform_each(now).await;
        for action in reflected {
            if let Action::Way(way, verb) = action {
                self.driver.reflect(way, verb);
            }
        }
        let done = done?;
        self.catch_up().await;
        let hits_now = |(_, _, hit): &Done| hit.connections > 0 || hit.lines_released > 0;
        let changed = changes || done.iter().any(hits_now) || self.planned() < planned;
        self.plan_rest(later, None);
        let deeds = begun.into_iter().chain(done).map(|done| self.deed(done)).collect();
        Ok(PartDone { deeds, changed })
    }

    fn deed(&self, (at, action, hit): Done) -> Deed {
        let mut name = |server: ServerId| Ok::<_, std::convert::Infallible>(self.topology.name(server).to_string());
        let Ok(action) = action.map(&mut name);
        Deed { at: at.nanoseconds(), action, hit }
    }
}
