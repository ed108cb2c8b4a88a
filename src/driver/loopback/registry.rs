//! Who is at the far end of a connection between two tasks of this process.
//!
//! An `AT` line does not say who passed it on, and servers add nothing to the protocol that would. Inside one process the
//! address of the dialling socket says it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::activity::{Call, Flow};
use super::lock;
use crate::driver::{SessionId, Way};

/// The far end of an accepted connection.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// A neighbour; what it sends is counted in lines.
    Neighbour {
        /// The way its lines take.
        way: Way,
        /// Lines on their way to us.
        lines: Arc<Flow>,
        /// This connection, of which our node is told.
        call: Arc<Call>,
    },
    /// A client of this driver; counted in bytes.
    Client {
        /// Its connection.
        session: SessionId,
        /// Bytes on their way to us.
        commands: Arc<Flow>,
        /// Bytes on their way back.
        replies: Arc<Flow>,
    },
}

/// Callers by the addresses of their sockets.
#[derive(Debug, Default)]
pub(super) struct Registry {
    callers: Mutex<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    /// With the number of the registration: an address is free for somebody else before its registration is dropped.
    by_address: BTreeMap<SocketAddr, (u64, Caller)>,
    registered: u64,
}

impl Registry {
    /// Makes a caller known until the result is dropped. Called before the caller connects.
    pub(super) fn register(self: &Arc<Self>, address: SocketAddr, caller: Caller) -> Registration {
        let mut callers = lock(&self.callers);
        callers.registered += 1;
        let number = callers.registered;
        callers.by_address.insert(address, (number, caller.clone()));
        Registration { registry: self.clone(), address, number, caller }
    }

    /// Who calls from `address`, whose connection is accepted with that; `None` for anybody outside this process.
    pub(super) fn accept(&self, address: SocketAddr) -> Option<Caller> {
        let callers = lock(&self.callers);
        let (_, caller) = callers.by_address.get(&address)?;
        // Under the lock: a call is forgotten before it is accepted, or else after.
        if let Caller::Neighbour { call, .. } = caller {
            call.accept();
        }
        Some(caller.clone())
    }
}

/// A caller that is known.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    address: SocketAddr,
    number: u64,
    caller: Caller,
}

impl Registration {
    /// The caller has closed its connection in order; what it sent may wait to be handled.
    pub(super) fn end(&self) {
        if let Caller::Neighbour { call, .. } = &self.caller {
            call.end();
        }
    }

    /// Whether everything that the caller sent has been handled, and its end too.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.caller, Caller::Neighbour { call, .. } if call.is_over())
    }

    /// What the caller sent will not be handled any more; how many lines that were.
    pub(super) fn lose(self) -> u64 {
        match &self.caller {
            Caller::Neighbour { lines, .. } => lines.end(),
            Caller::Client { commands, .. } => commands.end(),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut callers = lock(&self.registry.callers);
        if callers.by_address.get(&self.address).is_some_and(|&(number, _)| number == self.number) {
            callers.by_address.remove(&self.address);
        }
        drop(callers);
        if let Caller::Neighbour { call, .. } = &self.caller {
            call.forget();
        }
    }
}
