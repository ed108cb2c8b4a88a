//! Causes: how a run came to what a claim forbids, for people and for programs.

use std::fmt;
use std::sync::Arc;

use super::run::{Change, Run, Version, Write};
use crate::config::{ServerId, Way};
use crate::history::{Event, Fact};
use crate::words::clip;

/// Most characters of a cause's title.
pub(super) const TITLE: usize = 40;

/// One cause of a claim's failure.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Label of a few words: `Bona-Clark cut`, `Clark killed`.
    pub title: String,
    /// The cause in one sentence.
    pub text: String,
    /// Indices of the history's entries that show it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<u32>,
    /// Names of the servers it is about, in the order of the herd's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Arc<str>>,
    /// Ways it is about, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way<Arc<str>>>,
    /// Version it is about. `None` if it is about no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Subject>,
    /// Time at which it was so. `None` if it is about no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Interval>,
}

/// A version of a client's record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Name of the client.
    pub client: String,
    /// The client's time, as the client stated it.
    pub version: String,
}

/// A part of a run, in nanoseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Beginning.
    pub from: u64,
    /// End, equal to the beginning for a moment. `None` if it was still so when the claim was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Interval {
    /// Returns the interval between two entries of a run. No second entry means that it has not ended.
    pub(super) fn between(run: &Run<'_>, from: usize, until: Option<usize>) -> Self {
        let at = |entry| run.since_start(run.end_of(entry));
        // On sockets, entries are not strictly in the order of their times.
        Self { from: at(from), until: until.map(|until| at(until).max(at(from))) }
    }

    /// Returns the shortest interval that contains both.
    pub(super) fn hull(self, other: Self) -> Self {
        let until = self.until.zip(other.until).map(|(one, two)| one.max(two));
        Self { from: self.from.min(other.from), until }
    }
}

impl Cause {
    /// Returns a cause that points at nothing yet.
    pub(super) fn new(title: &str, text: impl Into<String>) -> Self {
        Self { title: clip(title, TITLE), text: text.into(), ..Self::default() }
    }

    /// Adds entries that show it.
    pub(super) fn shown(mut self, entries: impl IntoIterator<Item = usize>) -> Self {
        self.entries.extend(entries.into_iter().filter_map(|entry| u32::try_from(entry).ok()));
        self.entries.sort_unstable();
        self.entries.dedup();
        self
    }

    /// Sets the servers it is about.
    pub(super) fn about(mut self, run: &Run<'_>, servers: impl IntoIterator<Item = ServerId>) -> Self {
        let mut servers: Vec<ServerId> = servers.into_iter().collect();
        servers.sort_unstable();
        servers.dedup();
        self.servers = servers.into_iter().map(|server| named(run, server)).collect();
        self
    }

    /// Sets the ways it is about.
    pub(super) fn on(mut self, run: &Run<'_>, ways: impl IntoIterator<Item = Way>) -> Self {
        let mut ways: Vec<Way> = ways.into_iter().collect();
        ways.sort_unstable();
        ways.dedup();
        self.ways = ways.into_iter().map(|way| Way { from: named(run, way.from), to: named(run, way.to) }).collect();
        self
    }

    /// Sets the version it is about.
    pub(super) fn of(mut self, version: Version<'_>) -> Self {
        let at = version.report.at();
        self.of = Some(Subject { client: at.client().into(), version: at.stated_time().into() });
        self
    }

    /// Sets its time to that between two entries. No second entry means that it has not ended.
    pub(super) fn lasting(mut self, run: &Run<'_>, from: usize, until: Option<usize>) -> Self {
        self.span = Some(Interval::between(run, from, until));
        self
    }

    /// Adds the entry that shows it and sets its time to that of the entry.
    pub(super) fn at(self, run: &Run<'_>, entry: usize) -> Self {
        self.shown([entry]).lasting(run, entry, Some(entry))
    }
}

/// Returns the cause that a server acknowledged a write, in the words `text`.
pub(super) fn acknowledged(run: &Run<'_>, write: &Write, text: String) -> Cause {
    let title = format!("{} acknowledged it", run.name(write.server));
    Cause::new(&title, text).at(run, write.entry).about(run, [write.server]).of(run.version(write.version))
}

/// Returns the cause that a server forgot a record at the end of its life.
pub(super) fn forgot(run: &Run<'_>, change: &Change) -> Cause {
    let (name, ended) = (run.name(change.server), ended(run, change.entry));
    let cause = Cause::new(
        &format!("{name} {ended}"),
        format!("{name} forgot it when it {} at {}", was(ended), run.when(change.entry)),
    );
    let cause = cause.at(run, change.entry).about(run, [change.server]);
    if change.before > 0 { cause.of(run.ranked(change.client, change.before)) } else { cause }
}

/// Returns how the life of a server ended at an entry: `killed`, `stopped`, `crashed`.
pub(super) fn ended(run: &Run<'_>, entry: usize) -> &'static str {
    match run.entry(entry).fact {
        Fact::Saw(Event::Killed { .. }) => "killed",
        Fact::Saw(Event::Stopped { .. }) => "stopped",
        _ => "crashed",
    }
}

/// Returns an ending as a predicate: `was killed`, `crashed`.
pub(super) fn was(ended: &str) -> String {
    if ended == "crashed" { ended.into() } else { format!("was {ended}") }
}

fn named(run: &Run<'_>, server: ServerId) -> Arc<str> {
    run.history.origin.servers[server.index()].clone()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::claim::{Assertion, Scope, VersionBound};
    use crate::history::build::{herd, line};

    #[test]
    fn headlines_can_stand_alone() {
        let old = line("Bona", "kiwi", 1);
        let wrote = || herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &old);
        let again = || wrote().at(1000, |herd| herd.accepted("Bona", "kiwi", 2));
        let stale = again().at(3000, |herd| herd.read(1, "Clark", "kiwi", &old));
        let lost = || again().kill("Bona", 1).asked("Bona", "what?", None);
        let everywhere = Scope::Servers(herd().servers(&["Bona", "Clark"]));
        let jaquez = herd().servers(&["Jaquez"]);
        let lacks = Assertion::Lacks { client: "kiwi".into(), version: VersionBound::default(), on: jaquez.clone() };
        let knows = Assertion::Knows { client: "kiwi".into(), version: VersionBound::default(), on: jaquez };
        let headlines = [
            lost().headline(Assertion::NoLost),
            lost().headline(Assertion::Available { on: everywhere.clone(), within: None }),
            again().headline(Assertion::AgreeLine { client: None, scope: everywhere }),
            stale.headline(Assertion::Staleness { within: Duration::ZERO }),
            again().sent("Clark", "Bona", &old).headline(Assertion::NoEcho),
            again().headline(Assertion::Cost { per_update: 0.1 }),
            again().headline(knows.clone()),
            herd().kill("Jaquez", 0).headline(knows),
            herd().kill("Jaquez", 0).headline(lacks),
            herd().headline(Assertion::NoLost),
        ];
        insta::assert_snapshot!(headlines.join("\n"), @r##"
no server of the core holds kiwi's 2 because Bona was killed
Bona did not answer `what?` because it was down
Bona and Clark hold 2 different lines about kiwi
Clark did not show kiwi's 2, acknowledged 2 s before
Clark sent kiwi's 1 back to Bona, from which it had heard it
an update cost 0.5 lines instead of at most 0.1
Jaquez lacks kiwi's 2 because no neighbour had it
Jaquez does not know kiwi because Jaquez is down
Jaquez is down and should run without kiwi
`no_lost` is unproven: no IAMAT was taken
"##);
    }

    #[test]
    fn a_hull_has_no_end_if_one_of_its_parts_has_none() {
        let interval = |from, until| Interval { from, until };
        assert_eq!(interval(2, Some(3)).hull(interval(1, Some(1))), interval(1, Some(3)));
        assert_eq!(interval(2, None).hull(interval(1, Some(1))), interval(1, None));
    }
}
