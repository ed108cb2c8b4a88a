//! Steps in which something is done to the herd: the values behind the words of the table of verbs.

use std::sync::Arc;
use std::time::Duration;

use super::names::Names;
use crate::act::{PartitionMode, ServerVerb, Share, Spec, Takes, Verb, WayVerb, Ways};
use crate::config::{DelayKeys, ServerId, Slowness};
use crate::diagnostic::{Choice, Problem, Table, Value};

/// Returns the row of the verb that a step's key spells.
pub(super) fn spec(key: &str) -> Option<&'static Spec> {
    Spec::all().find(|spec| spec.word == key)
}

/// Reads what a step does to the herd. `key` is the word of a verb.
pub(super) fn verb(key: &str, value: Value<'_>, names: &Names<'_>) -> Option<Verb> {
    let spec = spec(key)?;
    let verb = match (spec.server_verb(), spec.way_verb()) {
        (Some(verb), _) => server_verb(verb, value, names),
        (None, Some(verb)) => way_verb(verb, value, names),
        (None, None) if spec.takes == Takes::Servers => names.servers(value).map(|on| Verb::RollingRestart { on }),
        (None, None) => partition(value, names),
    }?;
    match verb.plan(names.topology, &names.wiring) {
        Ok(_) => Some(verb),
        Err(refused) => value.reject(value.error(refused.told(names.topology, &names.wiring))),
    }
}

fn server_verb(verb: ServerVerb, value: Value<'_>, names: &Names<'_>) -> Option<Verb> {
    match verb {
        ServerVerb::Clock(_) => value.table(|table| {
            let server = table.required("server", |value| names.server(value));
            let offset = table.required("offset", Value::signed_duration);
            let offset = i64::try_from(offset?.as_nanos()).ok()?;
            Some(Verb::Servers { verb: ServerVerb::Clock(offset), on: vec![server?] })
        }),
        _ => Some(Verb::Servers { verb, on: names.servers(value)? }),
    }
}

fn way_verb(verb: WayVerb, value: Value<'_>, names: &Names<'_>) -> Option<Verb> {
    match verb {
        WayVerb::Slow(_) => value.table(|table| slow(table, names)),
        WayVerb::Lose(_) => value.table(|table| {
            let on = table.required("way", |value| names.ways(value));
            let share = table.required("share", share);
            Some(Verb::Ways { verb: WayVerb::Lose(share?), on: on? })
        }),
        WayVerb::Reset { .. } if value.is_table() => value.table(|table| {
            let on = table.required("link", |value| names.ways(value));
            let after = table.optional("after", |value| value.integer(0..=u64::MAX >> 1)).unwrap_or(0);
            Some(Verb::Ways { verb: WayVerb::Reset { after }, on: on? })
        }),
        WayVerb::Drop { .. } => value.table(|table| single_line(table, names, |nth| WayVerb::Drop { nth })),
        WayVerb::Duplicate { .. } => value.table(|table| single_line(table, names, |nth| WayVerb::Duplicate { nth })),
        _ => Some(Verb::Ways { verb, on: names.ways(value)? }),
    }
}

fn slow(table: &mut Table<'_>, names: &Names<'_>) -> Option<Verb> {
    let before = table.problems().errors();
    let on = table.required("link", |value| names.ways(value));
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
    Some(Verb::Ways { verb: WayVerb::Slow(slowness), on: on? })
}

fn share(value: Value<'_>) -> Option<Share> {
    match value.text()?.parse::<Share>() {
        Ok(share) => Some(share),
        Err(error) => {
            value.reject(value.error(format!("{} {error}", value.subject())).help("write \"5%\", for example"))
        }
    }
}

fn single_line(table: &mut Table<'_>, names: &Names<'_>, verb: impl Fn(u64) -> WayVerb) -> Option<Verb> {
    let way = table.required("way", |value| names.one_way(value));
    let nth = table.optional("nth", |value| value.integer(1..=u64::MAX >> 1)).unwrap_or(1);
    Some(Verb::Ways { verb: verb(nth), on: Ways::These(vec![way?]) })
}

/// How long a hold lasts is told beside the word.
impl Choice for PartitionMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cut", Self::Cut), ("hold", Self::Hold), ("hold-then-cut", Self::HoldThenCut(Duration::ZERO))];
}

/// Reads `[[..], [..]]` or `{ groups, mode, after }`.
fn partition(value: Value<'_>, names: &Names<'_>) -> Option<Verb> {
    if !value.is_table() {
        return Some(Verb::Partition { groups: groups(value, names)?, mode: PartitionMode::Cut });
    }
    value.table(|table| {
        let groups = table.required("groups", |value| groups(value, names));
        let mode = match table.optional("mode", Value::choice).unwrap_or_default() {
            PartitionMode::HoldThenCut(_) => {
                PartitionMode::HoldThenCut(table.required("after", Value::positive_duration)?)
            }
            mode => mode,
        };
        Some(Verb::Partition { groups: groups?, mode })
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
        let problem = value.error("this partition has a single group");
        return value.reject(problem.help("name two groups; servers in none are one more"));
    }
    Some(groups)
}

/// Returns the verb in one line, as reports show the step.
pub(super) fn shown(verb: &Verb, names: &Names<'_>) -> String {
    let mut name = |server: ServerId| Ok::<Arc<str>, std::convert::Infallible>(names.topology.name(server).clone());
    let Ok(named) = verb.clone().map(&mut name);
    format!("{} {}{}", verb.spec().word, named.targets(), named.manner())
}
