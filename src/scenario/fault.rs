//! Steps in which something is done to the herd.

use super::names::Names;
use crate::config::{DelayKeys, ServerId, Slowness};
use crate::diagnostic::{Choice, Problem, Table, Value};
use crate::herd::{Partition, PartitionMode, Verb, Ways};

/// The verbs, as steps spell them.
pub(super) const VERBS: [&str; 16] = [
    "kill",
    "stop",
    "start",
    "restart",
    "pause",
    "resume",
    "cut",
    "heal",
    "hold",
    "release",
    "half-open",
    "slow",
    "reset",
    "drop",
    "duplicate",
    "clock",
];

/// Verbs that end what another one began, or happen once: they cannot last.
pub(super) const MOMENTARY: [&str; 8] = ["start", "restart", "resume", "heal", "release", "reset", "drop", "duplicate"];

/// What a step does to the herd; `key` is one of [`VERBS`].
pub(super) fn verbs(key: &str, value: Value<'_>, names: &Names<'_>) -> Option<Vec<Verb>> {
    let servers = |verb: fn(ServerId) -> Verb| Some(names.servers(value)?.into_iter().map(verb).collect());
    let ways = |verb: fn(Ways) -> Verb| Some(names.ways(value)?.into_iter().map(verb).collect());
    match key {
        "kill" => servers(Verb::Kill),
        "stop" => servers(Verb::Stop),
        "start" => servers(Verb::Start),
        "restart" => servers(Verb::Restart),
        "pause" => servers(Verb::Pause),
        "resume" => servers(Verb::Resume),
        "cut" => ways(Verb::Cut),
        "heal" => ways(Verb::Heal),
        "hold" => ways(Verb::Hold),
        "release" => ways(Verb::Release),
        "half-open" => ways(Verb::HalfOpen),
        "slow" => value.table(|table| slow(table, names)),
        "reset" => reset(value, names),
        "drop" => value.table(|table| single_line(table, names, Verb::Drop)),
        "duplicate" => value.table(|table| single_line(table, names, Verb::Duplicate)),
        _ => value.table(|table| clock(table, names)),
    }
}

fn slow(table: &mut Table<'_>, names: &Names<'_>) -> Option<Vec<Verb>> {
    let before = table.problems().errors();
    let ways = table.required("link", |value| names.ways(value));
    let keys = DelayKeys::read(table);
    let rate = table.optional("rate", |value| value.integer(1..=u32::MAX));
    if table.problems().errors() > before {
        return None;
    }
    let slowness = Slowness { delay: keys.delay(), rate };
    if let Some(span) = table.key_span("distribution").filter(|_| slowness.delay.jitter.is_zero()) {
        let problem = Problem::error(span, "there is no jitter that could be distributed");
        table.problems().push(problem.help("give `jitter`, or remove `distribution`"));
    }
    if !slowness.slows() {
        let problem = table.error("this slows nothing");
        table.problems().push(problem.help("give `latency`, `jitter`, `bandwidth` or `rate`"));
        return None;
    }
    Some(ways?.into_iter().map(|ways| Verb::Slow(ways, slowness)).collect())
}

fn reset(value: Value<'_>, names: &Names<'_>) -> Option<Vec<Verb>> {
    if !value.is_table() {
        return Some(names.ways(value)?.into_iter().map(|ways| Verb::Reset(ways, 0)).collect());
    }
    value.table(|table| {
        let ways = table.required("link", |value| names.ways(value));
        let after = table.optional("after", |value| value.integer(0..=u64::MAX >> 1)).unwrap_or(0);
        Some(ways?.into_iter().map(|ways| Verb::Reset(ways, after)).collect())
    })
}

fn single_line(
    table: &mut Table<'_>,
    names: &Names<'_>,
    verb: fn(crate::config::Way, u64) -> Verb,
) -> Option<Vec<Verb>> {
    let way = table.required("way", |value| names.way(value));
    let nth = table.optional("nth", |value| value.integer(1..=u64::MAX >> 1)).unwrap_or(1);
    Some(vec![verb(way?, nth)])
}

fn clock(table: &mut Table<'_>, names: &Names<'_>) -> Option<Vec<Verb>> {
    let server = table.required("server", |value| names.server(value));
    let offset = table.required("offset", Value::signed_duration);
    Some(vec![Verb::SetClock(server?, i64::try_from(offset?.as_nanos()).ok()?)])
}

/// The modes of a partition, as a file spells them.
#[derive(Debug, Clone, Copy, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// Lines in flight are lost.
    Cut,
    /// Nothing is lost.
    Hold,
    /// Held, and cut after a while.
    HoldThenCut,
}

impl Choice for Mode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cut", Self::Cut), ("hold", Self::Hold), ("hold-then-cut", Self::HoldThenCut)];
}

/// `partition = [[..], [..]]` or `{ groups, mode, after }`.
pub(super) fn partition(value: Value<'_>, names: &Names<'_>) -> Option<Vec<Verb>> {
    if !value.is_table() {
        let groups = groups(value, names)?;
        return Some(vec![Verb::Partition(Partition { groups, mode: PartitionMode::Cut })]);
    }
    value.table(|table| {
        let groups = table.required("groups", |value| groups(value, names));
        let mode = table.optional("mode", Value::choice).unwrap_or(Mode::Cut);
        let after = match mode {
            Mode::HoldThenCut => table.required("after", Value::positive_duration),
            Mode::Cut | Mode::Hold => None,
        };
        let mode = match mode {
            Mode::Cut => PartitionMode::Cut,
            Mode::Hold => PartitionMode::Hold,
            Mode::HoldThenCut => PartitionMode::HoldThenCut(after?),
        };
        Some(vec![Verb::Partition(Partition { groups: groups?, mode })])
    })
}

fn groups(value: Value<'_>, names: &Names<'_>) -> Option<Vec<Vec<ServerId>>> {
    let mut seen = Vec::new();
    let groups = value.each(|group| {
        let servers = names.servers(group)?;
        if let Some(&twice) = servers.iter().find(|server| seen.contains(*server)) {
            return group.reject(group.error(format!("{} is in two groups", names.topology.name(twice))));
        }
        seen.extend_from_slice(&servers);
        Some(servers)
    })?;
    let rest = seen.len() < names.topology.servers.len();
    if groups.len() + usize::from(rest) < 2 {
        return value
            .reject(value.error("this separates nobody").help("name two groups; servers in none are one more"));
    }
    Some(groups)
}
