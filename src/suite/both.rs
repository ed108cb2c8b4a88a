//! Whether a case ends the same on both drivers.

use std::collections::BTreeSet;

use crate::config::Topology;
use crate::driver::Known;
use crate::report::{CaseResult, Status};

/// What every server knows at the end, without what must differ from run to run: times, and the skews that follow from them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Server, client, location and who took it from the client.
    records: BTreeSet<[String; 4]>,
}

impl Ending {
    pub(super) fn of(topology: &Topology, records: &[Vec<Known>]) -> Self {
        let each = topology.servers.iter().zip(records).flat_map(|(server, known)| {
            known.iter().map(|known| {
                let at = known.report.at();
                [&*server.name, at.client(), at.location(), at.origin()].map(str::to_owned)
            })
        });
        Self { records: each.collect() }
    }

    /// What one of two endings has and the other has not.
    fn difference(&self, other: &Self) -> Option<String> {
        let first = |one: &Self, other: &Self| one.records.difference(&other.records).next().cloned();
        let told = |[server, client, location, origin]: [String; 4]| {
            format!("{server} knows {client} at {location} by {origin}")
        };
        let here = first(self, other).map(|record| format!("{} on real sockets only", told(record)));
        here.or_else(|| first(other, self).map(|record| format!("{} on virtual time only", told(record))))
    }
}

/// One result of two: the worse one, and an error where the drivers disagree.
pub(super) fn compare(loopback: (CaseResult, Ending), simulated: (CaseResult, Ending)) -> CaseResult {
    let ((loopback, here), (simulated, there)) = (loopback, simulated);
    let disagreement = if loopback.status != simulated.status {
        Some(format!(
            "the drivers disagree: {} on real sockets, {} on virtual time",
            loopback.status.name(),
            simulated.status.name()
        ))
    } else {
        here.difference(&there).map(|difference| format!("the drivers end differently: {difference}"))
    };
    let mut worse = if simulated.status > loopback.status { simulated } else { loopback };
    if let Some(disagreement) = disagreement.filter(|_| worse.status != Status::Error) {
        worse.status = Status::Failed;
        worse.error = Some(disagreement);
    }
    worse
}
