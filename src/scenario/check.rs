//! What a scenario asserts: at a step, from a step on, or at the end.

use super::names::Names;
use super::{Said, Step, Task};
use crate::claim::{Assertion, Check, ConvergedMode, Metric, Scope, StepId, Threshold, VersionBound, When, limit};
use crate::diagnostic::{Choice, Problem, Table, Value, quoted};
use crate::wire::{Command, PosixTime, lines, parse};

impl Choice for ConvergedMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("survivors", Self::Survivors), ("acknowledged", Self::Acknowledged), ("agree", Self::Agree)];
}

/// `check = { stale = "kiwi", on = [..] }`, or `assert = { .. }` from here on.
pub(super) fn at_step(value: Value<'_>, when: When, step: StepId, names: &Names<'_>) -> Option<Check> {
    value.table(|table| {
        let (name, asserted) = table.one_of(&Assertion::names())?;
        let inverted = table.optional("violated", Value::boolean).unwrap_or(false);
        let assertion = match name {
            "stale" | "knows" | "lacks" => about_client(name, asserted, table, names)?,
            _ => assertion(name, asserted, names)?,
        };
        if when == When::FromHere && !assertion.is_continuous() {
            let problem = asserted.error(format!("{} is about a moment, not about a time", quoted(name)));
            return asserted.reject(problem.help("use `check` for this moment, or `[expect]` for the end"));
        }
        let check = Check::new(assertion, when, Some(step), &server_names(names));
        Some(Check { inverted, ..check })
    })
}

fn server_names(names: &Names<'_>) -> Vec<std::sync::Arc<str>> {
    names.topology.servers.iter().map(|server| server.name.clone()).collect()
}

fn about_client(name: &str, client: Value<'_>, table: &mut Table<'_>, names: &Names<'_>) -> Option<Assertion> {
    let client = names.asked_client(client);
    let on = table.required("on", |value| names.servers(value));
    if name == "stale" {
        return Some(Assertion::Stale { client: (*client?).into(), on: on? });
    }
    let time = table.optional("time", posix_time);
    let origin = table.optional("origin", |value| names.server(value));
    let version = VersionBound { time, origin };
    let (client, on) = ((*client?).into(), on?);
    Some(match name {
        "knows" => Assertion::Knows { client, version, on },
        _ => Assertion::Lacks { client, version, on },
    })
}

fn posix_time(value: Value<'_>) -> Option<PosixTime> {
    match PosixTime::parse(value.text()?) {
        Ok(time) => Some(time),
        Err(error) => value.reject(value.error(error.to_string())),
    }
}

/// An assertion that is not about single clients: `true`, a bare value, or a table of parameters.
fn assertion(name: &str, value: Value<'_>, names: &Names<'_>) -> Option<Assertion> {
    if value.is_table() { value.table(|table| parameters(name, table, names)) } else { lone(name, value) }
}

/// An assertion whose one parameter is the value, or one without parameters.
fn lone(name: &str, value: Value<'_>) -> Option<Assertion> {
    match name {
        "healed_within" => Some(Assertion::HealedWithin { within: value.positive_duration()? }),
        "staleness" => Some(Assertion::Staleness { within: value.duration()? }),
        "stale_area" => Some(Assertion::StaleArea { at_most: value.number(0.0..=1e12)? }),
        "cost" => Some(Assertion::Cost { per_update: value.number(0.0..=1e12)? }),
        "queue_bound" => Some(Assertion::QueueBound { lines: value.integer(1..=u64::MAX >> 1)? }),
        "lost" if value.is_integer() => Some(Assertion::Lost { at_least: value.integer(1..=u64::MAX >> 1)? }),
        _ => plain(name, value),
    }
}

fn plain(name: &str, value: Value<'_>) -> Option<Assertion> {
    let Some(plain) = Assertion::plain(name) else {
        return value.mismatch("a table with its parameters");
    };
    match value.boolean()? {
        true => Some(plain),
        false => value.reject(value.error("leave it out, or say \"violated\" when it must not hold")),
    }
}

fn parameters(name: &str, table: &mut Table<'_>, names: &Names<'_>) -> Option<Assertion> {
    // Read by whoever asked for the assertion; known here so that it is not unknown.
    table.value("violated");
    match name {
        "converged" => {
            let within = table.optional("within", Value::duration);
            let by = table.optional("by", Value::duration);
            let mode = table.optional("mode", Value::choice).unwrap_or_default();
            Some(Assertion::Converged { mode, scope: scope(table, names).unwrap_or_default(), within, by })
        }
        "propagated" => {
            let within = table.required("within", Value::positive_duration);
            let quantile = table.optional("quantile", |value| value.number(0.001..=1.0)).unwrap_or(1.0);
            Some(Assertion::Propagated { within: within?, quantile })
        }
        "healed_within" | "staleness" => table.required("within", |value| lone(name, value)),
        "lost" => {
            let at_least = table.optional("at_least", |value| value.integer(1..=u64::MAX >> 1)).unwrap_or(1);
            Some(Assertion::Lost { at_least })
        }
        "available" => {
            let within = table.optional("within", Value::duration);
            Some(Assertion::Available { on: scope(table, names).unwrap_or(Scope::Running), within })
        }
        "agree_line" => {
            let client = table.optional("client", |value| names.asked_client(value)).map(|client| (*client).into());
            Some(Assertion::AgreeLine { client, scope: scope(table, names).unwrap_or_default() })
        }
        _ => match Assertion::plain(name) {
            Some(plain) => Some(plain),
            None => {
                table.problems().push(table.error(format!("{} takes a value, not a table", quoted(name))));
                None
            }
        },
    }
}

/// `on = "core" | "running" | [servers]`.
fn scope(table: &mut Table<'_>, names: &Names<'_>) -> Option<Scope> {
    table.optional("on", |value| match value.peek_text() {
        Some("core") => Some(Scope::Core),
        Some("running") => Some(Scope::Running),
        _ => names.servers(value).map(Scope::Servers),
    })
}

/// What `[expect]` says.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) checks: Vec<Check>,
    pub(super) thresholds: Vec<Threshold>,
}

/// What the steps of a script do, as far as it decides what can be seen at all.
#[derive(Debug, Default)]
pub(super) struct Doings {
    writes: bool,
    reads: bool,
    breaks: bool,
}

impl Doings {
    /// Everything, perhaps.
    pub(super) const ANY: Self = Self { writes: true, reads: true, breaks: true };

    pub(super) fn of(steps: &[Step]) -> Self {
        let mut doings = Self::default();
        for step in steps {
            match &step.task {
                Task::Talk(talk) => doings.say(&talk.said),
                Task::Workload(workload) => {
                    doings.writes |= workload.reads < 1.0;
                    doings.reads |= workload.reads > 0.0;
                }
                Task::Herd(_) => doings.breaks = true,
                Task::Close { .. } | Task::Until(_) | Task::Wait(_) | Task::Check => {}
            }
        }
        doings
    }

    fn say(&mut self, said: &Said) {
        let Said::Bytes(bytes) = said else {
            self.writes = true;
            return;
        };
        for line in lines(bytes, true) {
            self.writes |= matches!(parse(line), Command::Iamat { .. } | Command::At(_));
            self.reads |= matches!(parse(line), Command::Whatsat { .. });
        }
    }

    /// Why nothing could ever be seen of this assertion or number, if so.
    fn missing_for(&self, name: &str) -> Option<&'static str> {
        match name {
            "converged" | "propagated" | "no_lost" | "lost" | "no_masked" | "stale_area" | "cost" | "agree_line"
            | "lines per update" | "stale area"
                if !self.writes =>
            {
                Some("no step says where a client is")
            }
            _ if name.starts_with("propagation ") && !self.writes => Some("no step says where a client is"),
            "staleness" | "monotonic_reads" | "read_your_writes" if !self.reads => {
                Some("no step asks with a `whatsat`")
            }
            "healed_within" if !self.breaks => Some("no step breaks anything"),
            _ => None,
        }
    }
}

/// `[expect]`: assertions by name, and limits to numbers.
pub(super) fn expected(table: &mut Table<'_>, doings: &Doings, names: &Names<'_>) -> Option<Expected> {
    let mut expected = Expected::default();
    for (key, value) in table.all() {
        if let Some(why) = doings.missing_for(key.value) {
            let problem =
                Problem::error(key.span.clone(), format!("{} could never be seen to hold", quoted(key.value)));
            table.problems().push(problem.label(why));
        }
        if Assertion::names().contains(&key.value) {
            expected.checks.extend(at_end(key.value, value, names));
        } else {
            expected.thresholds.extend(threshold(key.value, key.span, value));
        }
    }
    Some(expected)
}

/// `expect = "violated: NAME"`: the whole scenario is a counterexample.
pub(super) fn counterexample(value: Value<'_>, names: &Names<'_>) -> Option<Expected> {
    let Some(name) = value.text()?.strip_prefix("violated:").map(str::trim) else {
        return value.mismatch("a table, or \"violated: \" and the name of an assertion");
    };
    let Some(assertion) = Assertion::plain(name) else {
        let problem = value.error(format!("there is no assertion {} without parameters", quoted(name)));
        return value.reject(problem.suggest(name, Assertion::names(), "write it as a table with `violated = true`"));
    };
    let check = Check::new(assertion, When::End, None, &server_names(names)).inverted();
    Some(Expected { checks: vec![check], thresholds: Vec::new() })
}

/// `converged = true`, `converged = { within = "500ms" }`, `converged = "violated"`.
fn at_end(name: &str, value: Value<'_>, names: &Names<'_>) -> Option<Check> {
    let check = |assertion| Check::new(assertion, When::End, None, &server_names(names));
    if matches!(name, "stale" | "knows" | "lacks") {
        let about = |table: &mut Table<'_>| {
            let client = table.required("client", Some)?;
            let inverted = table.optional("violated", Value::boolean).unwrap_or(false);
            about_client(name, client, table, names).map(|assertion| (assertion, inverted))
        };
        let (assertion, inverted) = value.table(about)?;
        return Some(Check { inverted, ..check(assertion) });
    }
    if value.peek_text() == Some("violated") {
        let Some(plain) = Assertion::plain(name) else {
            return value.mismatch("a table with its parameters and `violated = true`");
        };
        return Some(check(plain).inverted());
    }
    let inverted = value.is_table() && value.table(|table| Some(is_violated(table))).unwrap_or(false);
    Some(Check { inverted, ..check(assertion(name, value, names)?) })
}

/// Whether `violated = true` stands in a table that somebody else reads.
fn is_violated(table: &mut Table<'_>) -> bool {
    let violated = table.all().into_iter().find(|(key, _)| key.value == "violated");
    violated.and_then(|(_, value)| value.boolean()).unwrap_or(false)
}

fn threshold(name: &str, key: std::ops::Range<usize>, value: Value<'_>) -> Option<Threshold> {
    // An unknown name is the mistake to report, whatever its value is.
    match limit::parse(name, value.peek_text().unwrap_or_default()) {
        Ok(threshold) => Some(threshold),
        Err(error @ limit::MetricError::Unknown { .. }) => {
            let both = Assertion::names().into_iter().chain(Metric::all().map(Metric::name));
            let problem = Problem::error(key, format!("{} is neither an assertion nor a number", quoted(name)));
            value.reject(problem.suggest(name, both, error.to_string()))
        }
        Err(_) if value.peek_text().is_none() => value.mismatch("a limit such as \"<=5\""),
        Err(error) => value.reject(value.error(error.to_string())),
    }
}
