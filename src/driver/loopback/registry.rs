//! Who is at the far end of a connection between two tasks of this process.
//!
//! An `AT` line does not say who passed it on, and servers add nothing to the protocol that would. Inside one process the
//! address of the dialling socket says it. So that no other socket gets this address while the connection waits to be accepted,
//! a caller that leaves before that does not close its socket: the registry does, once it is accepted or never will be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use super::acks::Acks;
use super::lock;
use super::rest::{Call, Flow};
use super::socket::Socket;
use crate::act::SessionId;
use crate::config::{ServerId, Way};

/// The far end of an accepted connection.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// A neighbour; what it sends is counted in lines.
    Neighbour {
        /// The way its lines take.
        way: Way,
        /// The number of this connection among those of the way.
        connection: u32,
        /// Lines on their way to us.
        lines: Arc<Flow>,
        /// This connection, of which our node is told.
        call: Arc<Call>,
        /// Where we acknowledge its lines. `None` if the end of the connection does that.
        acks: Option<Arc<Acks>>,
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

impl Caller {
    /// What it sends.
    fn sent(&self) -> &Flow {
        match self {
            Self::Neighbour { lines, .. } => lines,
            Self::Client { commands, .. } => commands,
        }
    }

    /// What a neighbour's connection is known as.
    pub(super) fn call(&self) -> Option<&Call> {
        match self {
            Self::Neighbour { call, .. } => Some(call),
            Self::Client { .. } => None,
        }
    }
}

/// Whose connection has been accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Somebody of this process.
    Known(Caller),
    /// Somebody of this process who has left: what was sent is lost.
    Left,
    /// Anybody else.
    Stranger,
}

/// Callers by the addresses of their sockets.
#[derive(Debug, Default)]
pub(super) struct Registry {
    callers: Mutex<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    by_address: BTreeMap<SocketAddr, Entry>,
    registered: u64,
}

#[derive(Debug)]
struct Entry {
    /// Which registration it is: an address may be somebody else's before its registration is dropped.
    number: u64,
    caller: Caller,
    accepted: bool,
    /// Keeps the address of a caller that left before it was accepted.
    left: Option<Socket>,
}

impl Registry {
    /// Makes a caller known until the result is dropped. Called before the caller connects.
    pub(super) fn register(self: &Arc<Self>, address: SocketAddr, caller: Caller) -> Registration {
        let mut callers = lock(&self.callers);
        callers.registered += 1;
        let number = callers.registered;
        let entry = Entry { number, caller: caller.clone(), accepted: false, left: None };
        callers.by_address.insert(address, entry);
        Registration { registry: self.clone(), address, number, caller }
    }

    /// Who calls from `address`, whose connection is accepted with that.
    pub(super) fn accept(&self, address: SocketAddr) -> Accepted {
        let mut callers = lock(&self.callers);
        let Some(entry) = callers.by_address.get_mut(&address) else { return Accepted::Stranger };
        if entry.left.is_some() {
            callers.by_address.remove(&address);
            return Accepted::Left;
        }
        entry.accepted = true;
        // Under the lock: a call is forgotten before it is accepted, or else after.
        entry.caller.call().inspect(|call| call.accept());
        Accepted::Known(entry.caller.clone())
    }

    /// A server has closed its listener: it accepts none of those who left before that.
    pub(super) fn forget_left(&self, server: ServerId) {
        let waits = |entry: &Entry| entry.left.is_some() && entry.caller.sent().reader() == server.index();
        lock(&self.callers).by_address.retain(|_, entry| !waits(entry));
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
    /// The caller leaves; its socket is closed here, or later when its connection waits to be accepted.
    fn leave(self, socket: Socket) {
        let mut callers = lock(&self.registry.callers);
        let entry = callers.by_address.get_mut(&self.address).filter(|entry| entry.number == self.number);
        // A listener that was closed has reset the connection. Asked under the lock, which is taken once after that.
        let waits = |entry: &&mut Entry| !entry.accepted && socket.peer_addr().is_ok();
        if let Some(entry) = entry.filter(waits) {
            entry.left = Some(socket);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut callers = lock(&self.registry.callers);
        let is_ours = |entry: &&Entry| entry.number == self.number && entry.left.is_none();
        if callers.by_address.get(&self.address).filter(is_ours).is_some() {
            callers.by_address.remove(&self.address);
        }
        drop(callers);
        self.caller.call().inspect(|call| call.forget());
    }
}

/// A connection that was dialled, to a server of this process if it has a registration.
#[derive(Debug)]
pub(super) struct Dialled {
    /// There until it is dropped.
    socket: Option<Socket>,
    registration: Option<Registration>,
}

impl Dialled {
    pub(super) fn new(socket: Socket, registration: Option<Registration>) -> Self {
        Self { socket: Some(socket), registration }
    }

    /// It has been closed in order; what was sent may wait to be handled.
    pub(super) fn end(&self) {
        self.caller().and_then(Caller::call).inspect(|call| call.end());
    }

    /// Whether everything that was sent has been handled, and the end too; or nobody here knows.
    pub(super) fn is_over(&self) -> bool {
        self.caller().and_then(Caller::call).is_none_or(Call::is_over)
    }

    /// Returns `true` if a line of it has been read, or nobody here knows.
    pub(super) fn was_read(&self) -> bool {
        self.caller().and_then(Caller::call).is_none_or(Call::was_read)
    }

    /// What was sent will not be handled any more; how many lines that were.
    pub(super) fn lose(self) -> u64 {
        self.caller().map_or(0, |caller| caller.sent().end())
    }

    fn caller(&self) -> Option<&Caller> {
        self.registration.as_ref().map(|registration| &registration.caller)
    }
}

impl Deref for Dialled {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.socket.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Dialled {
    fn deref_mut(&mut self) -> &mut Socket {
        self.socket.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        if let (Some(registration), Some(socket)) = (self.registration.take(), self.socket.take()) {
            registration.leave(socket);
        }
    }
}
