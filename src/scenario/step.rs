//! One `[[step]]`: its verb, and when it is done.

use std::ops::Range;
use std::time::Duration;

use super::names::Names;
use super::{LineKind, Milestone, STEP_DEADLINE, Said, Step, Task, Until, When, check, fault, talk};
use crate::act::Spec;
use crate::claim::{self, Check, StepId};
use crate::config::Way;
use crate::diagnostic::{Choice, Table, Value};
use crate::history::{self};

/// What a step can do besides the verbs of [`crate::act`].
const OTHERS: [&str; 9] = ["iamat", "whatsat", "send", "close", "workload", "until", "wait", "check", "assert"];

/// Returns every key that says what a step does.
pub(super) fn tasks() -> Vec<&'static str> {
    OTHERS.into_iter().chain(Spec::all().map(|spec| spec.word)).collect()
}

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
            let (key, task) = table.one_of(&tasks())?;
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
            "until" => Task::Until(self.until(value)?),
            "wait" => Task::Wait(value.duration()?),
            "check" => return Some((Task::Check, Some(check::at_step(value, claim::When::Here, id, self.names)?))),
            "assert" => {
                return Some((Task::Check, Some(check::at_step(value, claim::When::FromHere, id, self.names)?)));
            }
            verb if !self.unrealistic && fault::spec(verb).is_some_and(|spec| spec.unrealistic) => {
                let problem = value.error(format!("TCP does nothing like `{verb}`"));
                return value.reject(problem.help("say `unrealistic = true` at the top of the scenario to allow it"));
            }
            verb => Task::Herd(fault::verb(verb, value, self.names)?),
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
        if !fault::spec(key).is_some_and(|spec| spec.lasts) {
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
        self.names.ways(value)?.of(&self.names.wiring).ok()
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
            Task::Herd(verb) => fault::shown(verb, self.names),
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
}
