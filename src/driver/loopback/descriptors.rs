//! How many open files the system allows, which of them the herd's own links need, and what is left for clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::config::{LinkMode, ServerId, Topology, Wiring};
use crate::driver::DriverError;

/// What a process needs besides the herd's own sockets: standard streams, timers, the control socket, logs, some clients.
const RESERVE: u64 = 128;

/// Raises the limit of descriptors as far as the herd can make use of it; how many connections its servers may accept in
/// all, so that however many clients come the links between servers can still be opened.
pub(super) fn provide(topology: &Topology, wiring: &Wiring, only: Option<ServerId>) -> Result<usize, DriverError> {
    let servers = local(topology, only).count() as u64;
    let needed = needed(topology, wiring, only);
    let wanted = needed.saturating_add(servers.saturating_mul(topology.limits.connections as u64));
    let allowed = raise(wanted);
    if allowed < needed {
        return Err(DriverError::Resources(format!(
            "a herd of {} servers and {} links needs {needed} open files, and this system allows {allowed}: raise \
             `ulimit -Hn`, use fewer servers or links, or run it on virtual time",
            topology.servers.len(),
            wiring.ways().count() / 2,
        )));
    }
    // Connections of one line each come on top where there is room; they are not worth a herd that does not start.
    let passing = passing(topology, wiring, only).min(allowed - needed);
    Ok((allowed - needed - passing + servers).min(Semaphore::MAX_PERMITS as u64) as usize)
}

/// Raises this process's limit to `wanted`, or as near to it as the system allows; what it is then.
fn raise(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let raised = wanted.min(maximum);
    if raised > current && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_ok() {
        return raised;
    }
    current
}

/// A listener, what keeps its port, and the next client, for each server; for each way both ends of its connection, as far as
/// they are in this process.
fn needed(topology: &Topology, wiring: &Wiring, only: Option<ServerId>) -> u64 {
    3 * local(topology, only).count() as u64 + 2 * links(topology, wiring, only, LinkMode::Persistent) + RESERVE
}

/// Both ends of a connection for each way that has one for each line.
fn passing(topology: &Topology, wiring: &Wiring, only: Option<ServerId>) -> u64 {
    2 * links(topology, wiring, only, LinkMode::PerMessage)
}

fn links(topology: &Topology, wiring: &Wiring, only: Option<ServerId>, mode: LinkMode) -> u64 {
    let neighbours = local(topology, only).flat_map(|server| wiring.neighbours(server));
    neighbours.filter(|neighbour| neighbour.mode == mode).count() as u64
}

/// The servers of this process.
fn local(topology: &Topology, only: Option<ServerId>) -> impl Iterator<Item = ServerId> {
    topology.ids().filter(move |&server| only.is_none_or(|only| only == server))
}
