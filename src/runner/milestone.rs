//! Whether something that a script waits for has happened.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{ServerId, Way};
use crate::history::Event;
use crate::scenario::{LineKind, Milestone, Step, Task, Until, When};
use crate::wire::Report;

/// A milestone, and how far it is.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    milestone: Milestone,
    /// Lines counted so far.
    counted: u64,
}

impl Watch {
    pub(super) fn new(milestone: Milestone) -> Self {
        Self { milestone, counted: 0 }
    }

    pub(super) fn follow(&mut self, event: &Event) {
        let Milestone::Lines { kind, on, client, .. } = &self.milestone else { return };
        let Some((of_kind, way, report)) = line(event) else { return };
        let on_way =
            on.iter().any(|wanted| wanted.to == way.to && (*kind == LineKind::Accepted || wanted.from == way.from));
        let about = client.as_ref().is_none_or(|client| **client == *report.client());
        self.counted += u64::from(of_kind == *kind && on_way && about);
    }

    pub(super) fn is_reached(&self, held: &Held) -> bool {
        match &self.milestone {
            Milestone::Lines { count, .. } => self.counted >= *count,
            Milestone::Record { client, on } => held.is_held(client, on),
        }
    }
}

/// What kind of line an event is, and by which way; of a line from a client only the end of the way says something.
fn line(event: &Event) -> Option<(LineKind, Way, &Report)> {
    match event {
        Event::Sent { way, report, .. } => Some((LineKind::Sent, *way, report)),
        Event::Missed { way, report, .. } => Some((LineKind::Missed, *way, report)),
        Event::Heard { server, from: Some(hop), report, .. } => {
            Some((LineKind::Heard, Way { from: hop.server, to: *server }, report))
        }
        Event::Accepted { server, report, .. } => {
            Some((LineKind::Accepted, Way { from: *server, to: *server }, report))
        }
        _ => None,
    }
}

/// Returns the servers that have to tell of the lines that a step waits for: who sends or misses them, or who reads them.
pub(super) fn ends_of_lines(step: &Step) -> Vec<ServerId> {
    let of = |milestone: &Milestone| match milestone {
        Milestone::Lines { kind: LineKind::Heard | LineKind::Accepted, on, .. } => {
            on.iter().map(|way| way.to).collect()
        }
        Milestone::Lines { on, .. } => on.iter().map(|way| way.from).collect(),
        Milestone::Record { .. } => Vec::new(),
    };
    match (&step.when, &step.task) {
        (When::Milestone(milestone), _) | (_, Task::Until(Until::Milestone(milestone))) => of(milestone),
        _ => Vec::new(),
    }
}

/// Whether a step waits for records, which then have to be followed.
pub(super) fn asks_for_records(step: &Step) -> bool {
    let is_record = |milestone: &Milestone| matches!(milestone, Milestone::Record { .. });
    let waits = matches!(&step.when, When::Milestone(milestone) if is_record(milestone));
    waits || matches!(&step.task, Task::Until(Until::Milestone(milestone)) if is_record(milestone))
}

/// Who holds what, and what was acknowledged last, as far as a script asks.
#[derive(Debug)]
pub(super) struct Held {
    followed: bool,
    /// By client and server.
    records: BTreeMap<(Box<str>, ServerId), Arc<Report>>,
    /// The newest acknowledged, by client.
    acknowledged: BTreeMap<Box<str>, Arc<Report>>,
}

impl Held {
    pub(super) fn new(followed: bool) -> Self {
        Self { followed, records: BTreeMap::new(), acknowledged: BTreeMap::new() }
    }

    pub(super) fn follow(&mut self, event: &Event) {
        if !self.followed {
            return;
        }
        match event {
            Event::Accepted { server, report, newer, .. } => {
                self.acknowledge(report);
                self.store(*server, report, *newer);
            }
            Event::Heard { server, report, newer, .. } => self.store(*server, report, *newer),
            Event::Killed { server, .. } | Event::Stopped { server, .. } | Event::Crashed { server, .. } => {
                self.records.retain(|(_, holder), _| holder != server);
            }
            _ => {}
        }
    }

    fn store(&mut self, server: ServerId, report: &Arc<Report>, newer: bool) {
        if newer {
            self.records.insert((report.client().into(), server), report.clone());
        }
    }

    /// A server that is seen from outside showed that it holds a report.
    pub(super) fn shown(&mut self, server: ServerId, report: &Arc<Report>) {
        if self.followed {
            self.store(server, report, true);
        }
    }

    /// A report was acknowledged.
    pub(super) fn acknowledge(&mut self, report: &Arc<Report>) {
        if !self.followed {
            return;
        }
        let newest = self.acknowledged.entry(report.client().into()).or_insert_with(|| report.clone());
        if report.at().version_cmp(newest.at()) == Ordering::Greater {
            *newest = report.clone();
        }
    }

    /// Whether all these servers hold what was last acknowledged about a client, or newer; never before there is something.
    fn is_held(&self, client: &str, on: &[ServerId]) -> bool {
        let Some(newest) = self.acknowledged.get(client) else { return false };
        on.iter().all(|&server| {
            let held = self.records.get(&(client.into(), server));
            held.is_some_and(|held| held.at().version_cmp(newest.at()).is_ge())
        })
    }
}
