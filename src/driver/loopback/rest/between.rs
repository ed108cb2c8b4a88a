//! Lines between this process and other processes of the herd, counted by live connection.
//!
//! A process cannot end what another one has to do, so nothing of it is on an account. Each side counts what it knows: lines are
//! counted as sent before they can be read, and as handled after what follows from them is begun. Who asks all processes
//! compares both sides ([`crate::driver::work`]).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::config::Way;
use crate::driver::loopback::lock;
use crate::driver::work;

/// The connections to and from other processes that are there.
#[derive(Debug, Default)]
pub(in crate::driver::loopback) struct Between {
    sent: Mutex<Vec<Weak<Wire>>>,
    handled: Mutex<Vec<Weak<Wire>>>,
}

/// One connection, as long as this process has it.
#[derive(Debug)]
pub(in crate::driver::loopback) struct Wire {
    way: Way,
    address: SocketAddr,
    lines: AtomicU64,
}

impl Wire {
    /// Counts lines that are about to be sent, or that have been handled.
    pub(in crate::driver::loopback) fn count(&self, lines: u64) {
        self.lines.fetch_add(lines, Ordering::SeqCst);
    }
}

impl Between {
    /// Makes a connection known that this process has dialled from `address`.
    pub(in crate::driver::loopback) fn dialled(&self, way: Way, address: SocketAddr) -> Arc<Wire> {
        Self::add(&self.sent, way, address)
    }

    /// Makes a connection known that this process has accepted from `address`.
    pub(in crate::driver::loopback) fn accepted(&self, way: Way, address: SocketAddr) -> Arc<Wire> {
        Self::add(&self.handled, way, address)
    }

    fn add(to: &Mutex<Vec<Weak<Wire>>>, way: Way, address: SocketAddr) -> Arc<Wire> {
        let wire = Arc::new(Wire { way, address, lines: AtomicU64::new(0) });
        let mut wires = lock(to);
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(&wire));
        wire
    }

    /// Returns the connections that are there: those that were dialled, and those that were accepted.
    pub(in crate::driver::loopback) fn wires(&self) -> [Vec<work::Wire>; 2] {
        [&self.sent, &self.handled].map(|wires| {
            let there = lock(wires);
            let told = |wire: Arc<Wire>| work::Wire {
                way: wire.way,
                address: wire.address,
                lines: wire.lines.load(Ordering::SeqCst),
            };
            there.iter().filter_map(Weak::upgrade).map(told).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;

    #[test]
    fn a_connection_is_told_as_long_as_it_is_there() {
        let between = Between::default();
        let way = Way { from: ServerId(0), to: ServerId(1) };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let (one, other) = (between.dialled(way, address), between.accepted(way.back(), address));
        one.count(2);
        other.count(3);
        let wire = |way, lines| vec![work::Wire { way, address, lines }];
        assert_eq!(between.wires(), [wire(way, 2), wire(way.back(), 3)]);
        drop(one);
        assert_eq!(between.wires(), [Vec::new(), wire(way.back(), 3)]);
    }
}
