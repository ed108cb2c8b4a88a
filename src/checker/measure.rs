//! The numbers of a run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::convergence::Convergence;
use super::faults::Ledger;
use super::run::{ClientId, Run};
use super::state::{Held, State};
use super::unseen::unseen;
use super::{AtLeast, Deeds, Numbers, Propagation, Seen, SetFull, Span};
use crate::claim::{ConvergedMode, Needs, Scope};
use crate::config::{Link, ServerId};
use crate::history::{Event, Fact};

/// Measures everything that reports show.
pub(super) fn numbers(seen: &Seen<'_, '_>) -> Numbers {
    let run = seen.run;
    let until = run.len();
    let scope = Convergence::of(run, seen.ledger, ConvergedMode::Survivors, &Scope::Core, until).scope;
    let origin = &run.history.origin;
    let all = Span { from: 0, until };
    let records = Needs::Records { client: None, scope: Scope::Core };
    // Times are worth something only where it is known who holds what in the end.
    let is_known = unseen(run, all, &records, true).is_none();
    let times = |run: &Run<'_>, ledger: &Ledger<'_>| if is_known { times(run, ledger) } else { AtLeast::default() };
    let most = times(run, seen.ledger);
    let mut numbers = Numbers {
        duration: run.history.ended() - run.history.started,
        convergence: most.convergence,
        propagation: most.propagation,
        writes: run.acknowledged().len() as u64,
        updates: run.writes.iter().filter(|write| write.newer).count() as u64,
        reads: run.reads.len() as u64,
        lines_of_flood: origin.lines_of_flood(),
        lines_of_tree: origin.lines_of_tree(),
        set: is_known.then(|| set_full(run, &scope)),
        at_least: seen.early.map(|run| times(run, &Ledger::of(run))),
        ..Numbers::default()
    };
    let mut deeds = Deeds { stale_area: stale_area(run, until), ..Deeds::default() };
    for entry in &run.history.entries {
        match &entry.fact {
            Fact::Waited(time) => numbers.waited += *time,
            Fact::Saw(Event::Refused { .. }) => numbers.refused += 1,
            fact => tally(&mut deeds, fact),
        }
    }
    numbers.deeds = seen.early.is_none().then_some(deeds);
    numbers
}

/// Measures how long updates took.
fn times(run: &Run<'_>, ledger: &Ledger<'_>) -> AtLeast {
    let convergence = Convergence::of(run, ledger, ConvergedMode::Survivors, &Scope::Core, run.len());
    AtLeast {
        convergence: convergence.time.filter(|_| convergence.lacking.is_empty()),
        propagation: propagation(run, 0, run.len()).summary(run),
    }
}

fn tally(deeds: &mut Deeds, fact: &Fact) {
    match fact {
        Fact::Saw(Event::Sent { report, .. }) => {
            deeds.lines += 1;
            deeds.bytes += report.line().len() as u64 + 1;
        }
        Fact::Saw(Event::Control { .. }) => deeds.control_lines += 1,
        Fact::Saw(Event::Acknowledged { overdue: true, .. }) => deeds.late_replies += 1,
        Fact::Saw(Event::Heard { newer: false, from: Some(_), .. }) => deeds.redundant += 1,
        Fact::Saw(Event::LinkLost { lines_lost, .. }) => deeds.lines_lost += lines_lost,
        Fact::Saw(Event::Vanished { .. }) => deeds.lines_lost += 1,
        _ => {}
    }
}

/// How fast writes reached the servers of the core.
pub(crate) struct Latencies {
    /// In order.
    pub(crate) reached: Vec<Duration>,
    /// Writes and servers that they never reached: entry of the write, and the server.
    pub(crate) never: Vec<(usize, ServerId)>,
    origins: Vec<ServerId>,
}

/// Latencies of the updates acknowledged from entry `from` on, at the servers that are the core before entry `until`.
///
/// A server that already held something at least as new when the write was acknowledged does not count, nor does the one
/// that acknowledged it.
pub(crate) fn propagation(run: &Run<'_>, from: usize, until: usize) -> Latencies {
    let core = State::at(run, until).core(run);
    let mut held = Held::at(run, 0);
    let mut waiting = vec![Vec::new(); run.history.origin.servers.len()];
    let mut latencies = Latencies { reached: Vec::new(), never: Vec::new(), origins: Vec::new() };
    let mut changes = run.changes.iter().take_while(|change| change.entry < until).peekable();
    for write in run.acknowledged().iter().filter(|write| write.newer && (from..until).contains(&write.entry)) {
        while let Some(change) = changes.next_if(|change| change.entry < write.entry) {
            held.set(change.server, change.client, change.after);
            latencies.arrive(run, &mut waiting, change.server, change.client, change.after, change.entry);
        }
        let version = run.version(write.version);
        latencies.origins.push(write.server);
        for &server in core.iter().filter(|&&server| server != write.server) {
            if held.rank(server, version.client) < version.rank {
                waiting[server.index()].push((version.client, version.rank, write.entry));
            }
        }
    }
    for change in changes {
        latencies.arrive(run, &mut waiting, change.server, change.client, change.after, change.entry);
    }
    latencies.finish(waiting);
    latencies
}

/// Writes that a server does not cover yet: client, rank and entry.
type Waiting = Vec<Vec<(ClientId, u32, usize)>>;

impl Latencies {
    fn arrive(
        &mut self,
        run: &Run<'_>,
        waiting: &mut Waiting,
        server: ServerId,
        client: ClientId,
        rank: u32,
        entry: usize,
    ) {
        waiting[server.index()].retain(|&(of, wanted, write)| {
            let covered = of == client && wanted <= rank;
            if covered {
                self.reached.push(run.entry(entry).at - run.entry(write).at);
            }
            !covered
        });
    }

    fn finish(&mut self, waiting: Waiting) {
        self.reached.sort_unstable();
        for (server, writes) in (0..).map(ServerId).zip(waiting) {
            self.never.extend(writes.into_iter().map(|(_, _, write)| (write, server)));
        }
        self.never.sort_unstable();
        self.origins.sort_unstable();
        self.origins.dedup();
    }

    /// How many pairs of write and server there are.
    pub(crate) fn count(&self) -> usize {
        self.reached.len() + self.never.len()
    }

    /// The least latency that `part` of all pairs do not exceed (nearest rank); `None` when that is never.
    pub(crate) fn quantile(&self, part: f64) -> Option<Duration> {
        let place = ((part * self.count() as f64).ceil() as usize).max(1) - 1;
        self.reached.get(place).copied()
    }

    fn summary(&self, run: &Run<'_>) -> Option<Propagation> {
        if self.count() == 0 {
            return None;
        }
        let quantile = |part| self.quantile(part).or(self.reached.last().copied()).unwrap_or_default();
        Some(Propagation {
            count: self.reached.len() as u64,
            never: self.never.len() as u64,
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: self.reached.last().copied().unwrap_or_default(),
            floor: self.origins.iter().map(|&origin| farthest(run, origin)).max().unwrap_or_default(),
        })
    }
}

/// The sum of latencies on the shortest way from a server to the one farthest from it (Dijkstra's algorithm).
fn farthest(run: &Run<'_>, origin: ServerId) -> Duration {
    let links = &run.history.origin.links;
    if links.iter().flat_map(|link| link.delays).all(|delay| delay.latency.is_zero()) {
        return Duration::ZERO;
    }
    let mut neighbours = vec![Vec::new(); run.history.origin.servers.len()];
    for (way, delay) in links.iter().flat_map(Link::ways) {
        neighbours[way.from.index()].push((way.to, delay.latency));
    }
    let mut distances = vec![None; neighbours.len()];
    let mut queue = BinaryHeap::from([Reverse((Duration::ZERO, origin))]);
    let mut farthest = Duration::ZERO;
    while let Some(Reverse((distance, server))) = queue.pop() {
        if distances[server.index()].is_some() {
            continue;
        }
        distances[server.index()] = Some(distance);
        farthest = distance;
        let onward = neighbours[server.index()].iter().map(|&(to, latency)| Reverse((distance + latency, to)));
        queue.extend(onward);
    }
    farthest
}

/// Stale pairs of server and client integrated over time, per write, in seconds, up to entry `until`.
///
/// A pair is stale while the server runs and holds less than the newest that any running server holds.
pub(crate) fn stale_area(run: &Run<'_>, until: usize) -> f64 {
    let writes = run.writes.iter().filter(|write| write.entry < until).count();
    if writes == 0 {
        return 0.0;
    }
    let mut area = Divergence::new(run);
    for change in run.changes.iter().take_while(|change| change.entry < until) {
        area.lives(run, change.entry);
        area.pass(run.entry(change.entry).at.since(run.history.started));
        area.change(run, change.server, change.client, change.after);
    }
    area.lives(run, until);
    area.pass(run.end_of(until).since(run.history.started));
    area.pair_seconds / writes as f64
}

/// How many pairs are stale, over time.
struct Divergence {
    state: State,
    /// The next of [`Run::turns`] to be followed.
    next: usize,
    running: usize,
    /// By client: the newest rank, and how many running servers hold it.
    newest: Vec<(u32, usize)>,
    stale: usize,
    now: Duration,
    pair_seconds: f64,
}

impl Divergence {
    fn new(run: &Run<'_>) -> Self {
        Self {
            state: State::worked_out(run, 0),
            next: 0,
            running: run.history.origin.servers.len(),
            newest: vec![(0, 0); run.clients().count()],
            stale: 0,
            now: Duration::ZERO,
            pair_seconds: 0.0,
        }
    }

    fn pass(&mut self, now: Duration) {
        self.pair_seconds += self.stale as f64 * (now.saturating_sub(self.now)).as_secs_f64();
        self.now = now;
    }

    /// Servers that start and end before entry `until`.
    fn lives(&mut self, run: &Run<'_>, until: usize) {
        while let Some(&index) = run.turns.get(self.next).filter(|&&turn| turn < until) {
            self.next += 1;
            let fact = &run.entry(index).fact;
            if let Fact::Saw(
                Event::Started { server, .. }
                | Event::Killed { server, .. }
                | Event::Stopped { server, .. }
                | Event::Crashed { server, .. },
            ) = *fact
            {
                let was_down = self.state.is_down(server);
                self.state.follow(run, fact);
                // Not when a herd begins and every server starts: nobody was down.
                if self.state.is_down(server) != was_down {
                    self.pass(run.entry(index).at.since(run.history.started));
                    self.recount(run);
                }
            }
        }
    }

    fn recount(&mut self, run: &Run<'_>) {
        self.running = run.servers().filter(|&server| !self.state.is_down(server)).count();
        for client in run.clients() {
            self.newest[client.index()] = self.count(run, client);
        }
        self.stale = self.newest.iter().map(|&newest| self.stale_of(newest)).sum();
    }

    fn count(&self, run: &Run<'_>, client: ClientId) -> (u32, usize) {
        let newest = self.state.newest(client);
        let holds = |server: &ServerId| !self.state.is_down(*server) && self.state.held(*server, client) == newest;
        (newest, run.servers().filter(holds).count())
    }

    fn stale_of(&self, (newest, holders): (u32, usize)) -> usize {
        if newest == 0 { 0 } else { self.running - holders }
    }

    fn change(&mut self, run: &Run<'_>, server: ServerId, client: ClientId, after: u32) {
        self.state.set(server, client, after);
        let before = self.newest[client.index()];
        let now = match after {
            0 => self.count(run, client),
            _ if after > before.0 => (after, 1),
            _ if after == before.0 => (before.0, before.1 + 1),
            _ => before,
        };
        self.newest[client.index()] = now;
        self.stale = self.stale + self.stale_of(now) - self.stale_of(before);
    }
}

/// What became of every acknowledged write.
fn set_full(run: &Run<'_>, core: &[ServerId]) -> SetFull {
    let held = Held::at(run, run.len());
    let coverage = |client| {
        let held = core.iter().map(|&server| held.rank(server, client));
        (held.clone().min().unwrap_or(0), held.max().unwrap_or(0))
    };
    let coverage: Vec<(u32, u32)> = run.clients().map(coverage).collect();
    let mut last_read = vec![0; coverage.len()];
    for read in &run.reads {
        let place = run.version(read.version).client.index();
        last_read[place] = read.sent.max(last_read[place]);
    }
    let mut set = SetFull::default();
    for write in run.acknowledged() {
        let version = run.version(write.version);
        let (least, most) = coverage[version.client.index()];
        let count = match version.rank {
            rank if rank > most => &mut set.lost,
            rank if rank > least => &mut set.stale,
            _ => &mut set.stable,
        };
        *count += 1;
        set.never_read += u64::from(last_read[version.client.index()] < write.entry);
    }
    set
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checker::evidence::{Evidence, Reading};
    use crate::history::build::herd;

    #[test]
    fn the_farthest_server_is_found_by_the_latencies_away_from_the_origin() {
        let mut history = herd().history();
        let links = &mut Arc::make_mut(&mut history.origin).links;
        let [a, b, c] = [0, 1, 2].map(ServerId);
        links.truncate(2);
        (links[0].ends, links[1].ends) = ([a, b], [c, b]);
        let latencies = [[1, 20], [300, 4000]].map(|link| link.map(Duration::from_millis));
        for (link, latencies) in links.iter_mut().zip(latencies) {
            (link.delays[0].latency, link.delays[1].latency) = latencies.into();
        }
        let evidence = Evidence::of(&history);
        let run = Run::of(&history, &evidence, Reading::Late);
        let farthest = [a, b, c].map(|origin| farthest(&run, origin).as_millis());
        assert_eq!(farthest, [4001, 4000, 320]);
    }
}
