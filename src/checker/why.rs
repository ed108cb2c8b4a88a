//! Why a server lacks a version: a walk over the ways into it.
//!
//! Servers that lack the same version and are neighbours are explained together, by the ways that lead into their group
//! from a server that had it. For each way the history knows what kept the version from crossing it.

use std::borrow::Cow;

use super::cause::{self, Cause, Interval, TITLE};
use super::convergence::Lacking;
use super::faults::{Fault, Ledger, Target, is_death, target};
use super::run::{Change, Run, Version};
use super::state::{Life, State};
use crate::act::{Action, ServerVerb};
use crate::config::{Repair, ServerId, Way};
use crate::history::{Event, Fact};
use crate::wire::{Command, Control, ControlLine, parse};
use crate::words::{list, names};

/// At most this many ways of one group are explained.
const WAYS: usize = 4;

/// At most this many causes are named in a headline.
const NAMED: usize = 2;

/// Why servers lack a version.
pub(super) struct Why {
    /// The main reason of the first group, in one short sentence.
    pub(super) headline: String,
    /// One cause for every group.
    pub(super) causes: Vec<Cause>,
}

/// Explains why servers lack a version before entry `until`.
pub(super) fn lacks(run: &Run<'_>, ledger: &Ledger<'_>, until: usize, lacking: &Lacking) -> Why {
    let walk = Walk { run, ledger, until, lacking, state: State::at(run, until) };
    let mut headline = None;
    let causes = walk.groups().into_iter().map(|group| {
        let (cause, short) = walk.cause(&group);
        headline.get_or_insert(short);
        cause
    });
    let causes = causes.collect();
    Why { headline: headline.unwrap_or_default(), causes }
}

struct Walk<'r, 'h> {
    run: &'r Run<'h>,
    ledger: &'r Ledger<'h>,
    until: usize,
    lacking: &'r Lacking,
    state: Cow<'r, State>,
}

/// What kept a version from crossing a way.
#[derive(Debug)]
struct Reason {
    on: On,
    /// Predicate with times: "was cut from 1.2 s to 3 s". A whole clause for [`On::Nothing`].
    text: String,
    said: Short,
    shown: Shown,
}

/// What something was wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Way(Way),
    /// The server at the beginning of the way.
    Source(ServerId),
    /// The server at the end of the way.
    Reader(ServerId),
    /// Nothing that is known.
    Nothing,
}

/// A reason without times.
#[derive(Debug, Clone)]
struct Short {
    /// Predicate for headlines: "was cut". A whole clause for [`On::Nothing`].
    brief: String,
    /// Participle for titles: "cut". A whole label for [`On::Nothing`].
    label: String,
    weight: Weight,
}

/// How much a reason explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// The version never was there.
    Absent,
    /// The version was there and no fault kept it.
    Idle,
    /// Something was broken.
    Broken,
}

/// Where a history shows a reason.
#[derive(Debug, Default)]
struct Shown {
    entries: Vec<usize>,
    servers: Vec<ServerId>,
    ways: Vec<Way>,
    span: Option<Interval>,
}

/// One clause of a cause's sentence.
#[derive(Debug)]
struct Clause {
    text: String,
    said: Short,
}

impl Reason {
    fn new(on: On, text: impl Into<String>, said: Short) -> Self {
        Self { on, text: text.into(), said, shown: Shown::default() }
    }

    /// Adds the entries that show it.
    fn shown(mut self, entries: impl IntoIterator<Item = usize>) -> Self {
        self.shown.entries.extend(entries);
        self
    }

    fn lasting(mut self, span: Interval) -> Self {
        self.shown.span = Some(span);
        self
    }

    fn ending(mut self, end: impl FnOnce(&str) -> String) -> Self {
        self.text = end(&self.text);
        self
    }
}

impl Short {
    fn new(brief: impl Into<String>, label: impl Into<String>, weight: Weight) -> Self {
        Self { brief: brief.into(), label: label.into(), weight }
    }

    /// Returns the same about something: `name was cut`, `name cut`.
    fn of(&self, name: &str, label: &str) -> Self {
        Self::new(format!("{name} {}", self.brief), format!("{label} {}", self.label), self.weight)
    }
}

impl Shown {
    fn add(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.servers.extend(other.servers);
        self.ways.extend(other.ways);
        self.span = match (self.span, other.span) {
            (Some(one), Some(two)) => Some(one.hull(two)),
            (one, two) => one.or(two),
        };
    }
}

impl<'h> Walk<'_, 'h> {
    /// Returns the lacking servers, neighbours together.
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

    fn version(&self) -> Version<'h> {
        self.run.ranked(self.lacking.client, self.lacking.rank)
    }

    /// Returns why a group lacks the version, and the headline about it.
    fn cause(&self, group: &[ServerId]) -> (Cause, String) {
        let lack = format!(
            "{} {} {}",
            names(group, &self.run.history.origin.servers),
            if group.len() == 1 { "lacks" } else { "lack" },
            self.run.tell(self.version())
        );
        let ways: Vec<Way> = self.ways_into(group);
        let reasons: Vec<(Way, Reason)> = ways.iter().take(WAYS).map(|&way| (way, self.reason(way))).collect();
        let mut shown = Shown { servers: group.to_vec(), ..Shown::default() };
        let mut clauses = self.forgot(group, &mut shown);
        clauses.extend(self.clauses(group, &reasons));
        let replay = self.not_replayed(&reasons, &mut shown);
        for (_, reason) in reasons {
            shown.add(reason.shown);
        }
        if clauses.is_empty() {
            clauses.push(Clause::whole("no way led to a server that had it", "no way to it", Weight::Absent));
        }
        let (brief, mut labels) = summary(&clauses);
        let mut texts: Vec<String> = clauses.into_iter().map(|clause| clause.text).collect();
        if ways.len() > WAYS {
            texts.push(format!("it is alike for {} more ways", ways.len() - WAYS));
        }
        if let Some(text) = replay {
            texts.push(text);
            labels.push("nothing replayed".into());
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let cause = Cause::new(&title(&labels), format!("{lack}: {}", sentence(&texts)));
        (self.point(cause, shown), format!("{lack} because {brief}"))
    }

    /// Lets a cause point at what shows it, and at the version's first entry if nothing does.
    fn point(&self, cause: Cause, mut shown: Shown) -> Cause {
        shown.entries.retain(|&entry| entry < self.until);
        if shown.entries.is_empty() {
            shown.entries.extend((0..self.until).find(|&entry| self.is_about(entry, |rank| rank == self.lacking.rank)));
        }
        let cause = cause.shown(shown.entries).about(self.run, shown.servers).on(self.run, shown.ways);
        Cause { span: shown.span, ..cause.of(self.version()) }
    }

    /// Returns `true` if an entry is about a version of the client whose rank fits.
    fn is_about(&self, entry: usize, fits: impl Fn(u32) -> bool) -> bool {
        let version = self.run.subject(entry).map(|version| self.run.version(version));
        version.is_some_and(|version| version.client == self.lacking.client && fits(version.rank))
    }

    /// Returns the ways into a group from outside.
    fn ways_into(&self, group: &[ServerId]) -> Vec<Way> {
        let ways = self.run.ways.iter().copied();
        let mut ways: Vec<_> = ways.filter(|way| group.contains(&way.to) && !group.contains(&way.from)).collect();
        // Those over which it could have come first.
        ways.sort_by_key(|way| (self.learned(way.from).is_none(), *way));
        ways
    }

    /// Returns a clause for each server of the group that had it in an earlier life.
    fn forgot(&self, group: &[ServerId], shown: &mut Shown) -> Vec<Clause> {
        let lost = |change: &&Change| {
            change.after == 0 && change.before >= self.lacking.rank && change.client == self.lacking.client
        };
        let changes = self.run.changes.iter().take_while(|change| change.entry < self.until).filter(lost);
        let forgot = changes.filter(|change| group.contains(&change.server)).map(|change| {
            let (name, ended) = (self.run.name(change.server), cause::ended(self.run, change.entry));
            let was = cause::was(ended);
            let span = Some(Interval::between(self.run, change.entry, Some(change.entry)));
            shown.add(Shown { entries: vec![change.entry], span, ..Shown::default() });
            Clause {
                text: format!("{name} had it and forgot it when it {was} at {}", self.run.when(change.entry)),
                said: Short::new(format!("{name} {was}"), format!("{name} {ended}"), Weight::Broken),
            }
        });
        forgot.collect()
    }

    /// Returns the entry at which a server first held the version, or something newer.
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
            let ours = || self.is_about(index, |rank| rank >= self.lacking.rank);
            match self.run.entry(index).fact {
                Fact::Saw(Event::Missed { way: other, .. }) if other == way && ours() => {
                    reason = Some(self.down(way, index).shown([index]));
                }
                Fact::Saw(Event::Sent { way: other, .. }) if other == way && ours() => {
                    reason = Some(self.not_heard(way, index).shown([index]));
                }
                Fact::Saw(Event::Control { way: other, ref line, .. }) if other == way && self.announces(line) => {
                    reason = Some(self.not_asked_for(way, index).shown([index]));
                }
                _ => {}
            }
        }
        let mut reason = reason.unwrap_or_else(|| self.never_sent(way, learned));
        reason.shown.ways.push(way);
        reason
    }

    fn never_had(&self, server: ServerId) -> Reason {
        let mut reason = match self.state.life[server.index()] {
            Life::Down => self.dead(server),
            Life::Paused => self.paused(server),
            Life::Running => Reason::new(
                On::Source(server),
                "never had it",
                Short::new("never had it", "without it", Weight::Absent),
            ),
        };
        reason.shown.servers.push(server);
        reason
    }

    fn dead(&self, server: ServerId) -> Reason {
        let said = |label: &str| Short::new("was down", label, Weight::Broken);
        match self.last(server, is_death) {
            Some(fault) => {
                let text = format!("has been down since {}", self.run.when(fault.from));
                let label = fault.action.spec().map_or("down", |spec| spec.did);
                let span = Interval::between(self.run, fault.from, None);
                Reason::new(On::Source(server), text, said(label)).shown([fault.from]).lasting(span)
            }
            None => Reason::new(On::Source(server), "is down", said("down")),
        }
    }

    fn paused(&self, server: ServerId) -> Reason {
        let said = Short::new("was paused", "paused", Weight::Broken);
        let reason = Reason::new(On::Source(server), "is paused", said);
        match self.last(server, |action| matches!(action, Action::Server(_, ServerVerb::Pause))) {
            Some(fault) => reason.shown([fault.from]).lasting(Interval::between(self.run, fault.from, None)),
            None => reason,
        }
    }

    /// Returns the last fault of a kind on a server.
    fn last(&self, server: ServerId, is_kind: impl Fn(&Action) -> bool) -> Option<&Fault<'h>> {
        let on_it = |fault: &&Fault<'_>| is_kind(fault.action) && target(fault.action) == Some(Target::Server(server));
        self.ledger.faults.iter().rev().filter(|fault| fault.from < self.until).find(on_it)
    }

    /// Returns why a way was down at an entry.
    fn down(&self, way: Way, entry: usize) -> Reason {
        if let Some(reason) = self.ledger.on(way, entry).filter_map(|fault| self.blame(way, fault)).last() {
            return reason;
        }
        // Between the end of a fault and the next dial the way is down for no other reason than that fault.
        let before = self.ledger.faults.iter().filter(|fault| fault.until.is_some_and(|until| until <= entry));
        let recent =
            before.filter_map(|fault| Some((fault.until?, self.blame(way, fault)?))).max_by_key(|(until, _)| *until);
        match recent {
            Some((_, reason)) => reason.ending(|text| format!("{text} and not up again at {}", self.run.when(entry))),
            None => {
                let text = format!("was not up at {}", self.run.when(entry));
                let reason = Reason::new(On::Way(way), text, Short::new("was not up", "not up", Weight::Broken));
                reason.lasting(Interval::between(self.run, entry, Some(entry)))
            }
        }
    }

    /// Returns how a fault keeps lines from a way, or `None` if it does not.
    fn blame(&self, way: Way, fault: &Fault<'_>) -> Option<Reason> {
        let spec = fault.action.spec()?;
        let state = spec.state?;
        let on = match target(fault.action)? {
            Target::Way(other) => (other == way).then_some(On::Way(way))?,
            Target::Server(server) if server == way.to => On::Reader(server),
            Target::Server(server) if server == way.from => On::Source(server),
            Target::Server(_) => return None,
        };
        let label = if is_death(fault.action) { spec.did } else { state };
        let until = self.ended(fault);
        let said = Short::new(format!("was {state}"), label, Weight::Broken);
        let mut reason = Reason::new(on, self.span(fault, state), said).shown([fault.from]).shown(until);
        reason.shown.servers.extend(match on {
            On::Source(server) | On::Reader(server) => Some(server),
            On::Way(_) | On::Nothing => None,
        });
        Some(reason.lasting(Interval::between(self.run, fault.from, until)))
    }

    /// Returns the entry at which a fault ended, as far as that was before the judged moment.
    fn ended(&self, fault: &Fault<'_>) -> Option<usize> {
        fault.until.filter(|&until| until < self.until)
    }

    /// Returns a fault's time as a predicate: "was cut from 1.2 s to 3 s", "has been cut since 1.2 s", "was reset at 1.2 s".
    fn span(&self, fault: &Fault<'_>, past: &str) -> String {
        let from = self.run.when(fault.from);
        match self.ended(fault) {
            Some(until) if self.run.end_of(until) == self.run.end_of(fault.from) => format!("was {past} at {from}"),
            Some(until) => format!("was {past} from {from} to {}", self.run.when(until)),
            None => format!("has been {past} since {from}"),
        }
    }

    /// Returns why a line sent at an entry was not read.
    fn not_heard(&self, way: Way, sent: usize) -> Reason {
        let vanished = |index: usize| {
            let vanishes =
                matches!(self.run.entry(index).fact, Fact::Saw(Event::Vanished { way: other, .. }) if other == way);
            vanishes && self.run.subject(index) == self.run.subject(sent)
        };
        let lost = (sent..self.until).find(|&index| self.is_lost(way, index) || vanished(index));
        let at = self.run.when(sent);
        let name = self.run.name(way.from);
        let on_the_way = |fault: &&Fault<'h>| {
            let gone = lost.unwrap_or(self.until);
            fault.from <= gone && fault.until.is_none_or(|until| until > sent || until == fault.from)
        };
        let blamed = |fault: &Fault<'h>| Some((self.blame(way, fault)?, fault.action));
        let touching = self.ledger.faults.iter().rev().filter(on_the_way).find_map(blamed);
        let reason = match (touching, lost) {
            (Some((reason, action)), None) if matches!(reason.on, On::Way(_)) => {
                match action.spec().is_some_and(|spec| spec.swallows) {
                    true => reason.ending(|text| format!("{text} and swallowed what {name} sent at {at}")),
                    false => reason.ending(|text| format!("{text} with what {name} sent at {at}")),
                }
            }
            (Some((reason, _)), Some(_)) if matches!(reason.on, On::Way(_)) => {
                reason.ending(|text| format!("{text} and lost what {name} had sent at {at}"))
            }
            (Some((reason, _)), _) => reason,
            (None, Some(lost)) => {
                let text = format!("lost its connection at {} with what {name} had sent at {at}", self.run.when(lost));
                let said = Short::new("lost its connection", "connection lost", Weight::Broken);
                let span = Interval::between(self.run, lost, Some(lost));
                Reason::new(On::Way(way), text, said).lasting(span)
            }
            (None, None) => {
                let text = format!("what {name} sent at {at} was not yet there");
                let label = format!("{} in flight", self.way_name(way));
                let said = Short::new(format!("what {name} sent was not yet there"), label, Weight::Idle);
                Reason::new(On::Nothing, text, said).lasting(Interval::between(self.run, sent, None))
            }
        };
        reason.shown(lost)
    }

    /// Returns `true` if a control line announces a version of the client that is lacking.
    fn announces(&self, line: &ControlLine) -> bool {
        let client = self.run.client_name(self.lacking.client);
        match parse(line.text().as_bytes()) {
            Command::Control(Control::Have(versions)) => versions.iter().any(|version| version.client == client),
            _ => false,
        }
    }

    /// Returns why what a server only announced at entry `announced` did not come. Faults do to an announcement what they do to
    /// any line.
    fn not_asked_for(&self, way: Way, announced: usize) -> Reason {
        let reason = self.not_heard(way, announced);
        if !matches!(reason.on, On::Nothing) {
            return reason;
        }
        let (from, at) = (self.run.name(way.from), self.run.when(announced));
        let text = format!("{from} announced it at {at} and was not yet asked for it");
        let said = Short::new(format!("{from} only announced it"), format!("{from} announced"), Weight::Idle);
        Reason::new(On::Nothing, text, said).lasting(Interval::between(self.run, announced, None))
    }

    fn is_lost(&self, way: Way, index: usize) -> bool {
        matches!(self.run.entry(index).fact, Fact::Saw(Event::LinkLost { way: other, .. }) if other == way)
    }

    /// Returns why a server that had the version neither sent it nor missed the chance.
    fn never_sent(&self, way: Way, learned: usize) -> Reason {
        let name = self.run.name(way.from);
        let from_there = matches!(
            self.run.entry(learned).fact,
            Fact::Saw(Event::Heard { from: Some(hop), .. }) if hop.server == way.to
        );
        let mut reason =
            if from_there {
                let text = format!("{name} had it from {} itself", self.run.name(way.to));
                let label = format!("{name} had it from {}", self.run.name(way.to));
                Reason::new(On::Nothing, text.clone(), Short::new(text, label, Weight::Idle))
                    .lasting(Interval::between(self.run, learned, Some(learned)))
            } else if let Some(reason) = self.ledger.on(way, learned).filter_map(|fault| self.blame(way, fault)).last()
            {
                reason
            } else if self.run.history.origin.is_outside(way.from) {
                let text = format!("{name} held it by {} and does not tell what it sends", self.run.when(learned));
                let label = format!("{name} seen from outside");
                Reason::new(On::Nothing, text.clone(), Short::new(text, label, Weight::Idle))
            } else {
                let text = format!("{name} held it from {} and did not send it", self.run.when(learned));
                let said = Short::new(format!("{name} did not send it"), format!("{name} silent"), Weight::Idle);
                Reason::new(On::Nothing, text, said).lasting(Interval::between(self.run, learned, None))
            };
        reason.shown.servers.push(way.from);
        reason.shown([learned])
    }

    fn clauses(&self, group: &[ServerId], reasons: &[(Way, Reason)]) -> Vec<Clause> {
        let mut clauses = self.broken_links(reasons);
        let mut told: Vec<(On, &str)> = Vec::new();
        let one_left = clauses.len() == 1 && reasons.len() == 2;
        for (way, reason) in reasons {
            let Reason { on, text, said, .. } = reason;
            if told.contains(&(*on, text)) {
                continue;
            }
            told.push((*on, text));
            let clause = match *on {
                On::Way(_) => continue,
                On::Source(server) if one_left => {
                    let name = self.run.name(server);
                    let text = format!("the only other way led through {name}, which {text}");
                    Clause { text, said: said.of(name, name) }
                }
                On::Reader(server) if group.len() == 1 => {
                    Clause { text: format!("it {text}"), said: said.of("it", self.run.name(server)) }
                }
                On::Source(server) | On::Reader(server) => {
                    let name = self.run.name(server);
                    Clause { text: format!("{name} {text}"), said: said.of(name, name) }
                }
                On::Nothing if one_left => {
                    let text = format!("on the only other way, {}, {text}", self.way_name(*way));
                    Clause { text, said: said.clone() }
                }
                On::Nothing => Clause { text: text.clone(), said: said.clone() },
            };
            clauses.push(clause);
        }
        clauses
    }

    /// Returns what was wrong with links, those with the same trouble in one clause.
    fn broken_links(&self, reasons: &[(Way, Reason)]) -> Vec<Clause> {
        let mut troubles: Vec<(&Reason, Vec<Way>)> = Vec::new();
        for (_, reason) in reasons {
            let On::Way(way) = reason.on else { continue };
            match troubles.iter_mut().find(|(other, _)| other.text == reason.text) {
                Some((_, ways)) => ways.push(way),
                None => troubles.push((reason, vec![way])),
            }
        }
        troubles.into_iter().map(|(reason, ways)| self.broken(reason, &ways)).collect()
    }

    fn broken(&self, Reason { text, said, .. }: &Reason, ways: &[Way]) -> Clause {
        let both = ways.iter().all(|&way| self.both_ways(way));
        let named: Vec<String> =
            ways.iter().map(|&way| if both { self.link_name(way) } else { self.way_name(way) }).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let listed = list(&named);
        let subject = match (both, ways.len()) {
            (true, 1) => format!("link {listed}"),
            (true, _) => format!("links {listed}"),
            (false, 1) => format!("the way {listed}"),
            (false, _) => format!("the ways {listed}"),
        };
        let label = match *named {
            [one] => one.into(),
            [one, two] => format!("{one}, {two}"),
            _ => format!("{} and {} more", named[0], named.len() - 1),
        };
        if ways.len() == 1 {
            return Clause { text: format!("{subject} {text}"), said: said.of(&subject, &label) };
        }
        let said = Short { brief: plural(&said.brief), ..said.clone() };
        Clause { text: format!("{subject} {}", plural(text)), said: said.of(&subject, &label) }
    }

    /// Returns `true` if a step did the same to the way back.
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

    /// Returns the clause that a way came up again and brought nothing, if one did.
    fn not_replayed(&self, reasons: &[(Way, Reason)], shown: &mut Shown) -> Option<String> {
        let back_up = reasons.iter().find_map(|(way, _)| {
            let learned = self.learned(way.from)?;
            let came_up =
                |&index: &usize| matches!(self.run.entry(index).fact, Fact::Saw(Event::LinkUp { way: up, .. }) if up == *way);
            (learned..self.until).find(came_up)
        })?;
        shown.entries.push(back_up);
        let mended = self.ledger.mendings.iter().any(|&mending| mending <= back_up);
        let when = if mended { "after the heal" } else { "when the link came up again" };
        Some(match self.run.history.origin.strategy.repair() {
            Repair::None => format!("nothing was replayed {when}"),
            Repair::All => format!("the replay that began at {} has not brought it", self.run.when(back_up)),
        })
    }
}

impl Clause {
    /// Returns a clause that has no times.
    fn whole(text: &str, label: &str, weight: Weight) -> Self {
        Self { text: text.into(), said: Short::new(text, label, weight) }
    }
}

/// Returns the clauses that explain most, as the end of a headline and as labels.
fn summary(clauses: &[Clause]) -> (String, Vec<String>) {
    let weight = clauses.iter().map(|clause| clause.said.weight).max();
    let chosen: Vec<&Short> =
        clauses.iter().map(|clause| &clause.said).filter(|said| Some(said.weight) == weight).collect();
    if weight == Some(Weight::Absent) && chosen.len() > 1 {
        let all = "no neighbour had it";
        return (all.into(), vec![all.into()]);
    }
    let briefs: Vec<&str> = chosen.iter().take(NAMED).map(|said| said.brief.as_str()).collect();
    (briefs.join(" and "), chosen.iter().map(|said| said.label.clone()).collect())
}

/// Returns labels as a title, as many as find room.
fn title(labels: &[String]) -> String {
    let mut title = String::new();
    for label in labels {
        if title.is_empty() {
            title.clone_from(label);
        } else if title.chars().count() + label.chars().count() + 2 <= TITLE {
            title = format!("{title}, {label}");
        }
    }
    title
}

/// Returns what is said of one link, said of several.
fn plural(text: &str) -> String {
    let verbs = [("was ", "were "), ("has ", "have ")];
    let plural = verbs.iter().find_map(|(one, more)| Some(format!("{more}{}", text.strip_prefix(one)?)));
    plural.unwrap_or_else(|| text.into())
}

/// Returns clauses as a sentence.
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
    use crate::checker::{Cause, Explanation, Interval};
    use crate::claim::{Assertion, ConvergedMode, Scope};
    use crate::config::Strategy;
    use crate::history::Event;
    use crate::history::Fact;
    use crate::history::build::{Builder, herd, line};

    const KIWI: &str = "kiwi.cs.ucla.edu";
    const TIME: u32 = 1_621_464_827;

    fn kiwi(origin: &str) -> String {
        line(origin, KIWI, TIME)
    }

    /// Returns the reasons why a herd has not converged.
    fn because(herd: Builder) -> Vec<String> {
        explained(herd).because.into_iter().map(|cause| cause.text).collect()
    }

    fn explained(herd: Builder) -> Explanation {
        let servers = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];
        let converged =
            Assertion::Converged { mode: ConvergedMode::Agree, scope: Scope::Running, within: None, by: None };
        assert!(servers.iter().all(|name| herd.server(name).index() < servers.len()));
        let finding = herd.check(converged).judge().findings.remove(0);
        *finding.explanation.expect("it has not converged")
    }

    fn cut_and_dead() -> Builder {
        let kiwi = kiwi("Bailey");
        let herd = herd().at(1000, |herd| herd.step("kill Jaquez").kill("Jaquez", 0));
        let herd = herd.at(1200, |herd| herd.step("cut Bona-Clark").cut("Bona", "Clark"));
        let herd = herd.at(2000, |herd| {
            let herd =
                herd.accepted("Bailey", KIWI, TIME).told("Bailey", "Bona", &kiwi).told("Bailey", "Campbell", &kiwi);
            herd.missed("Bona", "Clark", &kiwi).missed("Campbell", "Jaquez", &kiwi)
        });
        herd.at(3000, |herd| herd.step("heal Bona-Clark").heal("Bona", "Clark"))
    }

    #[test]
    fn a_cause_points_at_what_shows_it() {
        let history = cut_and_dead().history();
        let Explanation { headline, because, .. } = explained(cut_and_dead());
        let [Cause { title, entries, servers, ways, of, span, .. }] = &because[..] else { panic!("{because:#?}") };
        assert_eq!(
            headline,
            "Clark lacks kiwi.cs.ucla.edu's 1621464827 because link Bona-Clark was cut and Jaquez was down"
        );
        assert_eq!(title, "Bona-Clark cut, Jaquez killed");
        let kind = |&entry: &u32| match &history.entries[entry as usize].fact {
            Fact::Did { action, .. } => action.spec().map_or("", |spec| spec.word),
            Fact::Saw(Event::Missed { .. }) => "missed",
            Fact::Saw(Event::LinkUp { .. }) => "link up",
            _ => "something else",
        };
        assert_eq!(entries.iter().map(kind).collect::<Vec<_>>(), ["kill", "cut", "missed", "heal", "link up"]);
        assert_eq!(servers.iter().map(|name| &**name).collect::<Vec<_>>(), ["Clark", "Jaquez"]);
        assert_eq!(ways.iter().map(|way| (&*way.from, &*way.to)).collect::<Vec<_>>(), [("Bona", "Clark")]);
        assert_eq!(of.as_ref().map(|of| (&*of.client, &*of.version)), Some((KIWI, "1621464827")));
        assert_eq!(*span, Some(Interval { from: 1_000_000_000, until: None }));
        let json = serde_json::to_string(&because).expect("it is JSON");
        assert_eq!(serde_json::from_str::<Vec<Cause>>(&json).expect("it was just written"), because);
    }

    #[test]
    fn a_link_that_was_cut_and_a_dead_server_on_the_only_other_way() {
        assert_eq!(
            because(cut_and_dead()),
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
    fn a_server_to_which_the_update_was_only_announced() {
        let kiwi = kiwi("Bona");
        let herd = herd().strategy(Strategy::Tree).at(2000, |herd| {
            let herd = herd.accepted("Bona", KIWI, TIME).told("Bona", "Bailey", &kiwi).told("Bona", "Campbell", &kiwi);
            herd.told("Campbell", "Jaquez", &kiwi).announced("Bona", "Clark", &kiwi).announced("Jaquez", "Clark", &kiwi)
        });
        assert_eq!(
            because(herd),
            [
                "Clark lacks kiwi.cs.ucla.edu's 1621464827: Bona announced it at 2 s and was not yet asked for it, and Jaquez announced it at 2 s and was not yet asked for it"
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

    #[test]
    fn a_line_that_a_lossy_way_lost() {
        let kiwi = kiwi("Bona");
        let herd = herd();
        let [lossy, cut] = [herd.way("Bona", "Clark"), herd.way("Jaquez", "Clark")];
        let half = "50%".parse().expect("a share");
        let herd = herd.at(100, |herd| herd.step("lose").did(WayVerb::Lose(half).on(lossy), Hit::default()));
        let herd = herd.at(200, |herd| herd.step("cut").did(WayVerb::Cut.on(cut), Hit::default()));
        let herd = herd.at(300, |herd| {
            let herd = herd.accepted("Bona", KIWI, TIME).sent("Bona", "Clark", &kiwi).vanished("Bona", "Clark", &kiwi);
            let herd = herd.told("Bona", "Bailey", &kiwi).told("Bona", "Campbell", &kiwi);
            herd.told("Campbell", "Jaquez", &kiwi).missed("Jaquez", "Clark", &kiwi)
        });
        assert_eq!(
            because(herd),
            [
                "Clark lacks kiwi.cs.ucla.edu's 1621464827: the way Bona->Clark has been lossy since 100 ms and lost what Bona \
              had sent at 300 ms, and the way Jaquez->Clark has been cut since 200 ms"
            ]
        );
    }
}
