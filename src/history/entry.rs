//! One thing that happened in a run.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::act::{Action, Hit, SessionId, Verb};
use crate::claim::{StepId, Verdict};
use crate::config::ServerId;
use crate::time::Timestamp;
use crate::wire::Report;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Time by the driver's clock.
    pub at: Timestamp,
    /// The step that did it, or that was in progress when it was seen. `None` before the first step, after the last one, and
    /// without a script. What a step does later, such as the end of a fault, is still that step's.
    pub step: Option<StepId>,
    /// What happened.
    pub fact: Fact,
}

/// What happened. `S` tells servers apart: by number in memory, by name in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fact<S = ServerId> {
    /// The entry's step began. A check "at a step" is judged by the entries before this one.
    StepBegan,
    /// The entry's step is done.
    StepEnded,
    /// An operator or a step asked for this. The actions that it comes to follow.
    Asked(Verb<S>),
    /// A driver did this to the herd, or a client sent a command. A fault is known by the step that did it.
    Did {
        /// What was done.
        action: Action<S>,
        /// What it hit at once.
        hit: Hit,
    },
    /// The driver saw something.
    Saw(Event<S>),
    /// A connection belongs to this talker. Connections of one talker are one session to the session guarantees
    /// (`monotonic_reads`, `read_your_writes`). A connection without this fact is a talker of its own.
    Opened {
        /// The connection.
        session: SessionId,
        /// Name that the scenario gives the talker.
        talker: Arc<str>,
    },
    /// `true` if nothing was in flight and nothing due at this moment. Asked after a wait for it, and at the end.
    Quiescent(bool),
    /// Nothing was seen of the herd any more since this time, in nanoseconds from the header's `started` in JSON. Whether it was
    /// at rest cannot be told: a server is seen from outside only.
    Silent(#[serde(with = "crate::words::Nanoseconds")] Duration),
    /// The script compared what it got with what it wanted.
    Compared(Comparison),
    /// The script waited for time to pass, and for nothing else, this long. Nanoseconds in JSON.
    Waited(#[serde(with = "crate::words::Nanoseconds")] Duration),
    /// The runner asks a server that it sees from outside what it knows. What the answers show was so at some moment between
    /// this entry and theirs.
    Probing {
        /// The server that is asked.
        server: S,
    },
    /// A server that is seen from outside answered what it knows about a client.
    Probed {
        /// The server that was asked.
        server: S,
        /// The entry of the question: its place in the history, counted from 0.
        asked: u32,
        /// The client.
        client: Arc<str>,
        /// The newest line that the server has about the client; absent if it knows nothing.
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "line")]
        #[schemars(with = "Option<String>")]
        report: Option<Arc<Report>>,
    },
    /// A server that is seen from outside was asked and did not answer.
    Unanswered {
        /// The server that was asked.
        server: S,
        /// The entry of the question: its place in the history, counted from 0.
        asked: u32,
        /// Why there is no answer.
        reason: Arc<str>,
    },
    /// Entries are missing here. A claim about such a history cannot be proven.
    LeftOut {
        /// Number of missing entries; 0 if nobody knows.
        entries: u64,
    },
}

/// What a script wanted at a step, and what it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What was compared: `reply`, `deadline`, `milestone`.
    pub name: String,
    /// What was wanted.
    pub expected: String,
    /// What came.
    pub actual: String,
    /// Passed if both agree, unproven if what should have been compared never came about.
    pub verdict: Verdict,
}

impl<S> Fact<S> {
    /// Returns the report it is about, if it is about one.
    pub fn report(&self) -> Option<&Arc<Report>> {
        match self {
            Self::Saw(event) => event.report(),
            Self::Probed { report, .. } => report.as_ref(),
            _ => None,
        }
    }

    /// Returns the report it is about, to be shared with other facts.
    pub(super) fn report_mut(&mut self) -> Option<&mut Arc<Report>> {
        match self {
            Self::Saw(event) => event.report_mut(),
            Self::Probed { report, .. } => report.as_mut(),
            _ => None,
        }
    }

    /// Returns the same fact with its servers told apart another way.
    ///
    /// # Errors
    ///
    /// Returns the first error of `name`.
    pub fn map<T, E>(self, name: &mut impl FnMut(S) -> Result<T, E>) -> Result<Fact<T>, E> {
        Ok(match self {
            Self::StepBegan => Fact::StepBegan,
            Self::StepEnded => Fact::StepEnded,
            Self::Asked(verb) => Fact::Asked(verb.map(name)?),
            Self::Did { action, hit } => Fact::Did { action: action.map(name)?, hit },
            Self::Saw(event) => Fact::Saw(event.map(name)?),
            Self::Opened { session, talker } => Fact::Opened { session, talker },
            Self::Quiescent(quiescent) => Fact::Quiescent(quiescent),
            Self::Silent(since) => Fact::Silent(since),
            Self::Compared(comparison) => Fact::Compared(comparison),
            Self::Waited(time) => Fact::Waited(time),
            Self::Probing { server } => Fact::Probing { server: name(server)? },
            Self::Probed { server, asked, client, report } => {
                Fact::Probed { server: name(server)?, asked, client, report }
            }
            Self::Unanswered { server, asked, reason } => Fact::Unanswered { server: name(server)?, asked, reason },
            Self::LeftOut { entries } => Fact::LeftOut { entries },
        })
    }
}
