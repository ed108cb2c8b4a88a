//! What can be asserted, as types: names, parameters, and each in words.
//!
//! Not here: whether it holds, which every assertion's own file decides, and how a scenario file spells it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::ServerId;
use crate::wire::PosixTime;
use crate::words::{Nanoseconds, OptionalNanoseconds, names, percent, short};

/// Something that holds of a run or does not. `S` tells servers apart: by number in memory, by name in files.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Assertion<S = ServerId> {
    /// Every record held or sent was made by an `IAMAT` of this run.
    NoInvention,
    /// A server's version of a client never goes back within one life.
    Monotone,
    /// Who acknowledged a write holds it, or something newer, until it stops.
    AckLocal,
    /// One reply per command, of the form the protocol says.
    ReplyExact,
    /// A version never goes back over the connection's pair of servers it was learned from.
    NoEcho,
    /// No way ever has more than this many lines written and not read.
    QueueBound {
        /// At most.
        lines: u64,
    },
    /// Reads of one client by one talker never go back.
    MonotonicReads,
    /// A talker's read never shows an older version than its own acknowledged write.
    ReadYourWrites,
    /// Every server of the scope holds, for every client, the newest version that counts.
    Converged {
        /// Which version counts.
        mode: ConvergedMode,
        /// Whose records.
        scope: Scope<S>,
        /// No later than this after the last fault's end, or the last write when that is later.
        #[serde(with = "OptionalNanoseconds", default)]
        within: Option<Duration>,
        /// No later than this after the run began.
        #[serde(with = "OptionalNanoseconds", default)]
        by: Option<Duration>,
    },
    /// Converged no later than this after the last mending: unproven when nothing was mended.
    HealedWithin {
        /// At most.
        #[serde(with = "Nanoseconds")]
        within: Duration,
    },
    /// Writes reach the other servers of the core this fast.
    Propagated {
        /// At most.
        #[serde(with = "Nanoseconds")]
        within: Duration,
        /// For this part of all pairs of write and server, above 0 to 1.
        quantile: f64,
    },
    /// Every acknowledged write is covered by a core server at the end.
    NoLost,
    /// At least this many acknowledged writes are covered by no core server at the end.
    Lost {
        /// At least 1.
        at_least: u64,
    },
    /// No write was acknowledged by a server that already held something at least as new.
    NoMasked,
    /// No read misses a write that had been acknowledged for longer than this.
    Staleness {
        /// At most.
        #[serde(with = "Nanoseconds")]
        within: Duration,
    },
    /// The stale area per write stays below.
    StaleArea {
        /// Pairs of server and client, times seconds.
        at_most: f64,
    },
    /// An update costs no more lines than this, on average.
    Cost {
        /// Lines.
        per_update: f64,
    },
    /// Every command to these servers is answered.
    Available {
        /// Which servers.
        on: Scope<S>,
        /// No later than this after it was sent.
        #[serde(with = "OptionalNanoseconds", default)]
        within: Option<Duration>,
    },
    /// Nothing is in flight and nothing is due.
    Quiescent,
    /// All servers of the scope hold the very same line.
    AgreeLine {
        /// About this client; `None`: about every client.
        client: Option<Box<str>>,
        /// Which servers.
        scope: Scope<S>,
    },
    /// Each of these servers runs and holds nothing about the client, or less than the newest that a running server holds.
    Stale {
        /// The client.
        client: Box<str>,
        /// At least one server.
        on: Vec<S>,
    },
    /// Each of these servers runs and holds a record of the client.
    Knows {
        /// The client.
        client: Box<str>,
        /// Which versions will do.
        version: VersionBound<S>,
        /// At least one server.
        on: Vec<S>,
    },
    /// Each of these servers runs and holds no such record.
    Lacks {
        /// The client.
        client: Box<str>,
        /// Which versions it lacks.
        version: VersionBound<S>,
        /// At least one server.
        on: Vec<S>,
    },
}

/// Which version everybody must hold to be called converged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ConvergedMode {
    /// The largest held anywhere in the core when the last fault ended, or accepted there later.
    #[default]
    Survivors,
    /// The largest that was ever acknowledged: also demands durability.
    Acknowledged,
    /// Any, as long as it is everybody's. Weak: a herd that lost everything agrees.
    Agree,
}

/// Which servers an assertion is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope<S = ServerId> {
    /// The core: servers that run, joined by links that are whole; of several such groups the largest.
    #[default]
    Core,
    /// Every server that runs, joined or not.
    Running,
    /// These, which must run.
    Servers(Vec<S>),
}

/// Which versions of a record will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionBound<S = ServerId> {
    /// Of this time, by the client's clock, or later.
    pub time: Option<PosixTime>,
    /// Received from the client by this server.
    pub origin: Option<S>,
}

impl<S> Default for VersionBound<S> {
    fn default() -> Self {
        Self { time: None, origin: None }
    }
}

impl Assertion {
    /// In the order of the documentation: the name of every assertion, whether it is about a stretch of time, and the assertion
    /// itself if it needs no parameters.
    const TABLE: [(&str, bool, Option<Self>); 23] = [
        ("no_invention", true, Some(Self::NoInvention)),
        ("monotone", true, Some(Self::Monotone)),
        ("ack_local", true, Some(Self::AckLocal)),
        ("reply_exact", true, Some(Self::ReplyExact)),
        ("no_echo", true, Some(Self::NoEcho)),
        ("queue_bound", true, None),
        ("monotonic_reads", true, Some(Self::MonotonicReads)),
        ("read_your_writes", true, Some(Self::ReadYourWrites)),
        (
            "converged",
            false,
            Some(Self::Converged { mode: ConvergedMode::Survivors, scope: Scope::Core, within: None, by: None }),
        ),
        ("healed_within", false, None),
        ("propagated", true, None),
        ("no_lost", false, Some(Self::NoLost)),
        ("lost", false, Some(Self::Lost { at_least: 1 })),
        ("no_masked", true, Some(Self::NoMasked)),
        ("staleness", true, None),
        ("stale_area", false, None),
        ("cost", false, None),
        ("available", true, Some(Self::Available { on: Scope::Running, within: None })),
        ("quiescent", false, Some(Self::Quiescent)),
        ("agree_line", false, Some(Self::AgreeLine { client: None, scope: Scope::Core })),
        ("stale", false, None),
        ("knows", false, None),
        ("lacks", false, None),
    ];

    /// What holds of every herd of ours, whatever is done to it, and costs nothing to ask for.
    pub const ALWAYS: [Self; 5] = [Self::NoInvention, Self::Monotone, Self::AckLocal, Self::ReplyExact, Self::NoEcho];

    /// Names of all assertions, in the order of the documentation.
    pub fn names() -> [&'static str; 23] {
        Self::TABLE.map(|(name, ..)| name)
    }

    /// The assertion of this name, if it needs no parameters.
    pub fn plain(name: &str) -> Option<Self> {
        Self::TABLE.into_iter().find(|(other, ..)| *other == name)?.2
    }

    /// Whether it is about a stretch of time, so that "from here on" means something.
    pub fn is_continuous(&self) -> bool {
        Self::TABLE.iter().any(|(name, is_continuous, _)| *name == self.name() && *is_continuous)
    }
}

impl<S> Assertion<S> {
    /// Its name in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoInvention => "no_invention",
            Self::Monotone => "monotone",
            Self::AckLocal => "ack_local",
            Self::ReplyExact => "reply_exact",
            Self::NoEcho => "no_echo",
            Self::QueueBound { .. } => "queue_bound",
            Self::MonotonicReads => "monotonic_reads",
            Self::ReadYourWrites => "read_your_writes",
            Self::Converged { .. } => "converged",
            Self::HealedWithin { .. } => "healed_within",
            Self::Propagated { .. } => "propagated",
            Self::NoLost => "no_lost",
            Self::Lost { .. } => "lost",
            Self::NoMasked => "no_masked",
            Self::Staleness { .. } => "staleness",
            Self::StaleArea { .. } => "stale_area",
            Self::Cost { .. } => "cost",
            Self::Available { .. } => "available",
            Self::Quiescent => "quiescent",
            Self::AgreeLine { .. } => "agree_line",
            Self::Stale { .. } => "stale",
            Self::Knows { .. } => "knows",
            Self::Lacks { .. } => "lacks",
        }
    }

    /// The same assertion with its servers told apart another way.
    pub fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Assertion<T>, E> {
        Ok(match self {
            Self::NoInvention => Assertion::NoInvention,
            Self::Monotone => Assertion::Monotone,
            Self::AckLocal => Assertion::AckLocal,
            Self::ReplyExact => Assertion::ReplyExact,
            Self::NoEcho => Assertion::NoEcho,
            Self::QueueBound { lines } => Assertion::QueueBound { lines },
            Self::MonotonicReads => Assertion::MonotonicReads,
            Self::ReadYourWrites => Assertion::ReadYourWrites,
            Self::Converged { mode, scope, within, by } => {
                Assertion::Converged { mode, scope: scope.map(server)?, within, by }
            }
            Self::HealedWithin { within } => Assertion::HealedWithin { within },
            Self::Propagated { within, quantile } => Assertion::Propagated { within, quantile },
            Self::NoLost => Assertion::NoLost,
            Self::Lost { at_least } => Assertion::Lost { at_least },
            Self::NoMasked => Assertion::NoMasked,
            Self::Staleness { within } => Assertion::Staleness { within },
            Self::StaleArea { at_most } => Assertion::StaleArea { at_most },
            Self::Cost { per_update } => Assertion::Cost { per_update },
            Self::Available { on, within } => Assertion::Available { on: on.map(server)?, within },
            Self::Quiescent => Assertion::Quiescent,
            Self::AgreeLine { client, scope } => Assertion::AgreeLine { client, scope: scope.map(server)? },
            Self::Stale { client, on } => Assertion::Stale { client, on: each(on, server)? },
            Self::Knows { client, version, on } => {
                Assertion::Knows { client, version: version.map(server)?, on: each(on, server)? }
            }
            Self::Lacks { client, version, on } => {
                Assertion::Lacks { client, version: version.map(server)?, on: each(on, server)? }
            }
        })
    }
}

impl<S> Scope<S> {
    fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Scope<T>, E> {
        Ok(match self {
            Self::Core => Scope::Core,
            Self::Running => Scope::Running,
            Self::Servers(servers) => Scope::Servers(each(servers, server)?),
        })
    }
}

impl<S> VersionBound<S> {
    fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<VersionBound<T>, E> {
        Ok(VersionBound { time: self.time, origin: self.origin.map(server).transpose()? })
    }
}

fn each<S, T, E>(servers: Vec<S>, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Vec<T>, E> {
    servers.into_iter().map(server).collect()
}

impl Assertion {
    /// What it says, in words.
    pub fn statement(&self, servers: &[Arc<str>]) -> String {
        let on = |on: &[ServerId]| names(on, servers);
        match self {
            Self::NoInvention => "every record was made by an IAMAT of this run".into(),
            Self::Monotone => "no server goes back to an older version".into(),
            Self::AckLocal => "who acknowledged a write holds it".into(),
            Self::ReplyExact => "every command has exactly its reply".into(),
            Self::NoEcho => "no version goes back to the server it came from".into(),
            Self::QueueBound { lines } => format!("at most {lines} lines wait on a way"),
            Self::MonotonicReads => "reads never go back".into(),
            Self::ReadYourWrites => "who wrote reads it".into(),
            Self::Converged { mode, scope, within, by } => {
                let within = within.map_or(String::new(), |within| format!(" within {}", short(within)));
                let by = by.map_or(String::new(), |by| format!(" by {}", short(by)));
                format!("{} {}{within}{by}", scope.subject(servers), mode.predicate())
            }
            Self::HealedWithin { within } => format!("converged within {} of the last mending", short(*within)),
            Self::Propagated { within, quantile } if *quantile >= 1.0 => {
                format!("every write reaches every server within {}", short(*within))
            }
            Self::Propagated { within, quantile } => {
                format!("{} % of writes reach a server within {}", percent(*quantile), short(*within))
            }
            Self::NoLost => "no acknowledged write is lost".into(),
            Self::Lost { at_least: 1 } => "an acknowledged write is lost".into(),
            Self::Lost { at_least } => format!("at least {at_least} acknowledged writes are lost"),
            Self::NoMasked => "no write is masked by a newer one already there".into(),
            Self::Staleness { within } => format!("no read is stale by more than {}", short(*within)),
            Self::StaleArea { at_most } => format!("the stale area is at most {at_most} s a write"),
            Self::Cost { per_update } => format!("at most {per_update} lines an update"),
            Self::Available { on, within } => {
                let within = within.map_or(String::new(), |within| format!(" within {}", short(within)));
                format!("{} every command{within}", on.does(servers, "answers", "answer"))
            }
            Self::Quiescent => "nothing is in flight and nothing is due".into(),
            Self::AgreeLine { client, scope } => {
                let client = client.as_deref().unwrap_or("every client");
                format!("{} the same line about {client}", scope.does(servers, "holds", "hold"))
            }
            Self::Stale { client, on: these } => {
                format!("{} {} stale about {client}", on(these), verb(these, "is", "are"))
            }
            Self::Knows { client, version, on: these } => {
                format!("{} {} {}", on(these), verb(these, "knows", "know"), version.of(client, servers))
            }
            Self::Lacks { client, version, on: these } => {
                format!("{} {} {}", on(these), verb(these, "lacks", "lack"), version.of(client, servers))
            }
        }
    }
}

impl ConvergedMode {
    fn predicate(self) -> &'static str {
        match self {
            Self::Survivors => "converged",
            Self::Acknowledged => "converged on the newest acknowledged writes",
            Self::Agree => "agree",
        }
    }
}

impl Scope {
    fn subject(&self, servers: &[Arc<str>]) -> String {
        match self {
            Self::Core => "all servers of the core".into(),
            Self::Running => "all running servers".into(),
            Self::Servers(these) => names(these, servers),
        }
    }

    /// The subject with its verb, which is another one for a lone server.
    fn does(&self, servers: &[Arc<str>], one: &str, more: &str) -> String {
        let is_one = matches!(self, Self::Servers(these) if these.len() == 1);
        format!("{} {}", self.subject(servers), if is_one { one } else { more })
    }
}

impl VersionBound {
    /// The version of a client, in words.
    pub(crate) fn of(&self, client: &str, servers: &[Arc<str>]) -> String {
        let time = self.time.map_or(String::new(), |time| format!("'s {time} or newer"));
        let origin = self.origin.map_or(String::new(), |server| format!(" from {}", servers[server.index()]));
        format!("{client}{time}{origin}")
    }
}

fn verb<'a>(these: &[ServerId], one: &'a str, more: &'a str) -> &'a str {
    if these.len() == 1 { one } else { more }
}
