//! From when on the servers of a scope hold, for every client, the version that counts.

use std::time::Duration;

use super::faults::Ledger;
use super::run::{Change, ClientId, Run, Version, Write};
use super::state::{Held, State};
use crate::claim::{ConvergedMode, Scope};
use crate::config::ServerId;

/// How a scope converged up to some moment.
#[derive(Debug)]
pub(crate) struct Convergence {
    /// Who is in the scope.
    pub(crate) scope: Vec<ServerId>,
    /// The entry of the last disturbance: a fault, its mending or a write.
    pub(crate) disturbed: Option<usize>,
    /// Who lacks what at the end: the client, the rank that counts, and the servers that hold less.
    pub(crate) lacking: Vec<Lacking>,
    /// From the disturbance to the first moment of convergence; the longer one when a write came after the last fault's
    /// end. `None` when it never converged after one of them, or when nothing disturbed it.
    pub(crate) time: Option<Duration>,
    /// The entry from which on it held, as far as that is one.
    pub(crate) since: Option<usize>,
}

/// What some servers lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) client: ClientId,
    /// Rank of the version that counts.
    pub(crate) rank: u32,
    pub(crate) servers: Vec<ServerId>,
}

impl Convergence {
    /// Of the part of a run before entry `until`.
    pub(crate) fn of(run: &Run<'_>, ledger: &Ledger<'_>, mode: ConvergedMode, scope: &Scope, until: usize) -> Self {
        let fault = last(ledger.faults_and_mendings(), until);
        let write = last(run.writes.iter().filter(|write| write.newer).map(|write| write.entry), until);
        let scope = State::at(run, until).scope(run, scope);
        let disturbances = [fault, write.filter(|&write| fault.is_none_or(|fault| write > fault))];
        let disturbances: Vec<usize> = disturbances.into_iter().flatten().collect();
        let progress = |disturbance: usize| Progress::from(run, mode, &scope, disturbance, until);
        let followed: Vec<_> = disturbances.iter().map(|&disturbance| progress(disturbance)).collect();
        let times = disturbances.iter().zip(&followed).map(|(&disturbance, progress)| {
            let first = progress.first?;
            Some((run.end_of(first) - run.entry(disturbance).at, first))
        });
        let times = times.collect::<Option<Vec<_>>>().unwrap_or_default();
        let last = followed.into_iter().next_back().unwrap_or_else(|| progress(0));
        Self {
            disturbed: disturbances.last().copied(),
            lacking: last.lacking(run, &scope),
            time: times.iter().map(|&(time, _)| time).max(),
            since: times.last().map(|&(_, first)| first),
            scope,
        }
    }
}

fn last(entries: impl Iterator<Item = usize>, until: usize) -> Option<usize> {
    entries.filter(|&entry| entry < until).max()
}

/// A scope on its way to convergence.
struct Progress {
    held: Held,
    /// By client: the rank that counts; 0: there is none.
    wanted: Vec<u32>,
    /// By client: how many of the scope hold it.
    holders: Vec<usize>,
    /// How many clients have a rank that counts and not everybody holds.
    open: usize,
    mode: ConvergedMode,
    members: Vec<bool>,
    size: usize,
    /// The first entry after which nothing was open.
    first: Option<usize>,
}

impl Progress {
    /// Follows a run from just after entry `from` to just before entry `until`.
    fn from(run: &Run<'_>, mode: ConvergedMode, scope: &[ServerId], from: usize, until: usize) -> Self {
        let start = (from + 1).min(until);
        let mut progress = Self::at(run, mode, scope, start);
        if progress.open == 0 && start > from {
            progress.first = Some(from);
        }
        for step in Steps::new(run, start, until) {
            progress.follow(run, step);
        }
        progress
    }

    fn at(run: &Run<'_>, mode: ConvergedMode, scope: &[ServerId], start: usize) -> Self {
        let mut members = vec![false; run.history.origin.servers.len()];
        for server in scope {
            members[server.index()] = true;
        }
        let clients = run.clients().count();
        let held = Held::at(run, start);
        let (wanted, holders) = (vec![0; clients], vec![0; clients]);
        let size = scope.len();
        let mut progress = Self { held, wanted, holders, open: 0, mode, members, size, first: None };
        for write in run.acknowledged().iter().filter(|write| write.entry < start) {
            progress.acknowledge(run.version(write.version));
        }
        for client in run.clients() {
            progress.wanted[client.index()] = progress.wanted[client.index()].max(progress.newest(client));
            progress.count(client);
        }
        progress.open = run.clients().filter(|&client| progress.is_open(client)).count();
        progress
    }

    fn acknowledge(&mut self, version: Version<'_>) {
        if self.mode == ConvergedMode::Acknowledged {
            let wanted = &mut self.wanted[version.client.index()];
            *wanted = version.rank.max(*wanted);
        }
    }

    fn count(&mut self, client: ClientId) {
        let wanted = self.wanted[client.index()];
        self.holders[client.index()] = self.scope().filter(|&server| self.held.rank(server, client) == wanted).count();
    }

    fn is_open(&self, client: ClientId) -> bool {
        self.wanted[client.index()] > 0 && self.holders[client.index()] < self.size
    }

    fn follow(&mut self, run: &Run<'_>, step: StepOf<'_>) {
        let (entry, client) = match step {
            StepOf::Write(write) => (write.entry, run.version(write.version).client),
            StepOf::Change(change) => (change.entry, change.client),
        };
        let was_open = self.is_open(client);
        match step {
            StepOf::Write(write) => {
                let before = self.wanted[client.index()];
                self.acknowledge(run.version(write.version));
                if self.wanted[client.index()] != before {
                    self.count(client);
                }
            }
            StepOf::Change(change) => self.change(change),
        }
        match (was_open, self.is_open(client)) {
            (true, false) => self.open -= 1,
            (false, true) => self.open += 1,
            _ => {}
        }
        if self.open == 0 && self.first.is_none() {
            self.first = Some(entry);
        }
    }

    fn change(&mut self, change: &Change) {
        let Change { server, client, before, after, .. } = *change;
        self.held.set(server, client, after);
        if !self.members[server.index()] {
            return;
        }
        let wanted = self.wanted[client.index()];
        if after > wanted {
            self.wanted[client.index()] = after;
            self.holders[client.index()] = 1;
        } else if after == wanted {
            self.holders[client.index()] += 1;
        } else if before == wanted {
            self.holders[client.index()] -= 1;
            if self.mode == ConvergedMode::Agree {
                self.wanted[client.index()] = self.newest(client);
                self.count(client);
            }
        }
    }

    fn newest(&self, client: ClientId) -> u32 {
        self.scope().map(|server| self.held.rank(server, client)).max().unwrap_or(0)
    }

    fn scope(&self) -> impl Iterator<Item = ServerId> {
        (0..).map(ServerId).zip(&self.members).filter(|(_, member)| **member).map(|(server, _)| server)
    }

    fn lacking(&self, run: &Run<'_>, scope: &[ServerId]) -> Vec<Lacking> {
        let open = run.clients().filter(|&client| self.is_open(client));
        open.map(|client| {
            let rank = self.wanted[client.index()];
            let less = |server: &ServerId| self.held.rank(*server, client) < rank;
            Lacking { client, rank, servers: scope.iter().copied().filter(less).collect() }
        })
        .collect()
    }
}

/// What moves convergence: writes and changes of records, in order; at one entry the write first.
struct Steps<'r, 'h> {
    run: &'r Run<'h>,
    write: usize,
    change: usize,
    until: usize,
}

#[derive(Clone, Copy)]
enum StepOf<'r> {
    Write(&'r Write),
    Change(&'r Change),
}

impl<'r, 'h> Steps<'r, 'h> {
    fn new(run: &'r Run<'h>, from: usize, until: usize) -> Self {
        let write = run.acknowledged().partition_point(|write| write.entry < from);
        let change = run.changes.partition_point(|change| change.entry < from);
        Self { run, write, change, until }
    }
}

impl<'r> Iterator for Steps<'r, '_> {
    type Item = StepOf<'r>;

    fn next(&mut self) -> Option<StepOf<'r>> {
        let write = self.run.acknowledged().get(self.write).filter(|write| write.entry < self.until);
        let change = self.run.changes.get(self.change).filter(|change| change.entry < self.until);
        match (write, change) {
            (Some(write), change) if change.is_none_or(|change| write.entry <= change.entry) => {
                self.write += 1;
                Some(StepOf::Write(write))
            }
            (_, Some(change)) => {
                self.change += 1;
                Some(StepOf::Change(change))
            }
            _ => None,
        }
    }
}
