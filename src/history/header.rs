//! The first line of a history in JSON: everything about the run that its entries do not tell.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DriverKind, History, Origin, Sight, Step};
use crate::claim::{Assertion, Check, StepId, When, limit};
use crate::config::{Delay, Link, LinkMode, Redial, ReplyMode, ServerId, Strategy};
use crate::time::Timestamp;
use crate::words::{Nanoseconds, nanoseconds};

/// The version of the JSON that this herdsim writes and reads.
pub const VERSION: u32 = 2;

/// What every version of the header says.
#[derive(Deserialize)]
pub(super) struct Format {
    pub(super) herdsim_history: u32,
}

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Version of this format.
    herdsim_history: u32,
    /// What the scenario says it shows, or the name of a herd without one.
    title: String,
    /// The scenario's file, as it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    /// What ran the herd.
    driver: DriverKind,
    /// How updates travel.
    strategy: Strategy,
    /// When a server answers a client's IAMAT. Not `at-once`: a write counts from the entry `acknowledged`.
    #[serde(default, skip_serializing_if = "crate::words::is_default")]
    reply: ReplyMode,
    /// Seed of all random draws, as text: it may be larger than numbers of JavaScript.
    seed: String,
    /// Time at which the herd began to start, in RFC 3339 with nanoseconds. Times of entries count from here.
    started: String,
    /// Nanoseconds from there until all links were up for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linked: Option<u64>,
    /// The one server whose log this is. A log is no whole history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log_of: Option<String>,
    /// The servers, in the order of the herd's file.
    servers: Vec<ServerHeader>,
    /// The links that the strategy uses.
    links: Vec<LinkHeader>,
    /// How long a server waits before it dials a neighbour again.
    #[serde(with = "RedialHeader")]
    redial: Redial,
    /// Most clients that a server remembers.
    max_records: usize,
    /// The script, in the numbering that entries use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Step>,
    /// What must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checks: Vec<CheckHeader>,
    /// Limits to numbers: the name of a number, and its limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<(String, String)>,
}

/// A server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ServerHeader {
    /// Its name.
    name: String,
    /// Nanoseconds that its clock is ahead at the start.
    #[serde(default, skip_serializing_if = "crate::words::is_default")]
    clock_offset: i64,
    /// Whether the server told of itself what it did, or was seen from outside only.
    #[serde(default, skip_serializing_if = "crate::words::is_default")]
    sight: Sight,
}

/// A link.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkHeader {
    /// Its two servers.
    ends: [String; 2],
    /// How lines travel over it.
    mode: LinkMode,
    /// Delay from the first of `ends` to the second.
    there: Delay,
    /// Delay from the second of `ends` to the first.
    back: Delay,
}

/// Exponential backoff between two dials, in nanoseconds.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Redial", deny_unknown_fields)]
#[schemars(rename = "RedialHeader")]
struct RedialHeader {
    /// Wait after the first failure.
    #[serde(with = "Nanoseconds")]
    first: Duration,
    /// Longest wait.
    #[serde(with = "Nanoseconds")]
    cap: Duration,
    /// Longest time of one dial.
    #[serde(with = "Nanoseconds")]
    timeout: Duration,
}

/// A claim.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckHeader {
    /// What is asserted.
    assert: Assertion<String>,
    /// The part of the run that it is about.
    when: When,
    /// The step that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<StepId>,
    /// `true` if it must be violated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inverted: bool,
    /// `true` if it is asserted of every run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    implied: bool,
}

/// Writes a time in RFC 3339, exact to the nanosecond.
fn rfc3339(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.nanoseconds()));
    format!("{:.9}", time.expect("nanoseconds of 64 bits are within the range of dates"))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("`{text}` is not a time"))?;
    let nanoseconds = i64::try_from(time.as_nanosecond()).map_err(|_| format!("`{text}` is out of range"))?;
    Ok(Timestamp::from_nanoseconds(nanoseconds))
}

impl Header {
    pub(super) fn of(history: &History, log_of: Option<ServerId>) -> Self {
        let origin = &*history.origin;
        let name = |server: ServerId| origin.name(server).to_owned();
        let servers = origin.servers.iter().zip(&origin.clocks).zip(&origin.sights);
        Self {
            herdsim_history: VERSION,
            title: origin.title.clone(),
            scenario: origin.scenario.clone(),
            driver: origin.driver,
            strategy: origin.strategy,
            reply: origin.reply,
            seed: history.seed.to_string(),
            started: rfc3339(history.started),
            linked: history.linked.map(|linked| nanoseconds(linked - history.started)),
            log_of: log_of.map(name),
            servers: servers
                .map(|((name, &clock_offset), &sight)| ServerHeader { name: name.to_string(), clock_offset, sight })
                .collect(),
            links: origin.links.iter().map(|link| LinkHeader::of(link, name)).collect(),
            redial: origin.redial,
            max_records: origin.max_records,
            steps: origin.steps.clone(),
            checks: origin.checks.iter().map(|check| CheckHeader::of(check, name)).collect(),
            thresholds: origin.thresholds.iter().map(|limit| (limit.metric.name().into(), limit.bound())).collect(),
        }
    }

    /// Returns the history that begins with this header.
    pub(super) fn history(self) -> Result<History, String> {
        let mut origin = Origin {
            title: self.title,
            scenario: self.scenario,
            driver: self.driver,
            strategy: self.strategy,
            reply: self.reply,
            servers: self.servers.iter().map(|server| Arc::from(server.name.as_str())).collect(),
            clocks: self.servers.iter().map(|server| server.clock_offset).collect(),
            sights: self.servers.iter().map(|server| server.sight).collect(),
            links: Vec::new(),
            redial: self.redial,
            max_records: self.max_records,
            steps: self.steps,
            checks: Vec::new(),
            thresholds: Vec::new(),
        };
        origin.links = self.links.into_iter().map(|link| link.link(&origin)).collect::<Result<_, _>>()?;
        origin.checks = self.checks.into_iter().map(|check| check.check(&origin)).collect::<Result<_, _>>()?;
        let limits = self.thresholds.iter().map(|(name, bound)| limit::parse(name, bound));
        origin.thresholds = limits.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let seed = self.seed.parse().map_err(|_| format!("`{}` is not a seed", self.seed))?;
        let started = parse_time(&self.started)?;
        let mut history = History::new(Arc::new(origin), seed, started);
        history.linked = self.linked.map(|linked| started + Duration::from_nanos(linked));
        Ok(history)
    }
}

impl LinkHeader {
    fn of(link: &Link, name: impl Fn(ServerId) -> String) -> Self {
        let [there, back] = link.delays;
        Self { ends: link.ends.map(name), mode: link.mode, there, back }
    }

    fn link(self, origin: &Origin) -> Result<Link, String> {
        let [a, b] = self.ends;
        let ends = [origin.named(&a)?, origin.named(&b)?];
        Ok(Link { ends, mode: self.mode, delays: [self.there, self.back] })
    }
}

impl CheckHeader {
    fn of(check: &Check, name: impl Fn(ServerId) -> String) -> Self {
        let mut name = |server| Ok::<_, std::convert::Infallible>(name(server));
        let Ok(assert) = check.assertion.clone().map(&mut name);
        Self { assert, when: check.when, step: check.step, inverted: check.inverted, implied: check.implied }
    }

    fn check(self, origin: &Origin) -> Result<Check, String> {
        let assertion = self.assert.map(&mut |name: String| origin.named(&name))?;
        let check = Check::new(assertion, self.when, self.step, &origin.servers);
        Ok(Check { inverted: self.inverted, implied: self.implied, ..check })
    }
}
