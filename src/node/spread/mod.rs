//! How an update goes on from a server: one file for each way of spreading.
//!
//! Not here: what is sent over a link that came up ([`super::repair`]), and in which order a link's lines leave
//! ([`super::outbox`]).

mod direct;
mod flood;
mod greeting;
mod tree;

use super::links::Link;
use super::records::Records;
use super::{Handshake, Output, Record, RecordId, Rules, Source};
use crate::config::{LinkId, LinkMode, Spread};
use crate::time::Timestamp;
use crate::wire::{AtLine, Control, ControlLine};
use tree::Tree;

/// The way in which a node spreads updates, with what it remembers for it.
#[derive(Debug, Clone)]
pub(super) enum Spreading {
    Direct,
    Flood,
    Tree(Box<Tree>),
}

/// What a way of spreading sees of its node.
pub(super) struct Around<'a> {
    pub(super) now: Timestamp,
    pub(super) rules: &'a Rules,
    pub(super) records: &'a Records,
    pub(super) links: &'a mut [Link],
    pub(super) outputs: &'a mut Vec<Output>,
}

impl Spreading {
    pub(super) fn of(rules: &Rules, links: &[LinkMode], handshake: Option<Handshake>) -> Self {
        match rules.strategy.spread() {
            Spread::Direct => Self::Direct,
            Spread::Flood => Self::Flood,
            Spread::Tree => Self::Tree(Box::new(Tree::new(links, handshake))),
        }
    }

    /// Returns `true` if it has neither control lines nor timers.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Direct | Self::Flood)
    }

    /// Forgets everything, for the node's next life.
    pub(super) fn forget(&mut self) {
        if let Self::Tree(tree) = self {
            tree.forget();
        }
    }

    /// Returns the earliest time at which [`Self::on_deadline`] does something.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        if let Self::Tree(tree) = self { tree.deadline() } else { None }
    }

    /// Passes on a record that got newer, by way of `source`.
    #[inline]
    pub(super) fn on_new(&mut self, around: &mut Around<'_>, record: RecordId, source: Source) {
        match self {
            Self::Direct => direct::on_new(around, record, source),
            Self::Flood => flood::on_new(around, record, source),
            Self::Tree(tree) => tree.on_new(around, record, source),
        }
    }

    /// Learns from a line of a neighbour that is not newer than `record`.
    pub(super) fn on_known(&mut self, around: &mut Around<'_>, record: RecordId, line: AtLine<'_>, link: LinkId) {
        if let Self::Tree(tree) = self {
            tree.on_known(around, record, line, link);
        }
    }

    /// Heeds a control line of a neighbour. Returns `false` if the strategy has none.
    pub(super) fn on_control(&mut self, around: &mut Around<'_>, control: Control<'_>, link: LinkId) -> bool {
        if let Self::Tree(tree) = self { tree.on_control(around, control, link) } else { false }
    }

    /// Answers a connection that claims to be a neighbour's. Returns `false` if this node asks for no proofs.
    pub(super) fn on_hello(&mut self, around: &mut Around<'_>, name: &str, secret: u64) -> bool {
        if let Self::Tree(tree) = self { tree.on_hello(around, name, secret) } else { false }
    }

    /// Returns the neighbour that a connection is from which repeats a secret, if the secret is one of a neighbour.
    pub(super) fn on_proof(&mut self, around: &mut Around<'_>, secret: u64, own: u64) -> Option<LinkId> {
        if let Self::Tree(tree) = self { tree.on_proof(around, secret, own) } else { None }
    }

    /// Learns that a neighbour heeds control lines. Returns `false` if the secret is not one of a neighbour.
    pub(super) fn on_welcome(&mut self, around: &mut Around<'_>, secret: u64) -> bool {
        if let Self::Tree(tree) = self { tree.on_welcome(around, secret) } else { false }
    }

    /// The node's own connection to a neighbour is open.
    pub(super) fn on_opened(&mut self, around: &mut Around<'_>, link: LinkId) {
        if let Self::Tree(tree) = self {
            tree.on_opened(around, link);
        }
    }

    /// The node's own connection to a neighbour is gone, or could not be opened.
    pub(super) fn on_lost(&mut self, around: &mut Around<'_>, link: LinkId) {
        if let Self::Tree(tree) = self {
            tree.on_lost(around, link);
        }
    }

    /// A neighbour has dialled the node.
    pub(super) fn on_seen(&mut self, around: &mut Around<'_>, link: LinkId) {
        if let Self::Tree(tree) = self {
            tree.on_seen(around, link);
        }
    }

    /// The last connection by which a neighbour dialled the node is gone. Returns `true` if the link has to be repaired.
    pub(super) fn on_gone(&mut self, around: &mut Around<'_>, link: LinkId) -> bool {
        if let Self::Tree(tree) = self { tree.on_gone(around, link) } else { false }
    }

    /// Does what is due at this time.
    pub(super) fn on_deadline(&mut self, around: &mut Around<'_>) {
        if let Self::Tree(tree) = self {
            tree.on_deadline(around);
        }
    }

    /// Takes the next control line that a link owes.
    #[inline]
    pub(super) fn next_control(&mut self, link: LinkId, records: &Records, rules: &Rules) -> Option<ControlLine> {
        if let Self::Tree(tree) = self { tree.next_control(link, records, rules) } else { None }
    }

    /// Decides how a fresh record leaves. Returns `true` if it is announced instead of sent.
    #[inline]
    pub(super) fn announces(&mut self, id: RecordId, record: &Record, link: LinkId, rules: &Rules) -> bool {
        if let Self::Tree(tree) = self { tree.announces(id, record, link, rules) } else { false }
    }

    /// Returns the number of kinds of control lines that a link owes.
    #[inline]
    pub(super) fn owed(&self, link: LinkId) -> usize {
        if let Self::Tree(tree) = self { tree.owed(link) } else { 0 }
    }
}

impl Around<'_> {
    /// A link that is up owes something other than a fresh record.
    pub(super) fn ready(&mut self, link: LinkId) {
        if self.links[link.index()].is_up() {
            self.outputs.push(Output::Ready(link));
        }
    }

    /// Owes a record on every link but one. Where a link is down, its neighbour misses the record.
    #[inline]
    pub(super) fn owe(&mut self, record: RecordId, except: Option<LinkId>) {
        for (id, link) in (0..).map(LinkId).zip(self.links.iter_mut()) {
            if except == Some(id) {
                continue;
            }
            if !link.is_up() {
                self.outputs.push(Output::Missed(id));
                continue;
            }
            if link.outbox.is_empty() {
                self.outputs.push(Output::Ready(id));
            }
            link.outbox.push(record);
        }
    }
}
