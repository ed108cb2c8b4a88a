//! The table of verbs: one row for each, and nothing about a verb's words stands anywhere else.
//!
//! Commands, steps of scenario files and their schema, the ledger of faults and explanations are made of these rows.

use super::{ServerVerb, Share, WayVerb};
use crate::config::Slowness;

/// The row of one verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// Its name in files, requests and histories.
    pub word: &'static str,
    /// Its name on the command line, where that is another one.
    pub command: Option<&'static str>,
    /// What it is done to.
    pub takes: Takes,
    /// `true` if it lasts until something takes it back, so that a step may say for how long.
    pub lasts: bool,
    /// `true` if TCP never does such a thing.
    pub unrealistic: bool,
    /// What was done, for answers: `killed`.
    pub did: &'static str,
    /// What it does, in one sentence without its period.
    pub help: &'static str,
    /// More about it for its own help, or nothing.
    pub more: &'static str,
    /// Commands to try, without `herdsim`.
    pub examples: &'static [&'static str],
    /// What it can hit: a counter, the thing counted, and what became of it. Empty for what is no fault.
    pub hits: &'static [(Counter, &'static str, &'static str)],
    /// What its target is while it lasts, where that keeps lines away: `cut`.
    pub state: Option<&'static str>,
    /// `true` if lines disappear and nothing tells their sender.
    pub swallows: bool,
}

/// What a verb is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// One or more servers.
    Servers,
    /// Links, single ways, or every link.
    Ways,
    /// Groups of servers.
    Groups,
}

/// What the ledger counts while a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Records that were forgotten.
    RecordsLost,
    /// Lines that were in flight and are lost.
    LinesLost,
    /// Updates that found a way closed.
    UpdatesMissed,
    /// Lines written, or let go by a release.
    Lines,
    /// Connections that were reset.
    Connections,
    /// Commands of clients.
    Commands,
    /// `IAMAT`s taken.
    Writes,
}

/// What most rows say.
const PLAIN: Spec = Spec {
    word: "",
    command: None,
    takes: Takes::Ways,
    lasts: false,
    unrealistic: false,
    did: "",
    help: "",
    more: "",
    examples: &[],
    hits: &[],
    state: None,
    swallows: false,
};

const SERVERS: Spec = Spec { takes: Takes::Servers, ..PLAIN };

/// What the end of a server hits.
const DEATH: &[(Counter, &str, &str)] = &[
    (Counter::RecordsLost, "record", "lost"),
    (Counter::LinesLost, "line", "lost"),
    (Counter::UpdatesMissed, "update", "missed"),
    (Counter::Commands, "command", "not taken"),
];

impl ServerVerb {
    /// Every verb of servers, in the order of the documentation. Amounts are examples.
    pub const ALL: [Self; 7] =
        [Self::Kill, Self::Stop, Self::Start, Self::Restart, Self::Pause, Self::Resume, Self::Clock(2_000_000_000)];

    /// Returns its row of the table.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::Kill => &Spec {
                word: "kill",
                lasts: true,
                did: "killed",
                help: "End servers at once: connections reset, memory gone",
                hits: DEATH,
                state: Some("down"),
                ..SERVERS
            },
            Self::Stop => &Spec {
                word: "stop",
                lasts: true,
                did: "stopped",
                help: "End servers gracefully: they finish what they were asked, and close",
                hits: DEATH,
                state: Some("down"),
                ..SERVERS
            },
            Self::Start => &Spec {
                word: "start",
                did: "started",
                help: "Start servers that do not run, with an empty memory",
                ..SERVERS
            },
            Self::Restart => &Spec {
                word: "restart",
                did: "restarted",
                help: "Kill servers and start them",
                hits: DEATH,
                state: Some("down"),
                ..SERVERS
            },
            Self::Pause => &Spec {
                word: "pause",
                lasts: true,
                did: "paused",
                help: "Freeze servers: they handle nothing, their connections stay open",
                hits: &[(Counter::Lines, "line", "kept waiting"), (Counter::Commands, "command", "kept waiting")],
                state: Some("paused"),
                ..SERVERS
            },
            Self::Resume => &Spec {
                word: "resume",
                command: Some("unpause"),
                did: "unpaused",
                help: "Resume frozen servers",
                ..SERVERS
            },
            Self::Clock(_) => &Spec {
                word: "clock",
                lasts: true,
                did: "set the clock of",
                help: "Set how far a server's clock is ahead",
                examples: &["clock Clark +2s", "clock Clark -500ms", "clock Clark 0"],
                hits: &[(Counter::Writes, "IAMAT", "taken under it")],
                ..SERVERS
            },
        }
    }
}

impl WayVerb {
    /// Every verb of ways, in the order of the documentation. Amounts are examples.
    pub const ALL: [Self; 10] = [
        Self::Cut,
        Self::Heal,
        Self::Hold,
        Self::Release,
        Self::Slow(Slowness { rate: Some(1), ..Slowness::NONE }),
        Self::Lose(Share::ALL),
        Self::Reset { after: 0 },
        Self::HalfOpen,
        Self::Drop { nth: 1 },
        Self::Duplicate { nth: 1 },
    ];

    /// Returns its row of the table.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::Cut => &Spec {
                word: "cut",
                lasts: true,
                did: "cut",
                help: "Reset connections, lose what is in flight, refuse new ones",
                hits: &[(Counter::LinesLost, "line", "lost"), (Counter::UpdatesMissed, "update", "missed")],
                state: Some("cut"),
                ..PLAIN
            },
            Self::Heal => &Spec {
                word: "heal",
                did: "healed",
                help: "Heal what was cut, slowed, lossy or half-open; everywhere also release what is held",
                examples: &["heal Clark Bona", "heal --all"],
                ..PLAIN
            },
            Self::Hold => &Spec {
                word: "hold",
                lasts: true,
                did: "held",
                help: "Let lines wait; none is lost",
                hits: &[(Counter::Lines, "line", "held")],
                state: Some("held"),
                ..PLAIN
            },
            Self::Release => {
                &Spec { word: "release", did: "released", help: "Release the lines that wait, in order", ..PLAIN }
            }
            Self::Slow(_) => &Spec {
                word: "slow",
                lasts: true,
                did: "slowed",
                help: "Delay every line",
                examples: &[
                    "slow Clark:Bona --latency 200ms --jitter 50ms",
                    "slow Clark Bona --jitter 20ms --distribution log-normal=0.5",
                    "slow Clark Bona --bandwidth 64kB/s",
                    "heal Clark Bona",
                ],
                hits: &[(Counter::Lines, "line", "slowed")],
                state: Some("slowed"),
                ..PLAIN
            },
            Self::Lose(_) => &Spec {
                word: "lose",
                lasts: true,
                unrealistic: true,
                did: "lossy:",
                help: "Lose a share of the lines, drawn at random; TCP does not do that",
                examples: &["lose Clark:Bona --share 5%", "lose Clark Bona --share 0.5%", "heal Clark Bona"],
                hits: &[(Counter::LinesLost, "line", "lost")],
                state: Some("lossy"),
                swallows: true,
                ..PLAIN
            },
            Self::Reset { .. } => &Spec {
                word: "reset",
                did: "reset",
                help: "Reset connections, at once or after some lines",
                hits: &[(Counter::Connections, "connection", "reset"), (Counter::LinesLost, "line", "lost")],
                state: Some("reset"),
                ..PLAIN
            },
            Self::HalfOpen => &Spec {
                word: "half-open",
                lasts: true,
                did: "half-open:",
                help: "Lose everything sent without resetting a connection",
                hits: &[(Counter::Lines, "line", "swallowed"), (Counter::UpdatesMissed, "update", "missed")],
                state: Some("half-open"),
                swallows: true,
                ..PLAIN
            },
            Self::Drop { .. } => &Spec {
                word: "drop",
                unrealistic: true,
                did: "will drop a line of",
                help: "Lose a single line; TCP does not do that",
                examples: &["drop Clark:Bona", "drop Clark:Bona --nth 3"],
                hits: &[(Counter::Lines, "line", "dropped")],
                state: Some("made to drop a line"),
                swallows: true,
                ..PLAIN
            },
            Self::Duplicate { .. } => &Spec {
                word: "duplicate",
                unrealistic: true,
                did: "will double a line of",
                help: "Send a single line twice; TCP does not do that",
                hits: &[(Counter::Lines, "line", "doubled")],
                ..PLAIN
            },
        }
    }
}

/// The row of [`Verb::Partition`](super::Verb::Partition).
pub(super) const PARTITION: Spec = Spec {
    word: "partition",
    takes: Takes::Groups,
    lasts: true,
    did: "separated",
    help: "Separate groups of servers from each other",
    more: "Servers in no group are one more group: `herdsim partition Clark,Jaquez` separates those two from all others.",
    examples: &[
        "partition Clark,Jaquez Bailey,Bona,Campbell",
        "partition Clark,Jaquez --mode hold-then-cut --after 2s",
        "heal --all",
    ],
    ..PLAIN
};

/// The row of [`Verb::RollingRestart`](super::Verb::RollingRestart).
pub(super) const ROLLING_RESTART: Spec = Spec {
    word: "rolling-restart",
    did: "restarted one after the other:",
    help: "Restart servers one after the other, each once the links of the one before are back",
    examples: &["rolling-restart Bailey Bona Campbell"],
    ..SERVERS
};

impl Spec {
    /// Returns every row, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        let servers = ServerVerb::ALL.map(ServerVerb::spec);
        let ways = WayVerb::ALL.map(WayVerb::spec);
        servers.into_iter().chain([&ROLLING_RESTART]).chain(ways).chain([&PARTITION])
    }

    /// Returns its name on the command line.
    pub fn command(&self) -> &'static str {
        self.command.unwrap_or(self.word)
    }

    /// Returns the verb of servers whose row it is. Amounts are examples.
    pub fn server_verb(&self) -> Option<ServerVerb> {
        ServerVerb::ALL.into_iter().find(|verb| verb.spec() == self)
    }

    /// Returns the verb of ways whose row it is. Amounts are examples.
    pub fn way_verb(&self) -> Option<WayVerb> {
        WayVerb::ALL.into_iter().find(|verb| verb.spec() == self)
    }

    /// Returns `true` if it can hit something, so that a run in which it hits nothing proves nothing.
    pub fn is_fault(&self) -> bool {
        !self.hits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_one_name_in_json_and_in_its_row() {
        let name = |json: serde_json::Value| match json {
            serde_json::Value::String(name) => name,
            serde_json::Value::Object(of) => of.keys().next().expect("a verb has a name").clone(),
            other => panic!("{other} is no verb"),
        };
        for verb in ServerVerb::ALL {
            assert_eq!(name(serde_json::to_value(verb).expect("it is JSON")), verb.spec().word);
        }
        for verb in WayVerb::ALL {
            assert_eq!(name(serde_json::to_value(verb).expect("it is JSON")), verb.spec().word);
        }
    }

    #[test]
    fn no_two_rows_have_one_name() {
        for name in [|spec: &Spec| spec.word, Spec::command] {
            let mut names: Vec<_> = Spec::all().map(name).collect();
            assert!(names.iter().all(|name| !name.is_empty()));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), Spec::all().count());
        }
    }
}
