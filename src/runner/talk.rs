//! Clients of a script: their connections, what they say, and the replies that are still to come.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Runner;
use crate::driver::{Action, Driver, DriverError, SessionId};
use crate::history::{Fact, StepId};
use crate::scenario::{ClientTime, Said, SessionKey, Talk};
use crate::time::Timestamp;

/// All connections of a script.
#[derive(Debug, Default)]
pub(super) struct Talking {
    sessions: BTreeMap<SessionKey, SessionId>,
    opened: u32,
    /// Replies to come, by connection; only where there are any.
    awaited: BTreeMap<SessionId, u64>,
    all_awaited: u64,
    /// The last reply on each connection that a step may ask about.
    replies: BTreeMap<SessionId, Bytes>,
    /// Whose connection the last command of each talker went over, also when it is gone.
    last_used: BTreeMap<SessionKey, SessionId>,
    /// The last time that a client's clock was read.
    last_time: Option<Timestamp>,
}

impl Talking {
    /// Replies that are still to come on a connection.
    pub(super) fn awaited(&self, session: SessionId) -> u64 {
        self.awaited.get(&session).copied().unwrap_or(0)
    }

    /// Replies that are still to come at all.
    pub(super) fn all_awaited(&self) -> u64 {
        self.all_awaited
    }

    pub(super) fn heard(&mut self, session: SessionId, reply: &Bytes) {
        if let Some(awaited) = self.awaited.get_mut(&session) {
            *awaited -= 1;
            self.all_awaited -= 1;
            if *awaited == 0 {
                self.awaited.remove(&session);
            }
        }
        if let Some(last) = self.replies.get_mut(&session) {
            *last = reply.clone();
        }
    }

    /// The connection is gone: no reply comes any more, and the next command opens another.
    pub(super) fn lost(&mut self, session: SessionId) {
        self.all_awaited -= self.awaited.remove(&session).unwrap_or(0);
        self.sessions.retain(|_, known| *known != session);
    }

    /// Takes a connection out of use.
    pub(super) fn forget(&mut self, key: &SessionKey) -> Option<SessionId> {
        self.sessions.remove(key)
    }

    /// What the last command of a talker was answered with.
    pub(super) fn last_reply(&self, key: &SessionKey) -> Option<Bytes> {
        let reply = self.replies.get(self.last_used.get(key)?)?;
        Some(reply.clone()).filter(|reply| !reply.is_empty())
    }

    fn expect(&mut self, session: SessionId, replies: u64) {
        if replies > 0 {
            *self.awaited.entry(session).or_insert(0) += replies;
            self.all_awaited += replies;
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
    /// Says what a step says; over which connection.
    pub(super) async fn say(&mut self, step: StepId, talk: &Talk) -> Result<SessionId, DriverError> {
        let bytes = match &talk.said {
            Said::Bytes(bytes) => bytes.clone(),
            Said::Iamat { client, location, time } => match time {
                ClientTime::Text(time) => Bytes::from(format!("IAMAT {client} {location} {time}\n")),
                ClientTime::Clock(ahead) => self.iamat(client, location, *ahead),
            },
        };
        let session = self.send(step, &talk.session, bytes, talk.finish, talk.replies).await?;
        if talk.expect.is_some() {
            self.talking.replies.insert(session, Bytes::new());
        }
        self.talking.last_used.insert(talk.session.clone(), session);
        Ok(session)
    }

    /// An `IAMAT` with the time of a clock that is this many nanoseconds ahead.
    pub(super) fn iamat(&mut self, client: &str, location: &str, ahead: i64) -> Bytes {
        let time = self.talking.clock(self.driver.now()).shifted(ahead).max(Timestamp::EPOCH);
        Bytes::from(format!("IAMAT {client} {location} {time}\n"))
    }

    /// Writes over a talker's connection, which is opened when it is not.
    pub(super) async fn send(
        &mut self,
        step: StepId,
        key: &SessionKey,
        bytes: Bytes,
        finish: bool,
        replies: u64,
    ) -> Result<SessionId, DriverError> {
        let session = self.session(step, key);
        self.talking.expect(session, replies);
        self.apply(step, Action::Send { session, server: key.via, bytes, finish }).await?;
        if finish {
            // Its writing side is closed: nothing can follow on it.
            self.talking.forget(key);
        }
        Ok(session)
    }

    fn session(&mut self, step: StepId, key: &SessionKey) -> SessionId {
        if let Some(session) = self.talking.sessions.get(key) {
            return *session;
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
