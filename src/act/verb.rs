//! What people do to a herd: what is done, and to what.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PARTITION, ROLLING_RESTART, Share, Spec, arrow};
use crate::config::{ServerId, Slowness};
use crate::words::{count, signed_seconds};

/// What can be done to a server. [`ServerVerb::spec`] has a row for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerVerb {
    /// Ends a server at once: its connections are reset, its memory is gone.
    Kill,
    /// Ends a server gracefully: it finishes what it was asked, hands on what it owes and closes. Its memory is gone.
    Stop,
    /// Starts a server that does not run, with an empty memory, on the port it had.
    Start,
    /// Kills a server that runs, and starts it.
    Restart,
    /// Freezes a server: it handles nothing, its connections stay open and fill.
    Pause,
    /// Resumes a frozen server.
    Resume,
    /// Sets how far a server's wall clock is ahead of the machine's, in nanoseconds. Survives restarts.
    Clock(i64),
}

/// What can be done to a way. [`WayVerb::spec`] has a row for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WayVerb {
    /// Resets the connection of a way, loses what is in flight on it, and refuses its dials.
    Cut,
    /// Takes back every fault of a way but [`Self::Hold`]. A half-open connection is reset: its reader is back and does not
    /// know it.
    Heal,
    /// Lets lines of a way wait. Nothing is lost.
    Hold,
    /// Lets the lines that wait arrive, in order.
    Release,
    /// Loses everything sent on a way without resetting its connection: the reader is gone and the writer has not noticed.
    HalfOpen,
    /// Delays the lines of a way, on top of the link's own delay.
    Slow(Slowness),
    /// Loses this share of the lines of a way, each drawn by its number. TCP does not do that.
    Lose(Share),
    /// Resets the connection of a way on a line boundary.
    Reset {
        /// Lines that pass before the reset. 0 resets at once.
        after: u64,
    },
    /// Loses one line of a way. TCP does not do that.
    Drop {
        /// The line to lose, counted from now, from 1.
        nth: u64,
    },
    /// Sends one line of a way twice. TCP does not do that.
    Duplicate {
        /// The line to double, counted from now, from 1.
        nth: u64,
    },
}

/// One thing that people do to a herd. `S` tells servers apart: by number in memory, by name in files and requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb<S = ServerId> {
    /// Does something to servers, one after the other.
    Servers {
        /// What is done.
        verb: ServerVerb,
        /// The servers, at least one.
        on: Vec<S>,
    },
    /// Does something to ways, one after the other.
    Ways {
        /// What is done.
        verb: WayVerb,
        /// The ways.
        on: Ways<S>,
    },
    /// Separates groups of servers from each other. Servers in no group are one more group.
    Partition {
        /// The groups. No server is in two of them.
        groups: Vec<Vec<S>>,
        /// What happens to the ways between groups.
        mode: PartitionMode,
    },
    /// Restarts servers one after the other, each once the links of the server before it are back.
    RollingRestart {
        /// The servers, at least one.
        on: Vec<S>,
    },
}

/// The ways a verb is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ways<S = ServerId> {
    /// Every way of the herd.
    All,
    /// These, at least one.
    These(Vec<Ends<S>>),
}

/// A link, or one way of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ends<S = ServerId> {
    /// Both ways between two servers.
    Both(S, S),
    /// The way from the first server to the second.
    One(S, S),
}

/// What a partition does to the ways between its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionMode {
    /// Cuts them: lines in flight are lost.
    #[default]
    Cut,
    /// Holds them: nothing is lost.
    Hold,
    /// Holds them, and cuts them after this time, as a connection's time-out would.
    HoldThenCut(#[serde(with = "crate::words::Nanoseconds")] Duration),
}

impl<S> Verb<S> {
    /// Returns its row of the table.
    pub fn spec(&self) -> &'static Spec {
        match self {
            Self::Servers { verb, .. } => verb.spec(),
            Self::Ways { verb, .. } => verb.spec(),
            Self::Partition { .. } => &PARTITION,
            Self::RollingRestart { .. } => &ROLLING_RESTART,
        }
    }

    /// Returns the same verb with its servers told apart another way.
    ///
    /// # Errors
    ///
    /// Returns the first error of `server`.
    pub fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Verb<T>, E> {
        Ok(match self {
            Self::Servers { verb, on } => Verb::Servers { verb, on: each(on, server)? },
            Self::Ways { verb, on } => Verb::Ways { verb, on: on.map(server)? },
            Self::Partition { groups, mode } => {
                let groups = groups.into_iter().map(|group| each(group, server)).collect::<Result<_, _>>()?;
                Verb::Partition { groups, mode }
            }
            Self::RollingRestart { on } => Verb::RollingRestart { on: each(on, server)? },
        })
    }
}

impl<S: AsRef<str>> Verb<S> {
    /// Returns what it is done to, in words: `Clark, Bona`, `Clark-Bona`, `Clark,Jaquez | Bona`.
    pub fn targets(&self) -> String {
        let list = |servers: &[S], by: &str| servers.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(by);
        match self {
            Self::Servers { on, .. } | Self::RollingRestart { on } => list(on, ", "),
            Self::Ways { on: Ways::All, .. } => "every link".into(),
            Self::Ways { on: Ways::These(ends), .. } => ends.iter().map(Ends::shown).collect::<Vec<_>>().join(", "),
            Self::Partition { groups, .. } => {
                groups.iter().map(|group| list(group, ",")).collect::<Vec<_>>().join(" | ")
            }
        }
    }

    /// Returns how it is done, in words: empty or beginning with a blank, as in ` to +2s`.
    pub fn manner(&self) -> String {
        match self {
            Self::Servers { verb: ServerVerb::Clock(offset), .. } => format!(" to {}", signed_seconds(*offset)),
            Self::Ways { verb: WayVerb::Lose(share), .. } => format!(", {share} of the lines"),
            Self::Ways { verb: WayVerb::Reset { after: after @ 1.. }, .. } => {
                format!(" after {}", count(*after, "more line"))
            }
            _ => String::new(),
        }
    }
}

impl<S: AsRef<str>> Ends<S> {
    fn shown(&self) -> String {
        match self {
            Self::Both(a, b) => format!("{}-{}", a.as_ref(), b.as_ref()),
            Self::One(from, to) => arrow(from.as_ref(), to.as_ref()),
        }
    }
}

impl<S> Ways<S> {
    fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Ways<T>, E> {
        let Self::These(ends) = self else { return Ok(Ways::All) };
        let ends = ends.into_iter().map(|ends| {
            Ok(match ends {
                Ends::Both(a, b) => Ends::Both(server(a)?, server(b)?),
                Ends::One(from, to) => Ends::One(server(from)?, server(to)?),
            })
        });
        Ok(Ways::These(ends.collect::<Result<_, _>>()?))
    }
}

fn each<S, T, E>(servers: Vec<S>, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Vec<T>, E> {
    servers.into_iter().map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_survives_being_written_as_json() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
        let both = || Ways::These(vec![Ends::Both("a".into(), "b".into()), Ends::One("b".into(), "c".into())]);
        let servers = ServerVerb::ALL.map(|verb| Verb::Servers { verb, on: names(&["a", "b"]) });
        let ways = WayVerb::ALL.map(|verb| Verb::Ways { verb, on: both() });
        let mode = PartitionMode::HoldThenCut(Duration::from_secs(2));
        let others = [
            Verb::Ways { verb: WayVerb::Cut, on: Ways::All },
            Verb::Partition { groups: vec![names(&["a"]), names(&["b", "c"])], mode },
            Verb::RollingRestart { on: names(&["a", "b"]) },
        ];
        for verb in servers.into_iter().chain(ways).chain(others) {
            let text = serde_json::to_string(&verb).expect("it is JSON");
            let read: Verb<String> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read, verb, "{text}");
        }
    }

    #[test]
    fn json_that_says_more_than_a_verb_is_refused() {
        for text in [
            r#"{"servers":{"verb":"kill","on":["a"],"why":"fun"}}"#,
            r#"{"ways":{"verb":{"slow":{"delay":{"latency":1,"jitter":0},"rate":null,"more":1}},"on":"all"}}"#,
            r#"{"ways":{"verb":{"lose":"5"},"on":"all"}}"#,
            r#"{"ways":{"verb":"shake","on":"all"}}"#,
        ] {
            assert!(serde_json::from_str::<Verb<String>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_verb_is_told_with_its_targets_and_its_manner() {
        let told = |verb: &Verb<String>| format!("{} {}{}", verb.spec().did, verb.targets(), verb.manner());
        let on = || vec!["a".to_owned(), "b".to_owned()];
        let one = || Ways::These(vec![Ends::One("a".to_owned(), "b".to_owned())]);
        assert_eq!(told(&Verb::Servers { verb: ServerVerb::Kill, on: on() }), "killed a, b");
        let clock = Verb::Servers { verb: ServerVerb::Clock(2_000_000_000), on: vec!["a".to_owned()] };
        assert_eq!(told(&clock), "set the clock of a to +2s");
        assert_eq!(told(&Verb::Ways { verb: WayVerb::Reset { after: 2 }, on: one() }), "reset a->b after 2 more lines");
        let lose = WayVerb::Lose("5%".parse().expect("it is a share"));
        assert_eq!(told(&Verb::Ways { verb: lose, on: one() }), "lossy: a->b, 5% of the lines");
        let partition = Verb::Partition { groups: vec![on(), vec!["c".to_owned()]], mode: PartitionMode::Cut };
        assert_eq!(told(&partition), "separated a,b | c");
    }
}
