//! How two servers of one herd prove to each other whose connections are whose, where no driver knows it.
//!
//! Let A dial B, and B dial A. Nobody but B can read what A writes to B's address, so a connection that repeats it is B's:
//!
//! | on A's connection to B | on B's connection to A |
//! |---|---|
//! | `hello A a` | `hello B b` |
//! | `proof b a`: B knows that this connection is A's | `proof a b`: A knows that this connection is B's |
//! | `welcome b`: B may send control lines | `welcome a`: A may send control lines |
//!
//! A secret is another one for each connection. Whoever claims a name and cannot prove it costs a line on the link to the server
//! of that name, and changes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::draws::Draws;
use crate::node::Peer;
use crate::wire::ControlLine;

/// Claims to be one neighbour that are remembered. When there are more, the oldest goes, and with it perhaps the neighbour's own:
/// then that link floods until the neighbour dials again.
const CLAIMS: usize = 4;

/// What a node knows about one neighbour that has to prove itself.
#[derive(Debug, Clone)]
pub(super) struct Greeting {
    pub(super) name: Arc<str>,
    draws: Draws,
    /// Connections to the neighbour so far.
    opened: u64,
    /// Secret of the connection that is open.
    pub(super) secret: Option<u64>,
    /// The neighbour heeds control lines on that connection.
    pub(super) welcomed: bool,
    /// The connection has not yet said hello.
    hello: bool,
    /// Secrets of connections that claimed to be the neighbour's.
    claims: VecDeque<u64>,
    /// Secrets to be repeated.
    proofs: VecDeque<u64>,
    /// Secrets of the neighbour's connections to be welcomed.
    welcomes: VecDeque<u64>,
}

impl Greeting {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            name: peer.name,
            draws: peer.secrets,
            opened: 0,
            secret: None,
            welcomed: false,
            hello: false,
            claims: VecDeque::new(),
            proofs: VecDeque::new(),
            welcomes: VecDeque::new(),
        }
    }

    /// A connection to the neighbour is open: it says hello, and proves itself to connections that were heard of before.
    pub(super) fn open(&mut self) {
        self.opened += 1;
        self.secret = Some(self.draws.bits(self.opened, 0));
        (self.welcomed, self.hello) = (false, true);
        self.proofs = self.claims.clone();
        self.welcomes.clear();
    }

    /// The connection to the neighbour is gone.
    pub(super) fn lose(&mut self) {
        (self.secret, self.welcomed, self.hello) = (None, false, false);
        self.proofs.clear();
        self.welcomes.clear();
    }

    /// A connection claims to be the neighbour's.
    pub(super) fn claim(&mut self, secret: u64) {
        keep(&mut self.claims, secret);
        if self.secret.is_some() {
            keep(&mut self.proofs, secret);
        }
    }

    /// A connection of the neighbour has proved itself.
    pub(super) fn welcome(&mut self, secret: u64) {
        if self.secret.is_some() {
            keep(&mut self.welcomes, secret);
        }
    }

    /// Returns `true` if there is something to say.
    pub(super) fn is_owing(&self) -> bool {
        self.hello || !self.proofs.is_empty() || !self.welcomes.is_empty()
    }

    /// Takes the next line to be said by the server called `name`.
    pub(super) fn next_line(&mut self, name: &str) -> Option<ControlLine> {
        let own = self.secret?;
        if std::mem::take(&mut self.hello) {
            return Some(ControlLine::hello(name, own));
        }
        let proof = self.proofs.pop_front().map(|secret| ControlLine::proof(secret, own));
        proof.or_else(|| self.welcomes.pop_front().map(ControlLine::welcome))
    }
}

/// Adds a secret once, and lets the oldest go if there are too many.
fn keep(secrets: &mut VecDeque<u64>, secret: u64) {
    if !secrets.contains(&secret) {
        secrets.push_back(secret);
        if secrets.len() > CLAIMS {
            secrets.pop_front();
        }
    }
}
