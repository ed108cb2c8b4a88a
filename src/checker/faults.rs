//! The fault ledger: what every fault of the script hit while it lasted, told from the history alone.
//!
//! A fault that hit nothing proves nothing, so its run is unproven. What counts as a hit:
//!
//! | fault | hits |
//! |---|---|
//! | cut | lines lost when it was cut; updates that found the way closed until it is up again. Refused dials do not count |
//! | hold, slow, half-open | lines written on the way while it lasts; lines a release lets go |
//! | lose | lines that vanished on the way while it lasts |
//! | reset | the connection reset, now or after the lines asked for |
//! | kill, stop, restart | records and lines lost; updates missed on the ways to it; commands it could not take |
//! | pause | lines and commands that waited for it |
//! | clock | `IAMAT`s handled while it is off |
//! | drop, duplicate | the one line, once it was written |
//! | partition | what any of its ways hits |

use std::collections::BTreeMap;

use super::FaultEntry;
use super::run::Run;
use super::state::{Life, State};
use crate::act::{Action, Counter, Hit, ServerVerb, WayFaults, WayVerb};
use crate::claim::StepId;
use crate::config::{ServerId, Way};
use crate::history::{Event, Fact};
use crate::words::{count, list};

/// One fault on one server or way. A fault of the script is one or more of them.
#[derive(Debug)]
pub(crate) struct Fault<'h> {
    pub(crate) step: Option<StepId>,
    pub(crate) action: &'h Action,
    /// Where it was done.
    pub(crate) from: usize,
    /// Where it was mended.
    pub(crate) until: Option<usize>,
    hits: Hits,
}

/// What a fault hit, counted.
#[derive(Debug, Clone, Copy, Default)]
struct Hits {
    records_lost: u64,
    lines_lost: u64,
    /// The same lines, as its ways told of them one by one.
    lines_lost_on_ways: u64,
    missed: u64,
    /// Lines written while it lasted, or let go by its release.
    lines: u64,
    connections: u64,
    commands: u64,
    writes: u64,
}

/// All faults of a run, in the order in which they were done.
#[derive(Debug, Default)]
pub(crate) struct Ledger<'h> {
    pub(crate) faults: Vec<Fault<'h>>,
    /// Where the herd was mended, in order.
    pub(crate) mendings: Vec<usize>,
}

impl<'h> Ledger<'h> {
    pub(crate) fn of(run: &Run<'h>) -> Self {
        let mut walk = Walk::new(run);
        for (index, entry) in run.history.entries.iter().enumerate() {
            match &entry.fact {
                Fact::Did { action, hit } => walk.did(index, entry.step, action, *hit),
                Fact::Saw(event) => walk.saw(index, event),
                _ => {}
            }
            walk.state.follow(run, &entry.fact);
        }
        walk.ledger
    }

    /// Faults of a way, or of the server at either end of it, that were at work at an entry.
    pub(crate) fn on(&self, way: Way, entry: usize) -> impl Iterator<Item = &Fault<'h>> {
        self.faults.iter().filter(move |fault| {
            let touches = match target(fault.action) {
                Some(Target::Way(other)) => other == way,
                Some(Target::Server(server)) => server == way.from || server == way.to,
                None => false,
            };
            touches && fault.from <= entry && fault.until.is_none_or(|until| entry < until)
        })
    }

    /// Where the herd was broken or mended, and where a fault ended by itself, in no order.
    pub(crate) fn faults_and_mendings(&self) -> impl Iterator<Item = usize> {
        let ends = self.faults.iter().flat_map(|fault| [Some(fault.from), fault.until]).flatten();
        ends.chain(self.mendings.iter().copied())
    }

    /// The faults as people see them: one for every step that did any.
    pub(crate) fn entries(&self, run: &Run<'_>) -> Vec<FaultEntry> {
        self.grouped().into_iter().map(|faults| entry(run, &faults)).collect()
    }

    fn grouped(&self) -> Vec<Vec<&Fault<'h>>> {
        let mut groups: Vec<Vec<&Fault<'h>>> = Vec::new();
        let mut by_step: BTreeMap<StepId, usize> = BTreeMap::new();
        for fault in &self.faults {
            let place = fault.step.map(|step| *by_step.entry(step).or_insert(groups.len()));
            match place.and_then(|place| groups.get_mut(place)) {
                Some(group) => group.push(fault),
                None => groups.push(vec![fault]),
            }
        }
        groups
    }
}

fn entry(run: &Run<'_>, faults: &[&Fault<'_>]) -> FaultEntry {
    let step = faults[0].step;
    let text = step.and_then(|step| run.history.origin.steps.get(step.index())).map(|step| step.text.clone());
    let mended = faults.iter().map(|fault| fault.until).collect::<Option<Vec<_>>>();
    FaultEntry {
        step,
        line: run.history.origin.line(step),
        fault: text.unwrap_or_else(|| words(run, faults)),
        from: run.since_start(run.entry(faults[0].from).at),
        until: mended.and_then(|ends| ends.into_iter().max()).map(|end| run.since_start(run.end_of(end))),
        hit: tell_hits(faults),
    }
}

/// A fault without a script, in words.
fn words(run: &Run<'_>, faults: &[&Fault<'_>]) -> String {
    let targets: Vec<String> = faults.iter().filter_map(|fault| target(fault.action)).map(|t| t.name(run)).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    format!("{} {}", faults[0].action.spec().map_or("", |spec| spec.word), list(&targets))
}

fn tell_hits(faults: &[&Fault<'_>]) -> Vec<String> {
    let mut told: Vec<(&'static str, &'static str, u64)> = Vec::new();
    for fault in faults {
        for (what, done, number) in fault.hits.told(fault.action) {
            match told.iter_mut().find(|(other, verb, _)| (*other, *verb) == (what, done)) {
                Some((_, _, total)) => *total += number,
                None => told.push((what, done, number)),
            }
        }
    }
    let hit = told.into_iter().filter(|&(_, _, number)| number > 0);
    hit.map(|(what, done, number)| format!("{} {done}", count(number, what))).collect()
}

impl Hits {
    /// What counts for a fault of this kind: things, what was done to them, and how many.
    fn told(&self, action: &Action) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let hits = action.spec().map_or(&[][..], |spec| spec.hits);
        hits.iter().map(|&(counter, what, done)| (what, done, self.count(counter)))
    }

    fn count(&self, counter: Counter) -> u64 {
        match counter {
            Counter::RecordsLost => self.records_lost,
            Counter::LinesLost => self.lines_lost.max(self.lines_lost_on_ways),
            Counter::UpdatesMissed => self.missed,
            Counter::Lines => self.lines,
            Counter::Connections => self.connections,
            Counter::Commands => self.commands,
            Counter::Writes => self.writes,
        }
    }
}

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Server(ServerId),
    Way(Way),
}

impl Target {
    fn name(self, run: &Run<'_>) -> String {
        match self {
            Self::Server(server) => run.name(server).into(),
            Self::Way(way) => format!("{}->{}", run.name(way.from), run.name(way.to)),
        }
    }
}

/// Returns what a fault is done to, or `None` for an action that is none, such as talk and what heals.
pub(crate) fn target(action: &Action) -> Option<Target> {
    action.spec().filter(|spec| spec.is_fault())?;
    match *action {
        Action::Server(server, _) => Some(Target::Server(server)),
        Action::Way(way, _) => Some(Target::Way(way)),
        Action::Send { .. } | Action::Close(_) => None,
    }
}

/// Returns `true` if the action ends its server.
pub(crate) fn is_death(action: &Action) -> bool {
    matches!(action, Action::Server(_, ServerVerb::Kill | ServerVerb::Stop | ServerVerb::Restart))
}

fn is_pause(action: &Action) -> bool {
    matches!(action, Action::Server(_, ServerVerb::Pause))
}

/// The walk over a history that fills a ledger.
struct Walk<'r, 'h> {
    run: &'r Run<'h>,
    ledger: Ledger<'h>,
    state: State,
    /// By way: faults at work on it, and ended ones since which it has not come up.
    on_way: Vec<Vec<usize>>,
    /// By server: the same, until the next fault on it.
    on_server: Vec<Vec<usize>>,
    /// By way: where it came up last, one past; 0: never.
    up_since: Vec<usize>,
}

impl<'r, 'h> Walk<'r, 'h> {
    fn new(run: &'r Run<'h>) -> Self {
        Self {
            run,
            ledger: Ledger::default(),
            state: State::worked_out(run, 0),
            on_way: vec![Vec::new(); run.ways.len()],
            on_server: vec![Vec::new(); run.history.origin.servers.len()],
            up_since: vec![0; run.ways.len()],
        }
    }

    fn did(&mut self, index: usize, step: Option<StepId>, action: &'h Action, hit: Hit) {
        if let Action::Send { server, .. } = *action {
            return self.while_on_server(server, |fault| fault.hits.commands += 1);
        }
        let mends = self.mend(index, action, hit);
        match target(action) {
            Some(_) if self.is_clock_set_right(action) => {}
            Some(target) => self.begin(index, step, action, target, hit),
            None => {}
        }
        if mends {
            self.ledger.mendings.push(index);
        }
    }

    /// Ends the faults that an action takes back. Returns `true` if the action heals.
    fn mend(&mut self, index: usize, action: &Action, hit: Hit) -> bool {
        match *action {
            Action::Way(way, verb) => {
                self.while_on_way(way, |fault| {
                    let Action::Way(_, begun) = *fault.action else { return };
                    if WayFaults::ends(verb, begun) {
                        fault.hits.lines = fault.hits.lines.max(hit.lines_released);
                        fault.until = Some(index);
                    }
                });
                matches!(verb, WayVerb::Heal | WayVerb::Release)
            }
            Action::Server(_, ServerVerb::Start | ServerVerb::Restart) => true,
            Action::Server(server, ServerVerb::Resume) => {
                self.end_on_server(index, server, is_pause);
                true
            }
            Action::Server(server, ServerVerb::Clock(_)) => {
                self.end_on_server(index, server, |begun| matches!(begun, Action::Server(_, ServerVerb::Clock(_))));
                self.is_clock_set_right(action)
            }
            _ => false,
        }
    }

    fn is_clock_set_right(&self, action: &Action) -> bool {
        let Action::Server(server, ServerVerb::Clock(offset)) = *action else { return false };
        self.run.history.origin.clocks[server.index()] == offset
    }

    fn begin(&mut self, index: usize, step: Option<StepId>, action: &'h Action, target: Target, hit: Hit) {
        let mut hits = Hits { records_lost: hit.records_lost, lines_lost: hit.lines_lost, ..Hits::default() };
        if let Action::Way(_, WayVerb::Reset { .. }) = action {
            hits.connections = hit.connections;
        }
        let place = self.ledger.faults.len();
        let at_once = matches!(action, Action::Way(_, WayVerb::Reset { after: 0 }));
        self.ledger.faults.push(Fault { step, action, from: index, until: at_once.then_some(index), hits });
        if self.changes_nothing(action) {
            return;
        }
        match target {
            Target::Server(server) => {
                let (faults, here) = (&self.ledger.faults, &mut self.on_server[server.index()]);
                here.retain(|&fault| faults[fault].until.is_none());
                here.push(place);
            }
            Target::Way(way) => {
                if let Some(way) = self.run.way(way) {
                    self.on_way[way].push(place);
                }
            }
        }
    }

    /// Returns `true` if the action would change nothing: what happens then is another fault's doing.
    fn changes_nothing(&self, action: &Action) -> bool {
        match *action {
            // Another amount in the place of an equal one begins anew, and what happens once always does.
            Action::Way(_, WayVerb::Slow(_) | WayVerb::Lose(_)) => false,
            Action::Way(way, verb) => verb.mended_by().is_some() && !self.state.faults(self.run, way).apply(verb),
            Action::Server(server, ServerVerb::Kill | ServerVerb::Stop) => self.state.is_down(server),
            Action::Server(server, ServerVerb::Pause) => self.state.life[server.index()] != Life::Running,
            _ => false,
        }
    }

    fn saw(&mut self, index: usize, event: &Event) {
        match *event {
            Event::Started { server, .. } => self.end_on_server(index, server, is_death),
            Event::Resumed { server, .. } => self.end_on_server(index, server, is_pause),
            Event::Killed { server, records, .. } | Event::Stopped { server, records, .. } => {
                self.on_death(index, server, records)
            }
            Event::Crashed { server, .. } => self.on_death(index, server, 0),
            Event::LinkUp { way, .. } => self.on_link_up(index, way),
            Event::LinkLost { way, lines_lost, .. } => self.on_link_lost(index, way, lines_lost),
            Event::Missed { way, .. } => self.on_missed(way),
            // A fault that counts lines counts these too.
            Event::Sent { way, .. } | Event::Control { way, .. } => self.on_sent(index, way),
            Event::Vanished { way, .. } => self.on_vanished(way),
            Event::Accepted { server, .. } => self.while_on_server(server, |fault| fault.hits.writes += 1),
            _ => {}
        }
    }

    /// A server that dies is not paused any more.
    fn on_death(&mut self, index: usize, server: ServerId, records: u64) {
        self.while_on_server(server, |fault| {
            if is_death(fault.action) {
                fault.hits.records_lost = fault.hits.records_lost.max(records);
            }
        });
        self.end_on_server(index, server, is_pause);
    }

    /// Updates written from now on are no longer missed because of faults that have ended.
    fn on_link_up(&mut self, index: usize, way: Way) {
        let Some(place) = self.run.way(way) else { return };
        self.up_since[place] = index + 1;
        let faults = &self.ledger.faults;
        self.on_way[place].retain(|&fault| faults[fault].until.is_none());
    }

    fn on_link_lost(&mut self, index: usize, way: Way, lines_lost: u64) {
        self.while_on_way(way, |fault| {
            if let Action::Way(_, WayVerb::Reset { .. }) = fault.action {
                fault.hits.connections += 1;
                fault.until = Some(index);
            }
            if let Action::Way(_, WayVerb::Reset { .. } | WayVerb::Cut) = fault.action {
                fault.hits.lines_lost = fault.hits.lines_lost.max(lines_lost);
            }
        });
        let up_since = self.up_since(way);
        for server in [way.from, way.to] {
            self.on_server(server, |fault| {
                if fault.until.is_none() || up_since <= fault.from {
                    fault.hits.lines_lost_on_ways += lines_lost;
                }
            });
        }
    }

    fn on_vanished(&mut self, way: Way) {
        self.while_on_way(way, |fault| {
            if matches!(fault.action, Action::Way(_, WayVerb::Lose(_))) {
                fault.hits.lines_lost += 1;
            }
        });
    }

    fn on_missed(&mut self, way: Way) {
        self.on_way(way, |fault| fault.hits.missed += 1);
        let up_since = self.up_since(way);
        self.on_server(way.to, |fault| {
            fault.hits.missed += u64::from(fault.until.is_none() || up_since <= fault.from);
        });
    }

    fn up_since(&self, way: Way) -> usize {
        self.run.way(way).map_or(0, |place| self.up_since[place])
    }

    fn on_sent(&mut self, index: usize, way: Way) {
        self.while_on_way(way, |fault| match *fault.action {
            Action::Way(_, WayVerb::Drop { nth } | WayVerb::Duplicate { nth }) => {
                fault.hits.connections += 1;
                if fault.hits.connections == nth {
                    fault.hits.lines = 1;
                    fault.until = Some(index);
                }
            }
            _ => fault.hits.lines += 1,
        });
        self.while_on_server(way.to, |fault| fault.hits.lines += 1);
    }

    fn on_way(&mut self, way: Way, mut what: impl FnMut(&mut Fault<'h>)) {
        let places = self.run.way(way).map_or(&[][..], |way| &self.on_way[way]);
        places.iter().for_each(|&place| what(&mut self.ledger.faults[place]));
    }

    fn on_server(&mut self, server: ServerId, mut what: impl FnMut(&mut Fault<'h>)) {
        self.on_server[server.index()].iter().for_each(|&place| what(&mut self.ledger.faults[place]));
    }

    /// As [`Self::on_way`], for faults that have not ended.
    fn while_on_way(&mut self, way: Way, mut what: impl FnMut(&mut Fault<'h>)) {
        self.on_way(way, |fault| {
            if fault.until.is_none() {
                what(fault)
            }
        });
    }

    /// As [`Self::on_server`], for faults that have not ended.
    fn while_on_server(&mut self, server: ServerId, mut what: impl FnMut(&mut Fault<'h>)) {
        self.on_server(server, |fault| {
            if fault.until.is_none() {
                what(fault)
            }
        });
    }

    fn end_on_server(&mut self, index: usize, server: ServerId, which: impl Fn(&Action) -> bool) {
        self.while_on_server(server, |fault| {
            if which(fault.action) {
                fault.until = Some(index);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::act::Share;
    use crate::claim::Verdict;
    use crate::config::{Delay, Slowness};
    use crate::history::build::{Builder, herd, line};

    /// What the first fault hit.
    fn hit(herd: Builder) -> Vec<String> {
        let judgement = herd.judge();
        let hit = judgement.faults[0].hit.clone();
        assert_eq!(judgement.verdict == Verdict::Unproven, judgement.faults.iter().any(|fault| fault.hit.is_empty()));
        hit
    }

    fn nothing() -> Vec<String> {
        Vec::new()
    }

    /// A write at Bona that Clark hears of, or misses.
    fn write(herd: Builder, heard: bool) -> Builder {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd.accepted("Bona", "kiwi", 1);
        if heard { herd.told("Bona", "Clark", &kiwi) } else { herd.missed("Bona", "Clark", &kiwi) }
    }

    fn on_way(action: impl Fn(Way) -> Action) -> Builder {
        let herd = herd();
        let way = herd.way("Bona", "Clark");
        herd.step("a fault").did(action(way), Hit::default())
    }

    #[test]
    fn a_cut_of_an_idle_link_proves_nothing() {
        assert_eq!(hit(herd().step("cut Bona-Clark").cut("Bona", "Clark")), nothing());
    }

    #[test]
    fn a_cut_hits_updates_that_find_the_way_closed_until_it_is_up_again() {
        let cut = || herd().step("cut Bona-Clark").cut("Bona", "Clark");
        assert_eq!(hit(write(cut(), false)), ["1 update missed"]);
        let healed = cut().step("heal").heal("Bona", "Clark");
        assert_eq!(hit(write(healed, false)), nothing());
        let way = cut().way("Bona", "Clark");
        let not_up = cut().step("heal").did(WayVerb::Heal.on(way), Hit::default());
        assert_eq!(hit(write(not_up, false)), ["1 update missed"]);
    }

    #[test]
    fn a_cut_hits_the_lines_it_loses() {
        let way = herd().way("Bona", "Clark");
        let lost = Hit { connections: 1, lines_lost: 2, ..Hit::default() };
        let herd = herd().step("cut").did(WayVerb::Cut.on(way), lost).lost(way, 2);
        assert_eq!(hit(herd), ["2 lines lost"]);
    }

    #[test]
    fn to_cut_twice_hits_once() {
        let herd = herd().step("cut").cut("Bona", "Clark").step("cut again").cut("Bona", "Clark");
        let judgement = write(herd, false).judge();
        let hit: Vec<_> = judgement.faults.iter().map(|fault| fault.hit.join(", ")).collect();
        assert_eq!(hit, ["1 update missed", ""]);
        assert_eq!(judgement.verdict, Verdict::Unproven);
    }

    #[test]
    fn holding_slowing_and_half_opening_hit_the_lines_of_their_time() {
        let slow = Slowness { delay: Delay { latency: Duration::from_millis(1), ..Delay::default() }, rate: None };
        let faults: [(&dyn Fn(Way) -> Action, &str); 3] = [
            (&|way| WayVerb::Hold.on(way), "1 line held"),
            (&|way| WayVerb::HalfOpen.on(way), "1 line swallowed"),
            (&|way| WayVerb::Slow(slow).on(way), "1 line slowed"),
        ];
        for (action, told) in faults {
            assert_eq!(hit(write(on_way(action), true)), [told]);
            let way = herd().way("Bona", "Clark");
            let mended =
                on_way(action).did(WayVerb::Heal.on(way), Hit::default()).did(WayVerb::Release.on(way), Hit::default());
            assert_eq!(hit(write(mended, true)), nothing());
        }
    }

    #[test]
    fn a_lossy_way_hits_the_lines_that_vanish() {
        let lossy = || on_way(|way| WayVerb::Lose(Share::ALL).on(way));
        assert_eq!(hit(write(lossy(), true)), nothing());
        let kiwi = line("Bona", "kiwi", 1);
        let way = lossy().way("Bona", "Clark");
        let lost = |herd: Builder| {
            herd.accepted("Bona", "kiwi", 1).sent("Bona", "Clark", &kiwi).vanished("Bona", "Clark", &kiwi)
        };
        assert_eq!(hit(lost(lossy())), ["1 line lost"]);
        let healed = lossy().did(WayVerb::Heal.on(way), Hit::default());
        assert_eq!(hit(lost(healed)), nothing());
    }

    #[test]
    fn a_release_tells_what_was_held() {
        let way = herd().way("Bona", "Clark");
        let herd = on_way(|way| WayVerb::Hold.on(way))
            .did(WayVerb::Release.on(way), Hit { lines_released: 3, ..Hit::default() });
        assert_eq!(hit(herd), ["3 lines held"]);
    }

    #[test]
    fn a_reset_hits_its_connection_now_or_later() {
        let way = herd().way("Bona", "Clark");
        let now =
            herd().step("reset").did(WayVerb::Reset { after: 0 }.on(way), Hit { connections: 1, ..Hit::default() });
        assert_eq!(hit(now), ["1 connection reset"]);
        assert_eq!(hit(on_way(|way| WayVerb::Reset { after: 2 }.on(way))), nothing());
        let later = on_way(|way| WayVerb::Reset { after: 1 }.on(way)).lost(way, 1);
        assert_eq!(hit(later), ["1 connection reset", "1 line lost"]);
    }

    #[test]
    fn a_kill_hits_records_updates_and_commands() {
        let kill = |records| herd().step("kill Clark").kill("Clark", records);
        assert_eq!(hit(kill(0)), nothing());
        let herd = write(kill(2), false).asked("Clark", "what?", None);
        assert_eq!(hit(herd), ["2 records lost", "1 update missed", "1 command not taken"]);
    }

    #[test]
    fn a_pause_hits_what_waits_for_it() {
        let paused = herd().step("pause Clark").pause("Clark");
        assert_eq!(
            hit(write(paused, true).asked("Clark", "what?", None)),
            ["1 line kept waiting", "1 command kept waiting"]
        );
    }

    #[test]
    fn a_clock_hits_the_iamats_taken_under_it_and_setting_it_right_mends_it() {
        let clock = |herd: Builder, offset| {
            let bona = herd.server("Bona");
            herd.step("clock Bona").did(ServerVerb::Clock(offset).on(bona), Hit::default())
        };
        assert_eq!(hit(write(clock(herd(), 5), true)), ["1 IAMAT taken under it"]);
        let mended = clock(clock(herd(), 5), 0);
        let judgement = write(mended, true).judge();
        assert_eq!((judgement.faults.len(), judgement.faults[0].until.is_some()), (1, true));
        assert_eq!(judgement.faults[0].hit, nothing());
    }

    #[test]
    fn a_dropped_line_counts_once_it_is_written() {
        assert_eq!(hit(write(on_way(|way| WayVerb::Drop { nth: 1 }.on(way)), true)), ["1 line dropped"]);
        assert_eq!(hit(write(on_way(|way| WayVerb::Duplicate { nth: 2 }.on(way)), true)), nothing());
    }

    #[test]
    fn a_partition_is_one_fault_and_hits_when_any_of_its_ways_does() {
        let herd = herd().step("partition Clark, Jaquez | the others").cut("Bona", "Clark").cut("Campbell", "Jaquez");
        let judgement = write(herd, false).judge();
        assert_eq!(judgement.faults.len(), 1);
        assert_eq!(judgement.faults[0].fault, "partition Clark, Jaquez | the others");
        assert_eq!(judgement.faults[0].hit, ["1 update missed"]);
    }

    #[test]
    fn a_fault_without_a_script_names_what_it_was_done_to() {
        assert_eq!(herd().kill("Clark", 1).judge().faults[0].fault, "kill Clark");
    }
}
