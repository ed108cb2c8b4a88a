//! How an update goes on from a server: one file for each way of spreading.
//!
//! Not here: what is sent over a link that came up ([`super::repair`]), and in which order a link's lines leave
//! ([`super::outbox`]).

mod direct;
mod flood;

use super::links::Link;
use super::{Output, RecordId, Rules, Source};
use crate::config::{LinkId, Spread};

/// The way in which a node spreads updates, with what it remembers for it.
#[derive(Debug, Clone)]
pub(super) enum Spreading {
    Direct,
    Flood,
}

/// What a way of spreading sees of its node.
pub(super) struct Around<'a> {
    pub(super) links: &'a mut [Link],
    pub(super) outputs: &'a mut Vec<Output>,
}

impl Spreading {
    pub(super) fn of(rules: &Rules) -> Self {
        match rules.strategy.spread() {
            Spread::Direct => Self::Direct,
            Spread::Flood => Self::Flood,
        }
    }

    /// Passes on a record that got newer, by way of `source`.
    #[inline]
    pub(super) fn on_new(&mut self, around: &mut Around<'_>, record: RecordId, source: Source) {
        match self {
            Self::Direct => direct::on_new(around, record, source),
            Self::Flood => flood::on_new(around, record, source),
        }
    }
}

impl Around<'_> {
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
