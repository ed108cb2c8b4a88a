//! Why a server lacks a version: a walk over the ways into it.
//!
//! Servers that lack the same version and are neighbours are explained together, by the ways that lead into their group
//! from somebody who had it. For each way the history knows what kept the version from crossing it.

use super::convergence::Lacking;
use super::faults::{Fault, Ledger, Target, is_death, target};
use super::run::{Change, Run};
use super::state::{Life, State};
use crate::act::Action;
use crate::config::{Repair, ServerId, Way};
use crate::driver::Event;
use crate::history::Fact;
use crate::words::{list, names};

/// At most this many ways of one group are explained.
const WAYS: usize = 4;

/// One sentence for every group of servers that lack a version before entry `until`.
pub(super) fn lacks(run: &Run<'_>, ledger: &Ledger<'_>, until: usize, lacking: &Lacking) -> Vec<String> {
    let walk = Walk { run, ledger, until, lacking, state: State::at(run, until) };
    walk.groups().iter().map(|group| walk.sentence(group)).collect()
}

struct Walk<'r, 'h> {
    run: &'r Run<'h>,
    ledger: &'r Ledger<'h>,
    until: usize,
    lacking: &'r Lacking,
    state: State,
}

/// What kept a version from crossing a way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// Something was wrong with the way: "was cut from 1.2 s to 3.0 s".
    Way(Way, String),
    /// Something was wrong with the server at its beginning.
    Source(ServerId, String),
    /// Something was wrong with the server at its end.
    Reader(ServerId, String),
    /// Nothing that is known.
    Unknown(String),
}

impl<'h> Walk<'_, 'h> {
    /// The lacking servers, neighbours together.
    fn groups(&self) -> Vec<Vec<ServerId>> {
        let mut left = self.lacking.servers.clone();
        let mut groups = Vec::new();
        while let Some(first) = left.pop() {
            let mut group = vec![first];
            let mut next = 0;
            while next < group.len() {
                let (near, far) = left.iter().partition(|&&server| self.linked(group[next], server));
                left = far;
                group.extend::<Vec<_>>(near);
                next += 1;
            }
            group.sort_unstable();
            groups.push(group);
        }
        groups.sort_unstable();
        groups
    }

    fn linked(&self, from: ServerId, to: ServerId) -> bool {
        self.run.way(Way { from, to }).is_some()
    }

    /// Why a group lacks the version.
    fn sentence(&self, group: &[ServerId]) -> String {
        let who = names(group, &self.run.history.origin.servers);
        let version = self.run.tell(self.run.ranked(self.lacking.client, self.lacking.rank));
        let verb = if group.len() == 1 { "lacks" } else { "lack" };
        let forgot = self.forgot(group);
        let ways: Vec<Way> = self.ways_into(group);
        let mut reasons: Vec<(Way, Reason)> = Vec::new();
        for &way in ways.iter().take(WAYS) {
            reasons.push((way, self.reason(way)));
        }
        let mut clauses = forgot;
        clauses.extend(self.clauses(group, &reasons));
        if ways.len() > WAYS {
            clauses.push(format!("it is alike for {} more ways", ways.len() - WAYS));
        }
        clauses.extend(self.not_replayed(&reasons));
        if clauses.is_empty() {
            clauses.push("no way led to a server that had it".into());
        }
        let clauses: Vec<&str> = clauses.iter().map(String::as_str).collect();
        format!("{who} {verb} {version}: {}", sentence(&clauses))
    }

    /// Ways into a group from outside.
    fn ways_into(&self, group: &[ServerId]) -> Vec<Way> {
        let ways = self.run.ways.iter().copied();
        let mut ways: Vec<_> = ways.filter(|way| group.contains(&way.to) && !group.contains(&way.from)).collect();
        // Those over which it could have come first.
        ways.sort_by_key(|way| (self.learned(way.from).is_none(), *way));
        ways
    }

    /// Servers of the group that had it in an earlier life.
    fn forgot(&self, group: &[ServerId]) -> Vec<String> {
        let lost = |change: &&Change| {
            change.after == 0 && change.before >= self.lacking.rank && change.client == self.lacking.client
        };
        let changes = self.run.changes.iter().take_while(|change| change.entry < self.until).filter(lost);
        changes
            .filter(|change| group.contains(&change.server))
            .map(|change| {
                let ended = match self.run.entry(change.entry).fact {
                    Fact::Saw(Event::Killed { .. }) => "was killed",
                    Fact::Saw(Event::Stopped { .. }) => "was stopped",
                    _ => "crashed",
                };
                let name = self.run.name(change.server);
                format!("{name} had it and forgot it when it {ended} at {}", self.run.when(change.entry))
            })
            .collect()
    }

    /// Where a server first held the version, or something newer.
    fn learned(&self, server: ServerId) -> Option<usize> {
        let mut changes = self.run.changes.iter().take_while(|change| change.entry < self.until);
        let holds = |change: &&Change| {
            change.server == server && change.client == self.lacking.client && change.after >= self.lacking.rank
        };
        changes.find(holds).map(|change| change.entry)
    }

    fn reason(&self, way: Way) -> Reason {
        let Some(learned) = self.learned(way.from) else { return self.never_had(way.from) };
        let mut reason = None;
        for index in learned..self.until {
            let about = self.run.subject(index).map(|version| self.run.version(version));
            let ours = about.is_some_and(|v| v.client == self.lacking.client && v.rank >= self.lacking.rank);
            match self.run.entry(index).fact {
                Fact::Saw(Event::Missed { way: other, .. }) if ours && other == way => {
                    reason = Some(self.down(way, index));
                }
                Fact::Saw(Event::Sent { way: other, .. }) if ours && other == way => {
                    reason = Some(self.not_heard(way, index));
                }
                _ => {}
            }
        }
        reason.unwrap_or_else(|| self.never_sent(way, learned))
    }

    fn never_had(&self, server: ServerId) -> Reason {
        let text = match self.state.life[server.index()] {
            Life::Down => self.dead(server),
            Life::Paused => "is paused".into(),
            Life::Running => "never had it".into(),
        };
        Reason::Source(server, text)
    }

    fn dead(&self, server: ServerId) -> String {
        let kills = |fault: &&Fault<'_>| is_death(fault.action) && target(fault.action) == Some(Target::Server(server));
        let fault = self.ledger.faults.iter().rev().find(kills);
        fault.map_or("is down".into(), |fault| format!("has been down since {}", self.run.when(fault.from)))
    }

    /// Why a way was down at an entry.
    fn down(&self, way: Way, entry: usize) -> Reason {
        if let Some(reason) = self.ledger.on(way, entry).filter_map(|fault| self.blame(way, fault)).last() {
            return reason;
        }
        // Between the end of a fault and the next dial the way is down for no other reason than that fault.
        let before = self.ledger.faults.iter().filter(|fault| fault.until.is_some_and(|until| until <= entry));
        let recent =
            before.filter_map(|fault| Some((fault.until?, self.blame(way, fault)?))).max_by_key(|(until, _)| *until);
        recent.map_or_else(
            || Reason::Way(way, format!("was not up at {}", self.run.when(entry))),
            |(_, reason)| self.not_redialled(reason, entry),
        )
    }

    fn not_redialled(&self, reason: Reason, entry: usize) -> Reason {
        let more = |text: String| format!("{text} and not up again at {}", self.run.when(entry));
        match reason {
            Reason::Way(way, text) => Reason::Way(way, more(text)),
            Reason::Source(server, text) => Reason::Source(server, more(text)),
            Reason::Reader(server, text) => Reason::Reader(server, more(text)),
            Reason::Unknown(text) => Reason::Unknown(text),
        }
    }

    /// How a fault keeps lines from a way; `None` when it does not.
    fn blame(&self, way: Way, fault: &Fault<'_>) -> Option<Reason> {
        let text = self.span(fault, state(fault.action)?);
        match target(fault.action)? {
            Target::Way(other) => (other == way).then_some(Reason::Way(way, text)),
            Target::Server(server) if server == way.to => Some(Reason::Reader(server, text)),
            Target::Server(server) if server == way.from => Some(Reason::Source(server, text)),
            Target::Server(_) => None,
        }
    }

    /// "was cut from 1.2 s to 3 s", "has been cut since 1.2 s", "was reset at 1.2 s".
    fn span(&self, fault: &Fault<'_>, past: &str) -> String {
        let from = self.run.when(fault.from);
        match fault.until.filter(|&until| until < self.until) {
            Some(until) if self.run.end_of(until) == self.run.end_of(fault.from) => format!("was {past} at {from}"),
            Some(until) => format!("was {past} from {from} to {}", self.run.when(until)),
            None => format!("has been {past} since {from}"),
        }
    }

    /// Why a line sent at an entry was not read.
    fn not_heard(&self, way: Way, sent: usize) -> Reason {
        let lost = (sent..self.until).find(|&index| self.is_lost(way, index));
        let at = self.run.when(sent);
        let name = self.run.name(way.from);
        let on_the_way = |fault: &&Fault<'h>| {
            let gone = lost.unwrap_or(self.until);
            fault.from <= gone && fault.until.is_none_or(|until| until > sent || until == fault.from)
        };
        let blamed = |fault: &Fault<'h>| Some((self.blame(way, fault)?, fault.action));
        let touching = self.ledger.faults.iter().rev().filter(on_the_way).find_map(blamed);
        match (touching, lost) {
            (Some((Reason::Way(way, text), action)), None) if action.spec().is_some_and(|spec| spec.swallows) => {
                Reason::Way(way, format!("{text} and swallowed what {name} sent at {at}"))
            }
            (Some((Reason::Way(way, text), _)), None) => {
                Reason::Way(way, format!("{text} with what {name} sent at {at}"))
            }
            (Some((Reason::Way(way, text), _)), Some(_)) => {
                Reason::Way(way, format!("{text} and lost what {name} had sent at {at}"))
            }
            (Some((reason, _)), _) => reason,
            (None, Some(lost)) => Reason::Way(
                way,
                format!("lost its connection at {} with what {name} had sent at {at}", self.run.when(lost)),
            ),
            (None, None) => Reason::Unknown(format!("what {name} sent at {at} was not yet there")),
        }
    }

    fn is_lost(&self, way: Way, index: usize) -> bool {
        matches!(self.run.entry(index).fact, Fact::Saw(Event::LinkLost { way: other, .. }) if other == way)
    }

    /// A server that had the version and neither sent it nor missed the chance.
    fn never_sent(&self, way: Way, learned: usize) -> Reason {
        let name = self.run.name(way.from);
        let from_there = matches!(
            self.run.entry(learned).fact,
            Fact::Saw(Event::Heard { from: Some(hop), .. }) if hop.server == way.to
        );
        if from_there {
            return Reason::Unknown(format!("{name} had it from {} itself", self.run.name(way.to)));
        }
        match self.ledger.on(way, learned).filter_map(|fault| self.blame(way, fault)).last() {
            Some(reason) => reason,
            None => Reason::Unknown(format!("{name} held it from {} and did not send it", self.run.when(learned))),
        }
    }

    fn clauses(&self, group: &[ServerId], reasons: &[(Way, Reason)]) -> Vec<String> {
        let mut clauses = self.broken_links(reasons);
        let mut told: Vec<&Reason> = Vec::new();
        let one_left = clauses.len() == 1 && reasons.len() == 2;
        for (way, reason) in reasons {
            if told.contains(&reason) {
                continue;
            }
            told.push(reason);
            match reason {
                Reason::Way(..) => {}
                Reason::Source(server, text) if one_left => {
                    clauses.push(format!("the only other way led through {}, which {text}", self.run.name(*server)));
                }
                Reason::Reader(_, text) if group.len() == 1 => clauses.push(format!("it {text}")),
                Reason::Source(server, text) | Reason::Reader(server, text) => {
                    clauses.push(format!("{} {text}", self.run.name(*server)));
                }
                Reason::Unknown(text) if one_left => {
                    clauses.push(format!("on the only other way, {}, {text}", self.way_name(*way)));
                }
                Reason::Unknown(text) => clauses.push(text.clone()),
            }
        }
        clauses
    }

    /// What was wrong with links, those with the same trouble in one clause.
    fn broken_links(&self, reasons: &[(Way, Reason)]) -> Vec<String> {
        let mut troubles: Vec<(&str, Vec<Way>)> = Vec::new();
        for (_, reason) in reasons {
            let Reason::Way(way, text) = reason else { continue };
            match troubles.iter_mut().find(|(other, _)| other == text) {
                Some((_, ways)) => ways.push(*way),
                None => troubles.push((text, vec![*way])),
            }
        }
        troubles.into_iter().map(|(text, ways)| self.broken(text, &ways)).collect()
    }

    fn broken(&self, text: &str, ways: &[Way]) -> String {
        let both = ways.iter().all(|&way| self.both_ways(way));
        let named: Vec<String> =
            ways.iter().map(|&way| if both { self.link_name(way) } else { self.way_name(way) }).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        match (both, ways.len()) {
            (true, 1) => format!("link {} {text}", named[0]),
            (true, _) => format!("links {} {}", list(&named), plural(text)),
            (false, 1) => format!("the way {} {text}", named[0]),
            (false, _) => format!("the ways {} {}", list(&named), plural(text)),
        }
    }

    /// Whether a step did the same to the way back.
    fn both_ways(&self, way: Way) -> bool {
        let on =
            |way: Way| self.ledger.faults.iter().filter(move |fault| target(fault.action) == Some(Target::Way(way)));
        on(way).all(|fault| {
            on(way.back()).any(|back| back.step == fault.step && state(back.action) == state(fault.action))
        })
    }

    fn link_name(&self, way: Way) -> String {
        let links = &self.run.history.origin.links;
        let same = |ends: [ServerId; 2]| ends == [way.from, way.to] || ends == [way.to, way.from];
        let ends = links.iter().map(|link| link.ends).find(|&ends| same(ends)).unwrap_or([way.from, way.to]);
        format!("{}-{}", self.run.name(ends[0]), self.run.name(ends[1]))
    }

    fn way_name(&self, way: Way) -> String {
        format!("{}->{}", self.run.name(way.from), self.run.name(way.to))
    }

    /// Says that a way came up again and brought nothing, when one did.
    fn not_replayed(&self, reasons: &[(Way, Reason)]) -> Option<String> {
        let back_up = reasons.iter().find_map(|(way, _)| {
            let learned = self.learned(way.from)?;
            let came_up =
                |&index: &usize| matches!(self.run.entry(index).fact, Fact::Saw(Event::LinkUp { way: up, .. }) if up == *way);
            (learned..self.until).find(came_up)
        })?;
        let mended = self.ledger.mendings.iter().any(|&mending| mending <= back_up);
        let when = if mended { "after the heal" } else { "when the link came up again" };
        Some(match self.run.history.origin.strategy.repair() {
            Repair::None => format!("nothing was replayed {when}"),
            Repair::Connect => format!("the replay that began at {} has not brought it", self.run.when(back_up)),
        })
    }
}

/// What is said of one link, said of several.
fn plural(text: &str) -> String {
    let verbs = [("was ", "were "), ("has ", "have ")];
    let plural = verbs.iter().find_map(|(one, more)| Some(format!("{more}{}", text.strip_prefix(one)?)));
    plural.unwrap_or_else(|| text.into())
}

/// Clauses as a sentence.
fn sentence(clauses: &[&str]) -> String {
    match clauses {
        [] => String::new(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
    }
}

/// Returns what a fault made of its target, where that keeps lines away.
fn state(action: &Action) -> Option<&'static str> {
    action.spec()?.state
}

#[cfg(test)]
mod tests {
    use crate::act::{Hit, WayVerb};
    use crate::claim::{Assertion, ConvergedMode, Scope};
    use crate::config::Strategy;
    use crate::history::build::{Builder, herd, line};

    const KIWI: &str = "kiwi.cs.ucla.edu";
    const TIME: u32 = 1_621_464_827;

    fn kiwi(origin: &str) -> String {
        line(origin, KIWI, TIME)
    }

    /// The reasons of a herd that has not converged.
    fn because(herd: Builder) -> Vec<String> {
        let servers = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];
        let converged =
            Assertion::Converged { mode: ConvergedMode::Agree, scope: Scope::Running, within: None, by: None };
        assert!(servers.iter().all(|name| herd.server(name).index() < servers.len()));
        let finding = herd.check(converged).judge().findings.remove(0);
        finding.explanation.expect("it has not converged").because
    }

    #[test]
    fn a_link_that_was_cut_and_a_dead_server_on_the_only_other_way() {
        let kiwi = kiwi("Bailey");
        let herd = herd().at(1000, |herd| herd.step("kill Jaquez").kill("Jaquez", 0));
        let herd = herd.at(1200, |herd| herd.step("cut Bona-Clark").cut("Bona", "Clark"));
        let herd = herd.at(2000, |herd| {
            let herd =
                herd.accepted("Bailey", KIWI, TIME).told("Bailey", "Bona", &kiwi).told("Bailey", "Campbell", &kiwi);
            herd.missed("Bona", "Clark", &kiwi).missed("Campbell", "Jaquez", &kiwi)
        });
        let herd = herd.at(3000, |herd| herd.step("heal Bona-Clark").heal("Bona", "Clark"));
        assert_eq!(
            because(herd),
            [
                "Clark lacks kiwi.cs.ucla.edu's 1621464827: link Bona-Clark was cut from 1.2 s to 3 s, the only other way led \
              through Jaquez, which has been down since 1 s, and nothing was replayed after the heal"
            ]
        );
    }

    #[test]
    fn a_group_behind_a_partition() {
        let kiwi = kiwi("Bailey");
        let herd = herd().strategy(Strategy::FloodSync).at(1200, |herd| {
            let herd = herd.step("partition").cut("Bona", "Clark");
            herd.cut("Campbell", "Jaquez")
        });
        let herd = herd.at(2000, |herd| {
            let herd =
                herd.accepted("Bailey", KIWI, TIME).told("Bailey", "Bona", &kiwi).told("Bailey", "Campbell", &kiwi);
            herd.missed("Bona", "Clark", &kiwi).missed("Campbell", "Jaquez", &kiwi)
        });
        assert_eq!(
            because(herd),
            [
                "Clark and Jaquez lack kiwi.cs.ucla.edu's 1621464827: links Bona-Clark and Campbell-Jaquez have been cut since 1.2 s"
            ]
        );
    }

    #[test]
    fn a_server_that_was_down_when_the_update_was_made() {
        let kiwi = kiwi("Bona");
        let herd = herd().at(1000, |herd| herd.step("kill Clark").kill("Clark", 0)).at(2000, |herd| {
            let herd = herd.accepted("Bona", KIWI, TIME).missed("Bona", "Clark", &kiwi);
            let herd = herd.told("Bona", "Bailey", &kiwi).told("Bona", "Campbell", &kiwi);
            herd.told("Campbell", "Jaquez", &kiwi).missed("Jaquez", "Clark", &kiwi)
        });
        let way = herd.way("Bona", "Clark");
        let herd = herd.at(3000, |herd| herd.step("start Clark").start("Clark").up(way));
        assert_eq!(
            because(herd),
            ["Clark lacks kiwi.cs.ucla.edu's 1621464827: it was down from 1 s to 3 s, and nothing was replayed after \
              the heal"]
        );
    }

    #[test]
    fn a_server_that_forgot() {
        let kiwi = kiwi("Clark");
        let herd = herd().accepted("Clark", KIWI, TIME);
        let herd = ["Bona", "Jaquez"].into_iter().fold(herd, |herd, to| herd.told("Clark", to, &kiwi));
        let herd = herd.told("Bona", "Bailey", &kiwi).told("Bona", "Campbell", &kiwi);
        let herd = herd.at(1000, |herd| herd.kill("Clark", 1)).at(1100, |herd| herd.start("Clark"));
        assert_eq!(
            because(herd),
            [
                "Clark lacks kiwi.cs.ucla.edu's 1621464827: Clark had it and forgot it when it was killed at 1 s, Bona had it \
              from Clark itself, and Jaquez had it from Clark itself"
            ]
        );
    }

    #[test]
    fn lines_that_are_held_lost_and_swallowed() {
        let kiwi = kiwi("Bona");
        let herd = herd();
        let [held, open] = [herd.way("Bona", "Clark"), herd.way("Jaquez", "Clark")];
        let herd = herd.at(100, |herd| herd.step("hold Bona->Clark").did(WayVerb::Hold.on(held), Hit::default()));
        let herd =
            herd.at(200, |herd| herd.step("half-open Jaquez->Clark").did(WayVerb::HalfOpen.on(open), Hit::default()));
        let herd = herd.at(300, |herd| {
            let herd = herd.accepted("Bona", KIWI, TIME).sent("Bona", "Clark", &kiwi).told("Bona", "Campbell", &kiwi);
            herd.told("Bona", "Bailey", &kiwi).told("Campbell", "Jaquez", &kiwi).sent("Jaquez", "Clark", &kiwi)
        });
        assert_eq!(
            because(herd),
            [
                "Clark lacks kiwi.cs.ucla.edu's 1621464827: the way Bona->Clark has been held since 100 ms with what Bona sent \
              at 300 ms, and the way Jaquez->Clark has been half-open since 200 ms and swallowed what Jaquez sent at 300 ms"
            ]
        );
    }
}
