//! Whether the system allows as many open files as a herd needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{LinkMode, ServerId, Topology};
use crate::driver::{DriverError, Wiring};

/// What a process needs besides the herd's own sockets: standard streams, timers, the control socket, logs, some clients.
const RESERVE: u64 = 128;

/// Raises the limit of descriptors as far as the herd needs.
pub(super) fn provide(topology: &Topology, wiring: &Wiring, only: Option<ServerId>) -> Result<(), DriverError> {
    let needed = needed(topology, wiring, only);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: Some(needed.max(limit.current.unwrap_or(0)).min(allowed)), maximum: limit.maximum };
    if allowed < needed || setrlimit(Resource::Nofile, raised).is_err() {
        return Err(DriverError::Resources(format!(
            "a herd of {} servers and {} links needs {needed} open files, and this system allows {allowed}: raise \
             `ulimit -Hn`, use fewer servers or links, or run it on virtual time",
            topology.servers.len(),
            wiring.ways().count() / 2,
        )));
    }
    Ok(())
}

/// A listener and what keeps its port for each server; for each way both ends of its connection, as far as they are in this process.
fn needed(topology: &Topology, wiring: &Wiring, only: Option<ServerId>) -> u64 {
    let local = |server: &ServerId| only.is_none_or(|only| only == *server);
    let persistent = |server: ServerId| {
        let links = wiring.neighbours(server).iter().filter(|neighbour| neighbour.mode == LinkMode::Persistent);
        2 * links.count() as u64
    };
    topology.ids().filter(local).map(|server| 2 + persistent(server)).sum::<u64>() + RESERVE
}
