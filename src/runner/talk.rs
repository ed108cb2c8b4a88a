//! Clients of a script: their connections, what they say, and the replies that are still to come.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};

use bytes::Bytes;

use super::Runner;
use crate::act::{Action, SessionId};
use crate::claim::StepId;
use crate::driver::{Driver, DriverError};
use crate::history::Fact;
use crate::scenario::{ClientTime, Said, SessionKey, Talk};
use crate::time::Timestamp;

/// All connections of a script.
#[derive(Debug, Default)]
pub(super) struct Talking {
    sessions: BTreeMap<SessionKey, SessionId>,
    opened: u32,
    /// Whose replies are still to come, by connection and in their order; only where there are any. As long as what the
    /// script said and nobody answered.
    queues: BTreeMap<SessionId, VecDeque<StepId>>,
    /// Replies still to come, by step; only where there are any.
    awaited: BTreeMap<StepId, u64>,
    /// The last time that a client's clock was read.
    last_time: Option<Timestamp>,
}

impl Talking {
    /// Replies that are still to come to what a step said.
    pub(super) fn awaited(&self, step: StepId) -> u64 {
        self.awaited.get(&step).copied().unwrap_or(0)
    }

    /// Steps that replies are still to come to.
    pub(super) fn unanswered(&self) -> Vec<StepId> {
        self.awaited.keys().copied().collect()
    }

    /// The step that a reply on this connection answers.
    pub(super) fn heard(&mut self, session: SessionId) -> Option<StepId> {
        let queue = self.queues.get_mut(&session)?;
        let step = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&session);
        }
        self.settle(step);
        Some(step)
    }

    /// Drops a connection that is gone. Returns the steps that wait for its replies in vain.
    pub(super) fn lost(&mut self, session: SessionId) -> Vec<StepId> {
        self.sessions.retain(|_, known| *known != session);
        let mut steps = Vec::from(self.queues.remove(&session).unwrap_or_default());
        steps.iter().for_each(|&step| self.settle(step));
        steps.dedup();
        steps
    }

    fn settle(&mut self, step: StepId) {
        if let Entry::Occupied(mut awaited) = self.awaited.entry(step) {
            *awaited.get_mut() -= 1;
            if *awaited.get() == 0 {
                awaited.remove();
            }
        }
    }

    /// Takes a connection out of use.
    pub(super) fn forget(&mut self, key: &SessionKey) -> Option<SessionId> {
        self.sessions.remove(key)
    }

    fn expect(&mut self, session: SessionId, step: StepId, replies: u64) {
        if replies > 0 {
            *self.awaited.entry(step).or_insert(0) += replies;
            self.queues.entry(session).or_default().extend((0..replies).map(|_| step));
        }
    }

    /// A client's clock: the driver's time, but never the same twice.
    fn clock(&mut self, now: Timestamp) -> Timestamp {
        let time = self.last_time.map_or(now, |last| now.max(last.shifted(1)));
        self.last_time = Some(time);
        time
    }
}

impl<D: Driver> Runner<'_, D> {
    /// Says what a step says.
    pub(super) async fn say(&mut self, step: StepId, talk: &Talk) -> Result<(), DriverError> {
        let bytes = match &talk.said {
            Said::Bytes(bytes) => bytes.clone(),
            Said::Iamat { client, location, time } => match time {
                ClientTime::Text(time) => Bytes::from(format!("IAMAT {client} {location} {time}\n")),
                ClientTime::Clock(ahead) => self.iamat(client, location, *ahead),
            },
        };
        self.send(step, &talk.session, bytes, talk.finish, talk.replies).await
    }

    /// An `IAMAT` with the time of a clock that is this many nanoseconds ahead.
    pub(super) fn iamat(&mut self, client: &str, location: &str, ahead: i64) -> Bytes {
        let time = self.talking.clock(self.driver.now()).shifted(ahead).max(Timestamp::EPOCH);
        Bytes::from(format!("IAMAT {client} {location} {time}\n"))
    }

    /// Writes over a talker's connection. Opens another one if the last is over.
    pub(super) async fn send(
        &mut self,
        step: StepId,
        key: &SessionKey,
        bytes: Bytes,
        finish: bool,
        replies: u64,
    ) -> Result<(), DriverError> {
        let session = self.session(step, key);
        self.talking.expect(session, step, replies);
        self.apply(step, Action::Send { session, server: key.via, bytes, finish }).await?;
        if finish {
            // Its writing side is closed: nothing can follow on it.
            self.talking.forget(key);
        }
        Ok(())
    }

    /// Returns the open session of a talker, or the number of a new one.
    fn session(&mut self, step: StepId, key: &SessionKey) -> SessionId {
        // The end of a connection may be among the observations that are still to be taken.
        if let Some(&session) = self.talking.sessions.get(key).filter(|&&session| self.driver.is_open(session)) {
            return session;
        }
        let session = SessionId(self.talking.opened);
        self.talking.opened += 1;
        self.talking.sessions.insert(key.clone(), session);
        if let Some(talker) = &key.name {
            self.record(Some(step), Fact::Opened { session, talker: talker.clone() });
        }
        session
    }
}
