//! What a server sends over a link that came up, so that its neighbour catches up.
//!
//! Not here: what it does with an update that is new ([`super::spread`]).

use super::links::LinkState;
use super::{Node, Output, Source};
use crate::config::{LinkId, LinkMode, Repair};
use crate::time::Timestamp;

impl Node {
    /// Owes a neighbour every record, now that the link to it is open.
    pub(super) fn repair(&mut self, id: LinkId, outputs: &mut Vec<Output>) {
        if self.rules.strategy.repair() == Repair::All && self.records.len() > 0 {
            self.links[id.index()].outbox.replay(self.records.by_age());
            outputs.push(Output::Ready(id));
        }
    }

    /// Owes a neighbour what it may have forgotten.
    ///
    /// One connection of a neighbour has ended and it has another: it may have been restarted in between. What came by the
    /// old connection after our own was open to the restarted neighbour was not owed to it, since it came from there; but
    /// it came from its life before. So it is owed now.
    pub(super) fn owe_back(&mut self, now: Timestamp, id: LinkId, outputs: &mut Vec<Output>) {
        let link = &mut self.links[id.index()];
        let (Repair::All, LinkMode::Persistent) = (self.rules.strategy.repair(), link.mode) else { return };
        let LinkState::Up { since } = link.state else { return };
        let mut owed = self.records.by_age();
        owed.retain(|&record| {
            let record = self.records.get(record);
            record.source == Source::Link(id) && record.learned_at >= since
        });
        if owed.is_empty() {
            return;
        }
        link.state = LinkState::Up { since: now };
        if link.outbox.is_empty() {
            outputs.push(Output::Ready(id));
        }
        link.outbox.replay(owed);
    }
}
