//! One `[[step]]`: its verb, and when it is done.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::names::Names;
use super::{LineKind, Milestone, STEP_DEADLINE, Said, Step, Task, Until, When, check, fault, talk};
use crate::claim::{self, Check, StepId};
use crate::config::Way;
use crate::diagnostic::{Choice, Table, Value};
use crate::herd::Ways;
use crate::history::{self};

/// What a step can do, as it is spelt.
pub(super) const TASKS: [&str; 26] = [
    "iamat",
    "whatsat",
    "send",
    "close",
    "workload",
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
    "partition",
    "until",
    "wait",
    "check",
    "assert",
];

impl Choice for LineKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("sent", Self::Sent), ("heard", Self::Heard), ("missed", Self::Missed), ("accepted", Self::Accepted)];
}

/// What reading the steps of a file needs to know.
pub(super) struct Reading<'a> {
    pub(super) names: &'a Names<'a>,
    /// The text of the file, for line numbers.
    pub(super) text: &'a str,
    /// The file, when it is not the scenario itself.
    pub(super) file: Option<String>,
    /// Whether single lines may be dropped and doubled.
    pub(super) unrealistic: bool,
}

/// Steps, and the checks among them.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) checks: Vec<Check>,
}

impl Reading<'_> {
    /// Reads one step and adds it as often as it is repeated.
    pub(super) fn step(&self, value: Value<'_>, into: &mut Steps) -> Option<()> {
        value.table(|table| {
            let begun = table.span();
            let (key, task) = table.one_of(&TASKS)?;
            let span = table.key_span(key).map_or(begun, |key| key.start..task.span().end);
            let repeat = table.optional("repeat", |value| value.integer(1..=100_000_u32)).unwrap_or(1);
            let when = self.when(table);
            if when != When::InTurn && (key == "until" || key == "wait") {
                let problem =
                    task.error(format!("`{key}` keeps the steps after it waiting, so it is done in its turn"));
                table.problems().push(problem.help("leave out `at`, `after` and `when`"));
            }
            let lasting = table.optional("for", |value| self.lasting(key, value));
            let deadline = table.optional("deadline", Value::positive_duration).unwrap_or(STEP_DEADLINE);
            for _ in 0..repeat {
                let id = StepId(into.steps.len() as u32);
                let (task, check) = self.task(key, task, id)?;
                into.checks.extend(check);
                let shown =
                    history::Step { text: self.shown(key, &task), file: self.file.clone(), line: self.line(&span) };
                into.steps.push(Step { shown, span: span.clone(), when: when.clone(), task, lasting, deadline });
            }
            Some(())
        })
    }

    fn task(&self, key: &str, value: Value<'_>, id: StepId) -> Option<(Task, Option<Check>)> {
        let task = match key {
            "iamat" => Task::Talk(talk::iamat(value, self.names)?),
            "whatsat" => Task::Talk(talk::whatsat(value, self.names)?),
            "send" => Task::Talk(talk::send(value, self.names)?),
            "close" => Task::Close { session: talk::close(value, self.names)? },
            "workload" => Task::Workload(talk::workload(value, self.names)?),
            "partition" => Task::Herd(fault::partition(value, self.names)?),
            "until" => Task::Until(self.until(value)?),
            "wait" => Task::Wait(value.duration()?),
            "check" => return Some((Task::Check, Some(check::at_step(value, claim::When::Here, id, self.names)?))),
            "assert" => {
                return Some((Task::Check, Some(check::at_step(value, claim::When::FromHere, id, self.names)?)));
            }
            "drop" | "duplicate" if !self.unrealistic => {
                let problem = value.error(format!("TCP does not {key} single lines"));
                return value
                    .reject(problem.help("say `unrealistic = true` at the top of the scenario to do it all the same"));
            }
            verb => Task::Herd(fault::verbs(verb, value, self.names)?),
        };
        Some((task, None))
    }

    fn when(&self, table: &mut Table<'_>) -> When {
        let at = table.optional("at", Value::duration).map(When::At);
        let after = table.optional("after", Value::duration).map(When::After);
        let milestone = table.optional("when", |value| self.milestone(value)).map(When::Milestone);
        let given: Vec<_> = ["at", "after", "when"].into_iter().filter_map(|key| table.key_span(key)).collect();
        if let [_, second, ..] = given.as_slice() {
            let problem =
                crate::diagnostic::Problem::error(second.clone(), "`at`, `after` and `when` exclude each other");
            table.problems().push(problem.help("keep one of them"));
        }
        at.or(after).or(milestone).unwrap_or_default()
    }

    fn lasting(&self, key: &str, value: Value<'_>) -> Option<Duration> {
        let lasts = key == "partition" || (fault::VERBS.contains(&key) && !fault::MOMENTARY.contains(&key));
        if !lasts {
            return value.reject(value.error(format!("`{key}` is done at once and lasts no time")));
        }
        value.positive_duration()
    }

    fn until(&self, value: Value<'_>) -> Option<Until> {
        match value.peek_text() {
            Some("quiescent") => Some(Until::Quiescent),
            Some("done") => Some(Until::Done),
            Some(_) => value.mismatch("\"quiescent\", \"done\" or a table with `record` or `lines`"),
            None => self.milestone(value).map(Until::Milestone),
        }
    }

    /// `{ record = client, on = [servers] }` or `{ lines = n, kind, on = links, client }`.
    fn milestone(&self, value: Value<'_>) -> Option<Milestone> {
        value.table(|table| match table.one_of(&["record", "lines"])? {
            ("record", client) => {
                let client = self.names.asked_client(client);
                let on = table.required("on", |value| self.names.servers(value));
                Some(Milestone::Record { client: client?, on: on? })
            }
            (_, lines) => {
                let count = lines.integer(1..=u64::MAX >> 1);
                let kind = table.optional("kind", Value::choice).unwrap_or(LineKind::Heard);
                let on = table.required("on", |value| self.line_ways(kind, value));
                let client = table.optional("client", |value| self.names.asked_client(value));
                Some(Milestone::Lines { count: count?, kind, on: on?, client })
            }
        })
    }

    /// Lines between servers are counted on links, those of clients at servers.
    fn line_ways(&self, kind: LineKind, value: Value<'_>) -> Option<Vec<Way>> {
        if kind == LineKind::Accepted {
            let servers = self.names.servers(value)?;
            return Some(servers.into_iter().map(|server| Way { from: server, to: server }).collect());
        }
        let ways = self.names.ways(value)?;
        Some(ways.into_iter().flat_map(|ways: Ways| ways.of(&self.names.wiring)).collect())
    }

    fn line(&self, span: &Range<usize>) -> u32 {
        1 + self.text[..span.start].matches('\n').count() as u32
    }

    /// A step in one line.
    fn shown(&self, key: &str, task: &Task) -> String {
        let name = |server| &**self.names.topology.name(server);
        match task {
            Task::Talk(talk) => {
                let said = match &talk.said {
                    Said::Iamat { client, location, .. } => format!("IAMAT {client} {location}"),
                    Said::Bytes(bytes) => String::from_utf8_lossy(bytes).trim_end().to_owned(),
                };
                format!("{said} at {}", name(talk.session.via))
            }
            Task::Workload(load) => format!("{} commands, {} a second", load.count, load.rate),
            Task::Close { session } => format!("close the connection to {}", name(session.via)),
            Task::Until(Until::Quiescent) => "until quiescent".into(),
            Task::Until(Until::Done) => "until all is done".into(),
            Task::Until(Until::Milestone(milestone)) => format!("until {}", self.milestone_shown(milestone)),
            Task::Wait(duration) => format!("wait {}", crate::words::short(*duration)),
            Task::Herd(verbs) => self.herd_shown(key, verbs),
            Task::Check => key.into(),
        }
    }

    fn milestone_shown(&self, milestone: &Milestone) -> String {
        match milestone {
            Milestone::Lines { count, .. } => format!("{count} lines have gone by"),
            Milestone::Record { client, on } => {
                let on: Vec<_> = on.iter().map(|&server| &**self.names.topology.name(server)).collect();
                format!("{client} is known to {}", on.join(", "))
            }
        }
    }

    fn herd_shown(&self, key: &str, verbs: &[crate::herd::Verb]) -> String {
        let actions = verbs.iter().flat_map(|verb| verb.actions(self.names.topology, &self.names.wiring));
        let named: BTreeSet<Arc<str>> = actions.flat_map(|action| self.action_names(&action)).collect();
        format!("{key} {}", named.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn action_names(&self, action: &crate::driver::Action) -> Vec<Arc<str>> {
        use crate::driver::Action;

        let name = |server| self.names.topology.name(server).clone();
        match *action {
            Action::Kill(server)
            | Action::Stop(server)
            | Action::Start(server)
            | Action::Restart(server)
            | Action::Pause(server)
            | Action::Resume(server)
            | Action::SetClock(server, _) => vec![name(server)],
            Action::Cut(way)
            | Action::Heal(way)
            | Action::Hold(way)
            | Action::Release(way)
            | Action::Slow(way, _)
            | Action::Reset(way, _)
            | Action::HalfOpen(way)
            | Action::Drop(way, _)
            | Action::Duplicate(way, _) => vec![format!("{}->{}", name(way.from), name(way.to)).into()],
            Action::Send { .. } | Action::Close(_) => Vec::new(),
        }
    }
}
